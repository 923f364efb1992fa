"""What a Service asks for of load balancer addresses. Pure.

Ours are Services of type LoadBalancer with `loadBalancerClass: underlay.io/bgp`; all others are somebody else's. One
gets an address of each of its `ipFamilies`, which the API server has made of its `ipFamilyPolicy` and of what the
cluster has. The annotations are Calico's, and may be written with `underlay.io/` in front as well:

    projectcalico.org/loadBalancerIPs: '["198.51.100.7"]'      these addresses and no others, one of a family
    projectcalico.org/ipv4pools: '["public"]'                  only of these IPPools, by name or CIDR; also ipv6pools

`spec.loadBalancerIP`, which Kubernetes has given up, asks for the address of its family where no annotation does.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

from ipam.block_order import is_inside
from ipam.errors import BadAnnotation
from ipam.requests import Declared, Request, is_automatic, version_of
from peering.resource import Resource
from peering.resources.pools import IPPoolSpec
from peering.resources.services import ServiceSpec

TYPE, CLASS = "LoadBalancer", "underlay.io/bgp"

_PREFIXES = ("underlay.io", "projectcalico.org")
_ADDRESSES, _POOLS = "loadBalancerIPs", {4: "ipv4pools", 6: "ipv6pools"}
_VERSIONS = {"IPv4": 4, "IPv6": 6}
#: The label by which Kubernetes names every namespace; it is all that is known of one here.
_NAMESPACE = "kubernetes.io/metadata.name"
_START = "lb."


@dataclass(frozen=True, slots=True)
class Wish:
    """Addresses of these IP versions, the preferred one first; all of them or none when it `needs_all`.

    `addresses` are by version, and are the only ones of it that will do. `pools` are names, by version.
    """

    service: str
    versions: tuple[int, ...]
    needs_all: bool = False
    addresses: Mapping[int, str] = field(default_factory=dict)
    pools: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    def request(self, versions: Mapping[int, int], addresses: tuple[str, ...] = ()) -> Request:
        """So many addresses of each version, as the allocator is asked for them."""
        namespace = self.service.partition(".")[0]
        return Request(
            handle_of(self.service),
            ipv4=versions.get(4, 0),
            ipv6=versions.get(6, 0),
            namespace=namespace,
            namespace_labels={_NAMESPACE: namespace},
            ipv4_pools=self.pools.get(4, ()),
            ipv6_pools=self.pools.get(6, ()),
            addresses=addresses,
        )

    def allows(self, address: str, declared: Declared) -> bool:
        """Whether the Service may keep the address. It may, as a pod does, when the pool is not what it was."""
        version = version_of(address)
        if version not in self.versions:
            return False
        if version in self.addresses:
            return address == self.addresses[version]
        pools = pools_with(address, declared)
        if named := self.pools.get(version):
            return any(pool.name in named for pool in pools)
        return all(is_automatic(pool) for pool in pools)


def pools_with(address: str, declared: Declared) -> list[Resource]:
    """The pools in which an address lies, whatever they are for."""
    return [pool for pool in declared.pools if is_inside(address, cast(IPPoolSpec, pool.spec).cidr)]


def handle_of(service: str) -> str:
    """The handle of a Service, which is called NAMESPACE.NAME: no namespace has a dot in its name."""
    return f"{_START}{service}"


def service_of(handle: str) -> str:
    """The Service of a handle; empty for the handle of somebody else."""
    return handle.removeprefix(_START) if handle.startswith(_START) else ""


def wish_of(service: Resource, declared: Declared) -> Wish:
    """What one of our Services asks for. Raises BadAnnotation."""
    spec = cast(ServiceSpec, service.spec)
    versions = _versions(spec)
    pools = {version: _pools(service, version, declared) for version in (4, 6)}
    asked = _annotated(service, _ADDRESSES)
    addresses = _by_version(service, asked or ([spec.load_balancer_ip] if spec.load_balancer_ip else []), versions)
    return Wish(
        service.name,
        tuple(version for version in versions if version in addresses) if asked else versions,
        spec.ip_family_policy == "RequireDualStack",
        addresses,
        {version: names for version, names in pools.items() if names},
    )


def _versions(spec: ServiceSpec) -> tuple[int, ...]:
    """Where no families are written, those of its cluster addresses are meant."""
    written = [_VERSIONS[family] for family in spec.ip_families] or [version_of(one) for one in spec.cluster_ips]
    return tuple(dict.fromkeys(written)) or (4,)


def _by_version(service: Resource, texts: list[str], versions: tuple[int, ...]) -> dict[int, str]:
    found: dict[int, str] = {}
    for text in texts:
        try:
            address = str(ipaddress.ip_address(text))
        except ValueError:
            raise BadAnnotation(f"{text!r} is asked for and is no IP address") from None
        version = version_of(address)
        if version in found:
            raise BadAnnotation(f"{found[version]} and {address} are asked for: a Service has one IPv{version} address")
        if version not in versions:
            raise BadAnnotation(f"{address} is asked for, and the Service has no IPv{version}: see its ipFamilies")
        found[version] = address
    return found


def _pools(service: Resource, version: int, declared: Declared) -> tuple[str, ...]:
    """Their names; one that is written as the CIDR of a pool is that pool."""
    by_cidr = {cast(IPPoolSpec, pool.spec).cidr: pool.name for pool in declared.pools}
    return tuple(by_cidr.get(one, one) for one in _annotated(service, _POOLS[version]))


def _annotated(service: Resource, name: str) -> list[str]:
    found = next(_annotations(service, name), None)
    if found is None:
        return []
    key, text = found
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise BadAnnotation(f'the annotation {key} is no list of texts: write it like ["first", "second"]')
    return value


def _annotations(service: Resource, name: str) -> Iterator[tuple[str, str]]:
    keys = (f"{prefix}/{name}" for prefix in _PREFIXES)
    return ((key, service.annotations[key]) for key in keys if service.annotations.get(key))
