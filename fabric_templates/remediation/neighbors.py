"""Neighbours that go as a whole, where the platform has one line for that.

Taking away line after line would fail: with the first one (`remote-as`) a switch forgets the neighbour, and refuses the
others. A neighbour with a line that cannot be changed goes as well, and comes back with all of its lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from fabric_templates.naming import PREFIX
from fabric_templates.remediation.line_tree import Line
from fabric_templates.remediation.ownership import keys
from fabric_templates.remediation.tables import Reading


@dataclass(frozen=True, slots=True)
class Leaving:
    """What to say first, neighbours, and what to say last, peer-groups; what is running when both have been said."""

    neighbors: tuple[Line, ...]
    groups: tuple[Line, ...]
    left: tuple[Line, ...]


def leaving(running: Sequence[Line], wanted: Sequence[Line], table: Reading) -> Leaving:
    """Nothing of `running` leaves as a whole where the platform has no line for that.

    Groups go last: a listen range that refers to one goes in between.
    """
    if table.remove is None:
        return Leaving((), (), tuple(running))
    gone = keys(running, table) - keys(wanted, table) | _remade(running, wanted, table)
    groups = {key for key in gone if key.startswith(PREFIX)}
    return Leaving(
        neighbors=_said(running, [table.remove.neighbor.format(key=key) for key in sorted(gone - groups)], table),
        groups=_said(running, [table.remove.group.format(key=key) for key in sorted(groups)], table),
        left=_without(running, gone, table),
    )


def _said(running: Iterable[Line], removals: Iterable[str], table: Reading) -> tuple[Line, ...]:
    below = tuple(Line(text) for text in removals)
    return tuple(Line(line.text, below) for line in running if below and table.instance.match(line.text))


def _remade(running: Iterable[Line], wanted: Iterable[Line], table: Reading) -> set[str]:
    """Those that have a line that cannot be changed and is not wanted."""
    said = {line for line, _ in _firm(wanted, table)}
    return {key for line, key in _firm(running, table) if line not in said and not key.startswith(PREFIX)}


def _firm(lines: Iterable[Line], table: Reading) -> Iterator[tuple[str, str]]:
    """(line, key) of the lines that cannot be changed."""
    for instance in lines:
        for line in instance.below if table.instance.match(instance.text) else ():
            key = table.key(line.text)
            if key is not None and any(pattern.match(line.text) for pattern in table.recreate):
                yield line.text, key


def _without(lines: Iterable[Line], gone: set[str], table: Reading) -> tuple[Line, ...]:
    found = []
    for line in lines:
        if table.key(line.text) in gone:
            continue
        below = _without(line.below, gone, table) if table.is_container(line.text) else line.below
        found.append(replace(line, below=below))
    return tuple(found)
