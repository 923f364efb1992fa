"""The store's protocol: get, list, watch, create, update, delete, and two errors.

Documents go in and out (dictionaries with `kind`, `metadata`, `spec`); validation is the reader's. Every
write gives the object a new version, greater than every version before it in the whole store. `update` and
`delete` with a version are compare-and-swap: they raise Conflict when somebody wrote in between. Whatever is
claimed (blocks, addresses) is claimed through that, so one allocator is right on every engine.

`apply_all` is the same for a whole declaration, which is judged as a whole: it writes only onto the very
snapshot that was judged. What it promises when it succeeds or raises Conflict holds on every engine. That a
crash leaves all of it or nothing, and that a reader never sees half of it, needs transactions over several
objects: SQLite has them; an engine without (Kubernetes) says in its own docstring what it does instead.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
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


@dataclass(frozen=True, slots=True)
class Write:
    """One write of `apply_all`: what the object becomes, whether it was there or not. Without a document it goes."""

    kind: str
    name: str
    document: Document | None


@dataclass(frozen=True, slots=True)
class Told:
    """What an object's `status` says, and its `metadata.generation`: how often what is declared in it has changed."""

    generation: int
    status: Document


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to an object: one word for programs (CamelCase), a line for people."""

    reason: str
    message: str
    is_warning: bool = False


class Store(Protocol):
    """One engine."""

    async def get(self, kind: str, name: str) -> Stored:
        """The object. Raises NotFound."""
        ...

    async def list(self, kind: str, node: str = "") -> Sequence[Stored]:
        """All objects of a kind, by name; of BlockAffinity with a `node` those that name it.

        A few that do not may be among those of a node.
        """
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

    async def apply_all(self, writes: Sequence[Write], kinds: Iterable[str], since: int) -> None:
        """Writes all of it if no object of `kinds` was written after version `since`, which `snapshot` gave.

        Else nothing is written: raises Conflict, and the caller reads and judges again. Raises NotFound, with
        nothing written, when an object that is to go is not there.
        """
        ...

    @property
    def keeps_statuses(self) -> bool:
        """Whether what is told of an object stands beside what is declared in it.

        A cluster keeps it for `kubectl get`. The store of one machine does not: `underlay status` and `lint` say the
        same there, from the same facts and without a process that writes it down.
        """
        ...

    async def statuses(self, kind: str) -> Mapping[str, Told]:
        """By name, of all objects whose status can be written; nothing where no statuses are kept."""
        ...

    async def apply_status(self, kind: str, name: str, status: Document, version: int | None = None) -> None:
        """Tells it of an object, in place of what was told before; no spec of it changes. Raises NotFound.

        With `version` only while that is the object's: raises Conflict when somebody has written it. Where no statuses
        are kept it does nothing.
        """
        ...

    def tell(self, kind: str, name: str, event: Event) -> None:
        """Says that something happened to an object, at once and without fail.

        Where there are events (Kubernetes) it is written a little later: what repeats is counted, what is too much is
        left out. Elsewhere it is in the process's log only, which is the caller's.
        """
        ...

    async def put_in_order(self) -> Sequence[str]:
        """Puts right what others have written past this engine; a sentence for each object.

        For the one process that leads, now and then. On one machine there is nothing to do.
        """
        ...

    def watch(self, kinds: Iterable[str], since: int) -> AsyncIterator[Sequence[Changed]]:
        """Batches of changes after version `since`, in order, as they happen. Never ends by itself."""
        ...

    def leading(self, name: str) -> AbstractAsyncContextManager[None]:
        """Waits until it is this process that leads, of all those that ask by this name, and does so inside.

        On one machine everybody is let in: what is done there twice harms nothing. In a cluster it is a Lease; when it
        is lost, what is inside is cancelled, and StoreError is raised.
        """
        ...

    async def close(self) -> None:
        """Lets go of the engine. A watch that still runs ends."""
        ...
