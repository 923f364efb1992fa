"""One session: what it says, what it reports, and its timers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import pairwise
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector.session.events import (
    ConnectWanted,
    EndOfRibReceived,
    RefreshBegins,
    RefreshEnds,
    RefreshRequested,
    SessionUp,
    UpdateReceived,
)
from reflector.session.machine import Session
from reflector.session.neighbor import Neighbor
from reflector.session.states import Input, State
from reflector.wire.errors import ResetSession
from reflector.wire.families import IPV4_UNICAST, IPV6_UNICAST, Family
from reflector.wire.framing import KEEPALIVE, NOTIFICATION, OPEN, ROUTE_REFRESH, UPDATE, encode_message
from reflector.wire.notification import Notification, decode_notification, notification_of, shutdown
from reflector.wire.open_message import decode_open
from tests.unit.reflector.session_cases import (
    CEASE_MESSAGE,
    KEEPALIVE_MESSAGE,
    NOW,
    PEER_ID,
    REFRESH_MESSAGE,
    UPDATE_BODY,
    UPDATE_MESSAGE,
    accepted,
    closed,
    messages,
    notifications,
    our_settings,
    peer_open,
    plain_open,
    session_in,
)

EOR_IPV4 = bytes(4)
EOR_IPV6 = bytes.fromhex("0000 0006 800f03 000201")
EOR_IPV6_LONG_LENGTH = bytes.fromhex("0000 0007 900f0003 000201")
EOR_EVPN = bytes.fromhex("0000 0006 800f03 001946")
WITHDRAWN = bytes.fromhex("0003 10c0a8 0000")


def refresh(subtype: int, afi: int = 1, safi: int = 1, rest: bytes = b"") -> bytes:
    return encode_message(ROUTE_REFRESH, bytes((0, afi, subtype, safi)) + rest)


# Coming up.


def test_a_passive_session_comes_up() -> None:
    neighbor = Neighbor(our_settings(hold_time=90, keepalive_time=20))
    neighbor.start(NOW)
    session = accepted(neighbor)
    ((kind, body),) = messages(session.data_to_send())
    assert (kind, decode_open(body).hold_time, session.state) == (OPEN, 90, State.OPEN_SENT)
    session.receive(peer_open(hold_time=30), NOW + 1)
    assert (messages(session.data_to_send()), session.events()) == ([(KEEPALIVE, b"")], [])
    session.receive(KEEPALIVE_MESSAGE, NOW + 2)
    (up,) = session.events()
    assert isinstance(up, SessionUp)
    assert (up.peer.router_id, up.negotiated.hold_time) == (PEER_ID, 30)
    assert (session.state, session.since, neighbor.established) == (State.ESTABLISHED, NOW + 2, session)
    assert session.data_to_send() == b""


def test_a_dialing_session_comes_up() -> None:
    neighbor = Neighbor(our_settings(passive=False))
    neighbor.start(NOW)
    (session,) = neighbor.sessions
    assert (session.events(), session.data_to_send()) == ([ConnectWanted()], b"")
    session.connected(NOW, incoming=False)
    session.receive(peer_open() + KEEPALIVE_MESSAGE, NOW)
    assert [kind for kind, _ in messages(session.data_to_send())] == [OPEN, KEEPALIVE]
    assert session.state is State.ESTABLISHED


def test_the_open_says_what_is_configured() -> None:
    neighbor = Neighbor(our_settings(local_asn=4200000001, long_lived_stale_time=3600), restarting=True)
    neighbor.start(NOW)
    ((_, body),) = messages(accepted(neighbor).data_to_send())
    said = decode_open(body)
    ours = said.capabilities
    assert (said.asn, body[1:3], said.router_id) == (4200000001, b"\x5b\xa0", bytes((10, 0, 0, 1)))
    assert ours.multiprotocol == (IPV4_UNICAST, IPV6_UNICAST)
    assert (ours.route_refresh, ours.enhanced_route_refresh, ours.extended_message) == (True, True, True)
    assert ours.graceful_restart is not None
    assert (ours.graceful_restart.restarting, ours.graceful_restart.notification) == (True, True)
    assert ours.graceful_restart.families == {IPV4_UNICAST: True, IPV6_UNICAST: True}
    assert ours.long_lived[IPV6_UNICAST].stale_time == 3600
    assert ours.extended_next_hop == ((IPV4_UNICAST, 2),)
    assert ours.add_path == {}


def test_what_is_said_and_reported_does_not_depend_on_the_pieces() -> None:
    stream = b"".join(
        [
            peer_open(),
            KEEPALIVE_MESSAGE,
            encode_message(UPDATE, EOR_IPV6),
            UPDATE_MESSAGE * 3,
            KEEPALIVE_MESSAGE,
            REFRESH_MESSAGE,
            encode_message(UPDATE, EOR_IPV4),
            CEASE_MESSAGE,
            UPDATE_MESSAGE,
        ]
    )
    whole = _heard([stream])
    assert [type(event).__name__ for event in whole[0]] == [
        "SessionUp",
        "EndOfRibReceived",
        *["UpdateReceived"] * 3,
        "RefreshRequested",
        "EndOfRibReceived",
        "SessionClosed",
    ]
    assert _heard([stream[at : at + 1] for at in range(len(stream))]) == whole
    for size in (7, 19, 20, 64):
        assert _heard([stream[at : at + size] for at in range(0, len(stream), size)]) == whole


def _heard(pieces: list[bytes]) -> tuple[list[Any], bytes, State]:
    session = session_in(State.OPEN_SENT)
    for piece in pieces:
        session.receive(piece, NOW)
    return session.events(), session.data_to_send(), session.state


def test_longer_messages_are_taken_once_the_opens_allow_them() -> None:
    long = encode_message(UPDATE, bytes(40000))
    session = session_in(State.ESTABLISHED)
    session.receive(long, NOW)
    assert session.events() == [UpdateReceived(bytes(40000))]


# What comes in Established.


def test_updates_are_handed_out_as_they_came() -> None:
    session = session_in(State.ESTABLISHED)
    session.receive(UPDATE_MESSAGE + encode_message(UPDATE, WITHDRAWN), NOW)
    assert session.events() == [UpdateReceived(UPDATE_BODY), UpdateReceived(WITHDRAWN)]


@pytest.mark.parametrize(
    ("body", "family"),
    [(EOR_IPV4, IPV4_UNICAST), (EOR_IPV6, IPV6_UNICAST), (EOR_IPV6_LONG_LENGTH, IPV6_UNICAST), (EOR_EVPN, None)],
)
def test_end_of_rib(body: bytes, family: Family | None) -> None:
    """Of a family that was not agreed on it is an UPDATE like any other."""
    session = session_in(State.ESTABLISHED)
    session.receive(encode_message(UPDATE, body), NOW)
    assert session.events() == [UpdateReceived(body) if family is None else EndOfRibReceived(family)]


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (refresh(0), RefreshRequested(IPV4_UNICAST)),
        (refresh(0, afi=2), RefreshRequested(IPV6_UNICAST)),
        (refresh(1), RefreshBegins(IPV4_UNICAST)),
        (refresh(2), RefreshEnds(IPV4_UNICAST)),
        (refresh(0, rest=b"\x01\x40\x00\x00"), RefreshRequested(IPV4_UNICAST)),
        (refresh(0, afi=25, safi=70), None),
        (refresh(3), None),
        (refresh(255), None),
    ],
)
def test_route_refresh(message: bytes, event: object) -> None:
    session = session_in(State.ESTABLISHED)
    session.receive(message, NOW)
    assert session.events() == ([] if event is None else [event])
    assert session.state is State.ESTABLISHED


def test_borders_of_a_refresh_that_were_not_agreed_on_are_passed_over() -> None:
    plain = plain_open(parameters=bytes((2, 2, 2, 0)))
    session = session_in(State.ESTABLISHED, peer=plain)
    session.receive(refresh(1) + refresh(0) + refresh(2), NOW)
    assert session.events() == [RefreshRequested(IPV4_UNICAST)]


def test_a_refresh_is_asked_for_where_the_peer_has_it() -> None:
    session = session_in(State.ESTABLISHED)
    assert session.request_refresh(IPV6_UNICAST)
    assert session.data_to_send() == refresh(0, afi=2)
    assert not session.request_refresh(Family(25, 70))
    assert not session_in(State.ESTABLISHED, peer=plain_open()).request_refresh(IPV4_UNICAST)
    assert not session_in(State.OPEN_CONFIRM).request_refresh(IPV4_UNICAST)


def test_an_update_past_the_table_does_what_the_table_says() -> None:
    ways: list[Callable[[Session], None]] = [
        lambda session: session.receive(UPDATE_MESSAGE, NOW + 50),
        lambda session: session._fire(Input.UPDATE, NOW + 50, event=UpdateReceived(UPDATE_BODY)),
    ]
    seen = []
    for way in ways:
        session = session_in(State.ESTABLISHED)
        way(session)
        expires = [session.timer(NOW + seconds) for seconds in (90, 139, 140)]
        seen.append((session.events(), session.state, session.data_to_send(), expires))
    assert seen[0] == seen[1]
    assert seen[0][3] == [False, False, True]


def test_the_hot_path_makes_two_calls_for_an_update() -> None:
    """The framer goes on, and the event is made. Everything else in Python would be felt."""
    session, count = session_in(State.ESTABLISHED), 0

    def note(frame: object, kind: str, argument: object) -> None:
        nonlocal count
        count += kind == "call"

    data = UPDATE_MESSAGE * 1000
    sys.setprofile(note)
    try:
        session.receive(data, NOW)
    finally:
        sys.setprofile(None)
    assert len(session.events()) == 1000
    assert count <= 2 * 1000 + 10


# Ends.


@pytest.mark.parametrize(
    ("state", "notice"),
    [
        (State.OPEN_CONFIRM, shutdown("node-7 is being drained")),
        (State.ESTABLISHED, shutdown("node-7 is being drained")),
        (State.ESTABLISHED, Notification(6, 1, b"\x00\x01\x01\x00\x00\x00\x64")),
        (State.ESTABLISHED, Notification(3, 9, b"\xc0\x07")),
        (State.ESTABLISHED, notification_of(ResetSession(7, 1, b"abc"))),
    ],
)
def test_close_says_why(state: State, notice: Notification) -> None:
    settings = our_settings(notification_restart=False)
    session = session_in(state, settings)
    session.close(notice, NOW, "because")
    ((kind, body),) = messages(session.data_to_send())
    assert (kind, decode_notification(body)) == (NOTIFICATION, notice)
    end = closed(session.events())
    assert (end.notification, end.sent, end.state, end.reason) == (notice, True, state, "because")
    assert end.cause is (Input.UPDATE_ERROR if notice.code == 3 else Input.STOP)


def test_a_connection_that_breaks_is_the_end() -> None:
    session = session_in(State.ESTABLISHED)
    session.timer(NOW + 30)
    session.connection_lost(NOW + 30, "reset by peer")
    assert session.data_to_send() == b""
    end = closed(session.events())
    assert (end.cause, end.notification, end.sent, end.reason) == (Input.CONNECTION_FAILS, None, False, "reset by peer")


def test_what_a_shutting_peer_says_can_be_read() -> None:
    session = session_in(State.ESTABLISHED)
    session.receive(encode_message(NOTIFICATION, shutdown("bye, bis später").encode()), NOW)
    end = closed(session.events())
    assert end.notification is not None
    assert (end.notification.name, end.notification.reason) == ("cease, administrative shutdown", "bye, bis später")


# Timers.


def test_keepalives_are_sent_at_a_third_of_the_hold_time_or_more_often() -> None:
    assert _keepalives(session_in(State.ESTABLISHED, peer=peer_open(hold_time=30)), 45) == [10, 20, 30, 40]
    assert _keepalives(session_in(State.ESTABLISHED, our_settings(keepalive_time=40)), 95) == [30, 60, 90]
    assert _keepalives(session_in(State.ESTABLISHED, our_settings(keepalive_time=20)), 95) == [20, 40, 60, 80]
    assert _keepalives(session_in(State.ESTABLISHED, our_settings(hold_time=3)), 4.5) == [1, 2, 3, 4]


def _keepalives(session: Session, seconds: float) -> list[float]:
    """When one was sent, by a peer that is always heard, and a caller that is always in time."""
    sent, end = [], NOW + seconds
    while (now := session.deadline()) < end:
        session.receive(KEEPALIVE_MESSAGE, now)
        assert not session.timer(now)
        if session.data_to_send() == KEEPALIVE_MESSAGE:
            sent.append(now - NOW)
    return sent


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=10))
def test_jitter_takes_at_most_a_quarter(numbers: list[float]) -> None:
    turns = iter(numbers * 1000)
    neighbor = Neighbor(our_settings(hold_time=90), random=lambda: next(turns))
    neighbor.start(NOW)
    session = accepted(neighbor)
    session.receive(peer_open() + KEEPALIVE_MESSAGE, NOW)
    session.data_to_send()
    times = [0.0, *_keepalives(session, 600)]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len(gaps) >= 18
    assert all(22.4 <= gap <= 30.1 for gap in gaps)


def test_keepalives_are_no_closer_than_a_second() -> None:
    neighbor = Neighbor(our_settings(hold_time=3), random=lambda: 0.0)
    neighbor.start(NOW)
    session = accepted(neighbor)
    session.receive(peer_open() + KEEPALIVE_MESSAGE, NOW)
    session.data_to_send()
    assert _keepalives(session, 4.5) == [1, 2, 3, 4]


def test_who_sends_updates_sends_no_keepalives() -> None:
    session = session_in(State.ESTABLISHED)
    for second in range(1, 100):
        session.receive(KEEPALIVE_MESSAGE, NOW + second)
        session.sent(NOW + second)
        session.timer(NOW + second)
    assert session.data_to_send() == b""


def test_the_hold_timer_ends_a_silent_session() -> None:
    session = session_in(State.ESTABLISHED)
    session.receive(UPDATE_MESSAGE, NOW + 50)
    assert not session.timer(NOW + 139, serviced=True)
    assert session.events() == [UpdateReceived(UPDATE_BODY)]
    session.data_to_send()
    assert session.deadline() <= NOW + 140
    assert session.timer(NOW + 140)
    session.timer(NOW + 140, serviced=True)
    assert [(n.code, n.subcode) for n in notifications(session.data_to_send())] == [(4, 0)]
    assert closed(session.events()).cause is Input.HOLD_EXPIRES


@pytest.mark.parametrize(
    "message", [KEEPALIVE_MESSAGE, UPDATE_MESSAGE, REFRESH_MESSAGE, encode_message(UPDATE, EOR_IPV4)]
)
def test_every_message_restarts_the_hold_timer(message: bytes) -> None:
    session = session_in(State.ESTABLISHED)
    session.receive(message, NOW + 89)
    assert not session.timer(NOW + 178)
    assert session.timer(NOW + 179)


def test_half_a_message_does_not_restart_the_hold_timer() -> None:
    session = session_in(State.ESTABLISHED)
    session.receive(KEEPALIVE_MESSAGE[:18], NOW + 89)
    assert session.timer(NOW + 90)


@given(st.floats(90, 100000))
def test_a_caller_that_was_held_up_loses_no_session(stall: float) -> None:
    """What came meanwhile lies in the socket: the first word of the timer is a question."""
    session = session_in(State.ESTABLISHED)
    late = NOW + stall
    assert session.timer(late)
    assert session.state is State.ESTABLISHED
    assert session.deadline() <= late
    session.receive(KEEPALIVE_MESSAGE * 3, late)
    assert not session.timer(late, serviced=True)
    assert session.state is State.ESTABLISHED
    assert session.deadline() > late


def test_a_caller_that_was_held_up_says_first_that_it_lives() -> None:
    session = session_in(State.ESTABLISHED)
    session.timer(NOW + 500)
    assert session.data_to_send() == KEEPALIVE_MESSAGE


@pytest.mark.parametrize(("ours", "theirs"), [(0, 90), (90, 0), (0, 0)])
def test_no_hold_time_means_no_keepalives_and_no_expiry(ours: int, theirs: int) -> None:
    session = session_in(State.ESTABLISHED, our_settings(hold_time=ours), peer_open(hold_time=theirs))
    assert session.deadline() == inf
    assert not session.timer(NOW + 1e6, serviced=True)
    assert (session.state, session.data_to_send()) == (State.ESTABLISHED, b"")


def test_without_a_hold_time_the_open_has_still_to_be_confirmed() -> None:
    session = session_in(State.OPEN_CONFIRM, our_settings(hold_time=0, open_time=100.0))
    assert session.deadline() == NOW + 100
    session.timer(NOW + 100, serviced=True)
    assert session.state is State.IDLE


def test_the_send_hold_timer_ends_a_session_that_takes_nothing() -> None:
    """RFC 9687: twice the hold time, at least eight minutes."""
    session = session_in(State.ESTABLISHED, our_settings(hold_time=300), peer_open(hold_time=300))
    for second in range(0, 600, 50):
        session.blocked(NOW + second)
        session.receive(KEEPALIVE_MESSAGE, NOW + second)
        assert not session.timer(NOW + second)
    session.data_to_send()
    assert session.timer(NOW + 600)
    session.timer(NOW + 600, serviced=True)
    assert (notifications(session.data_to_send())[-1].code, closed(session.events()).cause) == (
        8,
        Input.SEND_HOLD_EXPIRES,
    )


def test_a_connection_that_takes_something_is_not_stuck() -> None:
    session = session_in(State.ESTABLISHED)
    session.blocked(NOW)
    session.sent(NOW + 400, waiting=True)
    session.receive(KEEPALIVE_MESSAGE, NOW + 870)
    assert not session.timer(NOW + 879)
    assert session.timer(NOW + 880)
    session.sent(NOW + 880)
    assert not session.timer(NOW + 880, serviced=True)
    assert session.state is State.ESTABLISHED


def test_nothing_that_waits_is_no_stuck_connection() -> None:
    session = session_in(State.ESTABLISHED, our_settings(hold_time=0))
    session.blocked(NOW)
    assert session.deadline() == NOW + 480
    session.sent(NOW + 1)
    assert session.deadline() == inf


def test_deadlines_are_kept_when_timers_are_called_only_then() -> None:
    """A caller that looks at nothing but `deadline` finds every expiry, and not one call too many."""
    session, calls = session_in(State.ESTABLISHED), 0
    while session.state is State.ESTABLISHED:
        now = session.deadline()
        calls += 1
        session.timer(now, serviced=True)
    assert now == NOW + 90
    assert calls <= 4
