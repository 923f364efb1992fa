"""What peers are told: each rule by the section that asks for it."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector.policy.export_policy import ExportPolicy, ExportTerms, export_terms
from reflector.policy.outgoing import LOCAL_PREF
from reflector.rib.route import Key, Kind, Route
from reflector.wire.as_path import CONFED_SEQUENCE, SEQUENCE, SET
from reflector.wire.attribute_block import AttributeBlock
from reflector.wire.communities import LLGR_STALE, NO_ADVERTISE, NO_EXPORT, NO_EXPORT_SUBCONFED, NO_PEER
from reflector.wire.families import FAMILY_BY_NAME, IPV4_UNICAST, IPV6_UNICAST
from tests.unit.reflector.policy_samples import (
    ACCEPT,
    CLUSTER,
    LOCAL,
    NEXT_HOP,
    OTHER,
    PEER,
    REJECT,
    ROUTER,
    block,
    filters,
    keys,
    read,
    route,
    source,
    wire,
)

SELF, SELF6 = bytes((10, 0, 0, 1)), bytes.fromhex("fd000000000000000000000000000001")
NEXT_HOP6 = bytes.fromhex("fd000000000000000000000000000009")
LINK_LOCAL = bytes.fromhex("fe800000000000000000000000000009")
AIGP = bytes.fromhex("01000b0000000000000005")
KINDS: tuple[Kind, ...] = ("client", "non-client", "ebgp")


def terms(kind: Kind = "client", **fields: Any) -> ExportTerms:
    given: dict[str, Any] = {
        "family": IPV4_UNICAST,
        "kind": kind,
        "local_asn": LOCAL,
        "peer_asn": PEER if kind == "ebgp" else LOCAL,
        "cluster_id": CLUSTER,
        "next_hop_self": SELF,
    }
    return export_terms(**given | fields)


def told(one: Route, kind: Kind = "client", **fields: Any) -> tuple[bytes, dict[str, Any]] | None:
    """Next hop and attributes by name."""
    policy = ExportPolicy(terms(kind, **fields))
    answer = policy.attributes(one)
    assert answer == policy.attributes(one), "the second time from memory"
    assert answer == policy.decide(one, wire("10.0.0.0/8"))
    some = keys("10.0.0.0/8", "10.1.0.0/16")
    assert policy.partition(one, some) == [(answer, some)]
    return None if answer is None else (answer[0], read(answer[1]))


def attributes(one: Route, kind: Kind = "client", **fields: Any) -> dict[str, Any]:
    answer = told(one, kind, **fields)
    assert answer is not None
    return answer[1]


@pytest.mark.parametrize("to", KINDS)
@pytest.mark.parametrize("of", KINDS)
def test_who_is_told_whose_routes(of: Kind, to: Kind) -> None:
    """RFC 4456, 6: a non-client's routes to clients, a client's to all; those of eBGP peers to all (RFC 4271, 9.2)."""
    one = block(PEER, local_pref=100)
    assert (told(route(one, of), to) is None) is ((of, to) == ("non-client", "non-client"))


@pytest.mark.parametrize(("of", "to"), [("client", "client"), ("client", "non-client"), ("non-client", "client")])
def test_reflection_adds_two_attributes_and_changes_nothing_else(of: Kind, to: Kind) -> None:
    """RFC 4456, 8 and 10."""
    plain = block(
        PEER, local_pref=50, med=5, communities=(7,), aigp=AIGP, large_communities=((1, 2, 3),), atomic_aggregate=True
    )
    first = told(route(plain, of), to, prepend=2, as_override=True)
    added = {"originator_id": source().router_id, "cluster_list": (CLUSTER,)}
    assert first == (NEXT_HOP, read(plain.raw) | added)
    again = block(PEER, local_pref=50, originator_id=ROUTER, cluster_list=(ROUTER,))
    second = told(route(again, of), to)
    assert second == (NEXT_HOP, read(again.raw) | {"cluster_list": (CLUSTER, ROUTER)})


def test_routes_of_ebgp_peers_inside_the_as() -> None:
    """RFC 4271, 5.1.5: with a LOCAL_PREF. Nothing was reflected yet, so nothing says so; MED goes along (5.1.4)."""
    plain = block(PEER, med=5)
    assert told(route(plain, "ebgp")) == (NEXT_HOP, read(plain.raw) | {"local_pref": LOCAL_PREF})
    assert attributes(route(block(PEER, local_pref=0), "ebgp"))["local_pref"] == 0
    assert attributes(route(block(PEER), "client"))["local_pref"] == LOCAL_PREF


def test_ebgp_peers_are_told_nothing_that_is_for_the_inside() -> None:
    """RFC 4271, 5.1.2, 5.1.3 and 5.1.5; RFC 4456, 8; RFC 7311, 3.3."""
    inside = block(
        OTHER,
        local_pref=200,
        originator_id=ROUTER,
        cluster_list=(CLUSTER,),
        aigp=AIGP,
        communities=(7,),
        only_to_customer=5,
    )
    assert told(route(inside), "ebgp") == (
        SELF,
        {"origin": 0, "as_path": ((SEQUENCE, (LOCAL, OTHER)),), "communities": (7,), "only_to_customer": 5},
    )


PATHS: list[tuple[dict[str, Any], tuple[Any, ...], tuple[Any, ...]]] = [
    ({}, (), ((SEQUENCE, (LOCAL,)),)),
    ({}, ((SET, (1, 2)),), ((SEQUENCE, (LOCAL,)), (SET, (1, 2)))),
    ({}, ((CONFED_SEQUENCE, (65500,)), (SEQUENCE, (1,))), ((SEQUENCE, (LOCAL, 1)),)),
    ({"prepend": 2}, ((SEQUENCE, (1,)),), ((SEQUENCE, (LOCAL, LOCAL, LOCAL, 1)),)),
    ({}, ((SEQUENCE, (PEER, 1)),), ((SEQUENCE, (LOCAL, PEER, 1)),)),
    (
        {"as_override": True},
        ((SEQUENCE, (PEER, 1, PEER)), (SET, (PEER, 2))),
        ((SEQUENCE, (LOCAL, LOCAL, 1, LOCAL)), (SET, (LOCAL, 2))),
    ),
]


@pytest.mark.parametrize(("fields", "before", "after"), PATHS)
def test_paths_for_ebgp_peers(fields: dict[str, Any], before: tuple[Any, ...], after: tuple[Any, ...]) -> None:
    """RFC 4271, 5.1.2; RFC 5065, 4.1; the peer's own AS in the path does not matter."""
    assert attributes(route(block(as_path=before)), "ebgp", **fields)["as_path"] == after


