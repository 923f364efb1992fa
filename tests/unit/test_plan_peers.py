"""BGPPeers: each field by Calico's rules, and what it leaves to chance decided and told."""

from __future__ import annotations

from typing import Any

import pytest

from peering.resource import Resource
from peering.session import Session
from tests.unit.declarations import NO_MESH, codes, compiled, configuration, declare, host, only, sessions

A, B = host("a", 1, rack="1"), host("b", 2, rack="2")
TOR = "198.51.100.1"


def peer(name: str = "tor", **spec: Any) -> Resource:
    fields: dict[str, Any] = {"peerIP": TOR, "asNumber": 65001, **spec}
    return declare("BGPPeer", name, **fields)


def with_peer(**spec: Any) -> Session:
    return only(NO_MESH, A, peer(**spec), of="a")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, {"peer": "external", "type": "ebgp", "local_address": "192.0.2.1", "multihop": 255, "peer_port": 179}),
        ({}, {"hold_time": 90, "keepalive_time": 30, "graceful_restart_time": 120, "next_hop": "auto"}),
        ({"asNumber": 64512}, {"type": "ibgp"}),
        ({"peerIP": f"{TOR}:1790"}, {"peer_address": TOR, "peer_port": 1790}),
        ({"localASNumber": 65001}, {"local_asn": 65001, "type": "ibgp"}),
        ({"numAllowedLocalASNumbers": 2}, {"allow_as_in": 2}),
        ({"sourceAddress": "None"}, {"local_address": None}),
        ({"ttlSecurity": 2}, {"ttl_security": 2, "multihop": None}),
        ({"maxRestartTime": "10s"}, {"graceful_restart_time": 10}),
        ({"holdTime": "9s", "keepaliveTime": "2s"}, {"hold_time": 9, "keepalive_time": 2}),
        ({"nextHopMode": "Self"}, {"next_hop": "self"}),
        ({"nextHopMode": "Keep"}, {"next_hop": "keep"}),
        ({"keepOriginalNextHop": True}, {"next_hop": "keep"}),
        ({"keepOriginalNextHop": True, "asNumber": 64512}, {"next_hop": "auto"}),
        ({"reachableBy": "192.0.2.254"}, {"reachable_by": "192.0.2.254"}),
        ({"maxPrefixes": 500}, {"max_prefixes": 500}),
        ({"addPaths": "both"}, {"add_paths": "both"}),
        ({"asOverride": True}, {"as_override": True}),
        ({"longLivedStaleTime": "1h"}, {"long_lived_stale_time": 3600}),
        ({"connectRetry": 5}, {"connect_retry": 5}),
        ({"families": ["ipv6-unicast", "ipv4-unicast"]}, {"families": ("ipv4-unicast", "ipv6-unicast")}),
        ({"asNumber": 0, "dynamicASNumber": "internal"}, {"peer_asn": 64512, "type": "ibgp"}),
    ],
)
def test_fields(spec: dict[str, Any], expected: dict[str, Any]) -> None:
    session = with_peer(**spec)
    assert {name: getattr(session, name) for name in expected} == expected


def test_bfd_is_the_profile_it_names() -> None:
    profile = declare("BFDProfile", "fast", receiveInterval="100ms", transmitInterval=200, detectMultiplier=5)
    session = only(NO_MESH, A, profile, peer(bfd="fast"), of="a")
    assert session.bfd is not None
    assert session.to_json()["bfd"] == {
        "profile": "fast",
        "receiveInterval": 100,
        "transmitInterval": 200,
        "detectMultiplier": 5,
        "passiveMode": False,
        "minimumTTL": 254,
    }


def test_filters_are_attached_to_the_directions_they_have_rules_for() -> None:
    rule = {"action": "Reject", "cidr": "10.0.0.0/8", "matchOperator": "In"}
    filters = [declare("BGPFilter", "in", importV4=[rule]), declare("BGPFilter", "out", exportV4=[rule])]
    session = only(NO_MESH, A, *filters, peer(filters=["out", "in", "gone"]), of="a")
    assert (session.import_filters, session.export_filters) == (("in", "gone"), ("out", "gone"))


def test_a_port_that_is_not_written_is_the_nodes_or_the_clusters() -> None:
    default, of_b = (
        configuration(nodeToNodeMeshEnabled=False, listenPort=1790),
        declare("BGPConfiguration", "node.b", listenPort=1791),
    )
    to_b = peer(peerIP="192.0.2.2", asNumber=64512, node="a")
    wrong_as = peer(peerIP="192.0.2.2", asNumber=65099, node="a")
    assert only(default, of_b, A, B, to_b, of="a").peer_port == 1791
    assert only(default, of_b, A, B, wrong_as, of="a").peer_port == 1790
    assert only(default, A, peer(), of="a").peer_port == 1790


def test_of_a_global_peer_that_is_a_node_the_larger_address_is_dialled_by_nobody_twice() -> None:
    """Only global BGPPeers decide who is passive; a node-specific one dials."""
    for spec, passive in (({}, True), ({"node": "a"}, False)):
        session = only(NO_MESH, A, B, peer(peerIP="192.0.2.2", asNumber=64512, **spec), of="a")
        assert (session.peer, session.passive) == ("node/b", passive)


