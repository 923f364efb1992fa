"""Kubernetes' own objects: a Node as `kubectl get nodes -o yaml` prints it, a Secret, the metadata of an API server."""

from __future__ import annotations

import copy
from typing import Any, cast

import pytest

from peering.manifests import parse_manifests
from peering.resource import Resource, parse_resource
from peering.resources.node import NodeBGP, NodeSpec, Uplink

Document = dict[str, Any]

PODS = ("10.244.0.0/24", "fd00:10::/64")

NODE: Document = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {
        "name": "node-1",
        "uid": "0b0e1f6e-6f0e-4a55-9b1c-5a2f6c3a7c11",
        "resourceVersion": "1048576",
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"kubernetes.io/hostname": "node-1", "rack": "rack-1", "node-role.kubernetes.io/control-plane": ""},
        "annotations": {
            "node.alpha.kubernetes.io/ttl": "0",
            "projectcalico.org/IPv4Address": "10.0.11.1/24",
            "projectcalico.org/IPv6Address": "fd00:0:11::1/64",
            "projectcalico.org/IPv4IPIPTunnelAddr": "10.244.0.1",
            "projectcalico.org/ASNumber": "65101",
            "projectcalico.org/RouteReflectorClusterID": "244.0.0.1",
        },
        "managedFields": [{"manager": "kubelet", "operation": "Update", "fieldsV1": {"f:metadata": {}}}],
        "ownerReferences": [],
        "finalizers": ["x/y"],
    },
    "spec": {
        "podCIDR": "10.244.0.0/24",
        "podCIDRs": ["10.244.0.0/24", "fd00:10::/64"],
        "providerID": "kind://docker/kind/node-1",
        "taints": [{"effect": "NoSchedule", "key": "a"}],
        "unschedulable": True,
    },
    "status": {
        "addresses": [
            {"address": "node-1", "type": "Hostname"},
            {"address": "203.0.113.1", "type": "ExternalIP"},
            {"address": "172.18.0.2", "type": "InternalIP"},
            {"address": "fc00::2", "type": "InternalIP"},
            {"address": "172.18.0.9", "type": "InternalIP"},
        ],
        "capacity": {"cpu": "8"},
        "conditions": [],
        "images": [{"names": ["a"], "sizeBytes": 1}],
    },
}


def node(annotations: Document | None = None, **changes: Any) -> Document:
    """The Node with other annotations, and other parts."""
    changed = {**copy.deepcopy(NODE), **changes}
    if annotations is not None:
        changed["metadata"]["annotations"] = annotations
    return changed


def spec_of(document: Document) -> NodeSpec:
    parsed = parse_resource(document)
    assert isinstance(parsed, Resource), [problem.line() for problem in parsed]
    return cast(NodeSpec, parsed.spec)


def lines(document: Document) -> list[str]:
    parsed = parse_resource(document)
    assert not isinstance(parsed, Resource)
    return [problem.line() for problem in parsed]


def test_what_calico_wrote_into_annotations_is_the_nodes_bgp() -> None:
    parsed = parse_resource(NODE)
    assert isinstance(parsed, Resource)
    assert (parsed.ref, parsed.labels["rack"]) == ("Node/node-1", "rack-1")
    assert parsed.spec == NodeSpec(
        bgp=NodeBGP(
            as_number=65101,
            ipv4_address="10.0.11.1/24",
            ipv6_address="fd00:0:11::1/64",
            route_reflector_cluster_id="244.0.0.1",
        ),
        unschedulable=True,
        pod_cidrs=PODS,
    )


def test_without_annotations_of_addresses_the_first_internal_ips_are_taken() -> None:
    spec = spec_of(node({"projectcalico.org/ASNumber": "65101"}))
    assert spec.bgp == NodeBGP(as_number=65101, ipv4_address="172.18.0.2/32", ipv6_address="fc00::2/128")


def test_with_one_annotation_of_an_address_the_other_family_is_not_guessed() -> None:
    spec = spec_of(node({"projectcalico.org/IPv6Address": "fd00::1"}))
    assert spec.bgp == NodeBGP(ipv6_address="fd00::1/128")


@pytest.mark.parametrize("status", [None, {}, {"addresses": None}, {"addresses": ["x", {}, {"type": "InternalIP"}]}])
def test_a_node_without_addresses_has_none(status: Any) -> None:
    assert spec_of(node({}, status=status)) == NodeSpec(unschedulable=True, pod_cidrs=PODS)


@pytest.mark.parametrize("annotations", [None, {}])
def test_a_node_without_annotations(annotations: Any) -> None:
    changed = node({}, status={})
    changed["metadata"]["annotations"] = annotations
    assert spec_of(changed) == NodeSpec(unschedulable=True, pod_cidrs=PODS)


