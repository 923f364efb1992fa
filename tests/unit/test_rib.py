"""The speaker's RIB: import policy, selection, next hops, and graceful restart, fed with events."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from bgp_speaker.exabgp_attributes import Attributes
from bgp_speaker.exabgp_events import (
    EndOfRib,
    GracefulRestart,
    PeerOpen,
    PeerState,
    RouteRefresh,
    Update,
)
from bgp_speaker.import_policy import ImportPolicy
from bgp_speaker.initial_sync import InitialSync
from bgp_speaker.kernel_route import BLACKHOLE, KernelRoute, Nexthop
from bgp_speaker.rib import Rib
from peering.prefixes import Address, Prefix, format_prefix, pack_address, pack_prefix
from peering.resources.bgp_filter import BGPFilterSpec
from peering.session import PrefixRule, Session

TOR_A, TOR_B = "10.1.1.0", "10.1.2.0"
LINKS = {TOR_A: 2, TOR_B: 3}
EVERYTHING = (PrefixRule("0.0.0.0/0", 0, 32), PrefixRule("::/0", 0, 128))


def session(peer: str, **fields: object) -> Session:
    given = {
        "name": peer, "peer": "switch/tor", "source": "Rack/r", "type": "ebgp", "local_address": "10.1.1.1",
        "local_asn": 65101, "peer_address": peer, "peer_asn": 65011, "graceful_restart_time": 30,
    }  # fmt: skip
    return Session(**(given | fields))  # type: ignore[arg-type]


def make_rib(policy: ImportPolicy | None = None, *sessions: Session) -> Rib:
    rib = Rib()
    accept_all = ImportPolicy(own_asn=65101, accept=EVERYTHING)
    rib.configure(sessions or (session(TOR_A), session(TOR_B)), policy or accept_all, "10.0.11.1")
    return rib


def announce(
    rib: Rib, peer: str, prefixes: Iterable[str], next_hop: str = "", path_id: int = 0, **attributes: object
) -> None:
    attributes.setdefault("as_path", (65011,))
    path = attributes["as_path"]
    assert isinstance(path, tuple)
    told = Attributes(**{"as_path_length": len(path), **attributes})  # type: ignore[arg-type]
    hop = pack_address(next_hop or peer)
    family = "ipv6-unicast" if ":" in next(iter(prefixes)) else "ipv4-unicast"
    rib.handle(Update(peer, "", told, tuple((family, pack_prefix(p), hop, path_id) for p in prefixes), ()), 0)  # type: ignore[misc]


def connected(gateway: Address) -> int | None:
    return {pack_address(a): i for a, i in LINKS.items()}.get(gateway)


def routes(rib: Rib) -> dict[str, list[int]]:
    """Prefix -> interfaces of its next hops."""
    found = rib.routes(connected, [])
    return {format_prefix(p): [h.ifindex for h in r.nexthops] for p, r in found.items()}


def open_of(peer: str, restart: GracefulRestart | None) -> PeerOpen:
    return PeerOpen(peer, 65011, 9, "10.0.1.1", ("ipv4-unicast",), restart, True, True)


FORWARDING = GracefulRestart(120, False, ("ipv4-unicast",))


def test_the_same_prefix_from_both_tors_has_two_next_hops() -> None:
    rib = make_rib()
    announce(rib, TOR_A, ["0.0.0.0/0"], as_path=(65011, 65000))
    announce(rib, TOR_B, ["0.0.0.0/0"], as_path=(65012, 65000))
    assert routes(rib) == {"0.0.0.0/0": [2, 3]}


def test_a_withdrawn_path_leaves_the_other_next_hop() -> None:
    rib = make_rib()
    for peer in (TOR_A, TOR_B):
        announce(rib, peer, ["10.9.0.0/24"])
    rib.handle(Update(TOR_A, "", None, (), (("ipv4-unicast", pack_prefix("10.9.0.0/24"), 0),)), 0)
    assert routes(rib) == {"10.9.0.0/24": [3]}


def test_a_longer_as_path_is_no_second_next_hop() -> None:
    rib = make_rib()
    announce(rib, TOR_A, ["10.9.0.0/24"], as_path=(65011,))
    announce(rib, TOR_B, ["10.9.0.0/24"], as_path=(65012, 65000, 65011))
    assert routes(rib) == {"10.9.0.0/24": [2]}


REFUSED = [
    ("own AS in path", "10.244.9.0/26", {"as_path": (65011, 65101)}),
    ("own block", "10.244.0.0/26", {}),
    ("inside own block", "10.244.0.5/32", {}),
    ("own loopback", "10.0.11.1/32", {}),
    ("uplink subnet", "10.1.1.0/31", {}),
    ("inside uplink subnet", "10.1.1.1/32", {}),
    ("link-local", "169.254.1.0/24", {}),
    ("loopback", "127.0.0.0/8", {}),
    ("multicast", "224.0.0.0/4", {}),
    ("not accepted", "192.0.2.0/24", {}),
    ("shorter than accepted", "10.0.0.0/8", {}),
    ("longer than accepted", "10.244.9.128/27", {}),
    ("IPv6 link-local", "fe80::/64", {}),
]


@pytest.mark.parametrize(("why", "prefix", "attributes"), REFUSED, ids=[case[0] for case in REFUSED])
def test_what_must_never_be_learned_is_refused(why: str, prefix: str, attributes: dict[str, object]) -> None:
    policy = ImportPolicy(
        own_asn=65101,
        accept=(PrefixRule("0.0.0.0/0", 0, 0), PrefixRule("10.244.0.0/16", 16, 26)),
        own_blocks=["10.244.0.0/26"],
        loopbacks=["10.0.11.1"],
        uplink_subnets=["10.1.1.0/31"],
    )
    rib = make_rib(policy)
    announce(rib, TOR_A, [prefix], "", 0, **attributes)
    announce(rib, TOR_A, ["10.244.1.0/26"])
    assert routes(rib) == {"10.244.1.0/26": [2]}
    assert rib.refused() == {pack_address(TOR_A): 1}


def test_inside_own_blocks_only_the_addresses_that_others_borrowed_are_learned() -> None:
    lent = ["10.244.0.5/32", "10.244.0.7/32", "fd00:244::5/128"]
    blocks = ["10.244.0.0/26", "fd00:244::/122"]
    accept = (PrefixRule("10.244.0.0/16", 16, 32), PrefixRule("fd00:244::/32", 32, 128))
    rib = make_rib(ImportPolicy(own_asn=65101, accept=accept, own_blocks=blocks, lent=lent))
    beside = ["10.244.0.0/26", "10.244.0.4/31", "10.244.0.6/32"]
    announce(rib, TOR_A, ["10.244.0.5/32", *beside])
    assert routes(rib) == {"10.244.0.5/32": [2]}
    assert {rib.why_refused(one)[TOR_A] for one in beside} == {"own block"}
    announce(rib, TOR_B, ["10.244.0.7/32", "10.244.9.7/32"], as_path=(65011, 65101))
    assert routes(rib) == {"10.244.0.5/32": [2], "10.244.0.7/32": [3]}, "a node of the same rack may have borrowed it"
    learned = ImportPolicy(own_asn=65101, accept=accept, own_blocks=blocks, lent=lent)
    assert [learned.refuses(pack_prefix(f"fd00:244::{i}/128")) for i in (5, 6)] == ["", "own block"]
    loopback = ImportPolicy(own_asn=65101, accept=accept, own_blocks=blocks, lent=lent, loopbacks=["10.244.0.5"])
    assert loopback.refuses(pack_prefix("10.244.0.5/32")) == "own address"


def test_allow_as_in_lets_the_own_as_in_once() -> None:
    rib = make_rib(None, session(TOR_A, allow_as_in=1))
    announce(rib, TOR_A, ["10.9.0.0/24"], as_path=(65011, 65101))
    announce(rib, TOR_A, ["10.9.1.0/24"], as_path=(65011, 65101, 65101))
    assert routes(rib) == {"10.9.0.0/24": [2]}


def test_a_local_as_counts_as_our_own_beside_the_one_it_hides() -> None:
    rib = make_rib(None, session(TOR_A, local_asn=65500))
    announce(rib, TOR_A, ["10.9.0.0/24"], as_path=(65011, 65500))
    announce(rib, TOR_A, ["10.9.1.0/24"], as_path=(65011, 65101))
    announce(rib, TOR_A, ["10.9.2.0/24"], as_path=(65011, 65102))
    assert routes(rib) == {"10.9.2.0/24": [2]}


@pytest.mark.parametrize("next_hop", ["10.0.11.1", "10.1.1.1"])
def test_a_next_hop_that_is_our_own_address_is_refused(next_hop: str) -> None:
    policy = ImportPolicy(own_asn=65101, accept=EVERYTHING, loopbacks=["10.0.11.1"], addresses=["10.1.1.1"])
    rib = make_rib(policy)
    announce(rib, TOR_A, ["0.0.0.0/0"])
    announce(rib, TOR_A, ["10.9.0.0/24"], next_hop=next_hop)
    assert routes(rib) == {"0.0.0.0/0": [2]}
    assert rib.refused() == {pack_address(TOR_A): 1}


def with_filters(rules: list[dict[str, object]], **sessions: object) -> Rib:
    """A RIB whose session with TOR_A has a filter with these rules for imports."""
    rib = Rib()
    reconfigure(rib, rules, **sessions)
    return rib


PODS_ONLY = (PrefixRule("10.244.0.0/16", 16, 26),)


def reconfigure(rib: Rib, rules: list[dict[str, object]] | None, **fields: object) -> None:
    """With None the filter does not exist."""
    filters = {} if rules is None else {"mine": BGPFilterSpec.model_validate({"importV4": rules})}
    policy = ImportPolicy(own_asn=65101, accept=PODS_ONLY, own_blocks=["10.244.0.0/26"], loopbacks=["10.0.11.1"])
    sessions = (session(TOR_A, **{"import_filters": ("mine",), **fields}), session(TOR_B))
    rib.configure(sessions, policy, "10.0.11.1", filters)


ACCEPT: dict[str, object] = {"action": "Accept"}
REJECT: dict[str, object] = {"action": "Reject"}


def test_a_rejecting_rule_refuses_and_the_refusal_names_it() -> None:
    rib = with_filters([{**REJECT, "cidr": "10.244.1.0/26", "matchOperator": "Equal"}])
    announce(rib, TOR_A, ["10.244.1.0/26", "10.244.2.0/26"])
    announce(rib, TOR_B, ["10.244.1.0/26"])
    assert routes(rib) == {"10.244.1.0/26": [3], "10.244.2.0/26": [2]}
    assert rib.why_refused("10.244.1.0/26") == {TOR_A: "BGPFilter/mine spec.importV4[0]"}


def test_an_accepting_rule_lets_in_what_is_not_in_the_import_policy_and_nothing_that_is_our_own() -> None:
    rib = with_filters([ACCEPT])
    ours = ["10.244.0.0/26", "10.244.0.7/32", "10.0.11.1/32", "169.254.0.0/16"]
    announce(rib, TOR_A, ["192.0.2.0/24", *ours])
    announce(rib, TOR_A, ["198.51.100.0/24"], as_path=(65011, 65101))
    announce(rib, TOR_B, ["203.0.113.0/24"])
    assert routes(rib) == {"192.0.2.0/24": [2]}
    assert rib.refused() == {pack_address(TOR_A): 5, pack_address(TOR_B): 1}


def test_where_no_rule_matches_the_import_policy_decides() -> None:
    rib = with_filters([{**REJECT, "peerType": "iBGP"}, {**REJECT, "asPathPrefix": [65099]}])
    announce(rib, TOR_A, ["10.244.1.0/26", "192.0.2.0/24"])
    assert routes(rib) == {"10.244.1.0/26": [2]}


@pytest.mark.parametrize(
    ("operation", "winner"),
    [
        ({"setLocalPreference": {"value": 200}}, 2),
        ({"setLocalPreference": {"value": 50}}, 3),
        ({"setPriority": {"value": 2147483647 - 50}}, 3),
        ({"prependASPath": {"prefix": [65011]}}, 3),
        ({"setMED": {"value": 9}}, 3),
    ],
)
def test_what_a_rule_changes_counts_in_best_path_selection(operation: dict[str, object], winner: int) -> None:
    rib = with_filters([{**ACCEPT, "operations": [operation]}])
    for peer in (TOR_A, TOR_B):
        announce(rib, peer, ["10.244.1.0/26"], med=5)
    assert routes(rib) == {"10.244.1.0/26": [winner]}


def test_rules_see_communities_local_preference_and_the_interface_of_the_next_hop() -> None:
    rib = with_filters(
        [
            {**REJECT, "communities": {"values": ["65000:1"]}},
            {**REJECT, "communities": {"values": ["65000:1:2"]}},
            {**REJECT, "priority": 2147483647 - 77},
            {**REJECT, "interface": "eth2"},
        ]
    )
    announce(rib, TOR_A, ["10.244.1.0/26"], communities=((65000, 1),))
    announce(rib, TOR_A, ["10.244.2.0/26"], large_communities=((65000, 1, 2),))
    announce(rib, TOR_A, ["10.244.3.0/26"], local_preference=77)
    announce(rib, TOR_A, ["10.244.4.0/26"], next_hop="10.1.2.9")
    announce(rib, TOR_A, ["10.244.5.0/26"])
    on = {pack_address(TOR_A): "eth1", pack_address("10.1.2.9"): "eth2"}
    found = rib.routes(lambda gateway: 2 if gateway in on else None, [], on.get)
    assert {format_prefix(p) for p in found} == {"10.244.5.0/26"}
    on[pack_address(TOR_A)] = "eth2"
    assert rib.routes(lambda gateway: 2 if gateway in on else None, [], on.get) == {}


def test_a_filter_that_changes_is_applied_to_what_was_learned_before() -> None:
    rib = with_filters([REJECT])
    announce(rib, TOR_A, ["10.244.1.0/26", "192.0.2.0/24"])
    assert routes(rib) == {}
    reconfigure(rib, [ACCEPT])
    assert set(routes(rib)) == {"10.244.1.0/26", "192.0.2.0/24"}
    reconfigure(rib, [])
    assert set(routes(rib)) == {"10.244.1.0/26"}


def test_without_its_filter_a_session_accepts_nothing_and_the_others_do() -> None:
    rib = with_filters([])
    for peer in (TOR_A, TOR_B):
        announce(rib, peer, ["10.244.1.0/26"])
    reconfigure(rib, None)
    assert routes(rib) == {"10.244.1.0/26": [3]}
    assert rib.why_refused("10.244.1.0/26") == {TOR_A: "BGPFilter/mine is missing"}
    reconfigure(rib, [ACCEPT], import_filters=("mine", "gone"))
    assert routes(rib) == {"10.244.1.0/26": [3]}
    assert rib.why_refused("10.244.1.0/26") == {TOR_A: "BGPFilter/gone is missing"}


def test_additional_paths_of_one_peer_are_kept_apart() -> None:
    rib = make_rib()
    rib.routes(connected, [])
    announce(rib, TOR_A, ["10.9.0.0/24"], path_id=1)
    announce(rib, TOR_A, ["10.9.0.0/24"], TOR_B, path_id=2)
    assert routes(rib) == {"10.9.0.0/24": [2, 3]}
    assert rib.received(TOR_A) == 2
    announce(rib, TOR_A, ["10.9.0.0/24"], TOR_B, path_id=1)
    assert routes(rib) == {"10.9.0.0/24": [3]}
    withdrawn = (("ipv4-unicast", pack_prefix("10.9.0.0/24"), 1),)
    rib.handle(Update(TOR_A, "", None, (), withdrawn), 0)  # type: ignore[arg-type]
    assert (routes(rib), rib.received(TOR_A)) == ({"10.9.0.0/24": [3]}, 1)


def test_after_a_refresh_the_path_that_was_not_sent_again_goes_and_the_other_stays() -> None:
    rib = make_rib()
    announce(rib, TOR_A, ["10.9.0.0/24"], path_id=1)
    announce(rib, TOR_A, ["10.9.0.0/24"], TOR_B, path_id=2)
    rib.handle(RouteRefresh(TOR_A, "ipv4-unicast", "begin"), 1)
    announce(rib, TOR_A, ["10.9.0.0/24"], TOR_B, path_id=2)
    rib.handle(RouteRefresh(TOR_A, "ipv4-unicast", "end"), 2)
    assert routes(rib) == {"10.9.0.0/24": [3]}


def test_over_its_limit_nothing_of_a_family_is_used_until_enough_is_withdrawn() -> None:
    rib = make_rib(None, session(TOR_A, max_prefixes=2, families=("ipv4-unicast", "ipv6-unicast")), session(TOR_B))
    announce(rib, TOR_A, ["10.9.0.0/24", "10.9.1.0/24"])
    announce(rib, TOR_A, ["fd00:9::/64"], TOR_A)
    announce(rib, TOR_B, ["10.9.0.0/24"])
    assert [(u.family, u.count, u.over, u.near) for u in rib.usages()] == [
        ("ipv4-unicast", 2, False, True),
        ("ipv6-unicast", 1, False, False),
    ]
    assert set(routes(rib)) == {"10.9.0.0/24", "10.9.1.0/24"}
    announce(rib, TOR_A, ["10.9.2.0/24"])
    assert routes(rib) == {"10.9.0.0/24": [3]}
    assert rib.refused() == {pack_address(TOR_A): 3}
    assert rib.why_refused("10.9.2.0/24") == {TOR_A: "over maxPrefixes"}
    withdrawn = (("ipv4-unicast", pack_prefix("10.9.1.0/24"), 0),)
    rib.handle(Update(TOR_A, "", None, (), withdrawn), 0)  # type: ignore[arg-type]
    assert routes(rib) == {"10.9.0.0/24": [2, 3], "10.9.2.0/24": [2]}


def test_the_limit_counts_what_the_filters_refuse() -> None:
    rib = with_filters([REJECT], max_prefixes=2)
    announce(rib, TOR_A, ["10.244.1.0/26", "10.244.2.0/26", "10.244.3.0/26"])
    assert [u.over for u in rib.usages()] == [True]


def test_our_own_route_reflected_back_is_ignored() -> None:
    rib = make_rib(None, session(TOR_A, type="ibgp"))
    announce(rib, TOR_A, ["10.9.0.0/24"], as_path=(), originator_id="10.0.11.1")
    announce(rib, TOR_A, ["10.9.1.0/24"], as_path=(), originator_id="10.0.11.2")
    assert routes(rib) == {"10.9.1.0/24": [2]}


def test_of_a_global_and_a_link_local_next_hop_the_global_one_counts() -> None:
    tor, prefix = "fd00:1:1::", pack_prefix("fd00:9::/64")
    hops = (pack_address(tor), pack_address("fe80::1"))
    for order in (hops, hops[::-1]):
        rib = make_rib(None, session(tor, families=("ipv6-unicast",)))
        announced = tuple(("ipv6-unicast", prefix, hop, 0) for hop in order)
        rib.handle(Update(tor, "", Attributes(as_path=(65011,)), announced, ()), 0)  # type: ignore[arg-type]
        found = rib.routes(lambda gateway: 2 if gateway == hops[0] else None, [])
        assert found == {prefix: KernelRoute((Nexthop(hops[0], 2),))}


def test_a_next_hop_behind_the_fabric_is_resolved_once_more() -> None:
    rib = make_rib()
    announce(rib, TOR_A, ["0.0.0.0/0"])
    announce(rib, TOR_B, ["0.0.0.0/0"])
    announce(rib, TOR_A, ["10.244.7.0/26"], next_hop="10.0.12.1")
    assert routes(rib)["10.244.7.0/26"] == [2, 3]


def test_a_next_hop_that_leads_nowhere_gives_no_route() -> None:
    rib = make_rib()
    announce(rib, TOR_A, ["10.244.7.0/26"], next_hop="10.0.12.1")
    assert routes(rib) == {}


def test_a_next_hop_that_the_plan_says_how_to_reach_needs_no_route() -> None:
    rib = make_rib(None, session("10.66.0.1", reachable_by=TOR_B), session(TOR_A))
    announce(rib, "10.66.0.1", ["10.9.0.0/24"], next_hop="10.66.0.1")
    assert routes(rib) == {"10.9.0.0/24": [3]}


def test_the_better_path_gives_way_when_its_next_hop_leads_nowhere() -> None:
    rib = make_rib(None, session(TOR_A), session("10.0.12.1", type="ibgp"))
    announce(rib, TOR_A, ["10.244.7.0/26"], as_path=(65011, 65000, 65012))
    announce(rib, "10.0.12.1", ["10.244.7.0/26"], as_path=())
    assert routes(rib) == {"10.244.7.0/26": [2]}
    announce(rib, TOR_A, ["0.0.0.0/0"])
    announce(rib, TOR_B, ["10.244.7.0/26"])
    assert routes(rib)["10.244.7.0/26"] == [2]


def test_a_route_to_its_own_next_hop_leads_nowhere_and_hides_no_other() -> None:
    """A node's address, announced by itself over iBGP and by the switch: the shorter path is the useless one."""
    peer = "10.0.12.1"
    rib = make_rib(None, session(TOR_A), session(peer, type="ibgp"))
    announce(rib, peer, [f"{peer}/32", "10.244.7.0/26"], as_path=())
    assert routes(rib) == {}
    announce(rib, TOR_A, [f"{peer}/32"], as_path=(65011, 65000, 65012))
    assert routes(rib) == {f"{peer}/32": [2], "10.244.7.0/26": [2]}


