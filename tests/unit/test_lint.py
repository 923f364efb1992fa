"""What only shows in the whole graph, and that every declaration that could be read has a plan."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgp_speaker.announcements import desired_announcements
from bgp_speaker.exabgp_commands import difference
from bgp_speaker.exabgp_config import compile_config
from bgp_speaker.import_policy import ImportPolicy
from fabric_templates.render import check, render
from peering.compile import plan
from peering.plan_diff import compare
from peering.problems import Problem, errors
from peering.resource import Resource, parse_resource
from peering.session import Plan
from peering.snapshot import Snapshot
from tests.unit.samples import dual_tor, node

Spec = dict[str, Any]


def resource(kind: str, name: str, spec: Spec, **labels: str) -> Resource:
    version = "v1" if kind == "Secret" else "underlay.io/v1alpha1"
    document: Spec = {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": labels}}
    parsed = parse_resource({**document, ("stringData" if kind == "Secret" else "spec"): spec})
    assert isinstance(parsed, Resource)
    return parsed


def edited(kind: str, name: str, **changes: object) -> Resource:
    """A resource of the sample with some fields of its spec replaced."""
    found = dual_tor().get(kind, name)
    assert found is not None
    document = found.to_document()
    document["spec"] |= changes
    parsed = parse_resource(document)
    assert isinstance(parsed, Resource)
    return parsed


def found(*changed: Resource, removed: tuple[str, ...] = ()) -> list[tuple[str, str, str, str]]:
    """(severity, code, object, path) of what the change brings to the sample, which has no problem itself."""
    problems = plan(dual_tor().with_changes(changed, removed)).problems
    return [(p.severity, p.code, p.object, p.path) for p in problems]


IGNORED = ("warning", "ignored-field")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ([resource("BGPConfiguration", "node.a", {})], [(*IGNORED, "BGPConfiguration/node.a", "metadata.name")]),
        (
            [edited("BGPConfiguration", "default", nodeToNodeMeshEnabled=True)],
            [(*IGNORED, "BGPConfiguration/default", "spec.nodeToNodeMeshEnabled")],
        ),
        ([edited("IPPool", "pods-v4", natOutgoing=True)], [(*IGNORED, "IPPool/pods-v4", "spec.natOutgoing")]),
        (
            [resource("BGPPeer", "b", {"peerIP": "10.99.0.1", "asNumber": 1, "node": "node-9"})],
            [("warning", "selector-matches-nothing", "BGPPeer/b", "spec.node")],
        ),
        (
            [resource("BGPPeer", "b", {"peerIP": "10.99.0.1", "asNumber": 1, "nodeSelector": "has(gpu)"})],
            [("warning", "selector-matches-nothing", "BGPPeer/b", "spec.nodeSelector")],
        ),
        (
            [resource("BGPPeer", "b", {"peerIP": "10.99.0.1", "asNumber": 1, "holdTime": 30, "keepaliveTime": 9})],
            [(*IGNORED, "BGPPeer/b", "spec.keepaliveTime")],
        ),
        (
            [resource("Node", "lonely", {"bgp": {"ipv4Address": "10.0.99.1"}})],
            [("warning", "node-without-session", "Node/lonely", "")],
        ),
    ],
)
def test_warnings(changed: list[Resource], expected: list[tuple[str, str, str, str]]) -> None:
    assert found(*changed) == expected


def test_a_pool_may_touch_no_address_of_the_fabric() -> None:
    overlaps = {
        "10.1.1.0/26": "Switch/tor-1a",
        "10.0.1.1/32": "Switch/tor-1a",
        "10.0.11.1/32": "Node/node-1",
        "10.244.128.0/17": "IPPool/pods-v4",
    }
    for cidr, owner in overlaps.items():
        extra = resource("IPPool", "zz", {"cidr": cidr, "blockSize": 32 if cidr.endswith("/32") else 26})
        problems = [p for p in plan(dual_tor().with_changes([extra])).problems if p.code == "pool-overlap"]
        assert any(p.message.endswith(owner) and p.object == "IPPool/zz" for p in problems), cidr
    assert found(resource("IPPool", "zz", {"cidr": "10.245.0.0/16"})) == []


def test_two_nodes_with_one_uplink_address() -> None:
    first = dual_tor().get("Node", "node-1")
    assert first is not None
    twin = edited("Node", "node-2", uplinks=first.to_document()["spec"]["uplinks"])
    assert ("error", "duplicate-address", "Node/node-2", "spec") in found(twin)


def test_a_switch_that_no_rack_needs_may_go_and_one_that_is_named_may_not() -> None:
    spare = resource("Switch", "spare", {"asNumber": 65099, "routerID": "10.0.99.9"})
    assert found(spare) == []
    problems = plan(dual_tor().with_changes((), ["Switch/tor-1b"])).problems
    assert [(p.severity, p.code, p.path, p.hint) for p in problems] == [
        ("error", "unknown-switch", "spec.switches[1]", "declared: tor-1a, tor-2a, tor-2b")
    ]


def test_a_secret_of_another_key_is_no_secret() -> None:
    rack = edited("Rack", "rack-1", password={"secretKeyRef": {"name": "s", "key": "bgp"}})
    missing = [("warning", "missing-secret", "Rack/rack-1", "spec.password.secretKeyRef")]
    assert found(rack, resource("Secret", "s", {"other": "x"})) == missing
    assert found(rack, resource("Secret", "s", {"bgp": "x"})) == []


def test_problems_come_once_and_errors_first() -> None:
    changed = [edited("IPPool", "pods-v4", natOutgoing=True), node(2, 1, 1)]
    problems = plan(dual_tor().with_changes(changed)).problems
    assert len(set(problems)) == len(problems)
    severities = [p.severity for p in problems]
    assert severities == sorted(severities)
    assert {"error", "warning"} == set(severities)


def names(low: int = 0) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(["a", "b", "c"]), min_size=low, max_size=2, unique=True)


ADDRESSES = st.sampled_from(
    [
        "10.0.0.1/32",
        "10.0.0.1/31",
        "10.0.0.0/31",
        "10.0.0.2/30",
        "10.0.0.3/30",
        "10.1.0.1/24",
        "0.0.0.0/0",
        "255.255.255.255/32",
        "127.0.0.1/32",
        "fd00::1/128",
        "fd00::/127",
        "fd00::1/127",
        "fd00::2/126",
        "fe80::1/64",
        "fe80::1%eth0/127",
        "::/0",
        "::ffff:10.0.0.1/127",
    ]
)
IPS = ADDRESSES.map(lambda text: text.split("/")[0])
CIDRS = st.sampled_from(
    [
        "10.0.0.0/8",
        "10.0.0.0/24",
        "0.0.0.0/0",
        "::/0",
        "fd00::/64",
        "10.0.0.0/31",
        "10.0.0.1/32",
        "fd00::1/128",
        "fe80::/10",
        "10.244.0.0/16",
        "fd00:10::/112",
        "224.0.0.0/4",
    ]
)
ASNS = st.sampled_from([1, 64512, 65001, 4294967294, "1.1"])
SELECTORS = st.sampled_from(["", "all()", "rack == 'a'", "!has(rack)", "rack in {'a', 'b'}"])
HOLD = st.sampled_from([0, 3, 90])
PASSWORDS = st.just({"secretKeyRef": {"name": "s", "key": "k"}})


def spec(required: dict[str, st.SearchStrategy[Any]], **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[Spec]:
    return st.fixed_dictionaries(required, optional=optional)


BGP = spec(
    {}, asNumber=ASNS, ipv4Address=ADDRESSES, ipv6Address=ADDRESSES, routerID=st.sampled_from(["1.1.1.1", "9.9.9.9"])
)
UPLINK = spec(
    {"interface": st.sampled_from(["eth1", "eth2"]), "addresses": st.lists(ADDRESSES, min_size=1, max_size=2)}
)
FABRIC_PEER = spec({"name": st.sampled_from(["s1", "s2"]), "address": IPS, "asNumber": ASNS})
SPECS = {
    "BGPConfiguration": spec({}, asNumber=ASNS),
    "Node": spec({"bgp": BGP, "uplinks": st.lists(UPLINK, max_size=2)}),
    "Switch": spec(
        {"asNumber": ASNS, "linkSubnets": st.lists(CIDRS, max_size=3)},
        routerID=st.just("2.2.2.2"),
        addresses=st.lists(ADDRESSES, max_size=2),
        fabricPeers=st.lists(FABRIC_PEER, max_size=2),
    ),
    "Rack": spec(
        {"nodeSelector": SELECTORS, "switches": names(1)},
        design=st.sampled_from(["ebgp-as-per-rack", "ibgp-tor-reflects"]),
        nodeASNumber=ASNS,
        holdTime=HOLD,
        password=PASSWORDS,
        downward=st.sampled_from(["default-only", "pools", "all"]),
        acceptPrefixes=st.lists(CIDRS, max_size=2),
        ttlSecurity=st.booleans(),
        maxPrefixes=st.just(5),
    ),
    "IPPool": spec(
        {"cidr": CIDRS},
        blockSize=st.sampled_from([20, 26, 32, 116, 128]),
        nodeSelector=SELECTORS,
        disabled=st.booleans(),
        disableBGPExport=st.booleans(),
    ),
    "BGPPeer": spec(
        {"peerIP": IPS, "asNumber": ASNS},
        nodeSelector=SELECTORS,
        sourceAddress=st.sampled_from(["UseNodeIP", "None"]),
        ttlSecurity=st.just(1),
        holdTime=HOLD,
        password=PASSWORDS,
    ),
}


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """A few resources of every kind: those of the drawn documents that can be read."""
    resources = []
    for kind, specs in SPECS.items():
        for name in draw(names(kind in ("Node", "Rack", "Switch"))):
            labels = draw(st.sampled_from([{}, {"rack": "a"}, {"rack": "b"}]))
            metadata = {"name": "default" if kind == "BGPConfiguration" else name, "labels": labels}
            document = {"apiVersion": "underlay.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": draw(specs)}
            parsed = parse_resource(document)
            if isinstance(parsed, Resource):
                resources.append(parsed)
    return Snapshot(resources)


@settings(deadline=None, max_examples=150)
@given(snapshots(), snapshots())
def test_every_declaration_has_a_plan_and_every_two_plans_a_difference(old: Snapshot, new: Snapshot) -> None:
    before, after = plan(old), plan(new)
    json.dumps(after.to_json())
    assert plan(Snapshot(reversed(list(new)))) == after
    for change in compare(before, after):
        assert change.line().isprintable()
    assert compare(after, after) == []
    for name, speaker in after.speakers.items():
        rendered = compile_config(speaker, socket_path="/run/x", shim_command=("/bin/x",), passwords={})
        assert set(rendered.omitted) <= {s.name for s in speaker.sessions}, name
        difference(desired_announcements(speaker, ["10.244.0.0/26", "fd00:10::/122"]), {})
        ImportPolicy(own_asn=speaker.asn, accept=speaker.imports, loopbacks=speaker.loopbacks)
    if not errors(after.problems):
        assert_deployable(after)


def assert_deployable(compiled: Plan) -> None:
    """A plan without errors: what is refused after it is refused as problems, and no end has a session twice."""
    for name, switch in compiled.switches.items():
        refused: tuple[Problem, ...] = errors(check(name, switch))
        assert refused or render(name, switch)
    ends = [speaker.sessions for speaker in compiled.speakers.values()]
    for sessions in (*ends, *(switch.sessions for switch in compiled.switches.values())):
        assert len({s.name for s in sessions}) == len(sessions)
        assert len({(s.peer_address, s.peer_port) for s in sessions}) == len(sessions)
