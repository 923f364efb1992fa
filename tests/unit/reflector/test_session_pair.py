"""Two machines joined in memory: whatever the network does to them, they come up again, and agree that they are up."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflector.session.events import SessionClosed, SessionUp, UpdateReceived
from reflector.session.settings import SessionSettings
from reflector.session.states import Input, State
from reflector.wire.framing import UPDATE, encode_message
from tests.unit.reflector.session_cases import our_settings, peer_settings
from tests.unit.reflector.session_world import World

#: What may happen, as often as it stands here: deliveries are most of it, as in life.
HAPPENINGS = [
    *[World.deliver] * 16,
    *[World.answer] * 4,
    *[World.wait] * 3,
    World.refuse,
    World.drop,
    World.reset,
    World.stop,
]
SCRIPT = st.lists(st.tuples(st.sampled_from(HAPPENINGS), st.integers(0, 1 << 16)), max_size=120)
FIELDS = st.fixed_dictionaries(
    {"hold_time": st.sampled_from((3, 9, 90)), "graceful_restart_time": st.sampled_from((0, 120))}
)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[SessionSettings, SessionSettings]:
    """At least one of the two dials; within one AS, or of two with any router IDs, the same one too."""
    passive = draw(st.sampled_from(((False, False), (True, False), (False, True))))
    asn = draw(st.sampled_from((64512, 65001)))
    ids = [bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2)), *([bytes((10, 0, 0, 1))] if asn != 64512 else [])]
    ours, theirs = draw(st.permutations(ids))[:2]
    return (
        our_settings(passive=passive[0], router_id=ours, **draw(FIELDS)),
        peer_settings(passive=passive[1], router_id=theirs, local_asn=asn, **draw(FIELDS)),
    )


@given(pairs(), SCRIPT, st.integers(0, 1 << 16))
@settings(max_examples=300, deadline=None)
def test_two_ends_agree_in_the_end(pair: tuple[SessionSettings, SessionSettings], script: Any, seed: int) -> None:
    world = World(pair, seed)
    for happening, number in script:
        happening(world, number)
        world.check()
    world.settle()
    _stays_up(world)


def _stays_up(world: World) -> None:
    """For ten minutes in which KEEPALIVEs are all there is."""
    up = [end.established for end in world.ends]
    end = world.now + 600
    while world.now < end:
        world.tick(max(0.0, min(e.deadline() for e in world.ends) - world.now))
        while world.exchange():
            pass
    assert [end.established for end in world.ends] == up


def test_random_scripts_meet_every_kind_of_end() -> None:
    """Otherwise the test above would say little."""
    random, ends = Random(4), set()
    for seed in range(1000):
        world = World((our_settings(passive=False), peer_settings()), seed)
        for _ in range(120):
            random.choice(HAPPENINGS)(world, random.getrandbits(16))
        ends |= {event.cause for seen in world.seen for _, event in seen if isinstance(event, SessionClosed)}
    assert ends >= {
        Input.COLLISION_LOST,
        Input.CONNECTION_FAILS,
        Input.HOLD_EXPIRES,
        Input.NOTIFICATION,
        Input.REPLACED,
        Input.STOP,
    }


@pytest.mark.parametrize("higher_first", [False, True])
@pytest.mark.parametrize("first", [0, 1])
def test_both_dial_at_once_and_the_higher_router_id_keeps_its_connection(higher_first: bool, first: int) -> None:
    ids = [bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))]
    if higher_first:
        ids.reverse()
    world = World((our_settings(passive=False, router_id=ids[0]), peer_settings(router_id=ids[1])), 1)
    dialed = {side: next(s for s, where in world.dials.items() if where == side) for side in (0, 1)}
    for _ in (0, 1):
        world.answer(first)
    world.settle()
    keeper = 0 if higher_first else 1
    assert world.ends[keeper].established is dialed[keeper]
    assert [type(event) for _, event in world.seen[0]].count(SessionUp) == 1


@given(st.lists(st.integers(4, 300), max_size=40), st.lists(st.integers(1, 700), min_size=1), st.integers(0, 1))
@settings(max_examples=100, deadline=None)
def test_updates_arrive_whole_and_in_order(sizes: list[int], cuts: list[int], side: int) -> None:
    world = World((our_settings(), peer_settings()), 0)
    world.settle()
    bodies = [number.to_bytes(4, "big") + bytes(size - 4) for number, size in enumerate(sizes, 1)]
    wire = world.wires[-1]
    wire.send(side, b"".join(encode_message(UPDATE, body) for body in bodies))
    turn = 0
    while world.read(wire, 1 - side, cuts[turn % len(cuts)]):
        turn += 1
    got = [event.body for _, event in world.seen[1 - side] if isinstance(event, UpdateReceived)]
    assert got == bodies


def test_a_peer_that_lost_its_memory_is_found_out_at_once() -> None:
    """Without graceful restart its new connection is refused, but the KEEPALIVE sent then meets a reset."""
    world = World((our_settings(graceful_restart_time=0), peer_settings(graceful_restart_time=0)), 0)
    world.settle()
    old, wire = world.ends[0].established, world.wires[-1]
    world.tick(2.0)
    wire.close(1, silently=True)
    wire.sessions[1].connection_lost(world.now)
    world.service(1)
    began = world.now
    world.settle()
    assert world.now - began < 20
    assert world.ends[0].established is not old


def test_a_peer_that_restarts_gracefully_is_back_before_its_loss_was_noticed() -> None:
    world = World((our_settings(), peer_settings()), 0)
    world.settle()
    old, wire = world.ends[0].established, world.wires[-1]
    assert old is not None
    world.tick(15.0)
    wire.close(1, silently=True)
    wire.sessions[1].connection_lost(world.now)
    world.service(1)
    world.settle()
    ends = [event for session, event in world.seen[0] if session is old and isinstance(event, SessionClosed)]
    assert [end.state for end in ends] == [State.ESTABLISHED]
    assert set(ends[0].retained) == set(our_settings().families)