def test_next_hops_that_lead_over_each_other_lead_nowhere() -> None:
    rib = make_rib()
    announce(rib, TOR_A, ["10.3.0.0/16"], next_hop="10.4.0.1")
    announce(rib, TOR_A, ["10.4.0.0/16"], next_hop="10.3.0.1")
    assert routes(rib) == {}


def test_a_next_hop_behind_a_next_hop_is_followed() -> None:
    rib = make_rib()
    announce(rib, TOR_A, ["10.3.0.0/16"], next_hop="10.4.0.1")
    announce(rib, TOR_A, ["10.4.0.0/16"], next_hop="10.5.0.1")
    announce(rib, TOR_B, ["10.5.0.0/16"])
    assert routes(rib) == {"10.3.0.0/16": [3], "10.4.0.0/16": [3], "10.5.0.0/16": [3]}


def test_there_is_no_ipv6_over_an_ipv4_gateway() -> None:
    rib = make_rib()
    announce(rib, TOR_A, ["fd00:9::/64"], next_hop=TOR_A)
    assert routes(rib) == {}


def test_the_preferred_source_is_of_the_routes_family() -> None:
    rib = make_rib()
    announce(rib, TOR_A, ["10.9.0.0/24"])
    source = pack_address("10.0.11.1")
    found = rib.routes(connected, [source, pack_address("fd00::1")])
    assert found == {pack_prefix("10.9.0.0/24"): KernelRoute((Nexthop(pack_address(TOR_A), 2),), source)}


