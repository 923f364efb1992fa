"""What ExaBGP was told for each neighbour, and the commands that make it what it should be.

ExaBGP keeps announcements per neighbour and sends them again after a session came back, but not to a
neighbour whose session parameters changed, and not after it was restarted. So whenever a session comes up the
whole set is told again; what it knows already costs nothing on the wire. Then End-of-RIB follows, which lets
a peer that helped with graceful restart drop what we no longer announce (RFC 4724, 4.1): never before.

Neighbours whose session is down are told nothing: unsent routes would block ExaBGP's next reload.

Telling takes time, and ExaBGP speaks meanwhile: a session that comes up again while its replay is under way is
owed another one, so what is owed is taken off the list before the first line and put back when the connection
is lost. `connected` and `forget` start a new record; a run that began before writes to the old one only. A line
that ExaBGP refused leaves open what it announces, so it is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from bgp_speaker.announcements import Announced
from bgp_speaker.exabgp_channel import Disconnected
from bgp_speaker.exabgp_commands import Announcement, difference, end_of_rib_lines, route_refresh_lines
from bgp_speaker.exabgp_driver import ExaBGP
from peering.session import Family, Session


class PeerAnnouncer:
    """One ExaBGP's announcements."""

    def __init__(self) -> None:
        self._told: Announced = {}
        self._unknown = False
        self._replay: set[str] = set()
        self._refresh: set[str] = set()
        self._one_at_a_time = asyncio.Lock()

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
        for peer in self._told.keys() - set(peers):
            del self._told[peer]

    def forget(self) -> None:
        """ExaBGP is gone, and with it all it was told."""
        self._told, self._unknown, self._replay, self._refresh = {}, False, set(), set()

    def counts(self) -> dict[str, int]:
        """How many prefixes each neighbour was told."""
        return {peer: len(told) for peer, told in self._told.items()}

    async def announce(
        self, exabgp: ExaBGP, everything: Announced, sessions: Iterable[Session], up: Iterable[str]
    ) -> list[str]:
        """Makes ExaBGP announce the whole desired set to the neighbours that are up; the lines it refused.

        Raises Disconnected when ExaBGP goes away meanwhile; what was told is then read again or told anew.
        """
        async with self._one_at_a_time:
            await self._ask_if_unknown(exabgp)
            desired = {peer: everything[peer] for peer in up if peer in everything}
            replay, refresh = self._replay & desired.keys(), self._refresh & desired.keys()
            self._replay -= replay
            self._refresh -= refresh
            families: dict[str, Sequence[Family]] = {s.peer_address: s.families for s in sessions}
            try:
                refused = await self._tell(exabgp, desired, replay)
                for peer in sorted(replay):
                    refused += await exabgp.send_all(end_of_rib_lines([peer], families[peer]))
                for peer in sorted(refresh):
                    refused += await exabgp.send_all(route_refresh_lines([peer], families[peer]))
            except Disconnected:
                self._replay |= replay
                self._refresh |= refresh
                raise
            return refused

    async def withdraw_all(self, exabgp: ExaBGP) -> None:
        """Takes back everything that any neighbour was told; the peers have heard it when this returns.

        ExaBGP says `done` when a withdrawal is queued, and loses its queue when it is ended. It answers a
        question a turn of its loop later, and in that turn it sends.
        """
        async with self._one_at_a_time:
            await self._ask_if_unknown(exabgp)
            told = self._told
            await exabgp.send_all(difference({}, told))
            await exabgp.neighbors()
            told.clear()

    async def _tell(self, exabgp: ExaBGP, desired: Announced, replay: set[str]) -> list[str]:
        told = self._told
        refused = await exabgp.send_all(difference(desired, self._actual(desired, replay)))
        told |= desired
        if refused:
            self._unknown = True
            await self._ask_if_unknown(exabgp)
        return refused

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
