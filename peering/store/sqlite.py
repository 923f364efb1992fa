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
a thread, and many processes on few cores wake each other's for nothing. If another process has the lock, and for
whatever may take longer, there is one worker thread, so that waiting for a lock never stops an event loop. The thread
also copies the log back into the file now and then (a checkpoint), which waits for the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any, TypeVar

from peering.store.file_events import FileEvents
from peering.store.lock_queue import LockQueue
from peering.store.protocol import Changed, Conflict, Document, NotFound, Stored, StoreError, Write

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    kind TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, document TEXT,
    PRIMARY KEY (kind, name)) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS objects_version ON objects (version);
CREATE TABLE IF NOT EXISTS counter (version INTEGER NOT NULL);
INSERT INTO counter SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM counter);
"""
_LOCK_TIMEOUT_S = 30.0
#: A transaction takes a tenth of a millisecond, so who has the lock may be done after some more tries.
_TRIES_AT_ONCE = 8
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

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        self._connection: sqlite3.Connection | None = None
        self._impatient: sqlite3.Connection | None = None
        self._breath = 0.0

    async def get(self, kind: str, name: str) -> Stored:
        return await self._at_once(lambda db: _get(db, kind, name))

    async def list(self, kind: str) -> Sequence[Stored]:
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
        await self._run(lambda db: _alone(db, lambda: _apply_all(db, all_writes, wanted, since)))

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

    async def close(self) -> None:
        with contextlib.suppress(RuntimeError):
            await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown(wait=False)

    async def _run(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """In the thread, and again while another connection has the lock: SQLite undoes what it could not finish."""

        def run() -> T:
            with LockQueue(self._path.parent, _LOCK_TIMEOUT_S) as queue:
                while True:
                    try:
                        return operation(self._connect())
                    except (sqlite3.Error, OSError) as error:
                        if not _is_locked(error) or not queue.sleep():
                            raise StoreError(f"{self._path}: {error}") from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    async def _at_once(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Now, or very soon; in the thread if another connection keeps the lock. The operation must be a small one.

        All others of the event loop have their turn before a second try, and in between when much is done at once.
        """
        for number in range(_TRIES_AT_ONCE):
            if number or time.monotonic() - self._breath > _BREATH_S:
                await asyncio.sleep(0)
                self._breath = time.monotonic()
            if self._impatient is None:
                break
            try:
                return operation(self._impatient)
            except sqlite3.Error as error:
                if not _is_locked(error):
                    raise StoreError(f"{self._path}: {error}") from error
                os.sched_yield()  # on a busy machine, whoever has the lock waits for a core
        return await self._run(operation)

    async def _write(self, operation: Callable[[sqlite3.Connection, int], None]) -> int:
        """Runs the operation in a write transaction of its own, with the version it gives to what it writes."""

        def write(db: sqlite3.Connection) -> int:
            version = _next_version(db)
            operation(db, version)
            return version

        version = await self._at_once(lambda db: _alone(db, lambda: write(db)))
        if version % _CHECKPOINT_EVERY == 0:
            await self._run(_checkpoint)
        return version

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            db = self._open()
            _when_unlocked(lambda: db.execute("PRAGMA journal_mode=WAL"))
            db.execute("PRAGMA synchronous=NORMAL")
            _when_unlocked(lambda: db.executescript(_SCHEMA))
            self._connection = db
            self._impatient = self._open()
            self._impatient.execute("PRAGMA synchronous=NORMAL")
            self._impatient.execute("PRAGMA wal_autocheckpoint=0")
        return self._connection

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)

    def _disconnect(self) -> None:
        for connection in (self._impatient, self._connection):
            if connection is not None:
                connection.close()
        self._impatient = self._connection = None


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
    db.execute("PRAGMA busy_timeout=0")


def _is_locked(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _when_unlocked(operation: Callable[[], object]) -> None:
    """SQLite does not wait for the lock when a new file is made a WAL one by several processes at once."""
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    while True:
        try:
            operation()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


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
