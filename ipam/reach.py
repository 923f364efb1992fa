"""Whether the store is there, for requests that cannot wait long.

A client of a store tries again for a while before it says that the store is away. Who takes longer than a few seconds
asks the store for something small. When that is answered, the store is slow and the work goes on; when not, the store
is away. What was begun is given up then, as if the process had been killed there. Later requests are refused at once,
until somebody has looked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ipam.block_order import block_name
from peering.store.protocol import Conflict, NotFound, Store, StoreError

T = TypeVar("T")

#: Seconds after which a request asks whether the store is there at all, and for the answer to that.
PATIENCE_S = 3.0
_PROBE_S = 2.0
#: There is none, and to hear that is an answer. IPAM's objects are never answered from memory.
_NO_BLOCK = block_name("0.0.0.0/0")


def is_away(answer: object) -> bool:
    """Whether it is an error that says so, and not what has become of one object."""
    return isinstance(answer, StoreError) and not isinstance(answer, Conflict | NotFound)


class Reach:
    """What one process knows of it. `away` is why the store is; empty when it is not, as far as is known."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.away = ""

    def lost(self, error: BaseException) -> None:
        """Somebody could not reach the store."""
        self.away = self.away or str(error)

    def found(self) -> None:
        """Somebody has reached it."""
        self.away = ""

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """The work; StoreError at once while the store is known to be away, soon when it is found to be."""
        if self.away:
            raise StoreError(self.away)
        try:
            return await self.patiently(work)
        except StoreError as error:
            if is_away(error):
                self.lost(error)
            raise

    async def patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """The work is done, or given up when the store answers nothing any more: raises StoreError then."""
        task = asyncio.ensure_future(work())
        try:
            while not (await asyncio.wait((task,), timeout=PATIENCE_S))[0]:
                if not await self.is_there() and not task.done():
                    raise StoreError(f"the store has not answered for {PATIENCE_S + _PROBE_S:g} seconds")
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait((task,))

    async def is_there(self) -> bool:
        """Asks the store for something small."""
        try:
            async with asyncio.timeout(_PROBE_S):
                await self._store.get("IPAMBlock", _NO_BLOCK)
        except NotFound:
            return True
        except (StoreError, TimeoutError):
            return False
        return True
