"""ReflectorServer: sockets, clocks and sessions around the engine, in one asyncio loop.

    Listener ─► Admission ─► Neighbour ─► Connection ─► Session ─► Engine ─► outboxes ─► Connection
                             ▲ configure: whole desired sets; only what differs is touched

Nothing here blocks and nothing waits for a slow peer. Input is read connection by connection; when it pauses, or enough
has come together (pacing.py), the engine publishes and every client is written what is new.
"""

from __future__ import annotations

import asyncio
import gc
import random
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf

from peering.prefixes import Address, Prefix, format_address
from peering.session import SecretKeyRef
from reflector.configuration import Peer, PeerRange, ReflectorConfiguration
from reflector.engine.claims import Log
from reflector.engine.engine import Engine, PrefixLimitExceeded
from reflector.engine.peer import PeerState
from reflector.server.admission import Admission, Limits, Refused
from reflector.server.connection import Connection, last_words_heard
from reflector.server.counters import Counters
from reflector.server.deadlines import Deadlines
from reflector.server.dialer import Dialing, dial
from reflector.server.file_limit import connections_that_fit, raise_file_limit
from reflector.server.listener import PAUSE, Incoming, Listener, prepare_accepted
from reflector.server.neighbour import Neighbour
from reflector.server.pacing import Pacing
from reflector.server.refusal_teller import SESSION_FAILED, RefusalTeller
from reflector.server.syn import objection, shared_minimum_ttl
from reflector.server.tcp_options import TcpError, set_md5_key
from reflector.session import events
from reflector.session.machine import Session
from reflector.session.neighbor import Neighbor
from reflector.session.states import ESTABLISHED
from reflector.wire.errors import Cease, ErrorCode, ResetSession
from reflector.wire.families import Family
from reflector.wire.framing import NOTIFICATION, encode_message
from reflector.wire.notification import Notification, notification_of, shutdown

Passwords = Mapping[SecretKeyRef, bytes]
#: How often something may be read from a session whose hold timer is over, to see whether it is alive after all.
_LAST_READS = 64
#: Seconds after which every neighbour's timers are looked at.
_LOOK = 120.0
#: Seconds between looks at whether others have said enough after our restart.
_DEFERRED = 0.5


