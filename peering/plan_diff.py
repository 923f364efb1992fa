"""What a change of the declaration does to the sessions: added, changed and removed, seen from both ends.

`apply` prints it before it writes anything, and the sessions that restart are named as such: a parameter
that only changes policy leaves a session up, one of `_RESTARTS` does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from peering.delta import delta
from peering.session import Plan, Session

#: Parameters that both ends agree on when a session opens, so that changing them restarts it.
_RESTARTS = frozenset(
    {
        "type",
        "local_address",
        "local_asn",
        "peer_address",
        "peer_asn",
        "peer_port",
        "password",
        "ttl_security",
        "multihop",
        "hold_time",
        "keepalive_time",
        "graceful_restart_time",
        "long_lived_stale_time",
        "add_paths",
        "families",
    }
)

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class SessionChange:
    """One session of one end. `what` is `added`, `removed`, `changed` or `restarts`."""

    what: str
    end: str
    session: Session
    details: tuple[str, ...] = ()

    def line(self) -> str:
        sign = {"added": "+", "removed": "-"}.get(self.what, "~")
        session = self.session
        who = f"{self.end} {session.name}: {session.local_address or 'any'} AS{session.local_asn}"
        text = f"{sign} {who} <-> {session.peer_address} AS{session.peer_asn}"
        if self.details:
            text += f" ({'restarts: ' if self.what == 'restarts' else ''}{', '.join(self.details)})"
        return text


def compare(old: Plan, new: Plan) -> list[SessionChange]:
    """The changes from `old` to `new`, in the order of ends and sessions."""
    difference = delta(dict(_sessions(new)), before := dict(_sessions(old)))
    changes = [SessionChange("added", key[0], session) for key, session in difference.added.items()]
    changes += [SessionChange("removed", key[0], session) for key, session in difference.removed.items()]
    for key, session in difference.changed.items():
        details, restarts = _details(before[key], session)
        changes.append(SessionChange("restarts" if restarts else "changed", key[0], session, details))
    return sorted(changes, key=lambda c: (c.end, c.session.name, c.what))


def _sessions(plan: Plan) -> Iterator[tuple[Key, Session]]:
    for name, speaker in plan.speakers.items():
        yield from (((f"node/{name}", s.name), s) for s in speaker.sessions)
    for name, switch in plan.switches.items():
        yield from (((f"switch/{name}", s.name), s) for s in switch.sessions)


def _details(old: Session, new: Session) -> tuple[tuple[str, ...], bool]:
    changed = [f.name for f in fields(Session) if getattr(old, f.name) != getattr(new, f.name)]
    shown = []
    for name in changed:
        before, after = getattr(old, name), getattr(new, name)
        if name == "password":
            shown.append(
                "password set"
                if after and not before
                else "password removed"
                if before and not after
                else "password reference changed"
            )
        else:
            shown.append(f"{name.replace('_', ' ')} {_text(before)} -> {_text(after)}")
    return tuple(shown), bool(_RESTARTS.intersection(changed))


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
