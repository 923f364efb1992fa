"""Which prefixes of a table changed since the last batch, and what they were then.

A table that comes in is nothing but prefixes that were not there. Keeping those in a list takes a fraction of the time
and memory of a dict, and they stay in the order in which they came: those with the same route are neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, repeat

from reflector.rib.route import Key, Route

#: A prefix with one path holds the route itself, one with more a tuple with the best first.
Paths = Route | tuple[Route, ...] | None


class Changes:
    """`fresh` were not there, each once; `before` has what others were. What is in both was not there."""

    __slots__ = ("before", "fresh")

    def __init__(self) -> None:
        self.before: dict[Key, Paths] = {}
        self.fresh: list[Key] = []

    def settle(self) -> None:
        """From now on nothing is in both."""
        if self.before:
            for key in self.fresh:
                self.before.pop(key, None)

    def __len__(self) -> int:
        return len(self.fresh) + len(self.before)

    def prefixes(self) -> list[Key]:
        return [*self.fresh, *self.before]

    def items(self) -> Iterator[tuple[Key, Paths]]:
        """Each prefix, and what it was."""
        return chain(zip(self.fresh, repeat(None)), self.before.items())
