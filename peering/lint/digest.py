"""What the checks want to know of a router's sessions, gathered in one walk over them.

A fabric has a hundred thousand sessions and dozens of checks: the sessions are looked at once, the checks look at
digests. A digest is kept as long as its router's plan is the same object. Sets that many routers have alike (the peers
of a rack's nodes) are one object.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar

from peering.addressing import bare
from peering.facts import NodeFacts
from peering.lint.prefix_table import Key, key_of
from peering.session import ReflectorPlan, Session, SpeakerPlan, SwitchPlan

SessionType = Literal["ibgp", "ebgp"]

_KINDS = {"node": "Node", "switch": "Switch", "reflector": "RouteReflector"}

S = TypeVar("S", bound=frozenset[object])


@dataclass(frozen=True, slots=True)
class Ends:
    """The sessions of one router, sorted by what checks ask for.

    `peers` are by family (IPv4, IPv6), as `Session.peer` names them; a stranger is named by its address. `sources` are
    (declaration, type), `filters` likewise. `declared` are the sessions of BGPPeers by peer: somebody else may have
    declared their far end. `fabric` are those with routers that are not ours.
    """

    peers: tuple[frozenset[str], frozenset[str]]
    all_peers: frozenset[str]
    sources: frozenset[tuple[str, SessionType]]
    filters: frozenset[tuple[str, SessionType]]
    declared: Mapping[str, tuple[Session, ...]]
    ebgp: tuple[Session, ...]
    fabric: tuple[Session, ...]
    count: int


@dataclass(frozen=True, slots=True)
class NodeDigest:
    """A node with its sessions. `reflectors` are the RouteReflectors that it is a client of.

    `on_link`: it has sessions with routers that are no other nodes and no reflectors. `addresses` are all of its own,
    `lone` those of them (with their keys) that lie on no link of its rack's switches.
    """

    facts: NodeFacts
    speaker: SpeakerPlan
    ends: Ends
    reflectors: frozenset[str]
    in_mesh: bool
    on_link: bool
    addresses: tuple[str, ...]
    lone: tuple[tuple[str, Key], ...]

    @property
    def ref(self) -> str:
        return f"Node/{self.facts.name}"


@dataclass(frozen=True, slots=True)
class SwitchDigest:
    """A switch with its sessions."""

    name: str
    plan: SwitchPlan
    ends: Ends

    @property
    def ref(self) -> str:
        return f"Switch/{self.name}"


@dataclass(frozen=True, slots=True)
class ReflectorDigest:
    """A reflector with its sessions."""

    name: str
    plan: ReflectorPlan
    ends: Ends

    @property
    def ref(self) -> str:
        return f"RouteReflector/{self.name}"


def node_digest(facts: NodeFacts, speaker: SpeakerPlan) -> NodeDigest:
    sessions = speaker.sessions
    ends = digest(sessions)
    reflectors = frozenset(s.peer for s in sessions if s.type == "ibgp" and s.peer.startswith("reflector/"))
    uplinks = tuple((bare(address), address) for _, address in facts.uplinks)
    from_links = {s.local_address for s in sessions} if facts.rack else set()
    lone = [*facts.loopbacks, *(address for own, address in uplinks if own not in from_links)]
    return NodeDigest(
        facts,
        speaker,
        ends,
        reflectors=_one(reflectors),
        in_mesh=any(source == "mesh" for source, _ in ends.sources),
        on_link=any(not peer.startswith(("node/", "reflector/")) for peer in ends.all_peers),
        addresses=(*facts.loopbacks, *(own for own, _ in uplinks)),
        lone=tuple((address, key_of(address)) for address in lone),
    )


def switch_digest(name: str, plan: SwitchPlan) -> SwitchDigest:
    return SwitchDigest(name, plan, digest(plan.sessions))


def reflector_digest(name: str, plan: ReflectorPlan) -> ReflectorDigest:
    return ReflectorDigest(name, plan, digest(plan.sessions))


def digest(sessions: Sequence[Session]) -> Ends:
    """One walk over the sessions of a router."""
    ipv4, ipv6 = set[str](), set[str]()
    sources: set[tuple[str, SessionType]] = set()
    filters: set[tuple[str, SessionType]] = set()
    declared: dict[str, tuple[Session, ...]] = {}
    ebgp, fabric = [], []
    for session in sessions:
        source, peer = session.source, session.peer
        if peer == "external":
            peer = session.peer_address
            fabric.append(session)
        for family in session.families:
            (ipv4 if family == "ipv4-unicast" else ipv6).add(peer)
        sources.add((source, session.type))
        if "BGPPeer/" in source:
            declared[session.peer] = (*declared.get(session.peer, ()), session)
        if session.import_filters or session.export_filters:
            names = {*session.import_filters, *session.export_filters}
            filters.update((name, session.type) for name in names)
        if session.type == "ebgp":
            ebgp.append(session)
    return Ends(
        peers=(_one(frozenset(ipv4)), _one(frozenset(ipv6))),
        all_peers=_one(frozenset(ipv4 | ipv6)),
        sources=_one(frozenset(sources)),
        filters=_one(frozenset(filters)),
        declared=declared,
        ebgp=tuple(ebgp),
        fabric=tuple(fabric),
        count=len(sessions),
    )


def sessions_of(router: NodeDigest | SwitchDigest | ReflectorDigest) -> tuple[Session, ...]:
    return (router.speaker if isinstance(router, NodeDigest) else router.plan).sessions


def asn_of(router: NodeDigest | SwitchDigest | ReflectorDigest) -> int:
    return (router.speaker if isinstance(router, NodeDigest) else router.plan).asn


def ref_of(peer: str) -> str:
    """`switch/tor-1a` -> `Switch/tor-1a`; an address stays what it is."""
    kind, slash, name = peer.partition("/")
    return f"{_KINDS[kind]}/{name}" if slash and kind in _KINDS else peer


def peer_address(session: Session) -> str:
    """The far end, for messages: its name and address where it has both."""
    return session.peer_address if session.peer == "external" else f"{ref_of(session.peer)} {session.peer_address}"


def owner_of(source: str) -> str:
    """The object that a session's source stands for: the mesh is a field of the configuration."""
    return "BGPConfiguration/default" if source == "mesh" else source.removeprefix("reverse:")


def some_of(refs: Iterable[str]) -> str:
    """`Node/a`, `Node/a and Node/b`, or `Node/a and others`: short, and the same when one more joins."""
    shown = sorted(set(refs))
    return shown[0] if len(shown) == 1 else f"{shown[0]} and {shown[1] if len(shown) == 2 else 'others'}"


def _one(value: S) -> S:
    """The first set that was equal to this one."""
    return _first(value)  # type: ignore[return-value]


@lru_cache(maxsize=16384)
def _first(value: frozenset[object]) -> frozenset[object]:
    return value
