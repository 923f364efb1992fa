"""When a speaker counts as ready, and what its probes and metrics answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest

from bgp_speaker.node_state import NodeState
from bgp_speaker.node_view import NodeView
from peering.compile import plan
from peering.resource import Resource
from peering.resources.node import NodeSpec
from peering.resources.observed import BGPNodeStatusSpec, PeerStatus
from tests.unit.samples import dual_tor
from underlay.health_server import Answer, Paths, alive, keep_serving, unless
from underlay.node_metrics import exposition
from underlay.node_readiness import unreadiness

PLAN = plan(dual_tor()).speakers["node-1"]
NAMES = [session.name for session in PLAN.sessions]
VIEW = NodeView(plan=PLAN, node=Resource("Node", "node-1", NodeSpec()), blocks=("10.244.0.0/26",))
#: No session is up, and nothing is wrong here.
WAITING = NodeState(VIEW, exabgp_runs=True)
SECRET = "Secret/rack-1 has no bgp"


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (WAITING, ""),
        (replace(WAITING, established=4), ""),
        (NodeState(), "the store was not read yet"),
        (replace(WAITING, view=replace(VIEW, node=None, plan=None)), "there is no such Node"),
        (replace(WAITING, view=replace(VIEW, plan=None)), "the plan has no speaker for it: underlay lint tells why"),
        (replace(WAITING, exabgp_runs=False), "ExaBGP does not run"),
        (replace(WAITING, view=replace(VIEW, plan=replace(PLAN, sessions=())), exabgp_runs=False), ""),
        (replace(WAITING, omitted=dict.fromkeys(NAMES[1:], SECRET)), ""),
        (replace(WAITING, omitted=dict.fromkeys(NAMES, SECRET)), f"Rack/rack-1: no session can come up: {SECRET}"),
    ],
)
def test_what_is_wrong_at_this_end_counts(state: NodeState, reason: str) -> None:
    assert unreadiness(state) == reason


def test_each_declaration_counts_for_itself() -> None:
    """Of a BGPPeer's one session and the rack's two pairs: the rack is well."""
    other = replace(PLAN.sessions[0], name="extra", source="BGPPeer/extra")
    view = replace(VIEW, plan=replace(PLAN, sessions=(*PLAN.sessions, other)))
    assert unreadiness(replace(WAITING, view=view, omitted={"extra": SECRET})).startswith("BGPPeer/extra: ")


def test_metrics_are_those_of_the_last_report() -> None:
    row = PeerStatus(
        session="tor-1a-ipv4", peer="switch/tor-1a", peer_address="10.1.1.0", peer_asn=65011, state="Established",
        since=1000.0, received=5, accepted=3, announced=2,
    )  # fmt: skip
    report = BGPNodeStatusSpec(node="node-1", sessions=(row,), blocks=("10.244.0.0/26",), kernel_routes=7)
    lines = exposition(replace(WAITING, report=report)).decode().splitlines()
    of = 'peer="switch/tor-1a",session="tor-1a-ipv4"'
    assert {
        f"underlay_speaker_session_up{{{of}}} 1.0",
        f"underlay_speaker_session_changed_seconds{{{of}}} 1000.0",
        f"underlay_speaker_prefixes_received{{{of}}} 5.0",
        f"underlay_speaker_prefixes_accepted{{{of}}} 3.0",
        f"underlay_speaker_prefixes_announced{{{of}}} 2.0",
        "underlay_speaker_blocks 1.0",
        "underlay_speaker_kernel_routes 7.0",
        "underlay_speaker_exabgp_restarts_total 0.0",
    } <= set(lines)
    assert exposition(WAITING) == b""


PATHS: Paths = {"/livez": alive, "/readyz": lambda: unless("ExaBGP does not run"), "/metrics": lambda: Answer(b"x 1\n")}


@asynccontextmanager
async def served(paths: Paths) -> AsyncIterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said: list[str] = []
    task = asyncio.create_task(keep_serving("127.0.0.1", port, paths, said.append))
    try:
        yield port
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _asked(port: int, request: bytes) -> bytes:
    for _ in range(500):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            break
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("request_line", "status", "body"),
    [
        ("GET /livez HTTP/1.1", "200 OK", "ok\n"),
        ("HEAD /livez HTTP/1.1", "200 OK", ""),
        ("GET /readyz?verbose HTTP/1.1", "503 Service Unavailable", "ExaBGP does not run\n"),
        ("GET /metrics HTTP/1.0", "200 OK", "x 1\n"),
        ("GET / HTTP/1.1", "404 Not Found", "/livez, /metrics, /readyz\n"),
        ("POST /livez HTTP/1.1", "405 Method Not Allowed", "only GET\n"),
        ("\x16\x03\x01", "405 Method Not Allowed", "only GET\n"),
    ],
)
def test_what_probes_are_answered(request_line: str, status: str, body: str) -> None:
    async def asked() -> bytes:
        async with served(PATHS) as port:
            return await _asked(port, f"{request_line}\r\nHost: x\r\n\r\n".encode())

    head, _, found = asyncio.run(asked()).decode().partition("\r\n\r\n")
    assert (head.splitlines()[0], found) == (f"HTTP/1.1 {status}", body)


def test_a_port_that_is_taken_is_tried_again() -> None:
    async def story() -> tuple[list[str], bytes]:
        said: list[str] = []
        told = asyncio.Event()

        def log(line: str) -> None:
            said.append(line)
            told.set()

        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            task = asyncio.create_task(keep_serving("127.0.0.1", port, PATHS, log))
            await told.wait()
        answer = await _asked(port, b"GET /livez HTTP/1.1\r\n\r\n")
        task.cancel()
        return said, answer

    said, answer = asyncio.run(asyncio.wait_for(story(), 30))
    assert len(said) == 1
    assert answer.endswith(b"ok\n")
