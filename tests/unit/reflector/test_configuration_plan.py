"""From the plan to the server: nothing of a session is lost, and what cannot be done is told."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from peering.memo import Memo
from peering.prefixes import pack_address, pack_prefix
from peering.resource import Resource
from peering.resources.bgp_filter import BGPFilterSpec
from peering.session import BfdParameters, ListenRange, ReflectorPlan, SecretKeyRef, Session
from reflector.configuration import Owners, Peer, PeerPolicy, PeerRange, ReflectorConfiguration, Transport
from reflector.plan_configuration import configuration_of, passwords_in
from reflector.plan_objections import left_out, objections
from reflector.session.settings import SessionSettings
from reflector.wire.capabilities import AddPath
from tests.unit.declarations import compiled, declare, host

PASSWORD = SecretKeyRef("bgp", "key")
SESSION = Session(
    name="node-1-ipv4",
    peer="node/node-1",
    source="RouteReflector/rr-1",
    type="ibgp",
    local_address="10.0.0.100",
    local_asn=64512,
    peer_address="10.0.0.1",
    peer_asn=64512,
    passive=True,
    multihop=255,
    rr_client=True,
    cluster_id="10.0.0.100",
)
RANGE = ListenRange(cidr="10.9.0.0/16", peer_asn=64512, limit=7)
NO_OWNERS = Owners()


def planned(*sessions: Session, **fields: Any) -> ReflectorPlan:
    return ReflectorPlan(
        asn=64512,
        cluster_id="1.2.3.4",
        router_id="10.0.0.100",
        addresses=("10.0.0.100", "fd00::100"),
        sessions=sessions,
        **fields,
    )


def made(*sessions: Session, filters: dict[str, BGPFilterSpec] | None = None, **fields: Any) -> ReflectorConfiguration:
    return configuration_of("rr-1", planned(*sessions, **fields), filters or {}, NO_OWNERS)


def policy(**fields: Any) -> PeerPolicy:
    return made(replace(SESSION, **fields)).peers[pack_address("10.0.0.1")].policy


def transport(**fields: Any) -> Transport:
    (peer,) = made(replace(SESSION, **fields)).peers.values()
    return peer.transport


def accepting(**rule: Any) -> BGPFilterSpec:
    return BGPFilterSpec.model_validate({"importV4": [{"action": "Accept", **rule}]})


def test_the_reflector_itself() -> None:
    owners = Owners({pack_prefix("10.1.0.0/26"): frozenset({"node/node-1"})})
    found = configuration_of("rr-1", planned(listen_port=1790, ownership="enforce"), {}, owners)
    assert found == ReflectorConfiguration(
        name="rr-1",
        asn=64512,
        router_id=bytes((10, 0, 0, 100)),
        cluster_id=bytes((1, 2, 3, 4)),
        addresses=(bytes((10, 0, 0, 100)), pack_address("fd00::100")),
        port=1790,
        ownership="enforce",
        owners=owners,
    )


def test_a_named_neighbour_is_found_by_its_address() -> None:
    six = replace(SESSION, name="node-1-ipv6", peer_address="fd00::1", local_address="fd00::100")
    found = made(SESSION, six).peers
    assert {address: peer.name for address, peer in found.items()} == {
        bytes((10, 0, 0, 1)): "node-1-ipv4",
        pack_address("fd00::1"): "node-1-ipv6",
    }
    one = found[bytes((10, 0, 0, 1))]
    assert one.address == bytes((10, 0, 0, 1))
    assert one.session == SessionSettings.from_plan(SESSION, "10.0.0.100")
    assert one.transport.local_address == bytes((10, 0, 0, 100))
    assert found[pack_address("fd00::1")].transport.local_address == pack_address("fd00::100")


@pytest.mark.parametrize(
    ("planned_as", "expected"),
    [
        ({"rr_client": False}, {"client": False}),
        ({"next_hop": "self"}, {"next_hop": "self"}),
        ({"allow_as_in": 2}, {"allow_as_in": 2}),
        ({"allow_as_in": None}, {"allow_as_in": 0}),
        ({"as_override": True}, {"as_override": True}),
        ({"max_prefixes": 100}, {"max_prefixes": 100}),
        ({"prepend": 2}, {"prepend": 2}),
        ({"add_path_limit": 3}, {"add_path_limit": 3}),
    ],
)
def test_policy(planned_as: dict[str, Any], expected: dict[str, Any]) -> None:
    assert policy(**planned_as) == replace(PeerPolicy(), **expected)


@pytest.mark.parametrize(
    ("planned_as", "expected"),
    [
        ({"local_address": None}, {"local_address": None}),
        ({"peer_port": 1790}, {"peer_port": 1790}),
        ({"interface": "eth0"}, {"interface": "eth0"}),
        ({"ttl_security": 1, "multihop": None}, {"ttl_security": 1, "multihop": None}),
        ({"multihop": 3}, {"multihop": 3}),
        ({"password": PASSWORD}, {"password": PASSWORD}),
    ],
)
def test_transport(planned_as: dict[str, Any], expected: dict[str, Any]) -> None:
    plain = Transport(local_address=bytes((10, 0, 0, 100)), multihop=255)
    assert transport(**planned_as) == replace(plain, **expected)


def test_every_field_of_a_session_reaches_the_server_or_is_told() -> None:
    """A field that is new in the plan fails here until somebody decides what a reflector does with it."""
    elsewhere = {
        "peer": "owner",
        "source": "problems",
        "peer_address": "the key of peers",
        "cluster_id": "the reflector's",
        "bfd": "told",
        "reachable_by": "told",
    }
    settings = {"name", "type", "local_asn", "peer_asn", "passive", "families", "add_paths", "hold_time"}
    settings |= {"keepalive_time", "graceful_restart_time", "long_lived_stale_time", "connect_retry"}
    transported = {"local_address", "peer_port", "interface", "ttl_security", "multihop", "password"}
    policies = {"rr_client", "next_hop", "allow_as_in", "as_override", "max_prefixes", "prepend", "add_path_limit"}
    policies |= {"import_filters", "export_filters"}
    assert {one.name for one in fields(Session)} == {*elsewhere, *settings, *transported, *policies}


def test_filters_are_taken_in_order_and_a_missing_one_lets_nothing_through() -> None:
    one, two = accepting(cidr="10.0.0.0/8", matchOperator="In"), accepting()
    session = replace(SESSION, import_filters=("b", "gone", "a"), export_filters=("a",))
    (peer,) = made(session, filters={"a": one, "b": two}).peers.values()
    assert [name for name, _ in peer.policy.import_filters] == ["b", "gone", "a"]
    assert (peer.policy.import_filters[0][1], peer.policy.import_filters[2][1]) == (two, one)
    missing = peer.policy.import_filters[1][1]
    assert {rule.action for rule in (*missing.import_v4, *missing.import_v6)} == {"Reject"}
    assert peer.policy.export_filters == (("a", one),)


@pytest.mark.parametrize(
    ("peer", "owner"),
    [
        ("node/node-1", "node/node-1"),
        ("node/old-reflector", ""),
        ("reflector/rr-2", ""),
        ("switch/tor", ""),
        ("external", ""),
    ],
)
def test_only_nodes_that_speak_for_themselves_are_held_to_their_own(peer: str, owner: str) -> None:
    found = configuration_of("rr-1", planned(replace(SESSION, peer=peer)), {}, NO_OWNERS, relays={"old-reflector"})
    assert [one.owner for one in found.peers.values()] == [owner]


#: What only a switch's range says; of the cluster ID there is one for the whole reflector.
OF_SWITCHES = {"peer_asns", "ttl_security", "bfd", "cluster_id", "next_hop", "allow_as_in", "as_override"}


def test_a_range_is_taken_over_with_everything_that_is_said_of_it() -> None:
    one = ListenRange(
        cidr="10.9.0.0/16",
        peer_asn=64512,
        limit=7,
        password=PASSWORD,
        multihop=255,
        hold_time=9,
        keepalive_time=2,
        graceful_restart_time=30,
        long_lived_stale_time=3600,
        rr_client=True,
        add_paths="send",
        add_path_limit=3,
        import_filters=("in",),
        export_filters=("out",),
        max_prefixes=100,
    )
    alike = {field.name for field in fields(ListenRange) if getattr(one, field.name) == getattr(RANGE, field.name)}
    given = {"cidr", "peer_asn", "limit"}
    assert alike == given | OF_SWITCHES, "the others differ from their defaults, so that losing one is seen"
    inwards, outwards = accepting(), accepting()
    (found,) = made(listen_ranges=(one,), filters={"in": inwards, "out": outwards}).ranges
    assert found == PeerRange(
        prefix=b"\x10\x0a\x09\x00\x00",
        session=SessionSettings(
            name="10.9.0.0/16",
            local_asn=64512,
            router_id=bytes((10, 0, 0, 100)),
            peer_asn=64512,
            passive=True,
            hold_time=9,
            keepalive_time=2,
            graceful_restart_time=30,
            long_lived_stale_time=3600,
            add_path=AddPath.SEND,
        ),
        policy=PeerPolicy(
            import_filters=(("in", inwards),),
            export_filters=(("out", outwards),),
            max_prefixes=100,
            add_path_limit=3,
            client=True,
        ),
        transport=Transport(multihop=255, password=PASSWORD),
        limit=7,
    )
    assert found.session.name == "10.9.0.0/16"
    assert not made(listen_ranges=(replace(one, rr_client=False),)).ranges[0].policy.client


@pytest.mark.parametrize(("planned_as", "expected"), [(60, 60), (0, None)])
def test_who_announced_too_much_comes_back_when_the_plan_says(planned_as: int, expected: int | None) -> None:
    found = made(SESSION, listen_ranges=(RANGE,), max_prefixes_restart=planned_as)
    policies = [peer.policy for peer in found.peers.values()] + [one.policy for one in found.ranges]
    assert [policy.restart_after for policy in policies] == [expected, expected]


def test_the_passwords_that_are_needed() -> None:
    other = SecretKeyRef("bgp", "other")
    found = made(replace(SESSION, password=PASSWORD), listen_ranges=(RANGE, replace(RANGE, password=other)))
    assert passwords_in(found) == {PASSWORD, other}
    assert passwords_in(made(SESSION, listen_ranges=(RANGE,))) == set()


def test_a_plan_without_router_id_is_no_configuration() -> None:
    with pytest.raises(ValueError, match="router ID"):
        configuration_of("rr-1", replace(planned(SESSION), router_id="0.0.0.0"), {}, NO_OWNERS)


def test_what_did_not_change_is_the_same_object() -> None:
    memo = Memo()
    other = replace(SESSION, name="node-2-ipv4", peer_address="10.0.0.2")
    first = configuration_of("rr-1", planned(SESSION, other), {}, NO_OWNERS, memo=memo)
    slower = planned(SESSION, replace(other, hold_time=9))
    second = configuration_of("rr-1", slower, {}, NO_OWNERS, memo=memo)
    one, two = pack_address("10.0.0.1"), pack_address("10.0.0.2")
    assert second.peers[one] is first.peers[one]
    assert (first.peers[two].session.hold_time, second.peers[two].session.hold_time) == (90, 9)
    relayed = configuration_of("rr-1", slower, {}, NO_OWNERS, relays={"node-1"}, memo=memo)
    assert {peer.owner for peer in relayed.peers.values()} == {""}, "what the memo keeps depends on all of its inputs"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (
            {"peer_address": "", "interface": "eth1"},
            "it is unnumbered on eth1, and the reflector needs the address of its peer",
        ),
        (
            {"peer_address": "fe80::1", "local_address": None},
            "its peer address fe80::1 is link-local, which needs an interface",
        ),
        (
            {"local_address": "fd00::100"},
            "its local address fd00::100 and peer address 10.0.0.1 are of different families",
        ),
    ],
)
def test_a_session_that_cannot_be_made_leaves_the_others_alone(fields: dict[str, Any], reason: str) -> None:
    other = replace(SESSION, name="node-2-ipv4", peer_address="10.0.0.2")
    wrong = replace(SESSION, **fields)
    assert left_out((wrong, other)) == {"node-1-ipv4": reason}
    assert [peer.name for peer in made(wrong, other).peers.values()] == ["node-2-ipv4"]
    assert [(p.severity, p.code, p.line()) for p in objections("rr-1", planned(wrong, other), {})] == [
        (
            "warning",
            "reflector-cannot",
            f"RouteReflector/rr-1: session node-1-ipv4 of RouteReflector/rr-1 is left out: {reason} "
            "(give each of its neighbours one address, and one session with it)",
        )
    ]


def test_a_link_local_peer_on_an_interface_is_fine() -> None:
    session = replace(SESSION, peer_address="fe80::1", local_address=None, interface="eth0")
    assert left_out((session,)) == {}
    assert made(session).peers[pack_address("fe80::1")].transport.interface == "eth0"


def test_of_two_sessions_with_one_address_the_first_by_name_is_made() -> None:
    later = replace(SESSION, name="node-1-ipv4-2", source="reverse:BGPPeer/again", peer_port=1791)
    for order in ((SESSION, later), (later, SESSION)):
        assert [peer.name for peer in made(*order).peers.values()] == ["node-1-ipv4"]
        (problem,) = objections("rr-1", planned(*order), {})
        assert problem.object == "BGPPeer/again"
        assert "session node-1-ipv4 has the same peer address 10.0.0.1" in problem.message


def test_what_has_no_effect_is_told_once_for_each_declaration() -> None:
    bfd = BfdParameters(profile="fast", receive_interval=300, transmit_interval=300, detect_multiplier=3)
    two = replace(SESSION, name="node-2-ipv4", peer_address="10.0.0.2", bfd=bfd)
    mesh = replace(SESSION, name="m", source="mesh", peer_address="10.0.0.3", reachable_by="10.0.0.254")
    plan = planned(replace(SESSION, bfd=bfd), two, mesh)
    assert [(p.severity, p.code, p.line()) for p in objections("rr-1", plan, {})] == [
        (
            "warning",
            "ignored-field",
            "BGPConfiguration/default spec.reachableBy: has no effect at RouteReflector/rr-1: "
            "the reflector writes no routes (give the machine that it runs on a route to the peer)",
        ),
        (
            "warning",
            "ignored-field",
            "RouteReflector/rr-1 spec.bfd: has no effect at RouteReflector/rr-1: "
            "the reflector does not speak BFD (shorten holdTime instead)",
        ),
    ]
    assert objections("rr-1", planned(SESSION), {}) == ()


def test_a_filter_that_asks_for_an_interface_is_told_where_it_is_used() -> None:
    spec = BGPFilterSpec.model_validate(
        {"exportV6": [{"action": "Accept"}, {"action": "Reject", "interface": "eth*"}], "importV4": []}
    )
    filters = {"links": spec, "unused": spec}
    (problem,) = objections("rr-1", planned(replace(SESSION, export_filters=("links", "gone"))), filters)
    assert (problem.code, problem.line()) == (
        "reflector-cannot",
        "BGPFilter/links spec.exportV6[1].interface: never holds at RouteReflector/rr-1: "
        "routes of a reflector leave by no interface (use another condition, or another filter here)",
    )
    (found,) = objections("rr-1", planned(listen_ranges=(replace(RANGE, import_filters=("unused",)),)), filters)
    assert found.object == "BGPFilter/unused"


def test_a_compiled_reflector_becomes_a_configuration_with_both_kinds_of_clients() -> None:
    rr = declare(
        "RouteReflector",
        "rr-1",
        addresses=["192.0.2.101", "2001:db8::101"],
        nodeSelector="all()",
        acceptPrefixes=["10.0.0.0/8", "fd00::/8"],
        password={"secretKeyRef": {"name": "bgp", "key": "key"}},
        holdTime=9,
        gracefulRestartTime=30,
        longLivedStaleTime=3600,
        addPaths="send",
        maxPrefixes=50,
        filters=["pools"],
    )
    declared: list[Resource] = [rr, host("a", 1, ipv6=True), declare("BGPFilter", "pools", importV4=[])]
    plan = compiled(*declared).reflectors["rr-1"]
    found = configuration_of("rr-1", plan, {}, NO_OWNERS)
    named = {peer.name: peer for peer in found.peers.values()}
    assert set(named) == {"a-ipv4", "a-ipv6"}
    assert {one.prefix for one in found.ranges} == {pack_prefix("10.0.0.0/8"), pack_prefix("fd00::/8")}
    both: tuple[Peer | PeerRange, ...] = (*named.values(), *found.ranges)
    for one in both:
        assert one.session.hold_time == 9
        assert one.session.keepalive_time == 3
        assert one.session.graceful_restart_time == 30
        assert one.session.long_lived_stale_time == 3600
        assert one.session.add_path is AddPath.SEND
        assert one.session.passive
        assert one.transport.password == PASSWORD
        assert one.transport.multihop == 255
        assert one.policy.client
        assert one.policy.max_prefixes == 50
