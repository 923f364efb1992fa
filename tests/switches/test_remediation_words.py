"""`diff` for platforms of `set` lines: Junos and VyOS.

What a Junos makes of the lines is worked out with Juniper's own schema, as PyPI's junoscfg has it: which words it
knows, and which of them have one value. VyOS's definitions are in no package; what has one value there is said here.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pytest
from junoscfg.convert.output.structured_output import dict_to_structured
from junoscfg.display.constants import load_schema_tree

from fabric_templates.remediation.compare import compare
from fabric_templates.remediation.words import tables
from fabric_templates.render import check
from peering.problems import errors
from peering.session import SwitchPlan
from tests.switches.matrix import PASSWORDS, cases
from tests.switches.platforms.junos_parser import tree, unknown
from tests.switches.scenarios import SCENARIOS, scenario
from tests.switches.test_remediation import GOLDEN, SCENARIO, before, text_of

Path_ = tuple[str, ...]
PLATFORMS = list(tables.names())
DESIGNS = [(p, d) for p in PLATFORMS for d in sorted(SCENARIOS) if not errors(check("tor-1a", scenario(d, p)))]
BY_HAND = {
    "junos": """set version 24.4R1.9
set system host-name tor-1a
set policy-options prefix-list OFFICE 192.0.2.0/24
set policy-options policy-statement OFFICE term 1 from prefix-list OFFICE
set policy-options policy-statement OFFICE term 1 then accept
set routing-options static route 10.0.99.1/32 next-hop 10.1.1.99
set routing-options aggregate route 198.51.100.0/24 discard
set routing-instances OFFICE protocols bgp group X neighbor 10.1.1.1 peer-as 65999
set protocols bgp hold-time 30
set protocols bgp group OTHERS type external
set protocols bgp group OTHERS import OFFICE
set protocols bgp group OTHERS neighbor 10.99.0.9 peer-as 65999
set protocols bgp group OTHERS neighbor 10.99.0.9 authentication-key "$9$abc"
""",
    "vyos": """set system host-name 'tor-1a'
