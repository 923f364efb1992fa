"""What ExaBGP was told for each neighbour, and the commands that make it what it should be.

ExaBGP keeps announcements per neighbour and sends them again after a session came back, but not to a
neighbour whose session parameters changed, and not after it was restarted. So whenever a session comes up the
whole set is told again; what it knows already costs nothing on the wire. Then End-of-RIB follows, which lets
a peer that helped with graceful restart drop what we no longer announce (RFC 4724, 4.1): never before.

Neighbours whose session is down are told nothing: unsent routes would block ExaBGP's next reload.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bgp_speaker.announcements import Announced, desired_announcements
from bgp_speaker.exabgp_commands import Announcement, difference, end_of_rib_lines, route_refresh_lines
from bgp_speaker.exabgp_driver import ExaBGP
from peering.session import Family, SpeakerPlan


class PeerAnnouncer:
    """One ExaBGP's announcements."""

    def __init__(self) -> None:
        self._told: Announced = {}
        self._unknown = False
        self._replay: set[str] = set()
        self._refresh: set[str] = set()

    def connected(self, *, fresh: bool, up: Sequence[str]) -> None:
        """ExaBGP is there: a `fresh` one announces nothing, another one has to be asked."""
        self._told = {}
        self._unknown = not fresh
        self._replay = set(up)
        self._refresh = set(up)

    def refresh(self, peers: Iterable[str]) -> None:
        """The peers are to send all their routes again (RFC 2918): something they sent may have been missed."""
        self._refresh.update(peers)

    def peer_up(self, peer: str) -> None:
        """The session came up: the peer is to hear everything, and the end of it."""
        self._replay.add(peer)

    def keep_only(self, peers: Iterable[str]) -> None:
        """Forgets neighbours that ExaBGP no longer has."""
        wanted = set(peers)
        self._told = {peer: told for peer, told in self._told.items() if peer in wanted}

    def forget(self) -> None:
        """ExaBGP is gone, and with it all it was told."""
        self._told, self._unknown, self._replay, self._refresh = {}, False, set(), set()

    def counts(self) -> dict[str, int]:
        """How many prefixes each neighbour was told."""
        return {peer: len(told) for peer, told in self._told.items()}

    async def announce(self, exabgp: ExaBGP, plan: SpeakerPlan, blocks: Sequence[str], up: Iterable[str]) -> list[str]:
        """Makes ExaBGP announce the whole desired set to the neighbours that are up; the lines it refused.

        Raises Disconnected when ExaBGP goes away meanwhile; what was told is then read again or told anew.
        """
        await self._ask_if_unknown(exabgp)
        everything = desired_announcements(plan, blocks)
        desired = {peer: everything[peer] for peer in up if peer in everything}
        replay, refresh = self._replay & desired.keys(), self._refresh & desired.keys()
        refused = await exabgp.send_all(difference(desired, self._actual(desired, replay)))
        self._told |= desired
        families: dict[str, Sequence[Family]] = {s.peer_address: s.families for s in plan.sessions}
        for peer in sorted(replay):
            refused += await exabgp.send_all(end_of_rib_lines([peer], families[peer]))
        for peer in sorted(refresh):
            refused += await exabgp.send_all(route_refresh_lines([peer], families[peer]))
        self._replay -= replay
        self._refresh -= refresh
        return refused

    async def withdraw_all(self, exabgp: ExaBGP) -> None:
        """Takes back everything that any neighbour was told."""
        await self._ask_if_unknown(exabgp)
        await exabgp.send_all(difference({}, self._told))
        self._told = {}

    async def _ask_if_unknown(self, exabgp: ExaBGP) -> None:
        if self._unknown:
            found = await exabgp.announced()
            self._told = {peer: {p: Announcement(p) for p in prefixes} for peer, prefixes in found.items()}
            self._unknown = False

    def _actual(self, desired: Announced, replay: set[str]) -> Announced:
        """What the neighbours were told; of those to be told again only what has to be withdrawn."""
        actual = {}
        for peer, wanted in desired.items():
            told = self._told.get(peer, {})
            actual[peer] = {p: a for p, a in told.items() if p not in wanted} if peer in replay else told
        return actual
