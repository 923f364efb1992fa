"""How many prefixes one node may announce, by what IPAM may hand it: the limit of a Rack with `prefixLimit: ipam`.

Of each family at most: `maxBlocksPerHost` blocks of every pool that is exported (fewer where the pool has fewer), each
such pool itself, a loopback, and each range of service addresses. The limit is twice the larger of the two, so that a
second pool does not close sessions before the switches are told of it; and where nodes borrow addresses, or services
are announced one by one, as many again as a node has pods at most. It does not depend on which pools select a node: a
label that changes must not change switches.
"""

from __future__ import annotations

from peering.addressing import borrowable_pools, exported_pools, network
from peering.resources.pools import IPAMConfigurationSpec, IPPoolSpec
from peering.services import ranges_of
from peering.snapshot import Snapshot

#: What counts where `maxBlocksPerHost` is not given, as in Calico.
DEFAULT_BLOCKS_PER_HOST = 20
#: Kubernetes' own limit is 110; single addresses are those of pods, or of services with a pod there.
_SINGLE_ADDRESSES = 256
_MARGIN = 2


def blocks_per_host(snapshot: Snapshot) -> int:
    """`maxBlocksPerHost`, or what counts without it."""
    default = snapshot.specs("IPAMConfiguration", IPAMConfigurationSpec).get("default")
    return (default.max_blocks_per_host if default else 0) or DEFAULT_BLOCKS_PER_HOST


def blocks_of(pool: IPPoolSpec, per_host: int) -> int:
    """How many blocks of a pool one node may own. Of each family it has one podCIDR at most."""
    return 1 if pool.by_pod_cidr else min(per_host, 1 << (pool.block_length - network(pool.cidr).prefixlen))


def ipam_limit(snapshot: Snapshot) -> int:
    """The limit, for sessions of either family."""
    per_host, totals = blocks_per_host(snapshot), [1, 1]
    for pool in exported_pools(snapshot):
        totals[":" in pool.cidr] += blocks_of(pool, per_host) + 1
    ranges = ranges_of(snapshot.configuration())
    for cidr in ranges:
        totals[":" in cidr] += 1
    single = _SINGLE_ADDRESSES if ranges or borrowable_pools(snapshot) else 0
    return _MARGIN * max(totals) + single
