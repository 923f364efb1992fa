"""`diff` for MikroTik RouterOS. There is none here: what its commands do is said here, from MikroTik's manual."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from fabric_templates.remediation.compare import compare
from fabric_templates.render import check
from peering.problems import errors
from peering.session import SwitchPlan
from tests.switches.matrix import PASSWORDS, cases
from tests.switches.scenarios import SCENARIOS, scenario
from tests.switches.test_remediation import GOLDEN, SCENARIO, before, text_of

#: Menu, and its items: each the properties as they were said.
State = list[tuple[str, dict[str, str]]]
_DEFAULTS = {("multihop", "no"), ("use-bfd", "no"), ("output.as-override", "no"), ("nexthop-choice", "default")}
DESIGNS = [d for d in sorted(SCENARIOS) if not errors(check("tor-1a", scenario(d, "routeros")))]
BY_HAND = """\
# 2026-11-21 20:00:00 by RouterOS 7.20
/interface bridge add name=loopback
/ip firewall address-list add address=198.51.100.0/24 list=OFFICE
/ip route add disabled=no dst-address=10.0.99.1/32 gateway=10.1.1.99
/routing filter rule add chain=OFFICE rule="if (dst in 192.0.2.0/24) { accept }"
/routing bgp instance add as=65099 name=office
/routing bgp template set default disabled=no
/routing bgp connection add instance=office local.role=ebgp name=office remote.address=10.99.0.9/32 .as=65999 \\
    tcp-md5-key=theirs
/system identity set name=tor-1a
"""


def plan_of(design: str = SCENARIO) -> SwitchPlan:
    return scenario(design, "routeros")


def commands(lines: Iterable[str]) -> Iterator[tuple[str, str, list[str]]]:
    """(menu, verb, words) of each line."""
    for line in lines:
        if line and line[0] == "/":
            menu, verb, *words = shlex.split(line.replace("[find where ", "[ ").replace("]", " ]"))
            yield menu, verb, words


def obeyed(running: State, said: Iterable[str]) -> State:
    """What is there when all lines were done. Each `remove` and `set` has to find something."""
    state = list(running)
    for menu, verb, words in commands(said):
        if verb == "add":
            state.append((menu, properties(words)))
            continue
        end = words.index("]")
        where, changes = properties(words[1:end]), properties(words[end + 1 :])
        found = [one for one in state if one[0] == menu and where.items() <= one[1].items()]
        assert found, (menu, where)
        assert (verb, bool(changes)) in (("remove", False), ("set", True))
        if verb == "remove":
            state = [one for one in state if one not in found]
        else:
            assert len(found) == 1
            state[state.index(found[0])] = (menu, found[0][1] | changes)
    return state


def properties(words: Iterable[str]) -> dict[str, str]:
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def added(text: str) -> State:
    return [(menu, properties(words)) for menu, verb, words in commands(text.splitlines()) if verb == "add"]


def meaning(state: State) -> tuple[list[str], dict[str, list[str]]]:
    """The items without what is so by default, and the rules of each chain in their order."""
    chains: dict[str, list[str]] = {}
    others = []
    for menu, item in state:
        if menu == "/routing/filter/rule":
            chains.setdefault(item["chain"], []).append(item["rule"])
        else:
            others.append(str((menu, sorted(item.items() - _DEFAULTS))))
    return sorted(others), chains


def test_nothing_is_said_to_a_switch_that_runs_the_plan() -> None:
    for name, plan in sorted(cases("routeros").items()):
        for passwords in (None, PASSWORDS):
            remedy = compare("tor-1a", plan, text_of(plan, PASSWORDS), passwords=passwords)
            assert (remedy.lines, remedy.problems) == ((), ()), name


def test_a_plan_that_changed(equals_golden: Callable[[Path, str], None]) -> None:
    remedy = compare("tor-1a", plan_of(), text_of(before(plan_of())))
    assert remedy.problems == ()
    equals_golden(GOLDEN / "routeros.txt", "\n".join(remedy.lines) + "\n")


def test_who_does_what_is_said_gets_from_each_plan_to_the_next() -> None:
    plans = [plan for _, plan in sorted(cases("routeros").items()) if plan.asn == 65011]
    for one, other in pairwise(plans):
        lines = compare("tor-1a", other, text_of(one)).lines
        assert meaning(obeyed(added(text_of(one)), lines)) == meaning(added(text_of(other)))


def test_nothing_refers_to_what_is_not_there() -> None:
    plans = [plan for _, plan in sorted(cases("routeros").items()) if plan.asn == 65011]
    for one, other in pairwise(plans):
        state = added(text_of(one))
        for line in compare("tor-1a", other, text_of(one)).lines:
            state = obeyed(state, [line])
            chains = {item["chain"] for menu, item in state if menu == "/routing/filter/rule"}
            if " remove " not in line:
                assert {word for menu, item in state for word in uses(menu, item)} <= chains | {changed(line)}


def uses(menu: str, item: dict[str, str]) -> Iterator[str]:
    if menu == "/routing/bgp/connection":
        yield from (item["input.filter"], item["output.filter-chain"])


def changed(line: str) -> str:
    found = re.search(r"chain=(\S+)", line)
    return found[1] if found else ""


@pytest.mark.parametrize("design", DESIGNS)
def test_what_others_made_changes_nothing_of_what_is_said(design: str) -> None:
    plan = plan_of(design)
    running = text_of(before(plan))
    alone, beside = (compare("tor-1a", plan, text) for text in (running, BY_HAND + running + BY_HAND))
    assert beside.lines == alone.lines
    assert [(p.severity, p.code, p.path) for p in beside.problems] == [
        ("info", "foreign-neighbor", "neighbor 10.99.0.9")
    ]


def test_a_switch_without_any_of_it_is_told_all() -> None:
    lines = compare("tor-1a", plan_of(), BY_HAND).lines
    assert meaning(obeyed([], lines)) == meaning(added(text_of(plan_of())))


#: As an export shows what was said in other words: sections, lines that go on, defaults left out, abbreviated names.
_EXPORT = """\
# 2026-11-21 20:00:00 by RouterOS 7.20
/routing bgp instance
add as=65011 disabled=no multipath=16 name=UNDERLAY router-id=10.0.1.1
/routing bgp connection
add afi=ip comment=node/node-1 connect=no disabled=no hold-time=1m30s \\
    input.filter=UNDERLAY-NODES-IN .limit-process-routes-ipv4=100 instance=\\
    UNDERLAY keepalive-time=00:00:30 local.address=10.1.1.0 .role=ebgp .ttl=255 name=UNDERLAY-10.1.1.1 \\
    output.filter-chain=UNDERLAY-NODES-OUT .network=UNDERLAY-NETWORKS .redistribute=bgp \\
    remote.address=10.1.1.1/32 .as=65101 .ttl=255 routing-table=main tcp-md5-key=secret templates=default
