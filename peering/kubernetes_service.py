"""Services and EndpointSlices of Kubernetes as ours: what decides about addresses and announcements, and nothing else.

Both are the API server's: whatever is odd in one is read over, since nobody who reads a problem here could mend it, and
one service must not keep the others from being announced.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Any

from peering.foreign import Document, Reading

_SERVICE_OF = "kubernetes.io/service-name"
#: Words that `spec` may have in a field; another one is left out.
_WORDS = {
    "type": ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"),
    "ipFamilyPolicy": ("SingleStack", "PreferDualStack", "RequireDualStack"),
    "externalTrafficPolicy": ("Cluster", "Local"),
}
_FAMILIES = ("IPv4", "IPv6")
_LONGEST_LINE = 1024


def read_service(document: Document) -> Reading:
    """Of `spec` the addresses and the policy, of `status` the addresses that a controller gave."""
    spec, status = _fields(document.get("spec")), _fields(document.get("status"))
    ingress = _list(_fields(status.get("loadBalancer")).get("ingress"))
    one = spec.get("clusterIP")
    found: dict[str, Any] = {
        "clusterIPs": _addresses(spec.get("clusterIPs") or [one]),
        "externalIPs": _addresses(spec.get("externalIPs")),
        "loadBalancerIPs": _addresses(_fields(entry).get("ip") for entry in ingress),
    }
    found |= {field: spec[field] for field, words in _WORDS.items() if spec.get(field) in words}
    found |= {field: spec[field] for field in ("loadBalancerClass", "loadBalancerIP") if _is_line(spec.get(field))}
    if families := [one for one in _list(spec.get("ipFamilies")) if one in _FAMILIES]:
        found["ipFamilies"] = families
    return Reading(found)


def read_endpoint_slice(document: Document) -> Reading:
    """`ready` is true where it is not said (discovery.k8s.io/v1)."""
    metadata = _fields(document.get("metadata"))
    service = _fields(metadata.get("labels")).get(_SERVICE_OF)
    nodes = {node for endpoint in _list(document.get("endpoints")) for node in _ready_on(_fields(endpoint))}
    name = f"{metadata.get('namespace') or 'default'}.{service}" if isinstance(service, str) else ""
    return Reading({"service": name, "readyOn": sorted(nodes)})


def write_service(spec: Document) -> Document:
    """What `read_service` reads back, in Kubernetes' shape."""
    given = [{"ip": address} for address in spec.get("loadBalancerIPs", ())]
    document: Document = {"spec": {key: value for key, value in spec.items() if key != "loadBalancerIPs"}}
    if given:
        document["status"] = {"loadBalancer": {"ingress": given}}
    return document


def write_endpoint_slice(spec: Document) -> Document:
    """What `read_endpoint_slice` reads back; the service is the label's to say."""
    nodes = spec.get("readyOn", ())
    return {"endpoints": [{"nodeName": node, "conditions": {"ready": True}} for node in nodes]}


def _ready_on(endpoint: Document) -> Iterator[str]:
    ready, node = _fields(endpoint.get("conditions")).get("ready"), endpoint.get("nodeName")
    if ready is not False and isinstance(node, str) and node:
        yield node


def _addresses(texts: Any) -> list[str]:
    """Those that are addresses: a headless service has `None`, one of a later version may have who knows what."""
    return [
        text for text in (texts if isinstance(texts, Iterable) else ()) if isinstance(text, str) and _is_address(text)
    ]


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and value != "" and value.isprintable() and len(value) <= _LONGEST_LINE


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _fields(value: Any) -> Document:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
