"""What the store's protocol promises on every engine, told of SQLite and of Kubernetes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from peering.resource import Resource, parse_resource
from peering.store.protocol import Changed, Conflict, Document, NotFound, Store, StoreError, Write
from peering.store.resources import Loader
from peering.store.sqlite import SqliteStore
from tests.kube_api.cluster import Cluster, run

#: Makes one more store on the same data, as another process has it.
Opened = Callable[[], Store]
Engine = Callable[[Path], AbstractAsyncContextManager[Opened]]
POOL = "IPPool"


@asynccontextmanager
async def on_sqlite(folder: Path) -> AsyncIterator[Opened]:
    opened: list[Store] = []

    def another() -> Store:
        opened.append(SqliteStore(folder / "store.db"))
        return opened[-1]

    yield another
    for store in opened:
        await store.close()


@asynccontextmanager
async def on_kubernetes(folder: Path) -> AsyncIterator[Opened]:
    async with Cluster(folder) as cluster:
        yield cluster.store


@asynccontextmanager
async def on_kubernetes_watched(folder: Path) -> AsyncIterator[Opened]:
    """As processes that stay have it: what was read once is watched."""
    async with Cluster(folder) as cluster:
        yield lambda: cluster.store(interests=())


EVERY = pytest.mark.parametrize("engine", [on_sqlite, on_kubernetes, on_kubernetes_watched])
FRESH = pytest.mark.parametrize("engine", [on_sqlite, on_kubernetes])


def pool(name: str, number: int = 0) -> Document:
    return {
        "apiVersion": "underlay.io/v1alpha1",
        "kind": POOL,
        "metadata": {"name": name},
        "spec": {"cidr": "10.0.0.0/16", "nodeSelector": f"rack == '{number}'"},
    }


def profile(name: str, interval: int = 300) -> Document:
    return {
        "apiVersion": "underlay.io/v1alpha1",
        "kind": "BFDProfile",
        "metadata": {"name": name},
        "spec": {"receiveInterval": f"{interval}ms"},
    }


def affinity(node: str, state: str = "pending") -> Document:
    return {
        "apiVersion": "underlay.io/v1alpha1",
        "kind": "BlockAffinity",
        "metadata": {"name": f"{node}-10-0-0-0-26"},
        "spec": {"node": node, "cidr": "10.0.0.0/26", "state": state},
    }


@EVERY
def test_create_get_update_delete(engine: Engine, tmp_path: Path) -> None:
    async def story() -> None:
        async with engine(tmp_path) as opened:
            store = opened()
            created = await store.create(*named(affinity("a")))
            kind, name, _ = named(affinity("a"))
            assert (created.kind, created.name, created.document) == (kind, name, affinity("a"))
            assert await store.get(kind, name) == created
            confirmed = affinity("a", "confirmed")
            updated = await store.update(kind, name, confirmed, created.version)
            assert updated.version > created.version
            assert (await store.get(kind, name)).document == confirmed
            with pytest.raises(Conflict):
                await store.update(kind, name, affinity("a"), created.version)
            with pytest.raises(Conflict):
                await store.delete(kind, name, created.version)
            with pytest.raises(Conflict):
                await store.create(kind, name, affinity("a"))
            anyhow = await store.update(kind, name, affinity("a"))
            assert anyhow.version > updated.version
            await store.delete(kind, name, anyhow.version)
            for gone in (store.get(kind, name), store.update(kind, name, confirmed), store.delete(kind, name)):
                with pytest.raises(NotFound):
                    await gone
            with pytest.raises((NotFound, Conflict)):
                await store.update(kind, name, confirmed, anyhow.version)
            assert (await store.create(kind, name, confirmed)).version > anyhow.version
            await store.delete(kind, name)

    run(story)


@EVERY
@pytest.mark.parametrize("kind", ["BlockAffinity", POOL])
def test_a_write_of_the_same_document_makes_a_new_version(kind: str, engine: Engine, tmp_path: Path) -> None:
    """Who has read the version before must lose."""
    document = affinity("a") if kind == "BlockAffinity" else pool("a")

    async def story() -> None:
        async with engine(tmp_path) as opened:
            store = opened()
            created = await store.create(*named(document))
            again = await store.update(*named(document), created.version)
            assert again.version > created.version
            with pytest.raises(Conflict):
                await store.update(*named(document), created.version)
            third = await store.update(*named(document), again.version)
            assert third.version > again.version
            assert third.document == document
            assert (await store.update(*named(document))).version > third.version

    run(story)


@FRESH
def test_lists_and_snapshots_are_by_name_and_of_now(engine: Engine, tmp_path: Path) -> None:
    async def story() -> None:
        async with engine(tmp_path) as opened:
            store, other = opened(), opened()
            for name in ("b", "a"):
                await other.create(*named(pool(name)))
            await other.create(*named(profile("p")))
            assert [one.name for one in await store.list(POOL)] == ["a", "b"]
            objects, since = await store.snapshot([POOL, "BFDProfile", "Rack"])
            assert [(one.kind, one.name) for one in objects] == [("BFDProfile", "p"), (POOL, "a"), (POOL, "b")]
            assert all(one.version <= since for one in objects)
            await other.delete(POOL, "a")
            assert [one.name for one in (await store.snapshot([POOL]))[0]] == ["b"]

    run(story)


@EVERY
def test_a_process_sees_its_own_writes(engine: Engine, tmp_path: Path) -> None:
    async def story() -> None:
        async with engine(tmp_path) as opened:
            store = opened()
            watch = asyncio.ensure_future(first(store.watch([POOL], (await store.snapshot([POOL]))[1])))
            loader = Loader(store)
            for number in range(3):
                name = f"p{number}"
                await store.create(*named(pool(name)))
                await store.update(*named(pool(name, 2)))
                resources, _, problems = await loader.load([POOL])
                assert [(one.name, spec_of(one)["nodeSelector"]) for one in resources] == [(name, "rack == '2'")]
                assert problems == []
                await store.delete(POOL, name)
                assert (await loader.load([POOL]))[0] == []
            assert {change.name for change in await watch} <= {"p0", "p1", "p2"}

    run(story)


@EVERY
def test_a_watch_sees_every_change_after_its_start(engine: Engine, tmp_path: Path) -> None:
    async def story() -> None:
        async with engine(tmp_path) as opened:
            store, other = opened(), opened()
            await store.create(*named(pool("before")))
            await store.create(*named(pool("stays")))
            _, since = await store.snapshot([POOL])
            watch = store.watch([POOL], since)
            await other.create(*named(pool("a", 1)))
            await other.create(*named(profile("not-watched")))
            await other.update(*named(pool("a", 2)))
            await other.delete(POOL, "before")
            seen: dict[str, object] = {}
            places: list[int] = []
            while len(seen) < 2 or seen["a"] != pool("a", 2):
                for change in await anext(watch):
                    assert change.kind == POOL
                    places.append(change.version)
                    seen[change.name] = change.stored.document if change.stored else None
            assert seen == {"a": pool("a", 2), "before": None}
            assert places[0] > since
            assert places == sorted(places)
            await watch.aclose()  # type: ignore[attr-defined]

    run(story)


@EVERY
def test_a_sleeping_watch_wakes(engine: Engine, tmp_path: Path) -> None:
    async def story() -> None:
        async with engine(tmp_path) as opened:
            store, other = opened(), opened()
            watch = store.watch([POOL], (await store.snapshot([]))[1])
            for name in ("a", "b", "c"):
                waiting = asyncio.ensure_future(first(watch))
                await asyncio.sleep(0)
                await other.create(*named(pool(name)))
                changes = await asyncio.wait_for(waiting, 3)
                assert [(c.kind, c.name) for c in changes] == [(POOL, name)]

    run(story)


@pytest.mark.parametrize("engine", [on_kubernetes, on_kubernetes_watched])
def test_a_watch_ends_with_its_store(engine: Engine, tmp_path: Path) -> None:
    async def story() -> None:
        async with engine(tmp_path) as opened:
            store = opened()
            await store.snapshot([POOL])
            waiting = asyncio.ensure_future(first(store.watch([POOL], 10**9)))
            await asyncio.sleep(0.05)
            await store.close()
            with pytest.raises((StopAsyncIteration, StoreError, asyncio.CancelledError)):
                await asyncio.wait_for(waiting, 3)

    run(story)


@EVERY
def test_compare_and_swap_loses_nothing(engine: Engine, tmp_path: Path) -> None:
    async def increment(store: Store, times: int) -> None:
        for _ in range(times):
            while True:
                current = await store.get("IPAMHandle", "counter")
                blocks = current.document["spec"].get("blocks", [])
                spec = {"handle": "counter", "blocks": [*blocks, f"10.0.{len(blocks)}.0/24"]}
                try:
                    await store.update("IPAMHandle", "counter", {**current.document, "spec": spec}, current.version)
                    break
                except Conflict:
                    continue

    async def story() -> None:
        async with engine(tmp_path) as opened:
            handle = {"apiVersion": "underlay.io/v1alpha1", "kind": "IPAMHandle", "metadata": {"name": "counter"}}
            await opened().create("IPAMHandle", "counter", {**handle, "spec": {"handle": "counter"}})
            await asyncio.gather(*(increment(opened(), 10) for _ in range(4)))
            found = await opened().get("IPAMHandle", "counter")
            assert found.document["spec"]["blocks"] == [f"10.0.{n}.0/24" for n in range(40)]

    run(story)


KINDS = [POOL, "BFDProfile"]
WRITES = [Write(*named_) for named_ in [(POOL, "a", pool("a", 1)), ("BFDProfile", "r", profile("r"))]]
WRITES.append(Write(POOL, "old", None))


async def contents(store: Store) -> dict[str, object]:
    objects, _ = await store.snapshot([*KINDS, "Rack"])
    return {f"{stored.kind}/{stored.name}": stored.document for stored in objects}


@FRESH
def test_a_whole_declaration_is_written(engine: Engine, tmp_path: Path) -> None:
    async def story() -> None:
        async with engine(tmp_path) as opened:
            store = opened()
            await store.create(*named(pool("old")))
            await store.create(*named(pool("a")))
            _, since = await store.snapshot(KINDS)
            await store.apply_all(WRITES, KINDS, since)
            assert await contents(store) == {f"{POOL}/a": pool("a", 1), "BFDProfile/r": profile("r")}

    run(story)


async def _create(store: Store) -> None:
    await store.create(*named(pool("new")))


async def _update(store: Store) -> None:
    await store.update(*named(pool("old", 7)))


async def _delete(store: Store) -> None:
    await store.delete(POOL, "other")


async def _replace(store: Store) -> None:
    await store.delete(POOL, "other")
    await store.create(*named(pool("other")))


@FRESH
@pytest.mark.parametrize("meddle", [_create, _update, _delete, _replace])
def test_whatever_was_written_since_the_snapshot_is_a_conflict(
    engine: Engine, meddle: Callable[[Store], Awaitable[None]], tmp_path: Path
) -> None:
    async def story() -> None:
        async with engine(tmp_path) as opened:
            store, other = opened(), opened()
            await store.create(*named(pool("old")))
            await store.create(*named(pool("other")))
            _, since = await store.snapshot(KINDS)
            await meddle(other)
            before = await contents(store)
            with pytest.raises(Conflict, match=f"{POOL}/"):
                await store.apply_all(WRITES, KINDS, since)
            assert await contents(store) == before
            _, now = await store.snapshot(KINDS)
            await store.apply_all(WRITES, KINDS, now)

    run(story)


@FRESH
def test_what_other_kinds_do_is_no_conflict(engine: Engine, tmp_path: Path) -> None:
    async def story() -> None:
        async with engine(tmp_path) as opened:
            store = opened()
            await store.create(*named(pool("old")))
            _, since = await store.snapshot(KINDS)
            await opened().create(*named(affinity("a")))
            await store.apply_all(WRITES, KINDS, since)
            assert set(await contents(store)) == {f"{POOL}/a", "BFDProfile/r"}

    run(story)


@FRESH
def test_one_write_that_cannot_be_done_undoes_the_others(engine: Engine, tmp_path: Path) -> None:
    async def story() -> None:
        async with engine(tmp_path) as opened:
            store = opened()
            await store.create(*named(pool("a")))
            before = await contents(store)
            _, since = await store.snapshot(KINDS)
            with pytest.raises(NotFound, match=f"{POOL}/old"):
                await store.apply_all(WRITES, KINDS, since)
            assert await contents(store) == before

    run(story)


@FRESH
def test_many_that_write_two_objects_at_once(engine: Engine, tmp_path: Path) -> None:
    async def increment(store: Store, times: int) -> None:
        for _ in range(times):
            while True:
                objects, since = await store.snapshot(KINDS)
                numbers = {stored.document["spec"].get("receiveInterval") for stored in objects}
                assert len(objects) == 2
                assert len(numbers) <= 2
                left = next(stored for stored in objects if stored.name == "left")
                after = int(left.document["spec"]["receiveInterval"].removesuffix("ms")) + 1
                try:
                    writes = [Write(*named(profile(name, after))) for name in ("left", "right")]
                    await store.apply_all(writes, KINDS, since)
                    break
                except Conflict:
                    continue

    async def story() -> None:
        async with engine(tmp_path) as opened:
            for name in ("left", "right"):
                await opened().create(*named(profile(name, 100)))
            await asyncio.gather(*(increment(opened(), 5) for _ in range(3)))
            found = [(await opened().get("BFDProfile", name)).document for name in ("left", "right")]
            assert found == [profile("left", 115), profile("right", 115)]

    run(story)


def named(document: Document) -> tuple[str, str, Document]:
    return document["kind"], document["metadata"]["name"], document


def spec_of(resource: Resource) -> Document:
    spec: Document = resource.to_document()["spec"]
    return spec


async def first(watch: AsyncIterator[Sequence[Changed]]) -> Sequence[Changed]:
    return await anext(watch)


def test_the_documents_of_these_tests_are_such_as_are_kept() -> None:
    for document in (pool("a", 1), profile("a"), affinity("a")):
        assert isinstance(parse_resource(document), Resource)
