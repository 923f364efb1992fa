"""A node of Kubernetes in a pool of podCIDRs: its real agent, a ToR with the rendered FRR, pods by host-local.

One declaration gives both sides. The Node is what Kubernetes would have: the test writes its podCIDRs.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgp_speaker.kernel_routes import PROTOCOL
from fabric_templates.render import render
from peering.compile import plan
from peering.manifests import parse_manifests
from peering.problems import errors
from peering.snapshot import Snapshot
from peering.store.resources import put
from peering.store.sqlite import SqliteStore
from tests.interop.netns_daemons import Frr, Network
from tests.interop.speaker_lab import SpeakerLab, command
from tests.interop.test_aggregates import discards, known
from tests.interop.test_speaker_pods import AS_ROOT, PodLab, soon
from tests.unit.command_line import run_underlay

pytestmark = pytest.mark.lab

POOLS = ("10.1.0.0/16", "fd00:1::/48")
FIRST, LATER = ("10.1.7.0/24", "fd00:1:0:7::/64"), ("10.1.8.0/24", "fd00:1:0:8::/64")
DECLARED = f"""
apiVersion: underlay.io/v1alpha1
kind: IPPool
metadata: {{name: cluster-v4}}
spec: {{cidr: {POOLS[0]}, ipam: podCIDR}}
---
apiVersion: underlay.io/v1alpha1
kind: IPPool
metadata: {{name: cluster-v6}}
spec: {{cidr: '{POOLS[1]}', ipam: podCIDR}}
---
apiVersion: underlay.io/v1alpha1
kind: Switch
metadata: {{name: tor}}
spec:
  asNumber: 65011
  addresses: [10.0.1.1/32]
  linkSubnets: [10.9.0.0/24, 'fd00:9::/64']
  linkAddresses: [10.9.0.200/24, 'fd00:9::c8/64']
