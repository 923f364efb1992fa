"""A fabric of any size, in memory: what benchmarks of the plan and of what follows from it work on.

Dual ToR: every node has a link to both switches of its rack, of both address families. All nodes share one AS, each
switch has its own (`ebgp-as-per-cluster`), four spines above them are not ours. All nodes are clients of every
reflector besides. `reflectors=0` leaves the racks alone.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from peering.resource import Resource, parse_resource

CLUSTER_AS, SPINE_AS, FIRST_SWITCH_AS = 64512, 65000, 4200000000
SPINES = 4
#: Links that the subnet of a switch has room for, and the most nodes of a rack.
LINKS_PER_SWITCH = 256

_OURS, _CALICO = "underlay.io/v1alpha1", "projectcalico.org/v3"
_LINKS_V4, _UPLINKS_V4 = ipaddress.IPv4Address("10.128.0.0"), ipaddress.IPv4Address("10.250.0.0")
_LINKS_V6, _UPLINKS_V6 = ipaddress.IPv6Address("fd00:1::"), ipaddress.IPv6Address("fd00:fe::")


def fabric(nodes: int = 5000, racks: int = 250, reflectors: int = 3) -> list[Resource]:
    """The resources of a fabric of that size: nodes spread evenly over racks of two switches each.

    Raises ValueError when a rack would have more nodes than the subnets of its switches have links.
    """
    if nodes > racks * LINKS_PER_SWITCH or racks > 2000:
        raise ValueError(f"at most 2000 racks of {LINKS_PER_SWITCH} nodes")
    return [*map(_resource, _documents(nodes, racks, reflectors))]


def _documents(nodes: int, racks: int, reflectors: int) -> Iterator[dict[str, Any]]:
    yield _document(_CALICO, "BGPConfiguration", "default", {"asNumber": CLUSTER_AS, "nodeToNodeMeshEnabled": False})
    yield _document(_CALICO, "IPPool", "pods-v4", {"cidr": "100.64.0.0/10", "blockSize": 26})
    yield _document(_CALICO, "IPPool", "pods-v6", {"cidr": "fd00:10:244::/48", "blockSize": 122})
    for number in range(1, reflectors + 1):
        addresses = [f"10.255.0.{number}", f"fd00:255::{number:x}"]
        spec = {"addresses": addresses, "nodeSelector": "all()", "holdTime": "9s", "gracefulRestartTime": "30s"}
        yield _document(_OURS, "RouteReflector", f"rr-{number}", spec)
    for rack in range(1, racks + 1):
        yield from (_switch(rack, side) for side in (0, 1))
        yield _rack(rack)
    for index in range(nodes):
        yield _node(index + 1, rack=index % racks + 1, seat=index // racks)


def _rack(rack: int) -> dict[str, Any]:
    spec = {
        "nodeSelector": f"rack == 'rack-{rack}'",
        "design": "ebgp-as-per-cluster",
        "switches": [f"tor-{rack}a", f"tor-{rack}b"],
        "holdTime": "9s",
        "gracefulRestartTime": "30s",
    }
    return _document(_OURS, "Rack", f"rack-{rack}", spec)


def _switch(rack: int, side: int) -> dict[str, Any]:
    index = 2 * (rack - 1) + side
    peers = [
        {"name": f"spine-{spine + 1}", "address": str(base + 2 * (SPINES * index + spine)), "asNumber": SPINE_AS}
        for base in (_UPLINKS_V4, _UPLINKS_V6)
        for spine in range(SPINES)
    ]
    spec = {
        "asNumber": FIRST_SWITCH_AS + index,
        "addresses": [f"{ipaddress.IPv4Address('10.0.0.1') + index}/32", f"fd00:0:1::{index + 1:x}/128"],
        "linkSubnets": [f"{_links_v4(index)}/23", f"{_links_v6(index)}/64"],
        "fabricPeers": peers,
    }
    return _document(_OURS, "Switch", f"tor-{rack}{'ab'[side]}", spec)


def _node(number: int, rack: int, seat: int) -> dict[str, Any]:
    uplinks = [
        {"interface": f"eth{side + 1}", "addresses": [f"{_links_v4(i) + near}/31", f"{_links_v6(i) + near}/127"]}
        for side, i, near in ((side, 2 * (rack - 1) + side, 2 * seat + 1) for side in (0, 1))
    ]
    bgp = {
        "ipv4Address": f"{ipaddress.IPv4Address('10.64.0.0') + number}/32",
        "ipv6Address": f"fd00:0:64::{number:x}/128",
    }
    document = _document(_OURS, "Node", f"node-{number}", {"bgp": bgp, "uplinks": uplinks})
    document["metadata"]["labels"] = {"rack": f"rack-{rack}"}
    return document


def _links_v4(index: int) -> ipaddress.IPv4Address:
    return _LINKS_V4 + 2 * LINKS_PER_SWITCH * index


def _links_v6(index: int) -> ipaddress.IPv6Address:
    return _LINKS_V6 + (index << 64)


def _document(api_version: str, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec}


def _resource(document: dict[str, Any]) -> Resource:
    parsed = parse_resource(document)
    assert isinstance(parsed, Resource), parsed
    return parsed
