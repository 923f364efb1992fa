"""The remedy for platforms that hier_config knows: what it makes of two trees of lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

from fabric_templates.remediation.line_tree import Line, printed
from fabric_templates.remediation.tables import Reading


def remedy(running: Sequence[Line], wanted: Sequence[Line], table: Reading) -> tuple[Line, ...]:
    """What to say to a switch that runs `running` so that it runs `wanted`."""
    # Not at the top of the module: no other command needs the library.
    hier_config = import_module("hier_config")
    driver = hier_config.Platform[table.engine]
    goals = _with_sections_of(wanted, running, table)
    trees = [hier_config.get_hconfig(driver, "\n".join(printed(lines))) for lines in (running, goals)]
    return _lines(hier_config.WorkflowRemediation(*trees).remediation_config.children, table)


def _with_sections_of(wanted: Sequence[Line], running: Sequence[Line], table: Reading) -> tuple[Line, ...]:
    """`wanted` and, empty, the shared sections that only the switch has: what others have in them is to stay."""
    there = {line.text: line.below for line in running if table.is_container(line.text)}
    found = [replace(w, below=_with_sections_of(w.below, there.pop(w.text, ()), table)) for w in wanted]
    return (*found, *(Line(text, _with_sections_of((), below, table)) for text, below in there.items()))


def _lines(children: Iterable[Any], table: Reading) -> tuple[Line, ...]:
    """In the order of hier_config's weights."""
    found = []
    for child in sorted(children):
        end = child.sectional_exit or ""
        found.append(
            Line(child.text, _lines(child.children, table), end if end in table.ends and child.children else "")
        )
    return tuple(found)
