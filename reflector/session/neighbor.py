"""Neighbor: the sessions of one peer. Sans-IO.

RFC 4271, 8.2.1 has a machine for each connection, and so have we: usually one, two while both ends dial at once or a
peer comes in by a new connection before the loss of the old one was noticed. A machine lives for one connection. This
is what starts the next one, lets two of them meet (collision.py), and stops them.

    stopped ── start ──► running: there is always a session; the last to end is followed by one that waits in Active,
                         dials again after the back-off (unless passive) and takes what comes in at any time
            ◄── stop ──  sessions end, connections are refused; with `restart_after` it starts by itself again

What the user does: a `ConnectWanted` of a session is answered by dialing for that session; a connection that came in is
given to `accept`. After every call here, and after every event of a session but those of its routes, it services
`take_ended()` first and `sessions` next: their events, their bytes; sockets of ended ones are closed. In this order a
session that was replaced is seen to end before the one that replaces it comes up.
"""

from __future__ import annotations

from math import inf

from reflector.session.collision import Contender, Identity, newer_stays
from reflector.session.machine import Session
from reflector.session.settings import SessionSettings
from reflector.session.states import ACTIVE, ESTABLISHED, OPEN_CONFIRM, OPEN_SENT, State
from reflector.session.timers import Random, no_jitter
from reflector.wire.errors import Cease, ErrorCode
from reflector.wire.framing import NOTIFICATION, encode_message
from reflector.wire.notification import Notification, shutdown

#: What to send on a connection that nobody is there for, before it is closed (RFC 4486, 4).
CONNECTION_REJECTED = encode_message(NOTIFICATION, Notification(ErrorCode.CEASE, Cease.CONNECTION_REJECTED).encode())

#: How long a session must have been up, in seconds, for a new connection to mean that the peer has restarted. Before
#: that it is the late twin of a connection that both ends opened at once.
SETTLED = 10.0

_PROGRESS = list(State)


class Neighbor:
    """`restarting`: we have restarted ourselves, and say so (RFC 4724) until the first session is up."""

    __slots__ = (
        "_ended",
        "_failures",
        "_random",
        "_restart_at",
        "_restarting",
        "_running",
        "sessions",
        "settings",
    )

    def __init__(self, settings: SessionSettings, *, random: Random = no_jitter, restarting: bool = False) -> None:
        self.settings = settings
        self.sessions: list[Session] = []
        self._ended: list[Session] = []
        self._random = random
        self._restarting = restarting
        self._failures = 0
        self._running = False
        self._restart_at = inf

    @property
    def running(self) -> bool:
        return self._running

    @property
    def state(self) -> State:
        """That of the session that got furthest; Idle when stopped."""
        return max((session.state for session in self.sessions), key=_PROGRESS.index, default=State.IDLE)

    @property
    def established(self) -> Session | None:
        """The session over which routes go."""
        return next((session for session in self.sessions if session.state is ESTABLISHED), None)

    def start(self, now: float) -> None:
        """Dials the peer, or waits for it; nothing when it runs already."""
        self._restart_at = inf
        if self._running:
            return
        self._running = True
        self._failures = 0
        session = self._new_session()
        if self.settings.passive:
            session.listen(now)
        else:
            session.start(now)

    def stop(self, now: float, notice: Notification | None = None, restart_after: float | None = None) -> None:
        """Ends all sessions, with a Cease/Administrative Shutdown unless `notice` says otherwise."""
        self._running = False
        self._restart_at = inf if restart_after is None else now + restart_after
        self._close_all(notice or shutdown(), now)

    def reset(self, now: float, notice: Notification | None = None) -> None:
        """Ends all sessions, with a Cease/Administrative Reset unless `notice` says otherwise, and begins anew."""
        self._close_all(notice or shutdown(subcode=Cease.ADMINISTRATIVE_RESET), now)

    def configure(self, settings: SessionSettings, now: float) -> bool:
        """Takes other settings; sessions begin anew when they differ. Whether they do."""
        if settings == self.settings:
            return False
        self.settings = settings
        self.reset(now, Notification(ErrorCode.CEASE, Cease.OTHER_CONFIGURATION_CHANGE))
        return True

    def accept(self, now: float) -> Session | None:
        """The session of a connection that the peer opened; None when it is refused (`CONNECTION_REJECTED`).

        An earlier one that came in, and over which the peer has said nothing yet, gives way: whoever opens a second
        connection has lost the first. An Established session is made to send something, which finds out soon whether
        the peer still knows it.
        """
        if not self._running:
            return None
        session = next((s for s in self.sessions if s.state is ACTIVE), None)
        others = [s for s in self.sessions if s is not session]
        if session is None:
            session = self._new_session()
            session.listen(now)
        session.connected(now, incoming=True)
        for other in others:
            if other.incoming and other.state is OPEN_SENT:
                other.lose_collision(now)
            other.probe(now)
        return session

    def timer(self, now: float) -> list[Session]:
        """Does what is due; the sessions to be serviced and then told `timer(now, serviced=True)`."""
        if now >= self._restart_at:
            self.start(now)
        return [session for session in tuple(self.sessions) if session.timer(now)]

    def deadline(self) -> float:
        """When to call `timer`; `inf`: never."""
        return min([self._restart_at, *(session.deadline() for session in self.sessions)])

    def take_ended(self) -> list[Session]:
        """The sessions that ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    # The supervisor of its sessions.

    def admits(self, session: Session, now: float) -> bool:
        """Whether a session stays whose OPEN has just come; those that it wins against are closed."""
        if session.agreed is None:
            return False
        peer = session.agreed.remote
        newer = Contender(session.state, session.incoming)
        local = Identity(self.settings.router_id, self.settings.local_asn)
        remote = Identity(peer.router_id, peer.asn)
        rivals = [s for s in self.sessions if s is not session and s.state in (OPEN_CONFIRM, ESTABLISHED)]
        if not all(newer_stays(newer, _contender(rival, now), local, remote) for rival in rivals):
            return False
        for rival in rivals:
            if rival.state is ESTABLISHED:
                rival.replaced(now)
            else:
                rival.lose_collision(now)
        return True

    def changed(self, session: Session, now: float) -> None:
        """Nobody stays beside an Established session, and the last one to leave has a successor."""
        if session.state is ESTABLISHED:
            self._restarting = False
            for other in tuple(self.sessions):
                if other is not session:
                    other.lose_collision(now)
            return
        self.sessions.remove(session)
        self._ended.append(session)
        self._failures = session.failures
        if self._running and not self.sessions:
            self._new_session().listen(now)

    def _new_session(self) -> Session:
        session = Session(
            self.settings, self, failures=self._failures, restarting=self._restarting, random=self._random
        )
        self.sessions.append(session)
        return session

    def _close_all(self, notice: Notification, now: float) -> None:
        for session in tuple(self.sessions):
            session.close(notice, now)


def _contender(session: Session, now: float) -> Contender:
    restart = session.agreed.terms.graceful_restart if session.agreed else None
    keeps = restart is not None and bool(restart.families) and session.settings.graceful_restart_time > 0
    return Contender(session.state, session.incoming, keeps and now - session.since >= SETTLED)
