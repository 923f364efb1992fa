"""What is only true of Junos."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hier_config import Platform, WorkflowRemediation, get_hconfig

from fabric_templates.render import render
from tests.switches.matrix import BASE, PASSWORDS, build, cases
from tests.switches.platforms.junos_parser import unknown

_NAMED = re.compile(
    r" (?:from (?:policy|as-path-group|community|route-filter-list)|import|export|community delete|peer-as-list)"
    r" (UNDERLAY-\S+)"
)
_DEFINED = re.compile(
    r"^set policy-options (?:policy-statement|as-path-group|community|route-filter-list|as-list) (\S+)", re.MULTILINE
)


def text_of(**options: str) -> str:
    return render("tor-1a", build(BASE | options, "junos"))["underlay.set"]


def test_what_is_named_is_defined() -> None:
    for name, plan in cases("junos").items():
        text = render("tor-1a", plan, passwords=PASSWORDS)["underlay.set"]
        assert _NAMED.findall(text)
        assert set(_NAMED.findall(text)) <= set(_DEFINED.findall(text)), name


def test_what_is_deleted_is_set_again() -> None:
    """Or a commit would take something away that we do not put back."""
    for name, plan in cases("junos").items():
        lines = render("tor-1a", plan)["underlay.set"].splitlines()
        for line in (one for one in lines if one.startswith("delete ")):
            assert any(other.startswith(line.replace("delete", "set", 1) + " ") for other in lines), (name, line)


def test_a_list_without_prefixes_permits_nothing() -> None:
    text = text_of(accept="none")
    assert "UNDERLAY-ACCEPT" not in text
    inbound = [line for line in text.splitlines() if " UNDERLAY-NODES-IN-V4 term" in line]
    assert [line.rpartition("term ")[2] for line in inbound if line.endswith(("accept", "reject"))] == [
        "10 then reject",
        "NOTHING-ELSE then reject",
    ]


def test_a_neighbour_with_the_as_of_another_gets_its_routes() -> None:
    assert " advertise-peer-as\n" in text_of(design="as-per-cluster")
    assert " advertise-peer-as\n" not in text_of(design="as-per-cluster-override", fabric="none")


@pytest.mark.parametrize(
    "line",
    [
        "set protocols bgp group X neighbour 10.0.0.1",
        "set protocols bgp group X hold-time",
        "set protocols bgp group X passive 5",
        "set protocols bgp group",
        "set protocols bgp group X hold-time 9 passive",
        "erase protocols bgp",
        "set policy-options policy-statement X term 1 then community delete",
    ],
)
def test_the_schema_refuses(line: str) -> None:
    assert unknown(line)


# Day two: hier_config has to read our lines as they are, none of them twice, and find the way between two plans.


def configurations() -> list[list[str]]:
    texts = (render("tor-1a", plan, passwords=PASSWORDS)["underlay.set"] for _, plan in sorted(cases("junos").items()))
    return [[line for line in text.splitlines() if line.startswith("set ")] for text in texts]


def remediation(running: list[str], wanted: list[str]) -> list[str]:
    one, other = (get_hconfig(Platform.JUNIPER_JUNOS, "\n".join(lines)) for lines in (running, wanted))
    found = WorkflowRemediation(one, other).remediation_config
    return [line.cisco_style_text().strip() for line in found.all_children_sorted()]


def carried_out(lines: list[str], commands: list[str]) -> set[str]:
    after = set(lines)
    for command in commands:
        verb, _, path = command.partition(" ")
        if verb == "delete":
            after = {line for line in after if not f"{line} ".startswith(f"set {path} ")}
        else:
            after.add(command)
    return after


def test_no_line_is_said_twice_and_what_a_switch_runs_is_not_said_again() -> None:
    for lines in configurations():
        assert len(lines) == len(set(lines))
        assert remediation(lines, lines) == []


def test_remediation_leads_from_one_plan_to_the_next() -> None:
    for before, after in pairwise(configurations()):
        assert carried_out(before, remediation(before, after)) == set(after)


def test_the_policy_that_sets_the_next_hop_stands_before_the_one_that_accepts() -> None:
    for lines in configurations():
        exports: dict[str, list[str]] = {}
        for line in (one for one in lines if " export UNDERLAY-" in one and "forwarding-table" not in one):
            where, _, policy = line.rpartition(" export ")
            exports.setdefault(where, []).append(policy)
        for where, policies in exports.items():
            late = [policy for policy in policies[1:] if "NEXT-HOP" in policy]
            assert late == [], where
