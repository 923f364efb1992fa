"""The metrics of a running reflector, fetched as Prometheus fetches them, read with the parser of its own library."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from peering.prefixes import pack_prefix
from reflector.configuration import Owners
from reflector.server import metrics_server
from reflector.server.counters import Counters, end_of
from reflector.server.metrics import NEIGHBOR_ROWS, PREFIX, ROWS, exposition
from reflector.server.metrics_server import CLIENTS, serve_metrics
from reflector.server.server import ReflectorServer
from reflector.server.tcp_options import TcpError
from reflector.session.events import SessionClosed
from reflector.session.states import Input, State
from reflector.wire import framing
from reflector.wire.errors import Cease, ErrorCode
from reflector.wire.framing import encode_message
from reflector.wire.notification import Notification
from tests.unit.reflector.running_reflector import (
    LONG,
    LOOPBACK,
    Running,
    configuration,
    free_port,
    named,
    reflector,
    until,
)

Sample = tuple[str, tuple[tuple[str, str], ...]]


@asynccontextmanager
async def served(server: ReflectorServer) -> Any:
    """The port of its metrics."""
    port = free_port()
    serving = asyncio.ensure_future(serve_metrics(server, LOOPBACK, port))
    for _ in range(500):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            break
    try:
        yield port
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def http(port: int, request: str) -> tuple[str, dict[str, str], bytes]:
    """Status, head and raw body of the answer to these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode())
    data = await asyncio.wait_for(reader.read(), LONG)
    writer.close()
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return status, dict(line.split(": ", 1) for line in lines), body


async def scrape(port: int) -> dict[Sample, float]:
    status, head, body = await http(port, "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n")
    assert (status, head["Transfer-Encoding"]) == ("HTTP/1.1 200 OK", "chunked")
    return parsed(unchunked(body).decode())


def unchunked(body: bytes) -> bytes:
    found: list[bytes] = []
    while True:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            assert body == b"\r\n"
            return b"".join(found)
        found.append(body[:length])
        assert body[length : length + 2] == b"\r\n"
        body = body[length + 2 :]


