"""The reader of expectations: every mistake with its place and code, and what the shipped files say."""

from __future__ import annotations

from pathlib import Path

import pytest

import containerlab
from containerlab.expectations import (
    KINDS,
    Check,
    Command,
    Expectations,
    Failure,
    NoRoute,
    Ping,
    Route,
    Scenario,
    Sessions,
    Traffic,
    seconds,
    text_of,
)
from containerlab.expectations_file import SUFFIX, ends_of, load_expectations
from containerlab.topology import Topology
from containerlab.topology_file import load_topology
from peering.problems import Problem

FOLDER = Path(containerlab.__file__).parent
SHIPPED = sorted(path.name.removesuffix(SUFFIX) for path in FOLDER.glob(f"*{SUFFIX}"))

TOPOLOGY = """
name: lab
topology:
  defaults: {kind: linux}
  nodes:
    tor: {}
    spine: {}
    node-1: {labels: {underlay/pods: "2"}}
    lonely: {}
  links:
    - endpoints: ["tor:eth1", "node-1:eth1"]
    - endpoints: ["node-1:eth2", "tor:eth2"]
    - endpoints: ["tor:eth3", "spine:eth1"]
"""


TOR = ("tor",)


def topology() -> Topology:
    loaded, problems = load_topology(TOPOLOGY, "lab.clab.yml")
    assert loaded is not None, problems
    return loaded


def read(text: str, *, power: bool = True) -> tuple[Expectations | None, tuple[Problem, ...]]:
    return load_expectations(text, "lab.expect.yml", topology(), power=power)


def good(text: str) -> Expectations:
    found, problems = read(text)
    assert problems == ()
    assert found is not None
    return found


def only_check(text: str) -> Check:
    (step,) = good(f"checks:\n  - {text}").steps
    assert isinstance(step, Check)
    return step


def told(text: str, *, power: bool = True) -> list[tuple[str, str]]:
    found, problems = read(text, power=power)
    assert found is None
    assert all(p.severity == "error" and p.object == "lab.expect.yml" for p in problems)
    return [(p.code, p.path) for p in problems]


# What is read


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sessions: all", Sessions()),
        (
            "sessions: {node: tor, with: [node-1], state: down}",
            Sessions(node=("tor",), with_=("node-1",), state="down"),
        ),
        (
            "route: {node: tor, prefix: 10.0.0.0/8, via: spine}",
            Route(node=("tor",), prefix="10.0.0.0/8", via=("spine",)),
        ),
        ("route: {node: tor, to: node-1/pod-2, paths: 2}", Route(node=("tor",), to="node-1/pod-2", paths=2)),
        ("no-route: {node: [tor, spine], prefix: default}", NoRoute(node=("tor", "spine"), prefix="default")),
        ("ping: {from: tor, to: 192.0.2.1, size: 1500}", Ping(from_=("tor",), to=("192.0.2.1",), size=1500)),
        (
            "traffic: {from: tor, to: node-1/pod-1, silent: 500ms}",
            Traffic(from_=("tor",), to=("node-1/pod-1",), silent=0.5),
        ),
        (
            "command: {node: tor, run: vtysh -c 'show version', prints: FRR.*}",
            Command(node=("tor",), run=("vtysh", "-c", "show version"), prints="FRR.*"),
        ),
    ],
)
def test_a_check_of_each_kind(text: str, expected: object) -> None:
    assert only_check(text).what == expected


def test_every_kind_is_one_that_can_be_looked_at() -> None:
    from underlay.lab_checks import LOOKS  # noqa: PLC0415  the room above; only this test needs it

    assert set(KINDS.values()) == set(LOOKS)


def test_the_time_of_a_check_is_its_own_else_its_scenarios_else_the_files() -> None:
    found = good("""
within: 5s
checks:
  - sessions: all
  - {sessions: all, within: 1m}
  - fail: {isolate: tor}
    within: 7s
    then: [{sessions: all}, {sessions: all, within: 900ms}]
""")
    assert [check.within for check in found.checks()] == [5, 60, 7, 0.9]
    assert only_check("sessions: all").within == 30


def test_a_scenario_is_read_whole() -> None:
    (step,) = good("""
checks:
  - name: cable
    fail: {link: [tor, node-1]}
    traffic: [{from: spine, to: node-1/pod-1, silent: 1s}, {from: node-1, to: spine, lost: 3}]
    then: [{no-ping: {from: spine, to: node-1}}]
    recover:
      traffic: {from: spine, to: node-1/pod-1, lost: 0}
      then: [{ping: {from: spine, to: node-1}}]
""").steps
    assert isinstance(step, Scenario)
    assert (step.name, step.failure) == ("cable", Failure(link=("tor", "node-1")))
    assert [len(phase) for phase in (step.broken.traffic, step.broken.then)] == [2, 1]
    assert [check.name for check in step.mended.traffic] == ["traffic spine to node-1/pod-1, 0 packets lost at most"]
    assert [check.name for check in step.mended.then] == ["ping spine to node-1"]


