"""What is only true of NVUE."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fabric_templates.documents import read
from fabric_templates.render import render
from tests.switches.matrix import BASE, build
from tests.switches.platforms.nvue_schema import complaints
from tests.switches.scenarios import SCENARIOS, scenario

RELEASES = ("5.9", "5.14", "5.15", "5.18")


def tree_of(release: str, **options: str) -> Any:
    text = render("tor-1a", build(BASE | options, f"nvue@{release}"))["underlay.yaml"]
    (command,) = yaml.safe_load(text)
    return command["set"]


@pytest.mark.parametrize("name", [n for n in SCENARIOS if n != "ibgp-tor-reflects"])
@pytest.mark.parametrize("release", RELEASES)
def test_yaml_1_1_reads_what_was_meant(name: str, release: str) -> None:
    """In which `on` and `off` are no text, nor is `1:30`, unless they are in quotes."""
    text = render("tor-1a", scenario(name, f"nvue@{release}"))["underlay.yaml"]
    assert yaml.safe_load(text) == read(text)
    assert complaints(read(text)[0]["set"], release) == []


@pytest.mark.parametrize(("release", "other"), [("5.14", "5.15"), ("5.15", "5.14")])
def test_a_file_is_none_of_the_other_side_of_5_15(release: str, other: str) -> None:
    tree = tree_of(release, bfd="fast", ttlSecurity="yes")
    assert complaints(tree, release) == []
    assert any("is not known" in line for line in complaints(tree, other))


def test_a_key_that_the_schema_does_not_have_is_found_wherever_it_is() -> None:
    tree = tree_of("5.18")
    neighbors = tree["vrf"]["default"]["router"]["bgp"]["neighbor"]
    next(iter(neighbors.values()))["holdtime"] = 9
    tree["router"]["bgp"]["speed"] = "fast"
    found = complaints(tree, "5.18")
    assert [line.rpartition("/")[2] for line in sorted(found)] == ["speed is not known", "holdtime is not known"]


def test_ipv4_is_off_where_a_session_is_for_ipv6_alone() -> None:
    """NVUE has it on by default for every neighbour."""
    bgp = tree_of("5.18", transport="links6", fabric="none")["vrf"]["default"]["router"]["bgp"]
    families = [n["address-family"]["ipv4-unicast"]["state"] for n in bgp["neighbor"].values()]
    assert families == ["disabled"] * 2
    assert bgp["peer-group"]["UNDERLAY-NODES"]["address-family"]["ipv4-unicast"] == {"state": "disabled"}


@pytest.mark.parametrize("keep", ["none", "both"])
def test_every_name_that_is_used_is_defined(keep: str) -> None:
    tree = tree_of("5.18", fabric="two-families", keepCommunities=keep, transport="both")
    policy = tree["router"]["policy"]
    maps = [family["policy"] for family in _families(tree)]
    assert {one[way]["route-map"] for one in maps for way in one} == set(policy["route-map"])
    matches = [rule["match"] for one in policy["route-map"].values() for rule in one["rule"].values()]
    for key, lists in (("ip-prefix-list", "prefix-list"), ("as-path-list", "as-path-list")):
        assert {match[key] for match in matches if key in match} <= set(policy[lists]), key
    sets = [rule.get("set", {}) for one in policy["route-map"].values() for rule in one["rule"].values()]
    for kind in ("community", "large-community"):
        assert {one[f"{kind}-delete-list"] for one in sets if f"{kind}-delete-list" in one} <= set(
            policy[f"{kind}-list"]
        )


def _families(tree: Any) -> list[Any]:
    groups = tree["vrf"]["default"]["router"]["bgp"]["peer-group"].values()
    return [family for group in groups for family in group["address-family"].values() if "policy" in family]


#: The designs as far as the platform can say them: the other golden files refuse
#: long-lived graceful restart with iBGP.
FEWER = {"longLived": "none"}
GOLDEN = Path(__file__).parent / "golden_fewer"


@pytest.mark.parametrize("name", ["ibgp-tor-reflects"])
def test_golden_of_what_it_can_say(name: str, equals_golden: Callable[[Path, str], None]) -> None:
    files = render("tor-1a", build(BASE | SCENARIOS[name] | FEWER, "nvue@5.18"))
    for file, text in files.items():
        equals_golden(GOLDEN / "nvue" / name / file, text)
