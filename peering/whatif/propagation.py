"""Routes travel: a path-vector computation over some of the fabric's routers, prefix by prefix.

In rounds: every router whose choice changed tells its neighbours, then all that heard something choose anew. That
ends when nobody's choice changes; what still changes after `_MOST_ROUNDS` never settles (RFC 3345) and is left as it
is, with the prefix in `unsettled`.

Best path is that of the speakers (peering/bestpath.py). A switch only counts next hops that it can reach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from peering.prefixes import Address, Prefix
from peering.whatif.exchange import OWN, Candidate, Selection, advertised, select, taken
from peering.whatif.routers import Advertisement, Edge, Router
from peering.whatif.situation import Situation

_MOST_ROUNDS = 128

#: By the router's id; a router that is missing knows no way to the prefix.
Selections = dict[str, Selection]
Reachable = Callable[[Router, Address], bool]


class Watch(Protocol):
    """Is told what happens, to see whether it could have happened otherwise elsewhere."""

    def spoke(self, prefix: Prefix, edge: Edge) -> None:
        """Something was said of the prefix over the edge."""

    def chose(self, router: Router, selection: Selection) -> None:
        """A router chose among what it heard."""


class Part:
    """Some routers of the fabric that are up, and the sessions between them that are."""

    def __init__(self, situation: Situation, routers: Iterable[Router], core_edges: Iterable[Edge] = ()) -> None:
        """`core_edges` are those between core routers; of the others each session is found from its small side."""
        self.situation = situation
        self.routers = {router.id: router for router in routers if situation.is_up(router)}
        self.out: dict[str, list[Edge]] = {name: [] for name in self.routers}
        for edge in core_edges:
            self._add(edge)

    def connect(self, router: Router, core: frozenset[str]) -> None:
        """Adds the sessions of a router that is not in the core, in both directions."""
        for edge in router.out:
            self._add(edge)
            if edge.receiver.id in core:
                self._add(edge.reverse)

    def _add(self, edge: Edge) -> None:
        if edge.sender.id in self.out and edge.receiver.id in self.routers and self.situation.carries(edge):
            self.out[edge.sender.id].append(edge)


class Propagation:
    """What the routers of a part know, computed for one prefix when it is asked for."""

    def __init__(self, part: Part, reachable: Reachable, watch: Watch | None = None) -> None:
        self._part = part
        self._reachable = reachable
        self._known: dict[Prefix, Selections] = {}
        self._under_way: set[Prefix] = set()
        self._watch = watch
        self.unsettled: set[Prefix] = set()

    def selections(self, prefix: Prefix) -> Selections:
        """What each router knows of the prefix; nothing yet while that is being computed."""
        known = self._known.get(prefix)
        if known is None:
            if prefix in self._under_way:
                return {}
            self._under_way.add(prefix)
            known = self._known[prefix] = self._propagate(prefix)
            self._under_way.discard(prefix)
        return known

    def _propagate(self, prefix: Prefix) -> Selections:
        selections: Selections = dict.fromkeys(self._origins(prefix), OWN)
        heard: dict[str, dict[Edge, tuple[Candidate, ...]]] = {}
        told: dict[Edge, tuple[Advertisement, ...]] = {}
        changed = list(selections)
        for _ in range(_MOST_ROUNDS):
            listeners = self._tell(prefix, changed, selections, heard, told)
            changed = self._choose(listeners, selections, heard)
            if not changed:
                break
        else:
            self.unsettled.add(prefix)
        return selections

    def _origins(self, prefix: Prefix) -> list[str]:
        """Who has the prefix by itself. A switch has an aggregate only while it knows something inside it."""
        fabric, routers = self._part.situation.fabric, self._part.routers
        found = [name for name in fabric.index.routers(prefix) if name in routers]
        for name in fabric.aggregates.makers(prefix):
            if name in routers and (routers[name].kind != "switch" or self._knows_inside(name, prefix)):
                found.append(name)
        return found

    def _knows_inside(self, name: str, aggregate: Prefix) -> bool:
        return any(name in self.selections(one) for one in self._part.situation.fabric.aggregates.inside(aggregate))

    def _tell(
        self,
        prefix: Prefix,
        changed: list[str],
        selections: Selections,
        heard: dict[str, dict[Edge, tuple[Candidate, ...]]],
        told: dict[Edge, tuple[Advertisement, ...]],
    ) -> dict[str, Router]:
        listeners: dict[str, Router] = {}
        for name in changed:
            for edge in self._part.out[name]:
                said = advertised(edge, prefix, selections.get(name))
                if said == told.get(edge, ()):
                    continue
                told[edge] = said
                if self._watch is not None and said:
                    self._watch.spoke(prefix, edge)
                kept = tuple(c for c in (taken(edge, prefix, one) for one in said) if c is not None)
                heard.setdefault(edge.receiver.id, {})[edge] = kept
                listeners[edge.receiver.id] = edge.receiver
        return listeners

    def _choose(
        self,
        listeners: dict[str, Router],
        selections: Selections,
        heard: dict[str, dict[Edge, tuple[Candidate, ...]]],
    ) -> list[str]:
        changed = []
        for name, router in listeners.items():
            before = selections.get(name)
            if before is OWN:
                continue
            candidates = [c for kept in heard[name].values() for c in kept]
            after = select(candidates, self._reachability(router))
            if self._watch is not None and after is not None:
                self._watch.chose(router, after)
            if not _same(before, after):
                changed.append(name)
                if after is None:
                    del selections[name]
                else:
                    selections[name] = after
        return changed

    def _reachability(self, router: Router) -> Callable[[Address], bool] | None:
        if router.kind != "switch":
            return None
        return lambda address: self._reachable(router, address)


def _same(before: Selection | None, after: Selection | None) -> bool:
    """Whether neighbours and forwarding see no difference."""
    if before is None or after is None:
        return before is after
    return before.best == after.best and before.multipath == after.multipath and before.usable == after.usable
