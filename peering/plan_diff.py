"""What a change of the declaration does to the sessions: added, changed and removed, seen from both ends.

`apply` shows it, and the sessions that restart are named as such: a parameter that only changes policy leaves
a session up, one of `_RESTARTS` does not, nor does another router ID (RFC 4271, 4.2: it is in the OPEN). The plan has
passwords by reference only, so who compares tells which of them have another value, or none any more.

A session is the same in both plans when its end gives it the same name or, where it has another name now, when
it speaks to the same address and port: a name is a description to every daemon, and changing it ends nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, fields
from typing import Literal

from peering.session import Plan, ReflectorPlan, SecretKeyRef, Session, SpeakerPlan, SwitchPlan

What = Literal["added", "removed", "changed", "restarts"]
End = SpeakerPlan | ReflectorPlan | SwitchPlan

#: Parameters of the TCP connection and of the OPEN, and those for which FRR resets a session as well.
_RESTARTS = frozenset(
    {
        "type",
        "local_address",
        "local_asn",
        "peer_address",
        "peer_asn",
        "peer_port",
        "interface",
        "passive",
        "password",
        "ttl_security",
        "multihop",
        "hold_time",
        "graceful_restart_time",
        "long_lived_stale_time",
        "add_paths",
        "families",
        "rr_client",
        "cluster_id",
    }
)
_SIGNS: Mapping[What, str] = {"added": "+", "removed": "-", "changed": "~", "restarts": "~"}


@dataclass(frozen=True, slots=True)
class SessionChange:
    """One session of one end, `node/NAME`, `switch/NAME` or `reflector/NAME`; `old` is what it was, if it was."""

    what: What
    end: str
    session: Session
    details: tuple[str, ...] = ()
    old: Session | None = None

    @property
    def sign(self) -> str:
        return _SIGNS[self.what]

    def line(self) -> str:
        """`+ END SESSION: ADDRESS AS <-> ADDRESS AS (what of it changes)`."""
        session = self.session
        local, peer = session.local_address or session.interface or "any", session.peer_address or session.peer
        text = (
            f"{self.sign} {self.end} {session.name}: {local} AS{session.local_asn} <-> {peer} {_as(session.peer_asn)}"
        )
        if self.details:
            text += f" ({'restarts: ' if self.what == 'restarts' else ''}{', '.join(self.details)})"
        return text


def ends(plan: Plan) -> dict[str, End]:
    """Every end by the name that the others' `Session.peer` has for it."""
    return {
        **{f"node/{name}": speaker for name, speaker in plan.speakers.items()},
        **{f"reflector/{name}": reflector for name, reflector in plan.reflectors.items()},
        **{f"switch/{name}": switch for name, switch in plan.switches.items()},
    }


def compare(old: Plan, new: Plan, rekeyed: Set[SecretKeyRef] = frozenset()) -> list[SessionChange]:
    """The changes from `old` to `new`, in the order of ends and sessions. `rekeyed` passwords changed their value."""
    before, after = ends(old), ends(new)
    changes: list[SessionChange] = []
    for end in sorted(before.keys() | after.keys()):
        changes += _changes(end, before.get(end), after.get(end), rekeyed)
    return changes


def _changes(end: str, old: End | None, new: End | None, rekeyed: Set[SecretKeyRef]) -> list[SessionChange]:
    if old == new and not rekeyed:
        return []
    was = {session.name: session for session in old.sessions} if old else {}
    now = {session.name: session for session in new.sessions} if new else {}
    former = _former_names(was, now)
    changes = [
        SessionChange("removed", end, was[name], old=was[name])
        for name in was.keys() - now.keys() - set(former.values())
    ]
    another_id = _another_router_id(old, new)
    for name, session in now.items():
        before = was.get(former.get(name, name))
        if before is None:
            changes.append(SessionChange("added", end, session))
            continue
        because = (*another_id, *_another_password(before, session, rekeyed))
        change = _change(end, before, session, because)
        changes += [change] if change else []
    return sorted(changes, key=lambda c: (c.session.name, c.what))


def _former_names(was: Mapping[str, Session], now: Mapping[str, Session]) -> dict[str, str]:
    """New name -> old name of the sessions that speak to the same peer under another name."""
    gone = {_endpoint(session): name for name, session in was.items() if name not in now}
    return {
        name: gone[_endpoint(session)]
        for name, session in now.items()
        if name not in was and _endpoint(session) in gone
    }


def _endpoint(session: Session) -> tuple[str, int, str | None]:
    """What an end tells its sessions apart by."""
    return session.peer_address, session.peer_port, session.interface


def _change(end: str, old: Session, new: Session, because: tuple[str, ...]) -> SessionChange | None:
    """`because`: what restarts it besides its own parameters."""
    changed = [f.name for f in fields(Session) if getattr(old, f.name) != getattr(new, f.name)]
    if not changed and not because:
        return None
    details = tuple(_detail(name, getattr(old, name), getattr(new, name)) for name in changed)
    restarts = bool(because) or not _RESTARTS.isdisjoint(changed)
    return SessionChange("restarts" if restarts else "changed", end, new, (*because, *details), old)


def _another_router_id(old: End | None, new: End | None) -> tuple[str, ...]:
    if old is None or new is None or old.router_id == new.router_id:
        return ()
    return (f"router ID {old.router_id} -> {new.router_id}",)


def _another_password(old: Session, new: Session, rekeyed: Set[SecretKeyRef]) -> tuple[str, ...]:
    return ("password value changed",) if old.password == new.password and new.password in rekeyed else ()


def _detail(name: str, old: object, new: object) -> str:
    if name == "password":
        return "password " + ("removed" if new is None else "set" if old is None else "reference changed")
    return f"{name.replace('_', ' ')} {_text(old)} -> {_text(new)}"


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(getattr(value, "profile", value))


def _as(asn: int) -> str:
    return f"AS{asn}" if asn else "any other AS"