def test_a_session_that_ends_by_the_hold_timer_takes_its_paths_at_once() -> None:
    rib = make_rib()
    rib.handle(open_of(TOR_A, FORWARDING), 0)
    announce(rib, TOR_A, ["10.9.0.0/24"])
    rib.handle(PeerState(TOR_A, "down", "notification sent (4,0)"), 1)
    assert routes(rib) == {}


def test_a_peer_without_graceful_restart_takes_its_paths_at_once() -> None:
    rib = make_rib()
    rib.handle(open_of(TOR_A, None), 0)
    announce(rib, TOR_A, ["10.9.0.0/24"])
    rib.handle(PeerState(TOR_A, "down", "closing connection"), 1)
    assert routes(rib) == {}


def restarted(rib: Rib) -> None:
    """TOR_A restarts gracefully at time 1, having announced .0 and .1; it tells of .0 again."""
    rib.handle(open_of(TOR_A, FORWARDING), 0)
    announce(rib, TOR_A, ["10.9.0.0/24", "10.9.1.0/24"])
    rib.handle(PeerState(TOR_A, "down", "closing connection"), 1)
    rib.handle(open_of(TOR_A, GracefulRestart(120, True, ("ipv4-unicast",))), 2)
    rib.handle(PeerState(TOR_A, "up"), 2)
    announce(rib, TOR_A, ["10.9.0.0/24"])


