"""`diff` for Dell OS10 beyond what test_remediation.py looks at: what its lines lead to, and what it does not show.

There is no OS10 here: which lines take another one's place is said here, from Dell's guides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

from fabric_templates.remediation.compare import compare
from tests.switches.matrix import cases
from tests.switches.test_remediation import is_left, paths, text_of, usual

Path_ = tuple[str, ...]
_VALUES = (
    "remote-as|description|password|local-as|update-source|ebgp-multihop|timers|send-community|maximum-prefix|"
    "allowas-in|router-id|cluster-id|bestpath as-path|maximum-paths ebgp|maximum-paths ibgp|set local-preference|"
    "set origin|match as-path|match community|match ip address|match ipv6 address"
)
#: What is said once of a section: another line of the same kind takes its place.
_ONCE = re.compile(
    rf"({_VALUES}) |()(?:no )?(?:shutdown|activate|sender-side-loop-detection)$|(route-map) UNDERLAY-\S+ (in|out)$"
)


def about(text: str) -> tuple[str | None, ...]:
    found = _ONCE.match(text)
    flag = text.removeprefix("no ") if found and found[2] is not None else ""
    return (*found.groups(), flag) if found else (text,)


def obeyed(running: Iterable[str], said: Iterable[str]) -> set[Path_]:
    """What is there when all lines were done; `no` takes a line away with those below it."""
    state = set(paths(running))
    for path in paths(said):
        *above, text = path
        opposite = (*above, text.removeprefix("no ") if text.startswith("no ") else f"no {text}")
        there = {p for p in state if p[: len(path)] == opposite}
        same = {p for p in state if p[:-1] == tuple(above) and about(p[-1]) == about(text)}
        state -= there | same
        numbered = re.match(r"ip(?:v6)? prefix-list \S+ seq \d+ ", text)
        assert not (numbered and any(p[-1].startswith(numbered[0]) for p in state)), "the number is taken"
        if not (there and text.startswith("no ")) and text != "sender-side-loop-detection":  # the default, not shown
            state.add(path)
    return state


def test_who_does_what_is_said_gets_from_each_plan_to_the_next() -> None:
    plans = [plan for _, plan in sorted(cases("os10").items()) if plan.asn == 65011]
    for one, other in pairwise(plans):
        running, goal = text_of(one).splitlines(), set(paths(text_of(other).splitlines()))
        reached = obeyed(running, compare("tor-1a", other, "\n".join(running)).lines)
        assert goal <= reached
        left = {path for path in reached - goal if not is_left(path, goal, running)}
        assert left <= {("bfd enable",)}


def test_each_section_that_is_said_is_closed() -> None:
    lines = compare("tor-1a", usual("os10"), "hostname tor-1a\n").lines
    opened = [
        line.strip()
        for line in lines
        if re.match(r"\s*(router bgp|neighbor|address-family|route-map \S+ \w+ \d)", line)
    ]
    assert len(opened) > 10
    assert sum(line.strip() == "exit" for line in lines) == len(opened)


def test_what_os10_does_not_show_is_not_said_again() -> None:
    plan = usual("os10")
    shown = re.sub(r"(  address-family ipv4 unicast\n)   activate\n", r"\1", text_of(plan))
    assert shown.count("   activate\n") < text_of(plan).count("   activate\n")
    shown = re.sub(r'description "(\S+)"', r"description \1", shown)
    shown = re.sub(r"password \S+", "password 9 0123abcd", shown)
    assert "no activate" in shown
    assert compare("tor-1a", plan, shown).lines == ()


def test_a_neighbor_that_was_shut_down_is_not_any_more() -> None:
    plan = usual("os10")
    lines = compare("tor-1a", plan, text_of(plan).replace("  no shutdown\n", "  shutdown\n", 1)).lines
    assert [line.strip() for line in lines] == [
        "router bgp 65011",
        "neighbor 10.254.1.0",
        "no shutdown",
        "exit",
        "exit",
    ]
