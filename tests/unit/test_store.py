"""The embedded store: compare-and-swap, watches, and several processes on one file."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from peering.store import sqlite
from peering.store.open_store import open_store
from peering.store.protocol import Changed, Conflict, NotFound, Store, StoreError, Write
from peering.store.sqlite import SqliteStore


def run(coroutine: object) -> object:
    return asyncio.run(coroutine)  # type: ignore[arg-type]


def test_create_get_update_delete(tmp_path: Path) -> None:
    async def check() -> None:
        store = SqliteStore(tmp_path / "store.db")
        created = await store.create("Node", "a", {"spec": {"x": 1}})
        assert (await store.get("Node", "a")).document == {"spec": {"x": 1}}
        updated = await store.update("Node", "a", {"spec": {"x": 2}}, created.version)
        assert updated.version > created.version
        with pytest.raises(Conflict):
            await store.update("Node", "a", {}, created.version)
        with pytest.raises(Conflict):
            await store.delete("Node", "a", created.version)
        with pytest.raises(Conflict):
            await store.create("Node", "a", {})
        await store.delete("Node", "a", updated.version)
        with pytest.raises(NotFound):
            await store.get("Node", "a")
        with pytest.raises(NotFound):
            await store.update("Node", "a", {})
        assert (await store.create("Node", "a", {})).version > updated.version
        await store.close()

    run(check())


def test_a_watch_sees_every_change_after_its_start_in_order(tmp_path: Path) -> None:
    async def check() -> None:
        store, other = SqliteStore(tmp_path / "store.db"), SqliteStore(tmp_path / "store.db")
        await store.create("Node", "before", {})
        _, since = await store.snapshot(["Node"])
        watch = store.watch(["Node"], since)
        await other.create("Node", "a", {"n": 1})
        await other.create("Rack", "not-watched", {})
        await other.update("Node", "a", {"n": 2})
        await other.delete("Node", "before")
        seen: dict[str, object] = {}
        while len(seen) < 2:
            for change in await anext(watch):
                seen[change.name] = change.stored.document if change.stored else None
        assert seen == {"a": {"n": 2}, "before": None}
        await watch.aclose()  # type: ignore[attr-defined]
        await store.close()
        await other.close()

    run(check())


def test_a_sleeping_watch_wakes_when_another_connection_writes(tmp_path: Path) -> None:
    async def check() -> None:
        store, other = SqliteStore(tmp_path / "store.db"), SqliteStore(tmp_path / "store.db")
        watch = store.watch(["Node"], 0)
        waiting = asyncio.ensure_future(_first(watch))
        await asyncio.sleep(0)
        await other.create("Node", "a", {})
        # Far below the slow poll of the store, so that only the file event can have brought it.
        changes = await asyncio.wait_for(waiting, 2)
        assert [c.name for c in changes] == ["a"]
        await store.close()
        await other.close()

    run(check())


class EarlyEvents:
    """One event that comes before the change it tells of can be read, as SQLite's log is written before a commit."""

    def __init__(self, other: SqliteStore) -> None:
        self.other = other
        self.waits = 0
        self.longest = 0.0

    def __enter__(self) -> EarlyEvents:
        return self

    def __exit__(self, *_: object) -> None: ...

    async def wait(self, at_most: float) -> bool:
        self.waits += 1
        if self.waits == 2:
            await self.other.create("Node", "a", {})
        self.longest = max(self.longest, at_most if self.waits > 1 else 0)
        await asyncio.sleep(0)
        return self.waits == 1


def test_a_watch_that_was_woken_too_early_looks_again_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        store = SqliteStore(tmp_path / "store.db")
        events = EarlyEvents(SqliteStore(tmp_path / "store.db"))
        monkeypatch.setattr("peering.store.sqlite.FileEvents", lambda *_: events)
        assert [c.name for c in await _first(store.watch(["Node"], 0))] == ["a"]
        assert events.longest < 0.1
        await store.close()
        await events.other.close()

    run(check())


async def _first(watch: AsyncIterator[Sequence[Changed]]) -> Sequence[Changed]:
    return await anext(watch)


def _increment(path: Path, times: int) -> None:
    async def work() -> None:
        store = SqliteStore(path)
        for _ in range(times):
            while True:
                current = await store.get("Counter", "c")
                try:
                    await store.update("Counter", "c", {"n": current.document["n"] + 1}, current.version)
                    break
                except Conflict:
                    continue
        await store.close()

    asyncio.run(work())


def test_compare_and_swap_loses_nothing_between_processes(tmp_path: Path) -> None:
    path = tmp_path / "store.db"

    async def start() -> None:
        store = SqliteStore(path)
        await store.create("Counter", "c", {"n": 0})
        await store.close()

    async def end() -> int:
        store = SqliteStore(path)
        value = (await store.get("Counter", "c")).document["n"]
        await store.close()
        return int(value)

    run(start())
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_increment, args=(path, 25)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert run(end()) == 100


WRITES = [Write("Node", "a", {"n": 1}), Write("Rack", "r", {"n": 1}), Write("Node", "old", None)]


async def contents(store: Store) -> dict[str, object]:
    objects, _ = await store.snapshot(["Node", "Rack", "Status"])
    return {f"{stored.kind}/{stored.name}": stored.document for stored in objects}


