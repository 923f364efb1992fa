"""When a node can take pods, and what is said when it cannot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bgp_speaker.node_state import NodeState
from bgp_speaker.node_view import NodeView
from ipam.cni_service import Condition
from ipam.requests import Declared
from peering.compile import plan
from peering.resource import Resource
from peering.resources.node import NodeSpec
from peering.resources.pools import IPAMConfigurationSpec, IPPoolSpec
from tests.unit.samples import dual_tor
from underlay.node_condition import READY, node_condition

PLAN = plan(dual_tor()).speakers["node-1"]
NODE = Resource("Node", "node-1", NodeSpec())
VIEW = NodeView(plan=PLAN, node=NODE, blocks=("10.244.0.0/26", "fd00:244::/122"), others_peer=True)
UP = NodeState(VIEW, established=1, mtu=9000)
V4, V6 = {"cidr": "10.244.0.0/16"}, {"cidr": "fd00:244::/48"}
FULL = "no free block for Node/node-1 in IPPool pods-v4"


def declared(*pools: dict[str, Any], **configuration: Any) -> Declared:
    made = [Resource("IPPool", f"p{number}", IPPoolSpec.model_validate(one)) for number, one in enumerate(pools)]
    return Declared("node-1", {}, tuple(made), (), IPAMConfigurationSpec.model_validate(configuration))


def seen(**changes: Any) -> NodeState:
    """`UP`, with another view."""
    return replace(UP, view=replace(VIEW, **changes))


BOTH = declared(V4, V6)
STRICT = declared(V4, V6, strictAffinity=True)
ONLY_V6 = seen(blocks=("fd00:244::/122",))
NO_BLOCK = seen(blocks=())
NO_SESSION = seen(plan=replace(PLAN, sessions=()))
NODE_OF_KUBERNETES = Resource("Node", "node-1", NodeSpec(pod_cidrs=("10.1.7.0/24",)))
BY_POD_CIDR = seen(node=NODE_OF_KUBERNETES)
PODS, PODS6 = ({"cidr": cidr, "ipam": "podCIDR"} for cidr in ("10.1.0.0/16", "fd00:1::/48"))
NO_POD_CIDR, NONE_FITS = "its Node has no podCIDR", " that is a block of an IPPool"
ALONE = seen(plan=replace(PLAN, sessions=()), others_peer=False)

CASES: dict[str, tuple[NodeState, Declared, str, bool, Condition]] = {
    "all is well": (UP, BOTH, "", True, READY),
    "nothing was read": (NodeState(mtu=1500), BOTH, "", True, Condition("the node agent has just started")),
    "no link was looked at": (replace(UP, mtu=None), BOTH, "", True, Condition("the node agent has just started")),
    "no uplink is known": (replace(UP, mtu=0), BOTH, "", True, READY),
    "no node": (seen(node=None, plan=None), BOTH, "", True, Condition("there is no such Node", limited=True)),
    "no plan": (
        seen(plan=None), BOTH, "", True,
        Condition("the plan has no speaker for it: underlay lint tells why", limited=True),
    ),
    "no pool": (UP, declared(), "", True, Condition("no enabled IPPool is for it")),
    "only a disabled pool": (
        UP, declared({**V4, "disabled": True}), "", True, Condition("no enabled IPPool is for it"),
    ),
    "only a pool of other nodes": (
        UP, declared({**V4, "nodeSelector": "has(gpu)"}), "", True, Condition("no enabled IPPool is for it"),
    ),
    "only a pool to be named": (NO_BLOCK, declared({**V4, "assignmentMode": "Manual"}), "", True, READY),
    "a pool of some namespaces": (
        NO_BLOCK, declared({**V4, "namespaceSelector": "has(x)"}), "", True, Condition("it has no block of IPv4 yet"),
    ),
    "no block": (NO_BLOCK, BOTH, "", True, Condition("it has no block of IPv4 and IPv6 yet")),
    "a block of one family": (ONLY_V6, BOTH, "", True, Condition("it has no block of IPv4 yet")),
    "a block of the only family": (ONLY_V6, declared(V6), "", True, READY),
    "a block of another pool": (
        seen(blocks=("10.1.0.0/26",)), declared(V4), "", True, Condition("it has no block of IPv4 yet"),
    ),
    "one of two pools is enough": (
        seen(blocks=("10.1.0.0/26",)), declared(V4, {"cidr": "10.1.0.0/16"}), "", True, READY,
    ),
    "a podCIDR": (BY_POD_CIDR, declared(PODS), "", True, READY),
    "a podCIDR, and the Node has none": (UP, declared(PODS), "", True, Condition(f"{NO_POD_CIDR} of IPv4{NONE_FITS}")),
    "a podCIDR of another length": (
        BY_POD_CIDR, declared({**PODS, "blockSize": 25}), "", True, Condition(f"{NO_POD_CIDR} of IPv4{NONE_FITS}"),
    ),
    "a podCIDR of one family of two": (
        BY_POD_CIDR, declared(PODS, PODS6), "", True, Condition(f"{NO_POD_CIDR} of IPv6{NONE_FITS}"),
    ),
    "a podCIDR, and a block of the other family": (BY_POD_CIDR, declared(PODS, V6), "", True, READY),
    "a podCIDR, and no block of the other family": (
        seen(node=NODE_OF_KUBERNETES, blocks=()), declared(PODS, V6), "", True,
        Condition("it has no block of IPv6 yet"),
    ),
    "a podCIDR, and a pool of blocks of its family": (
        BY_POD_CIDR, declared(PODS, V4), "", True,
        Condition("it has IPPools of both kinds for IPv4: let their nodeSelectors exclude it"),
    ),
    "a podCIDR, and a pool of its family that is disabled": (
        BY_POD_CIDR, declared(PODS, {**V4, "disabled": True}), "", True, READY,
    ),
    "a full pool": (ONLY_V6, BOTH, FULL, True, READY),
    "a full pool, strictly": (ONLY_V6, STRICT, FULL, True, Condition(f"it has no block of IPv4 yet: {FULL}")),
    "no session is up": (
        UP, BOTH, "", False, Condition("no BGP session is Established, of 4 in the plan", limited=True),
    ),
    "no session in the plan": (
        NO_SESSION, BOTH, "", False,
        Condition(
            "it has no BGP session in the plan, and other nodes have some: underlay lint tells more", limited=True
        ),
    ),
    "nobody has a session": (ALONE, BOTH, "", False, READY),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_condition(case: str) -> None:
    state, found, exhausted, reached, expected = CASES[case]
    assert node_condition(state, found, exhausted, reached) == expected


def test_the_sample_has_what_the_cases_are_about() -> None:
    assert len(PLAN.sessions) == 4
