"""The table of states: closed, in step with the machine, and what the handbook shows."""

from __future__ import annotations

from math import inf
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector.session import diagram
from reflector.session.events import SessionClosed
from reflector.session.machine import _ACTIONS, Session
from reflector.session.states import CONNECTED_STATES, MISSING, TABLE, Action, Input, State, row
from reflector.wire.framing import OPEN, encode_message
from tests.unit.reflector.session_cases import (
    CEASE_MESSAGE,
    KEEPALIVE_MESSAGE,
    NOW,
    REFRESH_MESSAGE,
    UPDATE_MESSAGE,
    notifications,
    peer_open,
    session_in,
)

PAGE = Path(__file__).parents[3] / "docs" / "design" / "reflector-session.md"
PAIRS = [(state, happened) for state in State for happened in Input]

#: Messages by the input that they are.
SAID = {
    Input.OPEN: peer_open(),
    Input.KEEPALIVE: KEEPALIVE_MESSAGE,
    Input.UPDATE: UPDATE_MESSAGE,
    Input.ROUTE_REFRESH: REFRESH_MESSAGE,
    Input.NOTIFICATION: CEASE_MESSAGE,
}


@given(st.sampled_from(State), st.lists(st.sampled_from(Input)))
def test_any_inputs_from_any_state_end_in_a_state(state: State, inputs: list[Input]) -> None:
    for happened in inputs:
        action, state = row(state, happened)
        assert action in Action
        assert state in State


@pytest.mark.parametrize(("state", "happened"), PAIRS)
def test_the_machine_goes_where_the_table_says(state: State, happened: Input) -> None:
    session = session_in(state)
    session._fire(happened, NOW)
    assert session.state is row(state, happened).next_state


@given(st.sampled_from(State), st.lists(st.tuples(st.sampled_from(Input), st.floats(0, 500)), max_size=12))
def test_no_inputs_make_the_machine_raise(state: State, inputs: list[tuple[Input, float]]) -> None:
    """Whatever state the machine is brought to, whatever is said to have happened, at whatever times."""
    session, now, ended = session_in(state), NOW, 0
    for happened, seconds in inputs:
        now += seconds
        # What a message means is found out before the table is asked, so an OPEN comes as a message.
        if happened is Input.OPEN and session.state is State.OPEN_SENT:
            session.receive(peer_open(), now)
        else:
            session._fire(happened, now)
        session.data_to_send()
        ended = sum(isinstance(event, SessionClosed) for event in session.events())
        assert ended == (session.state is State.IDLE and session.since > -inf)
        assert (session.deadline() == inf) or session.state is not State.IDLE
        if ended:
            break


@pytest.mark.parametrize("state", CONNECTED_STATES)
@pytest.mark.parametrize("happened", SAID)
def test_a_message_that_the_table_does_not_know_is_the_fsm_error(state: State, happened: Input) -> None:
    """RFC 6608, 4: the subcode says in which state, the data which type of message."""
    session = session_in(state)
    session.receive(SAID[happened], NOW)
    if (state, happened) in TABLE:
        assert session.state is TABLE[state, happened].next_state
        return
    (notice,) = notifications(session.data_to_send())
    assert (notice.code, notice.subcode) == (5, 1 + CONNECTED_STATES.index(state))
    assert notice.data == bytes((SAID[happened][18],))
    assert session.state is State.IDLE


def test_a_malformed_message_in_the_wrong_state_is_the_fsm_error_too() -> None:
    """When a message must not come, nobody looks at what is in it."""
    for said in (encode_message(OPEN, bytes(10)), peer_open(hold_time=30)):
        session = session_in(State.ESTABLISHED)
        agreed = session.agreed
        session.receive(said, NOW)
        assert [(n.code, n.subcode, n.data) for n in notifications(session.data_to_send())] == [(5, 3, b"\x01")]
        assert session.agreed is agreed


def test_every_row_can_be_reached() -> None:
    """From Idle, by rows alone, to each state; and each state leads back to Idle."""
    arrows = {(state, found.next_state) for (state, _), found in TABLE.items()}
    reached = {State.IDLE}
    while more := {following for state, following in arrows if state in reached} - reached:
        reached |= more
    assert reached == set(State)
    assert {state for state, following in arrows if following is State.IDLE} == set(State) - {State.IDLE}


def test_only_a_state_with_a_connection_sends_anything_when_it_ends() -> None:
    for (state, _), found in [*TABLE.items(), *(((state, None), found) for state, found in MISSING.items())]:
        if found.action in (Action.NOTIFY, Action.FSM_ERROR):
            assert state in CONNECTED_STATES
            assert found.next_state is State.IDLE


def test_every_action_is_done_by_the_machine() -> None:
    assert set(_ACTIONS) == set(Action)
    assert {found.action for found in [*TABLE.values(), *MISSING.values()]} == set(Action)


@pytest.mark.parametrize("name", ["mermaid", "rows"])
def test_the_handbook_shows_this_table(name: str, request: pytest.FixtureRequest) -> None:
    """`--update-golden` writes what is between the markers anew."""
    drawn = getattr(diagram, name)()
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(f"<!-- {name} -->\n")
    shown, end, after = rest.partition(f"<!-- end of {name} -->\n")
    assert begin
    assert end
    if request.config.getoption("--update-golden"):
        PAGE.write_text("".join((before, begin, drawn, end, after)), encoding="utf-8")
    else:
        assert shown == drawn


def test_the_diagram_changes_with_the_table() -> None:
    without = {key: found for key, found in TABLE.items() if key != (State.OPEN_SENT, Input.OPEN)}
    assert diagram.mermaid(without) != diagram.mermaid()
    assert diagram.rows(without) != diagram.rows()


def test_a_session_that_is_over_does_nothing_any_more() -> None:
    session = session_in(State.ESTABLISHED)
    session.receive(CEASE_MESSAGE, NOW)
    session.events()
    for happened in (lambda s: s.receive(UPDATE_MESSAGE, NOW), Session.data_to_send, lambda s: s.connection_lost(NOW)):
        happened(session)
    assert session.events() == []
    assert session.data_to_send() == b""
    assert not session.timer(NOW + 9999, serviced=True)