set policy prefix-list OFFICE rule 5 action 'permit'
set policy prefix-list OFFICE rule 5 prefix '192.0.2.0/24'
set policy route-map OFFICE rule 10 action 'permit'
set protocols static route 10.0.99.1/32 next-hop 10.1.1.99
set vrf name OFFICE protocols bgp neighbor 10.1.1.1 remote-as '65999'
set protocols bgp timers holdtime '30'
set protocols bgp peer-group OTHERS
set protocols bgp address-family ipv4-unicast network 198.51.100.0/24
set protocols bgp neighbor 10.99.0.9 remote-as '65999'
set protocols bgp neighbor 10.99.0.9 peer-group 'OTHERS'
set protocols bgp neighbor 10.99.0.9 password 'theirs'
""",
}
NOTES = [
    ("info", "foreign-neighbor", "neighbor 10.99.0.9"),
    ("info", "foreign-network", "network 198.51.100.0/24"),
]
#: Words of VyOS that one value follows, and no other below the same words.
_VALUED = (
    "system-as router-id cluster-id limit ebgp ibgp action prefix ge le regex as-path community-list prefix-list "
    "large-community-list local-preference origin delete extcommunity large-community remote-as description connect "
    "holdtime keepalive password port ebgp-multihop hops update-source import export maximum-prefix number multiplier "
    "receive transmit minimum-ttl"
)


def words(text: str) -> list[Path_]:
    """Of each `set` line, as a switch shows it: of Junos two flags of one word are two lines."""
    return [tuple(shlex.split(line))[1:] for line in text.splitlines() if line.startswith("set ")]


def obeyed(platform: str, running: Iterable[Path_], said: Iterable[str]) -> list[Path_]:
    """What is there when all lines were done."""
    state = list(running)
    for line in said:
        verb, *rest = shlex.split(line)
        path = tuple(rest)
        if verb == "delete":
            left = [known for known in state if known[: len(path)] != path]
            assert len(left) < len(state), line
            state = left
        else:
            assert verb == "set", line
            head = {"junos": junos_leaf, "vyos": vyos_leaf}[platform](path)
            same = [known for known in state if head and known[:-1] == head and len(known) == len(path)]
            state = [path if known in same else known for known in state] if same else [*state, path]
    return list(dict.fromkeys(state))


def vyos_leaf(path: Path_) -> Path_:
    in_list = path[-2] == "prefix-list" and path[0] == "policy" and len(path) == 3
    grouped = path[-2] == "peer-group" and path[-4] in ("neighbor", "range")
    profile = path[-2] == "profile" and path[-3] == "bfd" and path[1] == "bgp"
    return path[:-1] if (path[-2] in _VALUED.split() and not in_list) or grouped or profile else ()


def junos_leaf(path: Path_) -> Path_:
    """The words before the value, if they lead to a leaf that has one."""
    node, rest = load_schema_tree() or {}, list(path)
    while rest:
        word = rest.pop(0)
        child = node.get("c", {}).get(word)
        if child is None or (child.get("nk") and not rest):
            return path[:-1] if not rest and any(c.get("nk") and c.get("l") for c in node["c"].values()) else ()
        if child.get("l"):
            return path[:-1] if len(rest) == 1 and not child.get("ll") else ()
        if child.get("L") and rest:
            rest.pop(0)
        node = child
    return ()


def meaning(paths: Iterable[Path_]) -> tuple[set[Path_], dict[Path_, list[str]]]:
    """What a switch understands: the paths, and the order of the terms and policies of Junos."""
    known = dict.fromkeys(paths)
    shorter = {path[:n] for path in known for n in range(len(path))}
    entries: dict[Path_, dict[str, None]] = {}
    for path in known:
        for place in (n for n, word in enumerate(path[:-1], 1) if word in ("term", "import", "export")):
            entries.setdefault(path[:place], {})[path[place]] = None
    return known.keys() - shorter, {place: list(found) for place, found in entries.items()}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_nothing_is_said_to_a_switch_that_runs_the_plan(platform: str) -> None:
    for name, plan in sorted(cases(platform).items()):
        for passwords in (None, PASSWORDS):
            remedy = compare("tor-1a", plan, text_of(plan, PASSWORDS), passwords=passwords)
            assert (remedy.lines, remedy.problems) == ((), ()), name


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_plan_that_changed(platform: str, equals_golden: Callable[[Path, str], None]) -> None:
    plan = scenario(SCENARIO, platform)
    remedy = compare("tor-1a", plan, text_of(before(plan)))
    assert remedy.problems == ()
    equals_golden(GOLDEN / f"{platform}.txt", "\n".join(remedy.lines) + "\n")


@pytest.mark.parametrize("platform", PLATFORMS)
def test_who_does_what_is_said_gets_from_each_plan_to_the_next(platform: str) -> None:
    for one, other in pairs(platform):
        running = text_of(one)
        reached = obeyed(platform, shown(platform, words(running)), compare("tor-1a", other, running).lines)
        goal = tuple(shown(platform, words(text_of(other))))
        known = {path[:n] for path in goal for n in range(1, len(path) + 1)}
        assert meaning(path for path in reached if not is_left(path, known)) == meaning(goal)


def test_junos_knows_every_line() -> None:
    said = {line for one, other in pairs("junos") for line in compare("tor-1a", other, text_of(one)).lines}
    assert {line.split()[0] for line in said} == {"delete", "set"}
    without_value = re.compile(r"delete .*: \S+ has no value")
    assert [wrong for wrong in unknown("\n".join(sorted(said))) if not without_value.fullmatch(wrong)] == []


def test_what_junos_shows_in_two_lines_means_what_is_said_in_one() -> None:
    plan = cases("junos")[next(name for name, one in sorted(cases("junos").items()) if "local-as" in text_of(one))]
    said = words(text_of(plan))
    two = list(shown("junos", said))
    assert {path[-2:] for path in two} >= {("local-as", "private"), ("local-as", "no-prepend-global-as")}
    assert ordered(tree(lines_of(two))) == ordered(tree(lines_of(said)))


def lines_of(paths: Iterable[Path_]) -> str:
    return "\n".join(f"set {shlex.join(path)}".replace("'", '"') for path in paths)


def ordered(node: Any, above: str = "") -> Any:
    """Without the order of entries where it does not count."""
    if isinstance(node, dict):
        return {key: ordered(value, key) for key, value in node.items()}
    if isinstance(node, list):
        found = [ordered(one) for one in node]
        return found if above in ("term", "import", "export") else sorted(found, key=str)
    return node


def pairs(platform: str) -> Iterator[tuple[SwitchPlan, SwitchPlan]]:
    plans = sorted((plan.asn, name) for name, plan in cases(platform).items())
    for _, group in groupby(plans, lambda one: one[0]):
        yield from pairwise(cases(platform)[name] for _, name in group)


def shown(platform: str, paths: Iterable[Path_]) -> Iterator[Path_]:
    """What Junos shows in two lines, and what it does not show, since another line says it, too."""
    known = list(paths)
    shorter = {path[:n] for path in known for n in range(len(path))}
    for path in known:
        place = next((n for n, word in enumerate(path) if word in ("teardown", "local-as") and platform == "junos"), 0)
        if path in shorter:
            continue
        if not place or len(path) == place + 2:
            yield path
        elif path[place] == "teardown":
            yield from (path[: place + 2], (*path[: place + 1], *path[place + 2 :]))
        else:
            yield from ((*path[: place + 1], word) for word in path[place + 1 :])


def is_left(path: Path_, known: set[Path_]) -> bool:
    """What may be somebody else's, too: options of a family that the plan has not, and what is announced. `known` are
    the words that the plan's lines begin with."""
    if path in known or any("UNDERLAY" in word or word == "neighbor" for word in path):
        return False
    absent = any(path[:n] not in known for n in range(2, len(path) + 1) if path[n - 2] == "address-family")
    return absent or bool({"network", "aggregate-address", "aggregate"} & {*path})


