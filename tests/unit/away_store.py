"""Stores that go away: as a whole, for one node, before an operation takes effect or after it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from peering.store.protocol import Document, Event, Store, Stored, StoreError

T = TypeVar("T")


class AwayStore:
    """What one process sees of a store. `away` is what it is told while the store is; `hangs`: nothing at all.

    `lost` writes more take effect, and their answers do not come; then the store is away. `before` is awaited before
    every operation and after it. `asked` counts operations.
    """

    def __init__(self, store: Store, before: Callable[[], Awaitable[None]] | None = None) -> None:
        self._store = store
        self._before = before
        self.away = ""
        self.hangs = False
        self.lost = 0
        self.asked = 0
        self.events: list[Event] = []

    keeps_statuses = False

    async def get(self, kind: str, name: str) -> Stored:
        return await self._do(lambda: self._store.get(kind, name))

    async def list(self, kind: str, *of: str) -> Sequence[Stored]:
        return await self._do(lambda: self._store.list(kind, *of))

    async def snapshot(self, kinds: Iterable[str]) -> tuple[Sequence[Stored], int]:
        return await self._do(lambda: self._store.snapshot(kinds))

    async def create(self, kind: str, name: str, document: Document) -> Stored:
        return await self._do(lambda: self._store.create(kind, name, document), writes=True)

    async def update(self, kind: str, name: str, document: Document, version: int | None = None) -> Stored:
        return await self._do(lambda: self._store.update(kind, name, document, version), writes=True)

    async def delete(self, kind: str, name: str, version: int | None = None) -> None:
        return await self._do(lambda: self._store.delete(kind, name, version), writes=True)

    def tell(self, kind: str, name: str, event: Event) -> None:
        self.events.append(event)

    async def close(self) -> None:
        await self._store.close()

    async def _do(self, work: Callable[[], Awaitable[T]], writes: bool = False) -> T:
        self.asked += 1
        if self._before is not None:
            await self._before()
        if self.hangs:
            await asyncio.Event().wait()
        if self.away:
            raise StoreError(self.away)
        answer = await work()
        if self._before is not None:
            await self._before()
        if writes and self.lost:
            self.lost -= 1
            self.away = "" if self.lost else "the answer was lost"
            raise StoreError("the answer was lost")
        return answer

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"IPAM does not use {name}")
