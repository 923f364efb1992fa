"""What nobody stands for any more is freed: seen twice, a grace time apart, before anything is taken.

One reading of the store may be wrong (a cache, a list that came back empty), so a leftover must be found unchanged in
two readings at least `grace` seconds apart, a leaked address `leak_grace`. Then it is freed by the same
compare-and-swaps as every release, onto what is there at that time: what has changed meanwhile stays.
A reading without any node frees nothing: that is a store that has lost its nodes, not a cluster that has.
Neither does one in which a document could not be read: it may be the owner.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from ipam.block import is_cooling, is_unused
from ipam.borrowing import list_all, shorten
from ipam.claims import claim, release_block
from ipam.documents import BlockCopies, Lost, block_of, delete, read_block
from ipam.errors import IpamError
from ipam.handles import find_handle, free_in_block, promise, promised_blocks, settle
from ipam.lean_reading import LeanReader
from ipam.leftovers import Gone, Leftover, Reading, is_spare, leftovers
from ipam.owners import is_node, shown
from peering.resources.ipam import Allocation
from peering.store.protocol import Store

#: What a collector reads: only their changes are worth another observation.
KINDS = ("Node", "IPPool", "IPAMConfiguration", "BlockAffinity", "IPAMBlock", "IPAMHandle")
#: Calico's grace for leaked addresses.
LEAK_GRACE_S = 900.0
#: What could not be freed is tried again so many seconds later, at the earliest.
_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Freed:
    """What was freed: the leftover, and a sentence about it."""

    leftover: Leftover
    said: str


class Collector:
    """Remembers since when what is left over. Times are seconds of any monotonic clock; `clock` gives Unix seconds.

    `gone` says of an allocation whether its container or pod is known to be gone. Without it only nodes count.
    """

    def __init__(
        self,
        store: Store,
        grace: float,
        leak_grace: float = LEAK_GRACE_S,
        gone: Gone | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._reader = LeanReader(store)
        self._grace = grace
        self._leak_grace = leak_grace
        self._gone = gone
        self._clock = clock
        self._seen: dict[Leftover, _Seen] = {}
        self._cooldown = 0.0

    async def collect(self, now: float) -> list[Freed]:
        """One observation; frees what is due, and says what it freed."""
        resources, unreadable = await self._reader.read(KINDS, whole=self._gone is not None)
        reading = Reading.of(resources, self._clock())
        self._cooldown = reading.cooldown
        found = [] if unreadable else leftovers(reading, self._gone or _nobody)
        seen_before, self._seen = self._seen, {}
        freed = []
        for leftover in found:
            seen = seen_before.get(leftover) or _Seen(now, now + self._grace_of(leftover))
            self._seen[leftover] = seen
            if seen.first < now and seen.due <= now:
                self._seen[leftover] = _Seen(now, now + max(self._grace_of(leftover), _AGAIN_S))
                if said := await self._free(leftover):
                    freed.append(Freed(leftover, said))
        return freed

    def next_observation(self, now: float) -> float | None:
        """When to look again for what is left over now; None when nothing is."""
        if not self._seen:
            return None
        return max(now, min(seen.due for seen in self._seen.values()))

    def _grace_of(self, leftover: Leftover) -> float:
        return self._leak_grace if leftover.what == "leak" else self._grace

    async def _free(self, leftover: Leftover) -> str:
        """A sentence, or nothing when there was nothing to free. What is in others' way is left for the next time."""
        with suppress(IpamError, Lost):
            return await self._WAYS[leftover.what](self, leftover)
        return ""

    async def _free_block(self, leftover: Leftover) -> str:
        await release_block(self._store, leftover.node, leftover.block)
        return f"block {leftover.block} of Node/{leftover.node} freed: its node is gone"

    async def _free_empty_block(self, leftover: Leftover) -> str:
        empty = await release_block(self._store, leftover.node, leftover.block, still=is_unused)
        why = "its pool is gone" if leftover.what == "block-of-no-pool" else "its claim was never finished"
        return f"block {leftover.block} of {shown(leftover.node)} freed: {why}" if empty else ""

    async def _free_spare_block(self, leftover: Leftover) -> str:
        now, cooldown = self._clock(), self._cooldown
        spare = await release_block(
            self._store, leftover.node, leftover.block, still=lambda spec: is_spare(spec, now, cooldown)
        )
        return f"block {leftover.block} of {shown(leftover.node)} freed: it is empty, and not the last" if spare else ""

    async def _free_block_of_nobody(self, leftover: Leftover) -> str:
        if leftover.node and not is_node(leftover.node):
            claimed = await claim(self._store, leftover.node, leftover.block, self._clock())
            return f"block {leftover.block} claimed for {shown(leftover.node)}, whose it is" if claimed else ""
        if leftover.node:
            return await self._free_unclaimed(leftover)
        block = await read_block(self._store, leftover.block)
        if block is None or block_of(block).affinity or block_of(block).allocations:
            return ""
        if is_cooling(block_of(block), self._clock(), self._cooldown):
            return ""
        with suppress(Lost):
            await delete(self._store, block)
            return f"block {leftover.block} deleted: nobody owns it, and it is empty"
        return ""

    async def _free_unclaimed(self, leftover: Leftover) -> str:
        """Unless its node keeps addresses of it: whoever does not reach the store may give them at this moment."""
        node, cidr = leftover.node, leftover.block
        if await release_block(self._store, node, cidr, still=lambda spec: not spec.kept):
            return f"block {cidr} freed: Node/{node} does not claim it"
        claimed = await claim(self._store, node, cidr, self._clock())
        return f"block {cidr} claimed for Node/{node}, which keeps addresses of it" if claimed else ""

    async def _free_leak(self, leftover: Leftover) -> str:
        def leaked(cidr: str, allocation: Allocation) -> bool:
            return (cidr, allocation.ordinal, allocation.sequence) in leftover.gifts

        copies, now = BlockCopies(self._store), self._clock()
        if not leftover.handle:
            ((cidr, _, _),) = leftover.gifts
            freed = await free_in_block(copies, self._store, cidr, lambda a: leaked(cidr, a), now)
        elif await self._holds_more(leftover):
            return ""
        else:
            freed = await settle(copies, self._store, leftover.handle, leaked, now)
        whose = leftover.handle or "a holder without a handle"
        return f"{', '.join(freed)} of {whose} freed: its node or its pod is gone" if freed else ""

    async def _holds_more(self, leftover: Leftover) -> bool:
        """Whether the handle has an address that was not seen to leak: then it is alive."""
        for cidr in promised_blocks(await find_handle(self._store, leftover.handle)):
            block = await read_block(self._store, cidr)
            held = block_of(block).allocations if block is not None else ()
            gifts = {(cidr, a.ordinal, a.sequence) for a in held if a.handle == leftover.handle}
            if gifts - leftover.gifts:
                return True
        return False

    async def _settle_promise(self, leftover: Leftover) -> str:
        await settle(BlockCopies(self._store), self._store, leftover.handle, lambda cidr, a: False, self._clock())
        return f"handle {leftover.handle} promised more blocks than it has addresses in"

    async def _promise(self, leftover: Leftover) -> str:
        found = await find_handle(self._store, leftover.handle)
        await promise(self._store, leftover.handle, [leftover.block], found)
        return f"handle {leftover.handle} has an address in block {leftover.block} and did not say so"

    async def _shorten_list(self, leftover: Leftover) -> str:
        node, cidr = leftover.node, leftover.block
        shortened = await shorten(BlockCopies(self._store), self._store, node, cidr)
        return f"Node/{node} had more addresses of block {cidr} listed than it has borrowed" if shortened else ""

    async def _list(self, leftover: Leftover) -> str:
        node, cidr = leftover.node, leftover.block
        count = await list_all(BlockCopies(self._store), self._store, node, cidr)
        return f"Node/{node} has addresses in block {cidr} that were not listed: {count} are now" if count else ""

    _WAYS: Mapping[str, Callable[[Collector, Leftover], Awaitable[str]]] = {
        "block-of-no-node": _free_block,
        "block-of-no-pool": _free_empty_block,
        "spare-block": _free_spare_block,
        "unfinished-claim": _free_empty_block,
        "block-of-nobody": _free_block_of_nobody,
        "leak": _free_leak,
        "promise": _settle_promise,
        "unpromised": _promise,
        "list-too-long": _shorten_list,
        "unlisted": _list,
    }


def _nobody(_: Allocation) -> bool:
    """Whose holder is gone where nobody knows the holders."""
    return False


@dataclass(frozen=True, slots=True)
class _Seen:
    """When a leftover was first seen, and from when on it may be freed."""

    first: float
    due: float
