"""Both sides of every session of the plan, each with what it says of it.

A side is a node, a switch, a reflector, or somebody outside of the declaration, who says nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from fabric_templates.endpoints import neighbor_key
from fabric_templates.verification.end import End, Ends, Kernel
from peering.session import ListenRange, Plan, Session, SwitchPlan

_KINDS = {"node": "Node", "switch": "Switch", "reflector": "RouteReflector"}
_Key = tuple[str, str, str, str]
_ORDER = {"switch": 0, "node": 1, "reflector": 2}


@dataclass(frozen=True, slots=True)
class Heard:
    """What somebody said of all of its sessions, by their names in the plan.

    `dynamic` are those that the plan has as a listen range, by address. `silence` is why it said nothing.
    """

    ends: Mapping[str, End]
    dynamic: Mapping[str, End] | None = None
    kernel: Kernel | None = None
    silence: str = ""


@dataclass(frozen=True, slots=True)
class Side:
    """One side. `end` is None where it says nothing: with `asked` because it has no such session."""

    ref: str
    session: Session | None
    end: End | None = None
    asked: bool = False
    kernel: Kernel | None = None

    @property
    def kind(self) -> str:
        return self.ref.partition("/")[0]

    @property
    def object(self) -> str:
        """As problems name it."""
        kind, _, name = self.ref.partition("/")
        return f"{_KINDS[kind]}/{name}" if kind in _KINDS else self.ref

    @property
    def path(self) -> str:
        """A switch knows its sessions by the neighbour, a node by their names."""
        if self.session is None:
            return ""
        return f"neighbor {key_of(self.session)}" if self.kind == "switch" else f"session {self.session.name}"

    @property
    def remedy(self) -> str:
        """What makes it what the plan says."""
        name = self.ref.partition("/")[2]
        if self.kind == "switch":
            return f"load the plan into it: underlay diff --switch {name}"
        return "look whether it goes by this plan"

    @property
    def is_missing(self) -> bool:
        return self.asked and self.end is None


@dataclass(frozen=True, slots=True)
class Pair:
    """A session. `one` is the switch where there is one; `shared` has what the plan says both must have."""

    one: Side
    other: Side
    shared: Session

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.one, self.other

    def far(self, side: Side) -> Side:
        return self.other if side is self.one else self.one

    @property
    def told(self) -> tuple[Side, ...]:
        """The sides whose state is known."""
        return tuple(side for side in self.sides if side.end is not None and side.end.state != "Unknown")

    @property
    def is_up(self) -> bool:
        return bool(self.told) and all(side.end.is_up for side in self.told if side.end)


def key_of(session: Session) -> str:
    """As a switch names the neighbour; the plan's own text where that is no address."""
    try:
        return neighbor_key(session)
    except ValueError:
        return session.peer_address


def of_switch(plan: SwitchPlan, read: Ends, kernel: Kernel | None = None) -> Heard:
    """What a switch printed, by the sessions of its plan. Neighbours of others are left out."""
    by_key = {_canonical(key): end for key, end in read.items()}
    named = {session.name: by_key[key_of(session)] for session in plan.sessions if key_of(session) in by_key}
    ours = {key_of(session) for session in plan.sessions}
    dynamic = {key: end for key, end in by_key.items() if key not in ours and _range_of(plan.listen_ranges, key)}
    return Heard(named, dynamic, kernel)


def pairs(plan: Plan, heard: Mapping[str, Heard]) -> Iterator[Pair]:
    """Every session of the plan once, in the order of its sides' names."""
    ends = sorted(_ends(plan), key=lambda e: (_ORDER[e[0].partition("/")[0]], e[0], e[1].name))
    waiting = {_address_key(ref, session): (ref, session) for ref, session in ends}
    for ref, session in ends:
        if waiting.pop(_address_key(ref, session), None) is None:
            continue
        far = waiting.pop(_far_key(ref, session), None) or _rack_mate(ref, session, waiting)
        one = _side(ref, session, heard)
        other = _side(*far, heard) if far else _far_side(plan, session, heard)
        turned = other.kind == "switch" and one.kind != "switch"
        yield Pair(other, one, session) if turned else Pair(one, other, session)


def _ends(plan: Plan) -> Iterator[tuple[str, Session]]:
    for kind, plans in (("switch", plan.switches), ("node", plan.speakers), ("reflector", plan.reflectors)):
        for name, part in plans.items():
            yield from ((f"{kind}/{name}", session) for session in part.sessions)


def _address_key(ref: str, session: Session) -> _Key:
    """An unnumbered session has the interface of either side instead, so it has one of its own."""
    local, peer = session.local_address or "", session.peer_address
    return ref, session.peer, *((local, peer) if peer else ("", session.interface or session.name))


def _far_key(ref: str, session: Session) -> _Key:
    return session.peer, ref, session.peer_address, session.local_address or ""


def _rack_mate(ref: str, session: Session, waiting: dict[_Key, tuple[str, Session]]) -> tuple[str, Session] | None:
    """The other end between two switches, which do not say their own addresses: if there is but one of the family."""
    if session.local_address or not (ref.startswith("switch/") and session.peer.startswith("switch/")):
        return None
    found = [
        key
        for key, (far, other) in waiting.items()
        if (far, other.peer, other.local_address, other.families) == (session.peer, ref, None, session.families)
    ]
    return waiting.pop(found[0]) if len(found) == 1 else None


def _side(ref: str, session: Session, heard: Mapping[str, Heard]) -> Side:
    said = heard.get(ref)
    if said is None or said.silence:
        return Side(ref, session)
    return Side(ref, session, said.ends.get(session.name), asked=True, kernel=said.kernel)


def _far_side(plan: Plan, session: Session, heard: Mapping[str, Heard]) -> Side:
    """Somebody outside, or a switch that has a listen range for the session."""
    kind, _, name = session.peer.partition("/")
    switch = plan.switches.get(name) if kind == "switch" else None
    address = _canonical(session.local_address or "")
    if switch is None or not _range_of(switch.listen_ranges, address):
        return Side(session.peer, None)
    said = heard.get(session.peer) or Heard({})
    mirrored = session.far_end(
        name=address,
        peer="node",
        local_address=session.peer_address,
        local_asn=session.peer_asn,
        peer_address=address,
    )
    return Side(session.peer, mirrored, (said.dynamic or {}).get(address), kernel=said.kernel)


def _range_of(ranges: Iterable[ListenRange], address: str) -> ListenRange | None:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return None
    return next((r for r in ranges if found in ipaddress.ip_network(r.cidr, strict=False)), None)


def _canonical(key: str) -> str:
    try:
        return str(ipaddress.ip_address(key))
    except ValueError:
        return key