@pytest.mark.parametrize(("platform", "design"), DESIGNS)
def test_what_others_made_changes_nothing_of_what_is_said(platform: str, design: str) -> None:
    plan = scenario(design, platform)
    running = text_of(before(plan))
    alone, beside = (compare("tor-1a", plan, text) for text in (running, running + "\n" + BY_HAND[platform]))
    assert beside.lines == alone.lines
    assert [(p.severity, p.code, p.path) for p in beside.problems] == NOTES


@pytest.mark.parametrize(
    ("platform", "place"),
    [
        ("junos", "routing-options aggregate route"),
        ("vyos", "protocols bgp address-family ipv4-unicast aggregate-address"),
    ],
)
def test_an_aggregate_that_our_policy_names_goes_with_the_plan(platform: str, place: str) -> None:
    plan = next(one for _, one in sorted(cases(platform).items()) if f"set {place} " in text_of(one))
    cidr = next(cidr for cidr in plan.aggregates if ":" not in cidr)
    running = f"{text_of(plan)}\nset {place} 198.51.100.0/24\n"
    remedy = compare("tor-1a", replace(plan, aggregates=()), running)
    assert [line for line in remedy.lines if line.startswith(f"delete {place}")] == [f"delete {place} {cidr}"]
    assert [(p.code, p.path) for p in remedy.problems] == [("foreign-network", "network 198.51.100.0/24")]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_switch_without_any_of_it_is_told_all(platform: str) -> None:
    plan = scenario(SCENARIO, platform)
    said = compare("tor-1a", plan, BY_HAND[platform]).lines
    assert {line.split()[0] for line in said} == {"set"}
    assert meaning(words("\n".join(said))) == meaning(shown(platform, words(text_of(plan))))


