"""What the four kinds of router let in and out: the plan's words, as speaker, reflector and templates carry them out.

Of an external router it is assumed that it accepts and passes on everything, as routers do that nobody restricted.
A switch's rules are those of the rendered configuration: towards the rack `accept` and `send`, towards the fabric
`announce`, and of that only what the rack or the switch itself originated; between two switches of a rack `accept`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from peering.prefixes import Prefix, contains, is_ipv6
from peering.resources.bgp_filter import BGPFilterSpec
from peering.route_filter import (
    Community,
    Direction,
    Route,
    RouteFilter,
    Verdict,
    compile_filters,
    named_filters,
    parse_community,
)
from peering.session import Downward, Family, Session
from peering.whatif.routers import INCOMPLETE, Advertisement, Edge, Router, host_route
from peering.whatif.rule_sets import RuleSet

BLACKHOLE = parse_community("blackhole")
GRACEFUL_SHUTDOWN = parse_community("graceful-shutdown")
NO_EXPORT = parse_community("no-export")
NO_ADVERTISE = parse_community("no-advertise")

_KEPT = (GRACEFUL_SHUTDOWN, NO_EXPORT, NO_ADVERTISE)
_RACK_SIDE = ("node", "reflector")


class Filters:
    """The BGPFilters that exist. A session that names one that does not lets nothing through."""

    def __init__(self, specs: Mapping[str, BGPFilterSpec]) -> None:
        self.specs = specs
        self._compiled: dict[tuple[tuple[str, ...], Direction, Family, str], RouteFilter | None] = {}

    def decide(self, end: Session, direction: Direction, route: Route) -> Verdict | None:
        """The verdict of the filters that this end of a session names; None when no rule matches."""
        names = end.import_filters if direction == "import" else end.export_filters
        family: Family = "ipv6-unicast" if is_ipv6(route.prefix) else "ipv4-unicast"
        key = (names, direction, family, end.type)
        if key not in self._compiled:
            known = all(name in self.specs for name in names)
            named = named_filters(names, self.specs)
            self._compiled[key] = compile_filters(named, direction, family, end.type) if known else None
        compiled = self._compiled[key]
        if compiled is None:
            return Verdict(accepted=False, route=route, filter="", field="", rule=0)
        return compiled.decide(route)


class OpenPolicy:
    """An external router: everything in, everything out."""

    def receives(self, edge: Edge, prefix: Prefix, heard: Advertisement) -> Advertisement | None:
        return heard

    def sends(self, edge: Edge, prefix: Prefix, route: Advertisement, own: bool) -> Advertisement | None:
        return route


@dataclass(frozen=True, slots=True)
class ReflectorPolicy:
    """A reflector passes on everything that its filters leave."""

    filters: Filters

    def receives(self, edge: Edge, prefix: Prefix, heard: Advertisement) -> Advertisement | None:
        return _imported(self.filters, edge, prefix, heard, lambda: True)

    def sends(self, edge: Edge, prefix: Prefix, route: Advertisement, own: bool) -> Advertisement | None:
        return _exported(self.filters, edge, prefix, route, own, True)


@dataclass(frozen=True, slots=True)
class SpeakerPolicy:
    """A node's speaker.

    `refused` are never learned, whatever a filter says. `blocks` are its own prefixes: True is announced, False only
    when a filter says so (`disableBGPExport`). `communities` are those of its own announcements. `aggregates` are the
    pools that it announces whole: these to switches and routers, its blocks in them to nodes and reflectors.
    """

    filters: Filters
    imports: RuleSet
    refused: tuple[Prefix, ...]
    blocks: Mapping[Prefix, bool]
    communities: Callable[[Prefix], tuple[Community, ...]]
    aggregates: tuple[Prefix, ...] = ()

    def receives(self, edge: Edge, prefix: Prefix, heard: Advertisement) -> Advertisement | None:
        if any(contains(one, prefix) for one in self.refused):
            return None
        return _imported(self.filters, edge, prefix, heard, lambda: prefix in self.imports)

    def sends(self, edge: Edge, prefix: Prefix, route: Advertisement, own: bool) -> Advertisement | None:
        if own and (_leads_nowhere(edge, prefix) or not self._is_for(edge.receiver, prefix)):
            return None
        route = replace(route, communities=self.communities(prefix)) if own else route
        return _exported(self.filters, edge, prefix, route, own, self.blocks.get(prefix, True))

    def _is_for(self, receiver: Router, prefix: Prefix) -> bool:
        """Whether a neighbour of that kind is told the prefix, or what stands for it."""
        among_ours = receiver.kind in _RACK_SIDE
        if prefix in self.aggregates:
            return not among_ours
        return among_ours or not any(contains(pool, prefix) for pool in self.aggregates)


@dataclass(frozen=True, slots=True)
class SwitchPolicy:
    """`networks` are its own prefixes, `aggregates` those that it makes while it knows more specific ones.

    `rack_paths` are the neighbours' AS numbers below: of nodes, of reflectors.
    """

    accept: RuleSet
    send: RuleSet
    announce: RuleSet
    networks: frozenset[Prefix]
    aggregates: tuple[Prefix, ...]
    downward: Downward
    rack_paths: tuple[frozenset[int], frozenset[int]]

    def receives(self, edge: Edge, prefix: Prefix, heard: Advertisement) -> Advertisement | None:
        communities = heard.communities
        if edge.sender.kind in _RACK_SIDE:
            if BLACKHOLE in communities or prefix not in self.accept or not _may_say(edge, heard.as_path):
                return None
            communities = tuple(c for c in communities if c in _KEPT)
        elif prefix not in self.accept if edge.sender.kind == "switch" else prefix in self.networks:
            return None
        preference = 0 if GRACEFUL_SHUTDOWN in communities else heard.local_preference
        origin = INCOMPLETE if edge.sender.kind == "switch" else heard.origin
        return replace(heard, communities=communities, local_preference=preference, origin=origin)

    def sends(self, edge: Edge, prefix: Prefix, route: Advertisement, own: bool) -> Advertisement | None:
        if edge.receiver.kind in _RACK_SIDE:
            allowed = self.downward == "all" or prefix[0] == 0 or prefix in self.send
        else:
            rules = self.accept if edge.receiver.kind == "switch" else self.announce
            allowed = prefix in rules and self._of_the_rack(route.as_path)
        return route if allowed else None

    def _of_the_rack(self, as_path: tuple[int, ...]) -> bool:
        """Originated by the switch or something below it, by the AS path."""
        nodes, reflectors = self.rack_paths
        only = len(set(as_path)) == 1 and as_path[0] in nodes
        return not as_path or only or as_path[0] in reflectors


def _may_say(edge: Edge, as_path: tuple[int, ...]) -> bool:
    """Whether a neighbour below may have a route with this path."""
    if edge.ibgp:
        return not as_path
    if edge.sender.kind == "reflector":
        return as_path[:1] == (edge.far.peer_asn,)
    return set(as_path) == {edge.far.peer_asn}


def _leads_nowhere(edge: Edge, prefix: Prefix) -> bool:
    """A loopback is not announced over itself to a peer that hands it on as it is."""
    host = edge.next_hops[is_ipv6(prefix)]
    return edge.receiver.kind in _RACK_SIDE and prefix == host_route(host)


def _imported(
    filters: Filters, edge: Edge, prefix: Prefix, heard: Advertisement, otherwise: Callable[[], bool]
) -> Advertisement | None:
    if not edge.far.import_filters:
        return heard if otherwise() else None
    route = _route(prefix, heard, from_peer=True, interface=edge.interface)
    verdict = filters.decide(edge.far, "import", route)
    if verdict is None:
        return heard if otherwise() else None
    return _with(heard, verdict.route) if verdict.accepted else None


def _exported(
    filters: Filters, edge: Edge, prefix: Prefix, route: Advertisement, own: bool, otherwise: bool
) -> Advertisement | None:
    if not edge.near.export_filters:
        return route if otherwise else None
    verdict = filters.decide(edge.near, "export", _route(prefix, route, from_peer=not own, interface=None))
    if verdict is None:
        return route if otherwise else None
    return _with(route, verdict.route) if verdict.accepted else None


def _route(prefix: Prefix, route: Advertisement, *, from_peer: bool, interface: str | None) -> Route:
    return Route(
        prefix=prefix,
        as_path=route.as_path,
        communities=route.communities,
        med=route.med,
        local_preference=route.local_preference,
        from_peer=from_peer,
        interface=interface,
    )


def _with(route: Advertisement, changed: Route) -> Advertisement:
    return replace(
        route,
        as_path=changed.as_path,
        communities=changed.communities,
        med=changed.med,
        local_preference=changed.local_preference,
    )
