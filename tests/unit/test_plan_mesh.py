"""The full node-to-node mesh, by Calico's rules."""

from __future__ import annotations

import pytest

from peering.node_sessions import MAX_MESH
from tests.unit.declarations import NO_MESH, codes, compiled, configuration, declare, host, only, sessions
from tests.unit.samples import dual_tor

A, B, C = host("a", 9), host("b", 10), host("c", 11)


def test_without_a_configuration_every_node_peers_with_every_other() -> None:
    plan = compiled(A, B, C)
    peers = {name: {s.peer for s in speaker.sessions} for name, speaker in plan.speakers.items()}
    assert peers == {
        "a": {"node/b", "node/c"},
        "b": {"node/a", "node/c"},
        "c": {"node/a", "node/b"},
    }
    assert {s.source for speaker in plan.speakers.values() for s in speaker.sessions} == {"mesh"}


def test_the_end_that_sees_the_larger_address_as_text_is_passive() -> None:
    """ "192.0.2.9" is larger than "192.0.2.10" as text, though smaller as a number."""
    at_a, at_b = only(A, B, of="a"), only(A, B, of="b")
    assert (at_a.passive, at_b.passive) == (False, True)


def test_both_ends_agree() -> None:
    at_a, at_b = only(A, B, of="a"), only(A, B, of="b")
    assert (
        (at_a.local_address, at_a.peer_address)
        == (at_b.peer_address, at_b.local_address)
        == ("192.0.2.9", "192.0.2.10")
    )
    assert (at_a.type, at_a.local_asn, at_a.peer_asn, at_a.multihop) == ("ibgp", 64512, 64512, 255)


def test_one_session_for_each_family_that_both_have() -> None:
    found = sessions(host("a", 1, ipv6=True), host("b", 2, ipv6=True), host("c", 3), of="a")
    assert {(s.peer, s.families) for s in found.values()} == {
        ("node/b", ("ipv4-unicast",)),
        ("node/b", ("ipv6-unicast",)),
        ("node/c", ("ipv4-unicast",)),
    }


def test_switched_off_there_is_none() -> None:
    assert sessions(NO_MESH, A, B, of="a") == {}


def test_reflector_nodes_leave_the_mesh() -> None:
    plan = compiled(A, B, host("rr", 1, cluster="1.0.0.1"))
    assert {s.peer for s in plan.speakers["a"].sessions} == {"node/b"}
    assert plan.speakers["rr"].sessions == ()
    assert plan.speakers["rr"].cluster_id == "1.0.0.1"


def test_as_numbers_of_nodes_make_ebgp_sessions() -> None:
    other = declare("Node", "b", bgp={"ipv4Address": "192.0.2.10", "asNumber": 65001})
    at_a = only(A, other, of="a")
    assert (at_a.type, at_a.local_asn, at_a.peer_asn) == ("ebgp", 64512, 65001)


def test_password_restart_time_and_ports_of_the_configuration() -> None:
    secret = {"secretKeyRef": {"name": "mesh", "key": "bgp"}}
    default = configuration(nodeMeshPassword=secret, nodeMeshMaxRestartTime="30s", listenPort=1790)
    of_b = declare("BGPConfiguration", "node.b", listenPort=1791)
    at_a, at_b = only(default, of_b, A, B, of="a"), only(default, of_b, A, B, of="b")
    assert (at_a.peer_port, at_b.peer_port) == (1791, 1790)
    for session in (at_a, at_b):
        assert session.password is not None
        assert (session.password.name, session.password.key, session.graceful_restart_time) == ("mesh", "bgp", 30)


def test_a_mesh_of_too_many_nodes_is_refused_and_not_made() -> None:
    many = [
        declare("Node", f"n{i}", bgp={"ipv4Address": f"10.0.{i // 250}.{i % 250 + 1}"}) for i in range(MAX_MESH + 1)
    ]
    plan = compiled(*many)
    assert [p.severity for p in plan.problems if p.code == "mesh-too-large"] == ["error"]
    assert plan.speakers["n0"].sessions == ()
    assert len(compiled(*many[:-1]).speakers["n0"].sessions) == MAX_MESH - 1


@pytest.mark.parametrize(("written", "sources"), [(None, {"Rack/rack-1"}), (True, {"Rack/rack-1", "mesh"})])
def test_nodes_of_a_rack_join_only_a_mesh_that_is_written(written: bool | None, sources: set[str]) -> None:
    default = [] if written is None else [configuration(nodeToNodeMeshEnabled=written)]
    snapshot = dual_tor()
    resources = [r for r in snapshot if r.ref != "BGPConfiguration/default"]
    found = sessions(*resources, *default, of="node-1")
    assert {s.source for s in found.values()} == sources


def test_an_explicit_peering_takes_the_place_of_the_meshs() -> None:
    peer = declare("BGPPeer", "ab", node="a", peerSelector="has(b)", holdTime=30)
    resources = (A, host("b", 10, b=""), peer)
    assert only(*resources, of="a").source == "BGPPeer/ab"
    assert only(*resources, of="b").source == "reverse:BGPPeer/ab"
    assert "duplicate-session" not in codes(*resources)
