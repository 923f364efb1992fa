"""What BIRD, OpenBGPD and GoBGP really print of a session that is up, one of another AS, one over its limit, one that
nobody dials, and what `verify` makes of it. FRR has a test of its own, with a speaker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fabric_templates.verification import diagnosis, sources
from fabric_templates.verification.end import End
from fabric_templates.verification.pairs import of_switch, pairs
from peering.session import Family, Plan
from tests.interop.live_openbgpd import OpenBgpdSwitch
from tests.interop.live_switches import BirdSwitch, Switch
from tests.interop.netns_daemons import Network, eventually
from tests.interop.test_live_switches import SETTLE, a_node, a_switch, plan_for, to_node
from underlay.switch_states import Way

pytestmark = pytest.mark.lab

ANNOUNCED = ("10.244.1.0/26", "10.244.2.0/26", "10.99.0.0/26")
PASSES = frozenset(ANNOUNCED[:2])
#: Received before the policy, accepted after it, and what is told by name: what each daemon counts.
COUNTS = {"bird": (None, 2), "gobgp": (3, None), "openbgpd": (3, None)}
#: The plan has another AS of node-2 than it says. GoBGP does not tell why it closed the session.
OTHER_AS = ("Node/node-2", "", "session-as-differs")
KNOWN = {
    "bird": OTHER_AS,
    "gobgp": ("Switch/tor", "neighbor 10.1.2.1", "session-no-connection"),
    "openbgpd": OTHER_AS,
}


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


def tools(switch: Switch) -> str:
    """For a shell: the daemon's own command with the socket of this one."""
    if isinstance(switch, BirdSwitch):
        return f'birdc() {{ command birdc -s {switch._bird._socket} "$@"; }}\n'
    if isinstance(switch, OpenBgpdSwitch):
        return f'bgpctl() {{ command bgpctl -s {switch._socket} "$@"; }}\n'
    return ""


@pytest.mark.parametrize("platform", sorted(COUNTS))
def test_what_a_daemon_says_of_its_sessions(platform: str, network: Network) -> None:
    tor = network.namespace("tor")
    a_node(network, tor, 1, ANNOUNCED)
    a_node(network, tor, 2, ())
    network.link(tor, network.namespace("node3"), "rack3", {"10.1.3.0/31": "10.1.3.1/31"})
    a_node(network, tor, 4, ("10.244.3.0/26", "10.244.4.0/26", "10.244.5.0/26"))
    sessions = (to_node(1, max_prefixes=9), to_node(2, peer_asn=65999), to_node(3), to_node(4, max_prefixes=1))
    plan = plan_for(platform, *sessions)
    way, source = Way(("ip", "netns", "exec", tor), tools(a_switch(network, tor, plan, ""))), sources.find(platform)
    assert source is not None

    def ends() -> dict[str, End]:
        return sources.read(platform, way.state(source))[0]

    def faults() -> set[tuple[str, str, str]]:
        heard = {"switch/tor": of_switch(plan, ends())}
        found = (diagnosis.down(pair, {}) for pair in pairs(Plan(switches={"tor": plan}), heard))
        return {(problem.object, problem.path, problem.code) for problems in found for problem in problems}

    expected = {
        KNOWN[platform],
        ("Switch/tor", "neighbor 10.1.3.1", "session-no-connection"),
        ("Node/node-4", "", "session-over-limit"),  # the limit is the plan's, so it is who announces too much
    }
    eventually(lambda: ends()["10.1.1.1"].is_up, SETTLE)
    eventually(lambda: (ends()["10.1.1.1"].received, ends()["10.1.1.1"].accepted) == COUNTS[platform], SETTLE)
    up = ends()["10.1.1.1"]
    assert (up.peer_asn, up.hold_time, up.limit) == (65101, 9, 9)
    assert up.families == frozenset[Family](("ipv4-unicast",))
    eventually(lambda: faults() == expected, SETTLE)
    if source.routes:
        assert sources.read_routes(platform, way.routes(source, "10.1.1.1"), "10.1.1.1") == PASSES
