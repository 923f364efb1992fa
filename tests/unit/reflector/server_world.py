"""A real ReflectorServer on the loopback interface, with its clients, in one loop whose clock can be put forward.

    def test_it() -> None:
        async def scenario() -> None:
            async with world(configuration()) as w:
                one = await w.client(1)
                ...
        run(scenario())

Whatever reaches the loop's exception handler fails the test, in every test.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from peering.prefixes import Address, format_address, pack_address, pack_prefix
from peering.session import SecretKeyRef
from reflector.configuration import Peer, PeerPolicy, PeerRange, ReflectorConfiguration, Transport
from reflector.server.connection import Connection
from reflector.server.neighbour import Neighbour
from reflector.server.server import ReflectorServer
from reflector.session.local_open import local_open
from reflector.session.settings import SessionSettings
from reflector.wire.families import IPV4_UNICAST
from reflector.wire.framing import NOTIFICATION, OPEN, Framer, encode_message
from reflector.wire.notification import Notification, decode_notification
from tests.unit.reflector.server_client import Client

ASN = 64512
HERE = pack_address("127.0.0.1")
HERE_V6 = pack_address("::1")
ROUTER_ID = pack_address("10.255.0.1")
EVERYBODY = "127.0.0.0/8"
#: Seconds of real time after which something that has not happened will not happen.
LONG = 20.0
#: Seconds that the clock is put forward at a time: well below every hold time that tests use with it.
_STEP = 5.0


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose time is `ahead` of the real one."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


def run(scenario: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=Clock) as runner:
        runner.run(scenario)


def address(number: int) -> Address:
    """Where client `number` comes from."""
    return bytes((127, 1 + (number >> 16), number >> 8 & 255, number & 255))


def settings(name: str, **fields: Any) -> SessionSettings:
    """Those of the reflector."""
    defaults: dict[str, Any] = {
        "peer_asn": ASN,
        "families": (IPV4_UNICAST,),
        "connect_retry": 0.1,
        "connect_retry_max": 0.1,
    }
    return SessionSettings(name=name, local_asn=ASN, router_id=ROUTER_ID, **(defaults | fields))


def range_of(prefix: str = EVERYBODY, *, transport: Transport | None = None, limit: int = 10_000, **fields: Any) -> Any:
    """Dynamic neighbours; `fields` are of their policy, `session` what differs in that."""
    session = fields.pop("session", {})
    return PeerRange(
        prefix=pack_prefix(prefix),
        session=settings(prefix, passive=True, **session),
        policy=PeerPolicy(**fields),
        transport=transport or Transport(),
        limit=limit,
    )


def named(number: int, port: int | None = None, *, password: SecretKeyRef | None = None, **fields: Any) -> Peer:
    """A neighbour of the plan; dialed at `port` if there is one. `fields` as with `range_of`, and `owner`."""
    session = {"passive": port is None, **fields.pop("session", {})}
    name, owner = f"node-{number}", fields.pop("owner", f"node/node-{number}")
    return Peer(
        name=name,
        address=address(number),
        session=settings(name, **session),
        policy=PeerPolicy(**fields),
        transport=Transport(peer_port=port or 179, password=password),
        owner=owner,
    )


def configuration(*peers: Peer, ranges: Iterable[PeerRange] | None = None, **fields: Any) -> ReflectorConfiguration:
    """Listens on 127.0.0.1 and takes anybody from 127.0.0.0/8, if nothing else is said."""
    defaults: dict[str, Any] = {
        "name": "rr",
        "asn": ASN,
        "router_id": ROUTER_ID,
        "cluster_id": ROUTER_ID,
        "addresses": (HERE,),
        "port": free_port(),
        "peers": {peer.address: peer for peer in peers},
        "ranges": (range_of(),) if ranges is None else tuple(ranges),
        "ownership": "off",
    }
    return ReflectorConfiguration(**(defaults | fields))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def hello(number: int, **fields: Any) -> bytes:
    """The OPEN of client `number`; `fields` differ in its message."""
    said = SessionSettings(
        name="raw", local_asn=ASN, router_id=address(number), families=(IPV4_UNICAST,), graceful_restart_time=0
    )
    return encode_message(OPEN, replace(local_open(said), **fields).encode())


def blocks(first: int, count: int) -> list[bytes]:
    """So many /24 inside 11.0.0.0/8 and behind, as on the wire."""
    return [bytes((24,)) + (0x0B0000 + number).to_bytes(3, "big") for number in range(first, first + count)]


class World:
    """The server, what it logged, and the clients that were made here."""

    def __init__(
        self, wanted: ReflectorConfiguration, passwords: Mapping[SecretKeyRef, bytes], restarting: bool
    ) -> None:
        self.log: list[tuple[str, dict[str, Any]]] = []
        self.server = ReflectorServer(wanted, passwords, self._note, restarting=restarting)
        self.clients: list[Client] = []
        self.raw: list[Raw] = []
        self.errors: list[dict[str, Any]] = []
        self.serving: asyncio.Future[None] | None = None
        self._mind = 0

    def _note(self, event: str, **fields: Any) -> None:
        self.log.append((event, fields))

    def events(self, name: str) -> list[dict[str, Any]]:
        """What was logged under that name."""
        return [fields for event, fields in self.log if event == name]

    @property
    def place(self) -> tuple[Address, int]:
        """Where the reflector listens."""
        return self.server.configuration.addresses[0], self.server.configuration.port

    def neighbour(self, number: int) -> Neighbour:
        return self.server.neighbours[address(number)]

    def connection(self, number: int) -> Connection:
        """The one of a neighbour over which its session is up."""
        neighbour = self.neighbour(number)
        session = neighbour.machines.established
        assert session is not None
        return neighbour.connections[session]

    # Clients.

    def make(self, number: int, *, at: Address | None = None, to: Address | None = None, **fields: Any) -> Client:
        """A client that does nothing yet. `fields` are those of `Client`, and of its settings."""
        own = {key: fields.pop(key) for key in ("password", "receive_buffer", "restarting") if key in fields}
        place = (to or self.place[0], self.place[1])
        said = {
            "name": f"client {number}",
            "local_asn": ASN,
            "peer_asn": ASN,
            "router_id": address(number),
            "families": (IPV4_UNICAST,),
            "graceful_restart_time": 0,
            "connect_retry": 0.1,
            "connect_retry_max": 0.1,
            **fields,
        }
        made = Client(SessionSettings(**said), at or address(number), place, **own)
        self.clients.append(made)
        return made

    async def client(self, number: int, **fields: Any) -> Client:
        """One whose session is up, and which was told the table."""
        made = self.make(number, **fields)
        made.start()
        await self.told_all(made)
        return made

    async def told_all(self, *clients: Client) -> None:
        """Each is up, and its End-of-RIB has come for every family."""
        await self.until(lambda: all(c.up and set(c.ends) >= set(c.terms.families) for c in clients))

    async def raw_client(self, number: int, *, host: Address = HERE) -> Raw:
        """A connection that says what the test says."""
        source = format_address(address(number)), 0
        made = Raw(*await asyncio.open_connection(format_address(host), self.place[1], local_addr=source))
        self.raw.append(made)
        return made

    async def fill(self, number: int, speaker: Client) -> None:
        """Until the socket of a neighbour that reads nothing takes no more: `speaker` changes its mind all the time."""

        def full() -> bool:
            if not speaker.unsent and not self._busy():
                self._mind += 1
                speaker.announce(blocks(0, 10_000), 1, med=self._mind)
            return self.connection(number).blocked

        await self.until(full)

    # Time.

    async def until(self, holds: Callable[[], Any], why: Callable[[], Any] = lambda: "") -> None:
        """Returns when it holds; soon, or the test fails."""
        end = time.monotonic() + LONG
        while not holds():
            assert time.monotonic() < end, f"{why()} {self.log[-20:]} {self.errors}"
            await asyncio.sleep(0.002)

    async def quiet(self) -> None:
        """Until nothing moves any more: what was said has come to whoever is to hear of it."""
        still, before = 0, self._moved()
        await self.until(lambda: not self._busy())
        end = time.monotonic() + LONG
        while still < 4:
            assert time.monotonic() < end, "it never rests"
            await asyncio.sleep(0.001)
            now = self._moved()
            still = 0 if now != before or self._busy() else still + 1
            before = now

    def _busy(self) -> bool:
        return self.server._sessions.publisher.busy or self.server.engine.waiting or any(c.unsent for c in self.clients)

    def _moved(self) -> tuple[int, ...]:
        counters = self.server.counters
        return (
            self.server._sessions.publisher.reads,
            counters.rounds,
            counters.established,
            sum(c.received for c in self.clients),
        )

    async def pass_time(self, seconds: float, *, step: float = _STEP) -> None:
        """The clock goes forward, in steps in which everybody may say that it lives."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Clock)
        while seconds > 0:
            loop.ahead += min(step, seconds)
            seconds -= step
            for _ in range(5):
                await asyncio.sleep(0.001)

    # What there is in the end.

    def footprint(self) -> dict[str, int]:
        """Everything that must not grow with those who come and go."""
        server, engine = self.server, self.server.engine
        return {
            "neighbours": len(server.neighbours),
            "up": len(server._sessions.publisher.up),
            "coming": server._sessions.publisher.coming,
            "tickets": len(server._sessions.by_ticket),
            "admitted": server._admission.connections,
            "sources": len(server._admission._sources),
            "deadlines": len(server._sessions._deadlines._current),
            "peers": len(engine.peers),
            "groups": len(engine.groups),
            "stale": len(engine._stale),
            "waiting": len(engine._waiting),
            "routes": sum(len(table.paths) for table in engine.tables.values()),
            "files": len(os.listdir("/proc/self/fd")),
        }


