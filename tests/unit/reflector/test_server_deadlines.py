"""The heap of deadlines against a dict that is searched: who is due, when the next is, who is held on to."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from reflector.server.deadlines import Deadlines

TIMES = st.one_of(st.integers(0, 30).map(float), st.just(inf))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 5), TIMES),
        st.tuples(st.just("forget"), st.integers(0, 5)),
        st.tuples(st.just("due"), st.integers(0, 35).map(float)),
    )
)


@given(STEPS)
def test_against_a_dict(steps: list[tuple[str, int | float] | tuple[str, int, float]]) -> None:
    made: Deadlines[int] = Deadlines()
    naive: dict[int, float] = {}
    for what, *arguments in steps:
        if what == "set":
            thing, deadline = int(arguments[0]), arguments[1]
            made.set(thing, deadline)
            naive[thing] = min(deadline, naive.get(thing, inf))
        elif what == "forget":
            made.forget(int(arguments[0]))
            naive.pop(int(arguments[0]), None)
        else:
            due = {thing for thing, deadline in naive.items() if deadline <= arguments[0]}
            assert set(made.due(arguments[0])) == due
            naive = {thing: deadline for thing, deadline in naive.items() if thing not in due}
        assert made.next() == min(naive.values(), default=inf)


def test_the_earliest_comes_first_and_equal_ones_in_their_order() -> None:
    made: Deadlines[str] = Deadlines()
    for thing, deadline in (("late", 3.0), ("b", 2.0), ("a", 2.0), ("early", 1.0)):
        made.set(thing, deadline)
    assert made.due(2.5) == ["early", "b", "a"]
    assert made.due(2.5) == []
    assert made.next() == 3.0


def test_a_later_deadline_changes_nothing_and_an_earlier_one_does() -> None:
    """Whoever is looked at too early says again when it wants to be looked at."""
    made: Deadlines[str] = Deadlines()
    made.set("x", 5.0)
    made.set("x", 9.0)
    assert made.next() == 5.0
    made.set("x", 2.0)
    assert made.due(2.0) == ["x"]
    assert made.due(9.0) == []


def test_it_does_not_hold_on_to_those_who_come_and_go() -> None:
    made: Deadlines[int] = Deadlines()
    made.set(-1, 500.0)
    for number in range(10_000):
        made.set(number, 1000.0 + number)
        made.forget(number)
        assert len(made._heap) < 100
    assert made.next() == 500.0


def test_nor_to_the_deadlines_of_one_that_are_brought_forward() -> None:
    made: Deadlines[str] = Deadlines()
    for number in range(10_000):
        made.set("x", 100_000.0 - number)
    assert len(made._heap) < 100
    assert made.due(100_000.0) == ["x"]
