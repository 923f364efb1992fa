"""What is only true of OS10. There is no parser of it, so names are looked at against each other, and the traps."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hier_config import HConfig, Platform, WorkflowRemediation, get_hconfig

from fabric_templates.render import check, render
from tests.switches.matrix import BASE, PASSWORD, PASSWORDS, build, cases
from tests.switches.scenarios import SCENARIOS


@cache
def every() -> list[tuple[str, str]]:
    return [(name, render("tor-1a", plan)["os10.cfg"]) for name, plan in cases("os10").items()]


def text_of(**options: str) -> str:
    return render("tor-1a", build(BASE | options, "os10"), passwords=PASSWORDS)["os10.cfg"]


def blocks(text: str, word: str) -> dict[str, str]:
    """{what follows ` neighbor ` or ` template `: its lines}."""
    found = re.findall(rf"^ {word} (\S+)\n((?:  .*\n)+)", text, re.M)
    return dict(found)


#: A line that refers to a list or map, and the one that defines it.
REFERENCES = (
    (r"match as-path (\S+)", r"^ip as-path access-list (\S+)"),
    (r"match community (\S+)", r"^ip community-list standard (\S+)"),
    (r"match ip address prefix-list (\S+)", r"^ip prefix-list (\S+)"),
    (r"match ipv6 address prefix-list (\S+)", r"^ipv6 prefix-list (\S+)"),
    (r"^   route-map (\S+) (?:in|out)$", r"^route-map (\S+)"),
)


@pytest.mark.parametrize(("use", "definition"), REFERENCES)
def test_names_are_defined_and_used(use: str, definition: str) -> None:
    for case, text in every():
        assert set(re.findall(use, text, re.M)) == set(re.findall(definition, text, re.M)), case


def test_a_template_has_a_short_name() -> None:
    names = {name for _, text in every() for name in blocks(text, "template")}
    assert names
    assert [name for name in names if len(name) > 16 or not name.startswith("UNDERLAY-")] == []


def test_every_neighbour_is_up_with_a_map_in_each_direction() -> None:
    for case, text in every():
        for word in ("neighbor", "template"):
            for name, lines in blocks(text, word).items():
                assert "  no shutdown\n" in lines, (case, name)
                for family in re.findall(r"unicast\n   activate\n((?:   .*\n)+)", lines):
                    maps = re.findall(r"route-map \S+ (\S+)", family)
                    assert maps == ["in", "out"], (case, name)
                assert lines.count("   activate\n") == lines.count("   route-map") // 2 > 0, (case, name)


def test_ipv4_is_switched_off_at_a_neighbour_of_ipv6() -> None:
    """It is on by default."""
    found = {**blocks(text := text_of(transport="both", neighbors="named-and-range"), "neighbor")}
    found |= blocks(text, "template")
    for name, lines in found.items():
        listening = re.search(r"listen (\S+)", lines)
        six = ":" in (listening[1] if listening else name)
        assert ("address-family ipv4 unicast\n   no activate\n" in lines) is six, name


def test_a_range_has_no_password_and_that_is_said() -> None:
    plan = build(BASE | {"neighbors": "named-and-range", "password": "md5"}, "os10")
    assert "platform-lacks-listen-ranges" in {problem.code for problem in check("tor-1a", plan)}
    text = text_of(neighbors="named-and-range", password="md5")
    assert [name for name, lines in blocks(text, "template").items() if PASSWORD in lines] == []
    assert [name for name, lines in blocks(text, "neighbor").items() if PASSWORD in lines] == ["10.1.1.1"]


def test_a_list_without_prefixes_denies_all() -> None:
    text = text_of(accept="none", fabric="none")
    assert re.findall(r"prefix-list UNDERLAY-ACCEPT-V4 (.+)", text) == ["seq 5 deny 0.0.0.0/0 le 32"]


def loaded(text: str) -> HConfig:
    return get_hconfig(Platform.GENERIC, re.sub(r"^ *!.*\n", "", text, flags=re.M))


def test_rendering_again_changes_nothing() -> None:
    """hier_config reads the text as the tree it is meant to be: against itself nothing is left to say."""
    for case, text in every():
        left = WorkflowRemediation(loaded(text), loaded(text)).remediation_config
        assert list(left.all_children()) == [], case


def test_a_new_node_changes_no_other() -> None:
    """What there is more to say for two nodes is a neighbour, and nothing of the one that was there."""
    plan = build(BASE, "os10")
    fewer = replace(plan, sessions=tuple(s for s in plan.sessions if s.peer != "node/node-2"))
    one, two = (loaded(render("tor-1a", p)["os10.cfg"]) for p in (fewer, plan))
    said = [child.text for child in WorkflowRemediation(one, two).remediation_config.all_children()]
    assert said[:2] == ["router bgp 65011", "neighbor 10.1.1.3"]
    assert [line for line in said if line.startswith(("no ", "neighbor "))] == [
        "neighbor 10.1.1.3",
        "no shutdown",
        "no sender-side-loop-detection",
    ]


#: Designs as far as OS10 can say them, of which the other golden files refuse TTL security, ranges for several ASs,
#: long-lived graceful restart and BFD over several hops.
FEWER = {
    "ebgp-as-per-node": {"ttlSecurity": "no", "neighbors": "named-and-range"},
    "ebgp-as-per-rack": {"ttlSecurity": "no"},
    "ibgp-tor-reflects": {"longLived": "none"},
    "loopbacks": {"bfd": "no"},
}
GOLDEN = Path(__file__).parent / "golden_fewer"


@pytest.mark.parametrize("name", FEWER)
def test_golden_of_what_it_can_say(name: str, equals_golden: Callable[[Path, str], None]) -> None:
    files = render("tor-1a", build(BASE | SCENARIOS[name] | FEWER[name], "os10"))
    for file, text in files.items():
        equals_golden(GOLDEN / "os10" / name / file, text)
