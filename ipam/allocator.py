"""Addresses for handles, by compare-and-swap of blocks: never given twice, whoever else does the same.

An address belongs to a handle (a container, a demo pod). Asking again for a handle that has its addresses gives the
same ones, so a repeated request changes nothing. A request is fulfilled as a whole or not at all: what it took
before it failed is given back, and what a crash left behind is the handle's, to be found by the next
request for it, by its release, or by the collector.

On the way of most requests nothing is listed: the blocks that the node owns are known from before, and a copy of
each. Knowledge that is too old costs a lost compare-and-swap and a second look, never an address.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from ipam.block import node_of
from ipam.block_order import address_at
from ipam.borrowing import is_listed, keep_list, list_all, open_list
from ipam.documents import TRIES, Lost, block_of, read_declared
from ipam.errors import IpamError, StoreBusy
from ipam.handles import find_handle, free_in_block, promise, promised_blocks, settle
from ipam.keeping import Entry
from ipam.requests import Declared, Request, version_of
from ipam.search import OwnBlocks, Pick, Search, Want
from ipam.taking_up import Foreign, free_others, take_up
from ipam.together import Share, Together
from peering.resource import Resource
from peering.resources.ipam import Allocation, IPAMBlockSpec
from peering.resources.pools import IPPoolSpec
from peering.store.protocol import Store, StoreError

Clock = Callable[[], float]

#: So many handles are released without reading them before: more than a node has containers.
_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class Given:
    """An address of a handle: `10.244.0.64`, its block, and the sequence that tells this gift from every other."""

    address: str
    block: str
    sequence: int

    @property
    def host_prefix(self) -> str:
        """With its length: `10.244.0.64/32`."""
        return f"{self.address}/{128 if ':' in self.address else 32}"


class Allocator:
    """The allocations of one node. Its requests are served one after the other; other processes may do the same.

    `clock` gives Unix seconds, for cooldowns and for people. With `keeps_doubtful` a request during which the store
    fails leaves to its handle what it may have got: somebody else may have asked for the same handle, and know of it.
    """

    def __init__(self, store: Store, node: str, clock: Clock = time.time, *, keeps_doubtful: bool = False) -> None:
        self._store = store
        self._node = node
        self._clock = clock
        self._keeps_doubtful = keeps_doubtful
        self._own = OwnBlocks(store, node)
        self._promised: dict[str, Resource] = {}
        self._turn = asyncio.Lock()

    async def allocate(self, request: Request, declared: Declared | None = None) -> list[Given]:
        """The addresses of the request's handle, IPv4 first. Raises IpamError, StoreError; then nothing was given.

        `declared` is read from the store if the caller does not follow it anyway.
        """
        known = declared or await read_declared(self._store, self._node)
        (answer,) = await self.allocate_all([request], known)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def allocate_all(self, requests: Sequence[Request], declared: Declared) -> list[list[Given] | Exception]:
        """As `allocate` for each of them, in their order, with fewer writes. An IpamError or StoreError stays alone."""
        answers: dict[int, list[Given] | Exception] = {}
        async with self._turn:
            now, waiting = self._clock(), list(range(len(requests)))
            while waiting:
                shares = await Together(self._store, self._own, declared, now).give([requests[i] for i in waiting])
                left = list[tuple[int, Share]]()
                for i, share in zip(waiting, shares, strict=True):
                    if share.is_whole:
                        answers[i] = [Given(*one) for one in share.addresses()]
                        self._remember(share)
                    elif share.picks or not left:
                        left.append((i, share))
                waiting = [i for i in waiting if i not in answers and all(i != one for one, _ in left)]
                for i, share in left:  # the first of those without room claims a block for the others
                    answers[i] = await self._alone(share, declared, now)
        return [answers[i] for i in range(len(requests))]

    async def _alone(self, share: Share, declared: Declared, now: float) -> list[Given] | Exception:
        fulfilment = _Fulfilment(self._store, self._own, share.request, declared, now, share.tried)
        try:
            return await fulfilment.run(self._keeps_doubtful)
        except (IpamError, StoreError) as error:
            return error

    async def release(self, handle: str) -> list[str]:
        """Frees every address that the handle holds, wherever; which those were. None is no mistake."""
        async with self._turn:
            known = self._promised.pop(handle, None)
            return await settle(self._own.copies, self._store, handle, lambda cidr, a: True, self._clock(), known)

    def _remember(self, share: Share) -> None:
        """The promise, for the release. Those that others release are forgotten in time."""
        if share.promised is not None:
            self._promised[share.request.handle] = share.promised
        if len(self._promised) > _REMEMBERED:
            del self._promised[next(iter(self._promised))]

    async def release_address(self, given: Given) -> bool:
        """Frees one gift of an address; False, and nothing is changed, when the address is free or was given anew."""

        def is_it(allocation: Allocation) -> bool:
            at = address_at(given.block, allocation.ordinal)
            return (at, allocation.sequence) == (given.address, given.sequence)

        async with self._turn:
            block = await self._own.copies.read(given.block)
            held = next((a for a in block_of(block).allocations if is_it(a)), None) if block is not None else None
            if held is None:
                return False
            freed = await free_in_block(self._own.copies, self._store, given.block, is_it, self._clock())
            await settle(self._own.copies, self._store, held.handle, lambda cidr, a: False, self._clock())
            return bool(freed)

    async def blocks(self, cidrs: Iterable[str], fresh: bool) -> list[IPAMBlockSpec]:
        """Those of the blocks that are the node's: as they are, or as they were when this process last saw them."""
        async with self._turn:
            copies = self._own.copies
            found = [await (copies.read(cidr) if fresh else copies.get(cidr)) for cidr in cidrs]
        specs = [block_of(block) for block in found if block is not None]
        return [spec for spec in specs if node_of(spec) == self._node]

    async def keep(self, cidr: str, kept: int) -> IPAMBlockSpec | None:
        """The node's block, as it is when it keeps so many addresses; None when somebody else has changed it."""
        async with self._turn:
            block = await self._own.copies.get(cidr)
            if block is None or node_of(block_of(block)) != self._node:
                return None
            with suppress(Lost):
                changed = block_of(block).model_copy(update={"kept": kept})
                return block_of(await self._own.copies.write(block, changed))
        return None

    async def take_up(self, entry: Entry, declared: Declared) -> None:
        """Writes what the node gave alone. Raises Held, IpamError for an address that is not to be had; StoreError."""
        async with self._turn:
            now = self._clock()
            for gift in entry.gifts:
                try:
                    await take_up(self._own, entry, gift)
                except Foreign:
                    holder, address = entry.holder, address_at(*gift)
                    named = Request(holder.handle, 0, 0, holder.namespace, holder.pod, addresses=(address,))
                    await _Fulfilment(self._store, self._own, named, declared.as_facts(), now).run()
            await free_others(self._own, entry, now)


