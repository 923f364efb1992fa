"""List and watch of one selection, for ever: what an informer does, on asyncio and with packed objects.

    list in pages ─► watch from the list's version ─► (cut, or its time is over) watch from the last version seen
         ▲                                                                     │
         └───────────── 410: the versions in between are no longer kept ◄──────┘

Nothing is polled: an idle watch is begun anew every half to one hour, as a server would have it by itself, each at its
own time, so that those of many processes do not end together. Bookmarks in between keep its version young. What is
known stays known while the server is away.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from peering.store.kubernetes.api import Api, ApiError, Gone
from peering.store.kubernetes.backoff import Backoff
from peering.store.kubernetes.objects import Packed, fingerprint, pack, same_content, version_of
from peering.store.kubernetes.selection import Selection
from peering.store.protocol import Document, StoreError

#: Called with kind, name and version of what has changed.
Told = Callable[[str, str, int], None]

_WATCH_S = (1800, 3600)
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.5, 30.0
#: Between two looks at what may be read and not be watched.
_LOOK_S = (240, 360)
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _TIMEOUT = 401, 403, 404, 504
#: What no waiting mends: somebody has to do something.
_REFUSALS = frozenset((_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND))
#: Between the end of a watch and the next one: many end at once when a server does.
_AGAIN_S = 1.0
#: So often a server that does not know what was seen already is taken for one that is behind.
_STALE = 3


class Follower:
    """Keeps `objects`, by name, as they are at the server. `known`: what the process has read before, by name.

    `last_seen`: what the process before this one knew, for as long as the server has not been read.
    """

    def __init__(
        self,
        api: Api,
        selection: Selection,
        told: Told,
        when_synced: Callable[[], None],
        known: Mapping[str, int] | None = None,
        last_seen: Sequence[Packed] | None = None,
    ) -> None:
        self.selection = selection
        self.objects: dict[str, Packed] = {}
        self.synced = asyncio.Event()
        self.trouble = ""
        self.is_refused = False
        self._api = api
        self._told = told
        self._when_synced = when_synced
        self._known = known or {}
        self._last_seen = last_seen
        self._version = 0
        self._stale = self._future = 0
        self._gone: dict[str, str] = {}
        self._backoff = Backoff(_FIRST_PAUSE_S, _LAST_PAUSE_S)

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            try:
                if not self._version:
                    await self._list()
                pause = await self._watch()
            except Gone:
                self._version = 0
                pause = self._backoff.delay()
            except ApiError as error:
                self.trouble = str(error)
                self._count_future(error)
                pause = await self._pause_after(error)
                self.is_refused = error.code in _REFUSALS and not self.synced.is_set()
            except StoreError as error:  # there is no way to the cluster, such as no kubeconfig
                self.trouble, self.is_refused = str(error), not self.synced.is_set()
                pause = self._backoff.delay()
            self._go_by_last_seen()
            await asyncio.sleep(pause)

    def _go_by_last_seen(self) -> None:
        if not self.synced.is_set() and self._last_seen is not None:
            for packed in self._last_seen:
                self._take(packed)
            self._is_synced()
        self._last_seen = None

    async def _pause_after(self, error: ApiError) -> float:
        if error.code == _FORBIDDEN and self.selection.name:
            return await self._without_watch()
        if error.code == _NOT_FOUND and self.selection.source.may_be_missing:
            return self._without_resource()
        return self._backoff.delay(error.retry_after)

    def _without_resource(self) -> float:
        """The cluster does not have such objects, and is asked again now and then whether it has."""
        self._version, self.trouble = 0, ""
        for name in [*self.objects]:
            self._told(self.selection.source.kind, name, self.objects.pop(name).version)
        self._is_synced()
        return random.uniform(*_LOOK_S)

    async def _without_watch(self) -> float:
        """Who may not watch an object but may read it (a Secret) looks now and then; how long until the next time."""
        self._version = 0
        try:
            item = await self._api.call("GET", self.selection.source.path(self.selection.name))
            self._take(pack(self.selection.source, item))
        except ApiError as missing:
            if missing.code != _NOT_FOUND:
                return self._backoff.delay(missing.retry_after)
            for name in [*self.objects]:
                self._told(self.selection.source.kind, name, self.objects.pop(name).version)
        self.trouble = ""
        self._is_synced()
        return random.uniform(*_LOOK_S)

    def wrote(self, item: Document) -> None:
        """What this process has written is known before the watch tells."""
        if self.selection.has(self.selection.source.name_of(item["metadata"]), item["metadata"].get("labels") or {}):
            self._put(item)

    def removed(self, name: str, uid: str) -> None:
        """What this process has deleted is gone, whatever the watch still tells of that object."""
        self._gone[name] = uid
        if name in self.objects:
            version = self.objects.pop(name).version
            self._told(self.selection.source.kind, name, version)

    async def _list(self) -> None:
        """Reads all; what is missing from it is gone."""
        source, found, version = self.selection.source, dict[str, Packed](), 0
        async for page in self._api.pages(source.path(), self.selection.query(), source.page):
            version = version_of(page)
            for item in page["items"]:
                packed = pack(source, item)
                found[packed.name] = packed
        self._check_age(version)
        self._gone.clear()
        for name in [*self.objects, *self._known]:
            old = self.objects.get(name)
            if name not in found and (old is None or old.version <= version):
                self.objects.pop(name, None)
                self._told(source.kind, name, version)
        for packed in sorted(found.values(), key=lambda one: one.version):
            if self._known.get(packed.name) == fingerprint(packed):
                self.objects[packed.name] = packed
            else:
                self._take(packed)
        self._known, self._version, self.trouble = {}, version, ""
        self._backoff.reset()
        self._is_synced()

    def _is_synced(self) -> None:
        if not self.synced.is_set():
            self.synced.set()
            self._when_synced()

    def _count_future(self, error: ApiError) -> None:
        """A server that again and again does not know our version yet (504) may have lost it: a restored backup."""
        self._future = self._future + 1 if error.code == _TIMEOUT else 0
        if self._future > _STALE:
            self._future = self._version = 0

    def _check_age(self, version: int) -> None:
        """A list from before what is known comes from a server that is behind, or from a restored backup."""
        latest = max((one.version for one in self.objects.values()), default=0)
        self._stale = self._stale + 1 if version < latest else 0
        if 0 < self._stale <= _STALE:
            raise ApiError(f"{self.selection.source.path()}: the server is behind (at {version}, not {latest})")
        if self._stale:
            self._stale, known, self.objects = 0, self.objects, {}
            for name in known:
                self._told(self.selection.source.kind, name, version)

    async def _watch(self) -> float:
        """Until the watch ends; how long to wait before the next."""
        began = time.monotonic()
        lasts = int(random.uniform(*_WATCH_S))
        query = {**self.selection.query(), "resourceVersion": str(self._version)}
        async for event in self._api.watch(self.selection.source.path(), query, lasts, self._is_well):
            self._backoff.reset()
            self._event(event)
        lasted = time.monotonic() - began
        return random.uniform(0.5, 1.5) * _AGAIN_S if lasted < _FIRST_PAUSE_S * 10 else random.uniform(0, _AGAIN_S)

    def _is_well(self) -> None:
        self.trouble = ""

    def _event(self, event: dict[str, Any]) -> None:
        item = event["object"]
        version = version_of(item)
        if event["type"] == "DELETED":
            self._drop(item, version)
        elif event["type"] in ("ADDED", "MODIFIED"):
            self._put(item)
        self._version = max(self._version, version)

    def _put(self, item: Document) -> None:
        metadata = item["metadata"]
        if self._gone.get(self.selection.source.name_of(metadata)) == metadata.get("uid", "?"):
            return
        self._take(pack(self.selection.source, item))

    def _take(self, packed: Packed) -> None:
        """An older one than is known comes too late. One that says the same wakes nobody.

        Nobody writes onto versions of what is only read: there it is not even kept, so that nobody reads it anew.
        """
        old = self.objects.get(packed.name)
        if old is not None and packed.version <= old.version:
            return
        same = same_content(old, packed)
        if packed.source.writable or not same:
            self.objects[packed.name] = packed
        if not same:
            self._told(packed.kind, packed.name, packed.version)

    def _drop(self, item: Document, version: int) -> None:
        name = self.selection.source.name_of(item["metadata"])
        if self._gone.get(name) == item["metadata"].get("uid"):
            del self._gone[name]
        old = self.objects.get(name)
        if old is not None and old.version <= version:
            del self.objects[name]
            self._told(self.selection.source.kind, name, version)
