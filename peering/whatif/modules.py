"""The fabric taken apart: a core, and modules that meet only there.

The *core* are the routers that pass routes on between parts which are otherwise apart: external routers, reflectors,
nodes that reflect, and switches with a session or a link to one of these that is ours. A *module*
is what still hangs together without the core, sessions between nodes not counted: a rack, usually, or a node alone.

A node that does not reflect only speaks of its own prefixes. So for a prefix of one module the other modules are dead
ends, as long as nothing in them passes it on: leaving some of them out changes nothing in the rest. That is checked
while routes travel (`Trespass`), not assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from peering.prefixes import Prefix
from peering.whatif.exchange import MAX_PATHS, Candidate, Selection
from peering.whatif.fabric import Fabric
from peering.whatif.routers import Edge, Router

#: Steps of best path that look at who somebody is, not at what the route is like.
_BY_NAME = ("router ID", "cluster list length", "peer address", "next hop", "AS path")
_BY_ADDRESS = _BY_NAME[2:]


@dataclass(slots=True, eq=False)
class Module:
    """Both in the order of their router IDs."""

    number: int
    switches: list[Router] = field(default_factory=list)
    nodes: list[Router] = field(default_factory=list)

    @property
    def routers(self) -> list[Router]:
        return [*self.switches, *self.nodes]


@dataclass(frozen=True)
class Modules:
    """`of` says in which module a router is; core routers are in none."""

    core: frozenset[str]
    core_edges: tuple[Edge, ...]
    all: tuple[Module, ...]
    of: dict[str, Module]


class Trespass(Exception):
    """Modules meddle in each other's affairs: what holds for one of them need not hold for another."""


def modules_of(fabric: Fabric) -> Modules:
    """The parts of a fabric."""
    core = _core(fabric)
    parent = {name: name for name in fabric.routers if name not in core}
    for one, other in _neighbours(fabric, core):
        parent[_root(parent, one)] = _root(parent, other)
    by_root: dict[str, Module] = {}
    of: dict[str, Module] = {}
    for router in sorted(fabric.routers.values(), key=lambda r: (r.router_id, r.id)):
        if router.id in core:
            continue
        module = by_root.setdefault(_root(parent, router.id), Module(len(by_root)))
        (module.switches if router.kind == "switch" else module.nodes).append(router)
        of[router.id] = module
    core_edges = [e for name in core for e in fabric.routers[name].out if e.receiver.id in core]
    return Modules(core, tuple(core_edges), tuple(by_root.values()), of)


def _core(fabric: Fabric) -> frozenset[str]:
    routers = fabric.routers.values()
    passing_on = {router.id for router in routers if router.kind != "switch" and router.transit}
    ours = {name for name in passing_on if fabric.routers[name].kind != "external"}
    joined = {router.id for router in routers if router.kind == "switch" and any(map(_joins(ours), router.out))}
    linked = {end for name in ours for pair in fabric.links.pairs.get(name, ()) for end in pair}
    return frozenset(passing_on | joined | linked)


def _joins(ours: set[str]) -> Callable[[Edge], bool]:
    return lambda edge: edge.receiver.id in ours


def _neighbours(fabric: Fabric, core: frozenset[str]) -> Iterable[tuple[str, str]]:
    """Pairs of routers that are in one module: by a session, a link, or a subnet that nodes share."""
    first_on: dict[Prefix, str] = {}
    for router in fabric.routers.values():
        if router.kind in ("node", "switch") and router.id not in core:
            yield from ((router.id, e.receiver.id) for e in router.out if _inside(e.receiver, core))
        if router.kind == "node" and router.id not in core:
            for pair in fabric.links.pairs.get(router.id, ()):
                if not core.intersection(pair):
                    yield pair
            for uplink in fabric.links.uplinks[router.id]:
                yield router.id, first_on.setdefault(uplink.subnet, router.id)


def _inside(receiver: Router, core: frozenset[str]) -> bool:
    return receiver.kind == "switch" and receiver.id not in core


def _root(parent: dict[str, str], name: str) -> str:
    while parent[name] != name:
        parent[name] = parent[parent[name]]
        name = parent[name]
    return name


def shares_aggregates(fabric: Fabric, modules: Modules) -> bool:
    """Whether routers of several modules, or of the core, make one aggregate: then modules draw others' packets."""
    homes = ({modules.of.get(name) for name in makers} for makers in fabric.aggregates.makers_of_all())
    return any(len(home) > 1 or None in home for home in homes)


class Guard:
    """Watches routes travel, and raises Trespass when modules are not as apart as they were taken to be."""

    def __init__(self, fabric: Fabric, modules: Modules) -> None:
        self._fabric = fabric
        self._modules = modules
        self._by_router_id: dict[int, list[Router]] = {}
        for router in fabric.routers.values():
            self._by_router_id.setdefault(router.router_id, []).append(router)

    def spoke(self, prefix: Prefix, edge: Edge) -> None:
        """A module may speak to others of its own prefixes only."""
        mine, theirs = self._modules.of.get(edge.sender.id), self._modules.of.get(edge.receiver.id)
        if mine is not None and mine is not theirs:
            homes = (*self._fabric.index.routers(prefix), *self._fabric.aggregates.makers(prefix))
            home = {self._modules.of.get(name) for name in homes}
            if home != {mine}:
                raise Trespass(f"{edge.sender} passes on a prefix that is not of its own module")

    def chose(self, router: Router, selection: Selection) -> None:
        """Names may decide inside a module and between it and the core: their order there is compared (forms.py)."""
        best = selection.best
        if best is None or selection.reason not in _BY_NAME:
            return
        rank = _rank(best)
        tied = [one for one in selection.usable if _rank(one) == rank]
        modules = {module.number for one in tied for module in self._involved(one)}
        senders = {one.edge.sender.id in self._modules.core for one in tied}
        by_address_in_core = router.id in self._modules.core and selection.reason in _BY_ADDRESS and len(senders) > 1
        if len(modules) > 1 or (modules and (by_address_in_core or len(tied) > MAX_PATHS)):
            raise Trespass(f"{router} chooses between modules by {selection.reason}")

    def _involved(self, candidate: Candidate) -> Iterable[Module]:
        routers = [candidate.edge.sender]
        if candidate.path.router_id != candidate.edge.sender.router_id:
            routers += self._by_router_id.get(candidate.path.router_id, [])
        found = (self._modules.of.get(router.id) for router in routers)
        return [module for module in found if module is not None]


def _rank(candidate: Candidate) -> tuple[int, int, bool]:
    path = candidate.path
    return -path.local_preference, path.as_path_length, not path.ebgp
