"""Whether a node can take pods, and if not, why: from what its speaker knows and from what is declared for IPAM.

A pod is of use when it gets addresses and is reached by them. So the node needs a Node with a plan, a confirmed block
or a podCIDR of each family that it has a pool for, and a session that is up. One session is enough: a ToR that is dead
is the reason why there are two, not one to take the node out. Pools that pods have to name count for nothing, since
nobody may.

- A pool that is exhausted keeps a node out only with `strictAffinity`: else it borrows addresses from other nodes.
- A node without any session in the plan is as it should be where no node has one (there is only one, say); where others
  have some it was forgotten, by a label as a rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

from bgp_speaker.node_state import NodeState
from bgp_speaker.node_view import NodeView
from ipam.block_order import is_inside
from ipam.cni_service import Condition
from ipam.requests import Declared, is_automatic, version_of
from peering.resource import Resource
from peering.resources.pools import IPPoolSpec
from peering.session import SpeakerPlan
from underlay.address_givers import givers

READY = Condition()


def node_condition(state: NodeState, declared: Declared, exhausted: str, reached: bool) -> Condition:
    """`exhausted` is what IPAM said when it found no block for the node, or nothing.

    `reached`: a session is up, or one was a moment ago that the fabric still goes by. The reason of a node whose pods
    nobody reaches is `limited`.
    """
    view = state.view
    if view is None or state.mtu is None:
        return Condition("the node agent has just started")
    if view.node is None:
        return Condition("there is no such Node", limited=True)
    if view.plan is None:
        return Condition("the plan has no speaker for it: underlay lint tells why", limited=True)
    reason = _without_addresses(declared, view.node, view.blocks, exhausted)
    if reason:
        return Condition(reason)
    return READY if reached else _unreached(view, view.plan)


def _without_addresses(declared: Declared, node: Resource, blocks: Iterable[str], exhausted: str) -> str:
    """Why a pod would get no address, or one that takes a claim first; empty when it would."""
    by = givers(declared, node)
    if by.objection:
        return by.objection
    usable = [pool for pool in declared.pools if not declared.objection(pool, None)]
    if not usable and not by.pod_cidrs:
        return "no enabled IPPool is for it"
    owned = list(blocks)
    cidrs = [cast(IPPoolSpec, pool.spec).cidr for pool in usable if is_automatic(pool)]
    missing = list(_families_without_block(cidrs, owned))
    if not missing or (exhausted and not declared.configuration.strict_affinity):
        return ""
    return f"it has no block of {' and '.join(missing)} yet" + (f": {exhausted}" if exhausted else "")


def _families_without_block(pools: list[str], blocks: list[str]) -> Iterator[str]:
    for version in (4, 6):
        mine = [cidr for cidr in pools if version_of(cidr) == version]
        if mine and not any(is_inside(block, cidr) for block in blocks for cidr in mine):
            yield f"IPv{version}"


def _unreached(view: NodeView, plan: SpeakerPlan) -> Condition:
    if plan.sessions:
        return Condition(f"no BGP session is Established, of {len(plan.sessions)} in the plan", limited=True)
    if view.others_peer:
        hint = "other nodes have some: underlay lint tells more"
        return Condition(f"it has no BGP session in the plan, and {hint}", limited=True)
    return READY