MED_CASES: list[tuple[AttributeBlock, Kind, dict[str, Any], int | None]] = [
    (block(OTHER, med=5), "ebgp", {}, None),
    (block(OTHER, med=5), "client", {}, None),
    (block(med=5), "client", {}, 5),
    (
        block(OTHER, med=5),
        "ebgp",
        {"filters": filters("exportV4", ACCEPT | {"operations": [{"setMED": {"value": 9}}]})},
        9,
    ),
    (block(OTHER), "ebgp", {"filters": filters("exportV4", ACCEPT | {"operations": [{"setMED": {"value": 0}}]})}, 0),
    (block(OTHER, med=5), "ebgp", {"filters": filters("exportV4", ACCEPT)}, None),
]


@pytest.mark.parametrize(("one", "of", "fields", "expected"), MED_CASES)
def test_the_med_of_one_as_is_not_for_another(
    one: AttributeBlock, of: Kind, fields: dict[str, Any], expected: int | None
) -> None:
    """RFC 4271, 5.1.4."""
    assert attributes(route(one, of), "ebgp", **fields).get("med") == expected


COMMUNITIES: list[tuple[int, dict[Kind, bool]]] = [
    (NO_ADVERTISE, {"client": False, "non-client": False, "ebgp": False}),
    (NO_EXPORT, {"client": True, "non-client": True, "ebgp": False}),
    (NO_EXPORT_SUBCONFED, {"client": True, "non-client": True, "ebgp": False}),
    (NO_PEER, {"client": True, "non-client": True, "ebgp": True}),
    (LLGR_STALE, {"client": False, "non-client": False, "ebgp": False}),
]


