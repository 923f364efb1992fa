"""Best path and multipath: an ordered list of named steps that keeps the reason.

The steps are those of RFC 4271, 9.1.2.2, with LOCAL_PREF before them (9.1.1) and the reflection rules of
RFC 4456, 9 between the last two. Before all of them, a long-lived stale path loses to any other (RFC 9494, 4.3).
MED (step c) is only compared between paths from the same neighbouring AS, so it is no sort key: comparing pairwise
would make the winner depend on the order of arrival. Paths are first grouped by neighbouring AS and the losers of each
group taken out, then the groups meet; that is what FRR and BIRD call deterministic MED.

Interior cost is not compared: every next hop of a speaker is a neighbour on a link. The oldest-path rule is
left out: it would make two nodes with the same paths choose differently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from peering.prefixes import Address

ORIGINS = {"igp": 0, "egp": 1, "incomplete": 2}


@dataclass(frozen=True, slots=True)
class Path:
    """One way to a prefix. Addresses are packed; `as_path` is flattened, an AS_SET counts as one hop.

    `stale`: it has the community LLGR_STALE.
    """

    peer: Address
    next_hop: Address
    ebgp: bool
    as_path: tuple[int, ...] = ()
    as_path_length: int = 0
    local_preference: int = 100
    origin: int = 0
    med: int = 0
    router_id: int = 0
    cluster_list_length: int = 0
    stale: bool = False

    @property
    def neighbour_as(self) -> int:
        """The AS the path came in from; 0 for one that began inside our own."""
        return self.as_path[0] if self.as_path else 0


Step = Callable[[Path], object]

#: Named steps in order; the smallest key wins. MED is not among them, see above.
_BEFORE_MED: tuple[tuple[str, Step], ...] = (
    ("long-lived stale", lambda p: p.stale),
    ("local preference", lambda p: -p.local_preference),
    ("AS path length", lambda p: p.as_path_length),
    ("origin", lambda p: p.origin),
)
_AFTER_MED: tuple[tuple[str, Step], ...] = (("eBGP over iBGP", lambda p: not p.ebgp),)
_TIE_BREAKS: tuple[tuple[str, Step], ...] = (
    ("router ID", lambda p: p.router_id),
    ("cluster list length", lambda p: p.cluster_list_length),
    ("peer address", lambda p: (len(p.peer), p.peer)),
    ("next hop", lambda p: p.next_hop),
    # Only paths of one peer get here (add-path): any order will do, as long as it is one.
    ("AS path", lambda p: (p.as_path, p.as_path_length, p.med)),
)


@dataclass(frozen=True, slots=True)
class Choice:
    """The winner, the name of the last step that took a path out, and the paths equal to it for multipath."""

    best: Path
    reason: str
    multipath: tuple[Path, ...]


def choose(paths: Iterable[Path], max_paths: int = 16) -> Choice | None:
    """The choice among the paths to one prefix; None when there is none.

    Multipath takes every path that ties with the winner up to the tie-breaking steps, one per next hop,
    whatever AS it came through (FRR: `bestpath as-path multipath-relax`), at most `max_paths`.
    """
    candidates = list(paths)
    if not candidates:
        return None
    reason = "only path"
    for name, step in _BEFORE_MED:
        candidates, reason = _narrow(candidates, name, step, reason)
    kept = _best_med(candidates)
    if len(kept) < len(candidates):
        candidates, reason = kept, "MED"
    for name, step in _AFTER_MED:
        candidates, reason = _narrow(candidates, name, step, reason)
    equal = candidates
    for name, step in _TIE_BREAKS:
        candidates, reason = _narrow(candidates, name, step, reason)
    best = candidates[0]
    return Choice(best, reason, _one_per_next_hop(best, equal, max_paths))


def _narrow(paths: list[Path], name: str, step: Step, reason: str) -> tuple[list[Path], str]:
    if len(paths) == 1:
        return paths, reason
    keys = [step(path) for path in paths]
    smallest = min(keys)  # type: ignore[type-var]
    kept = [path for path, key in zip(paths, keys, strict=True) if key == smallest]
    return kept, name if len(kept) < len(paths) else reason


def _best_med(paths: list[Path]) -> list[Path]:
    lowest: dict[int, int] = {}
    for path in paths:
        lowest[path.neighbour_as] = min(path.med, lowest.get(path.neighbour_as, path.med))
    return [path for path in paths if path.med == lowest[path.neighbour_as]]


def _one_per_next_hop(best: Path, equal: Sequence[Path], max_paths: int) -> tuple[Path, ...]:
    by_next_hop = {best.next_hop: best}
    for path in sorted(equal, key=lambda p: (p.next_hop, [step(p) for _, step in _TIE_BREAKS])):
        by_next_hop.setdefault(path.next_hop, path)
    return tuple(by_next_hop.values())[:max_paths]
