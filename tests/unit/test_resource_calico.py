"""Calico's objects as `kubectl get -o yaml` and `calicoctl get -o yaml` print them."""

from __future__ import annotations

from typing import Any

import pytest

from peering.manifests import parse_manifests
from peering.resource import Resource
from peering.resources.bgp_configuration import BGPConfigurationSpec
from peering.resources.bgp_peer import BGPPeerSpec
from peering.resources.ipam import Allocation, BlockAffinitySpec, IPAMBlockSpec, IPAMHandleSpec
from peering.resources.node import NodeSpec
from peering.resources.pools import IPAMConfigurationSpec, IPPoolSpec, IPReservationSpec

METADATA = """
  metadata:
    annotations:
      projectcalico.org/metadata: '{"creationTimestamp":null}'
    creationTimestamp: "2026-01-01T00:00:00Z"
    generation: 2
    name: NAME
    resourceVersion: "830"
    uid: 1b8cf9c1-2f5f-4b6e-8b58-3c7a9e7d3f0e
"""


def read(kind: str, name: str, spec: str, version: str = "crd.projectcalico.org/v1") -> Resource:
    """One object inside a List, with the metadata of an API server."""
    text = (
        f"apiVersion: v1\nkind: List\nitems:\n- apiVersion: {version}\n  kind: {kind}{METADATA.replace('NAME', name)}"
    )
    body = "\n".join(f"    {line}" for line in spec.strip().splitlines())
    resources, problems = parse_manifests(f"{text}  spec:\n{body}\n", "dump")
    assert [problem.line() for problem in problems] == []
    (resource,) = resources
    assert resource.name == name
    return resource


@pytest.mark.parametrize("version", ["crd.projectcalico.org/v1", "projectcalico.org/v3"])
def test_a_block(version: str) -> None:
    spec = """
affinity: host:node-1
affinityClaimTime: "2026-01-01T00:00:00Z"
allocations: [0, null, 1, 7, null]
attributes:
- handle_id: vxlan-tunnel-addr-node-1
  secondary: {node: node-1, type: vxlanTunnelAddress}
- handle_id: null
cidr: 10.244.0.0/26
deleted: false
sequenceNumber: 18446744073709551615
sequenceNumberForAllocation: {"0": 17, "2": 18}
strictAffinity: false
unallocated: [1, 4]
"""
    block = read("IPAMBlock", "10-244-0-0-26", spec, version)
    assert block.spec == IPAMBlockSpec(
        cidr="10.244.0.0/26",
        affinity="host:node-1",
        allocations=(
            Allocation(ordinal=0, handle="vxlan-tunnel-addr-node-1", node="node-1"),
            Allocation(ordinal=2, handle=""),
            Allocation(ordinal=3, handle=""),
        ),
    )


def test_a_block_that_nobody_owns() -> None:
    block = read("IPAMBlock", "b", "allocations: [null]\nattributes: []\ncidr: 10.244.0.0/32\naffinity: null")
    assert block.spec == IPAMBlockSpec(cidr="10.244.0.0/32")


def test_whose_an_address_is() -> None:
    """What cannot be read of it is left out: no block fails over what is there for people."""
    spec = """
allocations: [0, 1]
attributes:
- handle_id: k8s-pod-network.1
  secondary: {node: node-1, namespace: prod, pod: db-0, timestamp: 2026-01-01 00:00:00 +0000 UTC}
- handle_id: k8s-pod-network.2
  secondary: {node: 7, pod: "a\\nb"}
cidr: 10.244.0.0/31
"""
    block = read("IPAMBlock", "b", spec).spec
    assert isinstance(block, IPAMBlockSpec)
    first = Allocation(ordinal=0, handle="k8s-pod-network.1", node="node-1", namespace="prod", pod="db-0")
    assert block.allocations == (first, Allocation(ordinal=1, handle="k8s-pod-network.2"))


def test_a_handle() -> None:
    spec = "block: {10.244.0.0/26: 1, 'fd00::/122': 2}\ndeleted: false\nhandleID: k8s-pod-network.1"
    found = read("IPAMHandle", "k8s-pod-network.1", spec)
    assert found.spec == IPAMHandleSpec(handle="k8s-pod-network.1", blocks=("10.244.0.0/26", "fd00::/122"))


@pytest.mark.parametrize(
    ("facts", "state", "kind"),
    [
        ('deleted: "false"\ntype: host\nstate: confirmed', "confirmed", "host"),
        ('deleted: "false"\nstate: pendingDeletion', "pendingDeletion", "host"),
        ('deleted: "true"\ntype: host\nstate: confirmed', "pendingDeletion", "host"),
        ("deleted: true\nstate: confirmed", "pendingDeletion", "host"),
        ('deleted: false\ntype: virtual\nstate: ""', "pending", "virtual"),
        ('deleted: "false"\ntype: ""\nstate: pending', "pending", "host"),
    ],
)
def test_an_affinity(facts: str, state: Any, kind: Any) -> None:
    affinity = read("BlockAffinity", "node-1-10-244-0-0-26", f"cidr: 10.244.0.0/26\nnode: node-1\n{facts}")
    assert affinity.spec == BlockAffinitySpec(cidr="10.244.0.0/26", node="node-1", state=state, type=kind)


