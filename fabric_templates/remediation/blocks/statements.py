"""A file as statements, each with its text, and its words for comparing it whatever its lines and comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from fabric_templates.remediation.blocks.tables import FileReading

_OPENS, _CLOSES = frozenset("{[("), frozenset("}])")


@dataclass(frozen=True)
class Statement:
    """`before` are the comments and empty lines above it, `text` the statement up to the end of its last line."""

    before: str
    text: str
    words: tuple[str, ...]

    @cached_property
    def said(self) -> str:
        """Its words with one space between them."""
        return " ".join(self.words)

    @cached_property
    def header(self) -> str:
        """What stands before its block, if it has one."""
        return re.split(r" [{(]", self.said, maxsplit=1)[0]


@dataclass(slots=True)
class _Open:
    before: str = ""
    text: str = ""
    words: list[str] = field(default_factory=list)
    depth: int = 0

    def add(self, token: str, kind: str | None) -> None:
        if kind == "word":
            self.words.append(token)
            self.depth += (token in _OPENS) - (token in _CLOSES)
        if self.words:
            self.text += token
        else:
            self.before += token
        if self.depth < 0:
            raise ValueError("a brace is closed that was not opened")

    def closed(self) -> Statement:
        words = self.words[:-1] if self.words[-2:] == ["}", ";"] else self.words
        return Statement(self.before, self.text, tuple(words))


def statements(text: str, table: FileReading) -> tuple[tuple[Statement, ...], str]:
    """(statements, what is left behind the last one). Raises ValueError where brackets do not match."""
    found, now, done = [], _Open(), False
    for token, kind in _tokens(text, table):
        if done and kind == "word" and token != ";":
            found.append(now.closed())
            now, done = _Open(), False
        now.add(token, kind)
        done = bool(now.words) and not now.depth and (done or _ends(token, kind, table))
        if done and kind == "newline":
            found.append(now.closed())
            now, done = _Open(), False
    if now.depth:
        raise ValueError("a brace is not closed")
    if now.words:
        found.append(now.closed())
    return tuple(found), "" if now.words else now.before


def _ends(token: str, kind: str | None, table: FileReading) -> bool:
    return kind == "newline" if table.ends == "line" else token in (";", "}")


def _tokens(text: str, table: FileReading) -> Iterator[tuple[str, str | None]]:
    pattern = (
        r"(?P<newline>\n)|(?P<space>[ \t\r\f\v]+|\\\n)|(?P<comment>#[^\n]*|/\*.*?\*/)"
        rf"|(?P<word>{table.string}|[{{}}\[\]();]|[^\s{{}}\[\]();\"'#]+|.)"
    )
    for match in re.finditer(pattern, text if text.endswith("\n") else f"{text}\n", re.DOTALL):
        yield match[0], match.lastgroup


def without(statement: Statement, keys: set[str], table: FileReading) -> Statement:
    """The statement without the neighbours of these keys that are inside its block."""
    opened, end = re.search(r"\{([ \t]*\n)?", statement.text), statement.text.rindex("}")
    start = opened.end() if opened else 0
    inner, rest = statements(statement.text[start:end], table)
    kept = [one for one in inner if not ((found := table.neighbor.match(one.said)) and found["key"] in keys)]
    body = "".join(one.before + one.text for one in kept) + rest.removesuffix("\n")
    text = statement.text[:start] + body + statement.text[end:]
    ((changed,), _) = statements(text, table)
    return Statement(statement.before, text, changed.words)
