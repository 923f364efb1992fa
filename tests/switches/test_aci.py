"""What is only true of ACI: names of one tenant that refer to each other, and traps of its route maps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fabric_templates.render import RenderRefused, render
from peering.session import PrefixRule, Setting, SwitchPlan
from tests.switches.matrix import BASE, build, cases
from tests.switches.scenarios import SCENARIOS

Object = tuple[str, dict[str, str], list[Any]]
#: The attribute of a relation -> the class whose object it names.
RELATIONS = {
    "tnBgpBestPathCtrlPolName": "bgpBestPathCtrlPol",
    "tnBgpCtxPolName": "bgpCtxPol",
    "tnBgpPeerPfxPolName": "bgpPeerPfxPol",
    "tnRtctrlAttrPName": "rtctrlAttrP",
    "tnRtctrlSubjPName": "rtctrlSubjP",
}


def objects(tree: dict[str, Any]) -> Iterator[Object]:
    for name, content in tree.items():
        children = content.get("children", [])
        yield name, content["attributes"], children
        for child in children:
            yield from objects(child)


def of(plan: SwitchPlan) -> list[Object]:
    return list(objects(json.loads(render("tor-1a", plan)["underlay.json"])))


@cache
def every() -> list[tuple[str, list[Object]]]:
    return [(name, of(plan)) for name, plan in cases("aci").items()]


def named(found: list[Object], name: str) -> list[dict[str, str]]:
    return [attributes for one, attributes, _ in found if one == name]


def test_every_name_that_a_relation_has_is_defined() -> None:
    for case, found in every():
        known = {(name, attributes["name"]) for name, attributes, _ in found if "name" in attributes}
        for _, attributes, _ in found:
            for key, value in attributes.items():
                if key in RELATIONS:
                    assert (RELATIONS[key], value) in known, (case, value)
        for one in named(found, "bgpRsPeerToProfile"):
            tenant, profile = one["tDn"].removeprefix("uni/tn-").split("/prof-")
            assert tenant == "kubernetes", case
            assert ("rtctrlProfile", profile) in known, (case, profile)


def test_no_object_is_said_twice() -> None:
    """Of two with one name the APIC keeps one."""
    naming = {"rtctrlMatchRtDest": "ip", "bgpPeerP": "addr", "l3extSubnet": "ip", "l3extLoopBackIfP": "addr"}
    for case, found in every():
        for parent, attributes, children in found:
            names = [
                (name, one["attributes"].get(naming.get(name, "name")))
                for child in children
                for name, one in child.items()
                if name in naming or "name" in one["attributes"]
            ]
            assert len(names) == len(set(names)), (case, parent, attributes)


def test_a_prefix_with_two_ranges_of_lengths_is_in_two_rules() -> None:
    """A pool's blocks and its single addresses: the APIC knows a prefix of a rule once."""
    accept = (*(PrefixRule("10.244.0.0/16", n, n) for n in (26, 32)), PrefixRule("10.0.11.1/32", 32, 32))
    found = of(replace(build(BASE, "aci"), accept=accept))
    rules = [f"UNDERLAY-NODES-IN-V4-30-{layer}-101" for layer in (1, 2)]
    said = [
        (child["rtctrlMatchRtDest"]["attributes"]["ip"], child["rtctrlMatchRtDest"]["attributes"]["fromPfxLen"])
        for name, attributes, children in found
        if name == "rtctrlSubjP" and attributes["name"] in rules
        for child in children
        if "rtctrlMatchRtDest" in child
    ]
    assert said == [("10.0.11.1/32", "0"), ("10.244.0.0/16", "26"), ("10.244.0.0/16", "32")]
    asked = [one["tnRtctrlSubjPName"] for one in named(found, "rtctrlRsCtxPToSubjP")]
    assert set(rules) <= set(asked)
    assert [one["ip"] for one in named(found, "l3extSubnet")] == ["10.0.11.1/32", "10.244.0.0/16"]


