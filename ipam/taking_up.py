"""What a node gave alone is written into the store, as if it had been given with it. Safe to repeat after a crash.

    read the block ─► write the promise ─► write the block, if still the one that was read ─► free the handle's others

The address was kept for the node, so it is free; or the node itself has written it for another handle: by a request
that was never answered, since an answer waits until the node has its address on disk (ipam/alone.py). Then it is
taken from that handle: who was told of an address has it. What the handle of the gift holds besides is freed, too.

A block that is no longer the node's is another matter: whoever deletes a Node says that its pods are dead. There the
address is asked for by name, and is borrowed, if it is free; else nobody can have it in peace, and that is said.
"""

from __future__ import annotations

from contextlib import suppress

from ipam.block import give, kept_ordinals, node_of, take_back, user_of
from ipam.block_order import address_at
from ipam.documents import Lost, block_of, tries
from ipam.handles import find_handle, promise, settle
from ipam.keeping import Entry, Gift
from ipam.search import OwnBlocks
from peering.resource import Resource
from peering.resources.ipam import Allocation, IPAMBlockSpec


class Foreign(Exception):
    """The block is not the node's."""


class Held(Exception):
    """The address is somebody else's; a sentence about it."""


async def take_up(own: OwnBlocks, entry: Entry, gift: Gift) -> None:
    """Writes one gift of the entry. Raises Foreign, Held; IpamError, StoreError."""
    for _ in tries(f"block {gift[0]}"):
        with suppress(Lost):
            block = await own.copies.read(gift[0])
            if block is None or node_of(block_of(block)) != own.node:
                raise Foreign
            await _write(own, block, entry, gift)
            return


async def free_others(own: OwnBlocks, entry: Entry, now: float) -> list[str]:
    """Frees what the handle holds besides the entry's addresses."""

    def is_other(cidr: str, allocation: Allocation) -> bool:
        return (cidr, allocation.ordinal) not in entry.gifts

    return await settle(own.copies, own.store, entry.holder.handle, is_other, now)


async def _write(own: OwnBlocks, block: Resource, entry: Entry, gift: Gift) -> None:
    cidr, ordinal = gift
    spec, handle = block_of(block), entry.holder.handle
    held = next((a for a in spec.allocations if a.ordinal == ordinal), None)
    if held is not None and held.handle == handle:
        return
    if held is not None and not _was_never_told(spec, held, own.node):
        raise Held(f"{address_at(*gift)} is held by {held.handle or 'somebody without a handle'}{_place(held)}")
    await promise(own.store, handle, [cidr], await find_handle(own.store, handle))
    free = take_back(spec, lambda a: a.ordinal == ordinal, entry.at)
    await own.copies.write(block, give(free, (ordinal,), entry.holder, block.version, entry.at))


def _was_never_told(spec: IPAMBlockSpec, held: Allocation, node: str) -> bool:
    """Whether the address is one that only this node gives, and that it did not know to be in use."""
    return user_of(spec, held) == node and not held.borrowed and held.ordinal in kept_ordinals(spec)


def _place(held: Allocation) -> str:
    pod = f", pod {held.namespace}/{held.pod}" if held.pod else ""
    return f"{pod} on Node/{held.node}" if held.node else pod
