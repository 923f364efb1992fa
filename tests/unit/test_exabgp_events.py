"""Decoding of what ExaBGP 5.0.15 printed.

A recorded session with FRR, three crafted UPDATEs, and two of a session with BIRD that has additional paths (one
identifier of them made larger, the addresses those of the other session)."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from bgp_speaker.exabgp_attributes import Attributes
from bgp_speaker.exabgp_events import (
    Done,
    EndOfRib,
    Error,
    Event,
    GracefulRestart,
    Notification,
    PeerOpen,
    PeerState,
    Reply,
    RouteRefresh,
    ShimHello,
    Shutdown,
    Undecodable,
    Update,
    decode,
)
from bgp_speaker.exabgp_neighbors import neighbor_states
from peering.prefixes import pack_address, pack_prefix
from peering.session import Family

LINES = (Path(__file__).parent / "data" / "exabgp-5.0.15.jsonl").read_bytes().splitlines()
PEER, LOCAL = "10.201.0.2", "10.201.0.1"
V4: Family = "ipv4-unicast"
V6: Family = "ipv6-unicast"


def update(
    attributes: Attributes | None,
    next_hop: str = "",
    announced: tuple[str, ...] = (),
    withdrawn: tuple[str, ...] = (),
    identifiers: tuple[int, ...] = (0,) * 9,
) -> Update:
    def family(prefix: str) -> Family:
        return V6 if ":" in prefix else V4

    return Update(
        PEER,
        LOCAL,
        attributes,
        tuple(
            (family(p), pack_prefix(p), pack_address(next_hop), i) for p, i in zip(announced, identifiers, strict=False)
        ),
        tuple((family(p), pack_prefix(p), i) for p, i in zip(withdrawn, identifiers, strict=False)),
    )


DIRECT = Attributes(as_path=(65001,), as_path_length=1, med=0)
REFLECTED = Attributes(as_path=(65001, 65100), as_path_length=2)
OURS = Attributes(as_path=(65001, 65100), as_path_length=2, communities=((65100, 7),))
FULL = Attributes(
    origin="incomplete",
    as_path=(65001, 65002, 65010, 65011),
    as_path_length=3,
    as_sets=((65010, 65011),),
    med=77,
    local_preference=250,
    communities=((65001, 1), (65535, 65281)),
    large_communities=((65001, 2, 3),),
    originator_id="10.0.0.7",
    cluster_list=("10.0.0.8", "10.0.0.9"),
)
ONE_HOP = Attributes(as_path=(65001,), as_path_length=1)
OPEN = PeerOpen(PEER, 65001, 9, PEER, (V4, V6), GracefulRestart(120, True, ()), True, True)

EXPECTED: list[Event | None] = [
    ShimHello(0, 10404),
    PeerState(PEER, "connected"),
    OPEN,
    None,  # the array, below
    Done(),
    PeerState(PEER, "up"),
    update(OURS, PEER, ("100.64.0.0/26", "100.64.1.0/26")),
    update(DIRECT, PEER, ("2001:db8:5::/48",)),  # ::ffff:10.201.0.2 in the line
    update(DIRECT, PEER, ("192.0.2.0/24", "198.51.100.0/24")),
    update(REFLECTED, PEER, ("2001:db8:9::/64",)),
    EndOfRib(PEER, V4),
    EndOfRib(PEER, V6),
    Reply("10.201.0.2 ipv4 unicast 100.64.0.0/26 next-hop 10.201.0.1"),
    Reply("10.201.0.2 ipv4 unicast 100.64.1.0/26 next-hop 10.201.0.1"),
    Reply("10.201.0.2 ipv6 unicast 2001:db8:9::/64 next-hop fd99::1"),
    Reply('description "gen-dfe778562e95 tor-0";'),
    Error(),
    RouteRefresh(PEER, V4, "begin"),
    RouteRefresh(PEER, V4, "end"),
    update(DIRECT, PEER, ("10.1.0.0/24", "10.1.1.0/24")),
    update(DIRECT, PEER, ("10.1.0.0/16",)),
    RouteRefresh(PEER, V4, "query"),
    RouteRefresh(PEER, V6, "query"),
    update(None, withdrawn=("10.1.0.0/24",)),
    update(DIRECT, PEER, ("10.1.1.0/24", "198.51.100.0/24", "192.0.2.0/24")),
    Notification(PEER, "receive", 6, 2, 'Shutdown Communication: "maintenance"'),
    PeerState(PEER, "down", "notification received (6,2)"),
    PeerState(PEER, "down", "closing connection"),
    PeerState(PEER, "down", "stop, message [shutting down]"),
    Shutdown(),
    update(FULL, "10.201.0.9", ("10.5.0.0/24", "10.6.0.1/32"), ("10.7.7.0/24",)),
    update(ONE_HOP, "fe80::2", ("2001:db8::/64",)),  # and under :: as well
    update(ONE_HOP, "fd99::2", ("10.8.0.0/24",)),  # RFC 8950
    update(None, withdrawn=("10.244.77.0/26",), identifiers=(4,)),
    update(ONE_HOP, "10.9.0.201", ("192.0.2.0/24", "10.244.77.0/26", "10.244.78.0/26"), identifiers=(3, 259, 3)),
]


@pytest.mark.parametrize(
    ("line", "expected"), [case for case in zip(LINES, EXPECTED, strict=True) if case[1] is not None]
)
def test_recorded_lines(line: bytes, expected: Event) -> None:
    assert decode(line) == expected
    assert decode(line + b"\r\n") == expected


def test_neighbor_array() -> None:
    reply = decode(LINES[3])
    assert isinstance(reply, Reply)
    assert reply.items is not None
    (state,) = neighbor_states(reply.items)
    assert (state.peer, state.local, state.asn, state.up) == (PEER, LOCAL, 65001, False)
    assert state.families == (V4, V6)
    assert state.graceful_restart
    reply.items[0]["fsm"] = "ESTABLISHED"  # ExaBGP still says "state": "down" in the first second
    assert neighbor_states(reply.items)[0].up
    broken: Any
    for broken in ({}, [], None, {"peer": {}}):
        with pytest.raises(ValueError):
            neighbor_states([broken])


def test_equal_attributes_are_one_object() -> None:
    first, second = decode(LINES[8]), decode(LINES[19])
    assert isinstance(first, Update)
    assert isinstance(second, Update)
    assert first.attributes is second.attributes


def test_flags_of_graceful_restart_are_not_swapped() -> None:
    line = LINES[2].replace(b'"ipv4/unicast": [ ]', b'"ipv4/unicast": [ "restart" ]')
    event = decode(line.replace(b'"restart-flags": [ "forwarding" ]', b'"restart-flags": [  ]'))
    assert isinstance(event, PeerOpen)
    assert event.graceful_restart == GracefulRestart(120, False, (V4,))


def test_passwords_are_struck_out() -> None:
    assert decode(b'  md5-password "c2VjcmV0";') == Reply("md5-password ***;")
    assert decode(b"md5-password c2VjcmV0;") == Reply("md5-password ***;")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((b'"type": "update"', b'"type": "updated"'), "unknown type"),
        ((b"192.0.2.0/24", b"192.0.2.1/24"), "not a prefix"),
        ((b"192.0.2.0/24", b"192.0.2.0/33"), "not a prefix"),
        ((b"192.0.2.0/24", b"2001:db8::/32"), "OSError"),
        ((b"ipv4 unicast", b"ipv4 flow"), "KeyError"),
        ((b"as-sequence", b"as-confusion"), "unknown AS_PATH segment"),
        ((b'"origin": "igp", ', b""), "KeyError"),
        ((b"[65001]", b'["65001"]'), "number expected"),
        ((b'"med": 0', b'"med": true'), "number expected"),
        ((b'"attribute"', b'"attributes"'), "KeyError"),
        ((b" } } } } } }", b" } } } } }"), "JSONDecodeError"),
    ],
)
def test_strange_lines_are_told(change: tuple[bytes, bytes], reason: str) -> None:
    assert change[0] in LINES[8]
    event = decode(LINES[8].replace(*change))
    assert isinstance(event, Undecodable)
    assert reason in event.reason
    assert len(event.excerpt) <= 160


@pytest.mark.parametrize(
    "line", [b"{", b"{}", b"[", b"[}", b"[" * 100_000, b"{" * 100_000, b'{"type": 3}', b"\xff{", b"[[[]"]
)
def test_rubbish_is_no_exception(line: bytes) -> None:
    assert isinstance(decode(line), Undecodable | Reply)


def test_random_mutations_never_raise() -> None:
    generator = random.Random(5)
    kinds = set()
    for _ in range(6000):
        line = bytearray(generator.choice(LINES))
        for _ in range(generator.randint(1, 4)):
            position = generator.randrange(len(line))
            if generator.random() < 0.5:
                line[position] = generator.randrange(256)
            else:
                del line[position : position + generator.randint(1, 30)]
            line = line or bytearray(b"x")
        kinds.add(type(decode(bytes(line))))
    assert {Update, Undecodable, PeerState} <= kinds


def test_random_values_never_raise() -> None:
    """Every value of every recorded object replaced by every kind of JSON value."""
    for line in LINES:
        if not line.startswith(b"{"):
            continue
        for path in _paths(json.loads(line)):
            values: list[Any] = [True, -1, 1e99, "", "x", [], {}, [[]], {"x": {}}]
            for value in values:
                changed = json.loads(line)
                target = changed
                for key in path[:-1]:
                    target = target[key]
                target[path[-1]] = value
                assert decode(json.dumps(changed).encode()) is not None


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [p for key, inner in items for p in [(*path, key), *_paths(inner, (*path, key))]]


def test_ten_thousand_packed_routes_take_well_under_half_a_second() -> None:
    head, _, tail = LINES[8].partition(b'{ "nlri": "192.0.2.0/24" }, { "nlri": "198.51.100.0/24" }')
    lines = []
    for block in range(20):
        nlris = (f'{{ "nlri": "10.{block}.{i >> 6}.{(i & 63) << 2}/30" }}' for i in range(500))
        lines.append(head + ", ".join(nlris).encode() + tail)
    begin = time.process_time()
    events = [decode(line) for line in lines]
    elapsed = time.process_time() - begin
    assert sum(len(e.announced) for e in events if isinstance(e, Update)) == 10_000
    assert elapsed < 0.5
