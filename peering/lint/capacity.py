"""Numbers that run out: prefixes that a session may carry, and what a switch of a platform can hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from peering.budgets import Budget, Figure, budget_of
from peering.lint.digest import SwitchDigest, ref_of
from peering.lint.view import View
from peering.prefix_limits import blocks_of
from peering.problems import Problem
from peering.resource import Resource
from peering.session import Session

_FAMILIES = ("IPv4", "IPv6")


def max_prefixes(resource: Resource, view: View) -> Iterator[Problem]:
    """A limit of a Rack or RouteReflector that one of its nodes may reach with what IPAM hands out."""
    limit: int | None = getattr(resource.spec, "max_prefixes", None)
    if limit is None or all(limit >= bound for bound in _bounds(view)):
        return
    for family, worst in zip(_FAMILIES, _worst(resource, view), strict=True):
        if worst is not None and worst[1] > limit:
            name, prefixes = worst
            message = f"is {limit}, and Node/{name} may own {prefixes - 1} {family} blocks and a loopback"
            hint = f"set it to {prefixes} or more"
            yield Problem("warning", "max-prefixes-too-low", resource.ref, "spec.maxPrefixes", message, hint)


def max_prefixes_of_all(resource: Resource, view: View) -> Iterator[Problem]:
    """A BGPPeer's limit is on what its nodes take: from a reflector that is the blocks of all the others."""
    limit: int | None = getattr(resource.spec, "max_prefixes", None)
    if limit is None or limit >= max(view.blocks):
        return
    for family, blocks in zip(_FAMILIES, view.blocks, strict=True):
        reflector = _reflector_behind(resource.ref, family, view)
        if reflector is not None and limit < blocks:
            message = f"is {limit}, and {ref_of(reflector)} reflects {blocks} {family} blocks and more"
            hint = f"set it well above {blocks}, or leave it out"
            yield Problem("warning", "max-prefixes-too-low", resource.ref, "spec.maxPrefixes", message, hint)


def _reflector_behind(source: str, family: str, view: View) -> str | None:
    """A reflector that the nodes of a BGPPeer have a session of that family with."""
    name = f"{family.lower()}-unicast"
    for node in view.nodes.values():
        for peer, sessions in node.ends.declared.items():
            if (peer.startswith("reflector/") or peer in view.reflecting_nodes) and any(
                session.source == source and name in session.families for session in sessions
            ):
                return peer
    return None


def _bounds(view: View) -> tuple[int, int]:
    """What a node announces in each family when every pool selects it."""
    totals = [1, 1]
    for pool in view.pools.values():
        if pool.exports_blocks:
            totals[":" in pool.cidr] += blocks_of(pool, view.blocks_per_host)
    return totals[0], totals[1]


def _worst(resource: Resource, view: View) -> Iterator[tuple[str, int] | None]:
    """Of each family the node that may announce most, with that number."""
    wanted = _nodes_of(resource, view)
    for is_ipv6 in (False, True):
        counts: Counter[str] = Counter()
        for name, pool in view.pools.items():
            if (":" in pool.cidr) is is_ipv6 and pool.exports_blocks:
                blocks = blocks_of(pool, view.blocks_per_host)
                counts.update({node: blocks for node in view.nodes_of_pool[name] if node in wanted})
        name, blocks = max(sorted(counts.items()), key=lambda item: item[1], default=("", 0))
        yield (name, blocks + 1) if name else None


def _nodes_of(resource: Resource, view: View) -> set[str]:
    if resource.kind == "Rack":
        return {node.name for node in view.graph.nodes.values() if node.rack == resource.name}
    peer = f"reflector/{resource.name}"
    return {name for name, node in view.nodes.items() if peer in node.ends.all_peers}


def over_budget(switch: SwitchDigest, view: View) -> Iterator[Problem]:
    """More sessions, equal paths or routes than the switch's platform is known to take."""
    budget = budget_of(switch.plan.platform)
    if budget is None:
        return
    for what, number, figure, remedy in _needs(switch, budget, view):
        if number > figure.most:
            platform = switch.plan.platform
            message = f"would have {number} {what}; platform {platform} takes {figure.most}"
            hint = f"{remedy}; the figure is from {figure.source}"
            yield Problem("warning", "over-budget", switch.ref, "spec.platform", message, hint)


def _needs(switch: SwitchDigest, budget: Budget, view: View) -> Iterator[tuple[str, int, Figure, str]]:
    """(what, how much the switch needs, how much it may have, what to do) of all that is known of the platform."""
    if budget.sessions is not None:
        yield "BGP sessions", switch.ends.count, budget.sessions, "serve fewer nodes with it, or one family"
    if budget.ecmp_paths is not None:
        paths = _uplinks(switch.ends.fabric)
        yield "equal paths to the other racks", paths, budget.ecmp_paths, "give it fewer fabricPeers"
    if budget.routes is not None:
        yield "routes, at least", view.routes, budget.routes, "take larger blocks"


def _uplinks(sessions: tuple[Session, ...]) -> int:
    """The most neighbours of one family that lead out of the rack."""
    families = Counter(family for session in sessions for family in session.families)
    return max(families.values(), default=0)