@pytest.mark.parametrize(
    ("spec", "read"),
    [
        ({"podCIDR": "10.0.0.0/24"}, ("10.0.0.0/24",)),
        ({"podCIDR": "10.0.0.0/24", "podCIDRs": []}, ("10.0.0.0/24",)),
        ({"podCIDR": "10.0.0.0/24", "podCIDRs": ["fd00::/64", "10.0.0.0/24"]}, ("fd00::/64", "10.0.0.0/24")),
        ({"podCIDR": "", "podCIDRs": None}, ()),
        (None, ()),
    ],
)
def test_pod_cidrs_in_both_forms_of_kubernetes(spec: Any, read: tuple[str, ...]) -> None:
    assert spec_of(node(spec=spec)).pod_cidrs == read


def test_a_pod_cidr_that_is_none_is_told_where_kubernetes_has_it() -> None:
    assert lines(node(spec={"podCIDRs": ["fd00::/64", "10.0.0.0/240"]})) == [
        "Node/node-1 spec.podCIDRs[1]: '10.0.0.0/240' is no CIDR such as 10.0.0.0/16",
    ]


def test_uplinks_and_router_id_are_annotations_of_ours() -> None:
    text = "eth1=10.1.1.1/31,fd00:1:1::1/127; eth2@tor-1b ;eth3@tor-1c:swp1=10.1.3.1/31;"
    spec = spec_of(node({"underlay.io/uplinks": text, "underlay.io/routerID": "10.9.9.9"}))
    assert spec.bgp.router_id == "10.9.9.9"
    assert spec.uplinks == (
        Uplink(interface="eth1", addresses=("10.1.1.1/31", "fd00:1:1::1/127")),
        Uplink(interface="eth2", switch="tor-1b"),
        Uplink(interface="eth3", switch="tor-1c", switch_interface="swp1", addresses=("10.1.3.1/31",)),
    )


@pytest.mark.parametrize("text", ["", ";", " ; "])
def test_no_uplinks(text: str) -> None:
    assert spec_of(node({"underlay.io/uplinks": text})).uplinks == ()


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        (
            {"projectcalico.org/ASNumber": "AS65101"},
            "metadata.annotations[projectcalico.org/ASNumber]: 'AS65101' is no AS number",
        ),
        (
            {"projectcalico.org/IPv4Address": "fd00::1"},
            "metadata.annotations[projectcalico.org/IPv4Address]: fd00::1/128 is no IPv4 address",
        ),
        (
            {"underlay.io/uplinks": "eth1=10.1.1.1/31;@tor-1b;eth3=10.1.3.1/99"},
            "metadata.annotations[underlay.io/uplinks][1]: '@tor-1b' does not begin with the name of an interface "
            "(write eth1=10.1.1.1/31,fd00:1::1/127;eth2@tor-1b)",
        ),
    ],
)
def test_a_wrong_annotation_is_told_at_its_place(annotations: Document, said: str) -> None:
    assert lines(node(annotations))[0] == f"Node/node-1 {said}"


def test_the_link_after_one_without_a_name_keeps_its_place() -> None:
    found = lines(node({"underlay.io/uplinks": "=10.1.1.1/31;eth2=10.1.2.1/99"}))
    assert found[1].startswith("Node/node-1 metadata.annotations[underlay.io/uplinks][1]: '10.1.2.1/99' is no ")


def test_a_wrong_internal_ip_is_told_at_its_place() -> None:
    status = {"addresses": [{"type": "Hostname", "address": "a"}, {"type": "InternalIP", "address": "a"}]}
    (line,) = lines(node({}, status=status))
    assert line.startswith("Node/node-1 status.addresses[1].address: 'a' is no interface address")


def test_what_was_read_is_kept_as_a_node_of_ours() -> None:
    parsed = parse_resource(node({"underlay.io/uplinks": "eth1=10.1.1.1/31"}))
    assert isinstance(parsed, Resource)
    document = parsed.to_document()
    assert document["apiVersion"] == "underlay.io/v1alpha1"
    assert document["spec"]["uplinks"] == [{"interface": "eth1", "addresses": ["10.1.1.1/31"]}]
    assert parse_resource(document) == parsed


def test_the_list_of_an_api_server_whose_items_have_no_kind() -> None:
    text = """
{"kind": "NodeList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"},
 "items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}, "spec": {"podCIDR": "10.0.0.0/24"}}]}
"""
    resources, problems = parse_manifests(text, "nodes.json")
    assert ([resource.ref for resource in resources], problems) == (["Node/a", "Node/b"], [])
    assert [cast(NodeSpec, resource.spec).pod_cidrs for resource in resources] == [(), ("10.0.0.0/24",)]


def test_string_data_wins_over_data_in_a_secret() -> None:
    document = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": "bgp", "namespace": "kube-system", "resourceVersion": "1"},
        "data": {"rack-1": "b2xk", "rack-2": "a2VwdA=="},
        "stringData": {"rack-1": "new"},
    }
    parsed = parse_resource(document)
    assert isinstance(parsed, Resource)
    assert parsed.to_document()["stringData"] == {"rack-1": "new", "rack-2": "kept"}


def test_a_name_in_metadata_that_kubernetes_does_not_have() -> None:
    changed = node()
    changed["metadata"]["anotations"] = {}
    assert lines(changed) == [
        "Node/node-1 metadata.anotations: is no field of this kind (did you mean annotations?)",
    ]
