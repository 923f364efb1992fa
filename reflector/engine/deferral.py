"""After a restart of our own: how long nothing is told to anybody (RFC 4724, 4.1, the Selection_Deferral_Timer). Pure.

Peers keep what we told them before, until our End-of-RIB. So that comes when everybody has said what it knows: every
named peer and every one that was up before is up, every peer that is up and can mark the end of its routes has done so,
and nobody new came in for a moment (the list of those that were up may be some seconds old). One that has itself just
restarted waits for us, so we do not wait for it. At the latest after `LONGEST`: who is not back by then is not waited
for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from math import inf

from reflector.engine.peer import PeerState

#: Seconds; well below the restart time that peers usually keep routes for (120).
LONGEST = 45.0
#: Seconds without a new session.
QUIET = 3.0


class Deferral:
    """Asked whenever there is something to tell. `were_up` are addresses of those that had a session before."""

    def __init__(self, restarting: bool, were_up: Collection[bytes] = ()) -> None:
        self._active = restarting
        self._were_up = frozenset(were_up)
        self._started: float | None = None
        self._last_up = -inf

    def peer_up(self, state: PeerState, now: float) -> None:
        self._last_up = now

    def holds(self, peers: Iterable[PeerState], named: Collection[bytes], now: float) -> bool:
        """Whether nothing must be told yet. Once it does not hold it never does again."""
        if not self._active:
            return False
        if self._started is None:
            self._started = now
        self._active = now < self._started + LONGEST and not self._all_said(list(peers), named, now)
        return self._active

    def _all_said(self, peers: list[PeerState], named: Collection[bytes], now: float) -> bool:
        up = {peer.source.address: peer for peer in peers if peer.up}
        return (
            bool(up)
            and now >= self._last_up + QUIET
            and all(address in up for address in named)
            and self._were_up <= up.keys()
            and not any(peer.awaited and not _restarting(peer) for peer in up.values())
        )


def _restarting(peer: PeerState) -> bool:
    """Whether it set the R bit."""
    restart = peer.negotiated.graceful_restart if peer.negotiated else None
    return restart is not None and restart.restarting
