"""Graceful restart of the peer: whose routes outlive a session, how long, and which of them survive the next one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from reflector.session.events import SessionUp
from reflector.session.local_open import local_open
from reflector.session.machine import Session
from reflector.session.restart import Retention
from reflector.session.states import State
from reflector.wire.capabilities import Capabilities, GracefulRestart, LongLived
from reflector.wire.errors import Cease
from reflector.wire.families import IPV4_UNICAST, IPV6_UNICAST, Family
from reflector.wire.framing import NOTIFICATION, OPEN, encode_message
from reflector.wire.notification import Notification, shutdown
from reflector.wire.open_message import OpenMessage
from tests.unit.reflector.session_cases import (
    KEEPALIVE_MESSAGE,
    NOW,
    PEER_ID,
    closed,
    notifications,
    our_settings,
    peer_open,
    peer_settings,
    session_in,
)

EVPN = Family(25, 70)
LOST: Callable[[Session], None] = lambda session: session.connection_lost(NOW)  # noqa: E731


def restarting_peer(long_lived: dict[Family, LongLived] | None = None, **fields: Any) -> bytes:
    """The OPEN of a peer with both unicast families and this graceful restart capability."""
    restart = GracefulRestart(**{"restart_time": 120, "families": {IPV4_UNICAST: True}, **fields})
    capabilities = Capabilities(
        multiprotocol=(IPV4_UNICAST, IPV6_UNICAST),
        four_octet_as=64512,
        graceful_restart=restart,
        long_lived=long_lived or {},
    )
    return encode_message(OPEN, OpenMessage(64512, 90, PEER_ID, capabilities).encode())


def hears(*body: int) -> Callable[[Session], None]:
    return lambda session: session.receive(encode_message(NOTIFICATION, bytes(body)), NOW)


def sends(notice: Notification) -> Callable[[Session], None]:
    return lambda session: session.close(notice, NOW)


def falls_silent(session: Session) -> None:
    session.timer(NOW + 90, serviced=True)


def retained(peer: bytes, end: Callable[[Session], None], **fields: Any) -> dict[Family, Retention]:
    session = session_in(State.ESTABLISHED, our_settings(**fields), peer)
    end(session)
    return dict(closed(session.events()).retained)


KEPT = {IPV4_UNICAST: Retention(120, 0)}


@pytest.mark.parametrize(
    ("end", "without_n_bit", "with_n_bit"),
    [
        (LOST, KEPT, KEPT),
        (lambda session: session.replaced(NOW), KEPT, KEPT),
        (falls_silent, {}, KEPT),
        (hears(6, 4), {}, KEPT),
        (hears(6, 2), {}, KEPT),
        (hears(3, 1), {}, KEPT),
        (hears(6, 9, 6, 2), {}, {}),
        (sends(Notification(3, 1)), {}, KEPT),
        (sends(Notification(6, Cease.ADMINISTRATIVE_RESET)), {}, KEPT),
        (sends(Notification(6, Cease.OTHER_CONFIGURATION_CHANGE)), {}, KEPT),
        (sends(shutdown()), {}, {}),
        (sends(Notification(6, Cease.PEER_DECONFIGURED)), {}, {}),
        (sends(Notification(6, Cease.MAXIMUM_PREFIXES)), {}, {}),
        (lambda session: session.receive(bytes(19), NOW), {}, KEPT),
    ],
)
def test_which_ends_leave_routes_in_place(
    end: Callable[[Session], None], without_n_bit: dict[Family, Retention], with_n_bit: dict[Family, Retention]
) -> None:
    """RFC 4724: only a connection that is lost. RFC 8538: all but a full end, when both have the N bit."""
    assert retained(restarting_peer(), end) == without_n_bit
    assert retained(restarting_peer(notification=True), end) == with_n_bit
    assert retained(restarting_peer(notification=True), end, notification_restart=False) == without_n_bit
    assert retained(restarting_peer(notification=True), end, graceful_restart_time=0) == {}


def test_nothing_stays_of_a_session_that_was_not_up() -> None:
    session = session_in(State.OPEN_CONFIRM, peer=restarting_peer())
    session.connection_lost(NOW)
    assert closed(session.events()).retained == {}


@pytest.mark.parametrize(
    ("peer", "ours", "kept"),
    [
        (peer_open(graceful_restart_time=0), None, {}),
        (restarting_peer(families={}), None, {}),
        (restarting_peer(restart_time=0), None, {}),
        (restarting_peer(families={IPV4_UNICAST: False}), None, KEPT),
        (restarting_peer(families={IPV4_UNICAST: True, EVPN: True}), None, KEPT),
        (restarting_peer({IPV4_UNICAST: LongLived(3600)}), None, KEPT),
        (restarting_peer({IPV4_UNICAST: LongLived(3600)}), 86400, {IPV4_UNICAST: Retention(120, 3600)}),
        (restarting_peer({IPV4_UNICAST: LongLived(3600)}), 600, {IPV4_UNICAST: Retention(120, 600)}),
        (
            restarting_peer({IPV6_UNICAST: LongLived(3600)}),
            3600,
            {IPV4_UNICAST: Retention(120, 0), IPV6_UNICAST: Retention(0, 3600)},
        ),
    ],
    ids=[
        "no graceful restart",
        "no family",
        "no time",
        "the F bit is about the last restart",
        "a family that was not agreed on",
        "we have no long-lived restart",
        "long-lived after it",
        "not longer than we say",
        "long-lived alone",
    ],
)
def test_how_long_routes_stay(peer: bytes, ours: int | None, kept: dict[Family, Retention]) -> None:
    assert retained(peer, LOST, long_lived_stale_time=ours) == kept


def test_what_survives_the_next_open() -> None:
    peer = restarting_peer(
        {IPV4_UNICAST: LongLived(10, True), IPV6_UNICAST: LongLived(10, False), EVPN: LongLived(10, True)},
        families={IPV4_UNICAST: False, IPV6_UNICAST: True, EVPN: True},
        restarting=True,
        restart_time=77,
    )
    session = session_in(State.OPEN_SENT)
    session.receive(peer + KEEPALIVE_MESSAGE, NOW)
    (up,) = session.events()
    assert isinstance(up, SessionUp)
    assert up.forwarding_kept == {IPV6_UNICAST}
    assert up.long_lived_kept == {IPV4_UNICAST}
    restart = up.negotiated.graceful_restart
    assert restart is not None
    assert (restart.restarting, restart.restart_time) == (True, 77)


def test_nothing_survives_an_open_without_graceful_restart() -> None:
    session = session_in(State.OPEN_SENT)
    session.receive(peer_open(graceful_restart_time=0) + KEEPALIVE_MESSAGE, NOW)
    (up,) = session.events()
    assert isinstance(up, SessionUp)
    assert (up.forwarding_kept, up.long_lived_kept, up.negotiated.graceful_restart) == (frozenset(), frozenset(), None)


def test_a_full_end_is_a_hard_reset_to_who_would_keep_the_routes() -> None:
    """RFC 8538, 3.1: the real code, subcode and data are in the data."""
    notice = shutdown("going away")
    for n_bit, sent in ((False, notice), (True, Notification(6, 9, bytes((6, 2)) + notice.data))):
        session = session_in(State.ESTABLISHED, peer=restarting_peer(notification=n_bit))
        session.close(notice, NOW)
        assert notifications(session.data_to_send()) == [sent]


def named_open(name: tuple[str, str]) -> bytes:
    """The OPEN of a peer that says its host and domain name."""
    said = local_open(peer_settings())
    return encode_message(OPEN, replace(said, capabilities=replace(said.capabilities, host_name=name)).encode())


def test_sessions_with_equal_opens_share_what_is_known_but_router_id_and_name() -> None:
    """A thousand nodes of one cluster: terms are one object, and each has its own router ID and host name."""
    sessions = []
    for last in (2, 3):
        session = session_in(State.ESTABLISHED, peer=peer_open(router_id=bytes((10, 0, 0, last))))
        assert session.agreed is not None
        sessions.append(session.agreed)
    assert sessions[0].terms is sessions[1].terms
    assert [each.remote.router_id[3] for each in sessions] == [2, 3]
    named = [named_open(name) for name in (("node-1", "rack.example"), ("node-22", ""))]
    for opened, name in zip(named, ("node-1", "node-22"), strict=True):
        agreed = session_in(State.ESTABLISHED, peer=opened).agreed
        assert agreed is not None
        assert agreed.terms is sessions[0].terms
        assert agreed.remote.capabilities.host_name is not None
        assert agreed.remote.capabilities.host_name[0] == name
        assert replace(agreed.remote.capabilities, host_name=None) == sessions[0].remote.capabilities
    other = session_in(State.ESTABLISHED, our_settings(hold_time=30), peer_open()).agreed
    assert other is not None
    assert (other.terms.hold_time, sessions[0].terms.hold_time) == (30, 90)
