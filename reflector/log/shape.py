"""What a group is told of a prefix: its best path, or several of them (RFC 7911), and how that stands in an UPDATE.

A `slot` is what a route that is told takes the place of: the prefix where only the best path is told, the path
identifier and the prefix where several are. The NLRI that is written is the slot in most families; in those whose NLRI
holds more than what tells routes apart (labels) it is that of the route.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from reflector.rib.changes import Changes, Paths
from reflector.rib.route import Key, Route
from reflector.rib.table import Table, all_of, best_of

Slot = bytes
Nlri = bytes
Change = tuple[Slot, "Route | None", "Route | None"]
"""(slot, what the group was told of, what it is now)."""

_PATH_ID = 4


class Shape(Protocol):
    """`plain`: slot, prefix and NLRI are the same bytes."""

    plain: bool

    def changes(self, table: Table, changed: Changes) -> Iterator[Change]:
        """What changed in the table (`Table.take_changes`), slot by slot; also what did not change in the end."""

    def news(self, table: Table, changed: Changes) -> News:
        """The same, sorted."""

    def whole(self, table: Table) -> Iterator[Change]:
        """The whole table as news."""

    def slots(self, key: Key, paths: Paths) -> Mapping[Slot, Route]:
        """What is told of one prefix."""

    def now(self, table: Table, slot: Slot) -> Route | None:
        """What is told under a slot."""

    def prefix(self, slot: Slot) -> Key: ...

    def nlri(self, slot: Slot, route: Route) -> Nlri: ...


@dataclass(frozen=True, slots=True)
class News:
    """What a group has to be told. `fresh` had nothing, `gone` have nothing, by route; all others are in `moved`."""

    fresh: Mapping[Route, list[Slot]]
    gone: Mapping[Route, list[Slot]]
    moved: Iterable[Change]


class BestPath:
    """One path for each prefix. `own_nlri`: the family's NLRI are not its keys."""

    def __init__(self, *, own_nlri: bool = False) -> None:
        self.plain = not own_nlri

    def changes(self, table: Table, changed: Changes) -> Iterator[Change]:
        get = table.paths.get
        for key, before in changed.items():
            yield key, best_of(before), best_of(get(key))

    def news(self, table: Table, changed: Changes) -> News:
        """What came together is looked at together: this is most of what it costs to publish a large table."""
        get = table.paths.get
        fresh: defaultdict[Route, list[Slot]] = defaultdict(list)
        gone: defaultdict[Route, list[Slot]] = defaultdict(list)
        moved: list[Change] = []
        for said, keys in changed.fresh:
            if changed.untouched:
                fresh[said].extend(keys)
                continue
            for paths, some in groupby(keys, get):
                route = best_of(paths)
                if route is not None:
                    fresh[route].extend(some)
        for key, before in changed.before.items():
            now = get(key)
            if now is None and before.__class__ is Route:
                gone[before].append(key)
            else:
                moved.append((key, best_of(before), best_of(now)))
        return News(fresh, gone, moved)

    def whole(self, table: Table) -> Iterator[Change]:
        for key, paths in table.paths.items():
            yield key, None, best_of(paths)

    def slots(self, key: Key, paths: Paths) -> Mapping[Slot, Route]:
        route = best_of(paths)
        return {} if route is None else {key: route}

    def now(self, table: Table, slot: Slot) -> Route | None:
        return best_of(table.paths.get(slot))

    def prefix(self, slot: Slot) -> Key:
        return slot

    def nlri(self, slot: Slot, route: Route) -> Nlri:
        return slot if self.plain else route.nlri


class SeveralPaths:
    """The best `limit` paths of each prefix (None: all), each with its identifier."""

    plain = False

    def __init__(self, limit: int | None = None, *, own_nlri: bool = False) -> None:
        self._limit = limit
        self._own_nlri = own_nlri

    def _told(self, paths: Paths) -> dict[bytes, Route]:
        return {route.sent_path_id: route for route in all_of(paths)[: self._limit]}

    def changes(self, table: Table, changed: Changes) -> Iterator[Change]:
        for key, paths in changed.items():
            before, now = self._told(paths), self._told(table.paths.get(key))
            for number in {**before, **now}:
                yield number + key, before.get(number), now.get(number)

    def news(self, table: Table, changed: Changes) -> News:
        return News({}, {}, self.changes(table, changed))

    def whole(self, table: Table) -> Iterator[Change]:
        for key, paths in table.paths.items():
            for number, route in self._told(paths).items():
                yield number + key, None, route

    def slots(self, key: Key, paths: Paths) -> Mapping[Slot, Route]:
        return {number + key: route for number, route in self._told(paths).items()}

    def now(self, table: Table, slot: Slot) -> Route | None:
        return self._told(table.paths.get(slot[_PATH_ID:])).get(slot[:_PATH_ID])

    def prefix(self, slot: Slot) -> Key:
        return slot[_PATH_ID:]

    def nlri(self, slot: Slot, route: Route) -> Nlri:
        return slot[:_PATH_ID] + route.nlri if self._own_nlri else slot
