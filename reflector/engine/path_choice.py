"""Which path to a prefix is used, and why not the others: the order of the table, step by step, with names. Pure.

The steps and their names are those of `peering/bestpath.py`, on the keys that the table itself compares. Two more are
the table's own: a long-lived stale path is the last resort (RFC 9494, 4.3), and of several paths of one peer that are
equal in everything the one with the lowest path identifier is best (RFC 7911).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reflector.rib.route import Route

ONLY_PATH = "only path"
MED = "MED"

Step = tuple[str, Callable[[Route], object]]
#: The smallest key stays. MED, which is no key, lies between the two lists.
STEPS_BEFORE_MED: tuple[Step, ...] = (
    ("long-lived stale", lambda route: route.preference[0]),
    ("local preference", lambda route: route.preference[1]),
    ("AS path length", lambda route: route.preference[2]),
    ("origin", lambda route: route.preference[3]),
)
STEPS_AFTER_MED: tuple[Step, ...] = (
    ("eBGP over iBGP", lambda route: route.tie[0]),
    ("router ID", lambda route: route.tie[1]),
    ("cluster list length", lambda route: route.tie[2]),
    ("peer address", lambda route: route.tie[3:5]),
    ("path identifier", lambda route: route.tie[5]),
)


@dataclass(frozen=True, slots=True)
class PathChoice:
    """`reason` is the last step that took a path out; `lost` has the step at which each of the others went."""

    best: Route
    reason: str
    lost: dict[Route, str]


def choose_path(routes: Sequence[Route]) -> PathChoice:
    """The choice among at least one path, in any order."""
    left, lost = list(routes), dict[Route, str]()
    for name, key in STEPS_BEFORE_MED:
        left = _kept(left, name, key, lost)
    left = _lowest_med(left, lost)
    for name, key in STEPS_AFTER_MED:
        left = _kept(left, name, key, lost)
    return PathChoice(left[0], next(reversed(lost.values()), ONLY_PATH), lost)


def _kept(routes: list[Route], name: str, key: Callable[[Route], object], lost: dict[Route, str]) -> list[Route]:
    if len(routes) == 1:
        return routes
    keys = [key(route) for route in routes]
    smallest = min(keys)  # type: ignore[type-var]
    lost.update((route, name) for route, found in zip(routes, keys, strict=True) if found != smallest)
    return [route for route, found in zip(routes, keys, strict=True) if found == smallest]


def _lowest_med(routes: list[Route], lost: dict[Route, str]) -> list[Route]:
    """MED is compared only among paths from one neighbouring AS."""
    lowest: dict[int, int] = {}
    for route in routes:
        lowest[route.neighbour_as] = min(route.med, lowest.get(route.neighbour_as, route.med))
    lost.update((route, MED) for route in routes if route.med != lowest[route.neighbour_as])
    return [route for route in routes if route.med == lowest[route.neighbour_as]]
