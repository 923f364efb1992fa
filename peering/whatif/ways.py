"""Every way in the fabric, computed on representatives: from any router to any prefix, for any failure.

For a target, routes are propagated over the core, the target's module and one module of each form that asks; what
holds for those holds for everybody alike (forms.py). Results are kept by form, so a further failure costs only what it
makes new. Special prefixes, and fabrics whose modules meddle with each other, are computed over all routers.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator

from peering.whatif.fabric import DEFAULTS, Fabric
from peering.whatif.forms import Shape
from peering.whatif.forwarding import Forwarding, OutsidePart, Way
from peering.whatif.kinds import Kind
from peering.whatif.modules import Guard, Trespass, modules_of, shares_aggregates
from peering.whatif.origins import Origin
from peering.whatif.partition import Partition, Symmetry, Target
from peering.whatif.propagation import Part
from peering.whatif.routers import Router
from peering.whatif.situation import NOTHING, Failure, Situation

#: Nodes of a fabric without symmetry that can still be computed one by one.
MOST_NODES_ONE_BY_ONE = 400

#: Who asks: ("same", leaf), ("other", form, leaf), ("core", id), "in" from outside, "out" to the outside.
Source = Hashable
_IN, _OUT = "in", "out"


class TooEntangled(Exception):
    """The fabric has no symmetry to use and too many nodes to do without."""


class Ways:
    """The ways of a fabric in any situation."""

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.modules = modules_of(fabric)
        self.symmetry = Symmetry(fabric, self.modules)
        self._guard = Guard(fabric, self.modules)
        self._known: dict[Hashable, dict[Source, Way]] = {}
        self._usual: WaysNow | None = None
        self.one_by_one = shares_aggregates(fabric, self.modules)

    def situation(self, failure: Failure) -> WaysNow:
        """The ways when that is down. Raises TooEntangled."""
        if failure == NOTHING and self._usual is not None:
            return self._usual
        partition = self.symmetry.partition(Situation(self.fabric, failure))
        now = WaysNow(self, partition)
        if not self.one_by_one:
            try:
                now.prepare()
            except Trespass:
                self.one_by_one = True
        if self.one_by_one and len(self.fabric.nodes) > MOST_NODES_ONE_BY_ONE:
            raise TooEntangled
        if failure == NOTHING:
            self._usual = now
        return now

    def computed(self, partition: Partition, target: Target, sources: set[Source]) -> dict[Source, Way]:
        """The ways to a target from these sources, as many of them as exist."""
        known = self._known.setdefault(self._key(partition, target), {})
        missing = sources - known.keys()
        if missing:
            found, alone = self._compute(partition, target, missing)
            if alone:
                return {**known, **found}
            known.update(found)
        return known

    def _key(self, partition: Partition, target: Target) -> Hashable:
        kind = self.symmetry.kinds.of(target.node, target.origin)
        if target.shape is None:
            return partition.core_state, target.node.id, kind
        return partition.core_state, target.shape.form, partition.leaf_of[target.node.id], kind

    def _compute(self, partition: Partition, target: Target, sources: set[Source]) -> tuple[dict[Source, Way], bool]:
        """The ways, and whether other modules had a part in them, so that they hold for this situation only."""
        shapes = _asking(partition, target, sources)
        members: dict[str, Router] = {}
        for shape in shapes:
            members.update((router.id, router) for router in shape.module.switches)
            members.update((nodes[0].id, nodes[0]) for nodes in shape.leaves.values())
        home = [] if target.shape is None else target.shape.module.switches
        members.update((router.id, router) for router in (*home, target.node))
        neighbours = _neighbours(target)
        members.update((router.id, router) for router in neighbours.values())
        alone = False
        while True:
            try:
                return self._ways(partition, target, sources, members, shapes, neighbours), alone
            except OutsidePart as missing:
                router = self.fabric.routers[missing.router]
                module = self.modules.of[router.id]
                members.update((one.id, one) for one in (*module.switches, router))
                alone = True

    def _ways(
        self,
        partition: Partition,
        target: Target,
        sources: set[Source],
        members: dict[str, Router],
        shapes: list[Shape],
        neighbours: dict[int, Router],
    ) -> dict[Source, Way]:
        core = self.modules.core
        outside = [router for router in members.values() if router.id not in core]
        everybody = [*(self.fabric.routers[name] for name in sorted(core)), *outside]
        part = Part(partition.situation, everybody, self.modules.core_edges)
        for router in outside:
            part.connect(router, core)
        forwarding = Forwarding(part, self._guard)
        prefix = target.origin.prefix
        found: dict[Source, Way] = {}
        for leaf, node in neighbours.items():
            found["same", leaf] = forwarding.way(node.id, prefix)
        for shape in shapes:
            found["other", shape.form, None] = Way("no")
            for leaf, nodes in shape.leaves.items():
                found["other", shape.form, leaf] = forwarding.way(nodes[0].id, prefix)
        for node in partition.core_nodes:
            if node is not target.node:
                found["core", node.id] = forwarding.way(node.id, prefix)
        if self.fabric.externals:
            found[_IN] = forwarding.from_outside(prefix)
            found[_OUT] = forwarding.way(target.node.id, DEFAULTS[target.origin.is_ipv6])
        return {source: way for source, way in found.items() if source in sources}


def _asking(partition: Partition, target: Target, sources: set[Source]) -> list[Shape]:
    """A module of each form that is asked from, another one than the target's."""
    forms = {source[1] for source in sources if isinstance(source, tuple) and source[0] == "other"}
    home = target.shape.module if target.shape else None
    return [next(s for s in partition.by_form[form] if s.module is not home) for form in sorted(forms)]


