"""Requests that came at once, given addresses at once: a promise for each, then one write for each block.

Pods start in crowds. One by one, each costs a write of the same block; together, that is written once. The order is the
one of every gift (the block is read, the promise written, the block written if still the one that was read), so who
does the same elsewhere sees nothing else. Only the plain case is served here: a handle that is new, addresses from
blocks that the node has and knows. Whatever else happens, the request goes its own way after and finds what it got.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

from ipam.block import free_ordinals, give, node_of
from ipam.block_order import address_at, is_inside
from ipam.documents import Lost, block_of
from ipam.errors import IpamError, Unreadable
from ipam.handles import promise
from ipam.requests import Declared, Request
from ipam.search import OwnBlocks
from peering.resource import Resource
from peering.resources.ipam import IPAMBlockSpec
from peering.resources.pools import IPPoolSpec
from peering.store.protocol import Store, StoreError

#: One gift: the block and the version of it that was replaced.
Gift = tuple[str, int]


@dataclass(slots=True)
class Share:
    """What one request gets: ordinals by block. `written` are the blocks that have it, `tried` those that may.

    `promised` is its IPAMHandle.
    """

    request: Request
    picks: dict[str, tuple[int, ...]] = field(default_factory=dict)
    promised: Resource | None = None
    tried: set[Gift] = field(default_factory=set)
    written: dict[str, int] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether the request has all it wants."""
        return bool(self.picks) and self.written.keys() == self.picks.keys()

    def addresses(self) -> list[tuple[str, str, int]]:
        """Address, block and sequence of each gift, in the order of the picks."""
        return [(address_at(cidr, one), cidr, self.written[cidr]) for cidr, ones in self.picks.items() for one in ones]


class Together:
    """One round for several requests."""

    def __init__(self, store: Store, own: OwnBlocks, declared: Declared, now: float) -> None:
        self._store = store
        self._own = own
        self._declared = declared
        self._now = now
        self._read: dict[str, Resource] = {}
        self._planned: dict[str, IPAMBlockSpec] = {}
        self._sharers: Counter[str] = Counter()

    async def give(self, requests: Sequence[Request]) -> list[Share]:
        """A share for each request, in their order; what is not whole has to go its own way."""
        shares = [Share(request) for request in requests]
        await self._read_blocks()
        for share in shares:
            self._plan(share)
        promised = [share for share in shares if share.picks and await self._promise(share)]
        of_block: defaultdict[str, list[Share]] = defaultdict(list)
        for share in promised:
            for cidr in share.picks:
                of_block[cidr].append(share)
        for cidr, takers in of_block.items():
            await self._write(cidr, takers)
        return shares

    async def _read_blocks(self) -> None:
        for cidr in self._own.cidrs:
            with suppress(Unreadable, StoreError):
                block = await self._own.copies.get(cidr)
                if block is not None and node_of(block_of(block)) == self._own.node:
                    self._read[cidr], self._planned[cidr] = block, block_of(block)

    def _plan(self, share: Share) -> None:
        """Picks for all families of the request, or none."""
        request = share.request
        picks: dict[str, tuple[int, ...]] = {}
        for version in (4, 6):
            count = request.count(version)
            found = self._pick(request, version, count) if count else None
            if request.addresses or (count and found is None):
                return
            picks |= dict([found] if found else ())
        for cidr, ordinals in picks.items():
            self._planned[cidr] = self._giving(self._planned[cidr], request, ordinals, cidr)
            self._sharers[cidr] += 1
        share.picks = picks

    def _pick(self, request: Request, version: int, count: int) -> tuple[str, tuple[int, ...]] | None:
        try:
            pools = [pool.spec for pool in self._declared.pools_for(request, version)]
        except IpamError:
            return None  # it is told on the request's own way
        for cidr, spec in self._planned.items():
            if any(isinstance(pool, IPPoolSpec) and is_inside(cidr, pool.cidr) for pool in pools):
                ordinals = tuple(islice(free_ordinals(spec, self._declared.limits, self._now), count))
                if len(ordinals) == count:
                    return cidr, ordinals
        return None

    async def _promise(self, share: Share) -> bool:
        """Whether the handle is a new one, and promises its blocks from now on."""
        with suppress(Lost, StoreError, IpamError):
            share.promised = await promise(self._store, share.request.handle, share.picks, None)
            return True
        return False

    async def _write(self, cidr: str, takers: Sequence[Share]) -> None:
        block = self._read[cidr]
        after, gift = block_of(block), (cidr, block.version)
        everybody = len(takers) == self._sharers[cidr]
        for share in takers:
            after = self._planned[cidr] if everybody else self._giving(after, share.request, share.picks[cidr], cidr)
            share.tried.add(gift)
        try:
            await self._own.copies.write(block, after)
        except Lost:
            for share in takers:
                share.tried.remove(gift)
        except StoreError:
            pass  # it may have taken effect: `tried` says so to whoever gives it back
        else:
            for share in takers:
                share.written[cidr] = block.version

    def _giving(self, spec: IPAMBlockSpec, request: Request, ordinals: tuple[int, ...], cidr: str) -> IPAMBlockSpec:
        return give(spec, ordinals, request.holder(self._own.node), self._read[cidr].version, self._now)
