"""ReflectorServer: sockets, clocks and sessions around the engine, in one asyncio loop.

    Listeners ─► Admission ─► Neighbour ─► Connection ─► Sessions ─► Engine ─► Publisher ─► Connection
                              ▲ configure: whole desired sets; only what differs is touched

Nothing here blocks and nothing waits for a slow peer. Input is read connection by connection; when it pauses, or enough
has come together (pacing.py), the engine publishes and every client is written what is new.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Collection

from peering.prefixes import Address, format_address
from reflector.configuration import Peer, ReflectorConfiguration
from reflector.engine.claims import Log
from reflector.engine.engine import Engine
from reflector.server.admission import Admission, Limits, Refused
from reflector.server.connection import Connection, last_words_heard
from reflector.server.counters import Counters
from reflector.server.desired_peer import (
    Passwords,
    begins_anew,
    from_range,
    host_prefix,
    lacks_password,
    limit_of,
    password_of,
    wanted_peer,
)
from reflector.server.dialer import Dialing, dial
from reflector.server.drop_teller import DropTeller
from reflector.server.file_limit import connections_that_fit, raise_file_limit
from reflector.server.garbage import GarbageCollection
from reflector.server.listener import Incoming, Listener, prepare_accepted
from reflector.server.listeners import Listeners
from reflector.server.neighbour import Neighbour
from reflector.server.refusal_teller import RefusalTeller
from reflector.server.sessions import Sessions
from reflector.server.syn import objection
from reflector.server.tcp_options import TcpError, set_md5_key
from reflector.session.machine import Session
from reflector.session.neighbor import Neighbor
from reflector.wire.errors import Cease, ErrorCode
from reflector.wire.families import Family
from reflector.wire.framing import NOTIFICATION, encode_message
from reflector.wire.notification import Notification, shutdown


class ReflectorServer:
    """`run` serves until `stop`. `log(event, **fields)` is told what people should know."""

    def __init__(
        self,
        configuration: ReflectorConfiguration,
        passwords: Passwords,
        log: Log,
        *,
        restarting: bool = False,
        were_up: Collection[Address] = (),
    ) -> None:
        self.configuration = configuration
        self.engine = Engine(configuration, log, restarting=restarting, were_up=were_up)
        self.neighbours: dict[Address, Neighbour] = {}
        self.counters = Counters()
        self._passwords = passwords
        self._log = log
        self._restarting = restarting
        self._refusals = RefusalTeller(log)
        self._admission = Admission(Limits(connections=connections_that_fit(raise_file_limit())))
        self._listeners = Listeners(log, self._take_in)
        self._sessions = Sessions(
            self.engine, self.neighbours, self.counters, self._admission, self._refusals, log, self._dial
        )
        self._stopped = asyncio.Event()

    def up(self) -> set[Address]:
        """Those that have a session, and may wait for us when we die."""
        return {address for address, one in self.neighbours.items() if one.state is not None and one.state.up}

    # The life of a server.

    async def run(self) -> None:
        """Serves until `stop`. Raises TcpError when it cannot listen at the start."""
        self._loop = asyncio.get_running_loop()
        self.counters.started = self._loop.time()
        self._sessions.start(self._loop)
        garbage, drops = GarbageCollection(self._sessions.quiet), DropTeller(self._log)
        garbage.start(self._loop)
        drops.start(self._loop)
        try:
            self._listeners.configure(self.configuration, self._passwords)
            self._admit(self.configuration)
            self._log(
                "listening",
                reflector=self.configuration.name,
                addresses=[format_address(address) for address in self.configuration.addresses],
                port=self.configuration.port,
            )
            for peer in self.configuration.peers.values():
                self._sessions.service(self._add(peer))
            await self._stopped.wait()
        finally:
            self._close()
            await last_words_heard()
            drops.stop()
            garbage.stop()

    def stop(self, *, graceful: bool = False, reason: str = "") -> None:
        """Ends every session: with a reason (RFC 9003), or without a word, so that peers keep our routes."""
        self._listeners.stop()
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
                self._sessions.service(self._add(peer))
        for error in self.engine.configure(configuration, {a: n.peer for a, n in self.neighbours.items()}):
            neighbour = self.neighbours[error.peer.source.address]
            self._sessions.bar(neighbour, error, now)
            self._sessions.service(neighbour)
        self._sessions.publisher.want()
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
            neighbour.barred = False
        self._sessions.service(neighbour)
        return True

    def refresh(self, address: Address) -> tuple[Family, ...]:
        """Asks a neighbour for all its routes again (RFC 2918); the families in which it can be asked."""
        neighbour = self.neighbours.get(address)
        session = neighbour.machines.established if neighbour is not None else None
        if neighbour is None or session is None or neighbour.state is None:
            return ()
        asked = tuple(family for family in neighbour.state.families if session.request_refresh(family))
        self._sessions.service(neighbour)
        return asked

    def _close(self) -> None:
        self._sessions.stop()
        self._refusals.close()
        self._listeners.close()
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
            self._listeners.configure(configuration, self._passwords)
        except TcpError as error:
            return error
        return None

    def _admit(self, configuration: ReflectorConfiguration) -> None:
        dialed = sum(not peer.session.passive for peer in configuration.peers.values())
        self._admission.configure(configuration.peers.keys(), configuration.ranges, dialed)

    def _add(self, peer: Peer, *, dynamic: bool = False) -> Neighbour:
        machines = Neighbor(peer.session, random=random.random, restarting=self._restarting)
        neighbour = self.neighbours[peer.address] = Neighbour(peer, machines, dynamic)
        machines.start(self._loop.time())
        return neighbour

    def _reconfigure(self, neighbour: Neighbour, old_passwords: Passwords, now: float) -> None:
        old = neighbour.peer
        new = wanted_peer(self.configuration, old.address)
        if new is None:
            self._let_go(neighbour, now)
            return
        neighbour.peer = new
        neighbour.dynamic = new.address not in self.configuration.peers
        before = password_of(old, old_passwords)
        signed_otherwise = before != password_of(new, self._passwords)
        if new == old and not signed_otherwise:
            return
        if signed_otherwise or old.transport != new.transport:
            self._protect(neighbour, now, sign=signed_otherwise)
        if not neighbour.machines.configure(new.session, now) and begins_anew(old, new, neighbour.state):
            neighbour.machines.reset(now, Notification(ErrorCode.CEASE, Cease.OTHER_CONFIGURATION_CHANGE))
        if neighbour.barred and limit_of(old) != limit_of(new):
            neighbour.machines.start(now)
            neighbour.barred = False
        self._sessions.service(neighbour)

    def _let_go(self, neighbour: Neighbour, now: float) -> None:
        """A neighbour that is no longer one, with all that it said, even if it was to be kept for a while."""
        neighbour.machines.stop(now, Notification(ErrorCode.CEASE, Cease.PEER_DECONFIGURED))
        neighbour.dynamic, neighbour.barred = True, False
        self._sessions.service(neighbour)
        if neighbour.state is not None:
            self.engine.session_closed(neighbour.state, {}, now)
            neighbour.state = None
            self._admission.hold(neighbour.peer.address, False, now)
            self._sessions.service(neighbour)

    def _protect(self, neighbour: Neighbour, now: float, *, sign: bool) -> None:
        """Other hops, and where `sign` another password, for connections that are there.

        They go on: a session outlives what the peer sent before it knew the new password (RFC 2385, 4.5).
        """
        host = host_prefix(neighbour.peer.address)
        sockets = {session: connection.socket for session, connection in neighbour.connections.items()}
        sockets |= {session: dialing.socket for session, dialing in neighbour.dialing.items()}
        for session, there in sockets.items():
            try:
                prepare_accepted(there, neighbour.peer.transport)
                if sign and not lacks_password(neighbour.peer, self._passwords):
                    set_md5_key(there, host, password_of(neighbour.peer, self._passwords) or b"")
            except TcpError as error:
                session.connection_lost(now, str(error))

    # Connections.

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
            peer = from_range(answer.range, incoming.address)
        assert peer is not None
        wrong = objection(incoming.syn, peer.transport, listener.minimum_ttl, incoming.interface)
        if lacks_password(peer, self._passwords):
            wrong = "its password is not known"
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
        self._sessions.service(neighbour)

    def _connect(self, neighbour: Neighbour, session: Session, opened: socket.socket, ticket: int | None) -> None:
        sessions = self._sessions
        connection = neighbour.connections[session] = Connection(
            self._loop, opened, neighbour, session, sessions.on_data, sessions.on_end, sessions.on_room, ticket
        )
        if ticket is not None:
            sessions.by_ticket[ticket] = connection
        sessions.publisher.coming += 1

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
        connection = self._sessions.by_ticket.get(ticket)
        if connection is not None:
            connection.session.close(Notification(ErrorCode.CEASE, Cease.OUT_OF_RESOURCES), now)
            self._sessions.service(connection.neighbour)

    def _dial(self, neighbour: Neighbour, session: Session) -> None:
        self._sessions.hang_up(neighbour, session)
        now = self._loop.time()
        try:
            dialing = dial(
                neighbour.peer.address, neighbour.peer.transport, password_of(neighbour.peer, self._passwords)
            )
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
        self._sessions.service(neighbour)
