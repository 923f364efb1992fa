"""What lint remembers and how it looks things up; what only shows in the whole graph; every declaration has a plan.

What is said of each mistake is in tests/lint_cases (test_lint_cases.py).
"""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bgp_speaker.announcements import desired_announcements
from bgp_speaker.exabgp_commands import difference
from bgp_speaker.exabgp_config import compile_config
from bgp_speaker.import_policy import ImportPolicy
from fabric_templates.render import check, render
from peering import lint
from peering.budgets import Budget, Figure, budget_of
from peering.compile import Compiler, plan
from peering.graph import Graph
from peering.lint import capacity
from peering.lint.ignored_fields import IGNORED
from peering.lint.prefix_table import PrefixTable, key_of
from peering.plan_diff import compare
from peering.problem_groups import together
from peering.problems import Problem, errors
from peering.resource import Resource, parse_resource
from peering.session import Plan, Session, SwitchPlan
from peering.snapshot import Snapshot
from tests.unit.declarations import configuration, declare, host
from tests.unit.samples import dual_tor, node
from tests.unit.samples import nodes as sample_nodes

Spec = dict[str, Any]

PASSWORD = {"secretKeyRef": {"name": "s", "key": "k"}}
CASES = Path(__file__).parent.parent / "lint_cases"


def edited(kind: str, name: str, **changes: object) -> Resource:
    """A resource of the sample with some fields of its spec replaced."""
    found = dual_tor().get(kind, name)
    assert found is not None
    document = found.to_document()
    document["spec"] |= changes
    parsed = parse_resource(document)
    assert isinstance(parsed, Resource)
    return parsed


def secret(name: str, **values: str) -> Resource:
    document = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}
    parsed = parse_resource(document)
    assert isinstance(parsed, Resource)
    return parsed


def found(*changed: Resource, removed: tuple[str, ...] = ()) -> list[tuple[str, str, str, str]]:
    """(severity, code, object, path) of what the change brings to the sample, which has no problem itself."""
    problems = plan(dual_tor().with_changes(changed, removed)).problems
    return [(p.severity, p.code, p.object, p.path) for p in problems]


@pytest.mark.parametrize("name", ["dual-tor", "dual-tor-ibgp"])
def test_samples_are_free_of_problems(name: str) -> None:
    assert plan(dual_tor(name)).problems == ()


def test_two_nodes_with_one_uplink_address() -> None:
    first = dual_tor().get("Node", "node-1")
    assert first is not None
    twin = edited("Node", "node-2", uplinks=first.to_document()["spec"]["uplinks"])
    assert ("error", "duplicate-address", "Node/node-2", "spec") in found(twin)


def test_a_switch_that_no_rack_needs_may_go_and_one_that_is_named_may_not() -> None:
    spare = declare("Switch", "spare", asNumber=65099, routerID="10.0.99.9")
    assert found(spare) == []
    problems = errors(plan(dual_tor().with_changes((), ["Switch/tor-1b"])).problems)
    assert [(p.severity, p.code, p.path, p.hint) for p in problems] == [
        ("error", "unknown-switch", "spec.switches[1]", "declared: tor-1a, tor-2a, tor-2b")
    ]


def test_problems_come_once_and_errors_first() -> None:
    changed = [edited("IPPool", "pods-v4", natOutgoing=True), node(2, 1, 1)]
    problems = plan(dual_tor().with_changes(changed)).problems
    assert len(set(problems)) == len(problems)
    severities = [p.severity for p in problems]
    assert severities == sorted(severities)
    assert {"error", "warning"} == set(severities)


# What is remembered

DECLARED: tuple[Resource, ...] = (
    *dual_tor(),
    host("rr-node", 9, cluster="1.0.0.1", rr=""),
    host("plain", 10, zone="a"),
    host("other", 11, zone="b"),
    declare("BGPPeer", "clients", nodeSelector="has(zone)", peerSelector="has(rr)", filters=["f"]),
    declare("BGPPeer", "border", peerIP="203.0.113.1", asNumber=65500, bfd="fast"),
    declare("BGPPeer", "one-way", node="plain", peerIP="192.0.2.11", asNumber=64512),
    declare("RouteReflector", "rr-1", addresses=["10.9.0.1"], nodeSelector="zone == 'a'"),
    declare("RouteReflector", "rr-2", addresses=["10.9.0.2"], clusterID="10.9.0.1", nodeSelector="has(rack)"),
    declare("BGPFilter", "f", exportV4=[{"action": "Reject"}, {"action": "Accept"}]),
    declare("BFDProfile", "fast"),
    secret("s", k="secret"),
)
#: The other end of `one-way`; and that with the same password, so that the two agree again.
BACK = declare("BGPPeer", "back", node="other", peerIP="192.0.2.10", asNumber=64512, password=PASSWORD)
SECURED = declare("BGPPeer", "one-way", node="plain", peerIP="192.0.2.11", asNumber=64512, password=PASSWORD)
STEPS: tuple[Resource | str, ...] = (
    *DECLARED,
    *(resource.ref for resource in DECLARED),
    configuration(nodeToNodeMeshEnabled=True),
    node(1, 2, 3),
    node(2, 1, 2, zone="a"),
    host("plain", 10, zone="b"),
    host("plain", 11),
    host("other", 11, cluster="1.0.0.1", rr=""),
    declare("BGPPeer", "clients", nodeSelector="has(zone)", peerSelector="has(gone)"),
    BACK,
    SECURED,
    declare("BGPPeer", "border", peerIP="203.0.113.1", asNumber=65500, filters=["f"], maxPrefixes=1),
    declare("IPPool", "more", cidr="10.244.0.0/20", nodeSelector="rack == 'rack-1'"),
    declare("IPAMConfiguration", "default", strictAffinity=True, maxBlocksPerHost=2),
    edited("Rack", "rack-1", maxPrefixes=2, bfd="fast"),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(STEPS), max_size=6))
