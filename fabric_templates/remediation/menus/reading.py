"""What an export, or a file for import, adds to the menus."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_VERBS = frozenset(("add", "set", "remove", "unset", "print", "enable", "disable", "move"))
_WORD = re.compile(r'(?:"(?:\\.|[^"\\])*"|[^\s"])+')
_ESCAPED = re.compile(r"\\(?:([0-9A-F]{2})|(.))")
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "_": " "}


@dataclass(frozen=True)
class Item:
    """`values` of its properties; `said` is how each stands in the text, name and value."""

    menu: str
    values: dict[str, str] = field(hash=False)
    said: dict[str, str] = field(hash=False)


def items(text: str) -> tuple[Item, ...]:
    """In the order of the text. A property whose name begins with a point has the first part of the one before."""
    found, menu = [], ""
    for line in re.sub(r"\\\r?\n\s*", "", text).splitlines():
        words = _WORD.findall(line.strip())
        if not words or words[0].startswith("#"):
            continue
        verb = next((n for n, word in enumerate(words) if word in _VERBS), len(words))
        if words[0].startswith("/"):
            menu = " ".join(words[:verb]).strip("/").replace("/", " ")
        if words[verb : verb + 1] == ["add"]:
            found.append(_item(menu, words[verb + 1 :]))
    return tuple(found)


def _item(menu: str, words: list[str]) -> Item:
    values, said, above = {}, {}, ""
    for name, value in _properties(words):
        full = above + name if name.startswith(".") else name
        above = full.partition(".")[0] if "." in full else above
        values[full], said[full] = _plain(value), f"{full}={value}"
    return Item(menu, values, said)


def _properties(words: list[str]) -> Iterator[tuple[str, str]]:
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            yield name, value


def _plain(value: str) -> str:
    """Without quotes and what a backslash stands for in them."""
    if not value.startswith('"'):
        return value
    return _ESCAPED.sub(lambda m: chr(int(m[1], 16)) if m[1] else _CONTROLS.get(m[2], m[2]), value[1:-1])
