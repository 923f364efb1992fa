"""The embedded store: one SQLite file in WAL mode, shared by the processes of one machine.

Every object is a row; every write takes the next version from one counter. A transaction is visible as a whole or
not at all, to readers and watches alike, wherever its process is killed. A deleted object stays as a row
without a document for `_KEEP_DELETED` versions, so that a watch that is behind still learns of it. A watch
sleeps on inotify of the write-ahead log, so an idle process costs nothing and a change is seen within a
millisecond; a slow poll stands behind it for file systems without inotify.

Commits are not fsynced (`synchronous=NORMAL`): killing any process loses nothing; losing power may lose the
last commits, never the file, and with the power the pods whose addresses they were. The file is 0600: it
may hold Secrets.

What reads or writes one object is tried at once, on a connection that does not wait: that takes less time than to wake
a thread. If it is another's turn to write (turns.py), and for whatever may take longer, there is one worker thread, so
that waiting never stops an event loop. The thread also copies the log back into the file now and then (a checkpoint),
which waits for the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any, TypeVar

from peering.store.file_events import FileEvents
from peering.store.protocol import Changed, Conflict, Document, Event, NotFound, Stored, StoreError, Told, Write
from peering.store.turns import Turns
from peering.store.worker import Worker

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    kind TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, document TEXT,
    PRIMARY KEY (kind, name)) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS objects_version ON objects (version);
CREATE INDEX IF NOT EXISTS objects_deleted ON objects (version) WHERE document IS NULL;
CREATE TABLE IF NOT EXISTS counter (version INTEGER NOT NULL);
INSERT INTO counter SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM counter);
"""
_LOCK_TIMEOUT_S = 30.0
#: Seconds for which what is done at once may keep the event loop.
_BREATH_S = 0.001
_POLL_S = 5.0
_LOOK_AGAIN_S = (0.002, 0.01, 0.05, 0.25)
_KEEP_DELETED = 10_000
#: Who writes a version that can be divided by this checkpoints the log, which has got about 1,000 pages more by then.
_CHECKPOINT_EVERY = 256
#: A log of so many pages is begun anew while all writers wait. Where nobody writes meanwhile, it begins anew by itself.
_LONGEST_LOG = 4000
_RESTART_MS = 1000


