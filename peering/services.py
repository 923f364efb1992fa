"""Which service addresses a node announces, as Calico defines it.

BGPConfiguration/default lists ranges: of cluster addresses, external ones, and those of load balancers. What lies in
none of them is not announced. A range is announced whole by every node, so that traffic comes in anywhere and is passed
on; an address is announced by itself

- with `externalTrafficPolicy: Local`, by the nodes with an endpoint that is ready, and by no other: it is more specific
  than the range, so what is for it goes there;
- where its range is a single address, or, for load balancers, with `serviceLoadBalancerAggregation: Disabled`: then by
  every node while the service has an endpoint that is ready anywhere.

A node with the label `node.kubernetes.io/exclude-from-external-load-balancers: "true"` announces none of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from peering.resource import Resource
from peering.resources.bgp_configuration import BGPConfigurationSpec, ServiceRange
from peering.resources.services import EndpointSliceSpec, ServiceSpec

EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
KINDS = ("Service", "EndpointSlice")

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Announced:
    """`ranges` are announced whole, `addresses` one by one.

    `shared` are those of them that other nodes announce too, as far as can be known: there are others when they have
    endpoints that are ready.
    """

    ranges: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()


NOTHING = Announced()


def announced_services(
    configuration: BGPConfigurationSpec, resources: Iterable[Resource], node: str, labels: Mapping[str, str]
) -> Announced:
    """What `node` announces; of `resources` Services and EndpointSlices count. Prefixes are sorted, each once."""
    if labels.get(EXCLUDED) == "true":
        return NOTHING
    services: dict[str, ServiceSpec] = {}
    ready: dict[str, set[str]] = {}
    for resource in resources:
        if isinstance(resource.spec, ServiceSpec):
            services[resource.name] = resource.spec
        elif isinstance(resource.spec, EndpointSliceSpec) and resource.spec.ready_on:
            ready.setdefault(resource.spec.service, set()).update(resource.spec.ready_on)
    rules = list(_rules(configuration))
    whole = {str(rule.network) for rule in rules if rule.whole}
    single: dict[str, bool] = {}
    beside = {one for nodes in ready.values() for one in nodes} - {node}
    for name, service in services.items():
        here = ready.get(name, set())
        others = here - {node} if service.external_traffic_policy == "Local" else beside
        for address, rule in _in_ranges(service, rules):
            if _is_single(service, rule, here, node):
                prefix = str(ip_network(address))
                single[prefix] = single.get(prefix, True) and bool(others)
    shared = {*(whole if beside else ()), *(prefix for prefix, is_shared in single.items() if is_shared)}
    return Announced(_sorted(whole), _sorted(single), _sorted(shared))


@dataclass(frozen=True, slots=True)
class _Rule:
    """A range, whose addresses it is for, and whether it is announced whole."""

    of: str
    network: Network
    whole: bool


def _rules(configuration: BGPConfigurationSpec) -> Iterator[_Rule]:
    disaggregated = configuration.service_load_balancer_aggregation == "Disabled"
    table: tuple[tuple[str, tuple[ServiceRange, ...], bool], ...] = (
        ("cluster_ips", configuration.service_cluster_ips, True),
        ("external_ips", configuration.service_external_ips, True),
        ("load_balancer_ips", configuration.service_load_balancer_ips, not disaggregated),
    )
    for of, ranges, whole in table:
        for one in ranges:
            network = ip_network(one.cidr)
            yield _Rule(of, network, whole and network.prefixlen < network.max_prefixlen)


def _in_ranges(service: ServiceSpec, rules: Iterable[_Rule]) -> Iterator[tuple[str, _Rule]]:
    for rule in rules:
        for address in getattr(service, rule.of):
            if ip_address(address) in rule.network:
                yield address, rule


def _is_single(service: ServiceSpec, rule: _Rule, ready: Collection[str], node: str) -> bool:
    if service.external_traffic_policy == "Local":
        return node in ready
    return not rule.whole and bool(ready)


def _sorted(prefixes: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(prefixes, key=lambda text: (":" in text, ip_network(text))))


def ranges_of(configuration: BGPConfigurationSpec) -> tuple[str, ...]:
    """Every range that services may be announced from."""
    return _sorted({str(rule.network) for rule in _rules(configuration)})
