"""What is only true of Arista EOS."""

from __future__ import annotations

from dataclasses import replace

from fabric_templates.render import render
from peering.session import Setting, SwitchPlan
from tests.switches.matrix import BASE, build


def configuration(plan: SwitchPlan) -> list[str]:
    return [line.strip() for line in render("tor-1a", plan)["eos.cfg"].splitlines()]


def test_an_as_path_is_an_expression_over_as_numbers_or_over_their_digits() -> None:
    plan = build(BASE, "eos")
    assert "ip as-path access-list UNDERLAY-NODES permit ^65101+$ any" in configuration(plan)
    changed = replace(plan, settings=(Setting("regexMode", "string"),))
    assert "ip as-path access-list UNDERLAY-NODES permit ^65101(_65101)*$ any" in configuration(changed)


def test_the_limit_of_a_session_is_said_once_for_each_of_its_families() -> None:
    for row, name in (({}, "10.1.1.1"), ({"transport": "ipv4-over-ipv6"}, "fd00:1:1::1")):
        lines = configuration(build(BASE | row | {"maxPrefixes": "64"}, "eos"))
        said = [line for line in lines if line.startswith(f"neighbor {name} maximum-routes")]
        assert said == [f"neighbor {name} maximum-routes 64 warning-limit 80 percent"]


def test_a_neighbour_without_a_limit_is_not_closed_by_the_default_one() -> None:
    assert "neighbor 10.254.1.0 maximum-routes 0" in configuration(build(BASE, "eos"))


def test_reflected_routes_keep_their_next_hop_where_there_are_clients() -> None:
    line = "bgp route-reflector preserve-attributes"
    for row in ({}, {"neighbors": "range"}):
        assert line in configuration(build(BASE | row | {"design": "ibgp-tor-reflects"}, "eos"))
        assert line not in configuration(build(BASE | row, "eos"))


def test_each_range_for_several_ass_has_a_filter_of_its_own() -> None:
    lines = configuration(build(BASE | {"neighbors": "range-of-several"}, "eos"))
    name = "UNDERLAY-LISTEN-ANY-V4-10.1.2.0-24"
    assert f"bgp listen range 10.1.2.0/24 peer-group UNDERLAY-LISTEN-ANY-V4 peer-filter {name}" in lines
    start = lines.index(f"peer-filter {name}")
    assert lines[start + 1 : start + 3] == [
        "10 match as-range 4200000103 result accept",
        "20 match as-range 4200000104 result accept",
    ]