/routing filter rule
add chain=UNDERLAY-NODES-PATH disabled=no rule="if (bgp-as-path ^65101+\\$) {accept;}"
add chain=UNDERLAY-NODES-PATH disabled=no rule=reject
"""


def test_an_export_says_the_same_in_other_words() -> None:
    plan = plan_of()
    slow = replace(
        plan,
        sessions=tuple(
            replace(s, hold_time=90, keepalive_time=30) if s.peer_address == "10.1.1.1" else s for s in plan.sessions
        ),
    )
    lines = compare("tor-1a", slow, _EXPORT).lines
    assert {line.split(" ", 2)[1] for line in lines} == {"add"}
    assert not any(
        "UNDERLAY-10.1.1.1" in line or "/instance" in line or "NODES-PATH" in line.split()[2] for line in lines
    )
    assert [line for line in compare("tor-1a", plan, _EXPORT).lines if "/connection set " in line] == [
        '/routing/bgp/connection set [find where name="UNDERLAY-10.1.1.1"] hold-time=9s keepalive-time=3s'
    ]


def test_what_was_disabled_is_enabled() -> None:
    running = text_of(plan_of()).replace('add name="UNDERLAY-10.1.1.3"', 'add disabled=yes name="UNDERLAY-10.1.1.3"')
    assert compare("tor-1a", plan_of(), running).lines == (
        '/routing/bgp/connection set [find where name="UNDERLAY-10.1.1.3"] disabled=no',
    )


def test_a_property_that_only_the_switch_has_makes_the_neighbor_anew() -> None:
    running = text_of(plan_of()).replace('add name="UNDERLAY-10.1.1.3"', 'add as=65099 name="UNDERLAY-10.1.1.3"')
    lines = compare("tor-1a", plan_of(), running).lines
    assert [line.split()[1] for line in lines] == ["remove", "add"]
    assert all("UNDERLAY-10.1.1.3" in line for line in lines)


def test_another_as_is_not_changed_in_passing() -> None:
    remedy = compare("tor-1a", plan_of(), text_of(plan_of()).replace("UNDERLAY as=65011", "UNDERLAY as=65099"))
    assert (remedy.lines, [(p.severity, p.code) for p in remedy.problems]) == ((), [("error", "running-as-differs")])
    assert "65099" in remedy.problems[0].message


@pytest.mark.parametrize("text", ["", "# a comment\n/system identity set name=tor-1a\n"])
def test_an_empty_configuration_is_a_mistake(text: str) -> None:
    remedy = compare("tor-1a", plan_of(), text)
    assert (remedy.lines, [p.code for p in remedy.problems]) == ((), ["running-config-empty"])


def test_a_neighbor_made_by_hand_that_the_plan_has_is_taken_over() -> None:
    running = "/routing bgp connection add name=node-1 remote.address=10.1.1.1/32 .as=65101 local.role=ebgp\n"
    remedy = compare("tor-1a", plan_of(), running)
    assert [(p.severity, p.code, p.path) for p in remedy.problems] == [
        ("warning", "neighbor-taken-over", "neighbor 10.1.1.1")
    ]
    gone = remedy.lines.index('/routing/bgp/connection remove [find where name="node-1"]')
    came = next(n for n, line in enumerate(remedy.lines) if 'connection add name="UNDERLAY-10.1.1.1"' in line)
    assert gone < came


def test_no_password_is_shown_or_compared_unless_asked_for() -> None:
    plan = plan_of()
    running = text_of(plan, dict.fromkeys(PASSWORDS, "an-old-one"))
    assert running.count("an-old-one") == 2
    assert compare("tor-1a", plan, running).lines == ()
    new = compare("tor-1a", plan, running, passwords=PASSWORDS).lines
    assert [line.split("]")[1].split("=")[0].strip() for line in new] == ["tcp-md5-key", "tcp-md5-key"]
    without = replace(plan, sessions=tuple(replace(s, password=None) for s in plan.sessions))
    taken, given = compare("tor-1a", without, running).lines, compare("tor-1a", plan, text_of(without)).lines
    assert [" set " in line and "<secret:" in line for line in given] == [True, True]
    assert [line.split()[1] for line in taken] == ["remove", "add", "remove", "add"]
    assert not any("an-old-one" in line or "tcp-md5-key" in line for line in taken)
