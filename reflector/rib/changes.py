"""Which prefixes of a table changed since the last batch, and what they were then.

A table that comes in is nothing but prefixes that were not there, many with one route. They are kept as they came, list
by list: that takes a fraction of the time and memory of a dict, and nobody has to look up again what they are now.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reflector.rib.route import Key, Route

#: A prefix with one path holds the route itself, one with more a tuple with the best first.
Paths = Route | tuple[Route, ...] | None
#: Prefixes that were announced with one route.
Run = tuple[Route, Sequence[Key]]


class Changes:
    """`fresh` were not there, each once; `before` has what others were. What is in both was not there.

    `untouched`: every prefix of `fresh` has its route still, and no other.
    """

    __slots__ = ("_count", "before", "fresh", "untouched")

    def __init__(self) -> None:
        self.before: dict[Key, Paths] = {}
        self.fresh: list[Run] = []
        self.untouched = True
        self._count = 0

    def add(self, run: Run) -> None:
        """Prefixes that were not there."""
        self.fresh.append(run)
        self._count += len(run[1])

    def settle(self) -> None:
        """From now on nothing is in both."""
        self.untouched = not self.before
        if self.before:
            for _, keys in self.fresh:
                for key in keys:
                    self.before.pop(key, None)

    def __len__(self) -> int:
        return self._count + len(self.before)

    def prefixes(self) -> list[Key]:
        found = list(self.before)
        for _, keys in self.fresh:
            found += keys
        return found

    def items(self) -> Iterator[tuple[Key, Paths]]:
        """Each prefix, and what it was."""
        for _, keys in self.fresh:
            for key in keys:
                yield key, None
        yield from self.before.items()