@example([BACK, SECURED, "BGPPeer/back"])
def test_what_is_remembered_changes_nothing(steps: list[Resource | str]) -> None:
    compiler, memo, snapshot = Compiler(), lint.Memo(), Snapshot(DECLARED)
    lint.check(compiler.graph(snapshot)[0], memo)
    for step in steps:
        snapshot = snapshot.with_changes(*(((), [step]) if isinstance(step, str) else ([step],)))
        graph, _ = compiler.graph(snapshot)
        assert lint.check(graph, memo) == lint.check(graph)


def test_one_changed_node_is_judged_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[str] = []
    judge = lint._judge_node

    def counting(facts: Any, *others: Any) -> Any:
        judged.append(facts.name)
        return judge(facts, *others)

    monkeypatch.setattr(lint, "_judge_node", counting)
    compiler, memo = Compiler(), lint.Memo()
    lint.check(compiler.graph(dual_tor())[0], memo)
    assert sorted(judged) == sorted(one.name for one in sample_nodes())
    judged.clear()
    lint.check(compiler.graph(dual_tor().with_changes([node(2, 1, 3)]))[0], memo)
    assert judged == ["node-2"]


# Prefixes


def prefix(network: type[Any], number: int, length: int) -> str:
    return str(network((number, length), strict=False))


PREFIXES = st.one_of(
    st.builds(prefix, st.just(ipaddress.IPv4Network), st.integers(0, 2**32 - 1), st.integers(0, 32)),
    st.builds(prefix, st.just(ipaddress.IPv6Network), st.integers(0, 2**128 - 1), st.integers(0, 128)),
    # Few and short, so that they meet.
    st.builds(prefix, st.just(ipaddress.IPv4Network), st.integers(0, 15).map(lambda n: n << 28), st.integers(0, 5)),
)


@given(st.lists(PREFIXES, max_size=8), PREFIXES)
def test_overlaps_are_those_that_the_standard_library_finds(prefixes: list[str], asked: str) -> None:
    table = PrefixTable({str(index): one for index, one in enumerate(prefixes)})
    network = ipaddress.ip_network(asked)
    expected = {
        str(index)
        for index, one in enumerate(prefixes)
        if ipaddress.ip_network(one).version == network.version and ipaddress.ip_network(one).overlaps(network)
    }
    overlapping = list(table.overlapping(key_of(asked)))
    assert sorted(overlapping) == sorted(expected)


@given(PREFIXES)
def test_keys_are_those_of_the_standard_library(cidr: str) -> None:
    network = ipaddress.ip_network(cidr)
    assert key_of(cidr) == (network.version, int(network.network_address), network.prefixlen)
    assert key_of(str(network[-1]))[1] == int(network[-1])


# Budgets


def switch_graph(platform: str, sessions: int) -> Graph:
    """One switch of a platform with many sessions, and nothing else."""
    ends = tuple(
        Session(
            name=f"node-{number}",
            peer=f"node/node-{number}",
            source="Rack/r",
            type="ebgp",
            local_address="10.0.0.1",
            local_asn=65001,
            peer_address=f"10.0.{number // 250}.{number % 250}",
            peer_asn=65101,
        )
        for number in range(sessions)
    )
    switch = SwitchPlan(asn=65001, platform=platform, router_id="10.0.0.1", sessions=ends)
    return Graph(snapshot=Snapshot(), nodes={}, racks={}, speakers={}, reflectors={}, switches={"leaf": switch})


@pytest.mark.parametrize(("sessions", "codes"), [(400, []), (401, ["over-budget"])])
def test_sessions_of_a_leaf(sessions: int, codes: list[str]) -> None:
    problems = lint.check(switch_graph("aci", sessions))
    assert [p.code for p in problems] == codes
    assert lint.check(switch_graph("unheard-of", sessions)) == ()


def test_routes_of_a_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    """4 nodes with a block of each family, 2 loopbacks each, 4 switches with 2: 24 routes."""
    for most, expected in ((23, 4), (24, 0)):
        budget = Budget(routes=Figure(most=most, source="a test"))
        monkeypatch.setattr(capacity, "budget_of", lambda platform, budget=budget: budget)
        assert len(found()) == expected


