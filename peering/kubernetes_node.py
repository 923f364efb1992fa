"""A Node of Kubernetes (`apiVersion: v1`) as one of ours: Calico's annotations, uplinks, its cordon and its podCIDRs.

Addresses come from Calico's annotations; where it left none, from the node's own InternalIPs. Everything else that
Kubernetes and others write into a Node is read over. `underlay.io/uplinks` holds the links in one line:

    eth1=10.1.1.1/31,fd00:1::1/127;eth2@tor-1b

an interface with its addresses, or an unnumbered one with the switch at its other end (`@tor-1b:swp1` names the
switch's interface, too).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peering.foreign import Document, Reading
from peering.problems import Problem
from peering.resources.fields import shown

_UPLINKS = "underlay.io/uplinks"
#: Annotation -> field of `bgp`.
_ANNOTATIONS = {
    "projectcalico.org/IPv4Address": "ipv4Address",
    "projectcalico.org/IPv6Address": "ipv6Address",
    "projectcalico.org/ASNumber": "asNumber",
    "projectcalico.org/RouteReflectorClusterID": "routeReflectorClusterID",
    "underlay.io/routerID": "routerID",
}
_CORDONED = "node.kubernetes.io/unschedulable"
_EXAMPLE = "write eth1=10.1.1.1/31,fd00:1::1/127;eth2@tor-1b"


def read_node(document: Document) -> Reading:
    """The spec, and which annotation or address each part of it comes from."""
    metadata = document.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    reading = Reading({"bgp": {}})
    if isinstance(annotations, dict):
        _read_annotations(annotations, reading)
    bgp = reading.spec["bgp"]
    if "ipv4Address" not in bgp and "ipv6Address" not in bgp:
        _read_addresses(document.get("status"), reading)
    if is_cordoned(document.get("spec")):
        reading.spec["unschedulable"] = True
    if pod_cidrs := pod_cidrs_of(document.get("spec")):
        reading.spec["podCIDRs"] = pod_cidrs
    return reading


def is_cordoned(spec: Any) -> bool:
    """By the field, or by the taint that Kubernetes makes of it, which others set by itself."""
    if not isinstance(spec, dict):
        return False
    taints = spec.get("taints")
    keys = [taint.get("key") for taint in taints if isinstance(taint, dict)] if isinstance(taints, list) else []
    return spec.get("unschedulable") is True or _CORDONED in keys


def pod_cidrs_of(spec: Any) -> list[Any]:
    """`podCIDRs`; where only the older `podCIDR` is there, that."""
    if not isinstance(spec, dict):
        return []
    found = spec.get("podCIDRs")
    if isinstance(found, list) and found:
        return found
    return [spec["podCIDR"]] if spec.get("podCIDR") else []


def _read_annotations(annotations: Mapping[Any, Any], reading: Reading) -> None:
    for annotation, field in _ANNOTATIONS.items():
        value = annotations.get(annotation)
        if isinstance(value, str) and value:
            reading.spec["bgp"][field] = value
            reading.places["bgp", field] = f"metadata.annotations[{annotation}]"
    text = annotations.get(_UPLINKS)
    if isinstance(text, str):
        _read_uplinks(text, reading)


def _read_uplinks(text: str, reading: Reading) -> None:
    """A link without the name of an interface is told here and left out, so that it is told once."""
    uplinks: list[dict[str, Any]] = []
    reading.spec["uplinks"] = uplinks
    for index, part in enumerate(part.strip() for part in text.split(";")):
        path = f"metadata.annotations[{_UPLINKS}][{index}]"
        uplink = _uplink(part)
        if uplink["interface"]:
            reading.places["uplinks", len(uplinks)] = path
            uplinks.append(uplink)
        elif part:
            message = f"{shown(part)} does not begin with the name of an interface"
            reading.problems.append(Problem("error", "bad-value", "", path, message, _EXAMPLE))


def _uplink(text: str) -> dict[str, Any]:
    """`INTERFACE[@SWITCH[:INTERFACE]][=ADDRESS,...]`, not yet judged."""
    head, _, addresses = text.partition("=")
    interface, _, far = head.partition("@")
    switch, _, switch_interface = far.partition(":")
    uplink: dict[str, Any] = {
        "interface": interface.strip(),
        "switch": switch.strip(),
        "switchInterface": switch_interface.strip(),
        "addresses": [address.strip() for address in addresses.split(",") if address.strip()],
    }
    return uplink


def _read_addresses(status: Any, reading: Reading) -> None:
    """The first InternalIP of each family."""
    addresses = status.get("addresses") if isinstance(status, dict) else None
    for index, entry in enumerate(addresses if isinstance(addresses, list) else ()):
        address = entry.get("address") if isinstance(entry, dict) and entry.get("type") == "InternalIP" else None
        if isinstance(address, str):
            field = "ipv6Address" if ":" in address else "ipv4Address"
            if field not in reading.spec["bgp"]:
                reading.spec["bgp"][field] = address
                reading.places["bgp", field] = f"status.addresses[{index}].address"
