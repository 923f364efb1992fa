"""Which modules are alike, and which nodes of a module.

The *form* of a module says everything about it that routes can feel, with names taken away: AS numbers that only the
module has become their rank among those, switches their place in the order of router IDs, addresses their place in the
order in which a router would compare them. The *leaf* says the same of a node as its module sees it. Two modules of
one form can be swapped, two nodes of one leaf and module too, and nobody would see it: what is computed for one holds
for the other.

Forms depend on what is down, and are compared across situations: equal numbers, alike modules.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from peering.prefixes import Address, Prefix
from peering.resources.bgp_filter import BGPFilterSpec
from peering.route_filter import rules_of
from peering.whatif.as_names import AsNames
from peering.whatif.fabric import Fabric
from peering.whatif.kinds import Kinds
from peering.whatif.links import Uplink
from peering.whatif.modules import Module, Modules
from peering.whatif.policies import SpeakerPolicy, SwitchPolicy
from peering.whatif.relations import relations_of
from peering.whatif.routers import Edge, Router
from peering.whatif.situation import Situation

_FIELDS = ("importV4", "importV6", "exportV4", "exportV6")


@dataclass(frozen=True, slots=True)
class Shape:
    """A module in a situation: the number of its form, and its nodes that are up by the number of their leaf."""

    module: Module
    form: int
    leaves: Mapping[int, tuple[Router, ...]]


@dataclass(frozen=True, slots=True)
class _Frame:
    """A module in a situation, with what its parts are compared by."""

    module: Module
    situation: Situation
    switches: tuple[Router, ...]
    places: Mapping[str, int]
    router_ids: tuple[int, ...]
    subnets: Mapping[Prefix, int]


class Forms:
    """Gives modules their shapes. Numbers mean the same as long as this object lives."""

    def __init__(self, fabric: Fabric, modules: Modules, kinds: Kinds) -> None:
        self._fabric = fabric
        self._core = modules.core
        self._kinds = kinds
        self._numbers: dict[Hashable, int] = {}
        self._core_ids = tuple(sorted(fabric.routers[name].router_id for name in modules.core))
        self._core_subnets = {u.subnet for name in modules.core for u in fabric.links.uplinks.get(name, ())}
        self._asns = AsNames(fabric, modules)
        self._looks_at_interfaces = any(map(_has_interface, fabric.filters.specs.values()))
        self._relations = relations_of(fabric, modules.core, self._label)
        self._distinct = {*_ambiguous(fabric), *(router.host for router in fabric.hosted)}

    def shape(self, module: Module, situation: Situation) -> Shape:
        """The shape of a module when some of it is down."""
        switches = tuple(switch for switch in module.switches if situation.is_up(switch))
        frame = _Frame(
            module=module,
            situation=situation,
            switches=switches,
            places={switch.id: place for place, switch in enumerate(switches)},
            router_ids=tuple(sorted([*self._core_ids, *(switch.router_id for switch in switches)])),
            subnets=self._shared_subnets(module),
        )
        leaves: dict[int, list[Router]] = {}
        for node in module.nodes:
            if situation.is_up(node):
                leaves.setdefault(self._number(self._leaf(node, frame)), []).append(node)
        form = (tuple(self._switch(one, frame) for one in switches), self._orders(frame), frozenset(leaves))
        return Shape(module, self._number(form), {leaf: tuple(nodes) for leaf, nodes in leaves.items()})

    def _number(self, key: Hashable) -> int:
        return self._numbers.setdefault(key, len(self._numbers))

    def _shared_subnets(self, module: Module) -> Mapping[Prefix, int]:
        """The subnets that several nodes are on, by their rank."""
        uplinks = (uplink.subnet for node in module.nodes for uplink in self._fabric.links.uplinks[node.id])
        shared = sorted(subnet for subnet, count in Counter(uplinks).items() if count > 1)
        return {subnet: rank for rank, subnet in enumerate(shared)}

    def _switch(self, switch: Router, frame: _Frame) -> Hashable:
        policy = switch.policy
        assert isinstance(policy, SwitchPolicy)
        accept, announce = self._kinds.rest[switch.id]
        core = [edge for edge in switch.out if edge.receiver.id in self._core]
        beside = [edge for edge in switch.out if edge.receiver.id in frame.places]
        return (
            switch.id if switch.id in self._distinct else "",
            self._asns.name(switch.asn, frame.module),
            _place(switch.router_id, self._core_ids),
            _place(switch.router_id, frame.router_ids),
            policy.downward,
            (policy.send.number, accept.number, announce.number),
            policy.aggregates,
            frozenset(self._asns.name(a, frame.module) for a in policy.rack_paths[0] if not self._asns.is_own(a)),
            tuple((edge.receiver.id, *self._labels(edge)) for edge in _by_address(core, frame.situation)),
            tuple((frame.places[e.receiver.id], *self._labels(e)) for e in _by_address(beside, frame.situation)),
        )

    def _orders(self, frame: _Frame) -> Hashable:
        """In which order a core router compares the addresses of the module's switches."""
        at_core: dict[str, list[tuple[int, Address, int]]] = {}
        for switch in frame.switches:
            for edge in switch.out:
                if edge.receiver.id in self._core and frame.situation.carries(edge):
                    entry = (len(edge.peer), edge.peer, frame.places[switch.id])
                    at_core.setdefault(edge.receiver.id, []).append(entry)
        return frozenset((core, tuple(place for _, _, place in sorted(found))) for core, found in at_core.items())

    def _leaf(self, node: Router, frame: _Frame) -> Hashable:
        policy = node.policy
        assert isinstance(policy, SpeakerPolicy)
        loopbacks = [origin for origin in self._fabric.origins[node.id] if origin.pool is None]
        return (
            node.id if node.id in self._distinct else "",
            self._asns.name(node.asn, frame.module),
            policy.imports.number,
            policy.communities,
            policy.aggregates,
            node.flat,
            _place(node.router_id, frame.router_ids),
            self._sessions(node, frame),
            tuple(self._uplink(uplink, node, frame) for uplink in self._fabric.links.uplinks[node.id]),
            frozenset(self._kinds.of(node, origin) or origin for origin in loopbacks),
            self._relations.get(node.id),
            self._cut_relations(node, frame.situation),
        )

    def _sessions(self, node: Router, frame: _Frame) -> Hashable:
        """Those with switches of the module and with the core, in the order of the peers' addresses."""
        ends = frame.places.keys() | self._core
        edges = [edge for edge in node.out if edge.receiver.id in ends]
        near = {uplink.near for uplink in self._fabric.links.uplinks[node.id]}
        return tuple(
            (
                frame.places.get(edge.receiver.id, edge.receiver.id),
                *self._labels(edge),
                frame.subnets.get(edge.reverse.subnet or b""),
                tuple((hop == edge.peer, hop in near, bool(hop)) for hop in edge.next_hops),
            )
            for edge in _by_address(edges, frame.situation)
        )

    def _uplink(self, uplink: Uplink, node: Router, frame: _Frame) -> Hashable:
        """Which switches that are up the link leads to, and with whom it is shared."""
        ends = [end for pair in uplink.pairs if frame.situation.link_is_up(pair) for end in pair if end != node.id]
        known = frozenset(frame.places.get(end, end) for end in ends)
        shared = uplink.subnet if uplink.subnet in self._core_subnets else frame.subnets.get(uplink.subnet)
        return known, bool(uplink.pairs), uplink.far is None, len(uplink.near), shared

    def _cut_relations(self, node: Router, situation: Situation) -> Hashable:
        """A node that loses single sessions with other nodes is like no other."""
        failed = situation.failure.sessions
        lost = [edge.near.name for edge in node.out if edge in failed or edge.reverse in failed]
        among_nodes = [
            e for e in failed if e.sender.kind == e.receiver.kind == "node" and node in (e.sender, e.receiver)
        ]
        return (node.id, tuple(lost)) if among_nodes else None

    def _labels(self, edge: Edge) -> tuple[int, int]:
        return self._label(edge), self._label(edge.reverse)

    def _label(self, edge: Edge) -> int:
        """What a direction of a session does to routes."""
        near, far = edge.near, edge.far
        return self._number(
            (
                near.type,
                near.local_asn if near.local_asn != edge.sender.asn else None,
                far.local_asn if far.local_asn != edge.receiver.asn else None,
                near.rr_client,
                far.rr_client,
                near.next_hop,
                far.allow_as_in,
                near.as_override,
                edge.all_paths,
                near.families,
                near.export_filters,
                far.import_filters,
                edge.pair is None,
                edge.subnet is None,
                edge.interface if self._looks_at_interfaces else None,
            )
        )


def _place(number: int, among: tuple[int, ...]) -> tuple[int, int]:
    return bisect_left(among, number), bisect_right(among, number)


def _by_address(edges: Iterable[Edge], situation: Situation) -> list[Edge]:
    """The edges that are up, in the order in which the sender compares the addresses of its peers."""
    alive = (edge for edge in edges if situation.carries(edge))
    return sorted(alive, key=lambda edge: (len(edge.reverse.peer), edge.reverse.peer))


def _has_interface(spec: BGPFilterSpec) -> bool:
    return any(rule.interface is not None for field in _FIELDS for rule in rules_of(spec, field))


def _ambiguous(fabric: Fabric) -> Iterable[str]:
    """Routers that share a router ID or an address with another one."""
    routers = fabric.routers.values()
    router_ids = Counter(router.router_id for router in routers)
    addresses = Counter(address for router in routers for address in router.addresses)
    twice = {address for address, count in addresses.items() if count > 1}
    return [r.id for r in routers if router_ids[r.router_id] > 1 or not twice.isdisjoint(r.addresses)]