def test_every_figure_has_a_source() -> None:
    known = [budget for platform in ("aci", "frr", "junos", "srlinux") if (budget := budget_of(platform))]
    figures = [figure for budget in known for figure in (budget.sessions, budget.ecmp_paths, budget.routes) if figure]
    assert len(figures) >= 5
    assert all(len(figure.source) > 20 for figure in figures)


# Output


def test_every_ignored_field_is_shown_by_a_case() -> None:
    text = (CASES / "ignored-fields.txt").read_text()
    for kind, rows in IGNORED.items():
        for row in rows:
            lines = [line for line in text.splitlines() if f" {kind}/" in line and f" {row.path}: " in line]
            assert [line for line in lines if row.why in line and line.startswith(row.severity)], (kind, row.path)


def problem(name: str, message: str = "is wrong") -> Problem:
    return Problem("error", "some-code", f"Node/{name}", "spec", message, "correct it")


def test_many_alike_become_one_and_few_stay() -> None:
    few, other = [problem(n) for n in "abc"], problem("z", "is wrong otherwise")
    assert together([*few, other]) == [*few, other]
    (one,) = together([problem(n) for n in "abcd"])
    assert one.line() == "Node/a spec: is wrong; the same goes for 3 others: b, c, d (correct it)"
    mixed = together([problem("a"), other, *(problem(n) for n in "bcdef")])
    assert [p.object for p in mixed] == ["Node/a", "Node/z"]
    assert mixed[0].message == "is wrong; the same goes for 5 others: b, c, d, ..."


# Every declaration has a plan


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
PASSWORDS = st.just(PASSWORD)


RANGES = CIDRS.map(lambda cidr: [{"cidr": cidr}])
RULES = st.lists(st.sampled_from([{"action": "Reject"}, {"action": "Accept", "peerType": "iBGP"}]), max_size=2)


def spec(required: dict[str, st.SearchStrategy[Any]], **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[Spec]:
    return st.fixed_dictionaries(required, optional=optional)


BGP = spec(
    {},
    asNumber=ASNS,
    ipv4Address=ADDRESSES,
    ipv6Address=ADDRESSES,
    routerID=st.sampled_from(["1.1.1.1", "9.9.9.9"]),
    routeReflectorClusterID=st.sampled_from(["1.1.1.1", "7.7.7.7"]),
)
UPLINK = spec(
    {"interface": st.sampled_from(["eth1", "eth2"]), "addresses": st.lists(ADDRESSES, min_size=1, max_size=2)}
)
FABRIC_PEER = spec({"name": st.sampled_from(["s1", "s2"]), "address": IPS, "asNumber": ASNS})
SPECS = {
    "BGPConfiguration": spec({}, asNumber=ASNS, nodeToNodeMeshEnabled=st.booleans(), serviceClusterIPs=RANGES),
    "BFDProfile": spec({}, passiveMode=st.booleans(), receiveInterval=st.sampled_from(["10ms", "3s"])),
    "BGPFilter": spec({}, exportV4=RULES, importV4=RULES),
    "IPAMConfiguration": spec({}, strictAffinity=st.just(True), maxBlocksPerHost=st.just(2)),
    "RouteReflector": spec(
        {"addresses": st.lists(ADDRESSES, min_size=1, max_size=1)},
        nodeSelector=SELECTORS,
        asNumber=ASNS,
        clusterID=st.sampled_from(["1.1.1.1", "7.7.7.7"]),
        node=st.just("a"),
        upstream=names(),
        fabricPeers=st.lists(FABRIC_PEER, max_size=1),
        bfd=st.just("a"),
        filters=names(),
        password=PASSWORDS,
        maxPrefixes=st.just(1),
    ),
    "Node": spec({"bgp": BGP, "uplinks": st.lists(UPLINK, max_size=2)}),
    "Switch": spec(
        {"asNumber": ASNS, "linkSubnets": st.lists(CIDRS, max_size=3)},
        routerID=st.just("2.2.2.2"),
        addresses=st.lists(ADDRESSES, max_size=2),
        fabricPeers=st.lists(FABRIC_PEER, max_size=2),
    ),
    "Rack": spec(
        {"nodeSelector": SELECTORS, "switches": names(1)},
        design=st.sampled_from(["ebgp-as-per-rack", "ebgp-as-per-node", "ebgp-as-per-cluster", "ibgp-tor-reflects"]),
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
        bfd=st.just("a"),
        filters=names(),
        nextHopMode=st.sampled_from(["Auto", "Self", "Keep"]),
        maxPrefixes=st.just(1),
    ),
}
SELECTING = spec(
    {"peerSelector": SELECTORS}, nodeSelector=SELECTORS, reversePeering=st.sampled_from(["Auto", "Manual"])
)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """A few resources of every kind: those of the drawn documents that can be read."""
    resources = []
    for kind, specs in SPECS.items():
        for name in draw(names(kind in ("Node", "Rack", "Switch"))):
            labels = draw(st.sampled_from([{}, {"rack": "a"}, {"rack": "b"}]))
            metadata = {"name": "default" if kind == "BGPConfiguration" else name, "labels": labels}
            chosen = draw(st.one_of(specs, SELECTING)) if kind == "BGPPeer" else draw(specs)
            document = {"apiVersion": "underlay.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": chosen}
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
