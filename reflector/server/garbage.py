"""When reference cycles are looked for: between bursts, never in the middle of one.

Nearly all that is made here is freed by its reference count; what remains is a handful of objects of each session that
has ended. A collection walks over every table there is, and Python begins one with whatever allocation crosses its
threshold, which is in the middle of a burst.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

#: Objects that have come since the last collection: that many are worth one, so many more cannot wait for quiet.
WORTH_IT, TOO_MANY = 50_000, 2_000_000
#: Seconds between looks.
LOOK = 1.0
#: Every so many collections one goes over those that have survived one, and over all. As Python does.
OLDER, ALL = 20, 400


class GarbageCollection:
    """In force from `start` until `stop`. `quiet()`: whether nobody waits for anything."""

    def __init__(self, quiet: Callable[[], bool]) -> None:
        self._quiet = quiet
        self._rounds = 0
        self._look: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        gc.freeze()  # what has been imported stays
        gc.disable()
        self._again(loop)

    def stop(self) -> None:
        if self._look is not None:
            self._look.cancel()
        gc.freeze()  # what is left need not be walked over once more before the process is gone
        gc.enable()

    def look(self) -> None:
        """Collects if it is worth it, and the time for it."""
        young = gc.get_count()[0]
        if young < WORTH_IT or (young < TOO_MANY and not self._quiet()):
            return
        self._rounds += 1
        gc.collect(2 if self._rounds % ALL == 0 else 1 if self._rounds % OLDER == 0 else 0)

    def _again(self, loop: asyncio.AbstractEventLoop) -> None:
        self.look()
        self._look = loop.call_later(LOOK, self._again, loop)
