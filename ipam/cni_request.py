"""A request of the CNI plugin: which attachment, what its pod asks for, and the result it gets. Pure.

A pod asks by annotation, which the runtime passes as `runtimeConfig` (capability `io.kubernetes.cri.pod-annotations`),
or by CNI's conventions: `runtimeConfig.ips`, `args.cni.ips`, `IP=` in CNI_ARGS. The first of these that says
something counts. `underlay.io/ipAddrs`, `ipv4pools` and `ipv6pools` are JSON lists; Calico's names mean the same.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ipam.allocator import Given
from ipam.cni_plugin import GATEWAY, GATEWAY_V6, INVALID_CONFIG, NOT_DECODED, CniError, is_identifier, is_interface
from ipam.requests import Declared, Request, is_automatic, version_of
from peering.resource import Resource

Json = dict[str, Any]

#: The pod's next hop by IP version: link-local, the same on every pod's veth.
GATEWAYS = {4: GATEWAY, 6: GATEWAY_V6}
ANNOTATIONS = "io.kubernetes.cri.pod-annotations"

_PREFIXES = ("underlay.io", "cni.projectcalico.org")
_USUAL_INTERFACE = "eth0"
_ATTACHMENTS = ("cni.dev/valid-attachments", "cni.dev/attachments")


@dataclass(frozen=True, slots=True)
class Attachment:
    """One interface of a container in a network."""

    network: str
    container: str
    interface: str = _USUAL_INTERFACE

    @property
    def handle(self) -> str:
        """`network.container`, as Calico has it; other interfaces than eth0 have their name behind that.

        No two attachments have the same: neither part can have a `/` or `:`.
        """
        joint = "/" if "." in self.container else "."
        behind = "" if self.interface == _USUAL_INTERFACE else f":{self.interface}"
        return f"{self.network}{joint}{self.container}{behind}"


def network_of(handle: str) -> str:
    """The network of an attachment's handle."""
    attachment = handle.partition(":")[0]
    network, found, _ = attachment.partition("/")
    return network if found else attachment.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class CniRequest:
    """What the plugin passed on. Without a container for GC and STATUS."""

    command: str
    network: str
    attachment: Attachment | None
    config: Json
    arguments: Mapping[str, str] = field(default_factory=dict)

    @property
    def pod(self) -> tuple[str, str]:
        """Its namespace and name; empty without Kubernetes."""
        return self.arguments.get("K8S_POD_NAMESPACE", ""), self.arguments.get("K8S_POD_NAME", "")


