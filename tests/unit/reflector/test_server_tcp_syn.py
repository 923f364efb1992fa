"""What the SYN of a connection says of the peer, and the kernel's counters of what it dropped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peering.session import SecretKeyRef
from reflector.configuration import Transport
from reflector.server.drop_counters import COUNTERS, parse_drop_counters, read_drop_counters
from reflector.server.syn import Syn, minimum_ttl, objection, parse_syn, shared_minimum_ttl

MSS, SACK, TIMESTAMP = b"\x02\x04\x05\xb4", b"\x04\x02", b"\x08\x0a" + bytes(8)
NOP, END = b"\x01", b"\x00"
MD5 = b"\x13\x12" + bytes(16)
SECRET = Transport(password=SecretKeyRef(name="bgp", key="password"))
GTSM = Transport(ttl_security=1)


def ipv4(ttl: int, *, options: bytes = b"") -> bytes:
    words = 5 + len(options) // 4
    return bytes((0x40 | words, 0, 0, 60)) + bytes(4) + bytes((ttl, 6)) + bytes(10) + options


def ipv6(hops: int, next_header: int = 6) -> bytes:
    return bytes((0x60, 0, 0, 0, 0, 40, next_header, hops)) + bytes(32)


def tcp(options: bytes) -> bytes:
    options += bytes(-len(options) % 4)
    return bytes(12) + bytes(((5 + len(options) // 4) << 4, 2)) + bytes(6) + options


@pytest.mark.parametrize(
    ("headers", "syn"),
    [
        (ipv4(255) + tcp(MSS + SACK + TIMESTAMP), Syn(255, False)),
        (ipv4(64) + tcp(MSS + NOP + NOP + MD5), Syn(64, True)),
        (ipv4(64, options=bytes(8)) + tcp(MD5), Syn(64, True)),
        (ipv4(1) + tcp(b""), Syn(1, False)),
        (ipv6(254) + tcp(MSS + MD5), Syn(254, True)),
        (ipv6(254) + tcp(MSS), Syn(254, False)),
        (ipv6(254, next_header=0) + bytes((6, 4)) + tcp(NOP + NOP + MD5)[2:] + tcp(MSS), Syn(254, False)),
        (b"", None),
    ],
    ids=["plain", "signed", "IP options", "no options", "IPv6 signed", "IPv6", "extension header", "no SYN"],
)
def test_a_syn(headers: bytes, syn: Syn | None) -> None:
    assert parse_syn(headers) == syn


@pytest.mark.parametrize(
    "options",
    [END + MD5, b"\x02\x00" + MD5, b"\x02\x01" + MD5, b"\x1e\x14" + MD5, NOP * 39 + b"\x02"],
    ids=["after the end", "length 0", "length 1", "inside another option", "cut off"],
)
def test_no_signature_where_none_is(options: bytes) -> None:
    assert parse_syn(ipv4(64) + tcp(options)) == Syn(64, False)


@given(st.binary(max_size=120))
def test_no_bytes_are_too_strange(headers: bytes) -> None:
    syn = parse_syn(headers)
    assert syn is None or 0 <= syn.ttl <= 255


def test_how_far_away_a_peer_may_be() -> None:
    assert minimum_ttl(Transport()) == 0
    assert minimum_ttl(GTSM) == 255
    assert minimum_ttl(Transport(ttl_security=254)) == 2


def test_the_kernel_may_ask_of_all_what_all_offer() -> None:
    assert shared_minimum_ttl([]) == 0
    assert shared_minimum_ttl([GTSM, Transport(ttl_security=3)]) == 253
    assert shared_minimum_ttl([GTSM, Transport()]) == 0


@pytest.mark.parametrize(
    ("syn", "transport", "checked"),
    [
        (Syn(64, False), Transport(), 0),
        (None, Transport(), 0),
        (Syn(255, False), GTSM, 0),
        (Syn(253, False), Transport(ttl_security=3), 0),
        (None, GTSM, 255),
        (Syn(64, True), SECRET, 0),
        (None, SECRET, 0),
    ],
)
def test_what_may_go_on(syn: Syn | None, transport: Transport, checked: int) -> None:
    assert objection(syn, transport, checked) is None


@pytest.mark.parametrize(
    ("syn", "transport", "checked", "why"),
    [
        (Syn(254, False), GTSM, 0, "it came with TTL 254, and ttlSecurity asks for 255 or more"),
        (Syn(64, True), GTSM, 0, "it came with TTL 64, and ttlSecurity asks for 255 or more"),
        (Syn(252, False), Transport(ttl_security=3), 0, "it came with TTL 252, and ttlSecurity asks for 253 or more"),
        (None, GTSM, 0, "its TTL is not known: the kernel is answering with SYN cookies"),
        (None, GTSM, 254, "its TTL is not known: the kernel is answering with SYN cookies"),
        (Syn(254, False), GTSM, 253, "it came with TTL 254, and ttlSecurity asks for 255 or more"),
        (Syn(64, False), SECRET, 0, "it is not signed, and the peer has a password"),
    ],
)
def test_what_may_not(syn: Syn | None, transport: Transport, checked: int, why: str) -> None:
    assert objection(syn, transport, checked) == why


def test_a_link_local_peer_is_on_one_link() -> None:
    on_link = Transport(interface="eth0")
    syn = Syn(255, False)
    assert objection(syn, on_link, interface="eth1") == "it came in by eth1, and the peer is on eth0"
    assert objection(syn, on_link, interface="eth0") is None
    assert objection(syn, on_link, interface=None) is None
    assert objection(syn, Transport(), interface="eth1") is None


def test_counters_of_the_kernel() -> None:
    text = "TcpExt: SyncookiesSent TCPMD5NotFound TCPMinTTLDrop\nTcpExt: 7 3 9\nIpExt: InOctets\nIpExt: 12\n"
    assert parse_drop_counters(text) == {"TCPMD5NotFound": 3, "TCPMinTTLDrop": 9}
    assert parse_drop_counters("") == {}


def test_this_kernel_has_all_of_them() -> None:
    assert read_drop_counters().keys() == COUNTERS.keys()
