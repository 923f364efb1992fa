"""The state of every session as ExaBGP reports it, kept for status and for deciding whom to talk to. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from peering.resources.observed import PeerStatus
from peering.session import Session


@dataclass(slots=True)
class _State:
    up: bool
    since: float
    reason: str = ""


class SessionTable:
    """Up or down, since when (Unix seconds), and why; by peer address."""

    def __init__(self) -> None:
        self._states: dict[str, _State] = {}

    def set_state(self, peer: str, up: bool, reason: str, now: float) -> bool:
        """Notes what ExaBGP says; True when the session went up or down just now."""
        state = self._states.get(peer)
        if state is None:
            self._states[peer] = _State(up, now, reason)
            return up
        changed = state.up is not up
        if changed:
            state.since = now
        state.up, state.reason = up, reason
        return changed

    def all_down(self, reason: str, now: float) -> None:
        """ExaBGP is gone, and every session with it."""
        for peer in self._states:
            self.set_state(peer, False, reason, now)

    def keep_only(self, peers: Iterable[str]) -> None:
        """Forgets sessions that are no longer in the plan."""
        wanted = set(peers)
        self._states = {peer: state for peer, state in self._states.items() if peer in wanted}

    def up(self) -> list[str]:
        """The peers with an established session."""
        return [peer for peer, state in self._states.items() if state.up]

    def status(
        self,
        sessions: Iterable[Session],
        omitted: Mapping[str, str],
        received: Mapping[str, int],
        refused: Mapping[str, int],
        announced: Mapping[str, int],
        notes: Mapping[str, str] | None = None,
    ) -> tuple[PeerStatus, ...]:
        """One row per session of the plan; the counts are by peer address, `omitted` and `notes` by session name."""
        told = notes or {}
        return tuple(
            self._row(s, omitted.get(s.name), told.get(s.name, ""), received, refused, announced) for s in sessions
        )

    def _row(
        self,
        session: Session,
        why_omitted: str | None,
        note: str,
        received: Mapping[str, int],
        refused: Mapping[str, int],
        announced: Mapping[str, int],
    ) -> PeerStatus:
        peer = session.peer_address
        state = self._states.get(peer) or _State(False, 0.0, "never came up")
        up = state.up and why_omitted is None
        # A session that was left out may share its address with one that was not: the routes are that one's.
        heard = received.get(peer, 0) if why_omitted is None else 0
        reason = "" if up else state.reason
        return PeerStatus(
            session=session.name,
            peer=session.peer,
            local_address=session.local_address,
            peer_address=peer,
            peer_asn=session.peer_asn,
            state="Established" if up else "Idle",
            since=state.since,
            reason=why_omitted or "; ".join(filter(None, (reason, note))),
            received=heard,
            accepted=heard - refused.get(peer, 0) if heard else 0,
            announced=announced.get(peer, 0) if up else 0,
        )
