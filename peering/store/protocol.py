"""The store's protocol: get, list, watch, create, update, delete, and two errors.

Documents go in and out (dictionaries with `kind`, `metadata`, `spec`); validation is the reader's. Every
write gives the object a new version, greater than every version before it in the whole store. `update` and
`delete` with a version are compare-and-swap: they raise Conflict when somebody wrote in between. Whatever is
claimed (blocks, addresses) is claimed through that, so one allocator is right on every engine.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Document = dict[str, Any]


class StoreError(Exception):
    """The store cannot be reached or read; the message is for a person."""


class Conflict(StoreError):
    """The object exists already, or is no longer the version that was read."""


class NotFound(StoreError):
    """There is no such object."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as the store holds it."""

    kind: str
    name: str
    version: int
    document: Document


@dataclass(frozen=True, slots=True)
class Changed:
    """One event of a watch: what an object is now. `stored` is None when it was deleted."""

    kind: str
    name: str
    version: int
    stored: Stored | None


class Store(Protocol):
    """One engine."""

    async def get(self, kind: str, name: str) -> Stored:
        """The object. Raises NotFound."""
        ...

    async def list(self, kind: str) -> Sequence[Stored]:
        """All objects of a kind, by name."""
        ...

    async def snapshot(self, kinds: Iterable[str]) -> tuple[Sequence[Stored], int]:
        """All objects of several kinds at one moment, and the version from which `watch` continues."""
        ...

    async def create(self, kind: str, name: str, document: Document) -> Stored:
        """A new object. Raises Conflict when the name is taken."""
        ...

    async def update(self, kind: str, name: str, document: Document, version: int | None = None) -> Stored:
        """Replaces the document. Raises NotFound; Conflict when `version` is given and no longer current."""
        ...

    async def delete(self, kind: str, name: str, version: int | None = None) -> None:
        """Removes the object. Raises NotFound; Conflict as `update` does."""
        ...

    def watch(self, kinds: Iterable[str], since: int) -> AsyncIterator[Sequence[Changed]]:
        """Batches of changes after version `since`, in order, as they happen. Never ends by itself."""
        ...

    async def close(self) -> None:
        """Lets go of the engine. A watch that still runs ends."""
        ...
