"""A block's addresses: given, held, released. Pure: every function takes a block and returns the next one.

An address that is released goes to the end of the line, so the one that is given next is the one that was unused for
longest: first those never used, by their order, then the released. With a cooldown, one that was released within it
is not given at all, unless it is asked for by itself.

A gift is known by its sequence: the store's version of the block that the write replaced. Versions only grow, whatever
is deleted and made again, so no two gifts of an address have the same, and a release that names an old one frees
nothing. The block carries the number too, so that every write changes the document (an engine may take a write
without a change for none, and give it no new version).

The last addresses of a block may be kept for its owner, which gives them by itself while it does not reach the store
(ipam/keeping.py): nobody else gives one of them, and nobody takes the block for being empty. The owner gives them last.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache

from ipam.block_order import size_of
from ipam.moments import is_recent, moment_text
from ipam.owners import affinity_of, owner_in
from peering.resources.ipam import Allocation, IPAMBlockSpec, Released


@dataclass(frozen=True, slots=True)
class Holder:
    """Who gets an address: the handle that keeps it, and for people the node and the pod."""

    handle: str
    node: str
    namespace: str = ""
    pod: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """What keeps free addresses from being given: CIDRs that are reserved, seconds of cooldown."""

    reserved: tuple[str, ...] = ()
    cooldown: float = 0


def owner_of(node: str) -> str:
    """How an IPAMBlock names the node, or the load balancers, that own it."""
    return affinity_of(node)


def node_of(spec: IPAMBlockSpec) -> str:
    """The node that owns the block, or LOAD_BALANCERS (owners.py); empty when none does."""
    return owner_in(spec.affinity)


def new_block(cidr: str, node: str, now: float) -> IPAMBlockSpec:
    """A block of the node, with all addresses free."""
    return IPAMBlockSpec(cidr=cidr, affinity=owner_of(node), empty_since=moment_text(now))


def kept_ordinals(spec: IPAMBlockSpec) -> range:
    """The addresses that only the owner gives: as many at the end as it keeps."""
    size = size_of(spec.cidr)
    return range(max(0, size - spec.kept), size)


def free_ordinals(spec: IPAMBlockSpec, limits: Limits, now: float, lent: bool = False) -> Iterator[int]:
    """The addresses that can be given, in the order in which they are; those that are kept come last.

    `lent`: to another node than the owner, which gets none that are kept.
    """
    kept = kept_ordinals(spec)
    free = _free(spec, limits, now)
    if not kept:
        yield from free
        return
    last = []
    for ordinal in free:
        if ordinal in kept:
            last.append(ordinal)
        else:
            yield ordinal
    if not lent:
        yield from last


def _free(spec: IPAMBlockSpec, limits: Limits, now: float) -> Iterator[int]:
    barred = {a.ordinal for a in spec.allocations} | reserved_ordinals(spec.cidr, limits.reserved)
    used_before = {one.ordinal for one in spec.released}
    yield from (i for i in range(size_of(spec.cidr)) if i not in barred and i not in used_before)
    for one in spec.released:
        if one.ordinal not in barred and not is_recent(one.at, now, limits.cooldown):
            yield one.ordinal


def give(spec: IPAMBlockSpec, ordinals: Collection[int], holder: Holder, sequence: int, now: float) -> IPAMBlockSpec:
    """The block with these free addresses given. `sequence` is the version of the block that is replaced."""
    since = moment_text(now)
    facts = {"handle": holder.handle, "node": holder.node, "namespace": holder.namespace, "pod": holder.pod}
    borrowed = node_of(spec) != holder.node
    given = [Allocation(ordinal=i, sequence=sequence, since=since, borrowed=borrowed, **facts) for i in ordinals]
    changed = {
        "allocations": (*spec.allocations, *given),
        "released": tuple(one for one in spec.released if one.ordinal not in ordinals),
        "empty_since": "",
    }
    return spec.model_copy(update=changed)


def take_back(spec: IPAMBlockSpec, gone: Callable[[Allocation], bool], now: float) -> IPAMBlockSpec:
    """The block without the allocations that are `gone`; the same object when there are none."""
    freed, kept = list[Allocation](), list[Allocation]()
    for a in spec.allocations:
        (freed if gone(a) else kept).append(a)
    if not freed:
        return spec
    at = moment_text(now)
    ordinals = {a.ordinal for a in freed}
    waiting = (one for one in spec.released if one.ordinal not in ordinals)
    changed = {
        "allocations": tuple(kept),
        "released": (*waiting, *(Released(ordinal=one, at=at) for one in sorted(ordinals))),
        "empty_since": "" if kept else at,
    }
    return spec.model_copy(update=changed)


def without_owner(spec: IPAMBlockSpec) -> IPAMBlockSpec:
    """The block when its owner lets go of it. What was the owner's is borrowed from now on, and says whose it is."""
    return as_borrowed(spec, node_of(spec)).model_copy(update={"affinity": "", "kept": 0})


def as_borrowed(spec: IPAMBlockSpec, node: str) -> IPAMBlockSpec:
    """The block in which all that the node uses is borrowed."""
    facts = {"node": node, "borrowed": True}
    kept = (a.model_copy(update=facts) if node and user_of(spec, a) == node else a for a in spec.allocations)
    return spec.model_copy(update={"allocations": tuple(kept)})


def user_of(spec: IPAMBlockSpec, allocation: Allocation) -> str:
    """The node that uses the address; empty when nobody knows."""
    return allocation.node or node_of(spec)


def is_idle(spec: IPAMBlockSpec, now: float, seconds: float) -> bool:
    """Whether the block is empty, and has been for so long. One that does not say since when has.

    One of which addresses are kept never is: its owner may have given them, and nobody knows yet.
    """
    return is_unused(spec) and not is_recent(spec.empty_since, now, seconds)


def is_unused(spec: IPAMBlockSpec) -> bool:
    """Whether nobody has an address of it, or may have got one by its owner alone."""
    return not spec.allocations and not spec.kept


def is_cooling(spec: IPAMBlockSpec, now: float, cooldown: float) -> bool:
    """Whether an address of it was released within the cooldown: to delete the block would forget that."""
    return any(is_recent(one.at, now, cooldown) for one in spec.released)


@lru_cache(maxsize=4096)
def reserved_ordinals(cidr: str, reserved: tuple[str, ...]) -> frozenset[int]:
    """The addresses of the block that lie in the reserved CIDRs."""
    block = ipaddress.ip_network(cidr)
    first, last = int(block.network_address), int(block.broadcast_address)
    found: set[int] = set()
    for text in reserved:
        other = ipaddress.ip_network(text)
        if other.version == block.version:
            low, high = max(first, int(other.network_address)), min(last, int(other.broadcast_address))
            found.update(range(low - first, high - first + 1))
    return frozenset(found)


def is_reserved(cidr: str, reserved: tuple[str, ...]) -> bool:
    """Whether no address of the block can be given."""
    return len(reserved_ordinals(cidr, reserved)) == size_of(cidr)
