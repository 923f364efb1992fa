"""What is in the cluster before anything runs: the sample `dual-tor` as custom resources, Nodes of core/v1, a Secret.

The sample is taken as it is, but for three things: the sessions of rack-2 have a password; switches pass on a
community; and graceful restart is so short in rack-2 that a test sees its end, and in rack-1 longer than that test.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from containerlab.node_addresses import addresses_of
from containerlab.topology import Node
from tests.kube_api.cluster import NAMESPACE

Document = dict[str, Any]

SECRET, KEY, COMMUNITY = "rack-2", "bgp", "65000:77"
KEPT_S, RESTART_S = 20, 10
_RACKS: dict[str, Document] = {
    "rack-1": {"gracefulRestartTime": f"{KEPT_S}s", "keepCommunities": [COMMUNITY]},
    "rack-2": {
        "keepCommunities": [COMMUNITY],
        "gracefulRestartTime": f"{RESTART_S}s",
        "password": {"secretKeyRef": {"name": SECRET, "key": KEY}},
    },
}
_SAMPLE = Path(__file__).parents[3] / "config" / "samples" / "dual-tor"


def custom_resources() -> list[Document]:
    """All of the sample, of our own group."""
    documents = [one for path in sorted(_SAMPLE.glob("*.yaml")) for one in yaml.safe_load_all(path.read_text()) if one]
    for one in documents:
        one["apiVersion"] = "underlay.io/v1alpha1"
        if one["kind"] == "Rack":
            one["spec"].update(_RACKS[one["metadata"]["name"]])
    return documents


def secret(password: str) -> Document:
    metadata = {"name": SECRET, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {KEY: password}}


def kubernetes_node(node: Node) -> Document:
    """A Node of core/v1 as kubelet and an admin leave it: what a fabric has to know stands in annotations."""
    addresses = addresses_of(node)
    version_4, version_6 = addresses.pop("lo")
    uplinks = ";".join(f"{interface}={','.join(found)}" for interface, found in addresses.items())
    annotations = {
        "projectcalico.org/IPv4Address": version_4,
        "projectcalico.org/IPv6Address": version_6,
        "underlay.io/uplinks": uplinks,
    }
    labels = {"rack": node.labels["rack"], "kubernetes.io/hostname": node.name}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": labels, "annotations": annotations},
        "spec": {"podCIDRs": []},
    }


def changed(document: Document, **spec: Any) -> Document:
    """The object with other words in its spec, as an editor of kubectl would send it."""
    new = copy.deepcopy(document)
    new["spec"].update(spec)
    return new
