"""What is kept: objects, the counter of their versions, and what happened since, for watches."""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.kube_api.apply import Owners
from tests.kube_api.resources import Resource

Document = dict[str, Any]
Key = tuple[str, str, str]
_KEPT_EVENTS = 50_000


def key_of(resource: Resource, namespace: str, name: str) -> Key:
    """Versions of one resource share their objects."""
    return resource.name, namespace, name


@dataclass(frozen=True)
class Happened:
    """One commit. `document` is what the object is now, or was when it was deleted; `before` what it was."""

    revision: int
    key: Key
    before: Document | None
    document: Document
    deleted: bool = False


class Objects:
    """Documents are never changed once they are kept: a list and a watch may hand them out."""

    def __init__(self, revision: int) -> None:
        self.revision = revision
        self.compacted = revision
        self.documents: dict[Key, Document] = {}
        self.owners: dict[Key, Owners] = {}
        self._events: deque[Happened] = deque()
        self._pages: dict[int, dict[str, list[Document]]] = {}
        self._woken: dict[str, asyncio.Condition] = {}

    def of(self, resource: Resource, namespace: str = "") -> list[Document]:
        """All objects of a resource, of a namespace if one is given, by name."""
        prefix = resource.name
        keys = sorted(key for key in self.documents if key[0] == prefix and namespace in ("", key[1]))
        return [self.documents[key] for key in keys]

    async def keep(self, key: Key, document: Document, owners: Owners) -> Document:
        """Commits a new version of an object."""
        self.revision += 1
        kept = copy.deepcopy(document)
        kept["metadata"]["resourceVersion"] = str(self.revision)
        before = self.documents.get(key)
        self.documents[key], self.owners[key] = kept, owners
        await self._happened(Happened(self.revision, key, before, kept))
        return kept

    async def remove(self, key: Key) -> Document:
        """Commits that an object is gone; what it was, with the version of its end."""
        self.revision += 1
        before = self.documents.pop(key)
        self.owners.pop(key, None)
        last = {**before, "metadata": {**before["metadata"], "resourceVersion": str(self.revision)}}
        await self._happened(Happened(self.revision, key, before, last, deleted=True))
        return last

    async def _happened(self, event: Happened) -> None:
        self._events.append(event)
        if len(self._events) > _KEPT_EVENTS:
            self.compacted = self._events.popleft().revision
        woken = self.woken(event.key[0])
        async with woken:
            woken.notify_all()

    def woken(self, resource: str) -> asyncio.Condition:
        """Notified of each commit to the resource of this name: thousands of watches of others sleep on."""
        return self._woken.setdefault(resource, asyncio.Condition())

    def compact(self) -> None:
        """Forgets what happened until now: watches from before and pages of lists get 410."""
        self.compacted = self.revision
        self._events.clear()
        self._pages.clear()

    def since(self, resource: Resource, revision: int, until: int) -> Iterator[Happened]:
        """What happened to a resource's objects after a revision, up to another."""
        newer: list[Happened] = []
        for event in reversed(self._events):
            if event.revision <= revision:
                break
            if event.revision <= until and event.key[0] == resource.name:
                newer.append(event)
        return reversed(newer)

    def keep_pages(self, token: str, documents: list[Document], revision: int) -> None:
        """Remembers the rest of a list that was begun at a revision, for its later pages."""
        self._pages.setdefault(revision, {})[token] = documents

    def pages(self, revision: int, token: str) -> list[Document] | None:
        """What is left of such a list; None when it was forgotten."""
        return self._pages.get(revision, {}).get(token)
