"""Which block a node claims next: one that nobody has, else one that nobody owns, else one that another leaves empty.

A node keeps its last block of each pool, and a block that became empty less than a minute ago: whoever has it will
want it soon. A block whose addresses cannot be given (reserved, or in their cooldown) is not worth a claim.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import cast

from ipam.block import free_ordinals, is_idle, is_reserved, node_of
from ipam.block_order import block_name, blocks_for, is_inside
from ipam.claims import claim, finish, release_block
from ipam.documents import read_block, read_declared
from ipam.errors import PoolExhausted, Unreadable
from ipam.requests import Declared, is_automatic, version_of
from peering.resource import Resource
from peering.resources.ipam import IPAMBlockSpec
from peering.resources.pools import IPPoolSpec
from peering.store.protocol import Store, Stored
from peering.store.resources import to_resource

#: Seconds for which a block must have been empty before another node takes it, as in Calico.
IDLE_S = 60.0
#: So many blocks that are reserved as a whole are passed over in one search.
_LOOK_AHEAD = 4096
#: So many blocks are looked at one by one before all are listed.
_NEARBY = 4


async def ensure_blocks(store: Store, node: Resource, pools: Iterable[Resource], now: float | None = None) -> list[str]:
    """Makes sure that the node owns a block of each pool meant for it; returns all blocks it owns.

    Pools that pods have to name, and those not for pods, wait until they are asked for. Raises PoolExhausted after
    every pool was tried, naming those without a free block.
    """
    now = time.time() if now is None else now
    declared = await read_declared(store, node.name)
    owned = await finish(store, node.name, now)
    exhausted = []
    for pool in pools:
        spec = cast(IPPoolSpec, pool.spec)
        if not _is_wanted(Declared(node.name, node.labels), pool) or any(is_inside(one, spec.cidr) for one in owned):
            continue
        if not may_claim(declared, owned, version_of(spec.cidr)):
            continue
        block = await claim_from(store, declared, spec, now)
        if block is None:
            exhausted.append(pool.name)
        else:
            owned.append(cast(IPAMBlockSpec, block.spec).cidr)
    if exhausted:
        raise PoolExhausted(f"no free block for Node/{node.name} in IPPool {', '.join(exhausted)}")
    return sorted(owned)


def may_claim(declared: Declared, owned: Iterable[str], version: int) -> bool:
    """Whether the node may have one more block of the family."""
    count = sum(version_of(one) == version for one in owned)
    return declared.configuration.auto_allocate_blocks and count < declared.most_blocks


async def claim_from(store: Store, declared: Declared, pool: IPPoolSpec, now: float) -> Resource | None:
    """A block of the pool that is the node's from now on; None when there is none to be had."""
    block = await _nearby(store, declared, pool, now)
    if block is not None:
        return block
    listed = await store.list("IPAMBlock")
    names = {stored.name for stored in listed}
    for cidr in _candidates(declared, pool, len(names) + _LOOK_AHEAD):
        if block_name(cidr) not in names:
            block = await claim(store, declared.node, cidr, now)
            if block is not None:
                return block
    return await _second_hand(store, declared, pool, listed, now)


def blocks_in(listed: Sequence[Stored], pools: Iterable[str]) -> list[IPAMBlockSpec]:
    """The blocks among these IPAMBlocks that lie in the CIDRs of the pools, as far as they can be read."""
    wanted = tuple(pools)
    found = (to_resource(stored) for stored in listed)
    specs = (cast(IPAMBlockSpec, one.spec) for one in found if isinstance(one, Resource))
    return [spec for spec in specs if any(is_inside(spec.cidr, pool) for pool in wanted)]


def idle_blocks(blocks: Sequence[IPAMBlockSpec], now: float, seconds: float) -> Iterator[IPAMBlockSpec]:
    """Of one pool's blocks those empty for so long that their nodes can do without: each node keeps one."""
    left = Counter(node_of(spec) for spec in blocks)
    for spec in blocks:
        if node_of(spec) and left[node_of(spec)] > 1 and is_idle(spec, now, seconds):
            left[node_of(spec)] -= 1
            yield spec


def _candidates(declared: Declared, pool: IPPoolSpec, at_most: int) -> Iterator[str]:
    """The first blocks in the node's order, without those that are reserved as a whole."""
    order = islice(blocks_for(declared.node, pool), at_most)
    return (cidr for cidr in order if not is_reserved(cidr, declared.reserved))


async def _nearby(store: Store, declared: Declared, pool: IPPoolSpec, now: float) -> Resource | None:
    """One of the first few that nobody has, with nothing listed: where many nodes begin at once, lists are long."""
    for cidr in islice(_candidates(declared, pool, _LOOK_AHEAD), _NEARBY):
        if await _is_there(store, cidr):
            continue
        block = await claim(store, declared.node, cidr, now)
        if block is not None:
            return block
    return None


async def _is_there(store: Store, cidr: str) -> bool:
    try:
        return await read_block(store, cidr) is not None
    except Unreadable:
        return True


async def _second_hand(
    store: Store, declared: Declared, pool: IPPoolSpec, listed: Sequence[Stored], now: float
) -> Resource | None:
    blocks = blocks_in(listed, (pool.cidr,))
    useful = [spec for spec in blocks if next(free_ordinals(spec, declared.limits, now), None) is not None]
    for spec in useful:
        if not spec.affinity:
            block = await claim(store, declared.node, spec.cidr, now)
            if block is not None:
                return block
    seconds = max(IDLE_S, declared.limits.cooldown)
    for spec in idle_blocks(blocks, now, seconds):
        if node_of(spec) == declared.node or spec not in useful:
            continue
        if await release_block(store, node_of(spec), spec.cidr, still=lambda block: is_idle(block, now, seconds)):
            block = await claim(store, declared.node, spec.cidr, now)
            if block is not None:
                return block
    return None


def _is_wanted(declared: Declared, pool: Resource) -> bool:
    """Whatever namespaces the pool selects: a pod of one of them may come."""
    return is_automatic(pool) and not declared.objection(pool, None)