def parsed(text: str) -> dict[Sample, float]:
    """Samples without the prefix of their names."""
    found: dict[Sample, float] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            key = (sample.name.removeprefix(PREFIX), tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def key(name: str, **labels: str) -> Sample:
    return name, tuple(sorted(labels.items()))


def run(work: Callable[[Running, int], Coroutine[Any, Any, None]], folder: Path, *peers: Any, **fields: Any) -> None:
    async def main() -> None:
        async with reflector(folder, *peers, **fields) as running, served(running.server) as port:
            await work(running, port)

    asyncio.run(main())


PREFIXES = ("10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24")


def test_what_happens_is_in_the_numbers(tmp_path: Path) -> None:
    belongs = Owners(
        {pack_prefix("10.1.0.0/24"): frozenset(("node/node-2",))}, frozenset((pack_prefix("10.2.0.0/15"),))
    )

    async def work(running: Running, port: int) -> None:
        one = await running.client(1)
        one.announce(1, *PREFIXES)
        await running.settled(1, 3)
        seen = await scrape(port)
        ids = {"router_id": "10.255.0.1", "cluster_id": "10.255.0.1"}
        expected = {
            key("neighbors", state="Established"): 1,
            key("neighbors", state="Active"): 1,
            key("neighbors", state="OpenSent"): 0,
            key("neighbors_declared"): 2,
            key("connections"): 1,
            key("prefixes", family="ipv4-unicast"): 2,
            key("paths", family="ipv4-unicast", kind="accepted"): 2,
            key("paths", family="ipv4-unicast", kind="refused"): 1,
            key("conditions", condition="foreign-block"): 1,
            key("conditions", condition="prefix-limit-near"): 1,
            key("conditions", condition="stopped"): 0,
            key("update_groups"): 1,
            key("sessions_established_total"): 1,
            key("updates_received_total"): 3,
            key("update_faults_total"): 0,
            key("foreign_blocks_refused_total"): 1,
            key("neighbor_up", neighbor="node-1"): 1,
            key("neighbor_up", neighbor="node-2"): 0,
            key("neighbor_prefixes", neighbor="node-1", family="ipv4-unicast"): 3,
            key("info", reflector="rr-1", asn="64512", ownership="enforce", **ids): 1,
        }
        assert {name: seen.get(name) for name in expected} == expected
        assert seen[key("publish_rounds_total")] >= 1
        assert 0 < seen[key("publish_seconds_total")] < LONG
        assert 0 <= seen[key("uptime_seconds")] < 60
        assert seen[key("resident_memory_bytes")] > 1 << 20
        assert seen[key("cpu_seconds_total")] > 0
        assert {name for name, _ in seen} <= {row.name for row in ROWS} | {row.name for row in NEIGHBOR_ROWS}

    run(work, tmp_path, named(1, max_prefixes=4), named(2), ownership="enforce", owners=belongs)


def test_counters_keep_what_was_counted_when_sessions_and_neighbours_are_gone(tmp_path: Path) -> None:
    async def work(running: Running, port: int) -> None:
        client = await running.client(7)
        client.announce(7, *PREFIXES)
        await running.settled(7, 3)
        client.say(encode_message(framing.NOTIFICATION, Notification(ErrorCode.CEASE, 99).encode()))
        await until(lambda: not running.server.neighbours)
        seen = await scrape(port)
        assert seen[key("updates_received_total")] == 3
        assert seen[key("sessions_ended_total", reason="received an unknown notification")] == 1
        assert key("neighbor_up", neighbor="127.0.1.7") not in seen
        again = await running.client(7)
        again.announce(7, PREFIXES[0])
        await running.settled(7, 1)
        assert (await scrape(port))[key("updates_received_total")] == 4

    run(work, tmp_path)


def test_refused_and_failed_connections_and_limits_are_counted(tmp_path: Path) -> None:
    async def work(running: Running, port: int) -> None:
        stranger = await running.connect(200)
        await until(lambda: stranger.closed)
        wrong = await running.connect(1)
        wrong.open(1, asn=65000)
        await until(lambda: wrong.closed)
        many = await running.client(1)
        many.announce(1, *PREFIXES)
        await until(lambda: many.closed)
        seen = await scrape(port)
        assert seen[key("connections_refused_total", code="no-such-neighbour")] == 1
        assert seen[key("sessions_failed_total", reason="sent open message, bad peer as")] == 1
        assert seen[key("prefix_limits_exceeded_total")] == 1
        assert seen[key("conditions", condition="prefix-limit")] == 1
        assert seen[key("sessions_ended_total", reason="sent cease, maximum prefixes")] == 1

    run(work, tmp_path, named(1, max_prefixes=2), accept="10.0.0.0/8")


def closed(
    notification: Notification | None, cause: Input = Input.NOTIFICATION, *, sent: bool = False
) -> SessionClosed:
    return SessionClosed(State.ESTABLISHED, cause, notification, sent, {})


@pytest.mark.parametrize(
    ("event", "label"),
    [
        (closed(Notification(ErrorCode.CEASE, Cease.HARD_RESET)), "received cease, hard reset"),
        (closed(Notification(ErrorCode.HOLD_TIMER_EXPIRED), sent=True), "sent hold timer expired"),
        (closed(Notification(200, 7)), "received an unknown notification"),
        (closed(Notification(ErrorCode.CEASE, 77)), "received an unknown notification"),
        (closed(None, Input.CONNECTION_FAILS), "connection lost"),
        (closed(None, Input.REPLACED), "replaced by a new connection"),
    ],
)
def test_what_ended_a_session_is_one_of_a_few_words(event: SessionClosed, label: str) -> None:
    assert end_of(event) == label


def test_whatever_peers_say_there_are_few_labels() -> None:
    counters = Counters()
    for code in range(256):
        for subcode in range(256):
            counters.closed(closed(Notification(code, subcode)), None)
    assert sum(counters.ended.values()) == 65536
    assert len(counters.ended) < 60


def test_names_that_need_it_are_escaped() -> None:
    odd = named(1)
    odd = type(odd)(name='a"b\\c\nd', address=odd.address, session=odd.session)

    async def main() -> str:
        server = ReflectorServer(configuration(odd), {}, lambda event, **fields: None)
        serving = asyncio.ensure_future(server.run())
        await until(lambda: server.neighbours)
        text = b"".join(piece for piece in exposition(server) if piece).decode()
        server.stop()
        await serving
        return text

    assert parsed(asyncio.run(main()))[key("neighbor_up", neighbor='a"b\\c\nd')] == 0


# HTTP.


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET / HTTP/1.1", "404 Not Found"),
        ("GET /metrics/x HTTP/1.1", "404 Not Found"),
        ("POST /metrics HTTP/1.1", "405 Method Not Allowed"),
        ("GET /metrics", "400 Bad Request"),
        ("GET /metrics SPDY/3", "400 Bad Request"),
        ("", "400 Bad Request"),
        ("GET /metrics HTTP/1.1\r\nX: " + "x" * 9000, "431 Request Header Fields Too Large"),
        ("GET /metrics?name=x HTTP/1.1", "200 OK"),
    ],
)
def test_requests_get_their_status(tmp_path: Path, request_line: str, status: str) -> None:
    async def work(running: Running, port: int) -> None:
        said, head, body = await http(port, f"{request_line}\r\n\r\n")
        assert said == f"HTTP/1.1 {status}"
        assert head["Connection"] == "close"
        if "Content-Length" in head:
            assert len(body) == int(head["Content-Length"])
            assert body.endswith(b"the metrics are at /metrics\n")

    run(work, tmp_path)