@pytest.mark.parametrize(("community", "expected"), COMMUNITIES)
def test_communities_that_hold_a_route_back(community: int, expected: dict[Kind, bool]) -> None:
    """RFC 1997; RFC 9494, 4.3."""
    one = block(communities=(7, community))
    for kind, is_told in expected.items():
        assert (told(route(one), kind) is not None) is is_told, kind
        assert (told(route(one), kind, long_lived=True) is not None) is (is_told or community == LLGR_STALE), kind


def test_a_community_that_an_export_filter_adds_is_for_the_peer() -> None:
    adds = filters("exportV4", ACCEPT | {"operations": [{"addCommunity": {"value": "no-export"}}]})
    assert attributes(route(block()), "ebgp", filters=adds)["communities"] == (NO_EXPORT,)


NEXT_HOPS: list[tuple[str, Kind, dict[str, Any], bytes, bytes | None]] = [
    ("ipv4-unicast", "client", {}, NEXT_HOP, NEXT_HOP),
    ("ipv4-unicast", "client", {"next_hop": "self"}, NEXT_HOP, SELF),
    ("ipv4-unicast", "ebgp", {}, NEXT_HOP, SELF),
    ("ipv4-unicast", "ebgp", {"next_hop": "keep"}, NEXT_HOP, NEXT_HOP),
    ("ipv4-unicast", "ebgp", {"next_hop_self": None}, NEXT_HOP, None),
    # RFC 8950
    ("ipv4-unicast", "client", {}, NEXT_HOP6, None),
    ("ipv4-unicast", "client", {"extended_next_hop": True}, NEXT_HOP6, NEXT_HOP6),
    ("ipv4-unicast", "ebgp", {"next_hop_self": SELF6}, NEXT_HOP, None),
    ("ipv4-unicast", "ebgp", {"next_hop_self": SELF6, "extended_next_hop": True}, NEXT_HOP, SELF6),
    ("ipv4-unicast", "ebgp", {}, NEXT_HOP6, SELF),
    ("ipv4-multicast", "client", {}, NEXT_HOP6, None),
    ("ipv4-vpn", "client", {}, bytes(8) + NEXT_HOP6, None),
    ("ipv4-vpn", "client", {"extended_next_hop": True}, bytes(8) + NEXT_HOP6, bytes(8) + NEXT_HOP6),
    ("ipv4-labelled-unicast", "client", {}, NEXT_HOP6, None),
    # RFC 2545, 3
    ("ipv6-unicast", "client", {}, NEXT_HOP6, NEXT_HOP6),
    ("ipv6-unicast", "client", {}, NEXT_HOP6 + LINK_LOCAL, NEXT_HOP6),
    ("ipv6-unicast", "client", {}, bytes(16) + LINK_LOCAL, bytes(16) + LINK_LOCAL),
    ("ipv6-unicast", "client", {}, LINK_LOCAL + LINK_LOCAL, LINK_LOCAL + LINK_LOCAL),
    ("ipv6-unicast", "ebgp", {"next_hop_self": SELF6}, NEXT_HOP6, SELF6),
    ("ipv6-unicast", "ebgp", {"next_hop_self": SELF}, NEXT_HOP6, None),
    # Labels and tunnels are those of the router that the next hop names.
    ("ipv4-vpn", "ebgp", {}, bytes(8) + NEXT_HOP, bytes(8) + NEXT_HOP),
    ("ipv4-labelled-unicast", "client", {"next_hop": "self"}, NEXT_HOP, NEXT_HOP),
    ("ipv6-labelled-unicast", "client", {}, NEXT_HOP, NEXT_HOP),
    ("ipv6-vpn", "client", {}, bytes(8) + NEXT_HOP6, bytes(8) + NEXT_HOP6),
    ("l2vpn-evpn", "ebgp", {"next_hop": "self"}, NEXT_HOP6, NEXT_HOP6),
    ("ipv4-flowspec", "client", {}, b"", b""),
]


@pytest.mark.parametrize(("family", "kind", "fields", "before", "after"), NEXT_HOPS)
def test_next_hops(family: str, kind: Kind, fields: dict[str, Any], before: bytes, after: bytes | None) -> None:
    """RFC 4271, 5.1.3; RFC 4456, 10. None: the peer could not use the route."""
    answer = told(route(block(), next_hop=before), kind, family=FAMILY_BY_NAME[family], **fields)
    assert (None if answer is None else answer[0]) == after


