"""`underlay verify` against a real FRR and a real speaker: every fault is made, and one line says who is to fix it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.interop.netns_daemons import Network, eventually
from tests.interop.verify_lab import VerifyLab, at_node, at_switch

pytestmark = pytest.mark.lab

SETTLE = 120.0
_LOAD = "(load the plan into it: underlay diff --switch tor)"
#: What is wrong with the session of each link, as the line says it, and what is said to the switch to make it so.
IPV4 = "address-family ipv4 unicast"
FAULTS: dict[int, tuple[str, tuple[str, ...]]] = {
    1: (f"expects AS 65999 of node/node-1, the plan says 65101 {_LOAD}", ("neighbor {} remote-as 65999",)),
    2: (f"has another password than Secret/bgp has in rack-1 {_LOAD}", ("neighbor {} password another",)),
    3: (f"has no password, the plan has one {_LOAD}", ("no neighbor {} password",)),
    4: (f"has TTL security (1 hop), the plan says no TTL security {_LOAD}", ("neighbor {} ttl-security hops 1",)),
    5: (f"is not configured; the plan has it for node/node-1 {_LOAD}", ("no neighbor {}",)),
    6: ("is shut down by an administrator (take the shutdown away there)", ("neighbor {} shutdown",)),
    7: (
        f"closed the session at its limit of 1 prefixes, the plan says 64, and node/node-1 has 2 to announce {_LOAD}",
        (IPV4, "neighbor {} maximum-prefix 1"),
    ),
    8: (f"does not carry ipv4-unicast {_LOAD}", (IPV4, "no neighbor {} activate")),
    9: (
        f"does not accept 10.0.11.1/32, BLOCK of node/node-1, which the plan accepts {_LOAD}",
        ("exit", "route-map NOTHING deny 10", "exit", "router bgp 65011", IPV4, "neighbor {} route-map NOTHING in"),
    ),
    10: (
        "refuses the hold time of 9 s (Unacceptable Hold Time) (lower the smallest hold time that it takes, or raise "
        "holdTime of Rack/rack-1)",
        ("bgp minimum-holdtime 20",),
    ),
}
#: Of a switch that nobody asks, the speaker knows what it was told, and no more. A switch without the neighbor (5) says
#: so once, when it forgets it; who dials after that is told nothing.
ALONE = {
    1: "refuses the AS that node/node-1 has in its OPEN (Bad Peer AS); by the plan that is 65101",
    10: "refuses the hold time of 9 s (Unacceptable Hold Time)",
}


@contextmanager
def running(links: int) -> Iterator[VerifyLab]:
    """All up; the switch has a default route to tell of."""
    with Network() as network:
        made = VerifyLab(network, links)
        made.configure(IPV4, "network 0.0.0.0/0")
        made.start_speaker()
        good = (0, f"{links} sessions: {links} up at both ends; 0 faults\n")
        eventually(lambda: (found := made.verify(), found.exit_code, found.stdout)[1:] == good, SETTLE)
        yield made


@pytest.fixture
def lab() -> Iterator[VerifyLab]:
    with running(1 + len(FAULTS)) as made:
        yield made


@pytest.fixture
def small_lab() -> Iterator[VerifyLab]:
    with running(3) as made:
        yield made


def faults(stderr: str) -> dict[str, str]:
    """Neighbor -> what is said of it."""
    lines = [line.removeprefix("error: Switch/tor neighbor ").partition(": ") for line in stderr.splitlines()]
    return {neighbor: told for neighbor, _, told in lines}


def is_told_alone(lab: VerifyLab) -> bool:
    """What a speaker tells is of its last attempt. In about one look of a hundred (of 1,429) that was a connection that
    was closed before an OPEN had crossed it, or one that is just being made, of which nothing is told.
    """
    alone = faults(lab.verify_alone().stderr)
    return all(alone.get(at_node(link), "").startswith(told) for link, told in ALONE.items())


def test_each_fault_is_one_line_at_the_end_to_be_fixed(lab: VerifyLab) -> None:
    sessions = 1 + len(FAULTS)
    for link, (_, lines) in FAULTS.items():
        lab.configure(*(line.format(at_node(link)) for line in lines))
    lab.clear(10)
    expected = {at_node(link): told.replace("BLOCK", lab.block()) for link, (told, _) in FAULTS.items()}
    eventually(lambda: faults(lab.verify().stderr) == expected, SETTLE)
    found = lab.verify()
    up = "2 up at both ends, 9 not up; 10 faults\n"
    assert (found.exit_code, found.stdout) == (1, f"{sessions} sessions: {up}")

    one = lab.verify("--switch", "tor", "--node", "node-1", "-o", "json")
    told = json.loads(one.stdout)
    codes = {problem["path"].removeprefix("neighbor "): problem["code"] for problem in told["problems"]}
    assert codes[at_node(7)] == "session-over-limit"
    ends = {session["ends"][0]["address"]: session["ends"] for session in told["sessions"]}
    assert [end["state"] for end in ends[at_switch(0)]] == ["Established", "Established"]
    assert [end["state"] for end in ends[at_switch(5)]] == ["missing", "Idle"]

    eventually(lambda: is_told_alone(lab), SETTLE)


def test_without_the_running_configuration_a_password_is_one_of_the_causes(small_lab: VerifyLab) -> None:
    """From a file with the neighbors alone, and with the kernel's counters in it."""
    lab = small_lab
    lab.configure(FAULTS[2][1][0].format(at_node(2)))
    state = lab.network.directory / "tor.json"

    def told(more: str = "") -> str:
        state.write_text("### neighbors\n" + lab.frr.ask("show bgp neighbors json") + more)
        return faults(lab.verify_alone("--state", f"tor={state}").stderr).get(at_node(2), "")

    eventually(lambda: "no BGP connection with node/node-1, and nobody says why (switch/tor says " in told(), SETTLE)
    assert told().endswith(
        "(in this order: the link or an address of it is down, TCP port 179 is filtered, the passwords differ)"
    )
    eventually(lambda: lab.md5_failures() > 0, SETTLE)
    counted = told(f"\n### kernel\n{lab.netstat()}")
    assert "; its kernel has dropped " in counted
    assert "(in this order: the passwords differ, the link or an address" in counted


def test_a_switch_that_does_not_answer(small_lab: VerifyLab) -> None:
    small_lab.via = "false"
    refused = small_lab.verify()
    assert (refused.exit_code, refused.stdout) == (1, "3 sessions: 3 up at the one end that tells; 1 fault\n")
    assert refused.stderr.startswith(
        "error: Switch/tor: does not answer, its sessions are judged by their other ends: exit code 1: no message ("
    )
