"""What a process of IPAM was told, as its log says: kept in a file, so that it outlives the process.

A line is written before something is asked and after it was answered. A process that is killed leaves at most one line
without an answer: what was asked then may have been done or not. Everything else is known exactly.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ipam.allocator import Given

#: Gifts that were given back are remembered, to be released again: that must free nothing.
_REMEMBERED = 30


class Log:
    """Lines of JSON at the end of a file, each written by one system call."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def __call__(self, *line: Any) -> None:
        """`line` is a word of `Told.WORDS` and what belongs to it."""
        os.write(self._file, json.dumps(line).encode() + b"\n")


@dataclass
class Told:
    """`held` are the gifts of each handle that nobody has given back. `asked` is what has no answer yet.

    `unsure` are the handles about which a process died in an earlier life, and which nobody has cleared up since.
    """

    held: dict[str, frozenset[Given]] = field(default_factory=dict)
    past: list[Given] = field(default_factory=list)
    asked: tuple[Any, ...] | None = None
    unsure: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    size: int = 0

    def read_on(self, path: Path) -> None:
        """Takes in what was written since the last time. The process must be dead or waiting.

        Between two pages of a file a write can be killed: half a line was never said, and goes.
        """
        with path.open("r+b") as file:
            file.seek(self.size)
            written = file.read()
            whole = written[: written.rfind(b"\n") + 1]
            self.size += len(whole)
            file.truncate(self.size)
        for line in whole.splitlines():
            word, *rest = json.loads(line)
            self.counts[word] = self.counts.get(word, 0) + 1
            getattr(self, f"_{word}")(*rest)

    def next_life(self) -> tuple[Any, ...] | None:
        """A new process takes the place of the dead one. What that one had asked, if it is about a handle."""
        asked, self.asked = self.asked, None
        if asked is None or asked[0] == "work":
            return None
        self.unsure.add(asked[1])
        return asked

    def of(self, handle: str) -> frozenset[Given]:
        """The gifts of the handle."""
        return self.held.get(handle, frozenset())

    def may_hold(self, handle: str, found: Iterable[Given]) -> bool:
        """Whether the handle can have these gifts, and no others, after all that was told."""
        gifts, known = frozenset(found), self.of(handle)
        if handle in self.unsure:
            return True
        if self.asked is None or self.asked[1] != handle:
            return gifts == known
        what, _, *rest = self.asked
        if what == "ask":
            return gifts >= known
        spared = known - {Given(*rest[0])} if what == "free_address" else frozenset()
        return spared <= gifts <= known

    # What the words of the log mean

    def _ask(self, handle: str, families: list[int], addresses: list[str]) -> None:
        self.asked = ("ask", handle, tuple(families), tuple(addresses))

    def _given(self, handle: str, gifts: list[Any]) -> None:
        self.asked = None
        self.unsure.discard(handle)
        self.held[handle] = self.of(handle) | {Given(*gift) for gift in gifts}

    def _refused(self, handle: str, code: str) -> None:
        self.asked = None
        self.counts[code] = self.counts.get(code, 0) + 1

    def _free(self, handle: str) -> None:
        self.asked = ("free", handle)

    def _free_address(self, handle: str, gift: list[Any]) -> None:
        self.asked = ("free_address", handle, gift)

    def _freed(self, handle: str, gifts: list[Any]) -> None:
        self.asked = None
        self.unsure.discard(handle)
        gone = frozenset(Given(*gift) for gift in gifts)
        self.held[handle] = self.of(handle) - gone
        self.past = [*self.past, *gone][-_REMEMBERED:]

    def _work(self, what: str) -> None:
        """On what nobody is told of: handles that everybody uses, blocks."""
        self.asked = ("work", "", what)

    def _worked(self) -> None:
        self.asked = None

    def _wrong(self, text: str) -> None:
        self.wrong.append(text)
