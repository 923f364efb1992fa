"""`diff` for platforms whose configuration is a tree: nothing where it runs the plan, and not a word about others."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from fabric_templates.remediation.compare import compare
from fabric_templates.remediation.trees import tables
from fabric_templates.render import check
from peering.problems import errors
from tests.switches.matrix import PASSWORDS, cases
from tests.switches.platforms import releases
from tests.switches.scenarios import SCENARIOS, scenario
from tests.switches.test_remediation import GOLDEN, SCENARIO, before, text_of

PLATFORMS = [name for name in releases() if name.partition("@")[0] in tables.names()]
DESIGNS = [(p, d) for p in PLATFORMS for d in sorted(SCENARIOS) if not errors(check("tor-1a", scenario(d, p)))]
_BY_HAND = """
- header: {model: VX, nvue-api-version: nvue_v1}
- set:
    interface: {lo: {ip: {address: {10.0.1.1/32: {}}}}}
    router:
      policy:
        prefix-list:
          OFFICE: {type: ipv4, rule: {'5': {action: permit, match: {192.0.2.0/24: {}}}}}
    vrf:
      OFFICE:
        router: {bgp: {autonomous-system: 65099, neighbor: {10.1.1.1: {remote-as: 65999}}}}
      default:
        router:
          bgp:
            address-family: {ipv4-unicast: {network: {198.51.100.0/24: {}}}}
            neighbor: {10.99.0.9: {remote-as: 65999, password: $nvsec$a, peer-group: OTHERS}}
            peer-group: {OTHERS: {description: others}}
            timers: {hold: 30}
          static: {10.0.99.1/32: {via: {10.1.1.99: {type: ipv4-address}}}}
"""
NOTES = [
    ("info", "foreign-neighbor", "neighbor 10.99.0.9"),
    ("info", "foreign-network", "network 198.51.100.0/24"),
]
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Settings = dict[tuple[str, ...], str]


def beside(text: str) -> str:
    """The configuration with what somebody else has in the same places."""
    mine, theirs = yaml.load(text, LOADER), yaml.load(_BY_HAND, LOADER)
    merged = merge(next(part["set"] for part in mine if "set" in part), theirs[1]["set"])
    return yaml.safe_dump([theirs[0], {"set": merged}])


def merge(one: Any, other: Any) -> Any:
    if not isinstance(one, dict) or not isinstance(other, dict):
        return other
    both = {key: merge(one[key], other[key]) for key in one.keys() & other.keys()}
    return {**one, **other, **both}


def settings(text: str) -> Settings:
    return {path: value for part in yaml.load(text, LOADER) if "set" in part for path, value in walk(part["set"], ())}


def walk(tree: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if not isinstance(tree, dict) or not tree:
        yield path, "" if tree == {} else str(tree)
        return
    for key, value in tree.items():
        yield from walk(value, (*path, str(key)))


def obeyed(running: Settings, said: Iterable[str], shape: Settings) -> Settings:
    """What is set when each line was done. `shape` says where a word is a value and not a key."""
    state = dict(running)
    for line in said:
        nv, verb, *words = shlex.split(line)
        path = tuple(words)
        assert (nv, verb in ("set", "unset")) == ("nv", True)
        if verb == "unset":
            gone = [p for p in state if p[: len(path)] == path]
            assert gone, line
            for one in gone:
                del state[one]
        elif path in shape:
            state[path] = ""
        else:
            state[path[:-1]] = path[-1]
    return state


@pytest.mark.parametrize("platform", PLATFORMS)
def test_nothing_is_said_to_a_switch_that_runs_the_plan(platform: str) -> None:
    for name, plan in sorted(cases(platform).items()):
        remedy = compare("tor-1a", plan, text_of(plan, PASSWORDS))
        assert (remedy.lines, remedy.problems) == ((), ()), name


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_plan_that_changed(platform: str, equals_golden: Callable[[Path, str], None]) -> None:
    plan = scenario(SCENARIO, platform)
    remedy = compare("tor-1a", plan, text_of(before(plan)))
    assert remedy.problems == ()
    equals_golden(GOLDEN / f"{platform}.txt", "\n".join(remedy.lines) + "\n")


@pytest.mark.parametrize(("platform", "design"), DESIGNS)
def test_what_others_made_changes_nothing_of_what_is_said(platform: str, design: str) -> None:
    plan = scenario(design, platform)
    running = text_of(before(plan))
    alone, with_theirs = (compare("tor-1a", plan, text) for text in (running, beside(running)))
    assert with_theirs.lines == alone.lines
    assert [(p.severity, p.code, p.path) for p in with_theirs.problems if "OTHERS" not in p.path] == NOTES


@pytest.mark.parametrize("platform", PLATFORMS)
def test_who_does_what_is_said_gets_from_each_plan_to_the_next(platform: str) -> None:
    plans = [plan for _, plan in sorted(cases(platform).items()) if plan.asn == 65011]
    for one, other in pairwise(plans):
        running, goal = settings(text_of(one)), settings(text_of(other))
        reached = obeyed(running, compare("tor-1a", other, text_of(one)).lines, goal)
        assert {path: reached.get(path) for path in goal} == goal
        assert [path for path in reached if path not in goal and not is_left(path, goal, running)] == []


def is_left(path: tuple[str, ...], goal: Settings, running: Settings) -> bool:
    """What may be somebody else's, too: a family that the plan has not, what is announced, a daemon that runs."""
    mine = any("UNDERLAY" in key or key == "neighbor" for key in path)
    families = [path[:n] for n in range(1, len(path) + 1) if path[n - 2] == "address-family"]
    absent = any(all(known[: len(family)] != family for known in goal) for family in families)
    listed = any(f"UNDERLAY-ANNOUNCE-V{6 if ':' in path[-1] else 4}" in known for known in running)
    aggregate = "aggregate-route" in path and not listed
    return not mine and (absent or aggregate or "network" in path or path[:2] == ("router", "bfd"))