def test_a_gracefully_restarting_peer_keeps_its_paths_until_its_end_of_rib() -> None:
    rib = make_rib()
    restarted(rib)
    assert set(routes(rib)) == {"10.9.0.0/24", "10.9.1.0/24"}
    rib.handle(EndOfRib(TOR_A, "ipv4-unicast"), 3)
    assert set(routes(rib)) == {"10.9.0.0/24"}


def test_stale_paths_go_when_the_restart_time_is_over() -> None:
    rib = make_rib()
    restarted(rib)
    assert rib.next_deadline() == 121
    assert not rib.expire(120)
    assert rib.expire(121)
    assert set(routes(rib)) == {"10.9.0.0/24"}
    assert rib.next_deadline() is None


def test_a_peer_that_restarted_without_its_forwarding_state_loses_its_stale_paths() -> None:
    rib = make_rib()
    rib.handle(open_of(TOR_A, FORWARDING), 0)
    announce(rib, TOR_A, ["10.9.0.0/24"])
    rib.handle(PeerState(TOR_A, "down", "closing connection"), 1)
    rib.handle(open_of(TOR_A, GracefulRestart(120, True, ())), 2)
    rib.handle(PeerState(TOR_A, "up"), 2)
    assert routes(rib) == {}


def test_the_death_of_exabgp_changes_nothing_until_our_restart_time_is_over() -> None:
    rib = make_rib()
    announce(rib, TOR_A, ["10.9.0.0/24"])
    rib.exabgp_died(10)
    assert set(routes(rib)) == {"10.9.0.0/24"}
    assert rib.next_deadline() == 40
    rib.expire(40)
    assert routes(rib) == {}


