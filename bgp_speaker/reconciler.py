"""A loop that makes one thing true again and again: run when triggered, retried when the world fails.

Triggers that come while the work runs are one more run, not many. With a pause, the work rests at least as long as it
ran: under a stream of triggers it takes half of the time at most, however long it has become. A failure that may heal
(OSError, a store that is away) is logged once per message and tried again with back-off; anything else is a bug and
ends the process, which starts again from what is stored.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from peering.store.protocol import StoreError

Log = Callable[[str], None]

_FIRST_RETRY_S, _LAST_RETRY_S = 0.1, 10.0
WILL_HEAL = (OSError, StoreError, TimeoutError)


class Reconciler:
    """Runs `work` after each `trigger()`. `pause` seconds lie between two runs at least; 0 is no pause at all."""

    def __init__(self, name: str, work: Callable[[], Awaitable[None]], log: Log, pause: float = 0.0) -> None:
        self._name = name
        self._work = work
        self._log = log
        self._pause = pause
        self._triggered = asyncio.Event()

    def trigger(self) -> None:
        """Asks for a run."""
        self._triggered.set()

    async def run(self) -> None:
        """Never returns."""
        while True:
            await self._triggered.wait()
            self._triggered.clear()
            took = await self._until_done()
            if self._pause:
                await asyncio.sleep(max(self._pause, took))

    async def _until_done(self) -> float:
        """How many seconds the run took that came to its end."""
        delay, said = _FIRST_RETRY_S, ""
        while True:
            began = time.monotonic()
            try:
                await self._work()
            except WILL_HEAL as error:
                if str(error) != said:
                    said = str(error)
                    self._log(f"{self._name}: {error} (trying again)")
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LAST_RETRY_S)
            else:
                return time.monotonic() - began
