"""The table of states as the handbook shows it: a diagram for the eye, and every row for the reader. Pure.

`docs/design/reflector-session.md` holds both between markers; a test compares them with what this module prints.
"""

from __future__ import annotations

from collections.abc import Mapping

from reflector.session.states import MISSING, TABLE, Action, Input, Row, State

#: Rows that are left out: who has started is not started again, in any state.
_IGNORED = Action.IGNORE


def mermaid(table: Mapping[tuple[State, Input], Row] = TABLE) -> str:
    """A Mermaid state diagram: one arrow for each pair of states, with the inputs that lead from one to the other."""
    arrows: dict[tuple[State, State], list[Input]] = {}
    for (state, happened), row in table.items():
        if row.action is not _IGNORED:
            arrows.setdefault((state, row.next_state), []).append(happened)
    lines = [f"    [*] --> {State.IDLE.value}"]
    for (state, following), inputs in arrows.items():
        lines.append(f"    {state.value} --> {following.value}: {', '.join(each.value for each in inputs)}")
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"]) + "\n"


def rows(table: Mapping[tuple[State, Input], Row] = TABLE) -> str:
    """A Markdown table of every row, and of what stands for the missing ones."""
    lines = ["| state | input | action | next state |", "|---|---|---|---|"]
    for state in State:
        for (where, happened), row in table.items():
            if where is state and row.action is not _IGNORED:
                lines.append(_line(state, f"`{happened.value}`", row))
        lines.append(_line(state, "any other", MISSING[state]))
    return "\n".join(lines) + "\n"


def _line(state: State, happened: str, row: Row) -> str:
    return f"| {state.value} | {happened} | {row.action.value} | {row.next_state.value} |"
