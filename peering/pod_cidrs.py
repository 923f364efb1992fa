"""Which podCIDR is whose, in pools with `ipam: podCIDR`: there a node owns what its Node says, and nobody claims. Pure.

A podCIDR counts when a pool of podCIDRs that selects the node has it, at exactly the length of the pool's blocks: what
speakers and switches accept follows from the pool alone. A node's speaker goes by its own Node, which is the only one
that it may see. Who sees all of them (reflectors, checks) gives a podCIDR that two nodes have to the first by name, as
a node in two racks stands in the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import cast

from peering.node_index import NodeIndex
from peering.prefixes import numbers
from peering.resource import Resource
from peering.resources.node import NodeSpec
from peering.resources.pools import IPPoolSpec
from peering.selectors import parse_selector
from peering.snapshot import Snapshot


def pools_by_pod_cidr(snapshot: Snapshot) -> dict[str, IPPoolSpec]:
    """The pools of podCIDRs, by name."""
    return {name: pool for name, pool in snapshot.specs("IPPool", IPPoolSpec).items() if pool.by_pod_cidr}


def pools_for(labels: Mapping[str, str], pools: Iterable[IPPoolSpec]) -> tuple[IPPoolSpec, ...]:
    """The pools of podCIDRs that select a node with these labels."""
    return tuple(pool for pool in pools if pool.by_pod_cidr and parse_selector(pool.node_selector)(labels))


def usable(pod_cidrs: Iterable[str], pools: Iterable[IPPoolSpec]) -> tuple[str, ...]:
    """Those that are blocks of one of the pools, which are those that select the node."""
    pools = tuple(pools)
    return tuple(one for one in pod_cidrs if any(is_block_of(one, pool) for pool in pools))


def is_block_of(pod_cidr: str, pool: IPPoolSpec) -> bool:
    """Whether it lies in the pool and has the length of the pool's blocks."""
    return numbers(pod_cidr).length == pool.block_length and lies_inside(pod_cidr, pool)


def lies_inside(pod_cidr: str, pool: IPPoolSpec) -> bool:
    """Whether it lies in the pool, whatever its length."""
    outer, inner = numbers(pool.cidr), numbers(pod_cidr)
    shift = outer.bits - outer.length
    return inner.bits == outer.bits and inner.length >= outer.length and inner.value >> shift == outer.value >> shift


def of_node(node: Resource | None, pools: Iterable[Resource]) -> tuple[str, ...]:
    """What a node owns by what its Node says; nothing without a Node. `pools` are IPPools of either kind."""
    if node is None or not cast(NodeSpec, node.spec).pod_cidrs:
        return ()
    specs = (cast(IPPoolSpec, pool.spec) for pool in pools)
    return usable(cast(NodeSpec, node.spec).pod_cidrs, pools_for(node.labels, specs))


def of_nodes(snapshot: Snapshot) -> dict[str, tuple[str, ...]]:
    """What each node owns that owns something, by name. Of two with the same podCIDR the first by name has it."""
    owners: dict[str, str] = {}
    for name, pod_cidr in claims(snapshot):
        owners.setdefault(pod_cidr, name)
    owned: dict[str, tuple[str, ...]] = {}
    for pod_cidr, name in owners.items():
        owned[name] = (*owned.get(name, ()), pod_cidr)
    return owned


def claims(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    """Node and podCIDR of all that count, in the order of the nodes' names; two nodes may have the same."""
    pools = pools_by_pod_cidr(snapshot)
    if not pools:
        return
    index = NodeIndex(snapshot.all("Node"))
    chosen = [(pool, frozenset(index.select(pool.node_selector))) for pool in pools.values()]
    for name, spec in snapshot.specs("Node", NodeSpec).items():
        if spec.pod_cidrs:
            mine = [pool for pool, nodes in chosen if name in nodes]
            yield from ((name, pod_cidr) for pod_cidr in usable(spec.pod_cidrs, mine))