def test_names_are_made_from_what_is_looked_at_and_are_unique() -> None:
    found = good("""
checks:
  - sessions: all
  - {name: first,   sessions: all}
  - sessions: all
  - {name: sessions all, ping: {from: tor, to: spine, family: ipv6}}
""")
    assert [check.name for check in found.checks()] == ["sessions all", "first", "sessions all #2", "sessions all #3"]


def test_every_place_that_is_named_is_known_once() -> None:
    found = good("""
checks:
  - ping: {from: [spine, node-1/pod-1], to: [spine, 10.0.0.1]}
  - fail: {process: bgpd, node: tor}
    then: [{sessions: {node: spine, with: lonely}}]
""")
    assert sorted(found.places()) == ["lonely", "node-1/pod-1", "spine", "tor"]


def test_a_name_has_both_families_and_an_address_its_own() -> None:
    ping = only_check("ping: {from: tor, to: [spine, 10.0.0.1, 'fd00::1']}").what
    assert isinstance(ping, Ping)
    assert [(to, version) for _, to, version in ping.pairs()] == [
        ("spine", 4), ("spine", 6), ("10.0.0.1", 4), ("fd00::1", 6),
    ]  # fmt: skip
    route = only_check("route: {node: tor, prefix: 'fd00::/8'}").what
    assert isinstance(route, Route)
    assert route.versions() == (6,)
    pod = only_check("route: {node: tor, to: node-1/pod-1, family: ipv4}").what
    assert isinstance(pod, Route)
    assert pod.versions() == (4,)


@pytest.mark.parametrize(
    ("text", "expected"), [("500ms", 0.5), ("30s", 30), ("2m", 120), (7, 7), (1.5, 1.5), ("1.5 s", 1.5), ("1h", None),
                           ("-1s", None), ("", None), (True, None), ("61m", None), ("0", 0)],
)  # fmt: skip
def test_durations(text: object, expected: float | None) -> None:
    if expected is None:
        with pytest.raises(ValueError, match=r"is no time|longer than an hour"):
            seconds(text)
    else:
        assert seconds(text) == expected


def test_durations_are_written_as_they_are_read() -> None:
    assert [text_of(value) for value in (0, 0.05, 0.5, 1, 1.5, 90)] == ["0s", "50ms", "500ms", "1s", "1.5s", "90s"]


def test_a_link_is_all_between_two_nodes_or_the_one_of_an_end() -> None:
    assert ends_of(topology(), ("tor", "node-1")) == ("tor", ["eth1", "eth2"])
    assert ends_of(topology(), ("spine", "tor")) == ("spine", ["eth1"])
    assert ends_of(topology(), ("spine", "node-1")) == ("spine", [])
    assert ends_of(topology(), ("tor:eth2",)) == ("tor", ["eth2"])
    assert ends_of(topology(), ("tor:eth9",)) == ("tor", [])


