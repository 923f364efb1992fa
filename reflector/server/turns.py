"""Work beside the sessions, in slices: between two of them everything else in the loop has its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds of work at a time, of all together that share a `Turns`.
SLICE = 0.002


class Turns:
    """One slice in each round of the loop, in the order in which they are asked for."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def slice(self, work: Callable[[Callable[[], bool]], T]) -> T:
        """What `work(over)` gives, which has to end soon when `over()` holds."""
        async with self._lock:
            loop = asyncio.get_running_loop()
            end = loop.time() + SLICE
            result = work(lambda: loop.time() >= end)
            await asyncio.sleep(0)
            return result
