"""The fabric in a situation, taken apart into modules of a few forms, with somebody to stand for each."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import cached_property

from peering.whatif.fabric import Fabric
from peering.whatif.forms import Forms, Shape
from peering.whatif.kinds import Kind, Kinds
from peering.whatif.modules import Modules
from peering.whatif.origins import Origin
from peering.whatif.routers import Router
from peering.whatif.situation import NOTHING, Situation

#: Nodes of one group cannot be told apart: (form, leaf), or the id of a node of the core.
Group = Hashable


@dataclass(frozen=True, slots=True)
class Target:
    """A prefix of a node that stands for those of its kind in its group; `shape` is None for a node of the core."""

    node: Router
    origin: Origin
    shape: Shape | None


class Symmetry:
    """Modules, kinds and forms of a fabric, and its shapes when nothing is down."""

    def __init__(self, fabric: Fabric, modules: Modules) -> None:
        self.fabric = fabric
        self.modules = modules
        self.kinds = Kinds(fabric, modules)
        self.forms = Forms(fabric, modules, self.kinds)
        self.core_nodes = [r for r in fabric.nodes if r.id in modules.core]
        self._targets: dict[tuple[int, ...], dict[tuple[int, Kind], Target]] = {}
        everything = Situation(fabric)
        self.base = {module.number: self.forms.shape(module, everything) for module in modules.all}

    def partition(self, situation: Situation) -> Partition:
        """The shapes that modules have in a situation."""
        if situation.failure == NOTHING:
            return Partition(self, situation, self.base)
        touched = {self.modules.of[name].number: self.modules.of[name] for name in self._touched(situation)}
        shapes = {number: self.forms.shape(module, situation) for number, module in touched.items()}
        return Partition(self, situation, {**self.base, **shapes})

    def _touched(self, situation: Situation) -> Iterable[str]:
        """Routers whose module may have another form now. What fails in the core fails for all modules alike."""
        of, failure = self.modules.of, situation.failure
        named = {*(end for pair in failure.links for end in pair), *failure.routers}
        named.update(end.id for edge in failure.sessions for end in (edge.sender, edge.receiver))
        return [name for name in named if name in of]

    def targets(self, shapes: tuple[Shape, ...]) -> dict[tuple[int, Kind], Target]:
        """Who stands for each leaf and kind of a form: where that can be had, a node with another one of its leaf."""
        usual = tuple(shape for shape in shapes if shape is self.base[shape.module.number])
        found = dict(self._usual_targets(tuple(shape.module.number for shape in usual)))
        for shape in shapes:
            if shape is not self.base[shape.module.number]:
                self._collect(shape, found)
        return found

    def _usual_targets(self, numbers: tuple[int, ...]) -> dict[tuple[int, Kind], Target]:
        if numbers not in self._targets:
            found: dict[tuple[int, Kind], Target] = {}
            for number in numbers:
                self._collect(self.base[number], found)
            self._targets[numbers] = found
        return self._targets[numbers]

    def _collect(self, shape: Shape, found: dict[tuple[int, Kind], Target]) -> None:
        for leaf, nodes in shape.leaves.items():
            for node in nodes:
                for origin in self.fabric.origins[node.id]:
                    kind = self.kinds.of(node, origin)
                    if kind is None:
                        continue
                    known = found.get((leaf, kind))
                    if known is None or _company(known, leaf) < len(nodes):
                        found[leaf, kind] = Target(node, origin, shape)


def _company(target: Target, leaf: int) -> int:
    return len(target.shape.leaves[leaf]) if target.shape else 0


@dataclass(frozen=True)
class Partition:
    """`shapes` by the number of the module."""

    symmetry: Symmetry
    situation: Situation
    shapes: dict[int, Shape]

    @cached_property
    def by_form(self) -> dict[int, tuple[Shape, ...]]:
        found: dict[int, list[Shape]] = {}
        for shape in self.shapes.values():
            found.setdefault(shape.form, []).append(shape)
        return {form: tuple(shapes) for form, shapes in found.items()}

    @cached_property
    def leaf_of(self) -> dict[str, int]:
        """By the ids of nodes that are up and not in the core."""
        return {
            node.id: leaf for shape in self.shapes.values() for leaf, nodes in shape.leaves.items() for node in nodes
        }

    def group(self, node: Router) -> Group:
        """Of a node that is up."""
        module = self.symmetry.modules.of.get(node.id)
        return node.id if module is None else (self.shapes[module.number].form, self.leaf_of[node.id])

    @cached_property
    def core_nodes(self) -> list[Router]:
        """Those that are up."""
        return [node for node in self.symmetry.core_nodes if self.situation.is_up(node)]

    @cached_property
    def core_state(self) -> Hashable:
        """What is down in the core."""
        core = self.symmetry.modules.core
        routers = [self.symmetry.fabric.routers[name] for name in core]
        return (
            frozenset(router.id for router in routers if not self.situation.is_up(router)),
            frozenset(router.id for router in routers if self.situation.is_stranded(router)),
            frozenset(edge for edge in self.symmetry.modules.core_edges if not self.situation.carries(edge)),
            frozenset(pair for pair in self.situation.failure.links if core.issuperset(pair)),
        )
