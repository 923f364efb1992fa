"""The paths to every prefix of one address family, and which prefixes changed since the last batch.

A prefix with one path holds the route itself, one with more a tuple with the best first: nearly every prefix has one
path, and an object for each would be most of the memory. `changed` keeps what the prefix was when the last batch was
made, so that a batch knows whom to tell what.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat

from reflector.rib.changes import Changes, Paths, Run
from reflector.rib.route import Key, Route, Source
from reflector.rib.selection import ranked

#: Of an Adj-RIB-In: the prefix, or the path identifier it came with and then the prefix (RFC 7911).
PathKey = bytes


def best_of(paths: Paths) -> Route | None:
    """The best of what a prefix has."""
    return paths[0] if isinstance(paths, tuple) else paths


def all_of(paths: Paths) -> tuple[Route, ...]:
    """Everything that a prefix has, best first."""
    if paths is None:
        return ()
    return paths if isinstance(paths, tuple) else (paths,)


class AdjRibIn:
    """What one source has announced of one family and what of it is in the table, by prefix (and path identifier).

    Of a table that comes in, nearly all prefixes are never asked for again one by one. So they are kept as they came
    until somebody wants `routes`.
    """

    __slots__ = ("_count", "_routes", "_runs", "source")

    def __init__(self, source: Source) -> None:
        self.source = source
        self._routes: dict[PathKey, Route] = {}
        self._runs: list[Run] = []
        self._count = 0

    @property
    def routes(self) -> dict[PathKey, Route]:
        """May be changed."""
        if self._runs:
            for route, keys in self._runs:
                self._routes.update(dict.fromkeys(keys, route))
            self._runs.clear()
            self._count = 0
        return self._routes

    def add(self, run: Run) -> None:
        """Prefixes of which none was there."""
        self._runs.append(run)
        self._count += len(run[1])

    def __len__(self) -> int:
        return len(self._routes) + self._count


class Table:
    """One address family. Methods take whole lists: that is how prefixes come."""

    def __init__(self) -> None:
        self.paths: dict[Key, Route | tuple[Route, ...]] = {}
        self.changed = Changes()

    def announce(self, adj: AdjRibIn, keys: Sequence[Key], route: Route) -> None:
        """The source announces these prefixes with this route, in place of what it announced before.

        The list is kept, and must not change any more.
        """
        paths, before = self.paths, self.changed.before
        count = len(paths)
        # One look-up for each, and none of it in Python. What was there stays as it was, and is looked at below.
        found = list(map(paths.setdefault, keys, repeat(route)))
        if len(paths) == count + len(keys) and not before:
            run = (route, keys)
            adj.add(run)
            self.changed.add(run)
            return
        routes = adj.routes
        for key, known in zip(keys, found, strict=True):
            old = routes.get(key)
            if old is route:
                continue
            routes[key] = route
            if known is route:
                if key not in before:
                    self.changed.add((route, (key,)))
            elif known is old:
                if key not in before:
                    before[key] = known
                paths[key] = route
            else:
                self._replace(key, known, old, route)

    def withdraw(self, adj: AdjRibIn, keys: Iterable[Key]) -> None:
        """The source withdraws these prefixes; those that it never announced are passed over."""
        routes, paths, before = adj.routes, self.paths, self.changed.before
        for key in keys:
            old = routes.pop(key, None)
            if old is None:
                continue
            known = paths[key]
            if known is old:
                if key not in before:
                    before[key] = known
                del paths[key]
            else:
                self._replace(key, known, old, None)

    def announce_path(self, adj: AdjRibIn, path: PathKey, key: Key, route: Route) -> None:
        """One prefix, under a key of its own in the Adj-RIB-In."""
        old = adj.routes.get(path)
        if old is not route:
            adj.routes[path] = route
            self._replace(key, self.paths.get(key), old, route)

    def withdraw_path(self, adj: AdjRibIn, path: PathKey, key: Key) -> None:
        """The inverse of `announce_path`."""
        old = adj.routes.pop(path, None)
        if old is not None:
            self._replace(key, self.paths[key], old, None)

    def take_changes(self) -> Changes:
        """What changed since the last call."""
        taken, self.changed = self.changed, Changes()
        taken.settle()
        return taken

    def _replace(self, key: Key, known: Paths, old: Route | None, new: Route | None) -> None:
        before = all_of(known)
        after = [route for route in before if route is not old]
        if new is not None:
            after.append(new)
        order = ranked(after)
        if order == before:
            return
        self.changed.before.setdefault(key, known)
        if len(order) == 1:
            self.paths[key] = order[0]
        elif order:
            self.paths[key] = order
        else:
            del self.paths[key]
