"""Addresses that a node has in a block that is not its own: listed, so that it can announce each by itself.

The list is a BlockAffinity of type `borrower`, one for each node and block of which the node has borrowed. Speakers and
reflectors read it, and not the block. What they find in it must therefore be the node's at that very moment, as a
block is that has a confirmed affinity; and it is the same order that sees to it (ipam/claims.py):

    give:  read the list (make it) ─► write the block ─► list the address, if the list is still the one that was read
    free:  read the block ─► write the list without the address ─► write the block, if still the one that was read

So a listed address is the node's. Who frees it has read the block, then written the list. Has it read the block before
the giver wrote it, then its own write of the block is lost. Has it read the block after, then it wrote the list after
as well: the giver's listing is lost, or the address is taken off it. This is why who frees an address writes a list
that does not name it, too, and why who lists an address that was given before (its node crashed in between, its block
lost its owner) writes the block first.

An allocation says whether it is `borrowed`, and keeps that when its node comes to own the block: so the way of most
addresses, which are not, is not one operation longer. A crash leaves a list that is empty or lacks an address; who asks
again for the handle makes it right, and so does the collector.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import cast

from ipam.block import as_borrowed, node_of
from ipam.block_order import address_at, borrower_name
from ipam.documents import BlockCopies, Lost, block_of, create, delete, read, tries, write_numbered
from peering.resource import Resource
from peering.resources.ipam import Allocation, BlockAffinitySpec, BorrowedAddress, IPAMBlockSpec
from peering.store.protocol import Store

_KIND = "BlockAffinity"


async def open_list(store: Store, node: str, cidr: str) -> Resource:
    """The list as it is, made if there is none. To be called before the block is written. Raises Lost."""
    found = await _find(store, node, cidr)
    if found is None:
        spec = BlockAffinitySpec(node=node, cidr=cidr, type="borrower")
        found = await create(store, _KIND, borrower_name(node, cidr), spec)
    return found


async def keep_list(store: Store, opened: Resource, block: IPAMBlockSpec) -> None:
    """Lists what the node has borrowed of the block as it was written after the list was opened. Raises Lost."""
    spec = _spec(opened)
    await _write(store, opened, gifts_of(block, spec.node))


async def list_all(copies: BlockCopies, store: Store, node: str, cidr: str) -> int:
    """Lists all that the node has in the block, if that is not its own; how many addresses these are."""
    for _ in tries(f"block {cidr}"):
        with suppress(Lost):
            opened = await open_list(store, node, cidr)
            block = await copies.read(cidr)
            after = block_of(block) if block is not None else IPAMBlockSpec(cidr=cidr)
            if node_of(after) != node:
                after = as_borrowed(after, node)
            if block is not None and gifts_of(after, node):
                await copies.write(block, after)
            await keep_list(store, opened, after)
            return len(gifts_of(after, node))
    return 0


async def is_listed(store: Store, node: str, block: IPAMBlockSpec) -> bool:
    """Whether all that the node has borrowed of the block is listed."""
    found = await _find(store, node, block.cidr)
    return found is not None and set(gifts_of(block, node)) <= set(_spec(found).addresses)


async def take_off(store: Store, block: IPAMBlockSpec, freed: Iterable[Allocation]) -> None:
    """Allocations of the block, as it was read, are listed no longer. To be called before the block is written."""
    borrowed = [a for a in freed if a.borrowed]
    for node in sorted({a.node for a in borrowed}):
        gone = {gift_of(block.cidr, a) for a in borrowed if a.node == node}
        for _ in tries(f"{_KIND}/{borrower_name(node, block.cidr)}"):
            with suppress(Lost):
                found = await _find(store, node, block.cidr)
                if found is not None:
                    await _write(store, found, tuple(one for one in _spec(found).addresses if one not in gone))
                break


async def shorten(copies: BlockCopies, store: Store, node: str, cidr: str) -> bool:
    """Takes off what the node does not have; whether there was any, or the list was empty. Raises Lost."""
    found = await _find(store, node, cidr)
    if found is None:
        return False
    block = await copies.read(cidr)
    held = set(gifts_of(block_of(block), node)) if block is not None else set()
    left = tuple(one for one in _spec(found).addresses if one in held)
    if left and left == _spec(found).addresses:
        return False
    await _write(store, found, left)
    return True


def gifts_of(block: IPAMBlockSpec, node: str) -> tuple[BorrowedAddress, ...]:
    """What the node has borrowed of the block."""
    mine = (a for a in block.allocations if a.borrowed and a.node == node)
    return tuple(gift_of(block.cidr, a) for a in sorted(mine, key=lambda a: a.ordinal))


def gift_of(cidr: str, allocation: Allocation) -> BorrowedAddress:
    """How an address of the block is listed."""
    return BorrowedAddress(address=address_at(cidr, allocation.ordinal), sequence=allocation.sequence)


async def _find(store: Store, node: str, cidr: str) -> Resource | None:
    return await read(store, _KIND, borrower_name(node, cidr))


async def _write(store: Store, found: Resource, addresses: tuple[BorrowedAddress, ...]) -> None:
    """An empty list goes: whoever has opened it finds that out as if it had been written."""
    if addresses:
        await write_numbered(store, found, _spec(found).model_copy(update={"addresses": addresses}))
    else:
        await delete(store, found)


def _spec(resource: Resource) -> BlockAffinitySpec:
    return cast(BlockAffinitySpec, resource.spec)
