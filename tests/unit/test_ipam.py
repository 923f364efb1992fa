"""Blocks and addresses: never given twice, finished after a crash, freed when their node is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from ipam.allocator import Allocator
from ipam.block_order import affinity_name, block_name, blocks_for
from ipam.claims import confirmed_blocks, release_block
from ipam.collector import Collector, Freed
from ipam.errors import PoolExhausted
from ipam.new_blocks import ensure_blocks
from ipam.requests import Request
from peering.manifests import parse_manifests
from peering.resource import Resource
from peering.resources.pools import IPPoolSpec
from peering.store.protocol import Conflict, Stored
from peering.store.resources import put
from peering.store.sqlite import SqliteStore

Check = Callable[[SqliteStore], Awaitable[None]]


def in_store(tmp_path: Path, check: Check) -> None:
    async def run() -> None:
        store = SqliteStore(tmp_path / "store.db")
        try:
            await check(store)
        finally:
            await store.close()

    asyncio.run(run())


def node(name: str) -> Resource:
    return _one(f"apiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {{name: {name}}}\nspec: {{}}")


def pool(name: str, **spec: object) -> Resource:
    text = ", ".join(f"{key}: {value!r}" for key, value in spec.items())
    return _one(f"apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {{name: {name}}}\nspec: {{{text}}}")


def _one(text: str) -> Resource:
    resources, problems = parse_manifests(text, "test")
    assert problems == []
    return resources[0]


PODS = pool("pods", cidr="10.244.0.0/24", blockSize=26)
PODS6 = pool("pods6", cidr="fd00:10:244::/120", blockSize=122)


def test_a_node_gets_one_block_of_each_pool_and_keeps_it(tmp_path: Path) -> None:
    async def check(store: SqliteStore) -> None:
        first = await ensure_blocks(store, node("a"), [PODS, PODS6])
        assert len(first) == 2
        assert await ensure_blocks(store, node("a"), [PODS, PODS6]) == first
        assert await confirmed_blocks(store, "a") == first

    in_store(tmp_path, check)


def test_no_block_has_two_owners_and_the_last_node_is_told_that_the_pool_is_empty(tmp_path: Path) -> None:
    async def check(store: SqliteStore) -> None:
        stores = [SqliteStore(tmp_path / "store.db") for _ in range(4)]
        claims = [ensure_blocks(s, node(n), [PODS]) for s, n in zip(stores, "abcd", strict=True)]
        blocks = [block for owned in await asyncio.gather(*claims) for block in owned]
        assert len(set(blocks)) == len(blocks) == 4
        with pytest.raises(PoolExhausted, match="Node/e in IPPool pods"):
            await ensure_blocks(store, node("e"), [PODS])
        for other in stores:
            await other.close()

    in_store(tmp_path, check)


def test_pools_that_are_disabled_or_for_other_nodes_are_left_alone(tmp_path: Path) -> None:
    async def check(store: SqliteStore) -> None:
        others = [
            pool("x", cidr="10.1.0.0/16", disabled=True),
            pool("y", cidr="10.2.0.0/16", nodeSelector="has(gpu)"),
        ]
        assert await ensure_blocks(store, node("a"), others) == []

    in_store(tmp_path, check)


class CrashingStore(SqliteStore):
    """Dies after so many writes, as a process does that is killed between two of them."""

    def __init__(self, path: Path, writes: int) -> None:
        super().__init__(path)
        self.writes = writes

    async def _write(self, operation: Any) -> Any:
        if self.writes == 0:
            raise KeyboardInterrupt
        self.writes -= 1
        return await super()._write(operation)


@pytest.mark.parametrize("writes", range(4))
def test_a_claim_that_crashed_anywhere_is_finished_by_the_same_node(tmp_path: Path, writes: int) -> None:
    path = tmp_path / "store.db"

    async def crash() -> bool:
        store = CrashingStore(path, writes)
        try:
            await ensure_blocks(store, node("a"), [PODS])
        except KeyboardInterrupt:
            return True
        finally:
            await store.close()
        return False

    crashed = asyncio.run(crash())
    assert crashed is (writes < 3)

    async def check(store: SqliteStore) -> None:
        owned = await ensure_blocks(store, node("a"), [PODS])
        assert len(owned) == 1
        assert [s.document["spec"]["cidr"] for s in await store.list("IPAMBlock")] == owned
        assert [s.document["spec"]["state"] for s in await store.list("BlockAffinity")] == ["confirmed"]

    in_store(tmp_path, check)


@pytest.mark.parametrize("writes", range(4))
def test_a_release_that_crashed_anywhere_is_finished(tmp_path: Path, writes: int) -> None:
    path = tmp_path / "store.db"

    async def crash() -> None:
        store = CrashingStore(path, 100)
        (block,) = await ensure_blocks(store, node("a"), [PODS])
        store.writes = writes
        try:
            await release_block(store, "a", block)
        except KeyboardInterrupt:
            pass
        await store.close()

    asyncio.run(crash())

    async def check(store: SqliteStore) -> None:
        await put(store, node("b"))
        collector = Collector(store, grace=1, leak_grace=1)
        await collector.collect(0)
        await collector.collect(2)
        assert await _names(store.list("IPAMBlock")) == await _names(store.list("BlockAffinity")) == []

    in_store(tmp_path, check)


def test_two_that_release_the_same_block_at_once_do_not_trip_over_each_other(tmp_path: Path) -> None:
    async def check(store: SqliteStore) -> None:
        for _ in range(20):
            (block,) = await ensure_blocks(store, node("a"), [PODS])
            others = [SqliteStore(tmp_path / "store.db") for _ in range(2)]
            done = await asyncio.gather(*(release_block(o, "a", block) for o in others), return_exceptions=True)
            assert [e for e in done if isinstance(e, BaseException) and not isinstance(e, Conflict)] == []
            await release_block(store, "a", block)
            assert await _names(store.list("IPAMBlock")) == await _names(store.list("BlockAffinity")) == []
            for other in others:
                await other.close()

    in_store(tmp_path, check)


def _nodes(freed: Iterable[Freed]) -> list[str]:
    return [one.leftover.node for one in freed]


async def _names(objects: Awaitable[Iterable[Stored]]) -> list[str]:
    return [stored.name for stored in await objects]


def test_the_block_of_a_node_that_is_gone_is_freed_after_two_observations(tmp_path: Path) -> None:
    async def check(store: SqliteStore) -> None:
        await put(store, PODS)
        for name in ("a", "b"):
            await put(store, node(name))
            await ensure_blocks(store, node(name), [PODS])
        collector = Collector(store, grace=10, leak_grace=10)
        assert await collector.collect(0) == []
        await store.delete("Node", "b")
        assert await collector.collect(1) == []
        assert await collector.collect(5) == []
        freed = await collector.collect(11)
        assert _nodes(freed) == ["b"]
        assert await confirmed_blocks(store, "b") == []
        assert len(await confirmed_blocks(store, "a")) == 1

    in_store(tmp_path, check)


def test_a_node_that_came_back_keeps_its_block(tmp_path: Path) -> None:
    async def check(store: SqliteStore) -> None:
        await put(store, PODS)
        await put(store, node("other"))
        owned = await ensure_blocks(store, node("a"), [PODS])
        collector = Collector(store, grace=10, leak_grace=10)
        await collector.collect(0)
        await put(store, node("a"))
        await collector.collect(9)
        await store.delete("Node", "a")
        assert await collector.collect(11) == []
        assert await confirmed_blocks(store, "a") == owned

    in_store(tmp_path, check)


def test_a_store_that_shows_no_node_at_all_frees_nothing(tmp_path: Path) -> None:
    async def check(store: SqliteStore) -> None:
        await ensure_blocks(store, node("a"), [PODS])
        collector = Collector(store, grace=1, leak_grace=1)
        assert await collector.collect(0) == []
        assert await collector.collect(100) == []

    in_store(tmp_path, check)


def test_an_empty_block_whose_pool_is_gone_is_freed_and_one_in_use_is_not(tmp_path: Path) -> None:
    async def check(store: SqliteStore) -> None:
        await put(store, PODS)
        for name in ("a", "b"):
            await put(store, node(name))
            await ensure_blocks(store, node(name), [PODS])
        await Allocator(store, "a").allocate(Request("pod-1"))
        collector = Collector(store, grace=10, leak_grace=10)
        assert await collector.collect(0) == []
        await store.delete("IPPool", "pods")
        assert await collector.collect(1) == []
        assert _nodes(await collector.collect(20)) == ["b"]
        await Allocator(store, "a").release("pod-1")
        await collector.collect(21)
        assert _nodes(await collector.collect(40)) == ["a"]

    in_store(tmp_path, check)


def test_the_order_of_blocks_covers_the_pool_and_starts_elsewhere_for_each_node() -> None:
    spec = PODS.spec
    assert isinstance(spec, IPPoolSpec)
    orders = {name: list(blocks_for(name, spec)) for name in ("a", "b", "c", "d", "e", "f")}
    assert {frozenset(order) for order in orders.values()} == {frozenset(f"10.244.0.{i}/26" for i in (0, 64, 128, 192))}
    assert len({order[0] for order in orders.values()}) > 1


def test_names_of_objects() -> None:
    assert block_name("10.244.0.64/26") == "10-244-0-64-26"
    assert affinity_name("node-1", "fd00:10:244::40/122") == "node-1-fd00-10-244--40-122"
