"""The node's routing information base: events of sessions in, the wanted kernel routes out. Pure.

    PeerState, PeerOpen, Update, EndOfRib, RouteRefresh ─► LearnedRoutes ─► RouteSelection ─► routes()
                                                                            ImportDecision ─┘

Time is an argument (seconds of a monotonic clock) and the next deadline a return value. The rules of graceful
restart (RFC 4724, 4.2) for the receiving side live here, because ExaBGP does nothing of them:

- a session that ends without a NOTIFICATION, with a peer that said it keeps forwarding (F bit), leaves its
  paths as stale for the restart time the peer gave, at most `_LONGEST_STALE_S`;
- any other end takes the peer's paths away at once, so that traffic moves to the other switch;
- the death of our own ExaBGP changes nothing in the fabric: all paths stay, stale, for our restart time;
- stale paths go when the peer has sent everything again.

ExaBGP also says "down" of attempts that never became a session (the peer closed the connection, or a connection of the
peer's took the place of ours): while a session is down already, that changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from bgp_speaker.exabgp_attributes import Attributes
from bgp_speaker.exabgp_events import EndOfRib, Event, PeerOpen, PeerState, RouteRefresh, Update
from bgp_speaker.import_decision import DEFAULT_LOCAL_PREFERENCE, ImportDecision, InterfaceOf
from bgp_speaker.import_policy import ImportPolicy
from bgp_speaker.kernel_route import KernelRoute
from bgp_speaker.learned_routes import LearnedPath, LearnedRoutes, Nlri
from bgp_speaker.prefix_limits import Usage, usages
from bgp_speaker.route_selection import Connected, RouteSelection
from peering.bestpath import ORIGINS, Path
from peering.prefixes import Address, Prefix, format_address, pack_address, pack_prefix
from peering.resources.bgp_filter import BGPFilterSpec
from peering.session import Family, Session

_LONGEST_STALE_S = 300.0


def _unknown(_: Address) -> None:
    """No interface is known."""


class Rib:
    """Paths of all peers of the plan, and what follows from them."""

    def __init__(self) -> None:
        self._learned = LearnedRoutes()
        self._selection = RouteSelection()
        self._decision = ImportDecision(ImportPolicy(own_asn=0, accept=()))
        self._crowded: frozenset[tuple[Address, bool]] = frozenset()
        self._sessions: dict[str, Session] = {}
        self._via: dict[Address, Address] = {}
        self._opens: dict[str, PeerOpen] = {}
        self._restarting: set[str] = set()
        self._down: set[str] = set()
        self._router_id = ""

    def configure(
        self,
        sessions: Sequence[Session],
        policy: ImportPolicy,
        router_id: str,
        filters: Mapping[str, BGPFilterSpec] | None = None,
    ) -> None:
        """The sessions (those that ExaBGP has), the import policy and the BGPFilters are these now.

        Peers that are no longer among them are dropped; what the others said is looked at anew.
        """
        self._sessions = {session.peer_address: session for session in sessions}
        self._decision = ImportDecision(policy, sessions, filters)
        self._router_id = router_id
        self._via = {pack_address(s.peer_address): pack_address(s.reachable_by) for s in sessions if s.reachable_by}
        self._down &= self._sessions.keys()
        wanted = {pack_address(address) for address in self._sessions}
        for peer in self._learned.peers():
            if peer not in wanted:
                self._learned.drop(peer)
        self._learned.touch_all()

    def known(self, up: Iterable[str], now: float) -> None:
        """These sessions are up and no other: what was missed of the others is made up for."""
        self._down -= set(up)
        for peer in self._sessions.keys() - set(up) - self._down:
            self._session_down(peer, "", now)

    def handle(self, event: Event, now: float) -> None:
        """Takes in one event; those that do not concern routes are ignored."""
        match event:
            case Update():
                self._update(event)
            case PeerOpen(peer=peer):
                self._opens[peer] = event
            case PeerState(peer=peer, state="down", reason=reason):
                self._session_down(peer, reason, now)
            case PeerState(peer=peer, state="up"):
                self._up(peer)
            case EndOfRib(peer=peer, family=family) | RouteRefresh(peer=peer, family=family, subtype="end"):
                self._learned.sweep(pack_address(peer), family == "ipv6-unicast")
            case RouteRefresh(peer=peer, family=family, subtype="begin"):
                # RFC 7313, 4: what is not sent again until the end of the refresh is gone.
                self._learned.mark_stale(pack_address(peer), now + _LONGEST_STALE_S, family == "ipv6-unicast")
            case _:
                pass

    def exabgp_died(self, now: float) -> None:
        """No session is left, but nothing in the fabric has changed: keep everything for our restart time."""
        self._restarting.clear()
        self._down = set(self._sessions)
        for peer in self._learned.peers():
            session = self._by_packed(peer)
            self._learned.mark_stale(peer, now + (session.graceful_restart_time if session else 0))

    def expire(self, now: float) -> bool:
        """Drops what has been stale for too long; True when there was any."""
        return bool(self._learned.expire(now))

    def next_deadline(self) -> float | None:
        return self._learned.next_deadline()

    def routes(
        self, connected: Connected, sources: Sequence[Address], interface_of: InterfaceOf = _unknown
    ) -> dict[Prefix, KernelRoute]:
        """The whole set of kernel routes that is wanted now."""
        self._note_crowded()
        if self._decision.looks_at_interfaces:
            self._learned.touch_all()
        decision, crowded, interface = self._decision, self._crowded, cache(interface_of)
        self._selection.select(
            self._learned,
            self._learned.take_dirty(),
            lambda prefix, peer, told: decision.judge(prefix, peer, told, crowded, interface),
        )
        return self._selection.routes(connected, sources, self._via)

    def usages(self) -> list[Usage]:
        """How full the sessions with maxPrefixes are."""
        return list(usages(self._sessions.values(), self._learned.count))

    def _note_crowded(self) -> None:
        crowded = frozenset((u.peer, u.family == "ipv6-unicast") for u in self.usages() if u.over)
        for peer, family_is_ipv6 in crowded ^ self._crowded:
            self._learned.touch(peer, family_is_ipv6)
        self._crowded = crowded

    def received(self, peer: str) -> int:
        """How many paths the peer has announced."""
        return self._learned.count(pack_address(peer)) if peer in self._sessions else 0

    def refused(self) -> Mapping[Address, int]:
        """How many paths of each peer were refused."""
        return self._selection.refused_by_peer()

    def why_refused(self, prefix: str) -> dict[str, str]:
        """Peer -> why its path to the prefix is not used, for those that were refused."""
        return {format_address(r.peer): r.reason for r in self._selection.refusals(pack_prefix(prefix))}

    def _update(self, event: Update) -> None:
        peer = pack_address(event.peer)
        session = self._sessions.get(event.peer)
        if session is None:
            return
        if event.withdrawn:
            self._learned.withdraw(peer, [(prefix, identifier) for _, prefix, identifier in event.withdrawn])
        if event.attributes is None:
            return
        for next_hop, nlris in _by_next_hop(event).items():
            if event.attributes.originator_id == self._router_id:
                self._learned.withdraw(peer, nlris)  # RFC 4456, 8: our own route, reflected back
            else:
                path = self._path(session, peer, next_hop, event.attributes)
                self._learned.announce(peer, nlris, LearnedPath(path, event.attributes))

    def _path(self, session: Session, peer: Address, next_hop: Address, a: Attributes) -> Path:
        known = self._opens.get(session.peer_address)
        router_id = a.originator_id or (known.router_id if known else "0.0.0.0")
        preference = DEFAULT_LOCAL_PREFERENCE if a.local_preference is None else a.local_preference
        return Path(
            peer=peer,
            next_hop=next_hop,
            ebgp=session.type == "ebgp",
            as_path=a.as_path,
            as_path_length=a.as_path_length,
            local_preference=preference,
            origin=ORIGINS.get(a.origin, ORIGINS["incomplete"]),
            med=a.med or 0,
            router_id=int.from_bytes(pack_address(router_id)),
            cluster_list_length=len(a.cluster_list),
        )

    def _session_down(self, peer: str, reason: str, now: float) -> None:
        packed = pack_address(peer)
        opened = self._opens.pop(peer, None)
        if peer in self._down:
            return
        self._down.add(peer)
        restart = opened.graceful_restart if opened else None
        if restart is None or not restart.forwarding or "notification" in reason:
            self._learned.drop(packed)
            return
        self._restarting.add(peer)
        kept = {family == "ipv6-unicast" for family in restart.forwarding}
        for family_is_ipv6 in (False, True):
            self._learned.mark_stale(packed, now + min(restart.time, _LONGEST_STALE_S), family_is_ipv6)
            if family_is_ipv6 not in kept:
                self._learned.sweep(packed, family_is_ipv6)

    def _up(self, peer: str) -> None:
        """RFC 4724, 4.2: families the restarted peer did not keep, or does not carry, lose their stale paths.

        Only for a peer whose own restart we wait for. After the death of our ExaBGP it is we who restarted: the
        peer may still say that it has (FRR does for its restart time after every start), and keeps forwarding.
        """
        self._down.discard(peer)
        if peer not in self._restarting:
            return
        self._restarting.discard(peer)
        opened = self._opens.get(peer)
        restart = opened.graceful_restart if opened else None
        kept: set[Family] = set(restart.forwarding) if restart else set()
        for family in ("ipv4-unicast", "ipv6-unicast"):
            if family not in kept:
                self._learned.sweep(pack_address(peer), family == "ipv6-unicast")

    def _by_packed(self, peer: Address) -> Session | None:
        return next((s for a, s in self._sessions.items() if pack_address(a) == peer), None)


def _by_next_hop(event: Update) -> dict[Address, list[Nlri]]:
    """The prefixes by next hop. With two of them, global and link-local (RFC 2545, 3), the global one counts:
    it says by itself which link it is on."""
    next_hops: dict[Nlri, Address] = {}
    for _, prefix, next_hop, identifier in event.announced:
        nlri = (prefix, identifier)
        if nlri not in next_hops or _is_link_local(next_hops[nlri]):
            next_hops[nlri] = next_hop
    grouped: dict[Address, list[Nlri]] = {}
    for nlri, next_hop in next_hops.items():
        grouped.setdefault(next_hop, []).append(nlri)
    return grouped


def _is_link_local(address: Address) -> bool:
    """fe80::/10."""
    return len(address) == 16 and address[0] == 0xFE and address[1] & 0xC0 == 0x80
