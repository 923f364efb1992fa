"""Router IDs and addresses that two routers share: their routes would be mistaken for each other's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from peering.facts import NO_ROUTER_ID
from peering.lint.view import View
from peering.problems import Problem


def duplicate_router_ids(view: View) -> Iterator[Problem]:
    """A reflector is another router than the node that it runs on: BGP refuses a neighbour with its own ID."""
    together = _on_one_node(view)
    for router_id, owner, other in _shared(_router_ids(view)):
        if {owner, other} not in together or _peer_with_each_other(view, owner, other):
            message = f"has router ID {router_id}, and so has {other}"
            yield Problem("error", "duplicate-router-id", owner, "spec", message, "give it its own")


def duplicate_addresses(view: View) -> Iterator[Problem]:
    """A reflector may stand on the address of its node."""
    together = _on_one_node(view)
    for address, owner, other in _shared(view.addresses):
        if {owner, other} not in together:
            message = f"has address {address}, and so has {other}"
            yield Problem("error", "duplicate-address", owner, "spec", message, "give it its own")


def _on_one_node(view: View) -> list[set[str]]:
    return [
        {f"RouteReflector/{name}", f"Node/{plan.node}"}
        for name, plan in view.graph.reflectors.items()
        if plan.node is not None
    ]


def _peer_with_each_other(view: View, owner: str, other: str) -> bool:
    reflector, node = sorted((owner, other), reverse=True)
    peers = view.nodes[node.removeprefix("Node/")].ends.all_peers
    return f"reflector/{reflector.removeprefix('RouteReflector/')}" in peers


def _router_ids(view: View) -> Iterator[tuple[str, str]]:
    graph = view.graph
    yield from ((node.router_id, f"Node/{node.name}") for node in graph.nodes.values())
    yield from ((switch.router_id, f"Switch/{name}") for name, switch in graph.switches.items())
    yield from ((reflector.router_id, f"RouteReflector/{name}") for name, reflector in graph.reflectors.items())


def _shared(owners: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    """(value, owner, the first owner) for each further owner."""
    first: dict[str, str] = {}
    for value, owner in owners:
        other = first.setdefault(value, owner)
        if other != owner and value != NO_ROUTER_ID:
            yield value, owner, other
