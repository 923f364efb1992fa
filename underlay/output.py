"""How results and problems reach a person or a script: tables, JSON, YAML; problems as one line each.

Results go to stdout, everything else to stderr, so that `-o json` is always one JSON document.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

import yaml
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from peering.problem_groups import together
from peering.problems import Problem


class Format(StrEnum):
    """`-o`."""

    table = "table"
    json = "json"
    yaml = "yaml"


# Without emoji: fd00:100::1 is an address, and `:100:` would be made a picture.
console = Console(highlight=False, emoji=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)

_PIPE_WIDTH = 10_000
_STYLES = {"error": "bold red", "warning": "yellow", "info": "dim"}


class Refused(Exception):
    """The command ends with exit code 1; what is wrong has been or is printed one problem per line."""

    def __init__(self, problems: Iterable[Problem] = (), message: str = "") -> None:
        super().__init__(message)
        self.problems = tuple(problems)
        self.message = message


def print_text(text: str) -> None:
    """Configurations and their lines, to the byte: a console would make spaces of tabs."""
    sys.stdout.write(text)


def print_data(data: Any, how: Format) -> None:
    """One JSON or YAML document."""
    if how is Format.json:
        text = json.dumps(data, indent=2)
    else:
        text = yaml.safe_dump(data, sort_keys=False, default_flow_style=False).rstrip()
    sys.stdout.write(text + "\n")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, tight: bool = False) -> None:
    """A plain table, `tight` where it has many columns; states are coloured on a terminal.

    Where it is wider than the terminal, cells go over several lines and nothing is cut off. To a pipe a row is a line.
    """
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.collapse_padding = tight
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    if title:  # in front of the table: as a part of it, it would be broken where the table ends
        console.print(Text(title, style="bold"))
    Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH).print(table)


def print_problems(problems: Iterable[Problem], *, verbose: bool = False) -> None:
    """One line per problem on stderr, many alike as one; `info` only when asked for."""
    for problem in together(p for p in problems if p.severity != "info" or verbose):
        line = Text(f"{problem.severity}: ", style=_STYLES[problem.severity])
        errors.print(line.append(problem.line(), style="default not bold"))


def print_codes(problems: Iterable[Problem]) -> None:
    """What to look up in docs/problems.md, and how often it was found."""
    codes = Counter(problem.code for problem in problems)
    if codes:
        found = ", ".join(f"{code} {codes[code]}" for code in sorted(codes))
        errors.print(f"codes, explained in docs/problems.md: {found}", markup=False)


def _cell(value: object) -> Text:
    text = "" if value is None else str(value)
    style = {"Established": "green", "running": "green", "Idle": "red", "dead": "red"}.get(text, "")
    return Text(text, style=style)
