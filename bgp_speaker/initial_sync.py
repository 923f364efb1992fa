"""Until the peers have told everything again, kernel routes of an earlier life stay. Pure.

An agent that has just started knows no route, while the kernel still forwards by those that its predecessor
wrote. They are held as they are until every session that is up has sent all it has (End-of-RIB after a new
session, the end of a refresh on one that was kept), or the time is over. New routes are added meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from peering.prefixes import Prefix

V = TypeVar("V")


class InitialSync:
    """`expected` are (peer, family) pairs; `deadline` is the latest end in seconds of a monotonic clock."""

    def __init__(self, expected: set[tuple[str, str]], deadline: float) -> None:
        self._waiting = set(expected)
        self._deadline = deadline
        self._over = False

    def finished(self, peer: str, family: str) -> bool:
        """The peer has sent everything of the family. True when that was the last one waited for."""
        self._waiting.discard((peer, family))
        return self._end_if(not self._waiting)

    def expire(self, now: float) -> bool:
        """True when the time ended the wait just now."""
        return self._end_if(now >= self._deadline)

    @property
    def over(self) -> bool:
        return self._over

    @property
    def deadline(self) -> float | None:
        """When `expire` has something to do; None when the wait is over."""
        return None if self._over else self._deadline

    def merge(
        self, desired: Mapping[Prefix, V], held: Mapping[Prefix, V], fixed: Mapping[Prefix, V]
    ) -> dict[Prefix, V]:
        """What the kernel is to have now: all that it had, what is new, and the `fixed` routes as they are."""
        if self._over:
            return {**desired, **fixed}
        return {**desired, **held, **fixed}

    def _end_if(self, condition: bool) -> bool:
        if self._over or not condition:
            return False
        self._over = True
        return True
