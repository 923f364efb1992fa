"""`neighbors: listen`: the switch takes its rack's nodes by their subnet, and names none of them."""

from __future__ import annotations

from typing import Any

import pytest

from fabric_templates.render import check, render
from peering.resource import parse_resource
from peering.session import ListenRange
from tests.unit.declarations import NO_MESH, compiled
from tests.unit.test_plan_designs import EBGP, IBGP, NODES, PASSWORD, POOL, node, rack, switch


def ranges(*resources: Any) -> dict[str, ListenRange]:
    """Of tor-a, by subnet."""
    return {one.cidr: one for one in compiled(NO_MESH, POOL, *resources).switches["tor-a"].listen_ranges}


def test_a_range_for_each_subnet_says_what_the_sessions_say() -> None:
    options = {"ttlSecurity": True, "password": PASSWORD, "maxPrefixes": 20, "holdTime": 9, "listenLimit": 8}
    plan = compiled(NO_MESH, POOL, *EBGP, *NODES, rack(neighbors="listen", nodeASNumber=65101, **options))
    tor = plan.switches["tor-a"]
    assert [(r.cidr, r.peer_asn, r.peer_asns, r.limit) for r in tor.listen_ranges] == [
        ("10.1.1.0/24", 65101, (), 8),
        ("fd00:1:1::/64", 65101, (), 8),
    ]
    assert len(tor.sessions) == 4, "what is expected to be up"
    shared = (
        "password", "ttl_security", "hold_time", "keepalive_time", "graceful_restart_time", "max_prefixes", "rr_client",
        "next_hop", "as_override", "bfd", "multihop", "long_lived_stale_time", "allow_as_in", "add_paths", "cluster_id",
    )  # fmt: skip
    for session in tor.sessions:
        for found in tor.listen_ranges:
            assert [getattr(found, f) for f in shared] == [getattr(session, f) for f in shared]


@pytest.mark.parametrize("length", [31, 24])
def test_in_a_design_that_reflects_the_next_hop_is_that_of_the_sessions(length: int) -> None:
    own = {"linkAddresses": ["10.1.1.1/24", "fd00:1:1::ff/64"]} if length == 24 else {}
    tors = (switch("tor-a", 65101, 1, **own), switch("tor-b", 65101, 2))
    design = rack(design="ibgp-tor-reflects", neighbors="listen")
    plan = compiled(NO_MESH, POOL, *(tors if own else IBGP), node("n1", 4, length=length), design)
    tor = plan.switches["tor-a"]
    assert tor.sessions
    assert {(r.rr_client, r.next_hop) for r in tor.listen_ranges} == {(s.rr_client, s.next_hop) for s in tor.sessions}


def test_only_the_ass_of_the_racks_nodes_may_dial() -> None:
    nodes = (node("n1", 1, asn=4200000001), node("n2", 2, asn=4200000002))
    found = ranges(*EBGP, *nodes, rack(design="ebgp-as-per-node", neighbors="listen"))
    assert found["10.1.1.0/24"].peer_asns == (4200000001, 4200000002)
    assert ranges(*EBGP, rack(design="ebgp-as-per-node", neighbors="listen")) == {}


def test_a_rack_without_nodes_listens_already() -> None:
    assert ranges(*EBGP, rack(neighbors="listen", nodeASNumber=65101)).keys() == {"10.1.1.0/24", "fd00:1:1::/64"}
    assert ranges(*EBGP, *NODES, rack(nodeASNumber=65101)) == {}


def test_a_new_node_adds_no_neighbor() -> None:
    listening = rack(neighbors="listen", nodeASNumber=65101)
    texts = []
    for nodes in (NODES[:1], NODES):
        tor = compiled(NO_MESH, POOL, *EBGP, *nodes, listening).switches["tor-a"]
        texts.append(render("tor-a", tor)["frr.conf"].splitlines())
    one, two = texts
    assert " bgp listen range 10.1.1.0/24 peer-group UNDERLAY-LISTEN-65101-V4" in two
    assert [line for line in two if line not in one] == [
        "ip prefix-list UNDERLAY-ACCEPT-V4 permit 10.0.11.2/32",
        "ipv6 prefix-list UNDERLAY-ACCEPT-V6 permit fd00:11::2/128",
    ], "but its loopbacks"


def test_a_platform_without_ranges_says_so() -> None:
    tors = (switch("tor-a", 65011, 1, platform="routeros"), switch("tor-b", 65012, 2))
    tor = compiled(NO_MESH, POOL, *tors, *NODES, rack(neighbors="listen", nodeASNumber=65101)).switches["tor-a"]
    found = [p.code for p in check("tor-a", tor) if p.path == "listenRanges"]
    assert found


def test_ranges_are_of_links() -> None:
    document = {
        "apiVersion": "underlay.io/v1alpha1",
        "kind": "Rack",
        "metadata": {"name": "rack-1"},
        "spec": {
            "nodeSelector": "all()",
            "switches": ["tor-a"],
            "neighbors": "listen",
            "peerAddresses": "loopbacks",
        },
    }
    problems = parse_resource(document)
    assert [p.line() for p in problems] == [  # type: ignore[union-attr]
        "Rack/rack-1 spec.neighbors: listen takes nodes by their link's subnet, and peerAddresses is loopbacks"
    ]