def test_the_configuration_of_ipam_by_both_names() -> None:
    spec = "autoAllocateBlocks: true\nmaxBlocksPerHost: 4\nstrictAffinity: true"
    old = read("IPAMConfig", "default", spec)
    new = read("IPAMConfiguration", "default", spec, "projectcalico.org/v3")
    assert old == new
    assert (old.kind, old.spec) == (
        "IPAMConfiguration",
        IPAMConfigurationSpec(strict_affinity=True, max_blocks_per_host=4),
    )


def test_a_node_with_all_that_calico_writes_into_it() -> None:
    spec = """
addresses: [{address: 10.0.11.1/24, type: CalicoNodeIP}, {address: 172.18.0.2, type: InternalIP}]
bgp: {asNumber: 65101, ipv4Address: 10.0.11.1/24, ipv4IPIPTunnelAddr: 10.244.0.1, routeReflectorClusterID: 244.0.0.1}
interfaces: [{name: eth0, addresses: [10.0.11.1]}]
ipv4VXLANTunnelAddr: 10.244.0.2
orchRefs: [{nodeName: node-1, orchestrator: k8s}]
vxlanTunnelMACAddr: 66:44:8d:d9:3e:4d
wireguard: {interfaceIPv4Address: 10.244.0.3}
"""
    node = read("Node", "node-1", spec, "projectcalico.org/v3")
    bgp = {"asNumber": 65101, "ipv4Address": "10.0.11.1/24", "routeReflectorClusterID": "244.0.0.1"}
    assert node.spec == NodeSpec.model_validate({"bgp": bgp})


def test_a_pool() -> None:
    spec = """
allowedUses: [Workload, Tunnel]
assignmentMode: Automatic
blockSize: 26
cidr: 10.244.0.0/16
ipipMode: Never
natOutgoing: true
nodeSelector: all()
vxlanMode: Never
"""
    pool = read("IPPool", "default-ipv4-ippool", spec)
    assert pool.spec == IPPoolSpec(
        cidr="10.244.0.0/16", block_size=26, nat_outgoing=True, allowed_uses=("Workload", "Tunnel")
    )


def test_no_allowed_uses_are_the_default() -> None:
    assert read("IPPool", "a", "cidr: 10.244.0.0/16\nallowedUses: []").spec == IPPoolSpec(cidr="10.244.0.0/16")


def test_a_reservation_of_single_addresses() -> None:
    found = read("IPReservation", "a", "reservedCIDRs: [10.244.0.1, 10.244.1.0/24, 'fd00::1']")
    assert found.spec == IPReservationSpec(reserved_cidrs=("10.244.0.1/32", "10.244.1.0/24", "fd00::1/128"))


def test_a_configuration_with_communities_that_look_like_times() -> None:
    """`65000:50` is a number to base 60 for some readers of YAML."""
    spec = """
asNumber: 64512
communities: [{name: anycast, value: 65000:50}]
logSeverityScreen: info
nodeMeshMaxRestartTime: 2m0s
nodeToNodeMeshEnabled: true
prefixAdvertisements: [{cidr: 10.244.0.0/16, communities: [anycast, 65000:1]}]
serviceClusterIPs: [{cidr: 10.96.0.0/12}]
"""
    found = read("BGPConfiguration", "default", spec, "projectcalico.org/v3").spec
    assert isinstance(found, BGPConfigurationSpec)
    assert (found.log_severity_screen, found.node_mesh_max_restart_time) == ("Info", 120)
    assert found.communities[0].value == "65000:50"
    assert found.prefix_advertisements[0].communities == ("anycast", "65000:1")


def test_texts_that_are_not_set() -> None:
    """Older tools of Calico write them out empty, and asNumber 0."""
    spec = "node: ''\nnodeSelector: all()\npeerIP: ''\nasNumber: 0\npeerSelector: has(rr)\nkeepaliveTime: null"
    assert read("BGPPeer", "rr", spec).spec == BGPPeerSpec(node_selector="all()", peer_selector="has(rr)")


def test_a_password_that_may_not_be_missing() -> None:
    reference = "{secretKeyRef: {name: bgp, key: peer, optional: false}}"
    found = read(
        "BGPPeer", "a", f"peerIP: 10.0.0.1:1790\nasNumber: 1.10\npassword: {reference}".replace("1.10", "'1.10'")
    )
    assert isinstance(found.spec, BGPPeerSpec)
    assert (found.spec.as_number, found.spec.endpoint()) == (65546, ("10.0.0.1", 1790))
    assert found.to_document()["spec"]["password"] == {"secretKeyRef": {"name": "bgp", "key": "peer"}}
