"""Pools: what they overlap, how many nodes they are enough for, and whether what Services get of them is announced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, collapse_addresses
from typing import cast

from peering import addressing
from peering.lint.prefix_table import Key, PrefixTable, key_of
from peering.lint.view import View
from peering.problems import Problem, Severity
from peering.resource import Resource
from peering.resources.pools import IPPoolSpec

#: A pool this full is told of before it is too late.
_NEARLY_FULL = 0.9

_BALANCED = "service_load_balancer_ips"
_SERVICE_RANGES = ("service_cluster_ips", "service_external_ips", _BALANCED)
_SERVICES = dict.fromkeys(_SERVICE_RANGES, "the service addresses of BGPConfiguration/default")


def pool_overlap(view: View) -> Iterator[Problem]:
    """Pools against each other, and against every address that is no pod's.

    Those of load balancers are meant to lie in the ranges of their Services.
    """
    table = PrefixTable({name: pool.cidr for name, pool in view.pools.items()})
    for name, pool in view.pools.items():
        for other in table.overlapping(key_of(pool.cidr)):
            if other < name:
                yield _overlap(name, pool, view.pools[other].cidr, f"IPPool/{other}")
    if view.pools:
        for cidr, key, owner in _taken(view):
            for name in table.overlapping(key):
                if not (owner == _BALANCED and view.pools[name].for_load_balancers):
                    yield _overlap(name, view.pools[name], cidr, _SERVICES.get(owner, owner))


def _overlap(name: str, pool: IPPoolSpec, cidr: str, owner: str) -> Problem:
    message = f"{pool.cidr} overlaps {cidr} of {owner}"
    hint = "pools must not contain other addresses"
    return Problem("error", "pool-overlap", f"IPPool/{name}", "spec.cidr", message, hint)


def _taken(view: View) -> Iterator[tuple[str, Key, str]]:
    """Prefixes that are in use, with their owner. Links of nodes are carved from the subnets of their switches."""
    configuration = view.graph.snapshot.configuration()
    for field in _SERVICE_RANGES:
        for entry in getattr(configuration, field):
            yield entry.cidr, key_of(entry.cidr), field
    for name, switch in view.switch_specs.items():
        for cidr in (*switch.link_subnets, *switch.addresses, *switch.link_addresses):
            yield cidr, key_of(cidr), f"Switch/{name}"
    for name, reflector in view.graph.reflectors.items():
        for address in reflector.addresses:
            yield address, key_of(address), f"RouteReflector/{name}"
    for node in view.nodes.values():
        for address, key in node.lone:
            yield address, key, node.ref


def unannounced_pool(resource: Resource, view: View) -> Iterator[Problem]:
    """A pool of load balancers of which no range, or not all, is announced: Calico, too, goes by the ranges alone."""
    pool = view.pools[resource.name]
    if not pool.for_load_balancers or pool.disabled:
        return
    wanted = addressing.network(pool.cidr)
    ranges = [addressing.network(one.cidr) for one in view.graph.snapshot.configuration().service_load_balancer_ips]
    joined = collapse_addresses(cast(list[IPv4Network], [one for one in ranges if one.version == wanted.version]))
    near = [one for one in joined if one.overlaps(wanted)]
    if any(one.prefixlen <= wanted.prefixlen for one in near):
        return
    what = f"only {', '.join(map(str, near))} of {pool.cidr} is" if near else f"{pool.cidr} is not"
    message = f"{what} in serviceLoadBalancerIPs: no node announces {'the rest' if near else 'its addresses'}"
    hint = f"add {{cidr: {pool.cidr}}} to it in BGPConfiguration/default"
    yield Problem("warning", "pool-not-announced", resource.ref, "spec.cidr", message, hint)


def pool_exhausted(view: View) -> Iterator[Problem]:
    """Every node takes a block of each pool that selects it: there have to be as many."""
    for name, pool in view.pools.items():
        nodes = view.nodes_of_pool[name]
        if not _gives_blocks(pool) or not nodes:
            continue
        blocks = 1 << (pool.block_length - addressing.network(pool.cidr).prefixlen)
        if len(nodes) <= blocks * _NEARLY_FULL:
            continue
        severity: Severity = "warning"
        state = f"blocks of /{pool.block_length}: {blocks}; nodes that take one: {len(nodes)}"
        if len(nodes) > blocks:
            severity = "warning" if _have_another(view, name, nodes) else "error"
        hint = "take smaller blocks (a larger blockSize), a larger pool, or another one beside it"
        yield Problem(severity, "pool-exhausted", f"IPPool/{name}", "spec.cidr", state, hint)


def _have_another(view: View, name: str, nodes: Iterable[str]) -> bool:
    """Whether every one of these nodes may take blocks from another pool of the family."""
    is_ipv6 = ":" in view.pools[name].cidr
    others: set[str] = set()
    for other, pool in view.pools.items():
        if other != name and _gives_blocks(pool) and (":" in pool.cidr) is is_ipv6:
            others.update(view.nodes_of_pool[other])
    return others.issuperset(nodes)


def _gives_blocks(pool: IPPoolSpec) -> bool:
    """Whether nodes take blocks of it without being asked."""
    return not pool.disabled and pool.assignment_mode == "Automatic" and "Workload" in pool.allowed_uses
