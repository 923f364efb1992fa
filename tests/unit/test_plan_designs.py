"""Rack and Switch: every AS design, every way of addressing, and the same by BGPPeers one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from peering.resource import Resource
from peering.session import Plan, Session, SpeakerPlan, SwitchPlan
from tests.unit.declarations import NO_MESH, codes, compiled, configuration, declare

Ends = dict[str, dict[str, list[str]]]
"""Addresses by node and switch."""

PASSWORD = {"secretKeyRef": {"name": "rack", "key": "bgp"}}


def switch(name: str, asn: int, number: int, **spec: Any) -> Resource:
    subnets = [f"10.1.{number}.0/24", f"fd00:1:{number}::/64"]
    fields: dict[str, Any] = {"asNumber": asn, "addresses": [f"10.0.1.{number}/32"], "linkSubnets": subnets, **spec}
    return declare("Switch", name, **fields)


def node(name: str, seat: int, *, asn: int | None = None, length: int = 31) -> Resource:
    """Links to both switches: seat 1 is .2 and .3, the node's end the odd one."""
    low = 2 * seat
    six = 127 if length == 31 else 64
    uplinks = [
        {"interface": f"eth{s}", "addresses": [f"10.1.{s}.{low + 1}/{length}", f"fd00:1:{s}::{low + 1:x}/{six}"]}
        for s in (1, 2)
    ]
    bgp: dict[str, Any] = {"ipv4Address": f"10.0.11.{seat}", "ipv6Address": f"fd00:11::{seat}"}
    if asn:
        bgp["asNumber"] = asn
    return declare("Node", name, {"rack": "1"}, bgp=bgp, uplinks=uplinks)


def rack(**spec: Any) -> Resource:
    fields: dict[str, Any] = {"nodeSelector": "rack == '1'", "switches": ["tor-a", "tor-b"], **spec}
    return declare("Rack", "rack-1", **fields)


POOL = declare("IPPool", "pods", cidr="10.244.0.0/16")
NODES = (node("n1", 1), node("n2", 2))
EBGP = (switch("tor-a", 65011, 1), switch("tor-b", 65012, 2))
IBGP = (switch("tor-a", 65101, 1), switch("tor-b", 65101, 2))


def ends(plan: Plan) -> Iterator[tuple[Session, Session]]:
    """(node's end, switch's end) of every session between the two."""
    far = {(s.local_address, s.peer_address): s for sw in plan.switches.values() for s in sw.sessions}
    for speaker in plan.speakers.values():
        for near in speaker.sessions:
            yield near, far.pop((near.peer_address, near.local_address or ""))
    assert not far, "every end has its other"


def test_as_per_node_is_ebgp_with_the_nodes_own_as() -> None:
    plan = compiled(NO_MESH, *EBGP, node("n1", 1, asn=65201), node("n2", 2, asn=65202), rack(design="ebgp-as-per-node"))
    assert {(near.local_asn, far.peer_asn, far.type) for near, far in ends(plan)} == {
        (65201, 65201, "ebgp"),
        (65202, 65202, "ebgp"),
    }


def test_as_per_node_needs_one() -> None:
    resources = (NO_MESH, *EBGP, node("n1", 1, asn=65201), node("n2", 2), rack(design="ebgp-as-per-node"))
    assert "as-number-missing" in codes(*resources, of="Node/n2")
    assert "as-number-missing" not in codes(*resources, of="Node/n1")


@pytest.mark.parametrize(
    ("loop_check", "overrides", "allowed"), [("as-override", True, None), ("allow-as-in", False, 1)]
)
def test_as_per_cluster_lets_its_own_as_pass_on_the_side_it_says(
    loop_check: str, overrides: bool, allowed: int | None
) -> None:
    default = configuration(nodeToNodeMeshEnabled=False, asNumber=64999)
    plan = compiled(default, *EBGP, *NODES, rack(design="ebgp-as-per-cluster", loopCheck=loop_check))
    for near, far in ends(plan):
        assert (near.local_asn, near.allow_as_in, far.as_override, far.allow_as_in) == (64999, allowed, overrides, None)


def test_ibgp_reflects_and_takes_the_switches_as() -> None:
    plan = compiled(NO_MESH, *IBGP, *NODES, rack(design="ibgp-tor-reflects"))
    assert {(n.local_asn, n.type, f.rr_client, f.next_hop) for n, f in ends(plan)} == {(65101, "ibgp", True, "self")}


