"""A configuration as lines with lines below them, which is what indentation says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from fabric_templates.remediation.tables import Reading


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its indentation, what is below it, and the line that ends it where that is part of its text."""

    text: str
    below: tuple[Line, ...] = ()
    end: str = ""


@dataclass(slots=True)
class _Open:
    depth: int
    text: str
    below: list[Line] = field(default_factory=list)

    def closed(self) -> Line:
        return Line(self.text, tuple(self.below))


def parse(text: str, table: Reading) -> tuple[Line, ...]:
    """The tree of a configuration; how many spaces a level has does not matter."""
    root = _Open(-1, "")
    opened = [root]
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line in table.closers or any(pattern.match(line) for pattern in table.noise):
            continue
        depth = len(raw) - len(raw.lstrip())
        while opened[-1].depth >= depth:
            _close(opened)
        if line in table.ends and opened[-1].below:
            opened[-1].below[-1] = replace(opened[-1].below[-1], end=line)
        else:
            opened.append(_Open(depth, " ".join(line.split())))
    while len(opened) > 1:
        _close(opened)
    return _merged(root.below, table)


def _close(opened: list[_Open]) -> None:
    done = opened.pop()
    opened[-1].below.append(done.closed())


def _merged(lines: Iterable[Line], table: Reading) -> tuple[Line, ...]:
    """Shared sections of one name are one; of other lines of one name the last counts, inside a policy each of them."""
    found: dict[str, Line] = {}
    for line in lines:
        shared = table.is_container(line.text)
        known = found[line.text].below if shared and line.text in found else ()
        found[line.text] = replace(line, below=_merged(known + line.below, table)) if shared else line
    return tuple(found.values())


def printed(lines: Iterable[Line], depth: int = 0) -> Iterator[str]:
    """The text of a tree, with one space for each level."""
    for line in lines:
        yield " " * depth + line.text
        yield from printed(line.below, depth + 1)
        if line.end:
            yield " " * depth + line.end


def every(lines: Iterable[Line], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Each line with those above it."""
    for line in lines:
        path = (*above, line.text)
        yield path
        yield from every(line.below, path)