class SqliteStore:
    """A store in the file `path`, made when it is not there."""

    #: Nobody would read them here.
    keeps_statuses = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = Worker("sqlite")
        self._connection: sqlite3.Connection | None = None
        self._impatient: sqlite3.Connection | None = None
        self._turns: Turns | None = None
        self._breath = 0.0

    async def get(self, kind: str, name: str) -> Stored:
        return await self._at_once(lambda db: _get(db, kind, name))

    async def list(self, kind: str, node: str = "") -> Sequence[Stored]:
        return (await self.snapshot([kind]))[0]

    async def snapshot(self, kinds: Iterable[str]) -> tuple[Sequence[Stored], int]:
        wanted = tuple(kinds)
        return await self._run(lambda db: _snapshot(db, wanted))

    async def create(self, kind: str, name: str, document: Document) -> Stored:
        text = json.dumps(document)
        return Stored(kind, name, await self._write(lambda db, new: _create(db, kind, name, text, new)), document)

    async def update(self, kind: str, name: str, document: Document, version: int | None = None) -> Stored:
        text = json.dumps(document)
        written = await self._write(lambda db, new: _update(db, kind, name, text, version, new))
        return Stored(kind, name, written, document)

    async def delete(self, kind: str, name: str, version: int | None = None) -> None:
        await self._write(lambda db, new: _delete(db, kind, name, version, new))

    async def apply_all(self, writes: Sequence[Write], kinds: Iterable[str], since: int) -> None:
        wanted, all_writes = tuple(kinds), tuple(writes)
        await self._run(lambda db: _alone(db, lambda: _apply_all(db, all_writes, wanted, since)), writes=True)

    async def statuses(self, kind: str) -> Mapping[str, Told]:
        return {}

    async def put_in_order(self) -> Sequence[str]:
        return ()

    async def apply_status(self, kind: str, name: str, status: Document, version: int | None = None) -> None:
        pass

    def tell(self, kind: str, name: str, event: Event) -> None:
        pass

    async def watch(self, kinds: Iterable[str], since: int) -> AsyncIterator[Sequence[Changed]]:
        wanted = tuple(kinds)
        await self._run(lambda db: None)
        waits = _waits()
        with FileEvents(self._path.parent, self._path.name) as events:
            while True:
                changes, since = await self._run(partial(_changes, kinds=wanted, since=since))
                if changes:
                    yield changes
                elif await events.wait(next(waits)):
                    waits = _waits()

    def leading(self, name: str) -> contextlib.AbstractAsyncContextManager[None]:
        return contextlib.nullcontext()

    async def close(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOCK_TIMEOUT_S):
                await self._thread.run(self._disconnect)
        self._thread.end()

    async def _run(self, operation: Callable[[sqlite3.Connection], T], *, writes: bool = False) -> T:
        """In the thread, which waits for its turn, and for whoever has SQLite's lock without one."""
        latest = time.monotonic() + _LOCK_TIMEOUT_S

        def in_time(db: sqlite3.Connection) -> T:
            if time.monotonic() > latest:
                raise StoreError(f"{self._path}: others kept the lock for {_LOCK_TIMEOUT_S:g} seconds")
            return operation(db)

        def run() -> T:
            try:
                db, turns = self._connect()
                return turns.wait(lambda: in_time(db)) if writes else operation(db)
            except (sqlite3.Error, OSError) as error:
                raise StoreError(f"{self._path}: {error}") from error

        try:
            async with asyncio.timeout(2 * _LOCK_TIMEOUT_S):
                return await self._thread.run(run)
        except TimeoutError:
            raise StoreError(f"{self._path}: others keep the lock; is one of them stopped?") from None

    async def _at_once(self, operation: Callable[[sqlite3.Connection], T], *, writes: bool = False) -> T:
        """Now, or in the thread if it is another's turn. The operation must be a small one.

        All others of the event loop have their turn in between when much is done at once.
        """
        if time.monotonic() - self._breath > _BREATH_S:
            await asyncio.sleep(0)
            self._breath = time.monotonic()
        db, turns = self._impatient, self._turns
        if db is not None and turns is not None:
            try:
                return turns.at_once(partial(operation, db)) if writes else operation(db)
            except BlockingIOError:
                pass
            except sqlite3.Error as error:
                if not _is_locked(error):
                    raise StoreError(f"{self._path}: {error}") from error
        return await self._run(operation, writes=writes)

    async def _write(self, operation: Callable[[sqlite3.Connection, int], None]) -> int:
        """Runs the operation in a write transaction of its own, with the version it gives to what it writes."""

        def write(db: sqlite3.Connection) -> int:
            version = _next_version(db)
            operation(db, version)
            return version

        version = await self._at_once(lambda db: _alone(db, lambda: write(db)), writes=True)
        if version % _CHECKPOINT_EVERY == 0:
            await self._run(_checkpoint)
        return version

    def _connect(self) -> tuple[sqlite3.Connection, Turns]:
        """In turn, because SQLite does not wait when several make a new file a WAL one at once."""
        if self._connection is None or self._turns is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            turns = Turns(self._path.parent)
            self._connection = turns.wait(self._make)
            self._impatient = self._open(0)
            self._impatient.execute("PRAGMA wal_autocheckpoint=0")
            self._turns = turns
        return self._connection, self._turns

    def _make(self) -> sqlite3.Connection:
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        db = self._open(_LOCK_TIMEOUT_S)
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript(_SCHEMA)
        return db

    def _open(self, timeout: float) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=timeout, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA synchronous=NORMAL")
        return db

    def _disconnect(self) -> None:
        """In turn: the last to go copies the log into the file, alone."""
        if self._turns is not None:
            self._turns.wait(self._close)
            self._turns.close()
        self._impatient = self._connection = self._turns = None

    def _close(self) -> None:
        for connection in (self._impatient, self._connection):
            if connection is not None:
                connection.close()


def _alone(db: sqlite3.Connection, operation: Callable[[], T]) -> T:
    """Runs the operation in a transaction: nobody else writes between its first read and its last write."""
    db.execute("BEGIN IMMEDIATE")
    with db:
        return operation()


def _checkpoint(db: sqlite3.Connection) -> None:
    """Copies the log into the file. If that fails, a later one will not, or a write says why."""
    with contextlib.suppress(sqlite3.Error):
        _, pages, _ = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if pages > _LONGEST_LOG:
            db.execute(f"PRAGMA busy_timeout={_RESTART_MS}")
            db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
    db.execute(f"PRAGMA busy_timeout={_LOCK_TIMEOUT_S * 1000:.0f}")


