"""Pods come by the node's own CNI list and are endpoints as any server: address, routes, MTU, and nobody translates."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from containerlab import namespaces, pods
from containerlab.cni_runtime import CniFailed, Kept, addresses, execution_configuration
from ipam.conflist import PLUGIN
from tests.lab.running_lab import RunningLab, wait_until

NODE = "node-1"
MTU = 9000
EDGE = {4: "203.0.113.10", 6: "2001:db8:ffff::10"}
GATEWAY = {4: "169.254.1.1", 6: "fe80::1"}


def in_pod(namespace: str, *arguments: str) -> list[dict[str, Any]]:
    done = subprocess.run(["ip", "-n", namespace, "-j", *arguments], capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout or "[]"))


def test_a_pod_has_addresses_of_its_nodes_blocks_and_the_mtu_of_the_uplinks(each_lab: RunningLab) -> None:
    blocks = [(node, ip_network(cidr)) for node, cidrs in each_lab.all_blocks().items() for cidr in cidrs]
    assert len(each_lab.pods) == 8
    for pod in each_lab.pods:
        (link,) = in_pod(pod.namespace, "address", "show", "dev", "eth0")
        found = {(one["local"], one["prefixlen"]) for one in link["addr_info"] if one["scope"] == "global"}
        assert found == {(pod.address(4), 32), (pod.address(6), 128)}
        for address in pod.addresses:
            assert [node for node, block in blocks if ip_address(address) in block] == [pod.node], address
        assert link["mtu"] == MTU


def test_everything_a_pod_sends_goes_to_its_node(lab: RunningLab) -> None:
    """No other neighbour is asked for, and the node's end of the wire answers for the gateway."""
    pod = lab.pod(NODE)
    host = wire(lab, pod.namespace)
    for version in (4, 6):
        (default,) = in_pod(pod.namespace, f"-{version}", "route", "show", "default")
        assert (default["gateway"], default["dev"]) == (GATEWAY[version], "eth0")
        for to in (EDGE[version], lab.pod(NODE, 2).address(version), lab.pod("node-2").address(version)):
            assert lab.run(pod.namespace, "ping", "-n", "-c", "1", "-W", "5", to).returncode == 0, to
        assert GATEWAY[version] in {a["local"] for a in host["addr_info"]}
    neighbours = in_pod(pod.namespace, "-4", "neigh", "show")
    assert [(one["dst"], one["lladdr"]) for one in neighbours] == [(GATEWAY[4], host["address"])]


def wire(lab: RunningLab, namespace: str) -> dict[str, Any]:
    """The node's end of a pod's veth."""
    (inner,) = in_pod(namespace, "link", "show", "dev", "eth0")
    (host,) = [one for one in lab.ip_json(NODE, "address", "show") if one["ifindex"] == inner["link_index"]]
    return host


def test_the_node_has_a_host_route_to_each_address(lab: RunningLab) -> None:
    pod = lab.pod(NODE)
    host = wire(lab, pod.namespace)
    assert host["mtu"] == MTU
    for version in (4, 6):
        (route,) = lab.ip_json(NODE, f"-{version}", "route", "show", pod.address(version))
        assert (route["dst"], route["dev"]) == (pod.address(version), host["ifname"])
        assert "gateway" not in route


@dataclass
class Seen:
    """What a capture has seen, when its block is over."""

    text: str = ""