@pytest.mark.parametrize(("platform", "place"), [("junos", "autonomous-system"), ("vyos", "system-as")])
def test_another_as_is_not_changed_in_passing(platform: str, place: str) -> None:
    plan = scenario(SCENARIO, platform)
    remedy = compare("tor-1a", plan, text_of(plan).replace(f"{place} 65011", f"{place} 65099"))
    assert (remedy.lines, [(p.severity, p.code) for p in remedy.problems]) == ((), [("error", "running-as-differs")])
    assert "65099" in remedy.problems[0].message


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(
    ("text", "code"),
    [("", "running-config-empty"), ("no such line\n", "running-config-empty"), ("a {\n", "running-config-unreadable")],
)
def test_what_is_no_configuration_is_a_mistake(platform: str, text: str, code: str) -> None:
    remedy = compare("tor-1a", scenario(SCENARIO, platform), text)
    assert (remedy.lines, [p.code for p in remedy.problems]) == ((), [code])


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_neighbor_made_by_hand_that_the_plan_has_is_taken_over(platform: str) -> None:
    plan = scenario(SCENARIO, platform)
    place = {"junos": "protocols bgp group OTHERS neighbor 10.1.1.1", "vyos": "protocols bgp neighbor 10.1.1.1"}[
        platform
    ]
    word = {"junos": "peer-as", "vyos": "remote-as"}[platform]
    running = f"set {place} {word} 65999\nset {place} shutdown\n"
    remedy = compare("tor-1a", plan, running)
    assert [(p.severity, p.code, p.path) for p in remedy.problems] == [
        ("warning", "neighbor-taken-over", "neighbor 10.1.1.1")
    ]
    gone = {"junos": "delete protocols bgp group OTHERS neighbor 10.1.1.1", "vyos": f"delete {place} shutdown"}
    assert [line for line in remedy.lines if line.startswith("delete ")] == [gone[platform]]


@pytest.mark.parametrize(("platform", "word"), [("junos", "authentication-key"), ("vyos", "password")])
def test_no_password_is_shown_or_compared_unless_asked_for(platform: str, word: str) -> None:
    plan = scenario(SCENARIO, platform)
    running = text_of(plan, dict.fromkeys(PASSWORDS, "an-old-one"))
    assert "an-old-one" in running
    assert compare("tor-1a", plan, running).lines == ()
    without = replace(plan, sessions=tuple(replace(s, password=None) for s in plan.sessions))
    taken, given = compare("tor-1a", without, running).lines, compare("tor-1a", plan, text_of(without)).lines
    assert [line.split()[-1] for line in taken] == [word, word]
    assert ["<secret:" in line for line in given] == [True, True]


def test_where_the_switch_shows_passwords_they_are_compared() -> None:
    plan = scenario(SCENARIO, "vyos")
    for shown_as, changed in (("an-old-one", 2), ("****************", 0)):
        running = text_of(plan, dict.fromkeys(PASSWORDS, shown_as))
        lines = compare("tor-1a", plan, running, passwords=PASSWORDS).lines
        assert [line.split()[0] for line in lines if "password" in line] == ["set"] * changed
        assert len(lines) == changed
        assert not any(shown_as in line for line in lines)


def test_a_password_that_junos_shows_in_its_own_form_is_not_compared() -> None:
    plan = scenario(SCENARIO, "junos")
    running = text_of(plan, dict.fromkeys(PASSWORDS, "$9$-VdwY4aUjqf"))
    assert compare("tor-1a", plan, running, passwords=PASSWORDS).lines == ()


def test_blocks_of_junos_are_read_as_well() -> None:
    for name, plan in sorted(cases("junos").items()):
        blocks = dict_to_structured(tree(text_of(plan, PASSWORDS)))
        assert "neighbor" not in blocks or "{" in blocks
        remedy = compare("tor-1a", plan, blocks)
        assert (remedy.lines, remedy.problems) == ((), ()), name


