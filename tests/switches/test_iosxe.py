"""What is only true of Cisco IOS-XE."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_network

import pytest

from fabric_templates.render import render
from peering.session import Setting, SwitchPlan
from tests.switches.matrix import BASE, build


def configuration(plan: SwitchPlan) -> str:
    return render("tor-1a", plan)["iosxe.cfg"]


def path_lists(plan: SwitchPlan) -> dict[str, str]:
    """{expression: number}"""
    return {m[2]: m[1] for m in re.finditer(r"^ip as-path access-list (\d+) permit (\S+)$", configuration(plan), re.M)}


def used(plan: SwitchPlan, policy: str) -> set[str]:
    """The numbers of the AS path lists that a route map asks."""
    entries = re.findall(rf"^route-map {policy} .*\n((?: .*\n)*)", configuration(plan), re.M)
    return {number for entry in entries for number in re.findall(r"match as-path (\d+)", entry)}


def test_a_listen_range_moves_no_number_of_another_list() -> None:
    few, more = build(BASE, "iosxe"), build(BASE | {"neighbors": "named-and-range"}, "iosxe")
    for policy in ("UNDERLAY-NODES-IN-V4", "UNDERLAY-FABRIC-OUT-V4"):
        assert used(few, policy) == used(more, policy) != set()


def test_numbers_of_path_lists_begin_where_the_setting_says() -> None:
    plan = replace(build(BASE, "iosxe"), settings=(Setting("firstPathList", "90"),))
    numbers = set(re.findall(r"^ip as-path access-list (\d+) ", configuration(plan), re.M))
    assert numbers == used(plan, "UNDERLAY-NODES-IN-V4") | used(plan, "UNDERLAY-FABRIC-OUT-V4") == {"90", "91"}


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 15, 22, 24, 31, 32])
def test_masks(length: int) -> None:
    network = ip_network((f"255.255.255.255/{length}"), strict=False)
    plan = replace(build(BASE, "iosxe"), networks=(str(network),))
    assert f"  network {network.network_address} mask {network.netmask}\n" in configuration(plan)


def test_a_range_for_several_ass_names_the_others_as_alternates() -> None:
    plan = build(BASE | {"neighbors": "range-of-several"}, "iosxe")
    line = " neighbor UNDERLAY-LISTEN-ANY-V4 remote-as {}\n"
    assert line.format("4200000103 alternate-as 4200000104") in configuration(plan)
    one = replace(plan, listen_ranges=(replace(plan.listen_ranges[0], peer_asns=(4200000103,)),))
    assert line.format("4200000103") in configuration(one)
