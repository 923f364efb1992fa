"""A ReflectorServer over the loopback interface, and clients that speak just enough BGP, all in one asyncio loop."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from peering.prefixes import Address, format_address, pack_address, pack_prefix
from reflector.configuration import Peer, PeerPolicy, PeerRange, ReflectorConfiguration
from reflector.engine.text import key_of
from reflector.server.admin_socket import serve_admin
from reflector.server.server import ReflectorServer
from reflector.session.settings import SessionSettings
from reflector.wire import framing
from reflector.wire.capabilities import Capabilities, GracefulRestart
from reflector.wire.families import IPV4_UNICAST, Family
from reflector.wire.framing import Framer, encode_message
from reflector.wire.open_message import OpenMessage
from reflector.wire.packing import encode_end_of_rib, encode_updates
from tests.unit.reflector.policy_samples import block

ASN = 64512
LOOPBACK = pack_address("127.0.0.1")
ROUTER_ID = pack_address("10.255.0.1")
#: Seconds that anything may take; whoever waits so long has failed.
LONG = 10.0


def address(number: int) -> Address:
    """Where client `number` comes from."""
    return pack_address(f"127.0.1.{number}")


def next_hop(number: int) -> Address:
    """That of client `number`; nobody may have a loopback address for one."""
    return pack_address(f"10.0.1.{number}")


def settings(name: str, **fields: Any) -> SessionSettings:
    return SessionSettings(
        name=name, local_asn=ASN, router_id=ROUTER_ID, **{"peer_asn": ASN, "passive": True, **fields}
    )


def named(number: int, owner: str = "", *, peer_port: int = 179, **policy: Any) -> Peer:
    """A neighbour of the plan that comes from `address(number)`."""
    return Peer(
        name=f"node-{number}",
        address=address(number),
        session=settings(f"node-{number}"),
        policy=PeerPolicy(**policy),
        owner=owner or f"node/node-{number}",
    )


def configuration(*peers: Peer, accept: str = "127.0.0.0/8", **fields: Any) -> ReflectorConfiguration:
    """Listens on a free port of 127.0.0.1."""
    defaults: dict[str, Any] = {
        "name": "rr-1",
        "asn": ASN,
        "router_id": ROUTER_ID,
        "cluster_id": ROUTER_ID,
        "addresses": (LOOPBACK,),
        "port": free_port(),
        "peers": {peer.address: peer for peer in peers},
        "ranges": (PeerRange(prefix=pack_prefix(accept), session=settings(accept)),),
        "ownership": "off",
    }
    return ReflectorConfiguration(**(defaults | fields))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def until(holds: Callable[[], Any], why: Callable[[], Any] = lambda: "") -> None:
    """Returns when it holds; soon, or the test fails."""
    loop = asyncio.get_running_loop()
    end = loop.time() + LONG
    while not holds():
        assert loop.time() < end, why()
        await asyncio.sleep(0.005)


class Client:
    """A connection to the reflector. `messages` are those that came, `closed` says that no more will."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.messages: list[tuple[int, bytes]] = []
        self.closed = False
        self._writer = writer
        self._reading = asyncio.ensure_future(self._read(reader))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        framer = Framer()
        with suppress(OSError):
            while data := await reader.read(65536):
                self.messages += framer.feed(data)
        self.closed = True

    def say(self, *messages: bytes) -> None:
        self._writer.write(b"".join(messages))

    def open(self, number: int, asn: int = ASN, *, restart: int | None = None, families: Iterable[Family] = ()) -> None:
        chosen = tuple(families) or (IPV4_UNICAST,)
        can = Capabilities(
            multiprotocol=chosen,
            route_refresh=True,
            four_octet_as=asn,
            graceful_restart=None if restart is None else GracefulRestart(restart, dict.fromkeys(chosen, True)),
        )
        body = OpenMessage(asn, 90, address(number), can).encode()
        self.say(encode_message(framing.OPEN, body), encode_message(framing.KEEPALIVE))

    def announce(self, number: int, *prefixes: str, **attributes: Any) -> None:
        """With `next_hop(number)`; other attributes as `policy_samples.block` takes them."""
        for prefix in prefixes:
            family, key = key_of(prefix)
            hop = next_hop(number) if family.afi == 1 else pack_address(f"fd00::{number:x}")
            asns = attributes.get("as_path", ())
            raw = block(*asns, **{k: v for k, v in attributes.items() if k != "as_path"}).raw
            self.say(*encode_updates(family, [], [(hop, raw, [key])]))

    def end_of_rib(self) -> None:
        self.say(encode_end_of_rib(IPV4_UNICAST))

    def kinds(self) -> list[int]:
        return [kind for kind, _ in self.messages]

    def close(self) -> None:
        self._reading.cancel()
        self._writer.close()


class Running:
    """The reflector, what it logged, and its admin socket."""

    def __init__(self, server: ReflectorServer, log: list[tuple[str, dict[str, Any]]], path: Path) -> None:
        self.server = server
        self.log = log
        self.path = path
        self.clients: list[Client] = []

    def events(self, name: str) -> list[dict[str, Any]]:
        return [fields for event, fields in self.log if event == name]

    async def connect(self, number: int) -> Client:
        port, source = self.server.configuration.port, format_address(address(number))
        client = Client(*await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0)))
        self.clients.append(client)
        return client

    async def client(self, number: int, **fields: Any) -> Client:
        """A client whose session is up, on both ends."""
        client = await self.connect(number)
        client.open(number, **fields)
        await until(lambda: framing.KEEPALIVE in client.kinds(), lambda: self.log)
        await until(lambda: self.state(number) is not None and self.state(number).up)
        return client

    def state(self, number: int) -> Any:
        neighbour = self.server.neighbours.get(address(number))
        return neighbour.state if neighbour is not None else None

    async def settled(self, number: int, count: int) -> None:
        """What so many prefixes were said by a client has arrived."""
        await until(
            lambda: sum(map(len, self.state(number).families.values())) == count and not self.server.engine.waiting,
            lambda: self.log,
        )

    async def ask(self, **request: Any) -> dict[str, Any]:
        """The answer of the admin socket, with the rows of all its lines."""
        reader, writer = await asyncio.open_unix_connection(str(self.path), limit=1 << 24)
        writer.write(json.dumps(request).encode() + b"\n")
        rows: list[Any] = []
        while True:
            answer = json.loads(await asyncio.wait_for(reader.readline(), LONG))
            rows += answer.get("rows", ())
            if not answer.get("more"):
                break
        writer.close()
        return {**answer, "rows": rows} if "rows" in answer else answer


@asynccontextmanager
async def reflector(folder: Path, *peers: Peer, **fields: Any) -> AsyncIterator[Running]:
    """A reflector that is up, with its admin socket, until the end of the block."""
    log: list[tuple[str, dict[str, Any]]] = []
    server = ReflectorServer(configuration(*peers, **fields), {}, lambda event, **f: log.append((event, f)))
    running = Running(server, log, folder / "rr-1.sock")
    serving = asyncio.ensure_future(server.run())
    admin = asyncio.ensure_future(serve_admin(server, running.path))
    try:
        await until(lambda: running.path.exists() and running.events("listening"), lambda: (serving, admin))
        yield running
    finally:
        for client in running.clients:
            client.close()
        server.stop()
        admin.cancel()
        await asyncio.gather(serving, admin, return_exceptions=True)
