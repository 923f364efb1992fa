"""What the last compile made, kept for the next one: a result is used again when its inputs are the same.

A plan is a pure function of its snapshot; this only spares it the work that was done before. Inputs are compared as
tuples, where Python looks at identity first: an object that was kept costs nothing to compare, and so what is made
from kept objects is kept too. What one compile does not ask for is forgotten.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

V = TypeVar("V")


class Kept(Generic[V]):
    """Results of one kind, by key."""

    def __init__(self) -> None:
        self._last: dict[Hashable, tuple[tuple[Any, ...], V]] = {}
        self._now: dict[Hashable, tuple[tuple[Any, ...], V]] = {}

    def get(self, key: Hashable, inputs: tuple[Any, ...], make: Callable[..., V]) -> V:
        """The value kept for `key` when it was made from equal inputs, else `make(*inputs)`."""
        entry = self._last.get(key)
        if entry is None or entry[0] != inputs:
            entry = (inputs, make(*inputs))
        self._now[key] = entry
        return entry[1]

    def turn(self) -> None:
        """One compile is over: what it did not use goes."""
        self._last, self._now = self._now, {}


class Memo:
    """The tables of a compiler."""

    def __init__(self) -> None:
        self._tables: dict[str, Kept[Any]] = {}

    def table(self, name: str) -> Kept[Any]:
        return self._tables.setdefault(name, Kept())

    def turn(self) -> None:
        for table in self._tables.values():
            table.turn()


@contextmanager
def no_collections() -> Iterator[None]:
    """Holds Python's cycle collector off while a plan is made.

    A plan is a hundred thousand objects without a cycle; the collector would look at all of them several times, which
    was measured to take as long as making them.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