class _Fulfilment:
    """One request on its way."""

    def __init__(
        self,
        store: Store,
        own: OwnBlocks,
        request: Request,
        declared: Declared,
        now: float,
        tried: Collection[tuple[str, int]] = (),
    ) -> None:
        self._store = store
        self._own = own
        self._request = request
        self._declared = declared
        self._now = now
        self._search = Search(own, request, declared, now)
        self._handle: Resource | None = None
        self._held: list[Given] = []
        self._unlisted: set[str] = set()
        self._tried = set(tried)
        self._lost = 0

    async def run(self, keeps_doubtful: bool = False) -> list[Given]:
        await self._look_at_handle()
        try:
            while wants := self._missing():
                picks = [await self._search.find(want, promised_blocks(self._handle)) for want in wants]
                await self._write(picks)
            await self._list_borrowed()
        except (IpamError, StoreError) as error:
            if not (keeps_doubtful and isinstance(error, StoreError)):
                await self._undo()
            raise
        return self._answer()

    async def _look_at_handle(self) -> None:
        """What the handle holds already, read anew from the blocks that it names."""
        self._handle = await find_handle(self._store, self._request.handle)
        self._held = []
        for cidr in promised_blocks(self._handle):
            block = await self._own.copies.read(cidr)
            if block is not None:
                self._hold(cidr, block_of(block).allocations)

    def _hold(self, cidr: str, allocations: Iterable[Allocation]) -> None:
        mine = [a for a in allocations if a.handle == self._request.handle]
        self._held += [Given(address_at(cidr, a.ordinal), cidr, a.sequence) for a in mine]
        self._unlisted |= {cidr for a in mine if a.borrowed and a.node == self._own.node}

    def _missing(self) -> list[Want]:
        held = {given.address for given in self._held}
        named = [one for one in self._request.addresses if one not in held]
        wants = [Want(version_of(one), 1, (_spec(self._declared.pool_of(one, self._request)),), one) for one in named]
        for version in (4, 6):
            count = self._request.count(version) - sum(version_of(one) == version for one in held)
            if count > 0:
                pools = tuple(map(_spec, self._declared.pools_for(self._request, version)))
                wants.append(Want(version, count, pools))
        return wants

    async def _write(self, picks: Sequence[Pick]) -> None:
        """Promises all picks at once, then writes one after the other; after a loss the handle is looked at again.

        So it is when a pick shows the handle with an address of which this request does not know: somebody else is
        about the same request, and one of the two gets the addresses for both.
        """
        lost_before = self._lost
        if any(map(self._is_news, picks)):
            for pick in picks:
                self._own.copies.forget(pick.cidr)  # or it is the copy that is old, and shows what was released
            self._count_lost("the handle")
        else:
            await self._write_all(picks)
        if self._lost > lost_before:
            await self._look_at_handle()

    async def _write_all(self, picks: Sequence[Pick]) -> None:
        try:
            blocks = [pick.cidr for pick in picks]
            self._handle = await promise(self._store, self._request.handle, blocks, self._handle)
        except Lost:
            self._count_lost("the handle")
            return
        for pick in picks:
            await self._write_block(pick)

    async def _write_block(self, pick: Pick) -> None:
        gift, borrows = (pick.cidr, pick.block.version), node_of(pick.after) != self._own.node
        try:
            opened = await open_list(self._store, self._own.node, pick.cidr) if borrows else None
            self._tried.add(gift)
            await self._own.copies.write(pick.block, pick.after)
        except Lost:
            self._tried.discard(gift)
            self._count_lost(f"block {pick.cidr}")
            return
        self._hold(pick.cidr, (a for a in pick.after.allocations if a.sequence == pick.block.version))
        if opened is not None:
            with suppress(Lost):
                await keep_list(self._store, opened, pick.after)
                self._unlisted.discard(pick.cidr)

    async def _list_borrowed(self) -> None:
        """What is borrowed is the handle's only when its node can announce it."""
        for cidr in sorted(self._unlisted):
            block = await self._own.copies.get(cidr)
            if block is None or not await is_listed(self._store, self._own.node, block_of(block)):
                await list_all(self._own.copies, self._store, self._own.node, cidr)

    def _is_news(self, pick: Pick) -> bool:
        known = {(given.block, given.address) for given in self._held}
        mine = [a for a in block_of(pick.block).allocations if a.handle == self._request.handle]
        return any((pick.cidr, address_at(pick.cidr, a.ordinal)) not in known for a in mine)

    def _count_lost(self, what: str) -> None:
        self._lost += 1
        if self._lost >= TRIES:
            raise StoreBusy(f"{what} was changed by others {TRIES} times in a row: try again")

    async def _undo(self) -> None:
        """Gives back what this request has taken, and what it may have taken without hearing of it.

        If that fails too, the store is away: the handle keeps its promise and its addresses until it is released.
        """

        def is_ours(cidr: str, allocation: Allocation) -> bool:
            return (cidr, allocation.sequence) in self._tried

        with suppress(IpamError, StoreError):
            await settle(self._own.copies, self._store, self._request.handle, is_ours, self._now)

    def _answer(self) -> list[Given]:
        wanted = self._request.addresses
        of_family = [v for v in (4, 6) if self._request.count(v)]
        answer = [one for one in self._held if one.address in wanted or version_of(one.address) in of_family]
        return sorted(answer, key=lambda one: (version_of(one.address), one.sequence, one.address))


def _spec(pool: Resource) -> IPPoolSpec:
    return cast(IPPoolSpec, pool.spec)
