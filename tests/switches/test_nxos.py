"""What is only true of Cisco NX-OS."""

from __future__ import annotations

from fabric_templates.render import render
from peering.session import SwitchPlan
from tests.switches.matrix import BASE, build


def blocks(plan: SwitchPlan) -> dict[str, list[str]]:
    """The lines of each neighbour."""
    found: dict[str, list[str]] = {}
    inside: list[str] = []
    for line in render("tor-1a", plan)["nxos.cfg"].splitlines():
        if line.startswith("  neighbor "):
            inside = found.setdefault(line.split()[1], [])
        elif line.startswith("    "):
            inside.append(line.strip())
    return found


def test_a_node_is_sent_what_has_its_as_in_the_path() -> None:
    """It drops that by itself, unless it has to take it: in a cluster of one AS."""
    found = blocks(build(BASE, "nxos"))
    assert "disable-peer-as-check" in found["10.1.1.1"]
    assert "disable-peer-as-check" not in found["10.254.1.0"]
    assert "disable-peer-as-check" not in blocks(build(BASE | {"design": "ibgp-tor-reflects"}, "nxos"))["10.1.1.1"]


def test_next_hop_of_reflected_routes() -> None:
    design = {"design": "ibgp-tor-reflects"}
    assert "next-hop-self" in blocks(build(BASE | design, "nxos"))["10.1.1.1"]
    assert "next-hop-self all" in blocks(build(BASE | design | {"nextHop": "self"}, "nxos"))["10.1.1.1"]


def test_who_may_dial_in_from_a_range() -> None:
    one = blocks(build(BASE | {"neighbors": "range"}, "nxos"))["10.1.2.0/24"]
    assert {"remote-as 65101", "maximum-peers 32"} <= set(one)
    plan = build(BASE | {"neighbors": "range-of-several"}, "nxos")
    name = "UNDERLAY-LISTEN-ANY-V4-10.1.2.0-24"
    assert f"remote-as route-map {name}" in blocks(plan)["10.1.2.0/24"]
    text = render("tor-1a", plan)["nxos.cfg"]
    for number, asn in ((10, 4200000103), (20, 4200000104)):
        assert f"route-map {name} permit {number}\n  match as-number {asn}\n" in text


def test_sending_several_paths_takes_a_policy_that_selects_them() -> None:
    line, policy = "additional-paths selection route-map UNDERLAY-ADD-PATHS", "route-map UNDERLAY-ADD-PATHS permit 10\n"
    for value, needed in (("send", True), ("both", True), ("receive", False), ("none", False)):
        text = render("tor-1a", build(BASE | {"addPaths": value}, "nxos"))["nxos.cfg"]
        assert (line in text, policy in text) == (needed, needed), value
