"""The daemons that can be a switch in a rack with one AS: they reflect, and what comes from outside gets their address.

RFC 4456 says what a reflector adds: who a route is of, and the cluster that it passed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.interop.exabgp_node import ExaBgpNode
from tests.interop.netns_daemons import Network, eventually
from tests.interop.test_live_switches import SETTLE, SPINE, SWITCH, a_switch, plan_for, to_node, to_spine

pytestmark = pytest.mark.lab

CLUSTER = "10.0.1.99"
BLOCKS = {1: "10.244.1.0/26", 2: "10.244.2.0/26"}


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


def a_client(network: Network, tor: str, number: int) -> ExaBgpNode:
    node = network.namespace(f"node{number}")
    network.link(tor, node, f"rack{number}", {f"10.1.{number}.0/31": f"10.1.{number}.1/31"})
    return ExaBgpNode(network, node, (f"10.1.{number}.1", SWITCH, f"10.1.{number}.0", SWITCH), (BLOCKS[number],))


@pytest.mark.parametrize("platform", ["gobgp", "openbgpd"])
def test_reflected_routes_keep_their_next_hop_and_others_get_ours(platform: str, network: Network) -> None:
    tor, up = network.namespace("tor"), network.namespace("spine")
    network.link(tor, up, "up1", {"10.254.1.1/31": "10.254.1.0/31"})
    ExaBgpNode(network, up, ("10.254.1.0", SPINE, "10.254.1.1", SWITCH), ("192.0.2.0/24",))
    nodes = {number: a_client(network, tor, number) for number in BLOCKS}
    options = {"type": "ibgp", "peer_asn": SWITCH, "rr_client": True, "cluster_id": CLUSTER}
    sessions = (*(to_node(number, **options) for number in BLOCKS), to_spine())
    a_switch(network, tor, replace(plan_for(platform, *sessions), downward="all"), "")
    for number, other in ((1, 2), (2, 1)):
        wanted = {"192.0.2.0/24", BLOCKS[other]}
        eventually(lambda n=number, w=wanted: w <= set(nodes[n].routes()), SETTLE)  # type: ignore[misc]
        routes = nodes[number].routes()
        assert routes["192.0.2.0/24"]["next-hop"] == f"10.1.{number}.0"
        assert routes[BLOCKS[other]]["next-hop"] == f"10.1.{other}.1"
        assert routes[BLOCKS[other]]["cluster-list"] == [CLUSTER]
