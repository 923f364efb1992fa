"""Claiming blocks: two objects, one compare-and-swap each, so that no block ever has two owners.

    no affinity ─► pending ─► (IPAMBlock created for host:NODE) ─► confirmed ─► pendingDeletion ─► gone

The IPAMBlock decides: whoever creates it owns the block. The affinity says what a node wants and is written
first, so that a crash between the two leaves a trace that the same node finds at its next start and brings to
its end. Only confirmed blocks are announced.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import cast

from ipam.block_order import affinity_name, block_name, blocks_for
from peering.prefixes import contains, pack_prefix
from peering.resource import Resource
from peering.resources.ipam import BlockAffinitySpec, IPAMBlockSpec
from peering.resources.pools import IPPoolSpec
from peering.selectors import parse_selector
from peering.store.protocol import Conflict, NotFound, Store
from peering.store.resources import find, load


class PoolExhausted(Exception):
    """No block of the pool is free."""


def owner_of(node: str) -> str:
    """How an IPAMBlock names the node that owns it."""
    return f"host:{node}"


async def confirmed_blocks(store: Store, node: str) -> list[str]:
    """The blocks the node owns, in the order of their text."""
    affinities = await _affinities(store)
    return sorted(a.cidr for a in affinities if a.node == node and a.state == "confirmed")


async def ensure_blocks(store: Store, node: Resource, pools: Iterable[Resource]) -> list[str]:
    """Makes sure that the node owns a block of each pool meant for it; returns all blocks it owns.

    Raises PoolExhausted after every pool was tried, naming those without a free block.
    """
    await _finish_pending(store, node.name)
    owned = await confirmed_blocks(store, node.name)
    exhausted = []
    for resource in pools:
        pool = cast(IPPoolSpec, resource.spec)
        if pool.disabled or not parse_selector(pool.node_selector)(node.labels):
            continue
        if any(_inside(block, pool) for block in owned):
            continue
        try:
            owned.append(await _claim_from(store, node.name, pool))
        except PoolExhausted:
            exhausted.append(resource.name)
    if exhausted:
        raise PoolExhausted(f"no free block for Node/{node.name} in IPPool {', '.join(exhausted)}")
    return sorted(owned)


async def release_block(store: Store, node: str, cidr: str) -> None:
    """Gives a block up, with whatever addresses are still held in it. Safe to repeat after a crash."""
    affinity = await find(store, "BlockAffinity", affinity_name(node, cidr))
    if affinity is not None:
        await _write_affinity(store, node, cidr, "pendingDeletion", affinity.version)
    block = await find(store, "IPAMBlock", block_name(cidr))
    # The node and the collector may release the same block at once: what the other has deleted is done.
    with suppress(NotFound):
        if block is not None and cast(IPAMBlockSpec, block.spec).affinity == owner_of(node):
            await store.delete("IPAMBlock", block.name, block.version)
    with suppress(NotFound):
        if affinity is not None:
            await store.delete("BlockAffinity", affinity.name)


async def _claim_from(store: Store, node: str, pool: IPPoolSpec) -> str:
    objects, _, _ = await load(store, ("IPAMBlock",))
    taken = {cast(IPAMBlockSpec, block.spec).cidr for block in objects}
    for cidr in blocks_for(node, pool):
        if cidr not in taken and await _claim(store, node, cidr):
            return cidr
    raise PoolExhausted(pool.cidr)


async def _claim(store: Store, node: str, cidr: str) -> bool:
    """Tries to become the owner of one block; False when another node is."""
    await _write_affinity(store, node, cidr, "pending")
    spec = IPAMBlockSpec(cidr=cidr, affinity=owner_of(node))
    block = Resource("IPAMBlock", block_name(cidr), spec)
    try:
        await store.create("IPAMBlock", block.name, block.to_document())
    except Conflict:
        current = await find(store, "IPAMBlock", block.name)
        if current is None or cast(IPAMBlockSpec, current.spec).affinity != owner_of(node):
            await store.delete("BlockAffinity", affinity_name(node, cidr))
            return False
    await _write_affinity(store, node, cidr, "confirmed")
    return True


async def _finish_pending(store: Store, node: str) -> None:
    """Brings claims and releases that a crash interrupted to their end."""
    for affinity in await _affinities(store):
        if affinity.node != node:
            continue
        if affinity.state == "pending":
            await _claim(store, node, affinity.cidr)
        elif affinity.state == "pendingDeletion":
            await release_block(store, node, affinity.cidr)


async def _write_affinity(store: Store, node: str, cidr: str, state: str, version: int | None = None) -> None:
    name = affinity_name(node, cidr)
    spec = BlockAffinitySpec.model_validate({"node": node, "cidr": cidr, "state": state})
    document = Resource("BlockAffinity", name, spec).to_document()
    try:
        await store.update("BlockAffinity", name, document, version)
    except NotFound:
        await store.create("BlockAffinity", name, document)


async def _affinities(store: Store) -> list[BlockAffinitySpec]:
    objects, _, _ = await load(store, ("BlockAffinity",))
    return [cast(BlockAffinitySpec, affinity.spec) for affinity in objects]


def _inside(block: str, pool: IPPoolSpec) -> bool:
    return contains(pack_prefix(pool.cidr), pack_prefix(block))
