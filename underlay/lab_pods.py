"""The demo pods of a lab: an address of each family from IPAM, a namespace from the reference CNI plugin."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from containerlab import namespaces
from containerlab.pods import add_pod, pod_namespace
from containerlab.topology import Node
from ipam.addresses import assign
from peering.store.open_store import open_store
from underlay.fabric_lab import FabricLab

_PODS_LABEL = "underlay/pods"
_DEFAULT_MTU = 1500


@dataclass(frozen=True, slots=True)
class LabPod:
    """A pod of the lab; `addresses` without their lengths, IPv4 first."""

    name: str
    node: str
    namespace: str
    addresses: tuple[str, ...]

    def address(self, version: int) -> str:
        """Its address of IP version 4 or 6."""
        return next(a for a in self.addresses if (":" in a) is (version == 6))


async def ensure_pods(fabric: FabricLab) -> list[LabPod]:
    """The pods that the topology's labels ask for; those that are there already stay as they are."""
    store = open_store(fabric.store_url)
    try:
        pods = []
        for node in fabric.nodes():
            for number in range(1, _count(node) + 1):
                name = f"pod-{number}"
                assigned = await assign(store, node.name, f"{node.name}.{name}")
                addresses = tuple(address.split("/")[0] for address in assigned)
                pods.append(LabPod(name, node.name, pod_namespace(fabric.lab, node.name, name), addresses))
    finally:
        await store.close()
    await asyncio.gather(*(_ensure(fabric, pod) for pod in pods))
    return pods


async def _ensure(fabric: FabricLab, pod: LabPod) -> None:
    if not namespaces.exists(pod.namespace):
        await add_pod(fabric.lab, pod.node, pod.name, pod.addresses, _uplink_mtu(fabric, pod.node))


def _uplink_mtu(fabric: FabricLab, node: str) -> int:
    """The smallest MTU of the node's links: what leaves the pod whole leaves the node whole."""
    links = fabric.topology.links
    return min((link.mtu for link in links if node in (link.a.node, link.b.node)), default=_DEFAULT_MTU)


def _count(node: Node) -> int:
    text = node.labels.get(_PODS_LABEL, "0")
    return int(text) if text.isdigit() else 0
