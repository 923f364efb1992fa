"""Pools of podCIDRs: whether what Nodes say fits them, and whether one party gives all addresses of a node's family.

Nodes that no pool of podCIDRs selects, and families without such a pool, are not looked at: Kubernetes gives Nodes
podCIDRs whether somebody uses them or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from peering import pod_cidrs
from peering.lint.view import View
from peering.problems import Problem
from peering.resources.node import NodeSpec
from peering.resources.pools import IPPoolSpec

_ALLOCATES = "kube-controller-manager gives them, with --allocate-node-cidrs and --cluster-cidr"

#: A pool and its name.
Named = tuple[str, IPPoolSpec]


def unusable(view: View) -> Iterator[Problem]:
    """podCIDRs that nobody announces, and nodes that have none."""
    for node, pools in _pools_of_nodes(view).items():
        for is_ipv6 in (False, True):
            mine = [(name, pool) for name, pool in pools if (":" in pool.cidr) is is_ipv6]
            if mine:
                yield from _of_family(view, node, mine, is_ipv6)


def _of_family(view: View, node: str, pools: Sequence[Named], is_ipv6: bool) -> Iterator[Problem]:
    resource = view.graph.snapshot.all("Node")[node]
    said = cast(NodeSpec, resource.spec).pod_cidrs
    own = [(index, one) for index, one in enumerate(said) if (":" in one) is is_ipv6]
    if not own:
        names, family = ", ".join(f"IPPool/{name}" for name, _ in pools), "IPv6" if is_ipv6 else "IPv4"
        message = f"has no podCIDR of {family} and is a node of {names}: until it has one, it takes no pods"
        yield Problem("warning", "pod-cidr-missing", resource.ref, "spec.podCIDRs", message, _ALLOCATES)
    for index, pod_cidr in own:
        if not any(pod_cidrs.is_block_of(pod_cidr, pool) for _, pool in pools):
            message, hint = _why_unusable(pod_cidr, pools)
            yield Problem("error", "pod-cidr-unusable", resource.ref, f"spec.podCIDRs[{index}]", message, hint)


def _why_unusable(pod_cidr: str, pools: Sequence[Named]) -> tuple[str, str]:
    for name, pool in pools:
        if pod_cidrs.lies_inside(pod_cidr, pool):
            message = f"{pod_cidr} is no block of /{pool.block_length}, as IPPool/{name} has them: nobody announces it"
            return message, "blockSize is kube-controller-manager's --node-cidr-mask-size: make the pool anew with it"
    names = ", ".join(f"IPPool/{name}" for name, _ in pools)
    message = f"{pod_cidr} lies outside of {names}: nobody announces it"
    return message, "a pool of podCIDRs has as cidr what kube-controller-manager has as --cluster-cidr"


def shared(view: View) -> Iterator[Problem]:
    """A podCIDR that two Nodes have."""
    first: dict[str, str] = {}
    for node, pod_cidr in pod_cidrs.claims(view.graph.snapshot):
        other = first.setdefault(pod_cidr, node)
        if other != node:
            message = f"{pod_cidr} is that of Node/{other} as well, which counts as its owner"
            hint = f"drain Node/{node} and delete it: Kubernetes gives a new Node another one"
            yield Problem("error", "pod-cidr-shared", f"Node/{node}", "spec.podCIDRs", message, hint)


def mixed(view: View) -> Iterator[Problem]:
    """A pool of podCIDRs and one that blocks are claimed from, of one family on one node."""
    for name, pool in pod_cidrs.pools_by_pod_cidr(view.graph.snapshot).items():
        for other, one in view.pools.items():
            if not _gives_by_block(one) or (":" in one.cidr) is not (":" in pool.cidr):
                continue
            both = set(view.nodes_of_pool[name]) & set(view.nodes_of_pool[other])
            if both:
                family = "IPv6" if ":" in pool.cidr else "IPv4"
                message = f"selects Node/{min(both)}, and so does IPPool/{other}, which is no pool of podCIDRs"
                hint = f"on one node all addresses of {family} come from one of the two: let nodeSelectors exclude it"
                yield Problem("error", "pod-cidr-mixed", f"IPPool/{name}", "spec.nodeSelector", message, hint)


def _gives_by_block(pool: IPPoolSpec) -> bool:
    return not pool.by_pod_cidr and not pool.disabled and "Workload" in pool.allowed_uses


def _pools_of_nodes(view: View) -> dict[str, list[Named]]:
    """The pools of podCIDRs that select each node."""
    found: dict[str, list[Named]] = {}
    for name, pool in pod_cidrs.pools_by_pod_cidr(view.graph.snapshot).items():
        for node in view.nodes_of_pool[name]:
            found.setdefault(node, []).append((name, pool))
    return found
