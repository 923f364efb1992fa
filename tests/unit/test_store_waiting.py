"""The embedded store when others have its lock: who waits, how, and that the event loop goes on."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from peering.store import sqlite
from peering.store.protocol import StoreError
from peering.store.sqlite import SqliteStore


@contextmanager
def locked(path: Path, seconds: float = 3600.0) -> Iterator[threading.Event]:
    """Another connection has the write lock for so long, or until the end. The event is set when it has let go."""
    has, over, gone = threading.Event(), threading.Event(), threading.Event()

    def hold() -> None:
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        has.set()
        over.wait(seconds)
        gone.set()
        db.execute("ROLLBACK")
        db.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert has.wait(10)
    yield gone
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


def longest(turns: list[float]) -> float:
    return max(later - earlier for earlier, later in pairwise(turns))


def test_waiting_for_a_lock_stops_no_event_loop(tmp_path: Path) -> None:
    async def check() -> None:
        store = SqliteStore(tmp_path / "store.db")
        await store.create("Node", "a", {"n": 0})
        with locked(tmp_path / "store.db", 0.4) as gone:
            async with ticking() as turns:
                assert (await store.get("Node", "a")).document == {"n": 0}
                assert not gone.is_set(), "a reader waits for nobody"
                await store.update("Node", "a", {"n": 1})
                assert gone.is_set()
        assert longest(turns) < 0.2
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
        assert len(turns) > 10
        assert longest(turns) < 0.2
        await store.close()

    asyncio.run(check())


def test_who_is_stopped_in_its_turn_stops_nobody(tmp_path: Path) -> None:
    """The turn is somebody's who does not use it; the lock is free, and then it is taken."""

    async def check() -> None:
        store = SqliteStore(tmp_path / "store.db")
        await store.create("Node", "a", {})
        turn = os.open(tmp_path, os.O_RDONLY)
        fcntl.flock(turn, fcntl.LOCK_EX)
        with locked(tmp_path / "store.db", 0.2) as gone:
            async with asyncio.timeout(10):
                await store.update("Node", "a", {"n": 1})
            assert gone.is_set()
        os.close(turn)
        await store.close()

    asyncio.run(check())


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