class Raw:
    """A connection without a session. `messages` are those that came: (type, body)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.messages: list[tuple[int, bytes]] = []
        self.closed = False
        self.reset = False
        self.writer = writer
        self._reading = asyncio.ensure_future(self._read(reader))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        framer = Framer(65535)
        try:
            while data := await reader.read(1 << 16):
                self.messages += framer.feed(data)
        except OSError:
            self.reset = True
        self.closed = True

    def say(self, *data: bytes) -> None:
        self.writer.write(b"".join(data))

    def bodies(self, kind: int) -> list[bytes]:
        return [body for found, body in self.messages if found == kind]

    @property
    def notices(self) -> list[Notification]:
        return [decode_notification(body) for body in self.bodies(NOTIFICATION)]

    def close(self) -> None:
        self._reading.cancel()
        self.writer.close()


@asynccontextmanager
async def world(
    wanted: ReflectorConfiguration,
    passwords: Mapping[SecretKeyRef, bytes] | None = None,
    *,
    restarting: bool = False,
) -> AsyncIterator[World]:
    """A reflector that is up, until the end of the block."""
    loop = asyncio.get_running_loop()
    made = World(wanted, passwords or {}, restarting)
    loop.set_exception_handler(lambda _, context: made.errors.append(context))
    thresholds = gc.get_threshold()
    made.serving = asyncio.ensure_future(made.server.run())
    try:
        await made.until(lambda: made.events("listening") or (made.serving and made.serving.done()))
        yield made
    finally:
        for client in made.clients:
            client.die()
        for raw in made.raw:
            raw.close()
        if not made.serving.done():
            made.server.stop()
        await made.serving
        gc.unfreeze()
        gc.set_threshold(*thresholds)
    gc.collect()
    assert not made.errors, made.errors
