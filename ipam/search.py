"""Where the next addresses of a request come from: the order is the one of Calico.

    blocks that the handle names ─► the node's own blocks ─► a new block ─► blocks of others, unless strictAffinity

At the cap of blocks it ends: a node that may have no more does not borrow. What is found is a pick: a block as it was
read and as it shall be. Nothing is written here but claims of blocks; the allocator writes the pick, onto the
very version that was read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from ipam.block import Holder, free_ordinals, give, kept_ordinals, node_of
from ipam.block_order import address_at, block_with, is_inside, ordinal_of
from ipam.claims import claim, finish
from ipam.documents import BlockCopies, block_of
from ipam.errors import AddressReserved, AddressTaken, NoBlocksLeft, PoolExhausted, Unreadable
from ipam.new_blocks import blocks_in, claim_from, may_claim
from ipam.owners import is_node, shown
from ipam.requests import Declared, Request
from peering.resource import Resource
from peering.resources.ipam import IPAMBlockSpec
from peering.resources.pools import IPPoolSpec
from peering.store.protocol import Store


@dataclass(frozen=True, slots=True)
class Want:
    """What is missing yet: `count` addresses of the version from the pools, or the `address`."""

    version: int
    count: int
    pools: tuple[IPPoolSpec, ...]
    address: str = ""

    def allows(self, cidr: str) -> bool:
        """Whether the block is in one of the pools."""
        return any(is_inside(cidr, pool.cidr) for pool in self.pools)


@dataclass(frozen=True, slots=True)
class Pick:
    """A block as it was read and as it shall be."""

    block: Resource
    after: IPAMBlockSpec

    @property
    def cidr(self) -> str:
        """The block's CIDR."""
        return self.after.cidr


class OwnBlocks:
    """The blocks that the node is known to own, and copies of all blocks that it uses."""

    def __init__(self, store: Store, node: str) -> None:
        self.store = store
        self.node = node
        self.copies = BlockCopies(store)
        self.cidrs: list[str] = []

    async def look_again(self, now: float) -> None:
        """Reads which blocks the node owns; claims and releases that were interrupted come to their end."""
        self.cidrs = await finish(self.store, self.node, now)