def _is_locked(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _waits() -> Iterator[float]:
    """How long to wait for the next event, after one. SQLite writes the log before it makes the commit visible, so
    a reader that was woken may look too early: it looks again soon, some times."""
    return chain(_LOOK_AGAIN_S, repeat(_POLL_S))


def _stored(row: tuple[Any, ...]) -> Stored:
    kind, name, version, document = row
    return Stored(kind, name, version, json.loads(document))


def _get(db: sqlite3.Connection, kind: str, name: str) -> Stored:
    row = db.execute(
        "SELECT kind, name, version, document FROM objects WHERE kind=? AND name=? AND document IS NOT NULL",
        (kind, name),
    ).fetchone()
    if row is None:
        raise NotFound(f"there is no {kind}/{name}")
    return _stored(row)


def _snapshot(db: sqlite3.Connection, kinds: tuple[str, ...]) -> tuple[Sequence[Stored], int]:
    db.execute("BEGIN")
    with db:
        rows = db.execute(
            f"SELECT kind, name, version, document FROM objects WHERE kind IN ({_marks(kinds)}) "
            "AND document IS NOT NULL ORDER BY kind, name",
            kinds,
        ).fetchall()
        (version,) = db.execute("SELECT version FROM counter").fetchone()
    return [_stored(row) for row in rows], version


def _changes(db: sqlite3.Connection, kinds: tuple[str, ...], since: int) -> tuple[list[Changed], int]:
    rows = db.execute(
        f"SELECT kind, name, version, document FROM objects WHERE version > ? AND kind IN ({_marks(kinds)}) "
        "ORDER BY version",
        (since, *kinds),
    ).fetchall()
    changes = [Changed(row[0], row[1], row[2], _stored(row) if row[3] else None) for row in rows]
    return changes, changes[-1].version if changes else since


def _create(db: sqlite3.Connection, kind: str, name: str, document: str, version: int) -> None:
    cursor = db.execute(
        "INSERT INTO objects VALUES (?, ?, ?, ?) ON CONFLICT (kind, name) DO UPDATE "
        "SET version=excluded.version, document=excluded.document WHERE objects.document IS NULL",
        (kind, name, version, document),
    )
    if cursor.rowcount != 1:
        raise Conflict(f"{kind}/{name} exists already")


def _update(db: sqlite3.Connection, kind: str, name: str, document: str, expected: int | None, version: int) -> None:
    _check_version(db, kind, name, expected)
    db.execute(
        "UPDATE objects SET version=?, document=? WHERE kind=? AND name=?",
        (version, document, kind, name),
    )


def _delete(db: sqlite3.Connection, kind: str, name: str, expected: int | None, version: int) -> None:
    _check_version(db, kind, name, expected)
    db.execute("UPDATE objects SET version=?, document=NULL WHERE kind=? AND name=?", (version, kind, name))
    db.execute("DELETE FROM objects WHERE document IS NULL AND version < ?", (version - _KEEP_DELETED,))


def _apply_all(db: sqlite3.Connection, writes: tuple[Write, ...], kinds: tuple[str, ...], since: int) -> None:
    _check_unchanged(db, kinds, since)
    for write in writes:
        version = _next_version(db)
        if write.document is None:
            _delete(db, write.kind, write.name, None, version)
        else:
            _put(db, write.kind, write.name, write.document, version)


def _put(db: sqlite3.Connection, kind: str, name: str, document: Document, version: int) -> None:
    db.execute("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)", (kind, name, version, json.dumps(document)))


def _check_unchanged(db: sqlite3.Connection, kinds: tuple[str, ...], since: int) -> None:
    """Deletions count: their rows stay for `_KEEP_DELETED` versions, and who read longer ago has to read again."""
    (version,) = db.execute("SELECT version FROM counter").fetchone()
    newer = f"SELECT kind, name FROM objects WHERE version > ? AND kind IN ({_marks(kinds)}) ORDER BY version DESC"
    row = db.execute(newer, (since, *kinds)).fetchone()
    if row is not None:
        raise Conflict(f"{row[0]}/{row[1]} was changed by somebody else meanwhile")
    if version - since > _KEEP_DELETED:
        raise Conflict(f"version {since} is too long ago (now {version})")


def _next_version(db: sqlite3.Connection) -> int:
    (version,) = db.execute("UPDATE counter SET version = version + 1 RETURNING version").fetchone()
    return int(version)


def _check_version(db: sqlite3.Connection, kind: str, name: str, expected: int | None) -> None:
    row = db.execute(
        "SELECT version FROM objects WHERE kind=? AND name=? AND document IS NOT NULL", (kind, name)
    ).fetchone()
    if row is None:
        raise NotFound(f"there is no {kind}/{name}")
    if expected is not None and row[0] != expected:
        raise Conflict(f"{kind}/{name} was changed by somebody else (version {row[0]}, not {expected})")


def _marks(values: tuple[str, ...]) -> str:
    return ", ".join("?" * len(values))
