"""How long to stay away before the next try: longer each time, and never as long as the others."""

from __future__ import annotations

import random


class Backoff:
    """`first` seconds, then twice as many each time up to `last`; each between half and one and a half of that."""

    def __init__(self, first: float, last: float) -> None:
        self._first = first
        self._last = last
        self._next = first

    def reset(self) -> None:
        """Something went well."""
        self._next = self._first

    def delay(self, at_least: float = 0.0) -> float:
        """Seconds until the next try. `at_least` is what the server asked for."""
        delay = self._next * random.uniform(0.5, 1.5)
        self._next = min(self._next * 2, self._last)
        return max(delay, at_least * random.uniform(1.0, 1.2))
