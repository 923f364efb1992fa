"""A link or a switch goes: traffic goes on over the other, after the hold time at the latest."""

from __future__ import annotations

import os
import signal
import time

import pytest

from containerlab import namespaces
from tests.lab.running_lab import RunningLab, wait_until

HOLD_TIME_MS = 9000
# Detection runs on one-second timers in FRR, and the machine is shared.
MARGIN_MS = 2500


def gateways(lab: RunningLab, node: str) -> set[str]:
    return lab.learned_routes(node, 4).get("default", set())


def test_a_link_down_moves_traffic_to_the_other_switch(lab: RunningLab, record_property: object) -> None:
    pod = lab.pod("node-1")
    with lab.traffic(lab.namespace("edge"), pod) as seen:
        lab.set_link("tor-1a", "eth3", False)
        wait_until("one next hop", lambda: gateways(lab, "node-1") == {"10.1.2.0"})
        time.sleep(1)
        lab.set_link("tor-1a", "eth3", True)
        lab.wait_converged()
    print(f"link tor-1a - node-1 down and up: worst gap {seen.worst_gap_ms:.0f} ms, {seen.lost} of {seen.sent} lost")
    assert seen.worst_gap_ms < 1500


@pytest.mark.parametrize("version", [4, 6])
def test_a_switch_that_loses_power_is_gone_around_and_used_again_when_it_is_back(lab: RunningLab, version: int) -> None:
    pod = lab.pod("node-1")
    links = [f"eth{i}" for i in range(1, 5)]
    with lab.traffic(lab.namespace("edge"), pod, version) as seen:
        lab.stop("tor-1a")
        for link in links:
            lab.set_link("tor-1a", link, False)
        wait_until("one next hop", lambda: gateways(lab, "node-1") == {"10.1.2.0"})
        time.sleep(1)
    print(f"tor-1a without power, IPv{version}: worst gap {seen.worst_gap_ms:.0f} ms, {seen.lost} of {seen.sent} lost")
    assert seen.worst_gap_ms < HOLD_TIME_MS + MARGIN_MS
    down = lab.underlay("status", "--node", "node-1")
    assert down.returncode == 1
    assert down.stdout.count("Idle") == 2
    with lab.traffic(lab.namespace("edge"), pod, version) as seen:
        for link in links:
            lab.set_link("tor-1a", link, True)
        lab.start("tor-1a")
        lab.wait_converged()
        wait_until("both spines use both switches again", lambda: spines_use_both(lab))
    print(f"tor-1a back, IPv{version}: worst gap {seen.worst_gap_ms:.0f} ms, {seen.lost} of {seen.sent} lost")
    assert seen.worst_gap_ms < 1500


def spines_use_both(lab: RunningLab) -> bool:
    block = next(b for b in lab.blocks("node-1") if ":" not in b)
    routes = [lab.ip_json(spine, "route", "show", block) for spine in ("spine-1", "spine-2")]
    return all(route and len(route[0].get("nexthops", ())) == 2 for route in routes)


def test_a_switch_that_falls_silent_is_left_after_the_hold_time(lab: RunningLab) -> None:
    """Its links stay up, it neither forwards nor speaks, and nobody is told: only the hold timer can find out."""
    pod, space = lab.pod("node-1"), lab.namespace("tor-1a")
    frozen = namespaces.pids([space])[space]
    with lab.traffic(lab.namespace("edge"), pod) as seen:
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        forwarding(lab, "0")
        wait_until("one next hop", lambda: gateways(lab, "node-1") == {"10.1.2.0"})
        time.sleep(2)
    print(f"tor-1a silent: worst gap {seen.worst_gap_ms:.0f} ms (hold time {HOLD_TIME_MS} ms)")
    assert 1000 < seen.worst_gap_ms < HOLD_TIME_MS + MARGIN_MS
    forwarding(lab, "1")
    for pid in frozen:
        os.kill(pid, signal.SIGCONT)
    lab.wait_converged(60)


def forwarding(lab: RunningLab, value: str) -> None:
    for name in ("net.ipv4.conf.all.forwarding", "net.ipv6.conf.all.forwarding"):
        assert lab.run(lab.namespace("tor-1a"), "sysctl", "-qw", f"{name}={value}").returncode == 0