def test_after_our_restart_a_peer_that_says_it_has_restarted_too_is_not_believed_to_have_lost_its_state() -> None:
    rib = make_rib()
    announce(rib, TOR_A, ["10.9.0.0/24"])
    rib.exabgp_died(10)
    rib.handle(open_of(TOR_A, GracefulRestart(120, True, ())), 11)
    rib.handle(PeerState(TOR_A, "up"), 11)
    assert set(routes(rib)) == {"10.9.0.0/24"}


def test_after_our_restart_a_peer_that_tells_everything_again_loses_only_what_it_left_out() -> None:
    rib = make_rib()
    announce(rib, TOR_A, ["10.9.0.0/24", "10.9.1.0/24"])
    rib.exabgp_died(10)
    rib.handle(open_of(TOR_A, GracefulRestart(120, False, ())), 11)
    rib.handle(PeerState(TOR_A, "up"), 11)
    announce(rib, TOR_A, ["10.9.0.0/24"])
    assert set(routes(rib)) == {"10.9.0.0/24", "10.9.1.0/24"}
    rib.handle(EndOfRib(TOR_A, "ipv4-unicast"), 12)
    assert set(routes(rib)) == {"10.9.0.0/24"}


def test_an_attempt_that_fails_while_a_session_is_down_takes_no_stale_paths() -> None:
    rib = make_rib()
    rib.handle(open_of(TOR_A, FORWARDING), 0)
    announce(rib, TOR_A, ["10.9.0.0/24"])
    rib.handle(PeerState(TOR_A, "down", "closing connection"), 1)
    rib.handle(PeerState(TOR_A, "down", "closing outgoing connection as we have another incoming"), 2)
    rib.handle(open_of(TOR_A, GracefulRestart(120, True, ("ipv4-unicast",))), 3)
    rib.handle(PeerState(TOR_A, "down", "closing connection"), 4)
    assert set(routes(rib)) == {"10.9.0.0/24"}
    assert rib.next_deadline() == 121
    rib.handle(open_of(TOR_A, FORWARDING), 5)
    rib.handle(PeerState(TOR_A, "up"), 5)
    rib.handle(PeerState(TOR_A, "down", "notification sent (4,0)"), 6)
    assert routes(rib) == {}


