"""What is told about sessions beside their state: missing filters, limits, next hops, gateways."""

from __future__ import annotations

from typing import Any

import pytest

from bgp_speaker.kernel_route import KernelRoute, Nexthop
from bgp_speaker.node_policy import NodePolicy
from bgp_speaker.peer_routes import peer_routes
from bgp_speaker.prefix_limits import LimitWatch, Usage, usages
from bgp_speaker.session_notes import session_notes
from peering.prefixes import Address, pack_address, pack_prefix
from peering.resources.bgp_filter import BGPFilterSpec
from peering.session import Session, SpeakerPlan

PEER = "10.1.0.2"


def session(name: str = "tor", **changes: Any) -> Session:
    fields: dict[str, Any] = {
        "name": name,
        "peer": "switch/tor",
        "source": "Rack/r",
        "type": "ebgp",
        "local_address": "10.1.0.1",
        "local_asn": 65101,
        "peer_address": PEER,
        "peer_asn": 65011,
    }
    return Session(**{**fields, **changes})


def notes(one: Session, *found: Usage, filters: tuple[str, ...] = ()) -> dict[str, str]:
    plan = SpeakerPlan(asn=65101, router_id="10.0.11.1", sessions=(one,), loopbacks=("10.0.11.1",))
    return session_notes(plan, NodePolicy(filters={name: BGPFilterSpec() for name in filters}), found)


def usage(count: int, limit: int = 10, name: str = "tor") -> Usage:
    return Usage(name, pack_address(PEER), "ipv4-unicast", count, limit)


def test_a_session_with_all_it_needs_has_no_note() -> None:
    assert notes(session(import_filters=("a",), export_filters=("b",)), usage(10), filters=("a", "b")) == {}


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"import_filters": ("a", "b")}, "BGPFilter/b is missing: nothing is accepted"),
        ({"export_filters": ("b", "c")}, "BGPFilter/b, BGPFilter/c are missing: nothing is announced"),
        (
            {"import_filters": ("b",), "export_filters": ("b",)},
            "BGPFilter/b is missing: nothing is accepted; BGPFilter/b is missing: nothing is announced",
        ),
        (
            {"families": ("ipv4-unicast", "ipv6-unicast")},
            "no address as next hop of ipv6-unicast routes: none is announced",
        ),
    ],
)
def test_what_is_missing_is_told(changes: dict[str, Any], note: str) -> None:
    assert notes(session(**changes), filters=("a",)) == {"tor": note}


def test_a_session_over_its_limit_is_told() -> None:
    expected = {"tor": "11 of 10 ipv4-unicast prefixes (maxPrefixes), none is used"}
    assert notes(session(), usage(11), usage(99, name="other")) == expected


def test_the_families_of_sessions_with_a_limit_are_counted() -> None:
    told = {(pack_address(PEER), False): 5, (pack_address(PEER), True): 7}
    one = session(max_prefixes=6, families=("ipv4-unicast", "ipv6-unicast"))
    found = list(usages([one, session("free", peer_address="10.1.0.3")], lambda peer, six: told[peer, six]))
    assert [(u.session, u.family, u.count, u.limit, u.over) for u in found] == [
        ("tor", "ipv4-unicast", 5, 6, False),
        ("tor", "ipv6-unicast", 7, 6, True),
    ]


@pytest.mark.parametrize(
    ("count", "near", "over"), [(7, False, False), (8, True, False), (10, True, False), (11, True, True)]
)
def test_it_warns_at_80_per_cent(count: int, near: bool, over: bool) -> None:
    assert (usage(count).near, usage(count).over) == (near, over)


def test_what_comes_near_a_limit_and_what_goes_over_it_is_news_once() -> None:
    watch = LimitWatch()
    assert watch.news([usage(7)]) == []
    assert watch.news([usage(8)]) == ["tor: 8 of 10 ipv4-unicast prefixes (maxPrefixes)"]
    assert watch.news([usage(9)]) == []
    assert watch.news([usage(12)]) == ["tor: 12 of 10 ipv4-unicast prefixes (maxPrefixes), none is used"]
    assert watch.news([usage(13)]) == []
    assert watch.news([usage(3)]) == []
    assert len(watch.news([usage(8)])) == 1


def test_a_host_route_for_each_peer_behind_a_gateway_that_is_on_a_link() -> None:
    def connected(gateway: Address) -> int | None:
        return {"10.1.0.9": 4, "fd00::9": 5}.get("fd00::9" if len(gateway) > 4 else ".".join(map(str, gateway)))

    sessions = [
        session(reachable_by="10.1.0.9"),
        session("six", peer_address="fd00:1::2", reachable_by="fd00::9"),
        session("lost", peer_address="10.1.0.5", reachable_by="10.8.0.1"),
        session("direct", peer_address="10.1.0.6"),
    ]
    routes, unreached = peer_routes(sessions, connected)
    assert routes == {
        pack_prefix(f"{PEER}/32"): KernelRoute((Nexthop(pack_address("10.1.0.9"), 4),)),
        pack_prefix("fd00:1::2/128"): KernelRoute((Nexthop(pack_address("fd00::9"), 5),)),
    }
    assert unreached == {"lost": "reachableBy 10.8.0.1 is on no link that is up"}