def test_a_node_does_not_peer_with_itself() -> None:
    assert sessions(NO_MESH, A, B, peer(peerIP="192.0.2.2", asNumber=64512), of="b") == {}


def test_global_goes_before_node_specific_and_says_so() -> None:
    resources = (NO_MESH, A, peer("a-first-by-name", node="a", holdTime=30), peer("z-global"))
    assert only(*resources, of="a").source == "BGPPeer/z-global"
    assert "duplicate-session" in codes(*resources, of="BGPPeer/a-first-by-name")


def test_of_the_same_scope_the_first_by_name_wins_and_says_so() -> None:
    resources = (NO_MESH, A, peer("two"), peer("one", holdTime=30))
    assert only(*resources, of="a").hold_time == 30
    assert "duplicate-session" in codes(*resources, of="BGPPeer/two")


def test_another_port_is_another_session() -> None:
    found = sessions(NO_MESH, A, peer("one"), peer("two", peerIP=f"{TOR}:1790"), of="a")
    assert sorted(found) == ["one-ipv4", "two-ipv4"]


SELECTED = declare("BGPPeer", "racks", nodeSelector="rack == '1'", peerSelector="rack == '2'", holdTime=30)


def test_a_peer_selector_gives_the_session_and_its_reverse() -> None:
    forward = only(NO_MESH, A, B, SELECTED, of="a")
    back = only(NO_MESH, A, B, SELECTED, of="b")
    assert (forward.source, back.source) == ("BGPPeer/racks", "reverse:BGPPeer/racks")
    assert (forward.peer, back.peer) == ("node/b", "node/a")
    assert (forward.local_address, forward.peer_address) == (back.peer_address, back.local_address)
    assert {forward.hold_time, back.hold_time} == {30}
    assert (forward.passive, back.passive) == (False, False), "in Calico both ends dial"


def test_manual_gives_no_reverse() -> None:
    manual = declare(
        "BGPPeer", "racks", nodeSelector="rack == '1'", peerSelector="rack == '2'", reversePeering="Manual"
    )
    plan = compiled(NO_MESH, A, B, manual)
    assert [len(plan.speakers[name].sessions) for name in "ab"] == [1, 0]


def test_an_explicit_forward_peering_wins_over_the_reverse() -> None:
    back = declare("BGPPeer", "back", node="b", peerSelector="rack == '1'", holdTime=60)
    resources = (NO_MESH, A, B, SELECTED, back)
    assert only(*resources, of="b").source == "BGPPeer/back"
    assert only(*resources, of="a").source == "BGPPeer/racks"
    assert "duplicate-session" not in codes(*resources)


def test_the_remote_as_and_port_are_the_remote_nodes() -> None:
    remote = declare("Node", "b", {"rack": "2"}, bgp={"ipv4Address": "192.0.2.2", "asNumber": 65002})
    port = declare("BGPConfiguration", "node.b", listenPort=1791)
    session = only(NO_MESH, A, remote, port, SELECTED, of="a")
    assert (session.peer_asn, session.type, session.peer_port) == (65002, "ebgp", 1791)


def test_a_peer_selector_ignores_the_local_as_as_calico_does() -> None:
    selected = declare("BGPPeer", "racks", node="a", peerSelector="rack == '2'", localASNumber=65009)
    assert only(NO_MESH, A, B, selected, of="a").local_asn == 64512


def test_nodes_of_no_common_family_are_told() -> None:
    six = declare("Node", "b", {"rack": "2"}, bgp={"ipv6Address": "2001:db8::2", "routerID": "9.9.9.9"})
    assert "no-common-family" in codes(NO_MESH, A, six, SELECTED, of="Node/a")


@pytest.mark.parametrize(
    ("spec", "code", "path"),
    [
        ({"peerIP": "2001:db8::9"}, "no-source-address", "spec.sourceAddress"),
        ({"localAddress": "192.0.2.77"}, "no-source-address", "spec.localAddress"),
        ({"asNumber": 0, "dynamicASNumber": "external"}, "dynamic-as-unknown", "spec.dynamicASNumber"),
    ],
)
def test_what_gives_no_session_is_an_error(spec: dict[str, Any], code: str, path: str) -> None:
    plan = compiled(NO_MESH, A, peer(**spec))
    assert plan.speakers["a"].sessions == ()
    assert (code, path, "error") in {(p.code, p.path, p.severity) for p in plan.problems if p.object == "BGPPeer/tor"}


def test_a_link_is_spoken_over_with_its_own_address() -> None:
    node = declare(
        "Node",
        "a",
        bgp={"ipv4Address": "10.0.0.1"},
        uplinks=[{"interface": "eth1", "addresses": ["198.51.100.0/31"]}],
    )
    for spec, source, multihop in (
        ({}, "198.51.100.0", None),
        ({"sourceAddress": "UseNodeIP"}, "10.0.0.1", 255),
        ({"localAddress": "198.51.100.0"}, "198.51.100.0", None),
    ):
        session = only(NO_MESH, node, peer(**spec), of="a")
        assert (session.local_address, session.multihop) == (source, multihop)


def test_sessions_that_would_have_one_name_are_told_apart() -> None:
    """A mesh session with node `b` and a BGPPeer called `mesh-b`."""
    found = sessions(A, B, peer("mesh-b"), of="a")
    assert sorted(found) == ["mesh-b-ipv4", "mesh-b-ipv4-2"]