@pytest.mark.parametrize("platform", PLATFORMS)
def test_another_as_is_not_changed_in_passing(platform: str) -> None:
    plan = scenario(SCENARIO, platform)
    text = text_of(plan)
    assert "autonomous-system: 65011" in text
    remedy = compare("tor-1a", plan, text.replace("autonomous-system: 65011", "autonomous-system: 65099"))
    assert (remedy.lines, [(p.severity, p.code) for p in remedy.problems]) == ((), [("error", "running-as-differs")])
    assert "65099" in remedy.problems[0].message


@pytest.mark.parametrize(
    ("text", "code"),
    [("", "running-config-empty"), ("hostname: [", "running-config-unreadable"), ("text", "running-config-unreadable")],
)
def test_what_is_no_configuration_is_a_mistake(text: str, code: str) -> None:
    remedy = compare("tor-1a", scenario(SCENARIO, "nvue"), text)
    assert (remedy.lines, [p.code for p in remedy.problems]) == ((), [code])


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_password_is_not_compared_and_an_old_one_not_shown(platform: str) -> None:
    plan = scenario(SCENARIO, platform)
    running = text_of(plan, dict.fromkeys(PASSWORDS, "an-old-one"))
    assert compare("tor-1a", plan, running, passwords=PASSWORDS).lines == ()
    without = replace(plan, sessions=tuple(replace(s, password=None) for s in plan.sessions))
    taken, given = compare("tor-1a", without, running).lines, compare("tor-1a", plan, text_of(without)).lines
    assert [line.split()[-1] for line in taken] == ["password", "password"]
    assert ["<secret:" in line for line in given] == [True, True]


def test_a_neighbor_made_by_hand_that_the_plan_has_is_taken_over() -> None:
    plan = scenario(SCENARIO, "nvue")
    text = "- set: {vrf: {default: {router: {bgp: {neighbor: {10.1.1.1: {remote-as: 65101, peer-group: OTHERS}}}}}}}"
    remedy = compare("tor-1a", plan, text)
    assert [(p.severity, p.code, p.path) for p in remedy.problems] == [
        ("warning", "neighbor-taken-over", "neighbor 10.1.1.1")
    ]
    assert "nv set vrf default router bgp neighbor 10.1.1.1 peer-group UNDERLAY-NODES" in remedy.lines