def test_a_changed_next_hop_takes_the_accumulated_metric_away() -> None:
    """RFC 7311, 3.4: the metric to the old next hop would have to be added."""
    one = route(block(aigp=AIGP, local_pref=100))
    assert attributes(one)["aigp"] == AIGP
    assert "aigp" not in attributes(one, next_hop="self")
    assert "aigp" not in attributes(one, "ebgp", next_hop="keep"), "it stays inside the AS (RFC 7311, 3.3)"


def test_older_speakers_are_told_two_byte_as_numbers() -> None:
    """RFC 6793, 4.2.2."""
    one = route(block(70000, local_pref=100))
    for kind in KINDS:
        for four_octet in (True, False):
            answer = ExportPolicy(terms(kind, four_octet=four_octet)).attributes(one)
            assert answer is not None
            assert ((70000).to_bytes(4, "big") in answer[1]) is True, "beside it, in AS4_PATH"
            assert ((23456).to_bytes(2, "big") in answer[1]) is not four_octet


FILTERED = ACCEPT | {"operations": [{"prependASPath": {"prefix": [900, 901]}}, {"setLocalPreference": {"value": 300}}]}


def test_filters_see_the_route_without_our_as_in_front() -> None:
    """As in Calico: BIRD puts the AS in front of what its filter made; LOCAL_PREF is to be seen, and not sent."""
    wanted = FILTERED | {"asPathPrefix": [OTHER], "priority": 2147483647 - 200}
    written = filters("exportV4", wanted, REJECT)
    one = route(block(OTHER, local_pref=200))
    assert attributes(one, "ebgp", filters=written, prepend=1) == {
        "origin": 0,
        "as_path": ((SEQUENCE, (LOCAL, LOCAL, 900, 901, OTHER)),),
    }
    assert attributes(one, "client", filters=written) == {
        "origin": 0,
        "as_path": ((SEQUENCE, (900, 901, OTHER)),),
        "local_pref": 300,
        "originator_id": source().router_id,
        "cluster_list": (CLUSTER,),
    }
    assert told(route(block(PEER, local_pref=200)), "ebgp", filters=written) is None
    assert told(route(block(OTHER)), "client", filters=written) is None, "no LOCAL_PREF is another priority"


def test_filters_see_the_path_with_as_override() -> None:
    written = filters("exportV4", ACCEPT | {"asPathPrefix": [LOCAL]}, REJECT)
    one = route(block(PEER))
    assert attributes(one, "ebgp", filters=written, as_override=True)["as_path"] == ((SEQUENCE, (LOCAL, LOCAL)),)
    assert told(one, "ebgp", filters=written) is None


def test_filters_are_those_of_the_type_of_session() -> None:
    written = filters("exportV4", REJECT | {"peerType": "iBGP"})
    one = route(block(PEER))
    assert [told(one, kind, filters=written) is None for kind in KINDS] == [True, True, False]


PREFIX_RULES = [
    REJECT | {"cidr": "10.2.0.0/16", "matchOperator": "In"},
    ACCEPT | {"cidr": "10.3.0.0/16", "matchOperator": "In", "operations": [{"setMED": {"value": 5}}]},
    REJECT | {"cidr": "10.4.0.0/16", "matchOperator": "In"},
    ACCEPT | {"cidr": "10.5.0.0/16", "matchOperator": "In", "communities": {"values": ["0:7"]}},
    REJECT | {"cidr": "10.5.0.0/16", "matchOperator": "In"},
]
KEYS = st.lists(st.sampled_from(keys(*(f"10.{n}.{m}.0/24" for n in range(7) for m in range(3)))), unique=True)


@given(KEYS, st.sampled_from([None, (7,)]), st.sampled_from(KINDS), st.sampled_from(KINDS))
def test_parts_are_what_is_decided_of_each_prefix(
    given_keys: list[Key], communities: tuple[int, ...] | None, of: Kind, to: Kind
) -> None:
    policy = ExportPolicy(terms(to, filters=filters("exportV4", *PREFIX_RULES)))
    assert policy.by_prefix
    one = route(block(communities=communities, local_pref=100), of)
    parts = policy.partition(one, given_keys)
    assert len({answer for answer, _ in parts}) == len(parts), "each answer once"
    assert sorted(key for _, some in parts for key in some) == sorted(given_keys)
    for answer, some in parts:
        for key in some:
            assert policy.decide(one, key) == answer
            if (of, to) == ("non-client", "non-client") or key[2] in (2, 4) or (key[2] == 5 and not communities):
                assert answer is None
            else:
                assert answer is not None
                assert read(answer[1]).get("med") == (5 if key[2] == 3 else None)


