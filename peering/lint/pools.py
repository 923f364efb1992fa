"""Pools: what they overlap, and how many nodes they are enough for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from peering import addressing
from peering.lint.prefix_table import Key, PrefixTable, key_of
from peering.lint.view import View
from peering.problems import Problem, Severity
from peering.resources.pools import IPPoolSpec

#: A pool this full is told of before it is too late.
_NEARLY_FULL = 0.9

_SERVICE_RANGES = ("service_cluster_ips", "service_external_ips", "service_load_balancer_ips")


def pool_overlap(view: View) -> Iterator[Problem]:
    """Pools against each other, and against every address that is no pod's."""
    table = PrefixTable({name: pool.cidr for name, pool in view.pools.items()})
    for name, pool in view.pools.items():
        for other in table.overlapping(key_of(pool.cidr)):
            if other < name:
                yield _overlap(name, pool, view.pools[other].cidr, f"IPPool/{other}")
    if view.pools:
        for cidr, key, owner in _taken(view):
            for name in table.overlapping(key):
                yield _overlap(name, view.pools[name], cidr, owner)


def _overlap(name: str, pool: IPPoolSpec, cidr: str, owner: str) -> Problem:
    message = f"{pool.cidr} overlaps {cidr} of {owner}"
    hint = "pools must not contain other addresses"
    return Problem("error", "pool-overlap", f"IPPool/{name}", "spec.cidr", message, hint)


def _taken(view: View) -> Iterator[tuple[str, Key, str]]:
    """Prefixes that are in use, with their owner. Links of nodes are carved from the subnets of their switches."""
    configuration = view.graph.snapshot.configuration()
    for field in _SERVICE_RANGES:
        for entry in getattr(configuration, field):
            yield entry.cidr, key_of(entry.cidr), "the service addresses of BGPConfiguration/default"
    for name, switch in view.switch_specs.items():
        for cidr in (*switch.link_subnets, *switch.addresses, *switch.link_addresses):
            yield cidr, key_of(cidr), f"Switch/{name}"
    for name, reflector in view.graph.reflectors.items():
        for address in reflector.addresses:
            yield address, key_of(address), f"RouteReflector/{name}"
    for node in view.nodes.values():
        for address, key in node.lone:
            yield address, key, node.ref


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
