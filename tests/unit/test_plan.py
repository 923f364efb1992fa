"""The plan: both ends of every session from one declaration, the same bytes in any order."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peering.compile import plan
from peering.manifests import parse_manifests
from peering.plan_diff import compare
from peering.resource import Resource
from peering.resources.fabric import RackSpec, SwitchSpec
from peering.session import Plan, PrefixRule, Session
from peering.snapshot import Snapshot
from tests.unit.samples import dual_tor, node, nodes, sample

DESIGNS = {"dual-tor": "ebgp", "dual-tor-ibgp": "ibgp"}


def parse(text: str) -> list[Resource]:
    resources, problems = parse_manifests(text, "test")
    assert problems == []
    return resources


@pytest.mark.parametrize("name", DESIGNS)
def test_the_sample_has_no_problem(name: str) -> None:
    assert [p.line() for p in plan(dual_tor(name)).problems] == []


@pytest.mark.parametrize("name", DESIGNS)
def test_every_node_has_one_session_per_switch_and_family(name: str) -> None:
    compiled = plan(dual_tor(name))
    for number, rack in ((1, 1), (2, 1), (3, 2), (4, 2)):
        peers = [(s.peer, s.families) for s in compiled.speakers[f"node-{number}"].sessions]
        assert peers == [
            (f"switch/tor-{rack}{side}", (family,)) for side in "ab" for family in ("ipv4-unicast", "ipv6-unicast")
        ]


@pytest.mark.parametrize(("name", "kind"), DESIGNS.items())
def test_both_ends_agree(name: str, kind: str) -> None:
    compiled = plan(dual_tor(name))
    far_ends: dict[tuple[str, str], Session] = {
        (s.local_address or "", s.peer_address): s for switch in compiled.switches.values() for s in switch.sessions
    }
    for speaker in compiled.speakers.values():
        for near in speaker.sessions:
            far = far_ends[near.peer_address, near.local_address or ""]
            assert (near.local_asn, near.peer_asn, near.type) == (far.peer_asn, far.local_asn, kind)
            shared = (
                "hold_time",
                "keepalive_time",
                "graceful_restart_time",
                "password",
                "ttl_security",
                "families",
            )
            assert [getattr(near, f) for f in shared] == [getattr(far, f) for f in shared]
            assert (near.passive, far.passive) == (False, True)


def test_only_the_reflecting_design_reflects() -> None:
    for name, reflects in (("dual-tor", False), ("dual-tor-ibgp", True)):
        tor = plan(dual_tor(name)).switches["tor-1a"]
        to_nodes = [s for s in tor.sessions if s.peer.startswith("node/")]
        assert {s.rr_client for s in to_nodes} == {reflects}
        assert {s.next_hop for s in to_nodes} == {"self" if reflects else "auto"}


def test_a_switch_accepts_only_its_racks_blocks_and_loopbacks() -> None:
    tor = plan(dual_tor()).switches["tor-1a"]
    assert tor.accept == (
        PrefixRule("10.0.11.1/32", 32, 32),
        PrefixRule("10.0.11.2/32", 32, 32),
        PrefixRule("10.244.0.0/16", 26, 26),
        PrefixRule("10.244.0.0/16", 32, 32),
        PrefixRule("fd00:0:11::1/128", 128, 128),
        PrefixRule("fd00:0:11::2/128", 128, 128),
        PrefixRule("fd00:10:244::/48", 122, 122),
        PrefixRule("fd00:10:244::/48", 128, 128),
    )
    assert tor.networks == ("10.0.1.1/32", "fd00:0:1::1/128")
    assert set(tor.announce) == {
        *tor.accept,
        PrefixRule("10.0.1.1/32", 32, 32),
        PrefixRule("fd00:0:1::1/128", 128, 128),
    }


def test_a_pool_for_one_rack_is_accepted_there_only() -> None:
    pool = parse(
        "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: r2}\n"
        "spec: {cidr: 10.245.0.0/16, nodeSelector: rack == 'rack-2'}"
    )
    switches = plan(dual_tor().with_changes(pool)).switches
    rule = PrefixRule("10.245.0.0/16", 26, 26)
    assert [name for name, s in switches.items() if rule in s.accept] == ["tor-2a", "tor-2b"]


STRICT = (
    "apiVersion: projectcalico.org/v3\nkind: IPAMConfiguration\nmetadata: {name: NAME}\nspec: {strictAffinity: true}"
)


def test_single_addresses_of_pools_travel_unless_affinity_is_strict() -> None:
    """To the switch, from it (whatever `downward` says), and on to the fabric."""
    addresses = {PrefixRule("10.244.0.0/16", 32, 32), PrefixRule("fd00:10:244::/48", 128, 128)}
    rack = dual_tor().get("Rack", "rack-1")
    assert rack is not None
    only_default = Resource(rack.kind, rack.name, rack.spec.model_copy(update={"downward": "default-only"}))
    declared = dual_tor().with_changes([only_default])
    for snapshot in (dual_tor(), declared, declared.with_changes(parse(STRICT.replace("NAME", "other")))):
        compiled = plan(snapshot)
        tor = compiled.switches["tor-1a"]
        for rules in (tor.accept, tor.send, tor.announce, compiled.speakers["node-1"].imports):
            assert addresses <= set(rules)
    assert set(plan(declared).switches["tor-1a"].send) == addresses
    strict = plan(declared.with_changes(parse(STRICT.replace("NAME", "default"))))
    for switch in strict.switches.values():
        assert not addresses & {*switch.accept, *switch.send, *switch.announce}
    assert strict.switches["tor-1a"].send == ()
    assert not addresses & set(strict.speakers["node-1"].imports)


def test_pools_that_are_not_for_pods_or_not_exported_have_no_single_addresses() -> None:
    for changed in ("disableBGPExport: true", "allowedUses: [Tunnel]"):
        pool = parse(
            "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: other}\n"
            f"spec: {{cidr: 10.245.0.0/16, {changed}}}"
        )
        speaker = plan(dual_tor().with_changes(pool)).speakers["node-1"]
        assert PrefixRule("10.245.0.0/16", 32, 32) not in speaker.imports


@settings(deadline=None)
@given(st.permutations([*sample("dual-tor"), *nodes()]))
def test_the_order_of_the_input_does_not_matter(resources: list[Resource]) -> None:
    assert json.dumps(plan(Snapshot(resources)).to_json()) == json.dumps(plan(dual_tor()).to_json())


def test_the_session_has_the_documented_json_fields() -> None:
    session = plan(dual_tor()).to_json()["speakers"]["node-1"]["sessions"][0]
    documented = (
        "name localAddress localASN peerAddress peerPort peerASN type peer source passive password ttlSecurity "
        "multihop holdTime keepaliveTime gracefulRestartTime longLivedStaleTime bfd rrClient clusterID nextHop "
        "allowASIn asOverride addPaths families importFilters exportFilters maxPrefixes reachableBy "
        "connectRetry interface prepend addPathLimit"
    )
    assert sorted(session) == sorted(documented.split(" "))


def touched(old: Plan, new: Plan) -> set[tuple[str, str]]:
    return {(change.what, change.end) for change in compare(old, new)}


def test_a_fifth_node_adds_its_sessions_and_touches_no_other() -> None:
    changes = compare(plan(dual_tor()), plan(dual_tor().with_changes([node(5, 1, 3)])))
    assert {c.what for c in changes} == {"added"}
    assert {c.end for c in changes} == {"node/node-5", "switch/tor-1a", "switch/tor-1b"}
    assert {c.session.peer for c in changes if c.end.startswith("switch/")} == {"node/node-5"}


def test_a_new_pool_touches_no_session() -> None:
    pool = parse("apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: b}\nspec: {cidr: 10.250.0.0/16}")
    assert compare(plan(dual_tor()), plan(dual_tor().with_changes(pool))) == []


def test_another_as_of_a_switch_restarts_the_sessions_of_that_switch_only() -> None:
    snapshot = dual_tor()
    switch = snapshot.get("Switch", "tor-1a")
    assert switch is not None
    assert isinstance(switch.spec, SwitchSpec)
    changed = replace(switch, spec=switch.spec.model_copy(update={"as_number": 65019}))
    changes = compare(plan(snapshot), plan(snapshot.with_changes([changed])))
    assert {c.what for c in changes} == {"restarts"}
    assert {c.end for c in changes} == {"node/node-1", "node/node-2", "switch/tor-1a"}
    assert {c.session.peer for c in changes if c.end.startswith("node/")} == {"switch/tor-1a"}


def test_a_password_on_one_rack_restarts_that_rack_and_is_never_shown() -> None:
    snapshot = dual_tor()
    rack = snapshot.get("Rack", "rack-1")
    assert rack is not None
    assert isinstance(rack.spec, RackSpec)
    document = rack.to_document()
    document["spec"]["password"] = {"secretKeyRef": {"name": "rack-1", "key": "bgp"}}
    changed = parse(json.dumps(document))
    value = "a-value-that-must-not-show"
    secret = parse(f"apiVersion: v1\nkind: Secret\nmetadata: {{name: rack-1}}\nstringData: {{bgp: {value}}}")
    after = plan(snapshot.with_changes([*changed, *secret]))
    assert touched(plan(snapshot), after) == {
        ("restarts", end) for end in ("node/node-1", "node/node-2", "switch/tor-1a", "switch/tor-1b")
    }
    assert after.problems == ()
    assert value not in json.dumps(after.to_json()) + "".join(c.line() for c in compare(plan(snapshot), after))


def test_a_missing_secret_is_a_warning_that_names_the_key() -> None:
    document = dual_tor().get("Rack", "rack-1").to_document()  # type: ignore[union-attr]
    document["spec"]["password"] = {"secretKeyRef": {"name": "nowhere", "key": "bgp"}}
    problems = plan(dual_tor().with_changes(parse(json.dumps(document)))).problems
    assert [(p.severity, p.code, p.object) for p in problems] == [("warning", "missing-secret", "Rack/rack-1")]


def test_a_bgppeer_gives_every_selected_node_a_session_from_its_own_address() -> None:
    peer = parse(
        "apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: border}\n"
        "spec: {peerIP: '203.0.113.1:1790', asNumber: 65500, nodeSelector: rack == 'rack-1', keepaliveTime: 10s}"
    )
    speakers = plan(dual_tor().with_changes(peer)).speakers
    sessions = {n: [s for s in p.sessions if s.source == "BGPPeer/border"] for n, p in speakers.items()}
    assert {n: len(s) for n, s in sessions.items()} == {"node-1": 1, "node-2": 1, "node-3": 0, "node-4": 0}
    session: Session = sessions["node-1"][0]
    assert (session.local_address, session.peer_address, session.peer_port) == ("10.0.11.1", "203.0.113.1", 1790)
    assert (session.keepalive_time, session.multihop, session.peer) == (10, 255, "external")


def test_a_bgppeer_for_an_address_that_a_rack_serves_is_reported_not_doubled() -> None:
    peer = parse(
        "apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: tor}\n"
        "spec: {peerIP: 10.1.1.0, asNumber: 65011, node: node-1}"
    )
    compiled = plan(dual_tor().with_changes(peer))
    assert [p.code for p in compiled.problems if p.severity != "info"] == ["duplicate-session"]
    assert {s.source for s in compiled.speakers["node-1"].sessions} == {"Rack/rack-1"}
