"""Many timers, one alarm: a heap of deadlines that may be early. Pure."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import Generic, TypeVar

Thing = TypeVar("Thing")

#: Below so many entries nobody looks for those that are of no use any more.
_FEW = 64


class Deadlines(Generic[Thing]):
    """Things by when they want to be looked at. Deadlines may be early: whoever is due says when it is again."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Thing]] = []
        self._current: dict[Thing, float] = {}
        self._order = count()

    def set(self, thing: Thing, deadline: float) -> None:
        """Not later than this; `inf`: no wish."""
        if deadline >= self._current.get(thing, inf):
            return
        self._current[thing] = deadline
        heappush(self._heap, (deadline, next(self._order), thing))
        self._sweep()

    def forget(self, thing: Thing) -> None:
        """Nobody wants to look at it any more."""
        self._current.pop(thing, None)
        self._sweep()

    def due(self, now: float) -> list[Thing]:
        """Those whose deadline is over; they have none until the next is set."""
        found: list[Thing] = []
        while self._heap and self._heap[0][0] <= now:
            deadline, _, thing = heappop(self._heap)
            if self._current.get(thing) == deadline:
                del self._current[thing]
                found.append(thing)
        return found

    def next(self) -> float:
        """`inf` when there is none."""
        while self._heap and self._current.get(self._heap[0][2]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else inf

    def _sweep(self) -> None:
        """Who comes and goes all the time is not held on to until what was once its deadline."""
        if len(self._heap) > 2 * len(self._current) + _FEW:
            self._heap = [entry for entry in self._heap if self._current.get(entry[2]) == entry[0]]
            heapify(self._heap)
