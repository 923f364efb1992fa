"""Pools that are announced whole: by a rack's switches (`aggregate: rack`) or by the nodes (`aggregate: pool`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bgp_speaker.agent import _discarded
from bgp_speaker.announcements import desired_announcements
from bgp_speaker.exabgp_commands import Announcement
from bgp_speaker.node_policy import NodePolicy, PrefixCommunities
from bgp_speaker.node_view import NodeView
from fabric_templates import devices, features
from fabric_templates.devices import Device
from peering.addressing import aggregates_of
from peering.compile import Compiler, plan
from peering.lint.view import View
from peering.memo import Memo
from peering.prefixes import pack_prefix
from peering.resource import Resource
from peering.resources.bgp_filter import BGPFilterSpec
from peering.resources.pools import IPPoolSpec
from peering.session import Plan, PrefixRule, Session, SpeakerPlan, SwitchPlan
from peering.snapshot import Snapshot
from tests.unit.declarations import compiled, configuration, declare, host
from tests.unit.samples import dual_tor
from tests.unit.test_whatif_answers import ALL_WELL, row, statuses, ways_of, whatif

RACK_1, RACK_2, SIX = "10.244.0.0/18", "10.244.64.0/18", "fd00:10:244::/48"


def pool(name: str, cidr: str, **spec: Any) -> Resource:
    return declare("IPPool", name, cidr=cidr, **spec)


def racks(**spec: Any) -> Snapshot:
    """The sample with an IPv4 pool for each rack."""
    own = [
        pool(f"pods-{number}", cidr, nodeSelector=f"rack == 'rack-{number}'", **spec)
        for number, cidr in ((1, RACK_1), (2, RACK_2))
    ]
    return dual_tor().with_changes(own, ("IPPool/pods-v4",))


def reflector_of_a_tor() -> Resource:
    peer = {"name": "tor-1a", "address": "10.0.1.1", "asNumber": 65011}
    return declare("RouteReflector", "rr-1", addresses=["10.0.9.1"], asNumber=65011, fabricPeers=[peer])


def rules(found: tuple[PrefixRule, ...]) -> set[tuple[str, int, int]]:
    """Those for pools and blocks; single addresses that a node has borrowed have a test of their own."""
    return {(r.cidr, r.min_length, r.max_length) for r in found if r.cidr in (RACK_1, RACK_2) and r.min_length < 32}


def whole(switch: SwitchPlan) -> tuple[tuple[str, ...], set[tuple[str, int, int]], set[tuple[str, int, int]]]:
    return switch.aggregates, rules(switch.accept), rules(switch.announce)


# The pool


@pytest.mark.parametrize(
    ("spec", "by"),
    [
        ({}, None),
        ({"aggregate": "block"}, None),
        ({"aggregate": "rack"}, "rack"),
        ({"aggregate": "pool"}, "pool"),
        ({"aggregate": "rack", "disableBGPExport": True}, None),
        ({"aggregate": "pool", "cidr": "10.1.0.0/26"}, None),
        ({"aggregate": "pool", "cidr": "10.1.0.0/25"}, "pool"),
        ({"aggregate": "rack", "cidr": "fd00::/122"}, None),
    ],
)
def test_who_announces_a_pool_whole(spec: dict[str, Any], by: str | None) -> None:
    assert IPPoolSpec.model_validate({"cidr": "10.1.0.0/16", **spec}).aggregated_by == by


def test_a_pool_of_calicos_says_nothing_of_it_and_is_written_back_without_it() -> None:
    assert "aggregate" not in pool("a", RACK_1).to_document()["spec"]
    assert pool("a", RACK_1, aggregate="rack").to_document()["spec"]["aggregate"] == "rack"


def test_pools_in_which_a_block_lies() -> None:
    assert aggregates_of(["10.244.0.0/26", "fd00:10:244::/122"], [RACK_1, RACK_2, SIX]) == (RACK_1, SIX)
    assert aggregates_of(["10.244.128.0/26"], [RACK_1, RACK_2, SIX]) == ()
    assert aggregates_of([], [RACK_1]) == ()


# The plan


def test_a_racks_switches_announce_their_own_pool_in_place_of_its_blocks() -> None:
    switches = plan(racks(aggregate="rack")).switches
    for tor, own in (("tor-1a", RACK_1), ("tor-1b", RACK_1), ("tor-2a", RACK_2), ("tor-2b", RACK_2)):
        assert whole(switches[tor]) == ((own,), {(own, 26, 26)}, {(own, 18, 18)})


def test_a_racks_aggregate_is_nothing_to_its_nodes() -> None:
    assert plan(racks(aggregate="rack")).speakers == plan(racks()).speakers


def test_with_blocks_nothing_is_aggregated() -> None:
    switches = plan(racks()).switches
    assert whole(switches["tor-1a"]) == ((), {(RACK_1, 26, 26)}, {(RACK_1, 26, 26)})
    assert {s.aggregates for s in switches.values()} == {()}
    assert {s.aggregates for s in plan(racks(aggregate="rack", disableBGPExport=True)).switches.values()} == {()}


def test_a_switch_that_hears_reflectors_does_not_announce_blocks_of_another_racks_pool() -> None:
    """It gets the blocks of all nodes from them."""
    tor = plan(racks(aggregate="rack").with_changes([reflector_of_a_tor()])).switches["tor-1a"]
    assert any(session.peer == "reflector/rr-1" for session in tor.sessions)
    assert whole(tor) == ((RACK_1,), {(RACK_1, 26, 26), (RACK_2, 26, 26)}, {(RACK_1, 18, 18)})


@pytest.mark.parametrize(("aggregate", "leaves"), [("block", True), ("rack", False), ("pool", True)])
def test_a_borrowed_address_leaves_the_rack_where_no_switch_stands_for_it(aggregate: str, leaves: bool) -> None:
    tor = plan(racks(aggregate=aggregate)).switches["tor-1a"]
    host_rule = PrefixRule(RACK_1, 32, 32)
    assert (host_rule in tor.accept, host_rule in tor.announce) == (True, leaves)


def test_everybody_takes_the_pool_at_its_own_length() -> None:
    for found in (plan(racks(aggregate="rack")), plan(racks(aggregate="pool"))):
        for speaker in found.speakers.values():
            assert rules(speaker.imports) == {(RACK_1, 18, 26), (RACK_2, 18, 26)}
        for switch in found.switches.values():
            assert rules(switch.send) == {(RACK_1, 18, 26), (RACK_2, 18, 26)}


def test_nodes_are_told_which_pools_to_announce_whole_and_their_switches_accept_them() -> None:
    found = plan(racks(aggregate="pool"))
    assert {speaker.aggregates for speaker in found.speakers.values()} == {(RACK_1, RACK_2)}
    both = {(RACK_1, 18, 18), (RACK_1, 26, 26)}
    assert whole(found.switches["tor-1a"]) == ((), both, both)
    assert {speaker.aggregates for speaker in plan(racks(aggregate="rack")).speakers.values()} == {()}


# The speaker

PEERS = {"switch/tor": "10.1.0.2", "external": "10.1.0.3", "node/node-2": "10.1.0.4", "reflector/rr-1": "10.1.0.5"}
BLOCKS = ("10.244.0.0/26", "10.244.0.64/26", "10.245.0.0/26")


def speaker(**changes: Any) -> SpeakerPlan:
    sessions = tuple(
        Session(
            name=peer,
            peer=peer,
            source="test",
            type="ebgp",
            local_address="10.1.0.1",
            local_asn=65101,
            peer_address=address,
            peer_asn=65011,
        )
        for peer, address in PEERS.items()
    )
    fields = {"sessions": sessions, "loopbacks": ("10.0.11.1",), "aggregates": (RACK_1, RACK_2)}
    return SpeakerPlan(asn=65101, router_id="10.0.11.1", **{**fields, **changes})


def told(blocks: tuple[str, ...], policy: NodePolicy | None = None, **changes: Any) -> dict[str, set[str]]:
    """Peer -> prefixes, but for the loopback."""
    found = desired_announcements(speaker(**changes), blocks, policy or NodePolicy())
    return {peer: set(found[address]) - {"10.0.11.1/32"} for peer, address in PEERS.items()}


def test_switches_and_routers_are_told_the_pool_and_nodes_and_reflectors_its_blocks() -> None:
    outside, among_ours = {RACK_1, "10.245.0.0/26"}, set(BLOCKS)
    wanted = {"switch/tor": outside, "external": outside, "node/node-2": among_ours, "reflector/rr-1": among_ours}
    assert told(BLOCKS) == wanted
    assert told(BLOCKS[2:]) == {peer: {"10.245.0.0/26"} for peer in PEERS}
    assert told(()) == {peer: set() for peer in PEERS}


def test_filters_and_communities_are_those_of_the_prefix_that_is_announced() -> None:
    reject = {"action": "Reject", "cidr": RACK_1, "matchOperator": "Equal"}
    advertisements = (PrefixCommunities(pack_prefix("10.244.0.0/16"), ((65000, 1),)),)
    policy = NodePolicy(advertisements=advertisements)
    tagged = desired_announcements(speaker(), BLOCKS, policy)["10.1.0.2"]
    assert tagged[RACK_1] == Announcement(RACK_1, communities=("65000:1",))
    filters = {"mine": BGPFilterSpec.model_validate({"exportV4": [reject]})}
    sessions = tuple(replace(s, export_filters=("mine",)) for s in speaker().sessions)
    assert told(BLOCKS, NodePolicy(filters=filters), sessions=sessions)["switch/tor"] == {"10.245.0.0/26"}


def test_what_a_node_draws_as_a_whole_it_throws_away() -> None:
    assert set(_discarded(NodeView(plan=speaker(), blocks=BLOCKS))) == {*BLOCKS, RACK_1}
    assert set(_discarded(NodeView(plan=speaker(aggregates=()), blocks=BLOCKS))) == set(BLOCKS)
    assert _discarded(NodeView(plan=speaker(), blocks=())) == ()


# The switch


def test_a_platform_without_aggregates_says_so() -> None:
    frr = devices.find("frr", "Switch/tor-1a")
    assert isinstance(frr, Device)
    bare = frr.model_copy(update={"features": frr.features | {"aggregates": False}})
    tor = plan(racks(aggregate="rack")).switches["tor-1a"]
    assert [p.line() for p in features.check("Switch/tor-1a", tor, bare)] == [
        "Switch/tor-1a aggregates: FRRouting 8.4+ cannot express aggregates (set aggregate: block in the pools)"
    ]
    assert features.check("Switch/tor-1a", tor, frr) == ()
    assert features.check("Switch/tor-1a", replace(tor, aggregates=()), bare) == ()


# Lint


def lines(found: Plan) -> list[str]:
    return [p.line() for p in found.problems if p.code.startswith("aggregate")]


def test_a_pool_that_is_announced_whole_is_one_route_of_the_fabric() -> None:
    def routes(snapshot: Snapshot) -> int:
        graph = Compiler().graph(snapshot)[0]
        return View(graph, graph.nodes, graph.switches, graph.reflectors, Memo()).routes  # type: ignore[arg-type]

    assert routes(racks()) - routes(racks(aggregate="rack")) == 2  # two nodes in each rack
    assert routes(racks()) == routes(racks(aggregate="rack", disableBGPExport=True)) + 4


def test_a_rack_with_two_switches_may_hide_what_one_of_them_has_lost() -> None:
    codes = {p.code for p in plan(racks(aggregate="rack")).problems}
    assert codes == {"aggregate-hides-failures"}
    assert plan(racks()).problems == plan(racks(aggregate="block")).problems == ()
    two = dual_tor().get("Rack", "rack-1")
    assert two is not None
    document = two.to_document()
    single = declare("Rack", "rack-1", **document["spec"] | {"switches": ["tor-1a"]})
    objects = {p.object for p in plan(racks(aggregate="rack").with_changes([single])).problems if "hides" in p.code}
    assert objects == {"IPPool/pods-2"}


def test_nodes_on_one_subnet_may_announce_the_pool_when_they_peer_from_there() -> None:
    router = declare("BGPPeer", "router", peerIP="192.0.2.254", asNumber=65000)
    nodes = [host(f"node-{n}", n) for n in (1, 2, 3)]
    mesh, none = configuration(nodeToNodeMeshEnabled=True), configuration(nodeToNodeMeshEnabled=False)
    whole = pool("pods", RACK_1, aggregate="pool")
    assert lines(compiled(whole, mesh, router, *nodes)) == []
    assert (
        "without a way to learn the blocks of Node/node-2 and Node/node-3"
        in lines(compiled(whole, none, router, *nodes))[0]
    )
    assert lines(compiled(whole, none, *nodes)) == []  # nobody is told
    elsewhere = declare("Node", "node-4", bgp={"ipv4Address": "198.51.100.4/24"})
    assert (
        "Node/node-1 and Node/node-4 send to each other through"
        in lines(compiled(whole, mesh, router, *nodes, elsewhere))[0]
    )
    over_loopback = declare(
        "Node",
        "node-4",
        bgp={"ipv4Address": "10.0.0.4/32"},
        uplinks=[{"interface": "eth0", "addresses": ["192.0.2.4/24"]}],
    )
    assert (
        "Node/node-4 and Node/node-1 send to each other through"
        in lines(compiled(whole, mesh, router, *nodes, over_loopback))[0]
    )


# What if


def test_a_rack_that_is_announced_whole_does_not_show_which_switch_has_lost_a_node() -> None:
    blocks = whatif(racks(), "Link/node-1:tor-1a")
    assert statuses(row(blocks, "rack-1", "pods-1")) == ALL_WELL
    hidden = whatif(racks(aggregate="rack"), "Link/node-1:tor-1a")
    assert hidden.cuts_off
    assert {lost.prefix for lost in hidden.lost} == {"10.244.0.0/26"}
    found = row(hidden, "rack-1", "pods-1")
    assert (found.from_racks.before, found.from_racks.after) == ("yes", "partly")
    assert (found.from_outside.before, found.from_outside.after) == ("yes", "partly")
    assert statuses(row(hidden, "rack-2", "pods-2")) == ALL_WELL


@pytest.mark.parametrize("aggregate", ["rack", "pool"])
def test_only_the_pool_that_is_announced_whole_hides_it(aggregate: str) -> None:
    """Two pools of one rack; with `pool` every rule treats them alike."""
    beside = pool("more", "10.245.0.0/18", nodeSelector="rack == 'rack-1'")
    found = whatif(racks(aggregate=aggregate).with_changes([beside]), "Link/node-1:tor-1a")
    assert statuses(row(found, "rack-1", "more")) == ALL_WELL
    assert row(found, "rack-1", "pods-1").from_outside.after == "partly"


def test_a_switch_without_any_node_does_not_announce_the_pool() -> None:
    found = whatif(racks(aggregate="rack"), "Link/node-1:tor-1a", "Link/node-2:tor-1a")
    assert not found.cuts_off
    assert statuses(row(found, "rack-1", "pods-1")) == ALL_WELL


@pytest.mark.parametrize("failed", ["Switch/tor-1a", "Link/tor-1a:spine-1", "External/spine-1"])
def test_what_a_rack_survives_with_blocks_it_survives_announced_whole(failed: str) -> None:
    found = whatif(racks(aggregate="rack"), failed)
    assert not found.cuts_off
    assert statuses(row(found, "rack-1", "pods-1")) == ALL_WELL


def test_who_makes_an_aggregate_together_is_computed_together() -> None:
    """A switch of the core has the aggregate for any node behind it, so none of these may be left out."""
    assert not ways_of(racks(aggregate="rack")).one_by_one
    assert not ways_of(racks().with_changes([reflector_of_a_tor()])).one_by_one
    assert ways_of(racks(aggregate="rack").with_changes([reflector_of_a_tor()])).one_by_one
    assert ways_of(flat(True, aggregate="pool")).one_by_one


def joined(*named: str, sample: Snapshot | None = None, **spec: Any) -> Snapshot:
    """With the switches of rack-1 joined; `named` are those that name the other one."""
    ends = {"tor-1a": ("tor-1b", "10.254.3.1"), "tor-1b": ("tor-1a", "10.254.3.0")}
    snapshot = sample or racks(**spec)
    changed = []
    for tor in named:
        name, address = ends[tor]
        fields, other = (snapshot.all("Switch")[one].to_document()["spec"] for one in (tor, name))
        peer = {"name": name, "address": address, "asNumber": other["asNumber"], "holdTime": "9s"}
        changed.append(declare("Switch", tor, **fields | {"fabricPeers": [*fields["fabricPeers"], peer]}))
    return snapshot.with_changes(changed)


def test_a_fabric_peer_that_is_called_as_a_rack_mate_is_that_switch() -> None:
    switches = plan(joined("tor-1a", "tor-1b")).switches
    (one,) = (s for s in switches["tor-1a"].sessions if s.peer == "switch/tor-1b")
    (other,) = (s for s in switches["tor-1b"].sessions if s.peer == "switch/tor-1a")
    assert (one.peer_address, one.peer_asn, one.type, one.next_hop) == ("10.254.3.1", 65012, "ebgp", "self")
    assert (other.peer_address, other.peer_asn) == ("10.254.3.0", 65011)
    stranger = declare("Switch", "tor-9", asNumber=65019, addresses=["10.0.9.1/32"], fabricPeers=[
        {"name": "tor-1a", "address": "10.254.9.1", "asNumber": 65011}
    ])  # fmt: skip
    outside = plan(joined().with_changes([stranger])).switches["tor-9"].sessions
    assert [session.peer for session in outside] == ["external"]


def test_switches_that_are_joined_hide_nothing() -> None:
    found = whatif(joined("tor-1a", "tor-1b", aggregate="rack"), "Link/node-1:tor-1a")
    assert not found.cuts_off
    assert statuses(row(found, "rack-1", "pods-1")) == ALL_WELL
    apart = whatif(joined("tor-1a", "tor-1b", aggregate="rack"), "Link/node-1:tor-1a", "Link/tor-1a:tor-1b")
    assert apart.cuts_off
    for named, warned in ((("tor-1a", "tor-1b"), {"IPPool/pods-2"}), (("tor-1a",), {"IPPool/pods-1", "IPPool/pods-2"})):
        problems = plan(joined(*named, aggregate="rack")).problems
        assert {p.object for p in problems if p.code == "aggregate-hides-failures"} == warned
        assert {p.object for p in problems if p.code == "missing-reverse-peering"} == (
            set() if len(named) == 2 else {"Switch/tor-1a"}
        )


def test_a_rack_with_joined_switches_is_not_like_one_without() -> None:
    """With iBGP what comes from the other switch goes on to the fabric, so a rack survives more."""
    links = ("node-1:tor-1b", "tor-1a:spine-1", "tor-1a:spine-2", "node-3:tor-2b", "tor-2a:spine-1", "tor-2a:spine-2")
    found = whatif(joined("tor-1a", "tor-1b", sample=dual_tor("dual-tor-ibgp")), *(f"Link/{link}" for link in links))
    cut = {lost.node for lost in found.lost if lost.pool == "pods-v4" and lost.from_outside}
    assert cut == {"node-3"}


def flat(mesh: bool, **spec: Any) -> Snapshot:
    """Three nodes and a router of one subnet."""
    return Snapshot(
        [
            pool("pods", RACK_1, **spec),
            configuration(nodeToNodeMeshEnabled=mesh),
            declare("BGPPeer", "router", peerIP="192.0.2.254", asNumber=65000),
            *(host(f"node-{n}", n) for n in (1, 2, 3)),
        ]
    )


def test_nodes_that_announce_the_pool_reach_each_others_blocks_for_the_router() -> None:
    assert row(whatif(flat(True, aggregate="pool"), "Node/node-3"), None, "pods").from_outside.after == "yes"
    assert row(whatif(flat(False), "Node/node-3"), None, "pods").from_outside.after == "yes"
    lost = row(whatif(flat(False, aggregate="pool"), "Node/node-3"), None, "pods")
    assert lost.from_outside.after == "partly"


def test_nodes_that_reach_each_other_through_the_fabric_only_send_in_circles() -> None:
    """Point-to-point links, a mesh over loopbacks: everybody knows every block, and the switches only the pool."""
    mesh = configuration(nodeToNodeMeshEnabled=True)
    found = whatif(racks(aggregate="pool").with_changes([mesh]), "External/spine-2")
    assert row(found, "rack-1", "pods-1").from_outside.before == "partly"
