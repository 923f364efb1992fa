"""The sessions of one peer, one after the other: attempts and their back-off, stopping, other settings."""

from __future__ import annotations

from math import inf

import pytest

from reflector.session.events import ConnectWanted, SessionClosed
from reflector.session.machine import Session
from reflector.session.neighbor import CONNECTION_REJECTED, Neighbor
from reflector.session.states import Input, State
from reflector.wire.notification import Notification, shutdown
from reflector.wire.open_message import decode_open
from tests.unit.reflector.session_cases import (
    KEEPALIVE_MESSAGE,
    NOW,
    accepted,
    closed,
    messages,
    notifications,
    our_settings,
    peer_open,
    plain_open,
)


def up(neighbor: Neighbor, now: float = NOW) -> Session:
    session = accepted(neighbor, now)
    session.receive(peer_open() + KEEPALIVE_MESSAGE, now)
    assert neighbor.established is session
    session.events()
    session.data_to_send()
    return session


def dials(neighbor: Neighbor, seconds: float) -> list[float]:
    """When the peer was dialed, in seconds from `NOW`, where nobody is there."""
    times, now = [], NOW
    while now <= NOW + seconds:
        for session in neighbor.sessions:
            if ConnectWanted() in session.events():
                times.append(now - NOW)
                session.connection_lost(now)
        now = neighbor.deadline()
        assert neighbor.timer(now) == []
    return times


def test_attempts_to_connect_back_off() -> None:
    neighbor = Neighbor(our_settings(passive=False, connect_retry=5.0, connect_retry_max=60.0))
    neighbor.start(NOW)
    assert dials(neighbor, 250) == [0, 10, 30, 70, 130, 190, 250]


def test_an_attempt_that_never_ends_is_given_up() -> None:
    neighbor = Neighbor(our_settings(passive=False, connect_retry=5.0, connect_retry_max=60.0))
    neighbor.start(NOW)
    (session,) = neighbor.sessions
    times = []
    for _ in range(5):
        times.append(neighbor.deadline() - NOW)
        neighbor.timer(neighbor.deadline())
    assert times == [5, 15, 35, 75, 135]
    assert session.events() == [ConnectWanted()] * 6


def test_the_back_off_has_jitter_and_never_overflows() -> None:
    settings = our_settings(connect_retry=4.0, connect_retry_max=60.0)
    assert [settings.retry_delay(failures, lambda: 0.0) for failures in (0, 1, 2)] == [3, 6, 12]
    assert settings.retry_delay(100_000, lambda: 0.5) == 60 * 0.875


def test_the_back_off_begins_anew_after_a_session_was_up() -> None:
    neighbor = Neighbor(our_settings(passive=False, connect_retry=5.0))
    neighbor.start(NOW)
    for _ in range(3):
        neighbor.sessions[0].connection_lost(NOW)
        neighbor.timer(neighbor.deadline())
    session = up(neighbor)
    session.connection_lost(NOW + 100)
    assert (neighbor.state, neighbor.deadline()) == (State.ACTIVE, NOW + 105)


def test_a_peer_that_refuses_every_open_is_dialed_less_and_less() -> None:
    neighbor = Neighbor(our_settings(passive=False, connect_retry=5.0))
    neighbor.start(NOW)
    waits = []
    for _ in range(5):
        (session,) = neighbor.sessions
        session.connected(NOW, incoming=False)
        session.receive(plain_open(version=3), NOW)
        waits.append(neighbor.deadline() - NOW)
        neighbor.timer(neighbor.deadline())
    assert waits == [10, 20, 40, 60, 60]


def test_who_waits_to_dial_again_still_takes_what_comes_in() -> None:
    neighbor = Neighbor(our_settings(passive=False))
    neighbor.start(NOW)
    (session,) = neighbor.sessions
    session.connection_lost(NOW)
    assert accepted(neighbor, NOW + 1) is session
    assert (session.incoming, session.state) == (True, State.OPEN_SENT)
    assert neighbor.deadline() == NOW + 1 + 240


def test_a_passive_neighbour_never_dials() -> None:
    neighbor = Neighbor(our_settings(passive=True))
    neighbor.start(NOW)
    assert (neighbor.state, neighbor.deadline()) == (State.ACTIVE, inf)
    up(neighbor).connection_lost(NOW)
    assert (neighbor.state, neighbor.deadline()) == (State.ACTIVE, inf)


def test_a_stopped_neighbour_refuses_connections() -> None:
    neighbor = Neighbor(our_settings())
    assert (neighbor.accept(NOW), neighbor.running, neighbor.state) == (None, False, State.IDLE)
    assert [(n.code, n.subcode) for n in notifications(CONNECTION_REJECTED)] == [(6, 5)]


