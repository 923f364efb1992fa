"""How many sessions a change ends, each counted once, and whether that is more than the admin lets pass.

One wrong label can leave a selector without a node, and every session with it: a legal declaration that is an
outage. So `apply` counts before it writes. A session that restarts is down for a while and counts as much as one
that is gone; the two are told apart. The two ends of a session count as one where both are in the plan; a peer
outside of it has no end here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from peering.plan_diff import SessionChange, What, compare, ends
from peering.problems import Problem
from peering.session import Plan, Session

#: An end of a session: (`node/NAME`, the session's name there).
EndName = tuple[str, str]
#: The worst that happens to either end happens to the session.
_WORST: tuple[What, ...] = ("removed", "restarts", "changed")


@dataclass(frozen=True, slots=True)
class Tally:
    """Sessions by what a change does to them; `before` is how many there were."""

    before: int
    added: int = 0
    changed: int = 0
    restarts: int = 0
    removed: int = 0

    @property
    def lost(self) -> int:
        """Those that go down, for a while or for good."""
        return self.restarts + self.removed

    @property
    def percent(self) -> float:
        """The share of the sessions that go down, 0 to 100."""
        return 100 * self.lost / self.before if self.before else 0.0

    def line(self) -> str:
        counts = f"{self.added} added, {self.changed} changed, {self.restarts} restart, {self.removed} removed"
        return f"sessions: {counts} of {self.before}"


def tally(old: Plan, new: Plan, changes: Iterable[SessionChange] | None = None) -> Tally:
    """The count from `old` to `new`; `changes` is what `compare` says of the two, where that is known already."""
    happens: dict[EndName, What] = {}
    for change in compare(old, new) if changes is None else changes:
        happens[(change.end, (change.old or change.session).name)] = change.what
    before = list(sessions_by_ends(old))
    fates = Counter(_fate(session, happens) for session in before)
    added = sum(all(happens.get(end) == "added" for end in session) for session in sessions_by_ends(new))
    return Tally(len(before), added, fates["changed"], fates["restarts"], fates["removed"])


def loss_problem(counted: Tally, max_percent: float) -> Problem | None:
    """The error, when more than `max_percent` of the sessions that there were go down."""
    if counted.percent <= max_percent:
        return None
    share = math.ceil(counted.percent * 10) / 10
    message = (
        f"{counted.lost} of {counted.before} sessions would go down ({share:g} %): "
        f"{counted.removed} removed, {counted.restarts} restarted; the limit is {max_percent:g} %"
    )
    way = "look at selectors and labels, or go in steps" if counted.removed else "go in steps"
    hint = f"{way}; if it is meant: --max-loss {math.ceil(counted.percent)}, or --force"
    return Problem("error", "session-loss", "plan", "", message, hint)


def sessions_by_ends(plan: Plan) -> Iterator[tuple[EndName, ...]]:
    """Every session of the plan once, as the one or two ends that it has there."""
    waiting: dict[tuple[str, str], list[Session]] = {}
    everyone = ends(plan)
    for end in sorted(everyone):
        for session in everyone[end].sessions:
            facing = waiting.get((session.peer, end), [])
            other = next((s for s in facing if _face_each_other(s, session)), None)
            if other is not None:
                facing.remove(other)
                yield (session.peer, other.name), (end, session.name)
            else:
                waiting.setdefault((end, session.peer), []).append(session)
    for (end, _), alone in waiting.items():
        yield from (((end, session.name),) for session in alone)


def _face_each_other(one: Session, other: Session) -> bool:
    """Each dials the other's address; an address that is left to the kernel may be any of the family."""
    if (":" in one.peer_address) is not (":" in other.peer_address):
        return False
    return one.peer_address == (other.local_address or one.peer_address) and other.peer_address == (
        one.local_address or other.peer_address
    )


def _fate(session: tuple[EndName, ...], happens: dict[EndName, What]) -> What | None:
    found = {happens.get(end) for end in session}
    return next((what for what in _WORST if what in found), None)
