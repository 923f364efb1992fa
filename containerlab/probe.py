"""Measures what users of the network feel: many UDP flows at a steady rate, and the longest silence of each.

    probe.py serve --port P
    probe.py flows --to ADDRESS --port P --flows N --rate R --seconds S [--from ADDRESS] --json

Stdlib only and started by path, so it runs in any namespace. `serve` answers each datagram on IPv4 and IPv6 with
its payload and the source address it saw. `flows` sends N flows, each from a source port of its own, so that they
spread over equal-cost paths, at R packets a second each, evenly staggered; SIGINT or SIGTERM ends it early with a
result.

A packet is lost if its answer has not come after LATE: one that waited longer somewhere (for a neighbour to be
resolved, say) was of no use to anybody, though it counts in `slowestMs`, the longest round trip. A flow's gap
is the longest time between two packets of it that were answered in a row, measured between their sendings, less
the sending interval: 0 when nothing is lost. Silence at the start or the end of the run counts too.
"""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import itertools
import json
import selectors
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from typing import Any

LATE = 1.0
"""Seconds after which an answer no longer counts; also how long the end of the run waits for answers."""

_HEADER = struct.Struct("!IId")
_MAX_PACKET = 512
_SO_RCVBUFFORCE = 33
"""linux/asm-generic/socket.h; Python has no name for it. Past net.core.rmem_max, for root."""
_BUFFER_BYTES = 8 << 20


@dataclass(slots=True)
class Flow:
    """One flow: `answered` holds the sending times (monotonic seconds) of the packets that were answered."""

    socket: socket.socket
    peer: tuple[str, int]
    due: float
    sent: int = 0
    slowest: float = 0.0
    answered: dict[int, float] = field(default_factory=dict)
    sources: set[str] = field(default_factory=set)

    def result(self, begin: float, end: float, interval: float) -> dict[str, Any]:
        times = [begin - interval, *sorted(self.answered.values()), end]
        gap = max((later - earlier for earlier, later in itertools.pairwise(times)), default=0.0)
        return {
            "port": self.socket.getsockname()[1],
            "sent": self.sent,
            "answered": len(self.answered),
            "gapMs": round(max(0.0, gap - interval) * 1000, 1) if len(self.answered) < self.sent else 0.0,
            "slowestMs": round(self.slowest * 1000, 1),
            "sources": sorted(self.sources),
        }


class Stop:
    """Set by SIGINT and SIGTERM."""

    def __init__(self) -> None:
        self.now = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)

    def _stop(self, *_: object) -> None:
        self.now = True


def serve(port: int) -> int:
    stop, selector = Stop(), selectors.DefaultSelector()
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        server = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.bind((address, port))
        server.setblocking(False)
        with contextlib.suppress(OSError):  # a busy machine must not look like a network that loses packets
            server.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        selector.register(server, selectors.EVENT_READ)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while not stop.now:
        for key, _ in selector.select(0.2):
            _answer(key.fileobj)
    return 0


def _answer(server: Any) -> None:
    # A reply may fail while routes are missing; the sender counts it as lost.
    with contextlib.suppress(OSError):
        while True:
            data, peer = server.recvfrom(_MAX_PACKET)
            server.sendto(data[: _HEADER.size] + peer[0].encode(), peer)


def run_flows(to: str, port: int, flows: int, rate: float, seconds: float, source: str | None = None) -> dict[str, Any]:
    """The measurement as described above; times in ms, counts in packets."""
    stop, selector, interval = Stop(), selectors.DefaultSelector(), 1.0 / rate
    begin = time.monotonic()
    running = [_open(to, port, source, begin + interval * index / flows) for index in range(flows)]
    for index, flow in enumerate(running):
        selector.register(flow.socket, selectors.EVENT_READ, index)
    while not stop.now and time.monotonic() < begin + seconds:
        nearest = _send_due(running, interval)
        _receive(selector, running, max(0.0, min(nearest, begin + seconds) - time.monotonic()))
    end = time.monotonic()
    while time.monotonic() < end + LATE and any(len(flow.answered) < flow.sent for flow in running):
        _receive(selector, running, 0.05)
    return summary([flow.result(begin, end, interval) for flow in running], end - begin)


