"""What proves a platform's configuration, and how much that is worth.

A judge gets the rendered files with the plan that they are of, and returns complaints. Each one is seen to fail: it has
`breaks`, changes of the text after which it must complain. Which features a level is shown for in docs/switches.md
follows from here and from nothing else (table.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from fabric_templates.devices import Feature
from peering.session import SwitchPlan

Level = Literal["ran", "parsed", "schema", "read back", "rendered"]
Files = Mapping[str, str]

#: The letter of each level in the table, strongest first.
LETTERS: dict[Level, str] = {"ran": "R", "parsed": "P", "schema": "S", "read back": "B", "rendered": "·"}


@dataclass(frozen=True, slots=True)
class Break:
    """A regular expression and what is put for its first match, in the first case that has one."""

    pattern: str
    replacement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """`proves` is what it would notice; None is every feature that is rendered, which parsers and schemas see.

    `name` is the command or package, as the table's legend says it. `takes` leaves cases out, with the reason in the
    platform's module.
    """

    level: Level
    name: str
    complaints: Callable[[Files, SwitchPlan], list[str]]
    breaks: tuple[Break, ...]
    proves: frozenset[Feature] | None = None
    takes: Callable[[SwitchPlan], bool] = lambda _: True


@dataclass(frozen=True, slots=True)
class Ran:
    """A test with a live daemon of the platform, `tests/interop/test_x.py::test_y`, and what it looks at."""

    test: str
    proves: frozenset[Feature]


def ran(test: str, *features: Feature) -> Ran:
    return Ran(test, frozenset(features))