@pytest.mark.parametrize(
    ("spec", "switches"),
    [
        ({"design": "ebgp-as-per-rack", "nodeASNumber": 65101}, IBGP),
        ({"design": "ebgp-as-per-cluster"}, (switch("tor-a", 64512, 1), switch("tor-b", 64512, 2))),
        ({"design": "ibgp-tor-reflects", "nodeASNumber": 65101}, EBGP),
    ],
)
def test_an_as_that_does_not_fit_the_design_is_an_error(spec: dict[str, Any], switches: tuple[Resource, ...]) -> None:
    assert "as-pair-impossible" in codes(NO_MESH, *switches, *NODES, rack(**spec), of="Rack/rack-1")


SHARED = [
    switch("tor-a", 65011, 1, linkAddresses=["10.1.1.254/24", "fd00:1:1::ff/64"]),
    switch("tor-b", 65012, 2, linkAddresses=["10.1.2.254/24", "fd00:1:2::ff/64"]),
]


def test_in_a_shared_subnet_the_switchs_end_is_its_link_address() -> None:
    shared_nodes = (node("n1", 1, length=24), node("n2", 2, length=24))
    plan = compiled(NO_MESH, *SHARED, *shared_nodes, rack(nodeASNumber=65101))
    assert {f.local_address for _, f in ends(plan)} == {"10.1.1.254", "fd00:1:1::ff", "10.1.2.254", "fd00:1:2::ff"}
    assert {s.multihop for s in plan.speakers["n1"].sessions} == {None}


def test_reflecting_into_a_shared_subnet_keeps_the_next_hop() -> None:
    shared = [
        switch(f"tor-{side}", 65101, n, linkAddresses=[f"10.1.{n}.254/24", f"fd00:1:{n}::ff/64"])
        for side, n in (("a", 1), ("b", 2))
    ]
    plan = compiled(NO_MESH, *shared, node("n1", 1, length=24), rack(design="ibgp-tor-reflects"))
    assert {f.next_hop for _, f in ends(plan)} == {"auto"}


def test_without_a_link_address_the_end_in_a_shared_subnet_is_unknown() -> None:
    assert "link-end-unknown" in codes(NO_MESH, *EBGP, node("n1", 1, length=24), rack(nodeASNumber=65101), of="Node/n1")


def test_over_loopbacks_the_link_is_the_way_there() -> None:
    plan = compiled(NO_MESH, *EBGP, *NODES, rack(nodeASNumber=65101, peerAddresses="loopbacks"))
    found = {(n.local_address, n.peer_address, n.multihop, n.reachable_by) for n, f in ends(plan)}
    assert ("10.0.11.1", "10.0.1.1", 255, "10.1.1.2") in found
    assert len(found) == 4, "the switches have IPv4 loopbacks only"
    secure = compiled(NO_MESH, *EBGP, *NODES, rack(nodeASNumber=65101, peerAddresses="loopbacks", ttlSecurity=True))
    assert {(n.ttl_security, f.ttl_security, n.multihop) for n, f in ends(secure)} == {(2, 2, None)}


def test_unnumbered_names_interfaces_and_carries_both_families() -> None:
    uplinks = [
        {"interface": "eth1", "switch": "tor-a", "switchInterface": "swp1"},
        {"interface": "eth2", "switch": "tor-b", "switchInterface": "swp1"},
    ]
    bare = declare("Node", "n1", {"rack": "1"}, bgp={"ipv4Address": "10.0.11.1"}, uplinks=uplinks)
    plan = compiled(NO_MESH, *EBGP, bare, rack(nodeASNumber=65101, peerAddresses="unnumbered"))
    assert [(s.interface, s.peer_address, s.local_address) for s in plan.speakers["n1"].sessions] == [
        ("eth1", "", None),
        ("eth2", "", None),
    ]
    (far,) = plan.switches["tor-a"].sessions
    assert (far.interface, far.peer, far.families) == ("swp1", "node/n1", ("ipv4-unicast", "ipv6-unicast"))


def test_unnumbered_needs_the_other_interface() -> None:
    uplinks = [{"interface": "eth1", "switch": "tor-a"}]
    bare = declare("Node", "n1", {"rack": "1"}, bgp={"ipv4Address": "10.0.11.1"}, uplinks=uplinks)
    assert "link-end-unknown" in codes(NO_MESH, *EBGP, bare, rack(peerAddresses="unnumbered"), of="Node/n1")


def long_way(of_peer: dict[str, Any], peer_ips: Ends, asns: dict[str, int]) -> list[Resource]:
    """A BGPPeer for every node, switch and address, with what the rack says in its own fields."""
    return [
        declare("BGPPeer", f"{node_name}-{name}-{i}", node=node_name, peerIP=address, asNumber=asns[name], **of_peer)
        for node_name, switches in peer_ips.items()
        for name, addresses in switches.items()
        for i, address in enumerate(addresses)
    ]


