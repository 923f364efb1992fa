"""One watch: events of what is chosen, bookmarks, and its end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from tests.kube_api.errors import Refused
from tests.kube_api.faults import Faults
from tests.kube_api.objects import Document, Happened, Objects
from tests.kube_api.selectors import Matches
from tests.kube_api.writing import Place


class Watching:
    """An object that begins to match is ADDED for this watch, one that ceases to is DELETED."""

    def __init__(
        self, objects: Objects, faults: Faults, place: Place, matches: Matches, query: Mapping[str, str]
    ) -> None:
        self._objects = objects
        self._faults = faults
        self._place = place
        self._matches = matches
        self._from = query.get("resourceVersion", "")
        self._bookmarks = query.get("allowWatchBookmarks") == "true"
        self._lasts = float(query.get("timeoutSeconds", "1800"))
        self._revision = int(self._from) if self._from not in ("", "0") else objects.revision

    def check(self) -> None:
        """Raises Refused (504) for a version of the future, as a server whose cache is behind does."""
        if self._revision > self._latest():
            raise Refused(504, "Too large resource version")

    async def write(self, response: web.StreamResponse, bookmark_interval: float) -> None:
        """Until the time is over, the connection is gone, or the versions asked for are."""
        loop = asyncio.get_running_loop()
        lasts = min(self._lasts, self._faults.cut_watches_after or self._lasts)
        ends, bookmark = loop.time() + lasts, loop.time() + bookmark_interval
        if self._from in ("", "0"):
            for document in self._objects.of(self._place.resource, self._place.namespace):
                if self._matches(document):
                    await _send(response, "ADDED", document)
        while loop.time() < ends:
            if self._revision < self._objects.compacted:
                await _send(response, "ERROR", Refused(410, f"too old resource version: {self._revision}").status)
                return
            until = self._latest()
            for event in self._objects.since(self._place.resource, self._revision, until):
                await self._tell(response, event)
            self._revision = until
            if loop.time() >= bookmark:
                bookmark = loop.time() + bookmark_interval
                await self._bookmark(response)
            await self._next(min(ends, bookmark) - loop.time())
        await self._bookmark(response)

    def _latest(self) -> int:
        stale = self._faults.stale_at
        return self._objects.revision if stale is None else min(stale, self._objects.revision)

    async def _next(self, at_most: float) -> None:
        """Until something is committed to the resource that this watch has not seen, or a time is over."""
        woken = self._objects.woken(self._place.resource.name)
        try:
            async with asyncio.timeout(max(at_most, 0)), woken:
                await woken.wait_for(lambda: self._latest() > self._revision)
        except TimeoutError:
            pass

    async def _tell(self, response: web.StreamResponse, event: Happened) -> None:
        if self._place.namespace not in ("", event.key[1]):
            return
        was = event.before is not None and self._matches(event.before)
        is_now = not event.deleted and self._matches(event.document)
        if is_now:
            await _send(response, "MODIFIED" if was else "ADDED", event.document)
        elif was:
            assert event.before is not None
            metadata = {**event.before["metadata"], "resourceVersion": str(event.revision)}
            await _send(response, "DELETED", {**event.before, "metadata": metadata})

    async def _bookmark(self, response: web.StreamResponse) -> None:
        if self._bookmarks:
            resource = self._place.resource
            metadata = {"resourceVersion": str(self._revision), "creationTimestamp": None}
            bookmark = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
            await _send(response, "BOOKMARK", bookmark)


async def _send(response: web.StreamResponse, what: str, document: Document | Any) -> None:
    await response.write(json.dumps({"type": what, "object": document}).encode() + b"\n")
