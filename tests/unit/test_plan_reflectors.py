"""Route reflection: Calico's reflector nodes, and the RouteReflector kind, flat and hierarchical."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from peering.resource import Resource
from peering.session import ListenRange, SecretKeyRef, Session
from tests.unit.declarations import NO_MESH, codes, compiled, declare, host, only

A, B = host("a", 1), host("b", 2)
CLIENTS = declare("BGPPeer", "clients", nodeSelector="!has(rr)", peerSelector="has(rr)")
AMONG = declare("BGPPeer", "among", nodeSelector="has(rr)", peerSelector="has(rr)")


def by_peer(sessions: tuple[Session, ...]) -> dict[str, tuple[bool, str | None]]:
    return {s.peer: (s.rr_client, s.cluster_id) for s in sessions}


def test_a_node_with_a_cluster_id_reflects_to_its_clients() -> None:
    plan = compiled(NO_MESH, A, B, host("rr", 9, cluster="1.0.0.1", rr=""), CLIENTS)
    assert by_peer(plan.speakers["rr"].sessions) == {"node/a": (True, "1.0.0.1"), "node/b": (True, "1.0.0.1")}
    assert by_peer(plan.speakers["a"].sessions) == {"node/rr": (False, None)}


def test_reflectors_of_one_cluster_are_no_clients_of_each_other() -> None:
    one, two = host("r1", 8, cluster="1.0.0.1", rr=""), host("r2", 9, cluster="1.0.0.1", rr="")
    plan = compiled(NO_MESH, one, two, AMONG)
    assert by_peer(plan.speakers["r1"].sessions) == {"node/r2": (False, None)}


def test_reflectors_of_two_clusters_reflect_to_each_other_as_in_calico() -> None:
    one, two = host("r1", 8, cluster="1.0.0.1", rr=""), host("r2", 9, cluster="1.0.0.2", rr="")
    plan = compiled(NO_MESH, one, two, AMONG)
    assert by_peer(plan.speakers["r1"].sessions) == {"node/r2": (True, "1.0.0.1")}
    assert by_peer(plan.speakers["r2"].sessions) == {"node/r1": (True, "1.0.0.2")}


def test_an_ebgp_peer_is_never_a_client() -> None:
    tor = declare("BGPPeer", "tor", peerIP="198.51.100.1", asNumber=65001)
    assert not only(NO_MESH, host("rr", 9, cluster="1.0.0.1"), tor, of="rr").rr_client


def reflector(name: str, number: int, **spec: Any) -> Resource:
    fields: dict[str, Any] = {"addresses": [f"192.0.2.{number}"], "nodeSelector": "all()", **spec}
    return declare("RouteReflector", name, **fields)


def test_both_ends_of_a_clients_session() -> None:
    plan = compiled(A, reflector("rr-1", 101, clusterID="9.9.9.9", listenPort=1790, holdTime=30))
    (near,) = plan.speakers["a"].sessions
    (far,) = plan.reflectors["rr-1"].sessions
    assert (near.peer, near.peer_address, near.peer_port, near.passive) == (
        "reflector/rr-1",
        "192.0.2.101",
        1790,
        False,
    )
    assert (far.peer, far.peer_address, far.rr_client, far.cluster_id, far.passive) == (
        "node/a",
        "192.0.2.1",
        True,
        "9.9.9.9",
        True,
    )
    assert {near.hold_time, far.hold_time} == {30}
    assert plan.reflectors["rr-1"].router_id == "192.0.2.101"


def test_the_cluster_id_is_the_router_id_when_it_is_not_written() -> None:
    plan = compiled(A, reflector("rr-1", 101))
    assert plan.reflectors["rr-1"].cluster_id == "192.0.2.101"


def test_clients_of_a_reflector_stay_out_of_an_unwritten_mesh() -> None:
    assert only(A, B, reflector("rr-1", 101), of="a").peer == "reflector/rr-1"


def test_reflectors_without_upstream_peer_as_non_clients() -> None:
    plan = compiled(reflector("one", 101), reflector("two", 102), reflector("three", 103))
    for name in ("one", "two", "three"):
        others = {f"reflector/{other}" for other in ("one", "two", "three") if other != name}
        assert by_peer(plan.reflectors[name].sessions) == dict.fromkeys(others, (False, None))
    ends = [s for r in plan.reflectors.values() for s in r.sessions]
    assert sum(s.passive for s in ends) == len(ends) / 2, "one end of each pair dials"


def test_hierarchy_a_lower_reflector_is_a_client_of_those_above_only() -> None:
    plan = compiled(
        reflector("top", 101),
        reflector("left", 102, upstream=["top"]),
        reflector("right", 103, upstream=["top"]),
    )
    assert by_peer(plan.reflectors["top"].sessions) == {
        "reflector/left": (True, "192.0.2.101"),
        "reflector/right": (True, "192.0.2.101"),
    }
    assert by_peer(plan.reflectors["left"].sessions) == {"reflector/top": (False, None)}
    (dials,) = plan.reflectors["left"].sessions
    assert not dials.passive


def test_upstreams_that_lead_in_a_circle_or_nowhere() -> None:
    circle = (reflector("one", 101, upstream=["two"]), reflector("two", 102, upstream=["one"]))
    assert "reflector-loop" in codes(*circle, of="RouteReflector/one")
    assert "unknown-reflector" in codes(reflector("one", 101, upstream=["gone"]), of="RouteReflector/one")


def test_a_bgppeer_with_a_reflectors_address_is_the_long_way() -> None:
    """Apart from names and sources the same sessions on both ends."""
    short = compiled(NO_MESH, A, reflector("rr-1", 101))
    long_way = declare("BGPPeer", "rr-1", peerIP="192.0.2.101", asNumber=64512)
    spelled = compiled(NO_MESH, A, declare("RouteReflector", "rr-1", addresses=["192.0.2.101"]), long_way)
    for ends in ("speakers", "reflectors"):
        (one,) = next(iter(getattr(short, ends).values())).sessions
        (other,) = next(iter(getattr(spelled, ends).values())).sessions
        assert one.to_json() | {"source": ""} == other.to_json() | {"source": ""}


def test_accepted_prefixes_are_ranges_to_listen_on() -> None:
    (listens,) = compiled(reflector("rr-1", 101, acceptPrefixes=["10.0.0.0/8"])).reflectors["rr-1"].listen_ranges
    assert (listens.cidr, listens.peer_asn) == ("10.0.0.0/8", 64512)


def test_who_comes_from_an_accepted_prefix_is_a_client_on_the_terms_of_the_others() -> None:
    spec: dict[str, Any] = {
        "acceptPrefixes": ["10.0.0.0/8"],
        "password": {"secretKeyRef": {"name": "bgp", "key": "key"}},
        "holdTime": 30,
        "keepaliveTime": 7,
        "gracefulRestartTime": 60,
        "longLivedStaleTime": 3600,
        "addPaths": "send",
        "maxPrefixes": 100,
        "filters": ["one-way"],
    }
    one_way = declare("BGPFilter", "one-way", importV4=[{"action": "Reject"}])
    plan = compiled(A, one_way, reflector("rr-1", 101, **spec)).reflectors["rr-1"]
    (listens,), (named,) = plan.listen_ranges, plan.sessions
    shared = {field.name for field in fields(ListenRange)} & {field.name for field in fields(Session)}
    assert {name: getattr(listens, name) for name in shared} == {name: getattr(named, name) for name in shared}
    assert shared == {field.name for field in fields(ListenRange)} - {"cidr", "limit", "peer_asns"}
    assert listens.password == SecretKeyRef("bgp", "key")
    assert (listens.rr_client, listens.import_filters, listens.export_filters) == (True, ("one-way",), ())
    assert listens.to_json()["password"] == {"secretKeyRef": {"name": "bgp", "key": "key"}}


def test_a_fabric_peer_that_is_a_switch_of_ours_gets_its_end() -> None:
    tor = declare("Switch", "tor", asNumber=65001, addresses=["10.0.1.1/32"])
    peers = [{"name": "tor", "address": "10.0.1.1", "asNumber": 65001}]
    plan = compiled(tor, reflector("rr-1", 101, fabricPeers=peers), A, declare("IPPool", "p", cidr="10.244.0.0/16"))
    (far,) = plan.switches["tor"].sessions
    assert (far.peer, far.peer_address, far.local_asn, far.peer_asn) == ("reflector/rr-1", "192.0.2.101", 65001, 64512)
    assert {r.cidr for r in plan.switches["tor"].accept} == {"10.244.0.0/16"}, "a reflector passes on all blocks"


def test_a_fabric_peer_is_spoken_to_as_it_says() -> None:
    peer = {
        "name": "border",
        "address": "192.0.2.9",
        "asNumber": 65001,
        "password": {"secretKeyRef": {"name": "bgp", "key": "border"}},
        "ttlSecurity": 1,
        "nextHopMode": "Self",
        "numAllowedLocalASNumbers": 2,
        "asOverride": True,
        "prepend": 3,
        "maxPrefixes": 50,
    }
    plain = {name: peer[name] for name in ("name", "address", "asNumber")}
    (one,) = compiled(reflector("rr-1", 101, fabricPeers=[peer])).reflectors["rr-1"].sessions
    (other,) = compiled(reflector("rr-1", 101, fabricPeers=[plain])).reflectors["rr-1"].sessions
    assert one == replace(
        other,
        password=SecretKeyRef("bgp", "border"),
        ttl_security=1,
        multihop=None,
        next_hop="self",
        allow_as_in=2,
        as_override=True,
        prepend=3,
        max_prefixes=50,
    )


def test_what_is_only_for_another_as_is_told_of() -> None:
    peer = {"name": "core", "address": "192.0.2.9", "asNumber": 64512, "asOverride": True, "prepend": 1}
    found = [p for p in compiled(reflector("rr-1", 101, fabricPeers=[peer])).problems if p.code == "ignored-field"]
    assert [p.path for p in found] == ["spec.fabricPeers[0].asOverride", "spec.fabricPeers[0].prepend"]


def test_how_many_paths_are_sent_and_how_long_a_session_stays_closed() -> None:
    one = compiled(A, reflector("rr-1", 101, addPaths="send", addPathLimit=3, maxPrefixesRestart="60s"))
    (client,) = one.reflectors["rr-1"].sessions
    (node,) = one.speakers["a"].sessions
    assert (client.add_paths, client.add_path_limit, node.add_path_limit) == ("send", 3, None)
    assert one.reflectors["rr-1"].max_prefixes_restart == 60


def test_of_two_reflectors_each_sends_as_many_paths_as_it_says() -> None:
    upper = reflector("top", 101, addPaths="send", addPathLimit=3)
    plan = compiled(upper, reflector("left", 102, upstream=["top"]))
    (sends,), (receives,) = plan.reflectors["top"].sessions, plan.reflectors["left"].sessions
    assert (sends.add_paths, sends.add_path_limit) == ("send", 3)
    assert (receives.add_paths, receives.add_path_limit) == ("receive", None)


def test_a_node_on_whose_address_the_reflector_stands_does_not_peer_with_itself() -> None:
    assert compiled(A, reflector("rr-1", 1)).speakers["a"].sessions == ()
