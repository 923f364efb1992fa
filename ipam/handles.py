"""Where a handle has addresses: promised before a block is written, settled after, so that it is never too small.

    give:    read the block ─► write the promise ─► write the block, onto the version that was read
    settle:  read the promise ─► write the block without the handle's addresses ─► delete the promise, if still that one

A crash after the promise leaves a handle that promises too much, which the collector settles. Nothing leaves an address
whose handle does not name its block. That holds because of what each side writes: the giver writes the promise again
before every try, so that one who settles and has read an older promise cannot delete it; who settles writes every
block that it takes out of the promise, even one in which the handle has nothing, so that a giver who has read that
block before cannot write it any more. Releasing by handle reads the blocks that the handle names and no others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import cast

from ipam.block import take_back
from ipam.block_order import address_at
from ipam.borrowing import take_off
from ipam.documents import BlockCopies, Lost, block_of, create, delete, read, tries, write_numbered
from peering.resource import Resource, is_name
from peering.resources.ipam import Allocation, IPAMBlockSpec, IPAMHandleSpec
from peering.store.protocol import Store

#: Whether an allocation in the block is to be freed.
Gone = Callable[[str, Allocation], bool]

_HASHED = "sha256-"


def handle_name(handle: str) -> str:
    """The object name of a handle: the handle itself, or its hash when it cannot be a name."""
    if is_name(handle) and not handle.startswith(_HASHED):
        return handle
    return _HASHED + hashlib.sha256(handle.encode()).hexdigest()


async def find_handle(store: Store, handle: str) -> Resource | None:
    """The IPAMHandle of a handle."""
    return await read(store, "IPAMHandle", handle_name(handle))


def promised_blocks(found: Resource | None) -> tuple[str, ...]:
    """The blocks in which the handle may have addresses."""
    return _spec(found).blocks if found is not None else ()


async def promise(store: Store, handle: str, blocks: Iterable[str], found: Resource | None) -> Resource:
    """Writes that the handle may have addresses in these blocks, too. They have to be read before, written after.

    `found` is the IPAMHandle as it was last read or written. Returns it as it is now. Raises Lost when somebody else
    has written it: then the handle may have got what it asks for.
    """
    wanted = tuple(dict.fromkeys(blocks))
    if found is None:
        return await create(store, "IPAMHandle", handle_name(handle), IPAMHandleSpec(handle=handle, blocks=wanted))
    together = tuple(dict.fromkeys((*_spec(found).blocks, *wanted)))
    return await write_numbered(store, found, _spec(found).model_copy(update={"blocks": together}))


async def settle(
    copies: BlockCopies, store: Store, handle: str, gone: Gone, now: float, known: Resource | None = None
) -> list[str]:
    """Frees those of the handle's addresses that are `gone`, and promises only what is left. Returns the addresses.

    `known` is the IPAMHandle as it was once read or written, which saves a read while nobody has written it since.
    """
    freed = []
    for _ in tries(f"IPAMHandle/{handle_name(handle)}"):
        found, known = known or await find_handle(store, handle), None
        if found is None:
            break
        kept = []
        for cidr in _spec(found).blocks:
            addresses, holds_more = await _settle_block(copies, store, cidr, handle, gone, now)
            freed += addresses
            if holds_more:
                kept.append(cidr)
        with suppress(Lost):
            await _keep(store, found, tuple(kept))
            break
    return freed


async def free_in_block(
    copies: BlockCopies, store: Store, cidr: str, gone: Callable[[Allocation], bool], now: float
) -> list[str]:
    """Frees the addresses of one block that are `gone`, whatever their handles. For those whose handle is not known."""
    for _ in tries(f"block {cidr}"):
        block = await copies.read(cidr)
        after = take_back(block_of(block), gone, now) if block is not None else None
        if block is None or after is None or after is block.spec:
            break
        with suppress(Lost):
            return await _free(copies, store, block, after)
    return []


async def _settle_block(
    copies: BlockCopies, store: Store, cidr: str, handle: str, gone: Gone, now: float
) -> tuple[list[str], bool]:
    """What was freed, and whether the handle still has an address there; if not, the block was written."""
    for _ in tries(f"block {cidr}"):
        block = await copies.get(cidr)
        if block is None:
            break
        before = block_of(block)
        after = take_back(before, lambda a: a.handle == handle and gone(cidr, a), now)
        holds_more = any(a.handle == handle for a in after.allocations)
        if holds_more and after is before:
            return [], True
        with suppress(Lost):
            return await _free(copies, store, block, after), holds_more
    return [], False


async def _free(copies: BlockCopies, store: Store, block: Resource, after: IPAMBlockSpec) -> list[str]:
    """Writes the block; the addresses that it has no longer, which nobody announces by themselves from now on."""
    before, left = block_of(block), {a.ordinal for a in after.allocations}
    freed = [a for a in before.allocations if a.ordinal not in left]
    await take_off(store, before, freed)
    await copies.write(block, after)
    return [address_at(before.cidr, a.ordinal) for a in freed]


async def _keep(store: Store, found: Resource, kept: tuple[str, ...]) -> None:
    if not kept:
        await delete(store, found)
    elif kept != _spec(found).blocks:
        await write_numbered(store, found, _spec(found).model_copy(update={"blocks": kept}))


def _spec(resource: Resource) -> IPAMHandleSpec:
    return cast(IPAMHandleSpec, resource.spec)
