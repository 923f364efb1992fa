"""Pods are endpoints of the fabric: their own addresses, no NAT, full MTU, both switches used."""

from __future__ import annotations

import asyncio
import re
import subprocess

import pytest

from containerlab import namespaces
from tests.lab.running_lab import RunningLab
from underlay.lab_demo import received_by_uplink
from underlay.lab_pods import LabPod

EDGE = {4: "203.0.113.10", 6: "2001:db8:ffff::10"}
MTU = 9000
IP_HEADER = {4: 20, 6: 40}
ICMP_HEADER = 8


def ping(lab: RunningLab, source: str, to: str, *options: str) -> subprocess.CompletedProcess[str]:
    return lab.run(source, "ping", "-n", "-c", "1", "-W", "2", *options, to)


@pytest.mark.parametrize("version", [4, 6])
def test_every_pod_reaches_every_other_with_its_own_address(each_lab: RunningLab, version: int) -> None:
    pods = [each_lab.pod(node) for node in each_lab.nodes()]
    failed = [
        f"{a.node} -> {b.node}"
        for a in pods
        for b in pods
        if ping(each_lab, a.namespace, b.address(version)).returncode
    ]
    assert failed == []


@pytest.mark.parametrize("version", [4, 6])
def test_the_outside_reaches_a_pod_and_is_seen_with_its_own_address(each_lab: RunningLab, version: int) -> None:
    with each_lab.traffic(each_lab.namespace("edge"), each_lab.pod("node-3"), version) as seen:
        pass
    assert seen.lost == 0
    assert seen.sources == (EDGE[version],)


@pytest.mark.parametrize("version", [4, 6])
def test_a_pod_reaches_the_outside_and_is_seen_with_its_own_address(each_lab: RunningLab, version: int) -> None:
    pod = each_lab.pod("node-2")
    outside = LabPod("edge", "edge", each_lab.namespace("edge"), tuple(EDGE.values()))
    with each_lab.traffic(pod.namespace, outside, version) as seen:
        pass
    assert seen.lost == 0
    assert seen.sources == (pod.address(version),)


@pytest.mark.parametrize("version", [4, 6])
def test_across_racks_the_far_pod_sees_the_near_pods_address_on_the_wire(each_lab: RunningLab, version: int) -> None:
    near, far = each_lab.pod("node-1"), each_lab.pod("node-4")
    what = "icmp6 and ip6[40] == 128" if version == 6 else "icmp[icmptype] == icmp-echo"
    command = namespaces.inside(far.namespace, ("tcpdump", "-n", "-l", "-c", "1", "-i", "eth0", what))
    capture = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert capture.stderr is not None
    while "listening on" not in capture.stderr.readline():
        pass
    assert ping(each_lab, near.namespace, far.address(version)).returncode == 0
    out, _ = capture.communicate(timeout=10)
    assert f" {near.address(version)} > {far.address(version)}: " in out


@pytest.mark.parametrize("version", [4, 6])
def test_each_router_takes_one_off_the_ttl(each_lab: RunningLab, version: int) -> None:
    """node, ToR, spine, ToR, node: five routers between pods of two racks; three to the outside."""
    pod = each_lab.pod("node-1")
    for to, routers in ((each_lab.pod("node-3").address(version), 5), (EDGE[version], 3)):
        answer = ping(each_lab, pod.namespace, to)
        match = re.search(r"ttl=(\d+)", answer.stdout)
        assert match, answer.stdout
        assert int(match[1]) == 64 - routers


@pytest.mark.parametrize("version", [4, 6])
def test_a_pod_sends_whole_packets_of_the_links_mtu_and_not_one_byte_more(each_lab: RunningLab, version: int) -> None:
    pod, to = each_lab.pod("node-1"), each_lab.pod("node-3").address(version)
    fits = MTU - IP_HEADER[version] - ICMP_HEADER
    assert ping(each_lab, pod.namespace, to, "-M", "do", "-s", str(fits)).returncode == 0
    assert ping(each_lab, pod.namespace, to, "-M", "do", "-s", str(fits + 1)).returncode != 0


@pytest.mark.parametrize("version", [4, 6])
def test_many_flows_use_both_switches_in_both_directions(each_lab: RunningLab, version: int) -> None:
    pod = each_lab.pod("node-1")
    before = asyncio.run(received_by_uplink(each_lab.fabric, "node-1"))
    sent_before = sent_by_uplink(each_lab, "node-1")
    with each_lab.traffic(each_lab.namespace("edge"), pod, version, flows=64, rate=10) as seen:
        pass
    after = asyncio.run(received_by_uplink(each_lab.fabric, "node-1"))
    sent_after = sent_by_uplink(each_lab, "node-1")
    assert seen.lost == 0
    for came in (
        {s: after[s] - before[s] for s in before},
        {i: sent_after[i] - sent_before[i] for i in sent_before},
    ):
        assert len(came) == 2
        # 64 flows over two ways: fewer than 10 on one of them happens by chance once in 10^8 runs.
        assert min(came.values()) >= seen.sent * 10 / 64, came


def sent_by_uplink(lab: RunningLab, node: str) -> dict[str, int]:
    links = lab.ip_json(node, "-s", "link", "show")
    return {x["ifname"]: x["stats64"]["tx"]["packets"] for x in links if x["ifname"] in ("eth1", "eth2")}


def test_a_dead_address_of_a_block_is_answered_unreachable_and_does_not_loop(each_lab: RunningLab) -> None:
    block = next(b for b in each_lab.blocks("node-3") if ":" not in b)
    dead = block.rsplit(".", 1)[0] + "." + str(int(block.rsplit(".", 1)[1].split("/")[0]) + 60)
    answer = ping(each_lab, each_lab.pod("node-1").namespace, dead)
    assert answer.returncode != 0
    assert "Time to live exceeded" not in answer.stdout
