"""A reading without what is in order shows the same leftovers as the whole, whatever is wrong, and holds little."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, cast, get_args

import pytest

from ipam.block import owner_of
from ipam.block_order import address_at, block_name
from ipam.collector import KINDS
from ipam.lean_reading import LeanReader
from ipam.leftovers import Leftover, Reading, What, leftovers
from ipam.owners import LOAD_BALANCERS
from peering.resource import Resource, parse_resource
from peering.resources.ipam import IPAMBlockSpec
from peering.store.protocol import Document, Store, Stored

_NODES, _BLOCKS, _PODS = ("a", "b", "c"), ("10.0.0.0/29", "10.0.0.8/29", "10.0.0.16/29", "10.1.0.0/29"), 6
World = dict[tuple[str, str], Document]


class Snapshots:
    """As much of a store as is read: `world` may be changed in between."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.read = 0

    async def snapshot(self, kinds: Sequence[str]) -> tuple[list[Stored], int]:
        objects = [Stored(kind, name, hash(str(one)), one) for (kind, name), one in sorted(self.world.items())]
        return [one for one in objects if one.kind in kinds], 0


def put(world: World, kind: str, name: str, spec: Document) -> None:
    document = {"apiVersion": "underlay.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    assert isinstance(parse_resource(document), Resource)
    world[kind, name] = document


def healthy() -> World:
    """Three nodes with blocks and pods, of which all is in order."""
    world: World = {}
    put(world, "IPPool", "pods", {"cidr": "10.0.0.0/16", "blockSize": 29})
    for node in _NODES:
        put(world, "Node", node, {})
    for node, cidr in zip(_NODES, _BLOCKS, strict=False):
        put(world, "BlockAffinity", f"{node}-{block_name(cidr)}", {"node": node, "cidr": cidr, "state": "confirmed"})
        given = [{"ordinal": pod, "handle": f"net.{node}{pod}", "sequence": pod + 1} for pod in range(_PODS)]
        put(world, "IPAMBlock", block_name(cidr), {"cidr": cidr, "affinity": owner_of(node), "allocations": given})
        for one in given:
            put(world, "IPAMHandle", cast(str, one["handle"]), {"handle": one["handle"], "blocks": [cidr]})
    return world


def block_at(world: World, rng: random.Random) -> Document:
    name = rng.choice([name for kind, name in world if kind == "IPAMBlock"])
    spec: Document = world["IPAMBlock", name]["spec"]
    return spec


def some_handle(rng: random.Random) -> str:
    return rng.choice([f"net.{node}{pod}" for node in _NODES for pod in range(_PODS)] + ["", "net.new", "Net:Odd"])


def lose(kind: str) -> Callable[[World, random.Random], None]:
    """One of several: something is left to be changed."""

    def change(world: World, rng: random.Random) -> None:
        names = [name for found, name in world if found == kind]
        if len(names) > 1:
            del world[kind, rng.choice(names)]

    return change


def change_allocation(world: World, rng: random.Random) -> None:
    given = block_at(world, rng)["allocations"]
    if given:
        values: dict[str, Any] = {
            "handle": some_handle(rng),
            "node": rng.choice((*_NODES, "", "gone")),
            "borrowed": rng.random() < 0.5,
            "sequence": rng.randrange(9),
        }
        field = rng.choice(list(values))
        rng.choice(given)[field] = values[field]


def change_block(world: World, rng: random.Random) -> None:
    spec = block_at(world, rng)
    change = rng.randrange(4)
    if change == 0:
        spec["affinity"] = rng.choice((*map(owner_of, _NODES), owner_of("gone"), owner_of(LOAD_BALANCERS), ""))
    elif change == 1:
        spec["allocations"] = []
    elif change == 2:
        spec["allocations"] = spec["allocations"][: rng.randrange(_PODS)]
    else:
        used = {one["ordinal"] for one in spec["allocations"]}
        free = next(ordinal for ordinal in range(100) if ordinal not in used)
        spec["allocations"] = [*spec["allocations"], {"ordinal": free, "handle": some_handle(rng), "sequence": 50}]


def change_handle(world: World, rng: random.Random) -> None:
    names = [name for kind, name in world if kind == "IPAMHandle"]
    if names:
        world["IPAMHandle", rng.choice(names)]["spec"]["blocks"] = rng.sample(_BLOCKS, rng.randrange(3))


def call_otherwise(world: World, rng: random.Random) -> None:
    """A handle whose object has another name, beside the one that it had or in its place."""
    names = [name for kind, name in world if kind == "IPAMHandle"]
    if names:
        name = rng.choice(names)
        spec = dict(world["IPAMHandle", name]["spec"])
        if rng.random() < 0.5:
            del world["IPAMHandle", name]
        elif rng.random() < 0.5:
            spec["blocks"] = rng.sample(_BLOCKS, rng.randrange(3))
        put(world, "IPAMHandle", f"odd{rng.randrange(2)}", spec)


def double(world: World, rng: random.Random) -> None:
    """Two objects for one block, of which the second by name counts."""
    spec = block_at(world, rng)
    given = [dict(one) for one in spec["allocations"] if rng.random() < 0.7]
    put(world, "IPAMBlock", f"{rng.choice('az')}-odd", {**spec, "allocations": given})


def borrow(world: World, rng: random.Random) -> None:
    """An address of a block is a node's that lists it, or one like it."""
    spec, node = block_at(world, rng), rng.choice((*_NODES, "gone"))
    listed = []
    if spec["allocations"]:
        given = rng.choice(spec["allocations"])
        given |= {"borrowed": rng.random() < 0.8, "node": node}
        listed = [{"address": address_at(spec["cidr"], given["ordinal"]), "sequence": given["sequence"]}]
    borrowed = {"node": node, "cidr": spec["cidr"], "type": "borrower", "addresses": listed[: rng.randrange(3)]}
    put(world, "BlockAffinity", f"{node}-{block_name(spec['cidr'])}-borrower", borrowed)


def claim_more(world: World, rng: random.Random) -> None:
    node, cidr = rng.choice(_NODES), rng.choice(_BLOCKS[-2:])
    put(
        world,
        "BlockAffinity",
        f"{node}-more",
        {"node": node, "cidr": cidr, "state": rng.choice(["pending", "confirmed"])},
    )
    put(world, "IPAMBlock", block_name(cidr), {"cidr": cidr, "affinity": owner_of(node), "allocations": []})


_CHANGES = (
    lose("Node"), lose("IPAMBlock"), lose("IPAMHandle"), lose("BlockAffinity"), change_allocation, change_allocation,
    change_block, change_handle, call_otherwise, double, borrow, claim_more,
)  # fmt: skip


async def seen(reader: LeanReader, *, whole: bool = False) -> tuple[list[Leftover], list[Resource]]:
    resources, unreadable = await reader.read(KINDS, whole=whole)
    assert unreadable == []
    return leftovers(Reading.of(resources, 1e9), lambda a: False), resources


def wholly(world: World) -> list[Leftover]:
    """What the rules find in all of it, parsed anew."""
    resources = [parse_resource(one, version=hash(str(one))) for _, one in sorted(world.items())]
    assert all(isinstance(one, Resource) for one in resources)
    return leftovers(Reading.of(cast(list[Resource], resources), 1e9), lambda a: False)


def test_the_same_is_left_over_as_in_the_whole() -> None:
    """One reader sees one change after the other, and remembers what did not change."""

    async def story(seed: int) -> set[str]:
        rng, world = random.Random(seed), healthy()
        reader, kinds = LeanReader(cast(Store, Snapshots(world))), set[str]()
        for _ in range(6):
            for _ in range(rng.randrange(4)):
                rng.choice(_CHANGES)(world, rng)
            found, _ = await seen(reader)
            assert sorted(map(repr, found)) == sorted(map(repr, wholly(world))), seed
            kinds |= {one.what for one in found}
        return kinds

    found = {kind for seed in range(150) for kind in asyncio.run(story(seed))}
    assert found == {*get_args(What)}, "every sort of leftover was among them"


@pytest.mark.parametrize("block", _BLOCKS[:2])
def test_an_address_in_order_is_seen_beside_another_of_its_handle_that_is_not(block: str) -> None:
    """All addresses of a handle leak, or none does. The other one is in the same block, or in another."""
    world = healthy()
    given: list[Document] = world["IPAMBlock", block_name(block)]["spec"]["allocations"]
    given[4] |= {"handle": "net.a2", "node": "gone", "borrowed": True}
    found, _ = asyncio.run(seen(LeanReader(cast(Store, Snapshots(world)))))
    assert sorted(map(repr, found)) == sorted(map(repr, wholly(world)))
    assert "leak" not in {one.what for one in found}


def test_of_what_is_in_order_little_is_read() -> None:
    """One handle for each block; all of it when somebody knows the holders."""
    reader = LeanReader(cast(Store, Snapshots(healthy())))

    async def story() -> None:
        for whole, expected in ((False, len(_NODES)), (True, len(_NODES) * _PODS), (False, len(_NODES))):
            found, resources = await seen(reader, whole=whole)
            assert found == []
            assert sum(one.kind == "IPAMHandle" for one in resources) == expected
            blocks = [cast(IPAMBlockSpec, one.spec) for one in resources if one.kind == "IPAMBlock"]
            assert sum(len(one.allocations) for one in blocks) == expected

    asyncio.run(story())


def test_what_cannot_be_read_is_told_each_time() -> None:
    world = healthy()
    world["IPAMHandle", "net.a0"]["spec"] = {"handel": "net.a0"}
    reader = LeanReader(cast(Store, Snapshots(world)))

    async def story() -> None:
        for _ in range(2):
            _, unreadable = await reader.read(KINDS, whole=False)
            assert {one.object for one in unreadable} == {"IPAMHandle/net.a0"}
        world["IPAMHandle", "net.a0"]["spec"] = {"handle": "net.a0", "blocks": [_BLOCKS[0]]}
        assert (await seen(reader))[0] == []

    asyncio.run(story())


def test_others_get_their_turns_while_much_is_read() -> None:
    """A Lease is to be renewed meanwhile."""
    world = healthy()
    for number in range(1000):
        put(world, "IPAMHandle", f"net.x{number}", {"handle": f"net.x{number}", "blocks": [_BLOCKS[0]]})
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def story() -> None:
        counting = asyncio.ensure_future(count())
        await LeanReader(cast(Store, Snapshots(world))).read(KINDS, whole=False)
        counting.cancel()
        assert turns >= 10

    asyncio.run(story())
