"""Every single failure: those that are alike are computed once.

Two failures are alike when they strike the same spot of modules that have the same form and as many nodes of each
sort. What strikes the core is like nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

from peering.whatif.answers import Answer, answer
from peering.whatif.fabric import Fabric
from peering.whatif.failures import Failures, Named
from peering.whatif.modules import Module
from peering.whatif.routers import Router
from peering.whatif.situation import NOTHING
from peering.whatif.ways import Ways, WaysNow


@dataclass(frozen=True, slots=True)
class Sort:
    """Failures that are alike: their names, and what the first of them does."""

    names: tuple[str, ...]
    answer: Answer

    def to_json(self) -> dict[str, Any]:
        return {
            "failure": self.names[0],
            "standsFor": len(self.names),
            "alike": list(self.names),
            **self.answer.to_json(),
        }


def every_single_failure(ways: Ways) -> Iterator[Sort]:
    """Every router, rack and link by itself. Raises TooEntangled."""
    usual = ways.situation(NOTHING)
    spots = _Spots(ways, usual)
    alike: dict[Hashable, list[Named]] = {}
    for named in Failures(ways.fabric).every_single_one():
        alike.setdefault(spots.of(named), []).append(named)
    for found in alike.values():
        yield Sort(tuple(named.name for named in found), answer(ways, found[:1]))


class _Spots:
    """Where a failure strikes, in words that are the same for alike modules."""

    def __init__(self, ways: Ways, usual: WaysNow) -> None:
        self._fabric: Fabric = ways.fabric
        self._modules = ways.modules.of
        self._usual = usual
        self._alone = ways.one_by_one
        self._looks: dict[int, Hashable] = {}
        self._rack_sizes = Counter(ways.fabric.racks.values())

    def of(self, named: Named) -> Hashable:
        """Equal for failures that are alike."""
        failure = named.failure
        ends = sorted({*failure.routers, *(end for pair in failure.links for end in pair)})
        if self._alone:
            return named.name
        what = "link" if failure.links else "routers"
        modules = {id(m): m for end in ends if (m := self._modules.get(end)) is not None}
        looks = sorted((self._look(module) for module in modules.values()), key=repr)
        if len(modules) > 1:
            whole = sum(len(module.routers) for module in modules.values()) == len(ends)
            return (what, tuple(looks)) if whole else named.name
        spots = Counter(self._spot(end) for end in ends)
        return what, tuple(looks), frozenset(spots.items()), named.name.startswith("Rack/")

    def _look(self, module: Module) -> Hashable:
        """The form of a module and what there is of each sort."""
        if module.number not in self._looks:
            sorts = Counter(map(self._sort, module.nodes))
            form = self._usual.partition.shapes[module.number].form
            self._looks[module.number] = (form, len(module.switches), frozenset(sorts.items()))
        return self._looks[module.number]

    def _spot(self, end: str) -> Hashable:
        module, router = self._modules.get(end), self._fabric.routers[end]
        if module is None:
            return end
        return module.switches.index(router) if router.kind == "switch" else self._sort(router)

    def _sort(self, node: Router) -> Hashable:
        """What can be told of a node, and of the rack that it stands in."""
        kinds = tuple((o.pool, o.is_ipv6, self._usual.kind(node, o)) for o in self._fabric.origins[node.id])
        return self._usual.group(node), kinds, self._rack_look(node)

    def _rack_look(self, node: Router) -> Hashable:
        """A rack that is more or less than the module is like no other."""
        rack, module = self._fabric.racks.get(node.id), self._modules.get(node.id)
        members = self._fabric.rack_members.get(rack or "", frozenset())
        return None if module is not None and members == {router.id for router in module.routers} else rack
