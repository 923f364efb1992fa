"""What is only true of Cisco IOS-XR."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from fabric_templates.render import RenderRefused, render
from peering.session import SwitchPlan
from tests.switches.matrix import BASE, build, cases


def policies(plan: SwitchPlan) -> dict[str, list[str]]:
    text = render("tor-1a", plan)["iosxr.cfg"]
    found = re.findall(r"^route-policy (\S+)\n(.*?)^end-policy\n", text, re.M | re.S)
    return {name: body.splitlines() for name, body in found}


def test_a_policy_drops_what_none_of_its_conditions_takes() -> None:
    body = policies(build(BASE, "iosxr"))["UNDERLAY-NODES-IN-V4"]
    assert body[:2] == ["  if community matches-any UNDERLAY-BLACKHOLE then", "    drop"]
    assert body[-3:] == ["  else", "    drop", "  endif"]


def test_an_entry_without_a_condition_takes_the_rest() -> None:
    assert policies(build(BASE, "iosxr"))["UNDERLAY-FABRIC-IN-V4"][-3:] == ["  else", "    done", "  endif"]
    assert policies(build(BASE | {"downward": "all"}, "iosxr"))["UNDERLAY-NODES-OUT-V4"] == ["  done"]


def test_every_way_through_a_policy_ends() -> None:
    """A branch that only changes a route would let it fall through to an implicit drop."""
    for plan in cases("iosxr").values():
        for name, body in policies(plan).items():
            branches = [
                previous.strip()
                for previous, line in zip(body, [*body[1:], "  endif"], strict=True)
                if line.startswith(("  elseif", "  else", "  endif")) and not previous.startswith("  endif")
            ]
            assert name == "UNDERLAY-ADD-PATHS" or set(branches) <= {"done", "drop"}, name


def test_every_ebgp_neighbour_has_both_policies() -> None:
    """IOS-XR takes and sends nothing without."""
    for plan in cases("iosxr").values():
        text = render("tor-1a", plan)["iosxr.cfg"]
        families = re.findall(r"^  address-family ipv[46] unicast\n((?:   .*\n)*)", text, re.M)
        assert families
        for family in families:
            assert len(re.findall(r"^   route-policy \S+ (?:in|out)$", family, re.M)) == 2


def test_gtsm_is_for_neighbours_on_the_link() -> None:
    plan = build(BASE | {"ttlSecurity": "yes"}, "iosxr")
    assert "\n  ttl-security\n" in render("tor-1a", plan)["iosxr.cfg"]
    far = replace(plan, sessions=tuple(replace(s, ttl_security=s.ttl_security and 2) for s in plan.sessions))
    with pytest.raises(RenderRefused, match="ttlSecurity"):
        render("tor-1a", far)


def test_a_set_that_accepts_nothing_is_not_empty() -> None:
    text = render("tor-1a", build(BASE | {"accept": "none"}, "iosxr"))["iosxr.cfg"]
    assert "prefix-set UNDERLAY-ACCEPT-V4\n  0.0.0.0/32\nend-set\n" in text


def test_the_longer_of_two_bfd_intervals_is_said() -> None:
    text = render("tor-1a", build(BASE | {"bfd": "fast"}, "iosxr"))["iosxr.cfg"]
    assert "\n  bfd minimum-interval 400\n" in text