def test_an_attempt_that_fails_after_the_death_of_exabgp_takes_no_paths() -> None:
    rib = make_rib()
    rib.handle(open_of(TOR_A, None), 0)
    announce(rib, TOR_A, ["10.9.0.0/24"])
    rib.exabgp_died(10)
    rib.handle(PeerState(TOR_A, "down", "closing connection"), 11)
    assert set(routes(rib)) == {"10.9.0.0/24"}


def test_a_session_whose_end_was_missed_loses_its_paths_when_it_is_found_down() -> None:
    rib = make_rib()
    for peer in (TOR_A, TOR_B):
        announce(rib, peer, ["10.9.0.0/24"])
    rib.known([TOR_B], 1)
    assert routes(rib) == {"10.9.0.0/24": [3]}
    rib.exabgp_died(2)
    rib.known([TOR_B], 3)
    rib.handle(PeerState(TOR_B, "down", "closing connection"), 4)
    assert routes(rib) == {}


def test_a_refresh_sweeps_what_was_not_sent_again() -> None:
    rib = make_rib()
    announce(rib, TOR_A, ["10.9.0.0/24", "10.9.1.0/24"])
    rib.handle(RouteRefresh(TOR_A, "ipv4-unicast", "begin"), 1)
    announce(rib, TOR_A, ["10.9.1.0/24"])
    rib.handle(RouteRefresh(TOR_A, "ipv4-unicast", "end"), 2)
    assert set(routes(rib)) == {"10.9.1.0/24"}


