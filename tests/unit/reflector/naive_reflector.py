"""A reflector as RFC 4456 describes it, and nothing else: no log, no groups, no bytes, no order of events.

It keeps what every peer says, and works everything out anew whenever it is asked. Several of them that are peers of
each other are asked in turn until their answers stay the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from peering.bestpath import Path as Candidate
from peering.bestpath import choose
from reflector.rib.route import Kind
from reflector.wire.communities import LLGR_STALE, NO_ADVERTISE, NO_EXPORT
from reflector.wire.families import Family
from tests.unit.reflector.engine_world import ASN, Path, address_in

Place = tuple[Family, bytes]


@dataclass(eq=False)
class NaivePeer:
    """Somebody, as one reflector sees it. `speaks` is another reflector's peer that is this one's other end."""

    kind: Kind
    address: bytes
    router_id: bytes
    asn: int = ASN
    said: dict[Place, Path] = field(default_factory=dict)
    up: bool = True


@dataclass(eq=False)
class NaiveReflector:
    """192.0.2.`number`, with its peers."""

    number: int
    router_id: bytes
    cluster_id: bytes
    peers: list[NaivePeer] = field(default_factory=list)

    def refuses(self, peer: NaivePeer, path: Path) -> bool:
        """Loops (RFC 4271, 9.1.2; RFC 4456, 8), and paths that do not begin where they come from."""
        if ASN in path.as_path:
            return True
        if peer.kind == "ebgp":
            return path.as_path[:1] != (peer.asn,)
        return path.originator == self.router_id or self.cluster_id in path.clusters

    def best(self, place: Place) -> tuple[NaivePeer, Path] | None:
        """The best path, and who says it."""
        found = {}
        for peer in self.peers:
            path = peer.said.get(place)
            if path is not None and not self.refuses(peer, path):
                found[_candidate(peer, path)] = (peer, path)
        choice = choose(found)
        return found[choice.best] if choice else None

    def tells(self, peer: NaivePeer) -> dict[Place, Path]:
        """All that a peer knows from here."""
        table = {}
        for place in {place for one in self.peers for place in one.said}:
            best = self.best(place)
            told = self._told(peer, place[0], *best) if best else None
            if told is not None:
                table[place] = told
        return table

    def _told(self, to: NaivePeer, family: Family, source: NaivePeer, path: Path) -> Path | None:
        if source is to or NO_ADVERTISE in path.communities or LLGR_STALE in path.communities:
            return None
        if to.kind == "ebgp":
            return None if NO_EXPORT in path.communities else self._to_another_as(family, path)
        if source.kind == to.kind == "non-client":
            return None
        path = path._replace(local_pref=100 if path.local_pref is None else path.local_pref)
        if source.kind == "ebgp":
            return path
        return path._replace(originator=path.originator or source.router_id, clusters=(self.cluster_id, *path.clusters))

    def _to_another_as(self, family: Family, path: Path) -> Path:
        return path._replace(
            next_hop=address_in(family, self.number),
            as_path=(ASN, *path.as_path),
            local_pref=None,
            med=None if path.as_path else path.med,
            originator=None,
            clusters=(),
        )


def agree(reflectors: Iterable[NaiveReflector], joined: Mapping[NaivePeer, tuple[NaiveReflector, NaivePeer]]) -> None:
    """Lets reflectors hear each other until nothing changes. `joined`: a peer -> who it is, and the peer we are there.

    From nothing, so that what is withdrawn is gone.
    """
    for peer in joined:
        peer.said.clear()
    for _ in range(20):
        heard = {peer: other.tells(us) if peer.up else {} for peer, (other, us) in joined.items()}
        if all(peer.said == table for peer, table in heard.items()):
            return
        for peer, table in heard.items():
            peer.said = table
    raise AssertionError("they never agree")


def _candidate(peer: NaivePeer, path: Path) -> Candidate:
    return Candidate(
        peer=peer.address,
        next_hop=path.next_hop,
        ebgp=peer.kind == "ebgp",
        as_path=path.as_path,
        as_path_length=len(path.as_path),
        local_preference=100 if path.local_pref is None else path.local_pref,
        origin=path.origin,
        med=path.med or 0,
        router_id=int.from_bytes(path.originator or peer.router_id, "big"),
        cluster_list_length=len(path.clusters),
        stale=LLGR_STALE in path.communities,
    )