def test_an_answer_by_prefix_is_not_given_for_all() -> None:
    policy = ExportPolicy(terms(filters=filters("exportV4", *PREFIX_RULES)))
    with pytest.raises(ValueError, match="prefix"):
        policy.attributes(route(block()))


SAME_GROUP: list[tuple[Kind, dict[str, Any], dict[str, Any]]] = [
    ("client", {"next_hop_self": SELF}, {"next_hop_self": NEXT_HOP}),
    ("client", {"prepend": 0}, {"prepend": 3}),
    ("client", {"as_override": True}, {"as_override": False}),
    ("client", {"next_hop": "auto"}, {"next_hop": "keep"}),
    ("client", {"peer_asn": 1}, {"peer_asn": 2}),
    ("client", {"add_path_limit": 1}, {"add_path_limit": 2}),
    ("client", {"filters": ()}, {"filters": filters("importV4", REJECT)}),
    ("client", {"filters": ()}, {"filters": filters("exportV4", REJECT | {"peerType": "eBGP"})}),
    ("client", {"family": IPV6_UNICAST}, {"family": IPV6_UNICAST, "extended_next_hop": True}),
    ("client", {"next_hop": "self"}, {"next_hop": "self", "extended_next_hop": True}),
    ("ebgp", {"peer_asn": 1}, {"peer_asn": 2}),
    ("ebgp", {"cluster_id": CLUSTER}, {"cluster_id": ROUTER}),
    ("ebgp", {"next_hop": "auto"}, {"next_hop": "self"}),
    ("ebgp", {"family": FAMILY_BY_NAME["ipv4-vpn"]}, {"family": FAMILY_BY_NAME["ipv4-vpn"], "next_hop_self": None}),
]
OTHER_GROUP: list[tuple[Kind, dict[str, Any], dict[str, Any]]] = [
    ("client", {"extended_next_hop": True}, {}),
    ("client", {"long_lived": True}, {}),
    ("client", {"max_length": 65535}, {}),
    ("client", {"four_octet": False}, {}),
    ("client", {"add_path": True}, {}),
    ("client", {"add_path": True, "add_path_limit": 2}, {"add_path": True}),
    ("client", {"filters": filters("exportV4", REJECT)}, {}),
    ("client", {"next_hop": "self"}, {}),
    ("client", {"next_hop": "self", "next_hop_self": SELF}, {"next_hop": "self", "next_hop_self": NEXT_HOP}),
    ("ebgp", {"as_override": True, "peer_asn": 1}, {"as_override": True, "peer_asn": 2}),
    ("ebgp", {"prepend": 1}, {}),
    ("ebgp", {"local_asn": 1}, {}),
]


@pytest.mark.parametrize(("kind", "one", "other"), SAME_GROUP)
def test_peers_that_are_told_the_same_are_in_one_group(kind: Kind, one: dict[str, Any], other: dict[str, Any]) -> None:
    assert terms(kind, **one) == terms(kind, **other)
    assert hash(terms(kind, **one)) == hash(terms(kind, **other))


@pytest.mark.parametrize(("kind", "one", "other"), OTHER_GROUP)
def test_others_are_not(kind: Kind, one: dict[str, Any], other: dict[str, Any]) -> None:
    assert terms(kind, **one) != terms(kind, **other)


def test_memory_ends_with_the_route() -> None:
    changes = filters("exportV4", ACCEPT | {"operations": [{"setMED": {"value": 5}}]})
    policies = [ExportPolicy(terms(kind, filters=some)) for kind in KINDS for some in ((), changes)]
    one = block(PEER, local_pref=100)
    path = route(one)
    for policy in policies:
        assert policy.attributes(path) is not None
    left: list[weakref.ref[Any]] = [weakref.ref(one), weakref.ref(path)]
    del one, path
    gc.collect()
    assert [ref() for ref in left] == [None, None]