def test_stop_tells_the_peer_why_and_stays_stopped() -> None:
    neighbor = Neighbor(our_settings(notification_restart=False))
    neighbor.start(NOW)
    session = up(neighbor)
    neighbor.stop(NOW, shutdown("rack 4 loses power"))
    (notice,) = notifications(session.data_to_send())
    assert (notice.code, notice.subcode, notice.reason) == (6, 2, "rack 4 loses power")
    assert (neighbor.take_ended(), neighbor.sessions, neighbor.deadline()) == ([session], [], inf)
    assert neighbor.accept(NOW) is None
    neighbor.start(NOW)
    up(neighbor)


def test_stop_ends_every_session_once() -> None:
    neighbor = Neighbor(our_settings(passive=False))
    neighbor.start(NOW)
    accepted(neighbor)
    sessions = list(neighbor.sessions)
    neighbor.stop(NOW)
    neighbor.stop(NOW)
    assert neighbor.take_ended() == sessions
    assert all(closed(session.events()).cause is Input.STOP for session in sessions)
    assert neighbor.take_ended() == []


def test_a_limit_exceeded_keeps_the_peer_out_for_a_while() -> None:
    neighbor = Neighbor(our_settings())
    neighbor.start(NOW)
    up(neighbor)
    neighbor.stop(NOW, Notification(6, 1), restart_after=60.0)
    assert neighbor.accept(NOW + 59) is None
    assert neighbor.deadline() == NOW + 60
    neighbor.timer(NOW + 60)
    up(neighbor, NOW + 60)


def test_start_ends_the_wait() -> None:
    neighbor = Neighbor(our_settings())
    neighbor.start(NOW)
    neighbor.stop(NOW, restart_after=60.0)
    neighbor.start(NOW + 1)
    neighbor.start(NOW + 1)
    assert (len(neighbor.sessions), neighbor.deadline()) == (1, inf)


def test_reset_begins_anew() -> None:
    neighbor = Neighbor(our_settings())
    neighbor.start(NOW)
    session = up(neighbor)
    neighbor.reset(NOW)
    assert [(n.code, n.subcode) for n in notifications(session.data_to_send())] == [(6, 4)]
    assert (neighbor.take_ended(), neighbor.running) == ([session], True)
    assert up(neighbor) is not session


def test_other_settings_restart_the_session_and_another_name_does_not() -> None:
    neighbor = Neighbor(our_settings(hold_time=90))
    neighbor.start(NOW)
    session = up(neighbor)
    assert not neighbor.configure(our_settings(hold_time=90, name="renamed"), NOW)
    assert neighbor.established is session
    assert neighbor.configure(our_settings(hold_time=30), NOW)
    assert [(n.code, n.subcode) for n in notifications(session.data_to_send())] == [(6, 6)]
    ((_, body),) = messages(accepted(neighbor).data_to_send())
    assert decode_open(body).hold_time == 30


def test_other_settings_do_not_start_what_is_stopped() -> None:
    neighbor = Neighbor(our_settings())
    neighbor.configure(our_settings(hold_time=30), NOW)
    assert (neighbor.running, neighbor.sessions) == (False, [])


def test_we_say_that_we_restarted_until_a_session_is_up() -> None:
    neighbor = Neighbor(our_settings(), restarting=True)
    neighbor.start(NOW)
    said = []
    for ends_as in (State.OPEN_CONFIRM, State.ESTABLISHED, State.OPEN_CONFIRM):
        session = accepted(neighbor)
        ((_, body),) = messages(session.data_to_send())
        restart = decode_open(body).capabilities.graceful_restart
        assert restart is not None
        said.append(restart.restarting)
        session.receive(peer_open() + KEEPALIVE_MESSAGE * (ends_as is State.ESTABLISHED), NOW)
        session.connection_lost(NOW)
    assert said == [True, True, False]


@pytest.mark.parametrize("silent", [False, True])
def test_the_timer_names_the_sessions_to_be_looked_at(silent: bool) -> None:
    neighbor = Neighbor(our_settings())
    neighbor.start(NOW)
    session = up(neighbor)
    assert neighbor.timer(NOW + 91) == [session]
    if not silent:
        session.receive(KEEPALIVE_MESSAGE, NOW + 91)
    session.timer(NOW + 91, serviced=True)
    assert (neighbor.established is session) is not silent
    assert neighbor.timer(NOW + 91) == []
    assert any(isinstance(event, SessionClosed) for event in session.events()) is silent