_BLOCKS = """\
## Last commit: 2026-11-21 20:00:00 UTC by admin
routing-options {
    autonomous-system 65011;
}
protocols {
    bgp {
        group UNDERLAY-OLD {
            type external;
            /* of last year */
            import [ UNDERLAY-A UNDERLAY-B ];
            neighbor fd00:9::1 {
                description "one; two { three";
                authentication-key "$9$abc"; ## SECRET-DATA
            }
            inactive: neighbor fd00:9::;
        }
        group OTHERS {
            neighbor 10.99.0.9 {
                peer-as 65999;
            }
        }
    }
}
"""


def test_what_is_in_blocks_is_what_is_in_lines() -> None:
    plan = scenario(SCENARIO, "junos")
    lines = """set routing-options autonomous-system 65011
set protocols bgp group UNDERLAY-OLD import UNDERLAY-A
set protocols bgp group UNDERLAY-OLD neighbor fd00:9::
deactivate protocols bgp group UNDERLAY-OLD neighbor fd00:9::
set protocols bgp group OTHERS neighbor 10.99.0.9 peer-as 65999
"""
    assert compare("tor-1a", plan, _BLOCKS) == compare("tor-1a", plan, lines)
    assert compare("tor-1a", plan, _BLOCKS).lines[0] == "delete protocols bgp group UNDERLAY-OLD"


def test_blocks_of_vyos_are_read_as_well() -> None:
    plan = scenario(SCENARIO, "vyos")
    remedy = compare("tor-1a", plan, "\n".join(nested(words(text_of(plan)))))
    assert (remedy.lines, remedy.problems) == ((), ())


def nested(paths: list[Path_], depth: int = 0) -> Iterator[str]:
    """In the blocks of `show configuration`, with a leaf and its value in one line."""
    for word, group in groupby(paths, lambda path: path[0]):
        below, indent = [path[1:] for path in group], "    " * depth
        if all(len(rest) <= 1 for rest in below):
            yield from (f'{indent}{word} "{rest[0]}"' if rest else f"{indent}{word}" for rest in below)
        else:
            yield f"{indent}{word} {{"
            yield from nested([rest for rest in below if rest], depth + 1)
            yield f"{indent}}}"


def test_what_was_put_out_of_effect_is_put_back() -> None:
    plan = scenario(SCENARIO, "junos")
    place = "protocols bgp group UNDERLAY-NODES neighbor 10.1.1.1"
    theirs = "protocols bgp group OTHERS neighbor 10.99.0.9"
    running = f"{text_of(plan)}\n{BY_HAND['junos']}\ndeactivate {place}\ndeactivate {theirs}\n"
    assert compare("tor-1a", plan, running).lines == (f"activate {place}",)
    blocks = dict_to_structured(tree(text_of(plan))).replace(" neighbor 10.1.1.1 {", " inactive: neighbor 10.1.1.1 {")
    assert compare("tor-1a", plan, blocks).lines == (f"activate {place}",)


@pytest.mark.parametrize(
    ("said", "remade"),
    [
        (" UNDERLAY-NODES-IN-V4 term", "policy-options policy-statement UNDERLAY-NODES-IN-V4"),
        (" group UNDERLAY-NODES import", "protocols bgp group UNDERLAY-NODES import"),
    ],
)
def test_what_stands_in_another_order_is_said_again_in_the_right_one(said: str, remade: str) -> None:
    plan = scenario(SCENARIO, "junos")
    lines = text_of(plan).splitlines()
    turned = [line for line in lines if said not in line] + [line for line in reversed(lines) if said in line]
    remedy = compare("tor-1a", plan, "\n".join(turned)).lines
    assert remedy == (f"delete {remade}", *(line for line in lines if said in line and line.startswith("set ")))
