"""When the server publishes: at once where all is quiet, later where much comes in, and never not at all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reflector.server.pacing import ENOUGH, GATHER, PAUSE, Pacing

NOW = 1000.0


def wanted(*, cost: float = 0.0, ended: float = NOW) -> Pacing:
    """One whose last round took `cost` seconds, until `ended`, and which has something to publish since then."""
    pacing = Pacing()
    pacing.done(ended - cost, ended)
    pacing.wanted(ended)
    return pacing


def due(pacing: Pacing, now: float, *, idle: bool = False, crowd: bool = False, changes: int = 1) -> bool:
    return pacing.due(now, idle=idle, crowd=crowd, changes=changes)


def test_nothing_is_published_when_nobody_wants_it() -> None:
    pacing = Pacing()
    assert not due(pacing, NOW, idle=True, changes=ENOUGH)
    pacing.wanted(NOW)
    assert due(pacing, NOW, idle=True)
    pacing.done(NOW, NOW)
    assert not due(pacing, NOW + 100, idle=True)


def test_when_input_pauses_it_is_done_at_once() -> None:
    assert due(wanted(cost=1.0), NOW, idle=True)


def test_while_input_comes_changes_are_gathered_for_a_while() -> None:
    pacing = wanted()
    assert not due(pacing, NOW + 0.9 * GATHER)
    assert due(pacing, NOW + 1.1 * GATHER)


def test_the_while_is_that_of_the_first_change() -> None:
    """Whoever goes on talking puts it off no further."""
    pacing = wanted()
    pacing.wanted(NOW + 0.9 * GATHER)
    assert due(pacing, NOW + 1.1 * GATHER)


def test_what_costs_more_is_gathered_for_longer() -> None:
    pacing = wanted(cost=0.5)
    assert not due(pacing, NOW + 0.5 * PAUSE)
    assert due(pacing, NOW + 0.5 * PAUSE + 1.1 * GATHER)


def test_enough_is_enough() -> None:
    pacing = wanted(cost=10.0)
    assert not due(pacing, NOW, crowd=True, changes=ENOUGH - 1)
    assert due(pacing, NOW, crowd=True, changes=ENOUGH)


def test_while_clients_come_in_rounds_take_a_share_of_the_time() -> None:
    pacing = wanted(cost=0.5)
    assert pacing.not_before == NOW + 0.5 * PAUSE
    assert not due(pacing, NOW + 0.4 * PAUSE, idle=True, crowd=True)
    assert due(pacing, pacing.not_before, idle=True, crowd=True)


@given(st.lists(st.tuples(st.floats(0, 2), st.booleans(), st.booleans(), st.integers(0, 10))), st.floats(0, 5))
def test_it_is_never_put_off_for_ever(questions: list[tuple[float, bool, bool, int]], cost: float) -> None:
    """Asked however often, under whatever load: after the gathering it is due."""
    pacing = wanted(cost=cost)
    now = NOW
    for wait, idle, crowd, changes in questions:
        now += wait
        pacing.wanted(now)
        if now > NOW + GATHER + PAUSE * cost:
            assert due(pacing, now, idle=idle, crowd=crowd, changes=changes)