# What is wrong


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("checks: [", [("yaml", "")]),
        ("- sessions: all", [("yaml", "")]),
        ("checks: []\n---\nchecks: []", [("yaml", "")]),
        ("checks: [{sessions: all, sessions: all}]", [("yaml", "")]),
        ("{}", [("missing-key", "checks")]),
        ("checks: {sessions: all}", [("wrong-value", "checks")]),
        ("checks: []", [("nothing-to-check", "checks")]),
        ("chekcs: []", [("missing-key", "checks"), ("unknown-key", "chekcs")]),
        ("{within: soon, checks: [{sessions: all}]}", [("wrong-value", "within")]),
        ("checks: [sessions]", [("wrong-value", "checks[0]")]),
        ("checks: [{name: x}]", [("one-check", "checks[0]")]),
        ("checks: [{name: 1, sessions: all}]", [("wrong-value", "checks[0].name")]),
        ("checks: [{sessions: all, ping: {from: tor, to: spine}}]", [("one-check", "checks[0]")]),
        ("checks: [{pnig: {from: tor, to: spine}}]", [("unknown-key", "checks[0].pnig")]),
        ("checks: [{sessions: {nodes: tor}}]", [("unknown-key", "checks[0].sessions.nodes")]),
        ("checks: [{sessions: {node: []}}]", [("wrong-value", "checks[0].sessions.node")]),
        ("checks: [{sessions: {state: up}}]", [("wrong-value", "checks[0].sessions.state")]),
        ("checks: [{sessions: {node: tro}}]", [("unknown-node", "checks[0].sessions.node")]),
        ("checks: [{sessions: {with: node-1/pod-1}}]", [("unknown-pod", "checks[0].sessions.with")]),
        ("checks: [{ping: {from: tor}}]", [("missing-key", "checks[0].ping.to")]),
        ("checks: [{ping: {from: 10.0.0.1, to: tor}}]", [("unknown-node", "checks[0].ping.from")]),
        ("checks: [{ping: {from: tor, to: node-1/pod-3}}]", [("unknown-pod", "checks[0].ping.to")]),
        ("checks: [{ping: {from: tor, to: tor/pod-1}}]", [("unknown-pod", "checks[0].ping.to")]),
        ("checks: [{route: {node: tor}}]", [("wrong-value", "checks[0].route")]),
        ("checks: [{route: {node: tor, prefix: default, to: spine}}]", [("wrong-value", "checks[0].route")]),
        ("checks: [{route: {node: tor, prefix: 10.0.0.1/8}}]", [("wrong-value", "checks[0].route.prefix")]),
        ("checks: [{command: {node: tor, run: 'x', prints: '('}}]", [("wrong-value", "checks[0].command.prints")]),
        ('checks: [{command: {node: tor, run: "\'"}}]', [("wrong-value", "checks[0].command.run")]),
        ("checks: [{traffic: {from: tor, to: spine}}]", [("wrong-value", "checks[0].traffic")]),
        ("checks: [{fail: {}}]", [("wrong-value", "checks[0].fail")]),
        ("checks: [{fail: {link: [tor, spine], isolate: tor}}]", [("wrong-value", "checks[0].fail")]),
        ("checks: [{fail: {isolate: tor, node: tor}}]", [("wrong-value", "checks[0].fail")]),
        ("checks: [{fail: {process: bgpd}}]", [("wrong-value", "checks[0].fail")]),
        ("checks: [{fail: {run: x, node: tor}}]", [("wrong-value", "checks[0].fail")]),
        ("checks: [{fail: {link: [tor]}}]", [("wrong-value", "checks[0].fail.link")]),
        ("checks: [{fail: {link: [tor, 'spine:eth1']}}]", [("wrong-value", "checks[0].fail.link")]),
        ("checks: [{fail: {link: 'tor:eth9'}}]", [("no-link", "checks[0].fail.link")]),
        ("checks: [{fail: {link: 'tro:eth1'}}]", [("unknown-node", "checks[0].fail")]),
        ("checks: [{fail: {link: [tor, lonely]}}]", [("no-link", "checks[0].fail.link")]),
        ("checks: [{fail: {isolate: lonely}}]", [("no-link", "checks[0].fail.isolate")]),
        ("checks: [{fail: {power: rack}}]", [("unknown-node", "checks[0].fail")]),
        ("checks: [{fail: {isolate: tor}, recover: []}]", [("wrong-value", "checks[0].recover")]),
        ("checks: [{fail: {isolate: tor}, recover: {than: []}}]", [("unknown-key", "checks[0].recover.than")]),
        ("checks: [{fail: {isolate: tor}, then: [{}]}]", [("one-check", "checks[0].then[0]")]),
        (
            "checks: [{fail: {isolate: tor}, recover: {then: [{sessions: {node: x}}]}}]",
            [("unknown-node", "checks[0].recover.then[0].sessions.node")],
        ),
        (
            "checks: [{fail: {isolate: tor}, traffic: {from: tor, to: spine, lost: 0, for: 3s}}]",
            [("wrong-value", "checks[0].traffic.for")],
        ),
    ],
)
def test_every_mistake_is_told_with_its_place(text: str, expected: list[tuple[str, str]]) -> None:
    assert told(text) == expected


def test_several_mistakes_are_told_together_with_the_nearest_names() -> None:
    _, problems = read("checks: [{pnig: {}}, {sessions: {node: [tro, x]}}, {fail: {link: [spine, node-1]}}]")
    hints = {problem.hint for problem in problems}
    assert len(problems) == 4
    assert {"did you mean 'ping'?", "did you mean 'tor'?", "spine has: spine:eth1 to tor"} < hints


def test_the_power_of_a_node_is_refused_where_there_are_only_commands() -> None:
    text = "checks: [{fail: {power: tor}}]"
    assert good(text)
    assert told(text, power=False) == [("no-power-switch", "checks[0].fail.power")]


# The shipped files


def test_there_are_expectations_of_the_topology_that_is_shown_first() -> None:
    assert "dual-tor" in SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_file_is_read_without_problems(name: str) -> None:
    loaded, _ = load_topology((FOLDER / f"{name}.clab.yml").read_text(), name)
    assert loaded is not None
    found, problems = load_expectations((FOLDER / f"{name}{SUFFIX}").read_text(), name, loaded)
    assert problems == ()
    assert found is not None
    assert any(isinstance(step, Scenario) and step.mended.then for step in found.steps)
