"""Addresses inside the blocks a node owns: given to a handle, kept by it, released by it.

An address belongs to a handle (a container, a demo pod). Asking again for a handle that has its addresses
gives the same ones, so a repeated request changes nothing. The block is the unit of compare-and-swap: on a
conflict it is read again and the choice made anew.
"""

from __future__ import annotations

from typing import cast

from ipam.block_order import address_at, block_name, size_of
from ipam.claims import confirmed_blocks
from peering.resource import Resource
from peering.resources.ipam import Allocation, IPAMBlockSpec
from peering.store.protocol import Conflict, Store
from peering.store.resources import find, load

_TRIES = 100


class NoAddress(Exception):
    """The node's blocks are full, or it owns none of the family, or the store kept changing under us."""


async def assign(store: Store, node: str, handle: str) -> list[str]:
    """One address of each family the node has blocks of, with the host length: `10.244.0.64/32`."""
    blocks = await confirmed_blocks(store, node)
    assigned = []
    for is_ipv6 in (False, True):
        own = [block for block in blocks if (":" in block) is is_ipv6]
        if own:
            assigned.append(f"{await _from_any(store, own, handle)}/{128 if is_ipv6 else 32}")
    if not assigned:
        raise NoAddress(f"Node/{node} owns no block yet")
    return assigned


async def release(store: Store, handle: str) -> int:
    """Frees every address that the handle holds; how many those were."""
    blocks, _, _ = await load(store, ("IPAMBlock",))
    return sum([await _release_from(store, block.name, handle) for block in blocks])


async def _from_any(store: Store, blocks: list[str], handle: str) -> str:
    for cidr in blocks:
        address = await _from_block(store, cidr, handle)
        if address is not None:
            return address
    raise NoAddress(f"no free address in {', '.join(blocks)}")


async def _from_block(store: Store, cidr: str, handle: str) -> str | None:
    """The handle's address in this block, assigned now if it has none; None when the block is full."""
    for _ in range(_TRIES):
        block = await find(store, "IPAMBlock", block_name(cidr))
        if block is None:
            return None
        spec = cast(IPAMBlockSpec, block.spec)
        held = next((a.ordinal for a in spec.allocations if a.handle == handle), None)
        if held is not None:
            return address_at(cidr, held)
        used = {a.ordinal for a in spec.allocations}
        ordinal = next((i for i in range(size_of(cidr)) if i not in used), None)
        if ordinal is None:
            return None
        if await _swap(store, block, (*spec.allocations, Allocation(ordinal=ordinal, handle=handle))):
            return address_at(cidr, ordinal)
    raise NoAddress(f"block {cidr} changed {_TRIES} times while an address was taken from it")


async def _release_from(store: Store, name: str, handle: str) -> int:
    for _ in range(_TRIES):
        block = await find(store, "IPAMBlock", name)
        if block is None:
            return 0
        spec = cast(IPAMBlockSpec, block.spec)
        kept = tuple(a for a in spec.allocations if a.handle != handle)
        freed = len(spec.allocations) - len(kept)
        if not freed or await _swap(store, block, kept):
            return freed
    raise NoAddress(f"block {name} changed {_TRIES} times while an address of it was freed")


async def _swap(store: Store, block: Resource, allocations: tuple[Allocation, ...]) -> bool:
    spec = block.spec.model_copy(update={"allocations": allocations})
    document = Resource(block.kind, block.name, spec).to_document()
    try:
        await store.update(block.kind, block.name, document, block.version)
    except Conflict:
        return False
    return True