def test_a_rule_always_says_what_it_matches() -> None:
    for case, found in every():
        rules = [(attributes["name"], children) for name, attributes, children in found if name == "rtctrlSubjP"]
        assert [name for name, children in rules if not children] == [], case


def test_a_list_without_prefixes_passes_nothing() -> None:
    found = of(build(BASE | {"accept": "none", "fabric": "none"}, "aci"))
    accepted = [
        child["rtctrlMatchRtDest"]["attributes"]["ip"]
        for name, attributes, children in found
        if name == "rtctrlSubjP" and "NODES-IN-V4-30" in attributes["name"]
        for child in children
        if "rtctrlMatchRtDest" in child
    ]
    assert accepted == ["255.255.255.255/32"]


def test_steps_of_a_route_map_have_an_order_that_the_apic_takes() -> None:
    for case, found in every():
        for name, attributes, children in found:
            if name == "rtctrlProfile":
                order = [int(child["rtctrlCtxP"]["attributes"]["order"]) for child in children]
                assert order == list(range(len(order))), (case, attributes)
                assert len(order) <= 10, (case, attributes)


def test_every_neighbour_has_a_map_in_each_direction() -> None:
    for case, found in every():
        for name, attributes, children in found:
            if name == "bgpPeerP":
                maps = [
                    child["bgpRsPeerToProfile"]["attributes"] for child in children if "bgpRsPeerToProfile" in child
                ]
                assert [one["direction"] for one in maps] == ["import", "export"], (case, attributes)


@pytest.mark.parametrize("fast", range(4))
def test_a_leaf_has_the_timers_of_its_fastest_session(fast: int) -> None:
    """Whichever it is."""
    plan = build(BASE, "aci")
    sessions = (replace(s, hold_time=9, keepalive_time=3) if i == fast else s for i, s in enumerate(plan.sessions))
    (policy,) = named(of(replace(plan, sessions=tuple(sessions))), "bgpCtxPol")
    assert (policy["kaIntvl"], policy["holdIntvl"]) == ("3", "9")


def with_settings(plan: SwitchPlan, **changed: str) -> SwitchPlan:
    kept = tuple(one for one in plan.settings if one.name not in changed)
    return replace(plan, settings=(*kept, *(Setting(name, value) for name, value in changed.items())))


def test_another_as_than_the_fabrics_is_told_to_ebgp_neighbours() -> None:
    plan = build(BASE | {"fabric": "ibgp"}, "aci")
    assert named(of(plan), "bgpLocalAsnP") == []
    found = of(with_settings(plan, fabricAS="65500"))
    external = [s for s in plan.sessions if s.type == "ebgp"]
    assert [one["localAsn"] for one in named(found, "bgpLocalAsnP")] == [str(plan.asn)] * len(external)


@pytest.mark.parametrize("missing", ["address6", "floatingAddress6"])
def test_a_family_without_an_address_is_refused(missing: str) -> None:
    plan = build(BASE | {"transport": "both"}, "aci")
    with pytest.raises(RenderRefused, match=f"setting {missing}"):
        render("tor-1a", with_settings(plan, **{missing: "none"}))
    assert named(of(with_settings(build(BASE, "aci"), **{missing: "none"})), "l3extVirtualLIfP")


#: Designs as far as ACI can say them, of which the other golden files refuse TTL security and ranges for several ASs.
FEWER = {
    "ebgp-as-per-node": {"ttlSecurity": "no", "neighbors": "named-and-range"},
    "ebgp-as-per-rack": {"ttlSecurity": "no"},
}
GOLDEN = Path(__file__).parent / "golden_fewer"


@pytest.mark.parametrize("name", FEWER)
def test_golden_of_what_it_can_say(name: str, equals_golden: Callable[[Path, str], None]) -> None:
    files = render("tor-1a", build(BASE | SCENARIOS[name] | FEWER[name], "aci"))
    for file, text in files.items():
        equals_golden(GOLDEN / "aci" / name / file, text)
