"""A function of the prefix that changes its value at few places, asked for whole lists of prefixes.

At one length prefixes on the wire are in the order of their addresses. So a condition as filters have them holds on
ranges of keys, and the value for a list of one length is known from its smallest and its largest key if both are in
the same range: two comparisons per key, however many rules there are. Only a list across a border is sorted and cut.
Lengths that nobody announces cost nothing: the borders of each are computed when a prefix of that length comes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from reflector.rib.route import Key

V = TypeVar("V")
#: A prefix length -> (first address as a number, the value from there on), ascending, the first at 0.
Steps = Callable[[int], Iterable[tuple[int, V]]]


class PrefixIntervals(Generic[V]):
    """`bits` is the length of the family's addresses. Values that are equal next to each other become one interval."""

    def __init__(self, bits: int, steps: Steps[V]) -> None:
        self._bits = bits
        self._steps = steps
        self._by_length: dict[int, tuple[list[Key], list[V]]] = {}

    def at(self, key: Key) -> V:
        """The value for one prefix."""
        borders, values = self._by_length.get(key[0]) or self._built(key[0])
        return values[bisect_right(borders, key)]

    def partition(self, keys: list[Key]) -> list[tuple[V, list[Key]]]:
        """Each value once, with its prefixes; the same list when there is one value and one length."""
        if not keys:
            return []
        low, high = min(keys), max(keys)
        if low[0] == high[0]:
            borders, values = self._by_length.get(low[0]) or self._built(low[0])
            place = bisect_right(borders, low)
            if place == len(borders) or high < borders[place]:
                return [(values[place], keys)]
        return self._cut(sorted(keys))

    def _cut(self, keys: list[Key]) -> list[tuple[V, list[Key]]]:
        found: dict[V, list[Key]] = {}
        start, size = 0, len(keys)
        while start < size:
            key = keys[start]
            borders, values = self._by_length.get(key[0]) or self._built(key[0])
            place = bisect_right(borders, key)
            border = borders[place] if place < len(borders) else bytes((key[0] + 1,))
            stop = start + 1
            if stop < size and keys[stop] < border:
                stop = bisect_left(keys, border, stop + 1)
            value = values[place]
            if value in found:
                found[value] += keys[start:stop]
            else:
                found[value] = keys[start:stop]
            start = stop
        return list(found.items())

    def _built(self, length: int) -> tuple[list[Key], list[V]]:
        borders: list[Key] = []
        values: list[V] = []
        for first, value in self._steps(length):
            if not values or value != values[-1]:
                values.append(value)
                if first:
                    borders.append(self._key(length, first))
        self._by_length[length] = borders, values
        return borders, values

    def _key(self, length: int, address: int) -> Key:
        return bytes((length,)) + address.to_bytes(self._bits // 8, "big")[: (length + 7) // 8]