@contextmanager
def seen_at(namespace: str, expression: str) -> Iterator[Seen]:
    """The first packet that a namespace receives of what the expression means."""
    command = ("tcpdump", "-n", "-l", "-c", "1", "-Q", "in", "-i", "any", expression)
    seen = Seen()
    with subprocess.Popen(
        namespaces.inside(namespace, command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as capture:
        try:
            assert capture.stderr is not None
            while "listening on" not in capture.stderr.readline():
                assert capture.poll() is None
            yield seen
            seen.text, _ = capture.communicate(timeout=30)
        finally:
            capture.kill()


ECHO_REQUEST = {4: "icmp[icmptype] == icmp-echo", 6: "icmp6 and ip6[40] == 128"}


@pytest.mark.parametrize("version", [4, 6])
def test_behind_the_spines_and_in_the_pod_the_true_source_is_on_the_wire(lab: RunningLab, version: int) -> None:
    pod, edge = lab.pod("node-3"), lab.namespace("edge")
    for here, source, there, target in (
        (edge, EDGE[version], pod.namespace, pod.address(version)),
        (pod.namespace, pod.address(version), edge, EDGE[version]),
    ):
        with seen_at(there, f"{ECHO_REQUEST[version]} and dst host {target}") as seen:
            assert lab.run(here, "ping", "-n", "-c", "1", "-W", "5", target).returncode == 0
        assert f" {source} > {target}: " in seen.text


def test_pods_go_on_without_the_agent_and_a_delete_waits_for_it(lab: RunningLab) -> None:
    """And the address can be had again, by annotation: the DEL was applied, not lost."""
    leaving, cni = lab.add_pod(NODE, "leaving"), lab.fabric.cni(NODE)
    queue = cni.queue
    before = {pod.name: pod.addresses for pod in lab.pods if pod.node == NODE}
    with lab.traffic(lab.namespace("edge"), lab.pod(NODE)) as seen:
        with lab.agent_away(NODE):
            lab.del_pod(leaving)
            assert len(list(queue.glob("*.json"))) == 1
            assert leaving.namespace not in namespaces.names()
            assert lab.holders()[leaving.addresses[0]] == f"k8s-pod-network.{leaving.namespace}"
        wait_until("the addresses are free", lambda: lab.holders().keys().isdisjoint(leaving.addresses), 60)
    assert seen.lost == 0
    wait_until("nothing is queued any more", lambda: not any(queue.iterdir()))
    heir = lab.add_pod(NODE, "heir", {"underlay.io/ipAddrs": json.dumps(leaving.addresses)})
    try:
        assert heir.addresses == leaving.addresses
        assert lab.run(lab.namespace("edge"), "ping", "-n", "-c", "1", "-W", "5", heir.addresses[0]).returncode == 0
    finally:
        lab.del_pod(heir)
    holders = lab.holders()
    for name, its_own in before.items():
        attachment = pods.attachment(lab.fabric.lab, NODE, name)
        asyncio.run(cni.runtime().check(attachment))
        assert {holders[address] for address in its_own} == {f"k8s-pod-network.{attachment.container}"}


def test_an_add_without_the_agent_is_to_be_tried_again_and_leaves_nothing(lab: RunningLab) -> None:
    links, queue = {one["ifname"] for one in lab.ip_json(NODE, "link", "show")}, lab.fabric.cni(NODE).queue
    with lab.agent_away(NODE):
        with pytest.raises(CniFailed, match="the node agent does not answer") as failed:
            lab.add_pod(NODE, "early")
        assert failed.value.try_again
        assert {one["ifname"] for one in lab.ip_json(NODE, "link", "show")} == links
    wait_until("its DEL is applied", lambda: not any(queue.iterdir()), 60)
    early = lab.add_pod(NODE, "early")
    lab.del_pod(early)


def test_an_address_that_another_pod_has_is_refused_and_nothing_stays(lab: RunningLab) -> None:
    taken = lab.pod(NODE)
    links = {one["ifname"] for one in lab.ip_json(NODE, "link", "show")}
    with pytest.raises(CniFailed, match="address-taken"):
        lab.add_pod(NODE, "greedy", {"cni.projectcalico.org/ipAddrs": json.dumps(taken.addresses[:1])})
    assert {one["ifname"] for one in lab.ip_json(NODE, "link", "show")} == links
    assert pods.pod_namespace(lab.fabric.lab, NODE, "greedy") not in namespaces.names()
    assert lab.holders()[taken.address(4)] == f"k8s-pod-network.{taken.namespace}"


def test_an_add_that_is_repeated_gives_the_same_addresses(lab: RunningLab) -> None:
    """`ptp` refuses to make eth0 twice, so this is the IPAM plugin alone, as `ptp` calls it."""
    pod, cni = lab.pod(NODE), lab.fabric.cni(NODE)
    kept = cni.runtime().kept(pods.attachment(lab.fabric.lab, NODE, pod.name))
    assert kept is not None
    stdin = json.dumps(execution_configuration(kept.conflist["plugins"][0], Kept(kept.attachment, kept.conflist, None)))
    variables = {
        "CNI_COMMAND": "ADD", "CNI_CONTAINERID": kept.attachment.container, "CNI_NETNS": kept.attachment.netns,
        "CNI_IFNAME": "eth0", "CNI_PATH": str(cni.programs),
    }  # fmt: skip
    for _ in range(2):
        done = subprocess.run(
            [str(cni.programs / PLUGIN)], input=stdin, env={**os.environ, **variables}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        assert addresses(json.loads(done.stdout)) == pod.addresses


def test_another_up_leaves_running_pods_alone(lab: RunningLab) -> None:
    before = {pod.namespace: (pod, in_pod(pod.namespace, "link", "show", "dev", "eth0")) for pod in lab.pods}
    lab.up()
    assert {pod.namespace: (pod, in_pod(pod.namespace, "link", "show", "dev", "eth0")) for pod in lab.pods} == before


def test_pods_that_are_detached_leave_no_wire_and_no_address(lab: RunningLab) -> None:
    """What `lab down` begins with."""
    had = [(pod.node, address) for pod in lab.pods for address in pod.addresses]
    asyncio.run(lab.fabric.detach_pods(lab.nodes()))
    try:
        assert lab.holders() == {}
        for node in lab.nodes():
            assert [one["ifname"] for one in lab.ip_json(node, "link", "show") if "veth" in one["ifname"]] == []
    finally:
        lab.up()
    assert len({address for pod in lab.pods for address in pod.addresses}) == len(had)
