"""What `diff` says to an FRR that runs something else, said to a real one: it then runs the plan, and what others made
by hand is as it was."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from fabric_templates.remediation.compare import compare
from fabric_templates.remediation.ways import ways
from fabric_templates.render import render
from peering.session import SwitchPlan
from tests.interop.netns_daemons import Frr, Network
from tests.interop.test_render_frr import statements, without_base
from tests.switches.matrix import PASSWORDS
from tests.switches.scenarios import SCENARIOS, scenario
from tests.unit.frr_cases import CASES

pytestmark = pytest.mark.lab

ASN = 65011
#: What somebody else has on the switch, in the same BGP instance and beside it.
BY_HAND = f"""
ip prefix-list OFFICE seq 5 permit 192.0.2.0/24
route-map OFFICE permit 10
 match ip address prefix-list OFFICE
exit
ip route 198.51.100.0/24 Null0
router bgp {ASN}
 neighbor OTHERS peer-group
 neighbor 10.99.0.9 remote-as 65999
 neighbor 10.99.0.9 peer-group OTHERS
 neighbor 10.99.0.9 password {secrets.token_hex(4)}
 address-family ipv4 unicast
  network 198.51.100.0/24
  neighbor 10.99.0.9 activate
  neighbor 10.99.0.9 route-map OFFICE in
 exit-address-family
exit
bfd
 profile office
  detect-multiplier 7
 exit
exit
"""


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


def text_of(plan: SwitchPlan) -> str:
    return render("tor-1a", plan, passwords=PASSWORDS)["frr.conf"]


def plans() -> list[SwitchPlan]:
    """Each unlike the one before it, all in one AS; the last one is the first again.

    One that announces nothing comes after one with a fabric, whose lists tell which networks were ours.
    """
    nothing = CASES["nothing-accepted"]
    first, *scenarios = (scenario(name, "frr") for name in SCENARIOS)
    found = [first, nothing, *scenarios, *(plan for plan in CASES.values() if plan is not nothing)]
    return [plan for plan in (*found, found[0]) if plan.asn == ASN]


def said(frr: Frr, lines: tuple[str, ...]) -> None:
    frr.write("\n".join(lines) + "\n")
    assert frr.load() == (0, "")


def running(frr: Frr) -> str:
    return frr.ask("show running-config")


def test_frr_is_led_from_each_plan_to_the_next(network: Network) -> None:
    first, *others = plans()
    assert len(others) == len(SCENARIOS) + len(CASES)
    frr = Frr(network, network.namespace("s"), text_of(first) + BY_HAND, zebra=True, integrated=True)
    for plan in others:
        remedy = compare("tor-1a", plan, running(frr), passwords=PASSWORDS)
        assert {p.path for p in remedy.problems} == {"neighbor 10.99.0.9", "neighbor OTHERS", "network 198.51.100.0/24"}
        said(frr, remedy.lines)
        assert statements(without_base(running(frr))) == statements(text_of(plan)) | statements(BY_HAND)
        assert compare("tor-1a", plan, running(frr), passwords=PASSWORDS).lines == ()


def test_the_way_back_leads_to_where_it_began(network: Network) -> None:
    first, *others = plans()[::4]
    frr = Frr(network, network.namespace("s"), text_of(first) + BY_HAND, zebra=True, integrated=True)
    for plan in others:
        before = statements(without_base(running(frr)))
        there = ways("tor-1a", plan, running(frr), PASSWORDS)
        for lines, state in ((there.forth, statements(text_of(plan)) | statements(BY_HAND)), (there.back, before)):
            said(frr, lines)
            assert statements(without_base(running(frr))) == state
        said(frr, there.forth)
