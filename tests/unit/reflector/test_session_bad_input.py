"""What a peer may say wrongly, and the NOTIFICATION that it gets for it: code, subcode and data."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector.session.events import SessionClosed, SessionUp
from reflector.session.settings import SessionSettings
from reflector.session.states import Input, State
from reflector.wire.families import Family
from reflector.wire.framing import NOTIFICATION, OPEN, ROUTE_REFRESH, UPDATE, encode_message
from tests.unit.reflector.session_cases import (
    KEEPALIVE_MESSAGE,
    NOW,
    OUR_ID,
    UPDATE_MESSAGE,
    closed,
    notifications,
    our_settings,
    peer_open,
    plain_open,
    session_in,
)


class Bad(NamedTuple):
    """`said` in a state ends the session with `code`, `subcode` and `data`."""

    said: bytes
    code: int
    subcode: int
    data: bytes = b""
    state: State = State.OPEN_SENT
    settings: SessionSettings = our_settings()


def header(length: int, kind: int) -> bytes:
    return b"\xff" * 16 + length.to_bytes(2, "big") + bytes((kind,))


def capability(code: int, value: bytes) -> bytes:
    """As an optional parameter."""
    return bytes((2, len(value) + 2, code, len(value))) + value


EBGP = our_settings(peer_asn=65001, peer_type="ebgp")
EXTERNAL = our_settings(peer_asn=0, peer_type="ebgp")
INTERNAL = our_settings(peer_asn=64512, peer_type="ibgp")
STRICT = our_settings(minimum_hold_time=30)
EVPN_ONLY = our_settings(families=(Family(25, 70), Family(1, 128)))
VPLS = capability(1, bytes((0, 25, 0, 65)))
OPENED = (State.OPEN_CONFIRM, State.ESTABLISHED)

BAD: dict[str, Bad] = {
    # The header (RFC 4271, 6.1).
    "4096 zeros": Bad(bytes(4096), 1, 1),
    "somebody else's protocol": Bad(b"GET / HTTP/1.1\r\nHost: reflector\r\n\r\n", 1, 1),
    "a marker with one bit wrong": Bad(b"\xff" * 15 + b"\xfe" + plain_open()[16:], 1, 1),
    "a length below that of a header": Bad(header(18, OPEN), 1, 2, b"\x00\x12"),
    "a length above 4096": Bad(header(4097, UPDATE), 1, 2, b"\x10\x01"),
    "an OPEN that is too short": Bad(encode_message(OPEN, bytes(9)), 1, 2, b"\x00\x1c"),
    "a KEEPALIVE with a body": Bad(encode_message(4, b"\0"), 1, 2, b"\x00\x14"),
    "an UPDATE that is too short": Bad(encode_message(UPDATE, bytes(3)), 1, 2, b"\x00\x16", State.ESTABLISHED),
    "a NOTIFICATION that is too short": Bad(encode_message(NOTIFICATION, b"\6"), 1, 2, b"\x00\x14", State.ESTABLISHED),
    "zeros behind the OPEN": Bad(peer_open() + bytes(19), 1, 1),
    "message type 0": Bad(header(19, 0), 1, 3, b"\x00"),
    "message type 6": Bad(header(19, 6), 1, 3, b"\x06", State.ESTABLISHED),
    # The OPEN (RFC 4271, 6.2).
    "version 3": Bad(plain_open(version=3), 2, 1, b"\x00\x04"),
    "version 5": Bad(plain_open(version=5), 2, 1, b"\x00\x04"),
    "version 3 and hold time 1": Bad(plain_open(version=3, hold_time=1), 2, 1, b"\x00\x04"),
    "a wrong AS": Bad(plain_open(asn=65002), 2, 2, b"\xfd\xea", settings=EBGP),
    "the first AS of four bytes": Bad(peer_open(local_asn=65536), 2, 2, b"\x00\x01\x00\x00", settings=EBGP),
    "the last AS of two bytes": Bad(peer_open(local_asn=65535), 2, 2, b"\xff\xff", settings=EBGP),
    "a wrong AS of four bytes": Bad(peer_open(local_asn=4200000001), 2, 2, b"\xfa\x56\xea\x01", settings=EBGP),
    "our AS where another is wanted": Bad(plain_open(asn=64512), 2, 2, b"\xfc\x00", settings=EXTERNAL),
    "another AS where ours is wanted": Bad(plain_open(asn=65001), 2, 2, b"\xfd\xe9", settings=INTERNAL),
    "AS 0": Bad(plain_open(asn=0), 2, 2, b"\x00\x00"),
    "AS_TRANS without the capability": Bad(plain_open(asn=23456), 2, 2, b"\x5b\xa0"),
    "a router ID of zero": Bad(plain_open(router_id=bytes(4)), 2, 3, bytes(4)),
    "our own router ID in our AS": Bad(plain_open(router_id=OUR_ID), 2, 3, OUR_ID),
    "authentication as optional parameter": Bad(plain_open(parameters=b"\x01\x02\x00\x00"), 2, 4, b"\x01"),
    "a parameter that is longer than there is": Bad(plain_open(parameters=b"\x02\x09\x01\x04"), 2, 0),
    "a capability that is longer than there is": Bad(plain_open(parameters=b"\x02\x04\x01\x04\x00\x01"), 2, 0),
    "hold time 1": Bad(plain_open(hold_time=1), 2, 6, b"\x00\x01"),
    "hold time 2": Bad(plain_open(hold_time=2), 2, 6, b"\x00\x02"),
    "a hold time below ours": Bad(plain_open(hold_time=29), 2, 6, b"\x00\x1d", settings=STRICT),
    "no family in common": Bad(plain_open(parameters=VPLS), 2, 7, bytes.fromhex("010400010001 010400020001")),
    "no family at all, so IPv4": Bad(
        plain_open(), 2, 7, bytes.fromhex("010400190046 010400010080"), settings=EVPN_ONLY
    ),
    # The order of messages (RFC 6608).
    "an UPDATE before the OPEN": Bad(UPDATE_MESSAGE, 5, 1, b"\x02"),
    "a KEEPALIVE before the OPEN": Bad(KEEPALIVE_MESSAGE, 5, 1, b"\x04"),
    "an UPDATE before the KEEPALIVE": Bad(peer_open() + UPDATE_MESSAGE, 5, 2, b"\x02"),
    "an UPDATE longer than 4096 before the KEEPALIVE": Bad(peer_open() + encode_message(2, bytes(5000)), 5, 2, b"\x02"),
    "two OPENs": Bad(peer_open() + peer_open(), 5, 2, b"\x01"),
    "an OPEN in the middle": Bad(peer_open(), 5, 3, b"\x01", State.ESTABLISHED),
    # ROUTE-REFRESH (RFC 7313, 5).
    "a ROUTE-REFRESH of three bytes": Bad(
        encode_message(ROUTE_REFRESH, b"\0\1\0"), 7, 1, encode_message(ROUTE_REFRESH, b"\0\1\0"), State.ESTABLISHED
    ),
    "a border of a refresh with something behind": Bad(
        encode_message(ROUTE_REFRESH, b"\0\1\1\1\0"),
        7,
        1,
        encode_message(ROUTE_REFRESH, b"\0\1\1\1\0"),
        State.ESTABLISHED,
    ),
}


def outcome(bad: Bad, pieces: list[bytes]) -> Any:
    session = session_in(bad.state, bad.settings)
    for piece in pieces:
        session.receive(piece, NOW)
    notices = notifications(session.data_to_send())
    assert session.state is State.IDLE
    end = closed(session.events())
    assert end.sent
    assert end.notification == notices[-1]
    return [(notice.code, notice.subcode, notice.data) for notice in notices], end.state


@pytest.mark.parametrize("name", BAD)
def test_bad_input_whole(name: str) -> None:
    bad = BAD[name]
    assert outcome(bad, [bad.said])[0] == [(bad.code, bad.subcode, bad.data)]


@pytest.mark.parametrize("name", BAD)
def test_bad_input_byte_by_byte(name: str) -> None:
    bad = BAD[name]
    assert outcome(bad, [bad.said[at : at + 1] for at in range(len(bad.said))]) == outcome(bad, [bad.said])


@given(st.sampled_from(list(BAD.values())), st.lists(st.integers(0, 4096)), st.binary(max_size=40))
def test_bad_input_in_any_pieces_and_whatever_follows(bad: Bad, cuts: list[int], rest: bytes) -> None:
    places = sorted({0, *(cut for cut in cuts if cut < len(bad.said)), len(bad.said)})
    pieces = [bad.said[start:end] for start, end in pairwise(places)]
    assert outcome(bad, [*pieces[:-1], pieces[-1] + rest]) == outcome(bad, [bad.said])


@pytest.mark.parametrize("length", [1, 18, 19, 28])
def test_half_an_open_then_silence(length: int) -> None:
    session = session_in(State.OPEN_SENT, our_settings(open_time=60.0))
    session.receive(peer_open()[:length], NOW + 59)
    assert session.deadline() == NOW + 60
    assert session.timer(NOW + 60)
    session.timer(NOW + 60, serviced=True)
    assert [(n.code, n.subcode, n.data) for n in notifications(session.data_to_send())] == [(4, 0, b"")]
    assert closed(session.events()).cause is Input.HOLD_EXPIRES


def test_an_open_and_then_silence() -> None:
    session = session_in(State.OPEN_CONFIRM, peer=peer_open(hold_time=9))
    session.timer(NOW + 9, serviced=True)
    assert [(n.code, n.subcode) for n in notifications(session.data_to_send())] == [(4, 0)]


@pytest.mark.parametrize(
    "said",
    {
        "an unknown capability": plain_open(parameters=capability(200, b"abc")),
        "a malformed capability": plain_open(parameters=capability(1, bytes((0, 1, 0, 1))) + capability(65, b"abc")),
        "no capabilities": plain_open(),
        "the longer form of the parameters": plain_open()[:28] + bytes((255, 255, 0, 5, 2, 0, 2, 2, 0)),
        "no hold time": plain_open(hold_time=0),
        "the shortest hold time": plain_open(hold_time=3),
        "another router ID than an address": plain_open(router_id=b"\xff\0\0\1"),
        "our router ID in another AS": plain_open(asn=65001, router_id=OUR_ID),
    }.items(),
    ids=lambda said: said[0],
)
def test_what_looks_odd_and_is_right(said: tuple[str, bytes]) -> None:
    message = said[1]
    message = message[:16] + len(message).to_bytes(2, "big") + message[18:]
    session = session_in(State.OPEN_SENT)
    session.receive(message + KEEPALIVE_MESSAGE, NOW)
    assert [type(event) for event in session.events()] == [SessionUp]


def test_a_notification_is_never_answered() -> None:
    for state in (State.OPEN_SENT, *OPENED):
        for body in (b"\2\2", b"\0\0", b"\xff\xff", b"\6\2\xff", b"\6\2\3\xff\xfe\xfd", b"\6\x09\6"):
            session = session_in(state)
            session.receive(encode_message(NOTIFICATION, body), NOW)
            assert session.data_to_send() == b""
            end = closed(session.events())
            assert end.notification is not None
            assert (end.notification.encode(), end.sent, end.state) == (body, False, state)


@given(st.sampled_from((State.OPEN_SENT, *OPENED)), st.lists(st.binary(max_size=200)))
def test_random_bytes_never_raise(state: State, pieces: list[bytes]) -> None:
    session = session_in(state)
    for piece in pieces:
        session.receive(piece, NOW)
    ends = [event for event in session.events() if isinstance(event, SessionClosed)]
    assert len(ends) == (session.state is State.IDLE)
    assert len(notifications(session.data_to_send())) == len(ends)


@given(st.binary(max_size=80), st.sampled_from((1, 2, 4, 5)), st.sampled_from((State.OPEN_SENT, *OPENED)))
def test_random_bodies_never_raise(body: bytes, kind: int, state: State) -> None:
    session = session_in(state)
    session.receive(encode_message(kind, body), NOW)
    session.receive(KEEPALIVE_MESSAGE, NOW)
    assert all(notice.code in (1, 2, 5, 7) for notice in notifications(session.data_to_send()))
