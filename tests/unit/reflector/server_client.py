"""A BGP client over the loopback interface: sockets around the session machine, and a memory of what it was told.

It comes from an address of its own in 127.0.0.0/8, so that thousands of them are as many neighbours. All of them live
in the loop of the reflector that they talk to.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from math import inf
from typing import NamedTuple

from peering.prefixes import Address, format_address
from reflector.server.tcp_options import family_of, set_md5_key
from reflector.session import events
from reflector.session.machine import Session
from reflector.session.neighbor import Neighbor
from reflector.session.settings import SessionSettings
from reflector.session.states import ESTABLISHED
from reflector.wire.attribute_cache import AttributeCache
from reflector.wire.families import IPV4_UNICAST, Family
from reflector.wire.negotiated import Negotiated
from reflector.wire.notification import Notification
from reflector.wire.packing import encode_end_of_rib, encode_updates
from reflector.wire.update import decode_update
from tests.unit.reflector.policy_samples import block, wire

_READ = 1 << 16


class Told(NamedTuple):
    """A route as it came: next hop, and the other attributes as on the wire."""

    next_hop: bytes
    attributes: bytes


class Line:
    """One connection of a client."""

    def __init__(self, opened: socket.socket) -> None:
        self.socket = opened
        self.unsent = bytearray()


class Client:
    """`told` is its table, `news` all that it heard of routes in order: (`+` or `-`, prefix on the wire).

    `ends` are the families whose End-of-RIB came, and how many routes had come before it; `notices` the NOTIFICATIONs;
    `over` the ends of its sessions.
    """

    def __init__(
        self,
        settings: SessionSettings,
        address: Address,
        reflector: tuple[Address, int],
        *,
        password: bytes = b"",
        receive_buffer: int | None = None,
        restarting: bool = False,
    ) -> None:
        self.settings = settings
        self.address = address
        self.reflector = reflector
        self.password = password
        self.told: dict[tuple[Family, bytes], Told] = {}
        self.news: list[tuple[str, bytes]] = []
        self.ends: dict[Family, int] = {}
        self.notices: list[Notification] = []
        self.over: list[events.SessionClosed] = []
        self.refreshes = 0
        self.received = 0
        self.terms = Negotiated()
        self.opens: list[events.SessionUp] = []
        self._receive_buffer = receive_buffer
        self._loop = asyncio.get_running_loop()
        self._cache = AttributeCache(external=settings.peer_asn != settings.local_asn, loopback=True)
        self._machines = Neighbor(settings, restarting=restarting)
        self._lines: dict[Session, Line] = {}
        self._listening: socket.socket | None = None
        self._reading = True
        self._alarm: asyncio.TimerHandle | None = None

    # What it does.

    def start(self) -> None:
        """Dials the reflector, unless it is passive."""
        self._machines.start(self._loop.time())
        self._service()

    def listen(self) -> int:
        """Takes connections of the reflector too; at which port."""
        sock = self._listening = socket.socket(family_of(self.address))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.password:
            self._sign(sock)
        sock.setblocking(False)
        sock.bind((format_address(self.address), 0))
        sock.listen()
        self._loop.add_reader(sock, self._accept)
        port: int = sock.getsockname()[1]
        return port

    @property
    def up(self) -> bool:
        return self._machines.established is not None

    @property
    def session(self) -> Session | None:
        """The Established one."""
        return self._machines.established

    @property
    def unsent(self) -> int:
        """Bytes that it has said and the kernel has not taken yet."""
        return sum(len(line.unsent) for line in self._lines.values())

    @property
    def connected(self) -> bool:
        """Whether it has any connection."""
        return bool(self._lines)

    def say(self, *messages: bytes) -> None:
        """Whole messages over the session that is up."""
        session = self._machines.established
        assert session is not None
        self._write(self._lines[session], b"".join(messages))

    def announce(self, prefixes: Iterable[str | bytes], number: int = 1, *path: int, **attributes: object) -> None:
        """IPv4 prefixes with the next hop 10.9.0.`number`; attributes as `policy_samples.block` takes them."""
        found = block(*path, **{"local_pref": 100, **attributes})
        told = [(bytes((10, 9, number >> 8, number & 255)), found.raw, _keys(prefixes))]
        self.say(*encode_updates(IPV4_UNICAST, [], told))

    def withdraw(self, prefixes: Iterable[str | bytes]) -> None:
        self.say(*encode_updates(IPV4_UNICAST, _keys(prefixes), []))

    def end_of_rib(self, family: Family = IPV4_UNICAST) -> None:
        self.say(encode_end_of_rib(family))

    def refresh(self) -> None:
        session = self._machines.established
        assert session is not None
        session.request_refresh(IPV4_UNICAST)
        self._service()

    def pause(self) -> None:
        """Reads nothing from now on."""
        self._reading = False
        for line in self._lines.values():
            self._loop.remove_reader(line.socket)

    def resume(self) -> None:
        self._reading = True
        for session, line in self._lines.items():
            self._loop.add_reader(line.socket, self._readable, session, line)

    def sign(self, password: bytes) -> None:
        """Another TCP MD5 password for what is connected and what is dialed from now on."""
        self.password = password
        for line in self._lines.values():
            self._sign(line.socket)

    def set_ttl(self, ttl: int) -> None:
        for line in self._lines.values():
            line.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)

    def stop(self) -> None:
        """Ends the session with a NOTIFICATION."""
        self._machines.stop(self._loop.time())
        self._service()

    def die(self) -> None:
        """Is gone, without a word, and forgets everything but its name; `start` brings it back."""
        for line in self._lines.values():
            self._loop.remove_reader(line.socket)
            self._loop.remove_writer(line.socket)
            line.socket.close()
        self._lines.clear()
        if self._listening is not None:
            self._loop.remove_reader(self._listening)
            self._listening.close()
            self._listening = None
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._machines = Neighbor(self.settings, restarting=True)
        self.told.clear()
        self.ends.clear()

    def prefixes(self) -> set[bytes]:
        """Of IPv4 unicast, what it was told."""
        return {key for family, key in self.told if family == IPV4_UNICAST}

    # The shell around its machines.

    def _connect(self, session: Session) -> None:
        sock = socket.socket(family_of(self.address))
        if self._receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        if self.password:
            self._sign(sock)
        sock.bind((format_address(self.address), 0))
        sock.setblocking(False)
        sock.connect_ex((format_address(self.reflector[0]), self.reflector[1]))
        line = self._lines[session] = Line(sock)
        self._loop.add_writer(sock, self._connected, session, line)

    def _sign(self, sock: socket.socket) -> None:
        set_md5_key(sock, bytes((8 * len(self.reflector[0]),)) + self.reflector[0], self.password)

    def _connected(self, session: Session, line: Line) -> None:
        self._loop.remove_writer(line.socket)
        if line.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._close(session)
            session.connection_lost(self._loop.time())
        else:
            self._open(session, line)
            session.connected(self._loop.time(), incoming=False)
        self._service()

    def _accept(self) -> None:
        assert self._listening is not None
        sock, _ = self._listening.accept()
        sock.setblocking(False)
        session = self._machines.accept(self._loop.time())
        if session is None:
            sock.close()
            return
        line = self._lines[session] = Line(sock)
        self._open(session, line)
        self._service()

    def _open(self, session: Session, line: Line) -> None:
        line.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._reading:
            self._loop.add_reader(line.socket, self._readable, session, line)

    def _readable(self, session: Session, line: Line) -> None:
        try:
            data = line.socket.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.received += len(data)
        if data:
            session.receive(data, self._loop.time())
        else:
            session.connection_lost(self._loop.time())
        self._service()

    def _write(self, line: Line, data: bytes) -> None:
        line.unsent += data
        self._flush(line)

    def _flush(self, line: Line) -> None:
        try:
            while line.unsent:
                del line.unsent[: line.socket.send(line.unsent)]
        except BlockingIOError:
            self._loop.add_writer(line.socket, self._flush, line)
            return
        except OSError:
            line.unsent.clear()
        self._loop.remove_writer(line.socket)

    def _close(self, session: Session) -> None:
        line = self._lines.pop(session, None)
        if line is not None:
            self._loop.remove_reader(line.socket)
            self._loop.remove_writer(line.socket)
            line.socket.close()

    def _service(self) -> None:
        ended = self._machines.take_ended()
        for session in [*ended, *self._machines.sessions]:
            for event in session.events():
                self._on_event(session, event)
            data, line = session.data_to_send(), self._lines.get(session)
            if data and line is not None:
                self._write(line, data)
                session.sent(self._loop.time())
        for session in ended:
            self._close(session)
        if ended:
            self._service()
        self._watch()

    def _on_event(self, session: Session, event: events.Event) -> None:
        if isinstance(event, events.ConnectWanted):
            self._close(session)
            self._connect(session)
        elif isinstance(event, events.SessionUp):
            self.terms = event.negotiated
            self.opens.append(event)
        elif isinstance(event, events.SessionClosed):
            self._on_closed(event)
        elif isinstance(event, events.EndOfRibReceived):
            self.ends[event.family] = len(self.told)
        elif isinstance(event, events.UpdateReceived):
            self._on_update(event.body)
        elif isinstance(event, events.RefreshEnds):
            self.refreshes += 1

    def _on_closed(self, event: events.SessionClosed) -> None:
        self.over.append(event)
        if event.notification is not None and not event.sent:
            self.notices.append(event.notification)
        if event.state is ESTABLISHED:
            self.told.clear()
            self.ends.clear()

    def _on_update(self, body: bytes) -> None:
        withdrawn, announced, found, _, faults = decode_update(body, self.terms, self._cache)
        assert not faults
        for family, keys in withdrawn:
            for key in keys:
                self.told.pop((family, key), None)
                self.news.append(("-", key))
        for family, next_hop, keys in announced:
            assert found is not None
            for key in keys:
                self.told[family, key] = Told(next_hop, found.raw)
                self.news.append(("+", key))

    def _watch(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        deadline = self._machines.deadline()
        if not self._reading:
            deadline = max(deadline, self._loop.time() + 0.5)
        if deadline < inf:
            self._alarm = self._loop.call_at(deadline, self._on_alarm)

    def _on_alarm(self) -> None:
        """While it reads nothing it still says that it lives, and calls nobody else silent."""
        now = self._loop.time()
        for session in self._machines.timer(now):
            line = self._lines.get(session)
            if self._reading and line is not None:
                self._readable(session, line)
                session.timer(now, serviced=True)
        self._service()


def _keys(prefixes: Iterable[str | bytes]) -> list[bytes]:
    return [prefix if isinstance(prefix, bytes) else wire(prefix) for prefix in prefixes]
