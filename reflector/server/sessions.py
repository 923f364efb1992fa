"""What comes over the connections, and when: from the session machines to the engine, the log and the sockets. Thin.

    Connection ─► on_data ─► Session ─► events ─► Engine ─► Publisher
    the clock ─► timers of machines and engine ─► the same events

UPDATEs take the short way: the machine hands out bodies, the engine takes them, nobody else is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf

from peering.prefixes import Address
from reflector.engine.claims import Log
from reflector.engine.engine import Engine, PrefixLimitExceeded
from reflector.server.admission import Admission
from reflector.server.connection import Connection
from reflector.server.counters import Counters
from reflector.server.deadlines import Deadlines
from reflector.server.neighbour import Neighbour
from reflector.server.publisher import Publisher
from reflector.server.refusal_teller import SESSION_FAILED, RefusalTeller
from reflector.server.session_end import is_collision, reason_of
from reflector.session import events
from reflector.session.machine import Session
from reflector.session.states import ESTABLISHED
from reflector.wire.errors import ResetSession
from reflector.wire.notification import notification_of

#: How often something may be read from a session whose hold timer is over, to see whether it is alive after all.
_LAST_READS = 64
#: Seconds after which every neighbour's timers are looked at.
_LOOK = 120.0


class Sessions:
    """All sessions of all neighbours. `dial(neighbour, session)` is asked for a connection.

    `by_ticket` are the connections that were let in, until they are closed.
    """

    def __init__(
        self,
        engine: Engine,
        neighbours: dict[Address, Neighbour],
        counters: Counters,
        admission: Admission,
        refusals: RefusalTeller,
        log: Log,
        dial: Callable[[Neighbour, Session], None],
    ) -> None:
        self.publisher = Publisher(engine, neighbours, counters, self.watch_engine)
        self.by_ticket: dict[int, Connection] = {}
        self._engine = engine
        self._neighbours = neighbours
        self._counters = counters
        self._admission = admission
        self._refusals = refusals
        self._log = log
        self._dial = dial
        self._deadlines: Deadlines[Neighbour] = Deadlines()
        self._alarm: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Before anything else here."""
        self._loop = loop
        self.publisher.start(loop)

    def stop(self) -> None:
        """Looks at no timer any more."""
        if self._alarm is not None:
            self._alarm.cancel()

    def quiet(self) -> bool:
        """Whether nobody waits for anything."""
        return not self.publisher.busy and not any(connection.blocked for connection in self.publisher.up)

    # Connections.

    def on_data(self, connection: Connection, data: bytes) -> None:
        """Bytes came."""
        self.publisher.reads += 1
        session = connection.session
        before = session.state
        session.receive(data, self._loop.time())
        if before is ESTABLISHED and session.state is ESTABLISHED:
            self._handle(connection.neighbour, session)
            if session.state is ESTABLISHED:
                return  # routes: no other machine has anything to say, and no deadline is earlier than before
        self.service(connection.neighbour)

    def on_end(self, connection: Connection, reason: str) -> None:
        """No more will come."""
        connection.session.connection_lost(self._loop.time(), reason)
        self.service(connection.neighbour)

    def on_room(self, connection: Connection) -> None:
        """A connection that was blocked has taken what was in flight; its places in the logs may be lost."""
        if connection.neighbour.state is not None and connection.outbox.behind():
            self._engine.catch_up(connection.neighbour.state)
            self.publisher.want()

    def hang_up(self, neighbour: Neighbour, session: Session) -> None:
        """Gives up what is being dialed for a session."""
        dialing = neighbour.dialing.pop(session, None)
        if dialing is not None:
            self._loop.remove_writer(dialing.fileno())
            dialing.close()

    # What machines say.

    def service(self, neighbour: Neighbour) -> None:
        """What the machines have to say, first those that ended (see `Neighbor`)."""
        machines = neighbour.machines
        quiet = False
        while not quiet:
            quiet = True
            for session in machines.take_ended():
                quiet = False
                self._handle(neighbour, session)
                self._end(neighbour, session)
            for session in tuple(machines.sessions):
                if self._handle(neighbour, session):
                    quiet = False
        if neighbour.dynamic and neighbour.state is None and not neighbour.connections and not neighbour.barred:
            self._forget(neighbour)
        else:
            self._watch(neighbour)

    def _handle(self, neighbour: Neighbour, session: Session) -> bool:
        """A session's events, then its bytes. Whether there were events that may have made others."""
        happened = session.events()
        more = False
        for event in happened:
            if event.__class__ is events.UpdateReceived:
                self._update(neighbour, session, event.body)
            else:
                more = True
                _HANDLERS[event.__class__](self, neighbour, session, event)
        data = session.data_to_send()
        if data:
            connection = neighbour.connections.get(session)
            if connection is not None:
                connection.outbox.say(data)
                connection.write(self._loop.time())
        return more

    def _update(self, neighbour: Neighbour, session: Session, body: bytes) -> None:
        state = neighbour.state
        if state is None or session.state is not ESTABLISHED:
            return
        now = self._loop.time()
        try:
            self._engine.update(state, body)
        except ResetSession as error:
            session.close(notification_of(error), now, error.reason)
        except PrefixLimitExceeded as error:
            self.bar(neighbour, error, now)
        self.publisher.want()

    def bar(self, neighbour: Neighbour, error: PrefixLimitExceeded, now: float) -> None:
        """It has announced too much, and is kept out for a while."""
        self._counters.limits_exceeded += 1
        neighbour.barred = True
        neighbour.machines.stop(now, error.notice, neighbour.peer.policy.restart_after)

    def _on_connect_wanted(self, neighbour: Neighbour, session: Session, event: events.ConnectWanted) -> None:
        self._dial(neighbour, session)

    def _on_up(self, neighbour: Neighbour, session: Session, event: events.SessionUp) -> None:
        now = self._loop.time()
        neighbour.barred = False
        state = neighbour.state = self._engine.session_up(neighbour.peer, event, now)
        connection = neighbour.connections[session]
        waiting = connection.outbox.views()
        connection.outbox = state.outbox
        for view in waiting:
            state.outbox.say(bytes(view))
        self.publisher.up.add(connection)
        self.publisher.coming -= 1
        self._counters.established += 1
        if connection.ticket is not None:
            self._admission.established(connection.ticket)
        self._log("session-up", peer=neighbour.peer.name, families=[str(f) for f in event.negotiated.families])
        self.publisher.want()

    def _on_closed(self, neighbour: Neighbour, session: Session, event: events.SessionClosed) -> None:
        now = self._loop.time()
        self._counters.closed(event, neighbour.state)
        if event.state is ESTABLISHED:
            assert neighbour.state is not None
            self._engine.session_closed(neighbour.state, event.retained, now)
            self.watch_engine(now)
            if not neighbour.state.families:
                neighbour.state = None
            self._admission.hold(neighbour.peer.address, neighbour.state is not None, now)
            neighbour.flaps += 1
            self.publisher.want()
        reason = reason_of(event)
        if event.state is ESTABLISHED:
            self._log("session-down", peer=neighbour.peer.name, state=event.state.value, reason=reason)
            neighbour.told_error = ""
        elif is_collision(event):
            return
        elif event.notification is not None and neighbour.dynamic:
            self._refusals.note(neighbour.peer.address, SESSION_FAILED, reason)
        elif event.notification is not None and reason != neighbour.told_error:
            self._log("session-down", peer=neighbour.peer.name, state=event.state.value, reason=reason)
            neighbour.told_error = reason
        neighbour.last_error = reason

    def _on_end_of_rib(self, neighbour: Neighbour, session: Session, event: events.EndOfRibReceived) -> None:
        if neighbour.state is not None:
            self._engine.end_of_rib(neighbour.state, event.family)
            self.publisher.want()

    def _on_refresh_requested(self, neighbour: Neighbour, session: Session, event: events.RefreshRequested) -> None:
        if neighbour.state is not None:
            self._engine.refresh_requested(neighbour.state, event.family)
            self.publisher.want()

    def _on_refresh_begins(self, neighbour: Neighbour, session: Session, event: events.RefreshBegins) -> None:
        if neighbour.state is not None:
            self._engine.refresh_begins(neighbour.state, event.family)

    def _on_refresh_ends(self, neighbour: Neighbour, session: Session, event: events.RefreshEnds) -> None:
        if neighbour.state is not None:
            self._engine.refresh_ends(neighbour.state, event.family)
            self.publisher.want()

    def _end(self, neighbour: Neighbour, session: Session) -> None:
        self.hang_up(neighbour, session)
        connection = neighbour.connections.pop(session, None)
        if connection is not None:
            self.publisher.coming -= connection not in self.publisher.up
            self.publisher.up.discard(connection)
            connection.close()
            if connection.ticket is not None:
                self.by_ticket.pop(connection.ticket, None)
                self._admission.released(connection.ticket, self._loop.time())

    def _forget(self, neighbour: Neighbour) -> None:
        """A dynamic neighbour that is gone; its machines wait for nobody."""
        neighbour.machines.stop(self._loop.time())
        self._deadlines.forget(neighbour)
        if self._neighbours.get(neighbour.peer.address) is neighbour:
            del self._neighbours[neighbour.peer.address]

    # Time.

    def _watch(self, neighbour: Neighbour) -> None:
        # A session that gets blocked may bring its deadline forward, and does not say so.
        self._deadlines.set(neighbour, min(neighbour.machines.deadline(), self._loop.time() + _LOOK))
        self._set_alarm(self._deadlines.next())

    def watch_engine(self, now: float) -> None:
        """The engine may have another deadline than before."""
        self._set_alarm(self._engine.deadline())

    def _set_alarm(self, when: float) -> None:
        if when == inf or (self._alarm is not None and self._alarm.when() <= when):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(when, self._on_alarm)

    def _on_alarm(self) -> None:
        self._alarm = None
        now = self._loop.time()
        for neighbour in self._deadlines.due(now):
            self._on_timer(neighbour, now)
        if now >= self._engine.deadline():
            self._engine.timer(now)
            self._forget_stale(now)
            self.publisher.want()
        self._set_alarm(min(self._deadlines.next(), self._engine.deadline()))

    def _on_timer(self, neighbour: Neighbour, now: float) -> None:
        for session in neighbour.machines.timer(now):
            connection = neighbour.connections.get(session)
            if connection is not None:
                for _ in range(_LAST_READS):
                    if not connection.readable():
                        break
                connection.write(now)
            session.timer(now, serviced=True)
        neighbour.barred &= not neighbour.machines.running
        self.service(neighbour)

    def _forget_stale(self, now: float) -> None:
        for neighbour in list(self._neighbours.values()):
            state = neighbour.state
            if state is not None and not state.up and not state.families:
                neighbour.state = None
                self._admission.hold(neighbour.peer.address, False, now)
                self.service(neighbour)


_HANDLERS: dict[type, Callable[..., None]] = {
    events.ConnectWanted: Sessions._on_connect_wanted,
    events.SessionUp: Sessions._on_up,
    events.SessionClosed: Sessions._on_closed,
    events.EndOfRibReceived: Sessions._on_end_of_rib,
    events.RefreshRequested: Sessions._on_refresh_requested,
    events.RefreshBegins: Sessions._on_refresh_begins,
    events.RefreshEnds: Sessions._on_refresh_ends,
}
