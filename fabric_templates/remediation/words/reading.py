"""A configuration as paths, from either form in which a switch shows it: `set` lines, or blocks in braces."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, takewhile

from fabric_templates.remediation.words.tables import Path, WordReading

#: A text in quotes, where a backslash takes the meaning from the character after it, or a word.
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|\'([^\']*)\'|(\S+)')
_LABELS = frozenset(("inactive:", "protect:"))
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_PLAIN = re.compile(r"[\w.:/*-]+")


@dataclass(frozen=True, slots=True)
class Paths:
    """`said`, in order, and those that are `inactive`: there, and without effect."""

    said: tuple[Path, ...]
    inactive: tuple[Path, ...] = ()


def read(text: str, table: WordReading) -> Paths:
    """The paths of a text. Raises ValueError where braces do not match."""
    lines = [words for line in _COMMENT.sub("", text).splitlines() if (words := list(_words(line)))]
    if any(line[-1] == "{" for line in lines):
        verbs = list(_from_braces(lines))
    else:
        verbs = [(line[0], tuple(line[1:])) for line in lines if line[0] in ("set", "deactivate")]
    said = chain.from_iterable(_apart(path, table) for verb, path in verbs if verb == "set")
    return Paths(without_prefixes(said), tuple(path for verb, path in verbs if verb == "deactivate"))


def _words(line: str) -> Iterator[str]:
    """Without the comment and the semicolon; brackets and braces are words."""
    for double, single, word in _WORD.findall(line):
        if word.startswith(("#", "//")):
            return
        if not word:
            yield re.sub(r"\\(.)", r"\1", double) or single
        elif word != ";":
            yield word.removesuffix(";")


def _from_braces(lines: Iterable[list[str]]) -> Iterator[tuple[str, Path]]:
    """What `display set` would make of it."""
    above: list[Path] = []
    for words in lines:
        if words[0] == "}":
            if not above:
                raise ValueError("a brace is closed that was not opened")
            above.pop()
            continue
        labels = sum(1 for _ in takewhile(_LABELS.__contains__, words))
        path = (*(above[-1] if above else ()), *(word for word in words[labels:] if word not in ("{", "}")))
        if "inactive:" in words[:labels]:
            yield "deactivate", path
        yield from (("set", one) for one in _listed(path))
        if words[-1] == "{":
            above.append(path)
    if above:
        raise ValueError("a brace is not closed")


def _listed(path: Path) -> Iterator[Path]:
    """`import [ A B ]` says two."""
    if "[" not in path:
        yield path
        return
    start = path.index("[")
    yield from ((*path[:start], word) for word in path[start + 1 :] if word != "]")


def _apart(path: Path, table: WordReading) -> Iterator[Path]:
    place = next((n for n, word in enumerate(path) if word in table.apart), None)
    if place is None or len(path) <= place + 2:
        yield path
        return
    head, rest, valued = path[: place + 1], list(path[place + 1 :]), table.apart[path[place]]
    while rest:
        taken = 2 if rest[0] in valued else 1
        yield (*head, *rest[:taken])
        del rest[:taken]


def without_prefixes(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Each path once, without those that another one says, too, by leading further."""
    known = tuple(dict.fromkeys(paths))
    shorter = {path[:n] for path in known for n in range(len(path))}
    return tuple(path for path in known if path not in shorter)


def printed(verb: str, path: Path, table: WordReading) -> str:
    """The line for the path."""
    mark = table.quote
    return " ".join((verb, *(word if _PLAIN.fullmatch(word) else f"{mark}{word}{mark}" for word in path)))
