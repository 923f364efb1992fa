"""The order in which this process has seen changes, and who waits for them.

Versions of the API are compared within one resource only, and each watch comes at its own pace. So places in the order
are given out here. None is below a version that was seen before, so that the two can stand beside each other.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

#: So many changes are remembered for a watch that begins behind them.
_REMEMBERED = 1000

Name = tuple[str, str]


class Waiter:
    """What one watch has not told yet: kind and name, each once, in the order of their last change."""

    def __init__(self, kinds: Iterable[str]) -> None:
        self.kinds = frozenset(kinds)
        self._pending: dict[Name, int] = {}
        self._woken = asyncio.Event()
        self._error: BaseException | None = None

    def add(self, changed: Name, place: int) -> None:
        self._pending.pop(changed, None)
        self._pending[changed] = place
        self._woken.set()

    def close(self, error: BaseException | None = None) -> None:
        """Nothing more will come, because of the error if there is one."""
        self._error = error
        self._woken.set()

    async def take(self) -> dict[Name, int]:
        """All that is pending; waits until there is some. Nothing at the end, or what has ended it is raised."""
        await self._woken.wait()
        self._woken.clear()
        if self._error is not None:
            raise self._error
        taken, self._pending = self._pending, {}
        return taken


class Changes:
    """Places and waiters."""

    def __init__(self) -> None:
        self._place = 0
        self._recent: deque[tuple[int, Name]] = deque(maxlen=_REMEMBERED)
        self._waiters: set[Waiter] = set()

    def next_place(self, version: int = 0) -> int:
        """A new place, behind all others and not below the version."""
        self._place = max(self._place + 1, version)
        return self._place

    def add(self, kind: str, name: str, version: int) -> None:
        """Something has changed; whoever waits for its kind is woken."""
        place = self.next_place(version)
        self._recent.append((place, (kind, name)))
        for waiter in self._waiters:
            if kind in waiter.kinds:
                waiter.add((kind, name), place)

    def subscribe(self, kinds: Iterable[str], since: int) -> Waiter:
        """What has changed after `since`, as far as it is remembered, is pending at once."""
        waiter = Waiter(kinds)
        for place, changed in self._recent:
            if place > since and changed[0] in waiter.kinds:
                waiter.add(changed, place)
        self._waiters.add(waiter)
        return waiter

    def forgotten_since(self, since: int) -> bool:
        """Whether changes after `since` may be remembered no more."""
        return len(self._recent) == _REMEMBERED and self._recent[0][0] > since + 1

    def unsubscribe(self, waiter: Waiter) -> None:
        self._waiters.discard(waiter)

    def close(self, error: BaseException | None = None) -> None:
        """Whoever waits is told that nothing more will come, and why if that is a mistake of ours."""
        for waiter in self._waiters:
            waiter.close(error)
