"""The pure parts of bench/lab.py: what it is asked, what it makes of measurements, how it reads what it witnessed."""

from __future__ import annotations

import socket
import struct
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from bench.figures import Figure, table, to_json
from bench.lab import arguments
from bench.measured_lab import bird_protocol, declaration, far_prefixes
from bench.witness import bgp_payload, carries_routes, route_changes
from bgp_speaker.netlink_codec import HEADER, RTM_NEWROUTE
from peering.compile import plan
from peering.manifests import read_manifests
from peering.prefixes import format_prefix, pack_prefix
from peering.problems import errors
from peering.snapshot import Snapshot

MARKER = b"\xff" * 16
KEEPALIVE = MARKER + b"\x00\x13\x04"
END_OF_RIB = MARKER + b"\x00\x17\x02" + bytes(4)
BLOCK = pack_prefix("10.245.1.64/26")
UPDATE = MARKER + b"\x00\x1c\x02" + bytes(4) + BLOCK


@pytest.mark.parametrize("bad", [["--runs", "0"], ["--runs", "x"], ["--routes", "70000"], ["--idle-seconds", "0"]])
def test_what_cannot_be_measured_is_refused(bad: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        arguments(bad)
    assert refused.value.code == 2


def test_defaults_are_those_of_the_handbook() -> None:
    options = arguments([])
    assert (options.json, options.runs, options.routes, options.idle_seconds) == (False, 5, 10_000, 30.0)


def test_a_figure_is_its_median_and_range() -> None:
    figure = Figure("claimMs", "claim", "ms", (30.0, 10.0, 5000.0), at_most=29)
    assert figure.to_json() == {"claimMs": 30.0, "claimMsMin": 10.0, "claimMsMax": 5000.0}
    assert not figure.holds
    assert "≤ 29 MISSED" in table([figure])
    assert Figure("claimMs", "claim", "ms", (30.0,), at_most=30).holds
    assert not Figure("routesPerS", "rate", "routes/s", (1.0,), at_least=2).holds


def test_figures_that_scripts_could_not_use_are_refused() -> None:
    figure = Figure("claimMs", "claim", "ms", (1.0,))
    with pytest.raises(ValueError, match="claimMs"):
        to_json([figure, figure])
    with pytest.raises(ValueError, match="nothing"):
        Figure("claimMs", "claim", "ms", ())
    with pytest.raises(ValueError, match="lowerCamelCase"):
        Figure("claim_ms", "claim", "ms", (1.0,))


def test_only_segments_with_routes_count() -> None:
    for payload, expected in {
        b"": False,
        KEEPALIVE: False,
        KEEPALIVE + END_OF_RIB: False,
        KEEPALIVE + UPDATE: True,
        UPDATE[20:]: True,
    }.items():
        assert carries_routes(payload) is expected, payload


def test_the_payload_is_what_tcp_carries_of_port_179() -> None:
    def packet(port: int, payload: bytes) -> bytes:
        tcp = struct.pack("!HHIIBBHHH", 40000, port, 0, 0, 8 << 4, 0, 0, 0, 0) + bytes(12)
        size = 20 + len(tcp) + len(payload)
        return struct.pack("!BBHIBBHII", 0x45, 0, size, 0, 64, socket.IPPROTO_TCP, 0, 0, 0) + tcp + payload

    assert bgp_payload(packet(179, UPDATE) + b"padding") == UPDATE
    assert bgp_payload(packet(22, UPDATE)) == b""
    assert bgp_payload(b"short") == b""


def test_route_messages_are_read() -> None:
    attribute = struct.pack("=HH", 8, 1) + BLOCK[1:]
    body = struct.pack("=BBBBBBBBI", socket.AF_INET, 26, 0, 0, 254, 186, 0, 1, 0) + attribute
    message = HEADER.pack(16 + len(body), RTM_NEWROUTE, 0, 0, 0) + body
    first, second = route_changes(1.5, message + message)
    assert first == second
    assert (first.at, first.kind, first.protocol, first.prefix) == (1.5, RTM_NEWROUTE, 186, BLOCK)


def test_far_routes_are_different_and_told_to_bird() -> None:
    prefixes = far_prefixes(10_000)
    assert len(set(prefixes)) == 10_000
    assert all(low < high for low, high in pairwise(prefixes))
    text = bird_protocol(prefixes)
    assert text.count("unreachable") == 10_000
    assert f"route {format_prefix(prefixes[-1])} unreachable {{ bgp_community.add((65500, 249)); }};" in text
    with pytest.raises(ValueError, match="do not fit"):
        far_prefixes(65_537)


def test_the_declaration_allows_what_is_measured(tmp_path: Path) -> None:
    resources, problems = read_manifests([declaration(tmp_path)])
    assert not errors(problems)
    assert not errors(plan(Snapshot(resources)).problems)
    rack = next(d for f in tmp_path.glob("*.yaml") for d in yaml.safe_load_all(f.read_text()) if "rack-1" in str(d))
    assert rack["spec"]["downward"] == "all"
    assert {r.name for r in resources if r.kind == "IPPool"} == {"pods-v4", "pods-v6", "spare"}