def test_all_writes_are_seen_at_once_and_each_has_a_version(tmp_path: Path) -> None:
    async def check() -> None:
        store = SqliteStore(tmp_path / "store.db")
        old = await store.create("Node", "old", {})
        await store.create("Node", "a", {"n": 0})
        _, since = await store.snapshot(["Node"])
        await store.apply_all(WRITES, ["Node", "Rack"], since)
        changes = await _first(store.watch(["Node", "Rack"], since))
        assert [(c.kind, c.name, c.stored.document if c.stored else None) for c in changes] == [
            (w.kind, w.name, w.document) for w in WRITES
        ]
        versions = [c.version for c in changes]
        assert versions == sorted(set(versions))
        assert versions[0] > since > old.version
        assert await contents(store) == {"Node/a": {"n": 1}, "Rack/r": {"n": 1}}
        await store.close()

    run(check())


async def _create(store: Store) -> None:
    await store.create("Node", "new", {})


async def _update(store: Store) -> None:
    await store.update("Node", "old", {"n": 7})


async def _delete(store: Store) -> None:
    await store.delete("Node", "other")


async def _replace(store: Store) -> None:
    await store.delete("Node", "other")
    await store.create("Node", "other", {})


@pytest.mark.parametrize("meddle", [_create, _update, _delete, _replace])
def test_whatever_was_written_since_the_snapshot_is_a_conflict(
    tmp_path: Path, meddle: Callable[[Store], Awaitable[None]]
) -> None:
    async def check() -> None:
        store, other = SqliteStore(tmp_path / "store.db"), SqliteStore(tmp_path / "store.db")
        await store.create("Node", "old", {})
        await store.create("Node", "other", {})
        _, since = await store.snapshot(["Node"])
        await meddle(other)
        before = await contents(store)
        with pytest.raises(Conflict, match="Node/"):
            await store.apply_all(WRITES, ["Node", "Rack"], since)
        assert await contents(store) == before
        _, now = await store.snapshot(["Node"])
        await store.apply_all(WRITES, ["Node", "Rack"], now)
        await store.close()
        await other.close()

    run(check())


def test_what_other_kinds_do_is_no_conflict(tmp_path: Path) -> None:
    async def check() -> None:
        store = SqliteStore(tmp_path / "store.db")
        await store.create("Node", "old", {})
        _, since = await store.snapshot(["Node"])
        await store.create("Status", "a", {})
        await store.apply_all(WRITES, ["Node", "Rack"], since)
        assert set(await contents(store)) == {"Node/a", "Rack/r", "Status/a"}
        await store.close()

    run(check())


def test_one_write_that_cannot_be_done_undoes_the_others(tmp_path: Path) -> None:
    async def check() -> None:
        store = SqliteStore(tmp_path / "store.db")
        await store.create("Node", "a", {"n": 0})
        objects, since = await store.snapshot(["Node"])
        with pytest.raises(NotFound):
            await store.apply_all(WRITES, ["Node", "Rack"], since)
        assert await store.snapshot(["Node", "Rack"]) == (objects, since)
        await store.close()

    run(check())


def test_a_snapshot_from_before_deletions_were_forgotten_is_a_conflict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row of a deleted object goes in the end; who read before that cannot know what went."""
    monkeypatch.setattr(sqlite, "_KEEP_DELETED", 3)

    async def check() -> None:
        store = SqliteStore(tmp_path / "store.db")
        for name in ("old", "gone", "last"):
            await store.create("Node", name, {})
        _, since = await store.snapshot(["Node"])
        await store.delete("Node", "gone")
        for number in range(5):
            await store.create("Status", str(number), {})
        await store.create("Status", "x", {})
        await store.delete("Status", "x")
        with pytest.raises(Conflict, match="too long ago"):
            await store.apply_all(WRITES, ["Node", "Rack"], since)
        await store.close()

    run(check())


def _increment_both(path: Path, times: int) -> None:
    async def work() -> None:
        store = SqliteStore(path)
        for _ in range(times):
            while True:
                objects, since = await store.snapshot(["Left", "Right"])
                assert len({stored.document["n"] for stored in objects}) == 1, "half of a write was seen"
                try:
                    writes = [Write(s.kind, s.name, {"n": s.document["n"] + 1}) for s in objects]
                    await store.apply_all(writes, ["Left", "Right"], since)
                    break
                except Conflict:
                    continue
        await store.close()

    asyncio.run(work())


def test_several_processes_that_write_two_objects_at_once(tmp_path: Path) -> None:
    path = tmp_path / "store.db"

    async def start() -> None:
        store = SqliteStore(path)
        await store.create("Left", "x", {"n": 0})
        await store.create("Right", "x", {"n": 0})
        await store.close()

    async def end() -> list[int]:
        store = SqliteStore(path)
        found = [(await store.get(kind, "x")).document["n"] for kind in ("Left", "Right")]
        await store.close()
        return found

    run(start())
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_increment_both, args=(path, 25)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert run(end()) == [75, 75]


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    async def check() -> None:
        store = SqliteStore(tmp_path / "store.db")
        await store.list("Node")
        await store.close()

    run(check())
    assert (tmp_path / "store.db").stat().st_mode & 0o777 == 0o600


def test_what_is_no_store_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is no store"):
        open_store("etcd:somewhere")
    (tmp_path / "store.db").write_bytes(b"this is no database, but it is long enough to be mistaken for one" * 20)

    async def check() -> None:
        with pytest.raises(StoreError, match="not a database"):
            await SqliteStore(tmp_path / "store.db").list("Node")

    run(check())
