"""What a store holds, kept up by its watch: read as a whole once, and then only what changes.

While the store does not answer, what was last known stays, and `away` says why. An engine that answers from memory
meanwhile (Kubernetes) says so by its `trouble`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from peering.problems import Problem
from peering.resource import Resource
from peering.resources.observed import BGPNodeStatusSpec
from peering.store.protocol import Changed, Store, Stored, StoreError
from peering.store.resources import to_resource
from underlay.reports import OVERDUE_S
from underlay.web_facts import KINDS, PLANNED

_RETRY_S = 1.0
_Key = tuple[str, str]
_Read = tuple[int, Resource | list[Problem]]


@runtime_checkable
class _Remembering(Protocol):
    """A store whose answers may be old."""

    def trouble(self) -> str:
        """Why; empty while they are not."""
        ...


@dataclass(frozen=True, slots=True)
class Held:
    """What is known at a moment. `unreadable` is of what is declared.

    `declared` is a number that is another one after each change of what is declared.
    """

    resources: Sequence[Resource]
    unreadable: Sequence[Problem]
    declared: int


class Following:
    """Of one store. `changed` is set whenever there is something to look at, and `has_news` where it is worth telling.

    Reports are renewed all the time, and say the same.
    """

    def __init__(self, store: Store, log: Callable[[str], None]) -> None:
        self._store = store
        self._log = log
        self._objects: dict[_Key, _Read] = {}
        self._declared = 0
        self._error = ""
        self.changed = asyncio.Event()
        self.has_read = False
        self.has_news = False

    @property
    def away(self) -> str:
        """Why what is known may be old; empty while it is not."""
        return self._error or (self._store.trouble() if isinstance(self._store, _Remembering) else "")

    def held(self) -> Held:
        """As far as it is known."""
        resources, unreadable = [], []
        for (kind, _), (_, parsed) in self._objects.items():
            if isinstance(parsed, Resource):
                resources.append(parsed)
            elif kind in PLANNED:
                unreadable += parsed
        return Held(resources, unreadable, self._declared)

    async def run(self) -> None:
        """Works until it is cancelled."""
        while True:
            try:
                await self._follow()
            except StoreError as error:
                if str(error) != self._error:
                    self._log(f"store: {error} (trying again)")
                    self._error = str(error)
                    self._tell()
            await asyncio.sleep(_RETRY_S)

    async def _follow(self) -> None:
        stored, since = await self._store.snapshot(KINDS)
        read = await asyncio.to_thread(self._read, stored)
        differing = {key for key in {*read, *self._objects} if read.get(key) is not self._objects.get(key)}
        self._objects = read
        self._notice(kind for kind, _ in differing)
        if self._error:
            self._log("store: answers again")
        self._error, self.has_read = "", True
        self._tell()
        async for changes in self._store.watch(KINDS, since):
            self._apply(await asyncio.to_thread(_last, changes))

    def _read(self, stored: Iterable[Stored]) -> dict[_Key, _Read]:
        """What is still the same version is the same object: whoever compares by identity finds it unchanged."""
        return {(one.kind, one.name): self._known(one) for one in stored}

    def _known(self, stored: Stored) -> _Read:
        known = self._objects.get((stored.kind, stored.name))
        if known is None or known[0] != stored.version:
            known = (stored.version, to_resource(stored))
        return known

    def _apply(self, changes: dict[_Key, _Read | None]) -> None:
        """A cluster's Nodes are written every few minutes with nothing new in them: those stay what they were."""
        differing, renewed = [], False
        for key, one in changes.items():
            before = self._objects.pop(key, None)
            if one is not None:
                same = before is not None and _is_same(before[1], one[1])
                self._objects[key] = (one[0], before[1]) if same and before is not None else one
                renewal = before is not None and _is_renewal(before[1], one[1])
                renewed |= renewal
                if same or renewal:
                    continue
            differing.append(key)
        if differing:
            self._notice(kind for kind, _ in differing)
            self._tell()
        elif renewed:
            self.changed.set()

    def _tell(self) -> None:
        self.has_news = True
        self.changed.set()

    def _notice(self, kinds: Iterable[str]) -> None:
        if PLANNED.intersection(kinds):
            self._declared += 1


def _last(changes: Iterable[Changed]) -> dict[_Key, _Read | None]:
    """What each object is in the end; None for one that is gone."""
    return {
        (one.kind, one.name): (one.version, to_resource(one.stored)) if one.stored is not None else None
        for one in changes
    }


def _is_same(one: Resource | list[Problem], other: Resource | list[Problem]) -> bool:
    """But for its version."""
    return isinstance(one, Resource) and isinstance(other, Resource) and replace(one, version=other.version) == other


def _is_renewal(one: Resource | list[Problem], other: Resource | list[Problem]) -> bool:
    """Of a report that was not overdue."""
    if isinstance(one, list) or isinstance(other, list):
        return False
    before, after = one.spec, other.spec
    if not isinstance(before, BGPNodeStatusSpec) or not isinstance(after, BGPNodeStatusSpec):
        return False
    same = before.model_copy(update={"reported": after.reported, "reported_at": after.reported_at}) == after
    return same and after.reported - before.reported < OVERDUE_S