def parse_request(line: bytes) -> CniRequest:
    """Raises CniError."""
    try:
        said = json.loads(line)
        command, config = said["command"], said["config"]
        network = config["name"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CniError(NOT_DECODED, "the request is not one of underlay-ipam") from None
    if not is_identifier(network):
        raise CniError(INVALID_CONFIG, f"the network's name is {network!r}")
    if command in ("GC", "STATUS"):
        return CniRequest(command, network, None, config)
    container, interface = said.get("containerID"), said.get("ifname")
    if not is_identifier(container) or not is_interface(interface):
        raise CniError(NOT_DECODED, f"{container!r} {interface!r} is no container with an interface")
    return CniRequest(command, network, Attachment(network, container, interface), config, _arguments(said.get("args")))


def wanted(request: CniRequest, declared: Declared, namespace_labels: Mapping[str, str]) -> Request:
    """What the allocator is asked for. Raises CniError for wishes that cannot be read.

    A pod for which there is no pool is to be refused, unless it has an address of host-local.
    """
    assert request.attachment is not None
    namespace, pod = request.pod
    pools = {version: _names(request, f"ipv{version}pools") for version in (4, 6)}
    families = [v for v in (4, 6) if pools[v] or _has_pool(declared, v, namespace_labels)]
    return Request(
        request.attachment.handle,
        ipv4=int(4 in families or not (families or "hostLocal" in _section(request, "ipam"))),
        ipv6=int(6 in families),
        namespace=namespace,
        pod=pod,
        namespace_labels=namespace_labels,
        ipv4_pools=pools[4],
        ipv6_pools=pools[6],
        addresses=_addresses(request),
    )


def result_of(request: CniRequest, given: Sequence[Given]) -> Json:
    """The result of an ADD, as `ptp` takes it.

    `ptp` deletes the route to an address's subnet, which the kernel does not make for a /32, and fails where there is
    none. So the result has it make one; the plugin behind it leaves that out of the list's result.
    """
    of_family = {version_of(one.address): one for one in given}
    routes = [{"dst": one.host_prefix, "gw": "0.0.0.0"} for one in given if version_of(one.address) == 4]
    if 6 in of_family:
        routes.append({"dst": "::/0", "gw": GATEWAYS[6]})
    ips = [{"address": one.host_prefix, "gateway": GATEWAYS[version_of(one.address)]} for one in given]
    dns = _section(request, "ipam").get("dns")
    return {"ips": ips, "routes": routes, "dns": dns if isinstance(dns, dict) else {}}


def previous_addresses(request: CniRequest) -> set[str]:
    """The addresses of `prevResult`. Raises CniError."""
    previous = request.config.get("prevResult")
    if not isinstance(previous, dict):
        raise CniError(INVALID_CONFIG, "CHECK needs the prevResult of the ADD")
    try:
        return {_address(ip["address"]) for ip in previous.get("ips") or ()}
    except (ValueError, KeyError, TypeError):
        raise CniError(INVALID_CONFIG, "prevResult.ips cannot be read") from None


def valid_handles(request: CniRequest) -> set[str]:
    """The handles that a GC leaves alone. Raises CniError; a GC without its list must not free everything."""
    listed = next((request.config[name] for name in _ATTACHMENTS if name in request.config), None)
    try:
        valid = [Attachment(request.network, one["containerID"], one["ifname"]) for one in listed or ()]
    except (KeyError, TypeError):
        listed = None
    if not isinstance(listed, list) or not all(is_identifier(one.container) for one in valid):
        raise CniError(INVALID_CONFIG, f"{_ATTACHMENTS[0]} is missing, or no list of containers with interfaces")
    return {one.handle for one in valid}


def _arguments(text: object) -> dict[str, str]:
    """`K8S_POD_NAME=web-1;IgnoreUnknown=1`."""
    pairs = (pair.partition("=") for pair in text.split(";")) if isinstance(text, str) else ()
    return {name: value for name, found, value in pairs if found}


def _has_pool(declared: Declared, version: int, labels: Mapping[str, str]) -> bool:
    def is_of(pool: Resource) -> bool:
        return version_of(getattr(pool.spec, "cidr", "")) == version

    return any(is_of(p) and is_automatic(p) and not declared.objection(p, labels) for p in declared.pools)


def _annotation(request: CniRequest, name: str) -> tuple[str, str] | None:
    """The annotation's own name and what it says."""
    found = _section(request, "runtimeConfig").get(ANNOTATIONS)
    annotations = found if isinstance(found, dict) else {}
    names = (f"{prefix}/{name}" for prefix in _PREFIXES)
    return next(((one, str(annotations[one])) for one in names if annotations.get(one)), None)


def _names(request: CniRequest, name: str) -> tuple[str, ...]:
    found = _annotation(request, name)
    return _list(*found) if found else ()


def _addresses(request: CniRequest) -> tuple[str, ...]:
    found = _annotation(request, "ipAddrs")
    wishes: Iterable[Any] = _list(*found) if found else ()
    cni = _section(request, "args").get("cni")
    others = (
        _section(request, "runtimeConfig").get("ips"),
        cni.get("ips") if isinstance(cni, dict) else None,
        [request.arguments["IP"]] if request.arguments.get("IP") else None,
    )
    wishes = wishes or next((one for one in others if one), ())
    try:
        return tuple(dict.fromkeys(_address(one) for one in wishes))
    except (ValueError, TypeError, AttributeError):
        raise CniError(INVALID_CONFIG, f"the pod asks for the addresses {wishes!r}, which cannot be read") from None


def _address(text: str) -> str:
    """Without a length, in the usual form."""
    return str(ipaddress.ip_address(text.partition("/")[0]))


def _list(name: str, text: str) -> tuple[str, ...]:
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    if not isinstance(said, list) or not all(isinstance(one, str) and one for one in said):
        raise CniError(INVALID_CONFIG, f"annotation {name} is {text!r}", 'a JSON list is expected: ["..."]')
    return tuple(said)


def _section(request: CniRequest, name: str) -> Json:
    found = request.config.get(name)
    return found if isinstance(found, dict) else {}