def test_a_peer_that_left_the_plan_takes_its_paths_along() -> None:
    rib = make_rib()
    announce(rib, TOR_A, ["10.9.0.0/24"])
    announce(rib, TOR_B, ["10.9.0.0/24"])
    rib.configure((session(TOR_B),), ImportPolicy(own_asn=65101, accept=EVERYTHING), "10.0.11.1")
    assert routes(rib) == {"10.9.0.0/24": [3]}


def test_a_new_policy_is_applied_to_what_was_learned_before() -> None:
    rib = make_rib()
    announce(rib, TOR_A, ["10.9.0.0/24", "10.244.1.0/26"])
    only_pods = ImportPolicy(own_asn=65101, accept=(PrefixRule("10.244.0.0/16", 16, 26),))
    rib.configure((session(TOR_A), session(TOR_B)), only_pods, "10.0.11.1")
    assert set(routes(rib)) == {"10.244.1.0/26"}


def test_updates_of_a_peer_that_is_not_in_the_plan_are_ignored() -> None:
    rib = make_rib()
    announce(rib, "10.66.6.6", ["10.9.0.0/24"], next_hop=TOR_A)
    assert routes(rib) == {}


def packed(table: dict[str, str]) -> dict[Prefix, str]:
    return {pack_prefix(p): v for p, v in table.items()}


