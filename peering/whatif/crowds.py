"""Nodes that fare alike at one place, counted together: what answers are made from."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from itertools import islice

from peering.whatif.fabric import Fabric
from peering.whatif.routers import Router
from peering.whatif.ways import WaysNow


@dataclass(frozen=True, slots=True, eq=False)
class Crowd:
    """Nodes of one rack and module that nobody can tell apart, neither before the failure nor after it.

    `fate` is what makes them alike; crowds of one fate differ in their place only.
    """

    rack: str | None
    module: int | None
    fate: Hashable
    nodes: tuple[Router, ...]

    @property
    def first(self) -> Router:
        return self.nodes[0]

    def other_than(self, node: Router) -> Router | None:
        """One of them that is not the given one."""
        return next((one for one in self.nodes[:2] if one is not node), None)


#: A node, and the crowd that it stands for.
Member = tuple[Crowd, Router]


class Crowds:
    """The nodes that work both before and after a failure."""

    def __init__(self, fabric: Fabric, before: WaysNow, after: WaysNow) -> None:
        self.fabric = fabric
        found: dict[tuple[str | None, int | None, Hashable], list[Router]] = {}
        for node in fabric.nodes:
            if before.situation.is_up(node) and after.situation.is_up(node):
                kinds = tuple((o.pool, o.is_ipv6, after.kind(node, o)) for o in fabric.origins[node.id])
                fate = (before.group(node), after.group(node), kinds)
                found.setdefault((fabric.racks.get(node.id), after.module(node), fate), []).append(node)
        self.all = [Crowd(rack, module, fate, tuple(nodes)) for (rack, module, fate), nodes in found.items()]
        self.by_rack: dict[str | None, list[Crowd]] = {}
        self._by_module: dict[int | None, list[Crowd]] = {}
        self._by_fate: dict[Hashable, list[Crowd]] = {}
        for crowd in self.all:
            self.by_rack.setdefault(crowd.rack, []).append(crowd)
            self._by_module.setdefault(crowd.module, []).append(crowd)
            self._by_fate.setdefault(crowd.fate, []).append(crowd)

    def elsewhere(self, crowd: Crowd) -> Iterator[Member]:
        """Nodes of other racks: at least one of each sort that a node of the crowd can see.

        What is in its module may look otherwise to it than from farther away, so all crowds there are looked at; of
        the rest one for each fate will do.
        """
        yield from ((one, one.first) for one in self._near(crowd) if one.rack != crowd.rack)
        for alike in self._by_fate.values():
            far = (one for one in alike if one.rack != crowd.rack and _is_far(one, crowd))
            yield from ((one, one.first) for one in islice(far, 1))

    def in_rack(self, crowd: Crowd) -> Iterator[Member]:
        """Other nodes of the same rack, in the same way."""
        fates: set[Hashable] = set()
        for one in self.by_rack[crowd.rack]:
            if one.fate in fates and _is_far(one, crowd):
                continue
            other = one.other_than(crowd.first)
            if other is not None:
                fates.update([one.fate] if _is_far(one, crowd) else [])
                yield one, other

    def _near(self, crowd: Crowd) -> list[Crowd]:
        return self._by_module[crowd.module] if crowd.module is not None else []


def _is_far(one: Crowd, other: Crowd) -> bool:
    return one.module is None or one.module != other.module
