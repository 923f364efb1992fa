"""The embedded store when others have its lock: who waits, how, and that the event loop goes on."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from peering.store import sqlite
from peering.store.protocol import StoreError
from peering.store.sqlite import SqliteStore

#: Turns that somebody else has had, where the event loop goes on.
_TURNS = 10


@contextmanager
def locked(path: Path) -> Iterator[Callable[[], None]]:
    """Another connection has SQLite's write lock, until the end or until the function is called."""
    has, over = threading.Event(), threading.Event()

    def hold() -> None:
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        has.set()
        over.wait(3600)
        db.execute("ROLLBACK")
        db.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert has.wait(30)
    yield over.set
    over.set()
    thread.join()


@asynccontextmanager
async def ticking() -> AsyncIterator[list[float]]:
    """The moments at which the event loop had a turn for somebody else."""
    turns = [time.monotonic()]

    async def tick() -> None:
        while True:
            await asyncio.sleep(0)
            turns.append(time.monotonic())

    task = asyncio.ensure_future(tick())
    yield turns
    task.cancel()
    turns.append(time.monotonic())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - it looks whether others have their turns
            await asyncio.sleep(0)


def test_waiting_for_a_lock_stops_no_event_loop(tmp_path: Path) -> None:
    async def check() -> None:
        store = SqliteStore(tmp_path / "store.db")
        await store.create("Node", "a", {"n": 0})
        with locked(tmp_path / "store.db") as let_go:
            async with ticking() as turns:
                writing = asyncio.ensure_future(store.update("Node", "a", {"n": 1}))
                before = len(turns)
                await until(lambda: len(turns) > before + _TURNS)
                assert (await store.get("Node", "a")).document == {"n": 0}, "a reader waits for nobody"
                assert not writing.done()
                let_go()
                async with asyncio.timeout(30):
                    await writing
        assert (await store.get("Node", "a")).document == {"n": 1}
        await store.close()

    asyncio.run(check())


def test_much_at_once_leaves_others_their_turns(tmp_path: Path) -> None:
    async def check() -> None:
        store = SqliteStore(tmp_path / "store.db")
        await store.create("Node", "a", {})
        async with ticking() as turns:
            for _ in range(3000):
                await store.get("Node", "a")
        assert len(turns) > _TURNS
        await store.close()

    asyncio.run(check())


@contextmanager
def turn_taken(folder: Path) -> Iterator[Callable[[], None]]:
    """Another process has the turn to write, and does not use it, until the end or until the function is called."""
    turn = os.open(folder, os.O_RDONLY)
    fcntl.flock(turn, fcntl.LOCK_EX)
    yield lambda: fcntl.flock(turn, fcntl.LOCK_UN)
    os.close(turn)


def test_writers_wait_for_their_turn_and_readers_do_not(tmp_path: Path) -> None:
    async def check() -> None:
        store = SqliteStore(tmp_path / "store.db")
        await store.create("Node", "a", {"n": 0})
        with turn_taken(tmp_path) as end_turn:
            async with ticking() as turns:
                writing = asyncio.ensure_future(store.update("Node", "a", {"n": 1}))
                for _ in range(100):
                    assert (await store.get("Node", "a")).document == {"n": 0}
                assert not writing.done()
                before = len(turns)
                await until(lambda: len(turns) > before + _TURNS)
                assert not writing.done()
                end_turn()
                async with asyncio.timeout(30):
                    await writing
        assert (await store.get("Node", "a")).document == {"n": 1}
        await store.close()

    asyncio.run(check())


def test_who_is_stopped_in_its_turn_is_told_and_nothing_is_written_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_LOCK_TIMEOUT_S", 0.1)

    async def check() -> None:
        store = SqliteStore(tmp_path / "store.db")
        await store.create("Node", "a", {"n": 0})
        with turn_taken(tmp_path) as end_turn:
            writes = [store.update("Node", "a", {"n": n}) for n in (1, 2)]
            told = await asyncio.gather(*writes, return_exceptions=True)
            assert [str(one) for one in told] == [
                f"{tmp_path}/store.db: others keep the lock; is one of them stopped?"
            ] * 2
            end_turn()
            monkeypatch.undo()
            await store.create("Node", "b", {})
        assert (await store.get("Node", "a")).document == {"n": 0}
        await store.close()

    asyncio.run(check())


def test_process_ends_while_another_keeps_the_turn(tmp_path: Path) -> None:
    script = (
        "import asyncio, pathlib, sys\n"
        "from peering.store import sqlite\n"
        "sqlite._LOCK_TIMEOUT_S = 0.1\n"
        "async def work():\n"
        "    store = sqlite.SqliteStore(pathlib.Path(sys.argv[1]))\n"
        "    try:\n"
        "        await store.create('Node', 'a', {})\n"
        "    finally:\n"
        "        await store.close()\n"
        "asyncio.run(work())\n"
    )
    with turn_taken(tmp_path):
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "store.db")],
            cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert "StoreError" in done.stderr.splitlines()[-1]


def test_many_processes_that_begin_a_store_at_once(tmp_path: Path) -> None:
    """SQLite itself does not wait when a new file is made one with a log."""
    script = (
        "import asyncio, pathlib, sys\n"
        "from peering.store.sqlite import SqliteStore\n"
        "async def work():\n"
        "    store = SqliteStore(pathlib.Path(sys.argv[1]))\n"
        "    await store.create('Node', sys.argv[2], {})\n"
        "    await store.close()\n"
        "sys.stdin.read(1)\n"
        "asyncio.run(work())\n"
    )
    command = (sys.executable, "-c", script, str(tmp_path / "store.db"))
    many = [
        subprocess.Popen([*command, f"n{n}"], cwd=Path(__file__).parents[2], stdin=subprocess.PIPE) for n in range(8)
    ]
    for process in many:
        process.communicate(b".")
    assert [process.returncode for process in many] == [0] * 8

    async def names() -> list[str]:
        store = SqliteStore(tmp_path / "store.db")
        found = [one.name for one in await store.list("Node")]
        await store.close()
        return found

    assert asyncio.run(names()) == [f"n{n}" for n in range(8)]


def test_a_lock_that_is_never_let_go_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_LOCK_TIMEOUT_S", 0.2)

    async def check() -> None:
        store = SqliteStore(tmp_path / "store.db")
        await store.create("Node", "a", {})
        with locked(tmp_path / "store.db"), pytest.raises(StoreError, match=r"store\.db: database is locked"):
            await store.update("Node", "a", {"n": 1})
        assert (await store.get("Node", "a")).document == {}
        await store.close()

    asyncio.run(check())


def test_the_log_does_not_grow_for_ever(tmp_path: Path) -> None:
    """What is written at once checkpoints nothing; the thread does, now and then, and the writer waits for it."""

    async def check() -> None:
        store = SqliteStore(tmp_path / "store.db")
        await store.create("Node", "a", {})
        for number in range(2000):
            await store.update("Node", "a", {"n": number})
        at_least = 2000 * 2 * 4096  # the counter's page, and the object's
        assert (tmp_path / "store.db-wal").stat().st_size < at_least / 2
        await store.close()

    asyncio.run(check())
