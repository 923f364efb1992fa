"""Passwords in configurations: hidden before two are compared, so that no difference shows one by accident.

A switch that stores passwords in a form of its own cannot tell which it has; that it has one is all that is compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from fabric_templates.remediation.line_tree import Line, every
from fabric_templates.remediation.tables import Reading

_HIDDEN = "<hidden>"
Path = tuple[str, ...]


def hidden(lines: Iterable[Line], table: Reading) -> tuple[Line, ...]:
    """The tree with `<hidden>` in place of every password."""
    return tuple(replace(line, text=_hide(line.text, table), below=hidden(line.below, table)) for line in lines)


def originals(lines: Sequence[Line], table: Reading) -> dict[Path, str]:
    """The path of each line of `hidden(lines)` -> its text before."""
    return {shown: real[-1] for shown, real in zip(every(hidden(lines, table)), every(lines), strict=True)}


def revealed(lines: Iterable[Line], real: Mapping[Path, str], table: Reading, above: Path = ()) -> tuple[Line, ...]:
    """The tree with the lines as they were; what takes a password away does not say which."""
    found = []
    for line in lines:
        path = (*above, line.text)
        below = revealed(line.below, real, table, path)
        found.append(replace(line, text=real.get(path, _unsaid(line.text, table)), below=below))
    return tuple(found)


def _hide(text: str, table: Reading) -> str:
    before = _before_secret(text, table)
    return text if before is None else f"{before} {_HIDDEN}"


def _unsaid(text: str, table: Reading) -> str:
    if not text.startswith("no "):
        return text
    before = _before_secret(text.removeprefix("no "), table)
    return text if before is None else f"no {before}"


def _before_secret(text: str, table: Reading) -> str | None:
    return next((found[0] for pattern in table.secrets if (found := pattern.match(text))), None)
