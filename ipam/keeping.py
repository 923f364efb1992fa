"""Addresses that a node keeps for bad times: which, and which of them it gives while it does not reach the store. Pure.

    keep:    write the block (kept) ─► note it on disk
    give up: note it on disk ─► write the block (kept)

What is kept of a block only its owner gives, and nobody takes a block of which something is kept. So whatever the
owner gives of it alone, nobody else can give, however long it is away. The block itself says how much is kept, and not
a rule: what the admin changes meanwhile (strictAffinity, a pool) changes nothing about it until the owner writes it.

Something is kept of every block of which the node uses addresses, and of the first of a pool in which it has no such
block: one that is empty, and not its last, is free for others as ever. Of pools that pods have to name nothing is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from ipam.block import Holder, free_ordinals, give, kept_ordinals, user_of
from ipam.block_order import address_at, is_inside, size_of
from ipam.requests import Declared, Request, is_automatic, version_of
from peering.resources.ipam import IPAMBlockSpec
from peering.resources.pools import IPPoolSpec

#: Of a block that others may borrow from, this part is kept: one in so many addresses, and not more than so many.
_ONE_IN, _MOST = 4, 64

#: A block and the number of an address in it.
Gift = tuple[str, int]


class NothingKept(Exception):
    """Why the node cannot give an address alone."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a node knew when it last reached the store: what is declared, and its blocks of which something is kept."""

    declared: Declared
    blocks: Mapping[str, IPAMBlockSpec]

    def noting(self, holder: Holder, given: Iterable[Gift], now: float) -> Known:
        """With these addresses in use, as far as they are kept ones that were not known to be; else the same object."""
        blocks = dict(self.blocks)
        for cidr, ordinal in given:
            spec = blocks.get(cidr)
            if spec is not None and ordinal in kept_ordinals(spec) and not _is_used(spec, ordinal):
                blocks[cidr] = give(spec, (ordinal,), holder, 0, now)
        return self if blocks == self.blocks else replace(self, blocks=blocks)


@dataclass(frozen=True, slots=True)
class Entry:
    """What was given alone to one handle, and when. `refused`: why it could not be written when the store was back."""

    holder: Holder
    gifts: tuple[Gift, ...]
    at: float
    refused: str = ""

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses as text."""
        return tuple(address_at(*gift) for gift in self.gifts)


def keeps(blocks: Sequence[IPAMBlockSpec], declared: Declared) -> dict[str, int]:
    """How many addresses the node shall keep of each of its blocks."""
    found = dict.fromkeys((spec.cidr for spec in blocks), 0)
    for pool in declared.pools:
        if declared.objection(pool, None) or not is_automatic(pool):
            continue
        cidr = cast(IPPoolSpec, pool.spec).cidr
        of_pool = sorted((spec for spec in blocks if is_inside(spec.cidr, cidr)), key=lambda spec: spec.cidr)
        used = [spec for spec in of_pool if any(user_of(spec, a) == declared.node for a in spec.allocations)]
        for spec in used or of_pool[:1]:
            found[spec.cidr] = kept_of(spec.cidr, declared.configuration.strict_affinity)
    return found


def kept_of(cidr: str, strict: bool) -> int:
    """How many addresses of a block are kept: all where nobody borrows; of a block of one, two or three else none."""
    size = size_of(cidr)
    return size if strict else min(size // _ONE_IN, _MOST)


def choose(known: Known, given: Iterable[Entry], request: Request, now: float) -> tuple[Gift, ...]:
    """What the node gives for the request alone. Raises NothingKept; IpamError when no pool is for the request."""
    if request.addresses:
        wanted = ", ".join(request.addresses)
        raise NothingKept(f"the pod asks for {wanted}, and whether that is free only the store can tell")
    free = _free(known, given, now)
    gifts: list[Gift] = []
    for version in (4, 6):
        if not (count := request.count(version)):
            continue
        pools = [cast(IPPoolSpec, pool.spec).cidr for pool in known.declared.pools_for(request, version)]
        fit = [gift for pool in pools for gift in free if is_inside(gift[0], pool)]
        if len(fit) < count:
            raise NothingKept(_why_not(known, pools, version))
        gifts += fit[:count]
    return tuple(gifts)


def families_left(known: Known, given: Iterable[Entry], now: float) -> set[int]:
    """The IP versions of which something that is kept is free."""
    return {version_of(cidr) for cidr, _ in _free(known, given, now)}


def _free(known: Known, given: Iterable[Entry], now: float) -> list[Gift]:
    """What is kept and not in use, in the order in which it is given."""
    taken = {gift for entry in given for gift in entry.gifts}
    free = []
    for cidr, spec in sorted(known.blocks.items()):
        kept = kept_ordinals(spec)
        free += [(cidr, one) for one in free_ordinals(spec, known.declared.limits, now) if one in kept]
    return [gift for gift in free if gift not in taken]


def _why_not(known: Known, pools: list[str], version: int) -> str:
    inside = [spec for cidr, spec in known.blocks.items() if any(is_inside(cidr, pool) for pool in pools)]
    node, where = known.declared.node, f"of the IPv{version} pools {', '.join(pools)}"
    if not inside:
        return f"Node/{node} keeps no addresses {where}"
    count = sum(len(kept_ordinals(spec)) for spec in inside)
    return f"all {count} addresses {where} that Node/{node} keeps for this are in use"


def _is_used(spec: IPAMBlockSpec, ordinal: int) -> bool:
    return any(a.ordinal == ordinal for a in spec.allocations)