def _neighbours(target: Target) -> dict[int, Router]:
    """Another node of each leaf of the target's module."""
    leaves = target.shape.leaves if target.shape else {}
    others = {leaf: next((n for n in nodes if n is not target.node), None) for leaf, nodes in leaves.items()}
    return {leaf: node for leaf, node in others.items() if node is not None}


class WaysNow:
    """The ways in one situation."""

    def __init__(self, ways: Ways, partition: Partition) -> None:
        self._ways = ways
        self.partition = partition
        self.situation = partition.situation
        self._everybody: Forwarding | None = None
        self._to: dict[Hashable, dict[Source, Way]] = {}

    def prepare(self) -> None:
        """Computes the ways to every kind of prefix of every group. Raises Trespass."""
        for target in self._targets():
            kind = self._ways.symmetry.kinds.of(target.node, target.origin)
            found = self._ways.computed(self.partition, target, self._sources(target))
            self._to[self.partition.group(target.node), kind] = found

    def way(self, source: Router, node: Router, origin: Origin) -> Way:
        """From a node to a prefix of another one; both are up."""
        found = self._of(node, origin)
        if found is None:
            return self._all.way(source.id, origin.prefix)
        return found[self._source(source, node)]

    def from_outside(self, node: Router, origin: Origin) -> Way | None:
        """None where nobody is outside."""
        if not self._ways.fabric.externals:
            return None
        found = self._of(node, origin)
        return self._all.from_outside(origin.prefix) if found is None else found[_IN]

    def to_outside(self, node: Router, origin: Origin) -> Way | None:
        """By the default route, in the family of the prefix."""
        if not self._ways.fabric.externals:
            return None
        found = self._of(node, origin)
        return self._all.way(node.id, DEFAULTS[origin.is_ipv6]) if found is None else found[_OUT]

    def kind(self, node: Router, origin: Origin) -> Hashable:
        """Prefixes of one group with the same kind fare alike; a prefix that is like no other is its own kind."""
        kind = None if self._ways.one_by_one else self._ways.symmetry.kinds.of(node, origin)
        return origin.prefix if kind is None else kind

    def group(self, node: Router) -> Hashable:
        return node.id if self._ways.one_by_one else self.partition.group(node)

    def module(self, node: Router) -> int | None:
        """Nodes of one module may see each other otherwise than they are seen from elsewhere; None for a node alone."""
        module = None if self._ways.one_by_one else self._ways.modules.of.get(node.id)
        return module.number if module else None

    def _of(self, node: Router, origin: Origin) -> dict[Source, Way] | None:
        kind: Kind | None = self._ways.symmetry.kinds.of(node, origin)
        if kind is None or self._ways.one_by_one:
            return None
        return self._to[self.partition.group(node), kind]

    def _source(self, source: Router, node: Router) -> Source:
        modules, partition = self._ways.modules.of, self.partition
        module = modules.get(source.id)
        if module is None:
            return "core", source.id
        leaf = partition.leaf_of[source.id]
        return (
            ("same", leaf) if module is modules.get(node.id) else ("other", partition.shapes[module.number].form, leaf)
        )

    def _targets(self) -> Iterator[Target]:
        symmetry = self._ways.symmetry
        for shapes in self.partition.by_form.values():
            yield from symmetry.targets(shapes).values()
        for node in self.partition.core_nodes:
            for origin in self._ways.fabric.origins[node.id]:
                if symmetry.kinds.of(node, origin) is not None:
                    yield Target(node, origin, None)

    def _sources(self, target: Target) -> set[Source]:
        """Who can ask for a target; also forms without nodes, which the guard is to see."""
        home = target.shape.module if target.shape else None
        found: set[Source] = {("same", leaf) for leaf in _neighbours(target)}
        for form, shapes in self.partition.by_form.items():
            if shapes[0].module is not home or len(shapes) > 1:
                found.update(("other", form, leaf) for leaf in (*shapes[0].leaves, None))
        found.update(("core", node.id) for node in self.partition.core_nodes if node is not target.node)
        return found | ({_IN, _OUT} if self._ways.fabric.externals else set())

    @property
    def _all(self) -> Forwarding:
        """Over all routers."""
        if self._everybody is None:
            routers: Iterable[Router] = self._ways.fabric.routers.values()
            self._everybody = Forwarding(Part(self.situation, routers, tuple(self._ways.fabric.edges())))
        return self._everybody
