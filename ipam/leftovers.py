"""What in IPAM's documents nobody stands for: found in one reading of the store, freed only after a second. Pure.

A leftover is the same in two readings only if nothing about it has changed: what it is known by names the gifts and
versions that it is about. An address leaks when its node is gone, or whoever knows the containers says that its holder
is. All addresses of a handle leak, or none does. An address of which nobody knows the node is in use, and so is that of
a load balancer: whether its Service is gone, load_balancers.py judges.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from ipam.block import is_cooling, is_idle, node_of, user_of
from ipam.block_order import is_inside
from ipam.borrowing import gift_of, gifts_of
from ipam.new_blocks import IDLE_S, idle_blocks
from ipam.owners import LOAD_BALANCERS, claimant
from peering.resource import Resource
from peering.resources.ipam import Allocation, BlockAffinitySpec, IPAMBlockSpec, IPAMHandleSpec
from peering.resources.pools import IPAMConfigurationSpec, IPPoolSpec

What = Literal[
    "block-of-no-node", "block-of-no-pool", "spare-block", "unfinished-claim", "block-of-nobody", "leak", "promise",
    "unpromised", "list-too-long", "unlisted",
]  # fmt: skip

#: Whether the holder of an allocation is gone, as far as its node or Kubernetes knows.
Gone = Callable[[Allocation], bool]
#: One gift: block, ordinal, sequence.
Gift = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Leftover:
    """What is left over, of which node, block and handle.

    `gifts` are addresses that leak or are not listed, `version` is that of the handle, or of the list.
    """

    what: What
    node: str = ""
    block: str = ""
    handle: str = ""
    gifts: frozenset[Gift] = frozenset()
    version: int = 0


@dataclass(slots=True)
class Reading:
    """One reading of the store, sorted by what the rules ask for. `now` are Unix seconds.

    `pools` are those that blocks are claimed from. Of those of podCIDRs there is nothing here that could be left over,
    and a block that lies in one was claimed from a pool that is gone. `balanced` are those of load balancers. In
    `affinities` the `node` is the owner (owners.py).
    """

    now: float
    nodes: set[str] = field(default_factory=set)
    pools: list[str] = field(default_factory=list)
    balanced: set[str] = field(default_factory=set)
    cooldown: float = 0
    affinities: list[BlockAffinitySpec] = field(default_factory=list)
    borrowers: list[tuple[BlockAffinitySpec, int]] = field(default_factory=list)
    blocks: dict[str, IPAMBlockSpec] = field(default_factory=dict)
    handles: list[tuple[IPAMHandleSpec, int]] = field(default_factory=list)

    @classmethod
    def of(cls, resources: Iterable[Resource], now: float) -> Reading:
        """From all resources of the kinds that the collector reads."""
        reading = cls(now)
        for one in resources:
            if one.kind == "Node":
                reading.nodes.add(one.name)
            elif isinstance(one.spec, IPPoolSpec):
                reading.pools += [] if one.spec.by_pod_cidr else [one.spec.cidr]
                reading.balanced |= {one.spec.cidr} if one.spec.for_load_balancers else set()
            elif isinstance(one.spec, IPAMConfigurationSpec) and one.name == "default":
                reading.cooldown = one.spec.ip_cooldown_seconds
            elif isinstance(one.spec, BlockAffinitySpec) and (owner := claimant(one.spec)):
                reading.affinities.append(one.spec.model_copy(update={"node": owner}))
            elif isinstance(one.spec, BlockAffinitySpec) and one.spec.type == "borrower":
                reading.borrowers.append((one.spec, one.version))
            elif isinstance(one.spec, IPAMBlockSpec):
                reading.blocks[one.spec.cidr] = one.spec
            elif isinstance(one.spec, IPAMHandleSpec):
                reading.handles.append((one.spec, one.version))
        return reading

    def is_there(self, owner: str) -> bool:
        """Whether the node is; load balancers always are."""
        return owner in self.nodes or owner == LOAD_BALANCERS

    def held(self) -> Iterator[tuple[IPAMBlockSpec, Allocation]]:
        """All allocations, each with its block."""
        return ((spec, a) for spec in self.blocks.values() for a in spec.allocations)

    def pool_of(self, cidr: str) -> str | None:
        """The pool in which a block is, of those that blocks are claimed from."""
        return next((pool for pool in self.pools if is_inside(cidr, pool)), None)


def leftovers(reading: Reading, gone: Gone) -> list[Leftover]:
    """Everything that nobody stands for. A store that shows no node at all has lost them: nothing is left over."""
    if not reading.nodes:
        return []
    found = [
        *_claims(reading),
        *_spare(reading),
        *_of_nobody(reading),
        *_leaks(reading, gone),
        *_promises(reading),
        *_lists(reading),
    ]
    return list(dict.fromkeys(found))


def _claims(reading: Reading) -> Iterator[Leftover]:
    for one in reading.affinities:
        block = reading.blocks.get(one.cidr)
        if not reading.is_there(one.node):
            yield Leftover("block-of-no-node", one.node, one.cidr)
        elif one.state != "confirmed":
            yield Leftover("unfinished-claim", one.node, one.cidr)
        elif reading.pool_of(one.cidr) is None and (block is None or not block.allocations):
            yield Leftover("block-of-no-pool", one.node, one.cidr)


def _spare(reading: Reading) -> Iterator[Leftover]:
    by_pool = defaultdict(list)
    for spec in reading.blocks.values():
        by_pool[reading.pool_of(spec.cidr)].append(spec)
    for pool, blocks in by_pool.items():
        idle = idle_blocks(blocks, reading.now, 0) if pool is not None else ()
        yield from (Leftover("spare-block", node_of(spec), spec.cidr) for spec in idle)


def _of_nobody(reading: Reading) -> Iterator[Leftover]:
    """Blocks without an owner that are empty, and blocks whose owner has no affinity for them."""
    claimed = {(one.node, one.cidr) for one in reading.affinities}
    for cidr, spec in reading.blocks.items():
        if not spec.affinity and not spec.allocations and not is_cooling(spec, reading.now, reading.cooldown):
            yield Leftover("block-of-nobody", "", cidr)
        elif node_of(spec) and (node_of(spec), cidr) not in claimed:
            yield Leftover("block-of-nobody", node_of(spec), cidr)


def _leaks(reading: Reading, gone: Gone) -> Iterator[Leftover]:
    gifts: defaultdict[str, set[Gift]] = defaultdict(set)
    in_use = set()
    for spec, a in reading.held():
        gift = (spec.cidr, a.ordinal, a.sequence)
        key = a.handle or f"{spec.cidr} {a.ordinal}"
        gifts[key].add(gift)
        node = user_of(spec, a)
        if node in ("", LOAD_BALANCERS) or (node in reading.nodes and not gone(a)):
            in_use.add(key)
    handles = {a.handle for _, a in reading.held()}
    for key in sorted(gifts.keys() - in_use):
        yield Leftover("leak", handle=key if key in handles else "", gifts=frozenset(gifts[key]))


def _promises(reading: Reading) -> Iterator[Leftover]:
    holding: defaultdict[str, set[str]] = defaultdict(set)
    for spec, a in reading.held():
        holding[a.handle].add(spec.cidr)
    promised = {spec.handle: (set(spec.blocks), version) for spec, version in reading.handles}
    for handle, (blocks, version) in promised.items():
        if blocks - holding[handle] or not blocks:
            yield Leftover("promise", handle=handle, version=version)
    for handle, blocks in holding.items():
        for block in sorted(blocks - promised.get(handle, (set(), 0))[0]) if handle else ():
            yield Leftover("unpromised", block=block, handle=handle)


def _lists(reading: Reading) -> Iterator[Leftover]:
    """Lists of borrowed addresses that are empty or name what the node does not have, and what no list names."""
    for one, version in reading.borrowers:
        block = reading.blocks.get(one.cidr)
        if not one.addresses or set(one.addresses) - set(gifts_of(block, one.node) if block else ()):
            yield Leftover("list-too-long", one.node, one.cidr, version=version)
    listed = {(one.node, one.cidr): one.addresses for one, _ in reading.borrowers}
    missing: defaultdict[tuple[str, str], set[Gift]] = defaultdict(set)
    for spec, a in reading.held():
        user = user_of(spec, a)
        if user == node_of(spec) or user not in reading.nodes:
            continue
        if gift_of(spec.cidr, a) not in listed.get((user, spec.cidr), ()):
            missing[user, spec.cidr].add((spec.cidr, a.ordinal, a.sequence))
    for (user, cidr), gifts in missing.items():
        yield Leftover("unlisted", user, cidr, gifts=frozenset(gifts))


def is_spare(spec: IPAMBlockSpec, now: float, cooldown: float) -> bool:
    """Whether an empty block can go from a node that has others."""
    return is_idle(spec, now, max(IDLE_S, cooldown))