class ReflectorServer:
    """`run` serves until `stop`. `log(event, **fields)` is told what people should know."""

    def __init__(
        self,
        configuration: ReflectorConfiguration,
        passwords: Passwords,
        log: Log,
        *,
        restarting: bool = False,
    ) -> None:
        self.configuration = configuration
        self.engine = Engine(configuration, log, restarting=restarting)
        self.neighbours: dict[Address, Neighbour] = {}
        self.counters = Counters()
        self._passwords = passwords
        self._log = log
        self._restarting = restarting
        self._refusals = RefusalTeller(log)
        self._admission = Admission(Limits(connections=connections_that_fit(raise_file_limit())))
        self._listeners: dict[tuple[Address, int], Listener] = {}
        self._by_ticket: dict[int, Connection] = {}
        self._up: set[Connection] = set()
        self._coming = 0
        self._deadlines: Deadlines[Neighbour] = Deadlines()
        self._pacing = Pacing()
        self._reads = 0
        self._reads_seen = -1
        self._publishing = False
        self._alarm: asyncio.TimerHandle | None = None
        self._stopped = asyncio.Event()

    # The life of a server.

    async def run(self) -> None:
        """Serves until `stop`. Raises TcpError when it cannot listen at the start."""
        self._loop = asyncio.get_running_loop()
        self.counters.started = self._loop.time()
        # Nearly all that is made here is freed by its reference count. What is not can wait: a collection walks over
        # every session and route there is, and with the usual thresholds that happens in the middle of each burst.
        gc.freeze()
        gc.set_threshold(100_000, 50, 50)
        try:
            self._listen(self.configuration)
            self._admit(self.configuration)
            self._log(
                "listening",
                reflector=self.configuration.name,
                addresses=[format_address(address) for address in self.configuration.addresses],
                port=self.configuration.port,
            )
            for peer in self.configuration.peers.values():
                self._service(self._add(peer))
            await self._stopped.wait()
        finally:
            self._close()
            await last_words_heard()

    def stop(self, *, graceful: bool = False, reason: str = "") -> None:
        """Ends every session: with a reason (RFC 9003), or without a word, so that peers keep our routes."""
        for listener in self._listeners.values():
            self._loop.remove_reader(listener.fileno())
        if not graceful:
            now = self._loop.time()
            for neighbour in list(self.neighbours.values()):
                neighbour.machines.stop(now, shutdown(reason))
                self._say_last_words(neighbour)
        self._log("stopped", graceful=graceful)
        self._stopped.set()

    def configure(self, configuration: ReflectorConfiguration, passwords: Passwords) -> None:
        """Takes another whole desired set. Only neighbours whose session is another one now are touched.

        Raises TcpError when it cannot be listened on; then the rest is in force nevertheless.
        """
        now = self._loop.time()
        old_passwords, self._passwords = self._passwords, passwords
        self.configuration = configuration
        failed = self._listen_or_say(configuration)
        self._admit(configuration)
        for neighbour in list(self.neighbours.values()):
            self._reconfigure(neighbour, old_passwords, now)
        for address, peer in configuration.peers.items():
            if address not in self.neighbours:
                self._service(self._add(peer))
        self.engine.configure(configuration, {a: n.peer for a, n in self.neighbours.items()})
        self._want_publishing()
        if failed is not None:
            raise failed

    def reset(self, address: Address) -> bool:
        """Ends a neighbour's session and begins anew; also one that a prefix limit has stopped. False: not known."""
        neighbour = self.neighbours.get(address)
        if neighbour is None:
            return False
        now = self._loop.time()
        if neighbour.machines.running:
            neighbour.machines.reset(now)
        else:
            neighbour.machines.start(now)
        self._service(neighbour)
        return True

    def refresh(self, address: Address) -> tuple[Family, ...]:
        """Asks a neighbour for all its routes again (RFC 2918); the families in which it can be asked."""
        neighbour = self.neighbours.get(address)
        session = neighbour.machines.established if neighbour is not None else None
        if neighbour is None or session is None or neighbour.state is None:
            return ()
        asked = tuple(family for family in neighbour.state.families if session.request_refresh(family))
        self._service(neighbour)
        return asked

    def _close(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._refusals.close()
        for listener in self._listeners.values():
            self._loop.remove_reader(listener.fileno())
            listener.close()
        for neighbour in self.neighbours.values():
            for connection in list(neighbour.connections.values()):
                connection.close()
            for dialing in neighbour.dialing.values():
                self._loop.remove_writer(dialing.fileno())
                dialing.close()

    def _say_last_words(self, neighbour: Neighbour) -> None:
        """The NOTIFICATION, and nothing of what follows from the end: there is no more to come for anybody."""
        for session in neighbour.machines.take_ended():
            connection = neighbour.connections.pop(session, None)
            if connection is not None:
                connection.outbox.clear()
                connection.outbox.say(session.data_to_send())
                connection.close()

    # Configuration.

    def _listen_or_say(self, configuration: ReflectorConfiguration) -> TcpError | None:
        try:
            self._listen(configuration)
        except TcpError as error:
            return error
        return None

    def _listen(self, configuration: ReflectorConfiguration) -> None:
        wanted = [(address, configuration.port) for address in configuration.addresses]
        for place in [place for place in self._listeners if place not in wanted]:
            listener = self._listeners.pop(place)
            self._loop.remove_reader(listener.fileno())
            listener.close()
        keys = self._keys(configuration)
        failed: TcpError | None = None
        for place in wanted:
            try:
                if place not in self._listeners:
                    listener = self._listeners[place] = Listener(*place)
                    self._loop.add_reader(listener.fileno(), self._accept, listener)
                self._listeners[place].set_keys(keys)
                self._listeners[place].set_minimum_ttl(_shared_ttl(configuration, len(place[0])))
            except TcpError as error:
                failed = error
        if failed is not None:
            raise failed

    def _keys(self, configuration: ReflectorConfiguration) -> dict[Prefix, bytes | None]:
        keys: dict[Prefix, bytes | None] = {}
        for one in configuration.ranges:
            keys[one.prefix] = self._password(one)
        for address, peer in configuration.peers.items():
            keys[bytes((8 * len(address),)) + address] = self._password(peer)
        return keys

    def _password(self, peer: Peer | PeerRange) -> bytes | None:
        reference = peer.transport.password
        return self._passwords.get(reference) if reference is not None else None

    def _admit(self, configuration: ReflectorConfiguration) -> None:
        self._admission.configure(configuration.peers.keys(), configuration.ranges)

    def _add(self, peer: Peer, *, dynamic: bool = False) -> Neighbour:
        machines = Neighbor(peer.session, random=random.random, restarting=self._restarting)
        neighbour = self.neighbours[peer.address] = Neighbour(peer, machines, dynamic)
        machines.start(self._loop.time())
        return neighbour

    def _reconfigure(self, neighbour: Neighbour, old_passwords: Passwords, now: float) -> None:
        old = neighbour.peer
        new = self._wanted(neighbour)
        if new is None:
            neighbour.machines.stop(now, Notification(ErrorCode.CEASE, Cease.PEER_DECONFIGURED))
            neighbour.dynamic, neighbour.barred = True, False
            self._service(neighbour)
            return
        neighbour.peer = new
        neighbour.dynamic = new.address not in self.configuration.peers
        before = old_passwords.get(old.transport.password) if old.transport.password else None
        signed_otherwise = before != self._password(new)
        if new == old and not signed_otherwise:
            return
        if signed_otherwise:
            self._sign(neighbour, now)
        moved = replace(old.transport, password=None) != replace(new.transport, password=None)
        role = (old.policy.client, old.owner) != (new.policy.client, new.owner)
        if not neighbour.machines.configure(new.session, now) and (moved or role):
            neighbour.machines.reset(now, Notification(ErrorCode.CEASE, Cease.OTHER_CONFIGURATION_CHANGE))
        self._service(neighbour)

    def _sign(self, neighbour: Neighbour, now: float) -> None:
        """Another password for connections that are there: they go on if the peer changes it too (RFC 2385, 4.5)."""
        host = bytes((8 * len(neighbour.peer.address),)) + neighbour.peer.address
        for session, connection in list(neighbour.connections.items()):
            try:
                set_md5_key(connection.socket, host, self._password(neighbour.peer) or b"")
            except TcpError as error:
                session.connection_lost(now, str(error))

    def _wanted(self, neighbour: Neighbour) -> Peer | None:
        address = neighbour.peer.address
        named = self.configuration.peers.get(address)
        if named is not None:
            return named
        ranges = [r for r in self.configuration.ranges if _contains(r.prefix, address)]
        return _from_range(max(ranges, key=lambda r: r.prefix[0]), address) if ranges else None

    # Connections.

    def _accept(self, listener: Listener) -> None:
        accepted = listener.accept_all()
        for incoming in accepted.connections:
            self._take_in(listener, incoming)
        if accepted.exhausted:
            self._log("no-file-descriptors", pause=PAUSE)
            self._loop.remove_reader(listener.fileno())
            self._loop.call_later(PAUSE, self._resume, listener)

    def _resume(self, listener: Listener) -> None:
        if listener in self._listeners.values() and not self._stopped.is_set():
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    def _take_in(self, listener: Listener, incoming: Incoming) -> None:
        now = self._loop.time()
        answer = self._admission.admit(incoming.address, now)
        if isinstance(answer, Refused):
            self._refuse(incoming, answer.code, answer.text, answer.notify)
            return
        for ticket in answer.instead_of:
            self._put_out(ticket, now)
        neighbour = self.neighbours.get(incoming.address)
        peer = neighbour.peer if neighbour else self.configuration.peers.get(incoming.address)
        if peer is None and answer.range is not None:
            peer = _from_range(answer.range, incoming.address)
        assert peer is not None
        wrong = objection(incoming.syn, peer.transport, listener.minimum_ttl, incoming.interface)
        if wrong is not None:
            self._admission.released(answer.ticket, now)
            self._refuse(incoming, "not-protected", wrong, None)
            return
        if neighbour is None:
            neighbour = self._add(peer, dynamic=True)
        session = neighbour.machines.accept(now)
        if session is None:
            self._admission.released(answer.ticket, now)
            self._refuse(incoming, "stopped", "the neighbour is stopped", Cease.CONNECTION_REJECTED)
            return
        try:
            prepare_accepted(incoming.socket, peer.transport)
        except TcpError as error:
            incoming.socket.close()
            self._admission.released(answer.ticket, now)
            session.connection_lost(now, str(error))
        else:
            self._connect(neighbour, session, incoming.socket, answer.ticket)
        self._service(neighbour)

    def _connect(self, neighbour: Neighbour, session: Session, opened: socket.socket, ticket: int | None) -> None:
        connection = neighbour.connections[session] = Connection(
            self._loop, opened, neighbour, session, self._on_data, self._on_end, self._on_room, ticket
        )
        if ticket is not None:
            self._by_ticket[ticket] = connection
        self._coming += 1

    def _refuse(self, incoming: Incoming, code: str, text: str, notify: Cease | None) -> None:
        """Counted always, logged when it is the first of its kind for a while from there."""
        self.counters.refused[code] += 1
        self._refusals.note(incoming.address, code, text)
        if notify is not None:
            try:
                incoming.socket.send(encode_message(NOTIFICATION, Notification(ErrorCode.CEASE, notify).encode()))
            except OSError:
                pass  # whoever is refused may be gone already
        incoming.socket.close()

    def _put_out(self, ticket: int, now: float) -> None:
        connection = self._by_ticket.get(ticket)
        if connection is not None:
            connection.session.close(Notification(ErrorCode.CEASE, Cease.OUT_OF_RESOURCES), now)
            self._service(connection.neighbour)

    def _dial(self, neighbour: Neighbour, session: Session) -> None:
        self._hang_up(neighbour, session)
        now = self._loop.time()
        password = self._password(neighbour.peer)
        if password is None and neighbour.peer.transport.password is not None:
            session.connection_lost(now, "its password is not known")
            return
        try:
            dialing = dial(neighbour.peer.address, neighbour.peer.transport, password)
        except TcpError as error:
            neighbour.last_error = str(error)
            session.connection_lost(now, str(error))
            return
        neighbour.dialing[session] = dialing
        self._loop.add_writer(dialing.fileno(), self._dialed, neighbour, session, dialing)

    def _dialed(self, neighbour: Neighbour, session: Session, dialing: Dialing) -> None:
        del neighbour.dialing[session]
        self._loop.remove_writer(dialing.fileno())
        now = self._loop.time()
        reason = dialing.finish()
        if reason is None:
            session.connected(now, incoming=False)
            self._connect(neighbour, session, dialing.socket, None)
        else:
            dialing.close()
            neighbour.last_error = reason
            session.connection_lost(now, reason)
        self._service(neighbour)

    def _hang_up(self, neighbour: Neighbour, session: Session) -> None:
        dialing = neighbour.dialing.pop(session, None)
        if dialing is not None:
            self._loop.remove_writer(dialing.fileno())
            dialing.close()

    def _on_data(self, connection: Connection, data: bytes) -> None:
        self._reads += 1
        session = connection.session
        before = session.state
        session.receive(data, self._loop.time())
        if before is ESTABLISHED and session.state is ESTABLISHED:
            self._handle(connection.neighbour, session)
            if session.state is ESTABLISHED:
                return  # routes: no other machine has anything to say, and no deadline is earlier than before
        self._service(connection.neighbour)

    def _on_end(self, connection: Connection, reason: str) -> None:
        connection.session.connection_lost(self._loop.time(), reason)
        self._service(connection.neighbour)

    def _on_room(self, connection: Connection) -> None:
        """A connection that was blocked has taken what was in flight; its places in the logs may be lost."""
        if connection.neighbour.state is not None and connection.outbox.behind():
            self.engine.catch_up(connection.neighbour.state)
            self._want_publishing()

    # Sessions.

    def _service(self, neighbour: Neighbour) -> None:
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
            self.engine.update(state, body)
        except ResetSession as error:
            session.close(notification_of(error), now, error.reason)
        except PrefixLimitExceeded as error:
            self.counters.limits_exceeded += 1
            neighbour.barred = True
            neighbour.machines.stop(now, error.notice, neighbour.peer.policy.restart_after)
        self._want_publishing()

    def _on_connect_wanted(self, neighbour: Neighbour, session: Session, event: events.ConnectWanted) -> None:
        self._dial(neighbour, session)

    def _on_up(self, neighbour: Neighbour, session: Session, event: events.SessionUp) -> None:
        now = self._loop.time()
        neighbour.barred = False
        state = neighbour.state = self.engine.session_up(neighbour.peer, event, now)
        connection = neighbour.connections[session]
        waiting = connection.outbox.views()
        connection.outbox = state.outbox
        for view in waiting:
            state.outbox.say(bytes(view))
        self._up.add(connection)
        self._coming -= 1
        self.counters.established += 1
        if connection.ticket is not None:
            self._admission.established(connection.ticket)
        self._log("session-up", peer=neighbour.peer.name, families=[str(f) for f in event.negotiated.families])
        self._want_publishing()

    def _on_closed(self, neighbour: Neighbour, session: Session, event: events.SessionClosed) -> None:
        now = self._loop.time()
        self.counters.closed(event, neighbour.state)
        if event.state is ESTABLISHED:
            assert neighbour.state is not None
            self.engine.session_closed(neighbour.state, event.retained, now)
            self._watch_engine(now)
            if not neighbour.state.families:
                neighbour.state = None
            self._admission.hold(neighbour.peer.address, neighbour.state is not None, now)
            neighbour.flaps += 1
            self._want_publishing()
        reason = _reason(event)
        if event.state is ESTABLISHED:
            self._log("session-down", peer=neighbour.peer.name, state=event.state.value, reason=reason)
            neighbour.told_error = ""
        elif _is_collision(event):
            return
        elif event.notification is not None and neighbour.dynamic:
            self._refusals.note(neighbour.peer.address, SESSION_FAILED, reason)
        elif event.notification is not None and reason != neighbour.told_error:
            self._log("session-down", peer=neighbour.peer.name, state=event.state.value, reason=reason)
            neighbour.told_error = reason
        neighbour.last_error = reason

    def _on_end_of_rib(self, neighbour: Neighbour, session: Session, event: events.EndOfRibReceived) -> None:
        if neighbour.state is not None:
            self.engine.end_of_rib(neighbour.state, event.family)
            self._want_publishing()

    def _on_refresh_requested(self, neighbour: Neighbour, session: Session, event: events.RefreshRequested) -> None:
        if neighbour.state is not None:
            self.engine.refresh_requested(neighbour.state, event.family)
            self._want_publishing()

    def _on_refresh_begins(self, neighbour: Neighbour, session: Session, event: events.RefreshBegins) -> None:
        if neighbour.state is not None:
            self.engine.refresh_begins(neighbour.state, event.family)

    def _on_refresh_ends(self, neighbour: Neighbour, session: Session, event: events.RefreshEnds) -> None:
        if neighbour.state is not None:
            self.engine.refresh_ends(neighbour.state, event.family)
            self._want_publishing()

    def _end(self, neighbour: Neighbour, session: Session) -> None:
        self._hang_up(neighbour, session)
        connection = neighbour.connections.pop(session, None)
        if connection is not None:
            self._coming -= connection not in self._up
            self._up.discard(connection)
            connection.close()
            if connection.ticket is not None:
                self._by_ticket.pop(connection.ticket, None)
                self._admission.released(connection.ticket, self._loop.time())

    def _forget(self, neighbour: Neighbour) -> None:
        """A dynamic neighbour that is gone; its machines wait for nobody."""
        neighbour.machines.stop(self._loop.time())
        self._deadlines.forget(neighbour)
        if self.neighbours.get(neighbour.peer.address) is neighbour:
            del self.neighbours[neighbour.peer.address]

    # Publishing.

    def _want_publishing(self) -> None:
        if self.engine.waiting:
            self._pacing.wanted(self._loop.time())
            if not self._publishing:
                self._publishing = True
                self._loop.call_soon(self._maybe_publish)

    def _maybe_publish(self) -> None:
        now = self._loop.time()
        idle, self._reads_seen = self._reads == self._reads_seen, self._reads
        changes = sum(len(table.changed) for table in self.engine.tables.values())
        if self._pacing.due(now, idle=idle, crowd=self._coming > 0, changes=changes):
            self._publishing = False
            self._publish(now)
        elif idle:
            self._loop.call_at(max(now, self._pacing.not_before), self._maybe_publish)
        else:
            self._loop.call_soon(self._maybe_publish)

    def _publish(self, now: float) -> None:
        published = self.engine.publish(now)
        if published is None:
            self._publishing = True
            self._loop.call_later(_DEFERRED, self._maybe_publish)
            return
        for connection in tuple(self._up) if published.news else self._connections_of(published.served):
            if not connection.blocked and connection.open:
                connection.write(now)
        self._pacing.done(now, self._loop.time())
        self.counters.published(self._loop.time() - now)
        self._watch_engine(now)
        self._want_publishing()

    def _connections_of(self, states: list[PeerState]) -> list[Connection]:
        served = {id(state.outbox) for state in states}
        neighbours = [self.neighbours[state.source.address] for state in states]
        return [c for n in neighbours for c in n.connections.values() if id(c.outbox) in served]

    # Time.

    def _watch(self, neighbour: Neighbour) -> None:
        # A session that gets blocked may bring its deadline forward, and does not say so.
        self._deadlines.set(neighbour, min(neighbour.machines.deadline(), self._loop.time() + _LOOK))
        self._set_alarm(self._deadlines.next())

    def _watch_engine(self, now: float) -> None:
        self._set_alarm(self.engine.deadline())

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
        if now >= self.engine.deadline():
            self.engine.timer(now)
            self._forget_stale(now)
            self._want_publishing()
        self._set_alarm(min(self._deadlines.next(), self.engine.deadline()))

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
        self._service(neighbour)

    def _forget_stale(self, now: float) -> None:
        for neighbour in list(self.neighbours.values()):
            if neighbour.state is not None and not neighbour.state.families:
                neighbour.state = None
                self._admission.hold(neighbour.peer.address, False, now)
                self._service(neighbour)


_HANDLERS: dict[type, Callable[..., None]] = {
    events.ConnectWanted: ReflectorServer._on_connect_wanted,
    events.SessionUp: ReflectorServer._on_up,
    events.SessionClosed: ReflectorServer._on_closed,
    events.EndOfRibReceived: ReflectorServer._on_end_of_rib,
    events.RefreshRequested: ReflectorServer._on_refresh_requested,
    events.RefreshBegins: ReflectorServer._on_refresh_begins,
    events.RefreshEnds: ReflectorServer._on_refresh_ends,
}


def _from_range(found: PeerRange, address: Address) -> Peer:
    """The neighbour that a range makes of an address."""
    name = format_address(address)
    return Peer(
        name=name,
        address=address,
        session=replace(found.session, name=name, passive=True),
        policy=found.policy,
        transport=found.transport,
        owner=name,
    )


def _shared_ttl(configuration: ReflectorConfiguration, size: int) -> int:
    """Of all who may come in by an address of this size."""
    peers = [peer.transport for address, peer in configuration.peers.items() if len(address) == size]
    return shared_minimum_ttl([*peers, *(r.transport for r in configuration.ranges if len(r.prefix) == size + 1)])


def _contains(prefix: Prefix, address: Address) -> bool:
    if len(prefix) != len(address) + 1:
        return False
    shift = 8 * len(address) - prefix[0]
    return int.from_bytes(prefix[1:]) >> shift == int.from_bytes(address) >> shift


def _is_collision(event: events.SessionClosed) -> bool:
    """Nothing is wrong when one of two connections goes."""
    said = event.notification
    return said is not None and (said.code, said.subcode) == (ErrorCode.CEASE, Cease.CONNECTION_COLLISION)


def _reason(event: events.SessionClosed) -> str:
    """For people: what was said, by whom, or what happened."""
    if event.notification is None:
        return event.reason or event.cause.value
    said = event.reason or event.notification.reason
    text = f"{'sent' if event.sent else 'received'} {event.notification.name}"
    return f"{text}: {said}" if said else text