def facts(plan: Plan) -> list[Any]:
    """Everything of a plan but what names the declaration: sessions' names and sources, the rack."""

    def bare(session: Session) -> dict[str, Any]:
        return {k: v for k, v in session.to_json().items() if k not in ("name", "source")}

    def key(session: dict[str, Any]) -> tuple[str, str]:
        return session["peerAddress"], session["localAddress"]

    found: list[Any] = []
    ends_of: list[tuple[str, SpeakerPlan | SwitchPlan]] = [*plan.speakers.items(), *plan.switches.items()]
    for name, end in sorted(ends_of):
        rest = {k: v for k, v in end.to_json().items() if k not in ("sessions", "rack")}
        found.append((name, rest, sorted(map(bare, end.sessions), key=key)))
    return found


LINK_ENDS = {
    f"n{seat}": {
        f"tor-{side}": [f"10.1.{s}.{2 * seat}", f"fd00:1:{s}::{2 * seat:x}"] for side, s in (("a", 1), ("b", 2))
    }
    for seat in (1, 2)
}
LOOPBACK_ENDS = {f"n{seat}": {f"tor-{side}": [f"10.0.1.{s}"] for side, s in (("a", 1), ("b", 2))} for seat in (1, 2)}
TIMERS = {"holdTime": "9s", "keepaliveTime": "3s", "password": PASSWORD, "longLivedStaleTime": "1h"}


@pytest.mark.parametrize(
    ("of_rack", "of_peer", "ends_at", "switches", "asn"),
    [
        ({}, {}, LINK_ENDS, EBGP, 65101),
        (TIMERS | {"gracefulRestartTime": "30s"}, TIMERS | {"maxRestartTime": "30s"}, LINK_ENDS, EBGP, 65101),
        ({"ttlSecurity": True}, {"ttlSecurity": 1}, LINK_ENDS, EBGP, 65101),
        ({"design": "ebgp-as-per-cluster"}, {"asOverride": True}, LINK_ENDS, EBGP, 64512),
        (
            {"design": "ebgp-as-per-cluster", "loopCheck": "allow-as-in"},
            {"numAllowedLocalASNumbers": 1},
            LINK_ENDS,
            EBGP,
            64512,
        ),
        ({"design": "ibgp-tor-reflects"}, {}, LINK_ENDS, IBGP, 65101),
    ],
)
def test_the_short_way_is_the_long_way(
    of_rack: dict[str, Any], of_peer: dict[str, Any], ends_at: Any, switches: tuple[Resource, ...], asn: int
) -> None:
    default = configuration(nodeToNodeMeshEnabled=False, asNumber=asn)
    short = compiled(default, POOL, *switches, *NODES, rack(**of_rack))
    asns = {"tor-a": switches[0].spec.as_number, "tor-b": switches[1].spec.as_number}  # type: ignore[attr-defined]
    spelled = compiled(default, POOL, *switches, *NODES, *long_way(of_peer, ends_at, asns))
    assert facts(spelled) == facts(short)
    assert sum(1 for _ in ends(short)) == 8


def test_the_short_way_is_the_long_way_over_loopbacks() -> None:
    default = configuration(nodeToNodeMeshEnabled=False, asNumber=65101)
    short = compiled(default, POOL, *EBGP, *NODES, rack(peerAddresses="loopbacks"))
    peers = [
        declare(
            "BGPPeer",
            f"{name}-{tor}",
            node=name,
            peerIP=address,
            asNumber=asn,
            sourceAddress="UseNodeIP",
            reachableBy=LINK_ENDS[name][tor][0],
        )
        for name, switches in LOOPBACK_ENDS.items()
        for (tor, (address,)), asn in zip(switches.items(), (65011, 65012), strict=True)
    ]
    assert facts(compiled(default, POOL, *EBGP, *NODES, *peers)) == facts(short)


def test_a_switch_end_that_cannot_be_known_is_told() -> None:
    """A source address left to the kernel, towards a switch that is on no link of the node."""
    peer = declare("BGPPeer", "tor", peerIP="10.0.1.1", asNumber=65011, sourceAddress="None")
    bare = declare("Node", "n1", bgp={"ipv4Address": "10.0.11.1"})
    assert "far-end-unknown" in codes(NO_MESH, *EBGP, bare, peer, of="BGPPeer/tor")


def test_a_session_that_a_node_drops_has_no_other_end_either() -> None:
    """A BGPPeer from the loopback to an address that the rack serves over the link: one neighbour on the switch."""
    peer = declare("BGPPeer", "extra", node="n1", peerIP="10.1.1.2", asNumber=65011, sourceAddress="UseNodeIP")
    plan = compiled(NO_MESH, *EBGP, *NODES, rack(nodeASNumber=65101), peer)
    assert "10.0.11.1" not in {s.peer_address for s in plan.switches["tor-a"].sessions}
    assert sum(1 for _ in ends(plan)) == 8
