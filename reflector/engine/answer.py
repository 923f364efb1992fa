"""Answers that are made bit by bit: a table may have a million prefixes, and sessions must not wait for it. Pure.

A generator of rows gives None now and then, where so much was looked at without a row that others may have their turn.
What it returns stands at the end of the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

from reflector.rib.route import Key

Json = dict[str, Any]
Rows = Generator[Json | None, None, Json]
K = TypeVar("K")

#: What is looked at in well below a millisecond.
PIECE = 500
#: Keys that are copied in about a millisecond, and how often that is tried while others change the table.
_COPIED, _TRIES = 10_000, 3


def listed(table: Mapping[K, Any]) -> Generator[None, None, list[K]]:
    """The keys as they are at one moment, the last one first.

    A table whose size changes while it is copied is begun again; one that never rests is copied at once, which takes
    some 50 ms for a million keys.
    """
    for _ in range(_TRIES):
        found: list[K] = []
        source = iter(table)
        try:
            while piece := list(islice(source, _COPIED)):
                found += piece
                yield None
        except RuntimeError:
            continue
        found.reverse()
        return found
    return list(table)[::-1]


def taken(keys: list[K]) -> Iterator[K | None]:
    """The keys of `listed` in their order, with the breaks; the list is empty afterwards."""
    while keys:
        for _ in range(min(PIECE, len(keys))):
            yield keys.pop()
        yield None


def inside(outer: Key) -> Callable[[Key], bool]:
    """Whether a prefix is this one or lies inside it; both as on the wire and of one family."""
    length = outer[0]
    whole, rest = divmod(length, 8)
    head = outer[1 : 1 + whole]
    shift = 8 - rest
    last = outer[1 + whole] >> shift if rest else 0

    def holds(key: Key) -> bool:
        if key[0] < length or not key.startswith(head, 1):
            return False
        return not rest or key[1 + whole] >> shift == last

    return holds


def around(key: Key) -> list[Key]:
    """The prefix itself and all that cover it, the longest first."""
    number, size = int.from_bytes(key[1:]), 8 * (len(key) - 1)
    found = []
    for length in range(key[0], -1, -1):
        kept = (length + 7) // 8
        bits = number >> (size - length) << (8 * kept - length)
        found.append(bytes((length,)) + bits.to_bytes(kept))
    return found
