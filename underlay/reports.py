"""What the speakers' reports say about now, and what is missing of them. Pure; times are Unix times in seconds.

A speaker renews its report every `RENEWAL_S`. Who has missed three of them is overdue: what it said last is no
longer known to be true, so its sessions are `Unknown`. A node that the plan gives sessions and that nobody has
ever reported on has no speaker. Reflectors do not report: a session of one has the state that the node at its
other end reports, and is `Declared` where no node is at the other end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from peering.resources.observed import RENEWAL_S, BGPNodeStatusSpec
from peering.session import Plan, Session


class FarEnd(Protocol):
    """A row of a table of sessions: who is at the far end, and at which address."""

    @property
    def peer(self) -> str: ...

    @property
    def peer_address(self) -> str: ...


R = TypeVar("R", bound=FarEnd)

OVERDUE_S = 3 * RENEWAL_S


@dataclass(frozen=True, slots=True)
class ReflectorSession:
    """A session of a reflector, with what its other end reports of it."""

    reflector: str
    session: Session
    state: str
    since: float = 0.0
    reason: str = ""


def overdue(status: BGPNodeStatusSpec, now: float) -> str | None:
    """What to say of a report that was not renewed."""
    age = now - status.reported
    return None if age < OVERDUE_S else f"no report for {duration(age)}: no speaker runs on the node"


def current(status: BGPNodeStatusSpec, now: float) -> BGPNodeStatusSpec:
    """The status as far as it is known now."""
    reason = overdue(status, now)
    if reason is None:
        return status
    sessions = tuple(s.model_copy(update={"state": "Unknown", "reason": reason}) for s in status.sessions)
    return status.model_copy(update={"sessions": sessions, "problems": (*status.problems, reason)})


def never_reported(plan: Plan, reported: Iterable[str]) -> list[str]:
    """The nodes that have sessions and no report. Where a node is a reflector (Calico's way), no speaker need run."""
    known = set(reported)
    return sorted(n for n, s in plan.speakers.items() if s.sessions and s.cluster_id is None and n not in known)


def reflector_sessions(plan: Plan, statuses: Mapping[str, BGPNodeStatusSpec]) -> Iterator[ReflectorSession]:
    """Every session of every reflector."""
    for name, reflector in sorted(plan.reflectors.items()):
        for session in reflector.sessions:
            kind, _, far_end = session.peer.partition("/")
            status = statuses.get(far_end) if kind == "node" else None
            row = facing(f"reflector/{name}", session, status.sessions) if status else None
            if row is None:
                yield ReflectorSession(name, session, "Declared")
            else:
                yield ReflectorSession(name, session, row.state, row.since, row.reason)


def duration(seconds: float) -> str:
    """`1h02m` or `2m03s`."""
    hours, rest = divmod(max(0, int(seconds)), 3600)
    return f"{hours}h{rest // 60:02}m" if hours else f"{rest // 60}m{rest % 60:02}s"


def facing(end: str, session: Session, rows: Iterable[R]) -> R | None:
    """The other end's row of the session; `end` is who the session belongs to, as `reflector/rr-1`."""
    mine = (session.local_address, ":" in session.peer_address)
    return next((r for r in rows if r.peer == end and (r.peer_address, ":" in r.peer_address) == mine), None)
