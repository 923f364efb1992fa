"""Which prefixes each node originates: its loopbacks, and the blocks that it owns or would claim.

Where the snapshot has confirmed BlockAffinities, those are the blocks. A declaration without them (files) says only
who may claim from which pool: then each node gets one block of each such pool, marked as assumed. Of a pool of podCIDRs
the blocks are those that Nodes say; where none does, one for each node is assumed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from peering import pod_cidrs
from peering.node_index import NodeIndex
from peering.prefixes import Address, Prefix, contains, host_prefix, is_ipv6, pack_prefix
from peering.resources.ipam import BlockAffinitySpec
from peering.resources.pools import IPPoolSpec
from peering.session import SpeakerPlan
from peering.snapshot import Snapshot
from peering.whatif.routers import host_route

#: Instead of a pool's name, for blocks of a pool that is no longer declared.
NO_POOL = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """A prefix of a node; `pool` None is a loopback of it.

    `assumed`: no such block was claimed yet. `exported`: announced unless a filter says no.
    """

    prefix: Prefix
    pool: str | None
    assumed: bool = False
    exported: bool = True

    @property
    def is_ipv6(self) -> bool:
        return is_ipv6(self.prefix)


def origins_of(snapshot: Snapshot, speakers: dict[str, SpeakerPlan]) -> dict[str, tuple[Origin, ...]]:
    """The prefixes of every node, by its name."""
    pools = snapshot.specs("IPPool", IPPoolSpec)
    found: dict[str, list[Origin]] = {name: [] for name in speakers}
    claimed = {name: pool for name, pool in pools.items() if not pool.by_pod_cidr}
    blocks = _claimed(snapshot, pools) or _assumed(snapshot, claimed)
    for name, origin in (*blocks, *_pod_cidrs(snapshot, pools)):
        if name in found:
            found[name].append(origin)
    for name, speaker in speakers.items():
        found[name] += [Origin(pack_prefix(host_prefix(a)), None) for a in speaker.loopbacks]
    return {name: tuple(dict.fromkeys(origins)) for name, origins in found.items()}


def _claimed(snapshot: Snapshot, pools: dict[str, IPPoolSpec]) -> list[tuple[str, Origin]]:
    packed = [(pack_prefix(pool.cidr), name) for name, pool in pools.items()]
    affinities = snapshot.specs("BlockAffinity", BlockAffinitySpec).values()
    confirmed = sorted((a.node, pack_prefix(a.cidr)) for a in affinities if a.type == "host" and a.state == "confirmed")
    blocks = []
    for node, block in confirmed:
        pool = next((name for cidr, name in packed if contains(cidr, block)), NO_POOL)
        exported = pool == NO_POOL or not pools[pool].disable_bgp_export
        blocks.append((node, Origin(block, pool, exported=exported)))
    return blocks


def _assumed(snapshot: Snapshot, pools: dict[str, IPPoolSpec]) -> list[tuple[str, Origin]]:
    index = NodeIndex(snapshot.all("Node"))
    blocks = []
    for name, pool in pools.items():
        if pool.disabled or pool.assignment_mode == "Manual" or "LoadBalancer" in pool.allowed_uses:
            continue
        for node, block in zip(sorted(index.select(pool.node_selector)), _blocks(pool), strict=False):
            blocks.append((node, Origin(block, name, assumed=True, exported=not pool.disable_bgp_export)))
    return blocks


def _pod_cidrs(snapshot: Snapshot, pools: dict[str, IPPoolSpec]) -> Iterator[tuple[str, Origin]]:
    said = pod_cidrs.of_nodes(snapshot)
    for name, pool in pools.items():
        if not pool.by_pod_cidr:
            continue
        exported = not pool.disable_bgp_export
        mine = [(node, one) for node, owned in said.items() for one in owned if pod_cidrs.is_block_of(one, pool)]
        yield from ((node, Origin(pack_prefix(one), name, exported=exported)) for node, one in mine)
        if not mine:
            yield from _assumed(snapshot, {name: pool})


def _blocks(pool: IPPoolSpec) -> Iterator[Prefix]:
    """The blocks of a pool in order."""
    network = ipaddress.ip_network(pool.cidr)
    size = 1 << (network.max_prefixlen - pool.block_length)
    first = int(network.network_address)
    for start in range(first, first + network.num_addresses, size):
        yield bytes((pool.block_length,)) + start.to_bytes(network.max_prefixlen // 8)


class PrefixIndex:
    """Who originates what, and which of these prefixes cover another one."""

    def __init__(self) -> None:
        self._origins: dict[Prefix, list[str]] = {}
        self._lengths: dict[int, set[int]] = {}

    def add(self, prefix: Prefix, router: str) -> None:
        self._origins.setdefault(prefix, []).append(router)
        self._lengths.setdefault(len(prefix), set()).add(prefix[0])

    def routers(self, prefix: Prefix) -> tuple[str, ...]:
        """The ids of the routers that originate exactly this prefix."""
        return tuple(self._origins.get(prefix, ()))

    def __iter__(self) -> Iterator[Prefix]:
        return iter(self._origins)

    def covering(self, prefix: Prefix) -> tuple[Prefix, ...]:
        """Every originated prefix that is the given one or contains it, the longest first."""
        bits = 8 * (len(prefix) - 1)
        value = int.from_bytes(prefix[1:])
        found = []
        for length in sorted(self._lengths.get(len(prefix), ()), reverse=True):
            if length <= prefix[0]:
                masked = value >> (bits - length) << (bits - length)
                candidate = bytes((length,)) + masked.to_bytes(bits // 8)
                if candidate in self._origins:
                    found.append(candidate)
        return tuple(found)

    def covering_address(self, address: Address) -> tuple[Prefix, ...]:
        host = host_route(address)
        return self.covering(host) if host else ()
