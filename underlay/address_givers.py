"""Who gives a node's pods their addresses: our IPAM from blocks, host-local from the Node's podCIDRs, or both. Pure.

Of one family it is one of the two, since a list of plugins has one range for it and one party that knows what is in
use. Where the pools want both, or the Node has no podCIDR yet, there is an objection, and a list that is there stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from ipam.requests import Declared, version_of
from peering import pod_cidrs
from peering.resource import Resource
from peering.resources.node import NodeSpec
from peering.resources.pools import IPPoolSpec


@dataclass(frozen=True, slots=True)
class Givers:
    """`pod_cidrs` are those of host-local; `blocks`: whether our IPAM gives addresses. `objection`: why not so."""

    pod_cidrs: tuple[str, ...] = ()
    blocks: bool = True
    objection: str = ""


def givers(declared: Declared, node: Resource) -> Givers:
    """For the node of `declared`. Where no pool is for it our IPAM gives addresses, and says that there are none."""
    specs = [cast(IPPoolSpec, pool.spec) for pool in declared.pools]
    chosen = pod_cidrs.pools_for(declared.node_labels, specs)
    claimed = [cast(IPPoolSpec, pool.spec) for pool in declared.pools if not declared.objection(pool, None)]
    by_pod_cidr, by_block = ({version_of(pool.cidr) for pool in pools} for pools in (chosen, claimed))
    found = pod_cidrs.usable(cast(NodeSpec, node.spec).pod_cidrs, chosen)
    objections = []
    if both := by_pod_cidr & by_block:
        objections.append(f"it has IPPools of both kinds for {_families(both)}: let their nodeSelectors exclude it")
    if missing := by_pod_cidr - {version_of(one) for one in found}:
        objections.append(f"its Node has no podCIDR of {_families(missing)} that is a block of an IPPool")
    return Givers(found, bool(by_block or not by_pod_cidr), "; ".join(objections))


def _families(versions: set[int]) -> str:
    return " and ".join(f"IPv{version}" for version in sorted(versions))
