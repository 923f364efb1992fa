"""Which of two connections stays: both ends must find the same, each by itself."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reflector.session.collision import Contender, Identity, newer_stays
from reflector.session.machine import Session
from reflector.session.neighbor import SETTLED, Neighbor
from reflector.session.states import Input, State
from tests.unit.reflector.session_cases import (
    KEEPALIVE_MESSAGE,
    NOW,
    OUR_ID,
    PEER_ID,
    accepted,
    closed,
    notifications,
    our_settings,
    peer_open,
)

IDENTITIES = st.builds(Identity, st.binary(min_size=4, max_size=4), st.integers(1, 4_294_967_295))
CEASE_COLLISION = (6, 7)


@given(IDENTITIES, IDENTITIES, st.booleans(), st.booleans())
def test_both_ends_keep_the_same_connection(here: Identity, there: Identity, ours: bool, in_order: bool) -> None:
    """Two connections, opened by one end each, meet in OpenConfirm; the ends may see the OPENs in another order."""
    assume(here != there)

    def kept(local: Identity, remote: Identity, newer_is_incoming: bool) -> Identity:
        """Who opened the connection that this end keeps."""
        newer = Contender(State.OPEN_SENT, newer_is_incoming)
        older = Contender(State.OPEN_CONFIRM, not newer_is_incoming)
        incoming = newer_is_incoming is newer_stays(newer, older, local, remote)
        return remote if incoming else local

    assert kept(here, there, ours) == kept(there, here, in_order) == max(here, there)


def test_router_ids_compare_as_numbers() -> None:
    """9.0.0.0 is less than 10.0.0.0, whatever their texts say."""
    lower, higher = Identity(bytes((9, 255, 0, 0)), 2), Identity(bytes((10, 0, 0, 0)), 1)
    newer, older = Contender(State.OPEN_SENT, True), Contender(State.OPEN_CONFIRM, False)
    assert newer_stays(newer, older, lower, higher)
    assert not newer_stays(newer, older, higher, lower)


def test_with_equal_router_ids_the_higher_as_decides() -> None:
    """RFC 6286, 2.3."""
    newer, older = Contender(State.OPEN_SENT, True), Contender(State.OPEN_CONFIRM, False)
    assert newer_stays(newer, older, Identity(OUR_ID, 65001), Identity(OUR_ID, 65002))
    assert not newer_stays(newer, older, Identity(OUR_ID, 65002), Identity(OUR_ID, 65001))


@pytest.mark.parametrize("incoming", [False, True])
def test_of_two_connections_of_one_end_the_newer_stays(incoming: bool) -> None:
    newer, older = Contender(State.OPEN_SENT, incoming), Contender(State.OPEN_CONFIRM, incoming)
    for local, remote in ((OUR_ID, PEER_ID), (PEER_ID, OUR_ID)):
        assert newer_stays(newer, older, Identity(local, 1), Identity(remote, 1))


@given(IDENTITIES, IDENTITIES, st.booleans(), st.booleans(), st.booleans())
def test_an_established_session_gives_way_only_to_a_restart(
    local: Identity, remote: Identity, newer_incoming: bool, older_incoming: bool, may_restart: bool
) -> None:
    newer = Contender(State.OPEN_SENT, newer_incoming)
    older = Contender(State.ESTABLISHED, older_incoming, may_restart)
    assert newer_stays(newer, older, local, remote) is (newer_incoming and may_restart)


# In a neighbour.


def colliding(router_id: bytes) -> tuple[Neighbor, Session, Session]:
    """Ours in OpenConfirm, and one that came in meanwhile."""
    neighbor = Neighbor(our_settings(passive=False, router_id=router_id))
    neighbor.start(NOW)
    (dialed,) = neighbor.sessions
    came_in = accepted(neighbor)
    dialed.connected(NOW, incoming=False)
    dialed.receive(peer_open(), NOW)
    for session in (dialed, came_in):
        session.events()
        session.data_to_send()
    return neighbor, dialed, came_in


def test_the_peer_has_the_higher_router_id() -> None:
    neighbor, dialed, came_in = colliding(OUR_ID)
    came_in.receive(peer_open() + KEEPALIVE_MESSAGE, NOW)
    assert neighbor.take_ended() == [dialed]
    assert [(n.code, n.subcode) for n in notifications(dialed.data_to_send())] == [CEASE_COLLISION]
    assert closed(dialed.events()).cause is Input.COLLISION_LOST
    assert neighbor.sessions == [came_in]
    assert neighbor.established is came_in


def test_we_have_the_higher_router_id() -> None:
    neighbor, dialed, came_in = colliding(bytes((10, 0, 0, 9)))
    came_in.receive(peer_open() + KEEPALIVE_MESSAGE, NOW)
    assert neighbor.take_ended() == [came_in]
    # The KEEPALIVE that would confirm the connection is not sent on the one that loses.
    assert [(n.code, n.subcode) for n in notifications(came_in.data_to_send())] == [CEASE_COLLISION]
    assert neighbor.sessions == [dialed]
    assert dialed.state is State.OPEN_CONFIRM


def test_a_connection_without_open_is_no_rival_and_ends_when_another_comes_up() -> None:
    neighbor, dialed, came_in = colliding(OUR_ID)
    dialed.receive(KEEPALIVE_MESSAGE, NOW)
    assert neighbor.established is dialed
    assert neighbor.take_ended() == [came_in]
    assert [(n.code, n.subcode) for n in notifications(came_in.data_to_send())] == [CEASE_COLLISION]


def test_an_attempt_to_connect_is_given_up_when_another_comes_up() -> None:
    neighbor = Neighbor(our_settings(passive=False))
    neighbor.start(NOW)
    (dialing,) = neighbor.sessions
    came_in = accepted(neighbor)
    came_in.receive(peer_open() + KEEPALIVE_MESSAGE, NOW)
    assert neighbor.take_ended() == [dialing]
    assert (dialing.data_to_send(), closed(dialing.events()).state) == (b"", State.CONNECT)


def established(peer: bytes, **fields: object) -> tuple[Neighbor, Session]:
    neighbor = Neighbor(our_settings(**fields))
    neighbor.start(NOW)
    session = accepted(neighbor)
    session.receive(peer + KEEPALIVE_MESSAGE, NOW)
    session.events()
    session.data_to_send()
    return neighbor, session


@pytest.mark.parametrize(
    ("peer", "fields", "after"),
    [
        (peer_open(graceful_restart_time=0), {}, 60.0),
        (peer_open(), {"graceful_restart_time": 0}, 60.0),
        (peer_open(), {}, SETTLED - 1),
    ],
    ids=["the peer has no graceful restart", "we have none", "it has just come up"],
)
def test_an_established_session_stays(peer: bytes, fields: dict[str, object], after: float) -> None:
    neighbor, old = established(peer, **fields)
    new = accepted(neighbor, NOW + after)
    # The peer that has forgotten the old one answers this with a reset.
    assert old.data_to_send() == KEEPALIVE_MESSAGE
    new.receive(peer + KEEPALIVE_MESSAGE, NOW + after)
    assert [(n.code, n.subcode) for n in notifications(new.data_to_send())] == [CEASE_COLLISION]
    assert neighbor.established is old
    assert neighbor.sessions == [old]
    assert old.events() == []


def test_an_established_session_is_replaced_by_a_peer_that_restarts_gracefully() -> None:
    neighbor, old = established(peer_open())
    new = accepted(neighbor, NOW + 60)
    assert neighbor.established is old
    new.receive(peer_open(restarting=True), NOW + 60)
    assert neighbor.take_ended() == [old]
    end = closed(old.events())
    assert (end.cause, end.sent, old.data_to_send()) == (Input.REPLACED, False, b"")
    assert set(end.retained) == set(our_settings().families)
    new.receive(KEEPALIVE_MESSAGE, NOW + 60)
    assert neighbor.established is new


def test_a_connection_alone_replaces_nothing() -> None:
    """Whoever can open one from the peer's address must also say the right OPEN."""
    neighbor, old = established(peer_open(), peer_asn=64512)
    for said in (b"", bytes(19), KEEPALIVE_MESSAGE, peer_open(local_asn=65001), peer_open(hold_time=1)):
        accepted(neighbor, NOW + 60).receive(said, NOW + 60)
        assert neighbor.established is old


def test_no_more_than_one_keepalive_a_second_whoever_knocks() -> None:
    neighbor, old = established(peer_open())
    for tenth in range(100):
        accepted(neighbor, NOW + 20 + tenth / 10)
    assert old.data_to_send() == KEEPALIVE_MESSAGE * 10
    assert len(neighbor.sessions) == 2


def test_of_two_that_came_in_the_newer_stays() -> None:
    neighbor = Neighbor(our_settings())
    neighbor.start(NOW)
    first, second = accepted(neighbor), accepted(neighbor)
    assert neighbor.take_ended() == [first]
    assert [(n.code, n.subcode) for n in notifications(first.data_to_send())] == [CEASE_COLLISION]
    second.receive(peer_open(), NOW)
    third = accepted(neighbor)
    assert neighbor.sessions == [second, third]
    third.receive(peer_open() + KEEPALIVE_MESSAGE, NOW)
    assert neighbor.established is third
    assert neighbor.sessions == [third]
