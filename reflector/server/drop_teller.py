"""Says in the log that the kernel drops what should have come to us, a line a minute at most for each of its reasons.

Of a peer with a wrong password nothing else is ever seen here (drop_counters.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from math import inf

from reflector.engine.claims import Log
from reflector.server.drop_counters import COUNTERS, read_drop_counters

#: Seconds between looks, and between two lines of one counter.
LOOK, AGAIN = 5.0, 60.0


class DropTeller:
    """In force from `start` until `stop`; what was counted before is not told."""

    def __init__(self, log: Log, read: Callable[[], Mapping[str, int]] = read_drop_counters) -> None:
        self._log = log
        self._read = read
        self._told = dict(read())
        self._not_before = dict.fromkeys(self._told, -inf)
        self._look: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self.look(loop.time())
        self._look = loop.call_later(LOOK, self.start, loop)

    def stop(self) -> None:
        if self._look is not None:
            self._look.cancel()

    def look(self, now: float) -> None:
        """Tells what has been counted since it was told last."""
        for name, count in self._read().items():
            more = count - self._told.get(name, 0)
            if more > 0 and now >= self._not_before.get(name, -inf):
                self._told[name], self._not_before[name] = count, now + AGAIN
                self._log("kernel-drops", level="warning", counter=name, times=more, meaning=COUNTERS[name])
