"""Claiming blocks: two objects, one compare-and-swap each, so that no block ever has two confirmed owners.

    no affinity ─► pending ─► (IPAMBlock is host:NODE) ─► confirmed ─► pendingDeletion ─► (not any more) ─► gone

The IPAMBlock decides who owns a block; the affinity says what a node wants and how far it is, and only a confirmed one
is announced. A crash between any two writes leaves an affinity that is not confirmed, which the node at its next start
and the collector bring to an end.

    claim:    write the affinity (pending) ─► write the block (make it, or touch it) ─► confirm, if still that affinity
    release:  read the block ─► write the affinity (pendingDeletion) ─► write the block, if still the one that was read

So a confirmed affinity means that the block is the node's. Who takes the block away has read it, then
written the affinity. Has it read the block before the claim wrote it, then its own write of the block is lost. Has it
read the block after, then it wrote the affinity after as well: the confirmation is lost, or comes to its end. This
is why a claim writes a block that is its own already, and why a release never reads the block again on its way.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import cast

from ipam.block import is_unused, new_block, node_of, owner_of, without_owner
from ipam.block_order import affinity_name, block_name
from ipam.documents import Lost, block_of, create, delete, read, read_block, tries, write, write_numbered
from ipam.errors import Unreadable
from ipam.owners import affinity_fields, claimant
from peering.resource import Resource
from peering.resources.ipam import BlockAffinitySpec, IPAMBlockSpec
from peering.store.protocol import Store, Stored
from peering.store.resources import to_resource

Condition = Callable[[IPAMBlockSpec], bool]
_LONG_AGO = 0.0


async def affinities_of(store: Store, node: str) -> list[Resource]:
    """The node's BlockAffinities, by name. One that cannot be read is somebody's, but not to be worked with."""
    listed = await store.list("BlockAffinity", affinity_fields(node)["node"])
    named = [stored for stored in listed if _names(stored, node)]
    return [one for one in map(to_resource, named) if isinstance(one, Resource) and _is_of(one, node)]


async def confirmed_blocks(store: Store, node: str) -> list[str]:
    """The blocks the node owns, in the order of their text."""
    specs = [_affinity(one) for one in await affinities_of(store, node)]
    return sorted(spec.cidr for spec in specs if spec.state == "confirmed")


async def claim(store: Store, node: str, cidr: str, now: float) -> Resource | None:
    """Makes the node the owner of the block; None when another node is. The IPAMBlock, as it was read or written."""
    for _ in tries(f"block {cidr}"):
        with suppress(Lost):
            return await _try_claim(store, node, cidr, now)
    return None


async def release_block(store: Store, node: str, cidr: str, still: Condition | None = None) -> bool:
    """The node owns the block no longer; it goes when it is empty, else it has no owner until it is.

    With `still`, only while that holds of the block; else the node keeps it, and what had begun is undone. Safe to
    repeat after a crash.
    """
    for _ in tries(f"block {cidr}"):
        block = await read_block(store, cidr)
        affinity = await read(store, "BlockAffinity", affinity_name(node, cidr))
        own = block is not None and node_of(block_of(block)) == node
        if block is not None and own and still is not None and not still(block_of(block)):
            if affinity is not None and _affinity(affinity).state != "confirmed":
                await claim(store, node, cidr, _LONG_AGO)
            return False
        with suppress(Lost):
            await _let_go(store, block if own else None, affinity)
            return True
    return False


async def finish(store: Store, node: str, now: float) -> list[str]:
    """Brings claims and releases that a crash interrupted to their end; the blocks that the node owns after that.

    A release is finished when the block is empty. One with addresses in it was taken while the release was
    under way, and stays the node's.
    """
    owned = []
    for affinity in await affinities_of(store, node):
        spec = _affinity(affinity)
        with suppress(Unreadable):
            if await _finish_one(store, spec, now):
                owned.append(spec.cidr)
    return sorted(owned)


async def _finish_one(store: Store, spec: BlockAffinitySpec, now: float) -> bool:
    """Whether the block is the node's."""
    owner = claimant(spec)
    if spec.state == "pendingDeletion":
        return not await release_block(store, owner, spec.cidr, still=is_unused)
    return spec.state == "confirmed" or await claim(store, owner, spec.cidr, now) is not None


async def _try_claim(store: Store, node: str, cidr: str, now: float) -> Resource | None:
    affinity = await read(store, "BlockAffinity", affinity_name(node, cidr))
    if affinity is not None and _affinity(affinity).state == "confirmed":
        block = await read_block(store, cidr)
        if block is not None and node_of(block_of(block)) == node:
            return block
    affinity = await _in_state(store, affinity, node, cidr, "pending")
    block = await _own(store, node, cidr, now)
    if block is None:
        await delete(store, affinity)
        return None
    await _in_state(store, affinity, node, cidr, "confirmed")
    return block


async def _own(store: Store, node: str, cidr: str, now: float) -> Resource | None:
    """Makes the block, or writes the one that is the node's or nobody's; None when it is another's."""
    block = await read_block(store, cidr)
    if block is None:
        return await create(store, "IPAMBlock", block_name(cidr), new_block(cidr, node, now))
    if block_of(block).affinity not in ("", owner_of(node)):
        return None
    mine = {"affinity": owner_of(node), "kept": block_of(block).kept if block_of(block).affinity else 0}
    return await write_numbered(store, block, block_of(block).model_copy(update=mine))


async def _let_go(store: Store, own: Resource | None, affinity: Resource | None) -> None:
    if affinity is not None:
        spec = _affinity(affinity)
        affinity = await _in_state(store, affinity, claimant(spec), spec.cidr, "pendingDeletion")
    if own is not None and block_of(own).allocations:
        await write_numbered(store, own, without_owner(block_of(own)))
    elif own is not None:
        await delete(store, own)
    if affinity is not None:
        await delete(store, affinity)


async def _in_state(store: Store, affinity: Resource | None, node: str, cidr: str, state: str) -> Resource:
    spec = BlockAffinitySpec.model_validate({**affinity_fields(node), "cidr": cidr, "state": state})
    if affinity is None:
        return await create(store, "BlockAffinity", affinity_name(node, cidr), spec)
    return await write(store, affinity, spec)


def _names(stored: Stored, node: str) -> bool:
    """Whether the document says so; to read all of them takes long where nodes are many."""
    spec = stored.document.get("spec")
    return isinstance(spec, dict) and spec.get("node") == affinity_fields(node)["node"]


def _is_of(affinity: Resource, node: str) -> bool:
    return claimant(_affinity(affinity)) == node


def _affinity(resource: Resource) -> BlockAffinitySpec:
    return cast(BlockAffinitySpec, resource.spec)
