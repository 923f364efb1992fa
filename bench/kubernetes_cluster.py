"""A cluster of any size as objects of an API server: the fabric of fabric_sample.py, and what IPAM and speakers write.

Nodes are as a kubelet writes them, most of which is of no use to us. Each has one block, and a handle for each pod.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from bench.fabric_sample import fabric
from ipam.block_order import affinity_name, block_name
from ipam.handles import handle_name
from peering.compile import plan
from peering.resource import Resource
from peering.session import SpeakerPlan
from peering.snapshot import Snapshot

UNDERLAY = "underlay.io/v1alpha1"
Document = dict[str, Any]
_SEQUENCE = 100_000_000


def cluster(nodes: int, racks: int, reflectors: int, pods: int) -> Iterator[Document]:
    """All objects, each as it is stored. `pods` are those of one node."""
    resources = fabric(nodes, racks, reflectors)
    speakers = plan(Snapshot(resources)).speakers
    for resource in resources:
        document = resource.to_document()
        yield _kubelets(resource) if resource.kind == "Node" else stored(resource.kind, resource.name, document["spec"])
    for number, (name, speaker) in enumerate(sorted(speakers.items())):
        yield from _block(name, number, pods)
        yield _report(name, speaker)


def stored(kind: str, name: str, spec: Document, labels: dict[str, str] | None = None) -> Document:
    """With the fields that every object of an API server has, and that nobody here reads."""
    metadata: Document = {
        "name": name,
        "uid": f"7f0c1b3e-0000-4000-8000-{hashlib.md5(name.encode()).hexdigest()[:12]}",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "generation": 1,
        "managedFields": [{"manager": "underlay", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {}}}],
    }
    if labels:
        metadata["labels"] = labels
    return {"apiVersion": UNDERLAY, "kind": kind, "metadata": metadata, "spec": spec}


def _kubelets(node: Resource) -> Document:
    spec = node.to_document()["spec"]
    uplinks = ";".join(f"{link['interface']}={','.join(link['addresses'])}" for link in spec["uplinks"])
    labels = {**node.labels, **{f"kubernetes.io/label-{one}": f"value-{one}" for one in range(10)}}
    document = stored("Node", node.name, {"podCIDR": "10.0.0.0/24"}, labels)
    document["metadata"]["annotations"] = {
        "underlay.io/uplinks": uplinks,
        "projectcalico.org/IPv4Address": spec["bgp"]["ipv4Address"],
        "projectcalico.org/IPv6Address": spec["bgp"]["ipv6Address"],
        "other/long": "x" * 500,
    }
    images = [{"names": [f"registry.example/image-{one}"], "sizeBytes": one} for one in range(20)]
    addresses = [{"type": "InternalIP", "address": spec["bgp"]["ipv4Address"].partition("/")[0]}]
    return {**document, "apiVersion": "v1", "status": {"addresses": addresses, "images": images}}


def _block(node: str, number: int, pods: int) -> Iterator[Document]:
    cidr = f"100.{64 + number // 1024}.{number // 4 % 256}.{number % 4 * 64}/26"
    name = block_name(cidr)
    labels = {"underlay.io/node": node, "underlay.io/type": "host"}
    affinity = {"node": node, "cidr": cidr, "state": "confirmed"}
    yield stored("BlockAffinity", affinity_name(node, cidr), affinity, labels)
    names = [hashlib.sha256(f"{number}.{pod}".encode()).hexdigest() for pod in range(pods)]
    handles = [f"underlay.{name}" for name in names]
    given = [
        {
            "ordinal": pod,
            "handle": handle,
            "sequence": _SEQUENCE + number,
            "namespace": "shop",
            "pod": f"web-{names[pod][:10]}-{names[pod][-5:]}",
            "since": "2026-01-01T00:00:00Z",
        }
        for pod, handle in enumerate(handles)
    ]
    block = {"cidr": cidr, "affinity": f"host:{node}", "allocations": given, "sequence": _SEQUENCE + number}
    yield stored("IPAMBlock", name, block, {"underlay.io/node": node})
    for handle in handles:
        yield stored("IPAMHandle", handle_name(handle), {"handle": handle, "blocks": [cidr], "sequence": 1})


def _report(node: str, speaker: SpeakerPlan) -> Document:
    rows = [
        {
            "session": session.name,
            "peer": session.peer,
            "localAddress": session.local_address,
            "peerAddress": session.peer_address,
            "peerASN": session.peer_asn,
            "state": "Established",
            "since": 1_767_268_800.0,
            **dict.fromkeys(("received", "accepted", "announced"), 5000),
        }
        for session in speaker.sessions
    ]
    counts = {"established": len(rows), "total": len(rows)}
    return stored("BGPNodeStatus", node, {"node": node, "reported": 1_767_268_800.0, "sessions": rows, **counts})