---
apiVersion: underlay.io/v1alpha1
kind: Rack
metadata: {{name: rack-1}}
spec: {{nodeSelector: rack == 'rack-1', switches: [tor], nodeASNumber: 65101, holdTime: 9s}}
"""


def node_of_kubernetes(*pod_cidrs: str) -> dict[str, Any]:
    annotations = {
        "projectcalico.org/IPv4Address": "10.9.1.1",
        "projectcalico.org/IPv6Address": "fd00:9:1::1",
        "underlay.io/uplinks": "eth0=10.9.0.1/24,fd00:9::1/64",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "node-1", "labels": {"rack": "rack-1"}, "annotations": annotations},
        "spec": {"podCIDR": pod_cidrs[0], "podCIDRs": list(pod_cidrs)} if pod_cidrs else {},
    }


class Cluster(PodLab):
    """A node, and FRR as its ToR where others have a router."""

    def __init__(self, lab: SpeakerLab, network: Network, folder: Path) -> None:
        super().__init__(lab, folder)
        self.declare(DECLARED, json.dumps(node_of_kubernetes()))
        for setting in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            command("ip", "netns", "exec", self.node.namespace, "sysctl", "-qw", f"{setting}=1")
        for address in ("10.9.1.1/32", "fd00:9:1::1/128"):
            nodad = ("nodad",) if ":" in address else ()
            command("ip", "-n", self.node.namespace, "address", "add", address, "dev", "lo", *nodad)
        compiled = plan(self._snapshot)
        assert [problem.line() for problem in errors(compiled.problems)] == []
        conf = render("tor", compiled.switches["tor"])["frr.conf"]
        self.tor = Frr(network, self.router.namespace, conf, zebra=True, rib=True)

    def declare(self, *texts: str) -> None:
        found = [parse_manifests(text, "the test's") for text in texts]
        assert [problem for _, problems in found for problem in problems] == []
        self._snapshot = Snapshot([resource for resources, _ in found for resource in resources])

        async def write() -> None:
            store = SqliteStore(self.lab.folder / "store.db")
            for resource in self._snapshot:
                await put(store, resource)
            await store.close()

        asyncio.run(write())

    def give(self, *pod_cidrs: str) -> None:
        self.declare(json.dumps(node_of_kubernetes(*pod_cidrs)))

    def heard(self) -> dict[str, str]:
        """How the ToR has each prefix of the pools: `as ever`, or as the `last resort`."""
        found = {}
        for prefix in self.at_tor():
            version = "ipv6" if ":" in prefix else "ipv4"
            paths = self.tor.json(f"show bgp {version} unicast {prefix}").get("paths", ())
            said = {"graceful-shutdown" in path.get("community", {}).get("string", "").lower() for path in paths}
            if said:  # it may have gone meanwhile
                found[prefix] = "last resort" if said == {True} else "as ever"
        return found

    def at_tor(self) -> set[str]:
        """The prefixes of the pools that the ToR has."""
        return {prefix for pool in POOLS for prefix in known(self.tor, pool)}

    def blocks(self) -> set[str]:
        """What the speaker reports."""
        status = self.lab.status(self.node)
        return set(status.blocks) if status else set()

    def subnets(self) -> tuple[str, ...]:
        """Of the list of plugins."""
        ipam = json.loads(self.list.read_text())["plugins"][0]["ipam"] if self.list.exists() else {}
        return tuple(one["subnet"] for ranges in ipam.get("ranges", ()) for one in ranges)

    def discarded(self) -> set[str]:
        """What the node has a blackhole for."""
        return {p for p in discards(self.node.namespace, str(PROTOCOL)) if p.startswith(("10.1.", "fd00:1:"))}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with SpeakerLab(1) as lab, Network() as network:
        yield Cluster(lab, network, tmp_path)


def cordoned(node: dict[str, Any], is_cordoned: bool) -> dict[str, Any]:
    """As `kubectl cordon` leaves a Node: with the field, and with the taint that Kubernetes puts beside it."""
    taints = [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}] if is_cordoned else []
    return {**node, "spec": {**node["spec"], "taints": taints}}


def are_of(pod_cidrs: tuple[str, ...], addresses: tuple[str, ...]) -> bool:
    pairs = zip(addresses, pod_cidrs, strict=True)
    return all(ipaddress.ip_address(address) in ipaddress.ip_network(cidr) for address, cidr in pairs)


def test_pod_cidrs_are_announced_and_given_to_pods_and_both_follow_the_node(cluster: Cluster) -> None:
    cluster.start_agent(*AS_ROOT)
    soon(lambda: {row.state for row in cluster.lab.rows(cluster.node).values()} == {"Established"})
    soon(lambda: "no pods yet: its Node has no podCIDR of IPv4 and IPv6" in cluster.said())
    assert (cluster.at_tor(), cluster.blocks(), cluster.list.exists()) == (set(), set(), False)

    cluster.give(*FIRST)
    soon(lambda: cluster.at_tor() == set(FIRST))
    soon(lambda: cluster.blocks() == set(FIRST) and cluster.subnets() == FIRST)
    soon(lambda: cluster.discarded() == set(FIRST))
    old = cluster.pod("one")
    addresses = cluster.add(old)
    assert are_of(FIRST, addresses)
    soon(lambda: all(map(cluster.reaches, addresses)))
    assert cluster.held() == {}

    cluster.give(*LATER)
    soon(lambda: cluster.at_tor() == set(LATER))
    soon(lambda: cluster.blocks() == set(LATER) and cluster.subnets() == LATER)
    soon(lambda: cluster.discarded() == set(LATER))
    new = cluster.pod("two")
    later = cluster.add(new)
    assert are_of(LATER, later)
    soon(lambda: all(map(cluster.reaches, later)))
    checked = run_underlay("ipam", "check", "--store", f"sqlite:{cluster.lab.folder / 'store.db'}")
    assert (checked.exit_code, "nothing is wrong" in checked.stdout) == (0, True), checked.stdout + checked.stderr
    for pod in (old, new):
        cluster.delete(pod)

    cluster.give()
    soon(lambda: cluster.at_tor() == set())
    soon(lambda: "the list stays as it is: its Node has no podCIDR of IPv4 and IPv6" in cluster.said())
    assert cluster.subnets() == LATER


SETTING = """
apiVersion: underlay.io/v1alpha1
kind: BGPConfiguration
metadata: {name: default}
spec: {drainCordonedNodes: true, drainSettleSeconds: 3}
"""


def test_a_cordoned_nodes_pod_cidrs_are_the_last_resort_and_then_withdrawn(cluster: Cluster) -> None:
    """With its last pod, as a block is; before that the fabric has moved. With `--withdraw` at once."""
    store = ("--store", f"sqlite:{cluster.lab.folder / 'store.db'}")
    cluster.start_agent(*AS_ROOT)
    node = node_of_kubernetes(*FIRST)
    cluster.declare(SETTING, json.dumps(node))
    soon(lambda: cluster.heard() == dict.fromkeys(FIRST, "as ever") and cluster.subnets() == FIRST)
    pod = cluster.pod("one")
    addresses = cluster.add(pod)

    cluster.declare(json.dumps(cordoned(node, True)))
    soon(lambda: cluster.heard() == dict.fromkeys(FIRST, "last resort"))
    soon(lambda: drained(cluster) == ("drained", set(FIRST)))
    assert all(map(cluster.reaches, addresses))
    assert cluster.heard() == dict.fromkeys(FIRST, "last resort")
    cluster.delete(pod)
    soon(lambda: cluster.heard() == {})
    soon(lambda: drained(cluster) == ("drained", set()))
    other = cluster.pod("two")
    addresses = cluster.add(other)
    soon(lambda: cluster.heard() == dict.fromkeys(FIRST, "last resort") and all(map(cluster.reaches, addresses)))
    cluster.declare(json.dumps(cordoned(node, False)))
    soon(lambda: cluster.heard() == dict.fromkeys(FIRST, "as ever"))

    assert run_underlay("drain", "node-1", *store).exit_code == 0
    soon(lambda: drained(cluster) == ("drained", set(FIRST)))
    assert cluster.heard() == dict.fromkeys(FIRST, "last resort")
    assert run_underlay("drain", "node-1", "--withdraw", *store).exit_code == 0
    soon(lambda: cluster.heard() == {})
    assert run_underlay("uncordon", "node-1", *store).exit_code == 0
    soon(lambda: cluster.heard() == dict.fromkeys(FIRST, "as ever"))
    cluster.delete(other)


def drained(cluster: Cluster) -> tuple[str, set[str]]:
    status = cluster.lab.status(cluster.node)
    return (status.drain, set(status.kept)) if status else ("", set())