def test_initial_sync_holds_old_routes_adds_new_ones_and_ends_with_the_last_peer() -> None:
    sync = InitialSync({(TOR_A, "ipv4-unicast"), (TOR_B, "ipv4-unicast")}, deadline=30)
    old, new = (
        packed({"10.1.0.0/16": "old", "10.2.0.0/16": "old"}),
        packed({"10.2.0.0/16": "new", "10.3.0.0/16": "new"}),
    )
    fixed = {pack_prefix("10.244.0.0/26"): "blackhole"}
    held = packed({"10.1.0.0/16": "old", "10.2.0.0/16": "old", "10.3.0.0/16": "new"})
    assert sync.merge(new, old, fixed) == held | fixed
    assert not sync.finished(TOR_A, "ipv4-unicast")
    assert sync.finished(TOR_B, "ipv4-unicast")
    assert sync.merge(new, old, fixed) == new | fixed


def test_initial_sync_ends_at_its_deadline_once() -> None:
    sync = InitialSync({(TOR_A, "ipv4-unicast")}, deadline=30)
    assert not sync.expire(29)
    assert sync.expire(30)
    assert not sync.expire(31)
    assert sync.deadline is None


def test_blackhole_has_no_next_hop() -> None:
    assert BLACKHOLE.nexthops == ()
