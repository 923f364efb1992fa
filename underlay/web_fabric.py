"""What is known of the fabric now, for the server of the page: followed, compiled, and away or not.

Compiling happens in a thread. Between two looks are pauses that grow with the time that one takes: a large fabric
changes all the time.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from peering.compile import Compiler
from peering.store.protocol import Store
from underlay.processes import log
from underlay.web_facts import Known, known, with_reports
from underlay.web_following import Following
from underlay.web_rendering import Away

#: Between two looks at what has changed: at least so long, and so many times as long as the last one took.
_PAUSE_S, _PAUSES = 1.0, 3
#: Whether the store still answers is looked at so often, without asking it.
_LOOK_S = 5.0


class Fabric:
    """What is known of the fabric; `known` is None until the store was read once.

    `burden` is how many seconds a page takes at present, which its maker says.
    """

    def __init__(self, store: Store) -> None:
        self._following = Following(store, log)
        self._compiler = Compiler()
        self._declared = -1
        self._away_since: float | None = None
        self._turned = asyncio.Condition()
        self.turn = 0
        self.burden = 0.0
        self.known: Known | None = None

    async def run(self) -> None:
        """Works until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._following.run())
            group.create_task(self._look_again_and_again())

    def away(self, now: float) -> Away | None:
        """Whether the store is."""
        why = self._following.away
        if not why:
            return None
        since = now if self._away_since is None else self._away_since
        return Away(since, max(0.0, now - since), why)

    async def next_turn(self, after: int, seconds: float) -> int:
        """The number of the last change, once there is one after `after`, or the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._turned:
                await self._turned.wait_for(lambda: self.turn != after)
        return self.turn

    async def _look_again_and_again(self) -> None:
        changed = self._following.changed
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await changed.wait()
            began = time.monotonic()
            has_changed, has_news = changed.is_set(), self._following.has_news
            self._following.has_news = False
            changed.clear()
            made = await self._compile() if has_changed and self._following.has_read else self.known
            if self._notice_away() or has_news:
                async with self._turned:
                    self.known, self.turn = made, self.turn + 1
                    self._turned.notify_all()
            self.known = made
            if has_changed:
                await asyncio.sleep(max(_PAUSE_S, _PAUSES * (time.monotonic() - began + self.burden)))

    def _notice_away(self) -> bool:
        """Whether the store went or came back since the last look."""
        is_away, was_away = bool(self._following.away), self._away_since is not None
        if is_away is not was_away:
            self._away_since = time.time() if is_away else None
        return is_away is not was_away

    async def _compile(self) -> Known:
        held = self._following.held()
        if self.known is not None and held.declared == self._declared:
            return with_reports(self.known, held.resources)
        made = await asyncio.to_thread(known, self._compiler, held.resources, held.unreadable)
        self._declared = held.declared
        return made
