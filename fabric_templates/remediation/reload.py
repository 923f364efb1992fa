"""From one tree of lines to another in the fewest words, with the meaning that frr-reload.py gives to them.

Inside a section what goes is said before what comes. At the top it is the other way round: no list goes before the
route maps that use it have changed. A line whose place another one takes is not removed first: that would come too
late or reset a session for nothing. What was said last goes first: `no neighbor X bfd profile P` leaves `bfd` there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fabric_templates.remediation.line_tree import Line
from fabric_templates.remediation.tables import Reading


def remedy(running: Sequence[Line], wanted: Sequence[Line], table: Reading) -> tuple[Line, ...]:
    """What to say to a switch that runs `running` so that it runs `wanted`, sections closed."""
    going = _going(running, wanted, table)
    early = {line for line in going if any(pattern.match(line.text.removeprefix("no ")) for pattern in table.early)}
    first, last = (tuple(line for line in going if (line in early) is is_early) for is_early in (True, False))
    return first + _coming(running, wanted, table) + last


def _coming(running: Sequence[Line], wanted: Sequence[Line], table: Reading) -> tuple[Line, ...]:
    there = {line.text: line for line in running}
    found = []
    for line in wanted:
        present = there.get(line.text)
        if present is None:
            found.append(closed(line, table))
        elif below := _inside(present.below, line.below, table):
            found.append(closed(replace(line, below=below), table))
    return tuple(found)


def _inside(running: Sequence[Line], wanted: Sequence[Line], table: Reading) -> tuple[Line, ...]:
    return _going(running, wanted, table) + _coming(running, wanted, table)


def _going(running: Sequence[Line], wanted: Sequence[Line], table: Reading) -> tuple[Line, ...]:
    said = {line.text for line in wanted}
    taken = {table.slot(line.text) for line in wanted}
    found = []
    for line in reversed(running):
        if line.text in said or table.slot(line.text) in taken:
            continue
        if not table.is_container(line.text):
            found.append(Line(negated(line.text)))
        elif below := _inside(line.below, (), table):
            found.append(closed(replace(line, below=below), table))
    return tuple(found)


def negated(line: str) -> str:
    """`no` before the line, or what it says without it."""
    return line.removeprefix("no ") if line.startswith("no ") else f"no {line}"


def closed(line: Line, table: Reading) -> Line:
    """The section with the lines that end it and those inside it."""
    below = tuple(closed(inner, table) for inner in line.below)
    return replace(line, below=below, end=next((text for pattern, text in table.close if pattern.match(line.text)), ""))