class Search:
    """The search for one request at one time."""

    def __init__(self, own: OwnBlocks, request: Request, declared: Declared, now: float) -> None:
        self._own = own
        self._declared = declared
        self._holder: Holder = request.holder(own.node)
        self._now = now

    async def find(self, want: Want, promised: Iterable[str]) -> Pick:
        """The next pick. Raises IpamError when there is none."""
        if want.address:
            return await self._of_address(want)
        return (
            await self._of_blocks(want, promised, fresh=True, borrowing=True)
            or await self._of_blocks(want, self._own.cidrs)
            or await self._of_own_as_they_are(want)
            or await self._of_new_block(want)
            or await self._borrowed(want)
        )

    async def _of_blocks(
        self, want: Want, cidrs: Iterable[str], fresh: bool = False, borrowing: bool = False
    ) -> Pick | None:
        """From the first of the blocks that has a free address. One that cannot be read has none."""
        for cidr in filter(want.allows, cidrs):
            with suppress(Unreadable):
                block = await (self._own.copies.read(cidr) if fresh else self._own.copies.get(cidr))
                if block is not None and (pick := self._pick(want, block, borrowing)):
                    return pick
        return None

    def _pick(self, want: Want, block: Resource, borrowing: bool = False) -> Pick | None:
        spec = block_of(block)
        lent = node_of(spec) != self._own.node
        if lent and not (borrowing and self._may_borrow(spec)):
            return None
        ordinals = tuple(islice(free_ordinals(spec, self._declared.limits, self._now, lent), want.count))
        return self._giving(block, ordinals) if ordinals else None

    def _giving(self, block: Resource, ordinals: tuple[int, ...]) -> Pick:
        return Pick(block, give(block_of(block), ordinals, self._holder, block.version, self._now))

    def _may_borrow(self, spec: IPAMBlockSpec) -> bool:
        """Blocks of owners that are no nodes are not for pods."""
        return not self._declared.configuration.strict_affinity and is_node(node_of(spec))

    async def _of_own_as_they_are(self, want: Want) -> Pick | None:
        """Somebody else may have released an address, or claimed a block for the node, or taken one from it."""
        await self._own.look_again(self._now)
        return await self._of_blocks(want, self._own.cidrs, fresh=True)

    async def _of_new_block(self, want: Want) -> Pick | None:
        if not self._declared.configuration.auto_allocate_blocks:
            return None
        self._check_cap(want.version)
        for pool in want.pools:
            block = await claim_from(self._own.store, self._declared, pool, self._now)
            if block is not None and (pick := self._pick(want, self._owned(block))):
                return pick
        return None

    def _owned(self, block: Resource) -> Resource:
        self._own.cidrs = sorted({*self._own.cidrs, block_of(block).cidr})
        return block

    def _check_cap(self, version: int) -> None:
        if not may_claim(self._declared, self._own.cidrs, version):
            count = self._declared.most_blocks
            raise NoBlocksLeft(
                f"{shown(self._own.node)} has all {count} blocks of IPv{version} that it may have, and no address is "
                "free in them: raise maxBlocksPerHost in IPAMConfiguration/default"
            )

    async def _borrowed(self, want: Want) -> Pick:
        """From the blocks of other nodes; each node tries them in an order of its own."""
        if not self._declared.configuration.strict_affinity:
            listed = await self._own.store.list("IPAMBlock")
            others = [spec.cidr for spec in blocks_in(listed, [pool.cidr for pool in want.pools]) if node_of(spec)]
            others.sort(key=lambda cidr: hashlib.sha256(f"{self._own.node} {cidr}".encode()).digest())
            if pick := await self._of_blocks(want, others, fresh=True, borrowing=True):
                return pick
        raise PoolExhausted(self._why_exhausted(want))

    def _why_exhausted(self, want: Want) -> str:
        pools = ", ".join(pool.cidr for pool in want.pools)
        said = f"no address is free for {shown(self._own.node)} in the IPv{want.version} pools {pools}"
        configuration = self._declared.configuration
        if not is_node(self._own.node):
            return f"{said}: add a pool with allowedUses: [LoadBalancer]"
        if not configuration.auto_allocate_blocks:
            return f"{said}: autoAllocateBlocks is off, so that only blocks count that the node has"
        if configuration.strict_affinity:
            return f"{said}: add a pool, or allow nodes to borrow (strictAffinity: false)"
        return f"{said}: add a pool, or wait for addresses that are in their cooldown or leak"

    async def _of_address(self, want: Want) -> Pick:
        address = want.address
        if any(is_inside(address, one) for one in self._declared.reserved):
            raise AddressReserved(f"{address} lies in an IPReservation: ask for another, or take it out of there")
        cidr = block_with(address, want.pools[0])
        block = await self._own.copies.read(cidr) or await self._claimed(cidr, want.version)
        spec = block_of(block)
        if node_of(spec) != self._own.node and not self._may_borrow(spec):
            raise AddressTaken(f"{address} is in block {cidr} of {spec.affinity or 'nobody'}, not of {self._own.node}")
        ordinal = ordinal_of(address, cidr)
        taken = next((a for a in spec.allocations if a.ordinal == ordinal), None)
        if taken is not None:
            pod = f", pod {taken.namespace}/{taken.pod}" if taken.pod else ""
            node = f" on Node/{taken.node}" if is_node(taken.node) else ""
            raise AddressTaken(f"{address} is held by {taken.handle or 'somebody without a handle'}{pod}{node}")
        if node_of(spec) != self._own.node and ordinal in kept_ordinals(spec):
            raise AddressTaken(self._why_kept(address, spec))
        return self._giving(block, (ordinal,))

    def _why_kept(self, address: str, spec: IPAMBlockSpec) -> str:
        first, last = (address_at(spec.cidr, kept_ordinals(spec)[i]) for i in (0, -1))
        return (
            f"{address} is one of {first}-{last}, which Node/{node_of(spec)} keeps for pods that start while it does "
            f"not reach the store: ask for another address of block {spec.cidr}, or let the pod run there"
        )

    async def _claimed(self, cidr: str, version: int) -> Resource:
        """The block of a wanted address, claimed for the node if nobody has it."""
        await self._own.look_again(self._now)
        if not self._declared.configuration.auto_allocate_blocks:
            raise PoolExhausted(f"nobody has block {cidr}, and Node/{self._own.node} may not claim it")
        self._check_cap(version)
        block = await claim(self._own.store, self._own.node, cidr, self._now)
        if block is not None:
            return self._owned(block)
        block = await self._own.copies.read(cidr)
        if block is None:
            raise PoolExhausted(f"block {cidr} was claimed and given up by others: try again")
        return block
