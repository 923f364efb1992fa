"""Session: the engine of one connection to a peer, from the attempt to make it to its end. Sans-IO.

The user (a `Neighbor`, and the server around it) says what happened: `connected`, `receive`, `connection_lost`,
`timer`, `sent`, `blocked`, `close`. After each it takes `events()` and `data_to_send()`, and looks at `deadline()`.
What happened is turned into an input of the table in `states.py`; what follows is read there and done here. A session
that is Idle again is over for good.

The hold timer. A caller that was held up comes late to its timers, and what the peer sent meanwhile still lies in the
socket. Then it is not the peer who was silent. So nothing is declared dead on the first word: `timer(now)` answers
True, the caller reads the connection until nothing is left (and offers it what waits to be sent), and only
`timer(now, serviced=True)` ends the session. A caller that never does so has sessions that never expire, and a
`deadline()` that stays in the past.

UPDATEs go past the table: they are most of what comes, and in Established the table says for them what is done here:
note the time, hand out the body.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import NamedTuple, Protocol

from reflector.session import events, restart
from reflector.session.events import EndOfRibReceived, Event, UpdateReceived
from reflector.session.local_open import open_to_send
from reflector.session.open_check import Agreement, agree
from reflector.session.restart import Retention
from reflector.session.settings import SessionSettings
from reflector.session.states import ESTABLISHED, FSM_SUBCODES, MESSAGE_TYPES, Action, Input, State, row
from reflector.session.timers import KEEPALIVE_SPACING, Random, Timers, no_jitter
from reflector.wire import framing
from reflector.wire.errors import Cease, ErrorCode, ResetSession
from reflector.wire.families import Family
from reflector.wire.framing import Framer, encode_message
from reflector.wire.notification import Notification, decode_notification, notification_of
from reflector.wire.route_refresh import RouteRefresh, decode_route_refresh

_KEEPALIVE = encode_message(framing.KEEPALIVE)
_UPDATE = framing.UPDATE
#: No End-of-RIB is longer, so no longer UPDATE is compared with one.
_LONGEST_END_OF_RIB = 11

_COLLISION = Notification(ErrorCode.CEASE, Cease.CONNECTION_COLLISION)
_HOLD_EXPIRED = Notification(ErrorCode.HOLD_TIMER_EXPIRED)
_SEND_HOLD_EXPIRED = Notification(ErrorCode.SEND_HOLD_TIMER_EXPIRED)


class Supervisor(Protocol):
    """Who looks after several sessions with one peer: `Neighbor`."""

    def admits(self, session: Session, now: float) -> bool:
        """Whether a session whose OPEN has just come, and is good, stays; False: it has lost a collision."""

    def changed(self, session: Session, now: float) -> None:
        """The session is now Established, or Idle and over."""


class _Firing(NamedTuple):
    """An input, and what came with it: what to tell the peer, what to tell the user."""

    happened: Input
    was: State
    now: float
    notice: Notification | None
    event: Event | None
    reason: str


class Session:
    """One connection. `failures` are the attempts in a row that came to nothing before it.

    `state` is what it is in `since` when. `incoming`: the peer opened the connection. `agreed`, the peer's OPEN and the
    terms, is there from OpenConfirm on, and stays.
    """

    __slots__ = (
        "_end_of_ribs",
        "_events",
        "_framer",
        "_out",
        "_random",
        "_restarting",
        "_supervisor",
        "_timers",
        "agreed",
        "failures",
        "incoming",
        "settings",
        "since",
        "state",
    )

    def __init__(
        self,
        settings: SessionSettings,
        supervisor: Supervisor,
        *,
        failures: int = 0,
        restarting: bool = False,
        random: Random = no_jitter,
    ) -> None:
        self.settings = settings
        self.state = State.IDLE
        self.since = -inf
        self.failures = failures
        self.incoming = False
        self.agreed: Agreement | None = None
        self._supervisor = supervisor
        self._restarting = restarting
        self._random = random
        self._timers = Timers(random)
        self._framer: Framer | None = None
        self._end_of_ribs: Mapping[bytes, Family] = {}
        self._events: list[Event] = []
        self._out: list[bytes] = []

    def start(self, now: float) -> None:
        """Dials the peer."""
        self._fire(Input.START, now)

    def listen(self, now: float) -> None:
        """Waits for the peer; unless it is to be passive, dials it when the wait between attempts is over."""
        self._fire(Input.START_PASSIVE, now)

    def connected(self, now: float, *, incoming: bool) -> None:
        """There is a TCP connection: the one that was asked for, or one that the peer opened."""
        self.incoming = incoming
        self._fire(Input.CONNECTED, now)

    def connection_lost(self, now: float, reason: str = "") -> None:
        """The attempt failed, or the connection is gone: end of file, a reset, an error."""
        self._fire(Input.CONNECTION_FAILS, now, reason=reason)

    def receive(self, data: bytes, now: float) -> None:
        """Bytes came. Does nothing on a session that is over."""
        framer = self._framer
        if framer is None:
            return
        append, timers, end_of_ribs = self._events.append, self._timers, self._end_of_ribs
        try:
            for kind, body in framer.feed(data):
                if kind == _UPDATE and self.state is ESTABLISHED:
                    timers.heard = now
                    if len(body) > _LONGEST_END_OF_RIB or body not in end_of_ribs:
                        append(UpdateReceived(body))
                    else:
                        append(EndOfRibReceived(end_of_ribs[body]))
                else:
                    _HANDLERS[kind](self, body, now)
                    if self._framer is None:
                        return
                    end_of_ribs = self._end_of_ribs
        except ResetSession as error:
            self._fire(Input.HEADER_ERROR, now, notification_of(error), reason=error.reason)

    def sent(self, now: float, *, waiting: bool = False) -> None:
        """The connection took bytes, these or UPDATEs; `waiting`: but not all there were."""
        self._timers.sent = now
        self._timers.send_hold_at = inf
        if waiting:
            self.blocked(now)

    def blocked(self, now: float) -> None:
        """Bytes wait and the connection takes none. May be said again and again: the timer runs from the first time."""
        if self.state is ESTABLISHED and self._timers.send_hold_at == inf:
            hold_time = self.agreed.terms.hold_time if self.agreed else 0
            self._timers.send_hold_at = now + self.settings.send_hold(hold_time)

    def timer(self, now: float, *, serviced: bool = False) -> bool:
        """Does what is due. True: the session is to end unless the connection still has something to say or to take.

        Then read it empty, offer it what waits, and call again with `serviced` (see the head of this module). To be
        called when `deadline()` is reached; early calls do nothing.
        """
        timers = self._timers
        if now >= timers.retry_at:
            self._fire(Input.CONNECT_RETRY_EXPIRES, now)
        if timers.keepalive_due(now):
            self._fire(Input.KEEPALIVE_EXPIRES, now)
        silent, stuck = timers.hold_over(now), now >= timers.send_hold_at
        if not (silent or stuck):
            return False
        if not serviced:
            return True
        if silent:
            self._fire(Input.HOLD_EXPIRES, now, _HOLD_EXPIRED)
        else:
            self._fire(Input.SEND_HOLD_EXPIRES, now, _SEND_HOLD_EXPIRED)
        return False

    def deadline(self) -> float:
        """When to call `timer`; `inf`: never. May be too early, which costs a call.

        `receive` of UPDATEs and KEEPALIVEs does not bring it forward, everything else may.
        """
        return self._timers.next()

    def close(self, notice: Notification, now: float, reason: str = "") -> None:
        """Ends the session with a NOTIFICATION: a shutdown, a limit exceeded, an UPDATE that is beyond repair."""
        happened = Input.UPDATE_ERROR if notice.code == ErrorCode.UPDATE_MESSAGE else Input.STOP
        self._fire(happened, now, notice, reason=reason)

    def lose_collision(self, now: float) -> None:
        """Another connection to the peer stays."""
        self._fire(Input.COLLISION_LOST, now, _COLLISION)

    def replaced(self, now: float) -> None:
        """The peer has restarted and come in by another connection."""
        self._fire(Input.REPLACED, now)

    def probe(self, now: float) -> None:
        """Says something to a peer that seems to have another idea of this session, so that its TCP answers."""
        if self.state is ESTABLISHED and now - self._timers.sent >= KEEPALIVE_SPACING:
            self._fire(Input.KEEPALIVE_EXPIRES, now)

    def request_refresh(self, family: Family) -> bool:
        """Asks the peer for all routes of a family again; False when it cannot be asked."""
        terms = self.agreed.terms if self.agreed else None
        if self.state is not ESTABLISHED or terms is None or not terms.route_refresh or family not in terms.families:
            return False
        self._out.append(encode_message(framing.ROUTE_REFRESH, RouteRefresh(family).encode()))
        return True

    def events(self) -> list[Event]:
        """What happened since the last call."""
        happened, self._events = self._events, []
        return happened

    def data_to_send(self) -> bytes:
        """Whole messages of the session's own since the last call. UPDATEs are not its own, and go between them."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def _fire(
        self,
        happened: Input,
        now: float,
        notice: Notification | None = None,
        event: Event | None = None,
        reason: str = "",
    ) -> None:
        was = self.state
        action, self.state = row(was, happened)
        _ACTIONS[action](self, _Firing(happened, was, now, notice, event, reason))
        if self.state is was:
            return
        self.since = now
        if self.state in (ESTABLISHED, State.IDLE):
            self._supervisor.changed(self, now)

    # Messages: judged as far as the table needs it.

    def _on_open(self, body: bytes, now: float) -> None:
        if self.state is not State.OPEN_SENT:
            self._fire(Input.OPEN, now)
            return
        try:
            self.agreed = agree(self.settings, body)
        except ResetSession as error:
            self._fire(Input.OPEN_ERROR, now, notification_of(error), reason=error.reason)
            return
        if self._supervisor.admits(self, now):
            self._fire(Input.OPEN, now)
        else:
            self.lose_collision(now)

    def _on_update(self, body: bytes, now: float) -> None:
        """In another state than Established."""
        self._fire(Input.UPDATE, now)

    def _on_notification(self, body: bytes, now: float) -> None:
        self._fire(Input.NOTIFICATION, now, decode_notification(body))

    def _on_keepalive(self, body: bytes, now: float) -> None:
        self._fire(Input.KEEPALIVE, now)

    def _on_route_refresh(self, body: bytes, now: float) -> None:
        if self.agreed is None:
            self._fire(Input.ROUTE_REFRESH, now)
            return
        try:
            event = events.refresh_event(decode_route_refresh(body), self.agreed.terms)
        except ResetSession as error:
            self._fire(Input.REFRESH_ERROR, now, notification_of(error), reason=error.reason)
            return
        self._fire(Input.ROUTE_REFRESH, now, event=event)

    # Actions of the table.

    def _ignore(self, firing: _Firing) -> None:
        pass

    def _dial(self, firing: _Firing) -> None:
        self.failures += firing.was is State.CONNECT
        self._timers.retry_at = firing.now + self.settings.retry_delay(self.failures, self._random)
        self._events.append(events.ConnectWanted())

    def _listen(self, firing: _Firing) -> None:
        self.failures += firing.was is State.CONNECT
        delay = inf if self.settings.passive else self.settings.retry_delay(self.failures, self._random)
        self._timers.retry_at = firing.now + delay

    def _send_open(self, firing: _Firing) -> None:
        self._framer = Framer()
        self._out.append(open_to_send(self.settings, self._restarting))
        self._timers.retry_at = inf
        self._timers.start_hold(firing.now, self.settings.open_time)

    def _accept_open(self, firing: _Firing) -> None:
        """With a hold time of 0 the KEEPALIVE that confirms our OPEN still has to come within the time for an OPEN."""
        if self._framer is not None and self.agreed is not None:
            self._framer.max_length = self.agreed.terms.max_receive_length
        self._timers.start_hold(firing.now, min(self._hold_time(), self.settings.open_time))
        self._send_keepalive(firing)

    def _establish(self, firing: _Firing) -> None:
        assert self.agreed is not None
        remote, terms, self._end_of_ribs, *kept = self.agreed
        self._timers.start_hold(firing.now, self._hold_time())
        self._events.append(events.SessionUp(remote, terms, *kept))

    def _heard(self, firing: _Firing) -> None:
        self._timers.heard = firing.now
        if firing.event is not None:
            self._events.append(firing.event)

    def _send_keepalive(self, firing: _Firing) -> None:
        self._out.append(_KEEPALIVE)
        self._timers.start_keepalive(firing.now, self.settings.keepalive_interval(self._hold_time()))

    def _notify(self, firing: _Firing) -> None:
        notice = firing.notice or Notification(ErrorCode.CEASE)
        if self.agreed and restart.survives_notifications(self.settings, self.agreed.terms):
            notice = restart.hardened(notice)
        self._out.append(encode_message(framing.NOTIFICATION, notice.encode()))
        self._end(firing, notice, sent=True)

    def _release(self, firing: _Firing) -> None:
        self._out.clear()
        received = firing.notice if firing.happened is Input.NOTIFICATION else None
        self._end(firing, received, sent=False)

    def _fsm_error(self, firing: _Firing) -> None:
        message = MESSAGE_TYPES.get(firing.happened)
        data = b"" if message is None else bytes((message,))
        notice = Notification(ErrorCode.FINITE_STATE_MACHINE, FSM_SUBCODES[firing.was], data)
        self._notify(firing._replace(notice=notice, reason=f"{firing.happened.value} in {firing.was.value}"))

    def _end(self, firing: _Firing, notification: Notification | None, *, sent: bool) -> None:
        self._timers.stop()
        self._framer = None
        self.failures = 0 if firing.was is ESTABLISHED else self.failures + 1
        retained: Mapping[Family, Retention] = {}
        if firing.was is ESTABLISHED and self.agreed:
            retained = restart.outliving(self.settings, self.agreed.terms, firing.happened, notification)
        self._events.append(
            events.SessionClosed(firing.was, firing.happened, notification, sent, retained, firing.reason)
        )

    def _hold_time(self) -> float:
        """`inf` where both agreed on none, and no KEEPALIVE is needed."""
        return (self.agreed.terms.hold_time if self.agreed else 0) or inf


_HANDLERS: dict[int, Callable[[Session, bytes, float], None]] = {
    framing.OPEN: Session._on_open,
    framing.UPDATE: Session._on_update,
    framing.NOTIFICATION: Session._on_notification,
    framing.KEEPALIVE: Session._on_keepalive,
    framing.ROUTE_REFRESH: Session._on_route_refresh,
}

_ACTIONS: dict[Action, Callable[[Session, _Firing], None]] = {
    Action.IGNORE: Session._ignore,
    Action.DIAL: Session._dial,
    Action.LISTEN: Session._listen,
    Action.SEND_OPEN: Session._send_open,
    Action.ACCEPT_OPEN: Session._accept_open,
    Action.ESTABLISH: Session._establish,
    Action.HEARD: Session._heard,
    Action.SEND_KEEPALIVE: Session._send_keepalive,
    Action.NOTIFY: Session._notify,
    Action.RELEASE: Session._release,
    Action.FSM_ERROR: Session._fsm_error,
}