def test_a_head_has_no_body_and_an_old_client_no_chunks(tmp_path: Path) -> None:
    async def work(running: Running, port: int) -> None:
        status, head, body = await http(port, "HEAD /metrics HTTP/1.1\r\n\r\n")
        assert (status, body) == ("HTTP/1.1 200 OK", b"")
        assert head["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        status, head, body = await http(port, "GET /metrics HTTP/1.0\r\n\r\n")
        assert "Transfer-Encoding" not in head
        assert parsed(body.decode())[key("neighbors_declared")] == 0

    run(work, tmp_path)


def test_a_client_that_says_nothing_or_takes_nothing_keeps_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_server, "_PATIENCE", 0.3)

    async def work(running: Running, port: int) -> None:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CLIENTS)]
        assert (await http(port, "GET /metrics HTTP/1.1\r\n\r\n"))[0] == "HTTP/1.1 503 Service Unavailable"
        for reader, _ in silent:
            assert await asyncio.wait_for(reader.read(), LONG) == b""
        assert (await http(port, "GET /metrics HTTP/1.1\r\n\r\n"))[0] == "HTTP/1.1 200 OK"
        for _, writer in silent:
            writer.close()

    run(work, tmp_path)


def test_what_cannot_be_listened_on_is_said() -> None:
    async def main() -> None:
        port = free_port()
        first = metrics_server.listen(LOOPBACK, port)
        with pytest.raises(TcpError, match=f"metrics on 127.0.0.1 port {port}: "):
            metrics_server.listen(LOOPBACK, port)
        first.close()

    asyncio.run(main())


def test_every_neighbour_is_a_piece_of_its_own() -> None:
    """However many there are, what is made at a time stays small."""

    async def main() -> None:
        server = ReflectorServer(configuration(*(named(n) for n in range(1, 60))), {}, lambda event, **fields: None)
        serving = asyncio.ensure_future(server.run())
        await until(lambda: len(server.neighbours) == 59)
        pieces = list(exposition(server))
        assert pieces.count(None) == 59
        ups = [piece for piece in pieces if piece and b"neighbor_up{" in piece]
        assert len(ups) == 59
        server.stop()
        await serving

    asyncio.run(main())
