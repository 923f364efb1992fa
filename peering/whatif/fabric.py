"""The whole fabric, made once from the compiled graph: routers, edges, links, and who originates what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from peering.graph import Graph
from peering.memo import no_collections
from peering.prefixes import Address, Prefix
from peering.resources.bgp_filter import BGPFilterSpec
from peering.whatif.aggregates import Aggregates
from peering.whatif.links import Links, links_of
from peering.whatif.origins import Origin, PrefixIndex, origins_of
from peering.whatif.policies import Filters, SwitchPolicy
from peering.whatif.router_makers import make_routers
from peering.whatif.routers import Edge, Router
from peering.whatif.rule_sets import RuleSets
from peering.whatif.session_ends import connect

DEFAULTS: tuple[Prefix, ...] = (bytes(5), bytes(17))


@dataclass(frozen=True)
class Fabric:
    """Nothing is down here. `racks` is the rack of each node that stands in one, by the router's id.

    `rack_members` are the ids of a rack's nodes and switches, `hosted` the reflectors that run on a node.
    """

    routers: Mapping[str, Router]
    links: Links
    origins: Mapping[str, tuple[Origin, ...]]
    index: PrefixIndex
    aggregates: Aggregates
    owners: Mapping[Address, str]
    racks: Mapping[str, str]
    filters: Filters
    rule_sets: RuleSets
    uplink_subnets: PrefixIndex
    hosted: tuple[Router, ...]
    rack_members: Mapping[str, frozenset[str]]

    def covering(self, prefix: Prefix) -> tuple[Prefix, ...]:
        """Every prefix of somebody that is the given one or contains it, aggregates too, the longest first."""
        wider = self.aggregates.covering(prefix)
        own = self.index.covering(prefix)
        return tuple(sorted({*own, *wider}, key=lambda one: -one[0])) if wider else own

    def edges(self) -> Iterator[Edge]:
        return (edge for router in self.routers.values() for edge in router.out)

    @cached_property
    def externals(self) -> list[Router]:
        return [router for router in self.routers.values() if router.kind == "external"]

    @cached_property
    def nodes(self) -> list[Router]:
        return [router for router in self.routers.values() if router.kind == "node"]


def fabric_of(graph: Graph) -> Fabric:
    """The fabric that a graph declares."""
    with no_collections():
        return _fabric_of(graph)


def _fabric_of(graph: Graph) -> Fabric:
    filters = Filters(graph.snapshot.specs("BGPFilter", BGPFilterSpec))
    rule_sets = RuleSets()
    origins = origins_of(graph.snapshot, dict(graph.speakers))
    routers = make_routers(graph, origins, filters, rule_sets)
    links = links_of(graph)
    connect(graph, routers, links)
    by_router = {f"node/{name}": found for name, found in origins.items()}
    index = _index(routers, by_router)
    return Fabric(
        routers=routers,
        links=links,
        origins=by_router,
        index=index,
        aggregates=Aggregates(routers, index),
        owners=_owners(routers),
        racks={f"node/{name}": node.rack for name, node in graph.nodes.items() if node.rack is not None},
        filters=filters,
        rule_sets=rule_sets,
        uplink_subnets=_subnets(links),
        hosted=tuple(router for router in routers.values() if router.host is not None),
        rack_members=_members(graph),
    )


def _owners(routers: Mapping[str, Router]) -> dict[Address, str]:
    owners: dict[Address, str] = {}
    for router in routers.values():
        for address in router.addresses:
            owners.setdefault(address, router.id)
    return owners


def _index(routers: Mapping[str, Router], origins: Mapping[str, tuple[Origin, ...]]) -> PrefixIndex:
    index = PrefixIndex()
    for node, found in origins.items():
        for prefix in dict.fromkeys(origin.prefix for origin in found):
            index.add(prefix, node)
    for router in routers.values():
        if isinstance(router.policy, SwitchPolicy):
            for prefix in sorted(router.policy.networks):
                index.add(prefix, router.id)
        elif router.kind == "external":
            for prefix in DEFAULTS:
                index.add(prefix, router.id)
    return index


def _subnets(links: Links) -> PrefixIndex:
    index = PrefixIndex()
    for node, uplinks in links.uplinks.items():
        for uplink in uplinks:
            index.add(uplink.subnet, node)
    return index


def _members(graph: Graph) -> dict[str, frozenset[str]]:
    members = {
        name: {f"switch/{s}" for s in rack.switches if s in graph.switches} for name, rack in graph.racks.items()
    }
    for name, facts in graph.nodes.items():
        if facts.rack is not None:
            members[facts.rack].add(f"node/{name}")
    return {name: frozenset(found) for name, found in members.items()}
