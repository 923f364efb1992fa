"""Sessions as they are offered to their ends, and what becomes of them when two are offered for one address.

Declarations overlap: a Rack and a BGPPeer may name the same switch, a BGPPeer may ask for what the mesh gives anyhow.
An end keeps one session for an address and port: the one of the lowest `Rank`, then the first by the name of its
source. In Calico the order within a rank is that of a hash table; here it is told.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from operator import attrgetter
from typing import NamedTuple

from peering.problems import Problem
from peering.session import Session

End = tuple[str, str]
"""("node" | "switch" | "reflector", its name)."""


class Rank(IntEnum):
    """Who goes first. The order of the middle ones is Calico's (`updatePeersV1`)."""

    RACK = 0
    REFLECTOR = 1
    GLOBAL_PEER = 2
    NODE_PEER = 3
    REVERSE = 4
    MESH = 5


#: What fills gaps gives way in silence: that is its meaning.
_YIELDING = frozenset({Rank.REVERSE, Rank.MESH})


class Offer(NamedTuple):
    """A session that a declaration gives to an end. `near` is the node's end of it, where this is the other one."""

    end: End
    rank: Rank
    session: Session
    near: Session | None = None


class Settled(NamedTuple):
    """The sessions of an end in the order of their names, and those that were dropped."""

    sessions: tuple[Session, ...]
    dropped: tuple[Session, ...] = ()
    problems: tuple[Problem, ...] = ()


def settle(*offers: Offer) -> Settled:
    """One session per peer address, port and interface; names made unique."""
    sessions = [offer.session for offer in offers]
    if len({(s.peer_address, s.peer_port, s.interface) for s in sessions}) == len(sessions):
        return Settled(_named(sessions))
    taken: dict[tuple[str, int, str | None], Session] = {}
    dropped, problems = [], []
    for offer in sorted(offers, key=_precedence):
        session = offer.session
        other = taken.setdefault((session.peer_address, session.peer_port, session.interface), session)
        if other is not session:
            dropped.append(session)
            if other.source != session.source and offer.rank not in _YIELDING:
                problems.append(_dropped(session, other))
    return Settled(_named(taken.values()), tuple(dropped), tuple(problems))


def _precedence(offer: Offer) -> tuple[int, str, str]:
    return offer.rank, offer.session.source, offer.session.name


def _dropped(session: Session, other: Session) -> Problem:
    message = f"the session with {session.peer_address} is already declared by {other.source}, which is used"
    path = "spec.peerIP" if session.source.startswith("BGPPeer/") else "spec"
    return Problem("warning", "duplicate-session", session.source, path, message, "remove one of the two")


def _named(sessions: Iterable[Session]) -> tuple[Session, ...]:
    """In the order of names. Two that would have one name (a switch and a BGPPeer called alike) are told apart."""
    ordered = sorted(sessions, key=attrgetter("name"))
    if len({session.name for session in ordered}) == len(ordered):
        return tuple(ordered)
    names: set[str] = set()
    unique = []
    for session in sorted(ordered, key=attrgetter("name", "source", "peer_address", "peer_port")):
        name, number = session.name, 2
        while name in names:
            name, number = f"{session.name}-{number}", number + 1
        names.add(name)
        unique.append(session if name == session.name else session.renamed(name))
    return tuple(sorted(unique, key=attrgetter("name")))
