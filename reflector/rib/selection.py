"""The order of the paths to one prefix, best first, by the steps of `peering/bestpath.py` on precomputed keys.

MED is compared only within one neighbouring AS and is therefore no part of a sort key: the losers of each group are
put behind all winners first (deterministic MED), then the winners meet.
"""

from __future__ import annotations

from collections.abc import Iterable

from reflector.rib.route import Route


def best(routes: Iterable[Route]) -> Route:
    """The best of at least one route."""
    candidates = list(routes)
    if len(candidates) == 1:
        return candidates[0]
    preference = min([route.preference for route in candidates])
    candidates = [route for route in candidates if route.preference == preference]
    lowest: dict[int, int] = {}
    for route in candidates:
        known = lowest.get(route.neighbour_as)
        if known is None or route.med < known:
            lowest[route.neighbour_as] = route.med
    return min((r for r in candidates if r.med == lowest[r.neighbour_as]), key=_tie)


def ranked(routes: Iterable[Route]) -> tuple[Route, ...]:
    """All of them, best first: each place is the best of what is left, as add-path sends them."""
    left = list(routes)
    order = []
    while left:
        first = best(left)
        order.append(first)
        left.remove(first)
    return tuple(order)


def _tie(route: Route) -> tuple[object, ...]:
    return route.tie