def _open(to: str, port: int, source: str | None, due: float) -> Flow:
    version = ipaddress.ip_address(to).version
    flow = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    flow.setblocking(False)
    # Not connected: a route that is missing for a moment must not end the flow, nor pin its source address.
    flow.bind((source or ("0.0.0.0" if version == 4 else "::"), 0))
    return Flow(flow, (to, port), due)


def _send_due(flows: list[Flow], interval: float) -> float:
    """Sends what is due and returns when the next packet is."""
    now = time.monotonic()
    for index, flow in enumerate(flows):
        while flow.due <= now:
            with contextlib.suppress(OSError):
                flow.socket.sendto(_HEADER.pack(index, flow.sent, time.monotonic()), flow.peer)
            flow.sent += 1
            flow.due += interval
    return min(flow.due for flow in flows)


def _receive(selector: selectors.BaseSelector, flows: list[Flow], seconds: float) -> None:
    for key, _ in selector.select(seconds):
        flow = flows[key.data]
        # An ICMP error of an earlier packet shows up here and means nothing to the next one.
        with contextlib.suppress(OSError):
            while True:
                data = flow.socket.recv(_MAX_PACKET)
                if len(data) > _HEADER.size:
                    _, number, sent = _HEADER.unpack_from(data)
                    delay = time.monotonic() - sent
                    flow.slowest = max(flow.slowest, delay)
                    if delay <= LATE:
                        flow.answered[number] = sent
                    flow.sources.add(data[_HEADER.size :].decode("ascii", "replace"))


def summary(flows: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    return {
        "seconds": round(seconds, 3),
        "sent": sum(flow["sent"] for flow in flows),
        "answered": sum(flow["answered"] for flow in flows),
        "worstGapMs": max(flow["gapMs"] for flow in flows),
        "slowestMs": max(flow["slowestMs"] for flow in flows),
        "sources": sorted({source for flow in flows for source in flow["sources"]}),
        "flows": flows,
    }


def text(result: dict[str, Any]) -> str:
    lost = result["sent"] - result["answered"]
    hit = sum(1 for flow in result["flows"] if flow["gapMs"])
    return (
        f"{len(result['flows'])} flows, {result['seconds']} s: {result['sent']} sent, {lost} lost in {hit} flows,"
        f" worst gap {result['worstGapMs']} ms, slowest {result['slowestMs']} ms,"
        f" seen as {', '.join(result['sources']) or 'nobody'}"
    )


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(description="UDP echo and failover measurement")
    verbs = top.add_subparsers(dest="verb", required=True)
    server = verbs.add_parser("serve", help="answer datagrams")
    server.add_argument("--port", type=int, required=True)
    flows = verbs.add_parser("flows", help="send flows and measure their gaps")
    flows.add_argument("--to", required=True, type=lambda value: str(ipaddress.ip_address(value)))
    flows.add_argument("--from", dest="source", default=None, type=lambda value: str(ipaddress.ip_address(value)))
    flows.add_argument("--port", type=int, required=True)
    flows.add_argument("--flows", type=int, default=32)
    flows.add_argument("--rate", type=float, default=50.0, help="packets a second of each flow")
    flows.add_argument("--seconds", type=float, default=10.0)
    flows.add_argument("--json", action="store_true")
    return top


def main() -> int:
    options = parser().parse_args()
    try:
        if options.verb == "serve":
            return serve(options.port)
        result = run_flows(options.to, options.port, options.flows, options.rate, options.seconds, options.source)
    except OSError as error:
        sys.stderr.write(f"probe: {error}\n")
        return 1
    sys.stdout.write((json.dumps(result) if options.json else text(result)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
