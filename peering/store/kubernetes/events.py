"""Events of events.k8s.io/v1: what `kubectl events` and `kubectl describe` show of an object.

Nobody waits for them and nobody fails by them: they are written by one task, as few as event_series.py says, and what
cannot be written is tried again later. Events of objects without a namespace are in `default`.
"""

from __future__ import annotations

import asyncio
import datetime
import math
import secrets
import socket
import time
from contextlib import suppress

from peering.store.kubernetes.api import Api, ApiError
from peering.store.kubernetes.event_series import EventSeries, Series
from peering.store.kubernetes.sources import Source
from peering.store.protocol import Document, Event, StoreError

_API = "events.k8s.io/v1"
_NAMESPACE = "default"
_CONTROLLER, _ACTION = "underlay.io/underlay", "Observed"
_MERGE_PATCH = "application/merge-patch+json"
_NOT_FOUND, _CONFLICT = 404, 409
#: Bounds of the API: bytes of a note, and what is kept of an object's name for that of its event.
_LONGEST_NOTE, _LONGEST_INSTANCE, _LONGEST_START = 1024, 128, 200


class Events:
    """Those that one process tells."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._series = EventSeries()
        self._uids: dict[tuple[str, str], str] = {}
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def know(self, kind: str, name: str, item: Document) -> None:
        """An object that may be told of: by its uid `kubectl describe` finds the events of this one."""
        self._uids[kind, name] = item["metadata"]["uid"]

    def tell(self, source: Source, name: str, event: Event) -> None:
        """At once; written later."""
        self._series.add((source, name, event), time.monotonic())
        self._woken.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._write_all())

    async def close(self) -> None:
        """What is not written yet never is."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _write_all(self) -> None:
        while True:
            self._woken.clear()
            series = self._series.take(time.monotonic())
            if series is not None:
                with suppress(StoreError):
                    await self._write(series)
                continue
            seconds = self._series.wait(time.monotonic())
            with suppress(TimeoutError):
                async with asyncio.timeout(None if seconds == math.inf else seconds):
                    await self._woken.wait()

    async def _write(self, series: Series) -> None:
        count = series.count
        try:
            if series.told:
                await self._api.call("PATCH", _path(series), {}, {"series": _counted(series)}, _MERGE_PATCH)
            else:
                await self._create(series)
        except ApiError as error:
            if error.code == _NOT_FOUND and series.told:
                self._series.end(series)
            raise
        series.told = count

    async def _create(self, series: Series) -> None:
        """Its name is new: one that is there already was written by a try whose answer was lost."""
        left_out = self._series.left_out
        if not series.name:
            start = series.key[1][:_LONGEST_START].rstrip(".-")
            series.name = f"{start}.{secrets.token_hex(8)}"
        uid = await self._uid(series)
        try:
            await self._api.call("POST", _path(series).rpartition("/")[0], {}, self._document(series, left_out, uid))
        except ApiError as error:
            if error.code != _CONFLICT:
                raise
        self._series.left_out -= left_out

    async def _uid(self, series: Series) -> str:
        """That of an object that was not written here is asked for. Without it the event is worth telling, too."""
        source, name, _ = series.key
        known = self._uids.get((source.kind, name))
        if known is not None:
            return known
        try:
            item = await self._api.call("GET", source.path(name))
        except ApiError:
            return ""
        return str(item["metadata"]["uid"])

    def _document(self, series: Series, left_out: int, uid: str) -> Document:
        source, name, event = series.key
        namespace, short = source.place(name)
        regarding = {"apiVersion": source.api_version, "kind": source.kind, "name": short}
        more = f" ({left_out} other events were left out)" if left_out else ""
        return {
            "apiVersion": _API,
            "kind": "Event",
            "metadata": {"name": series.name, "namespace": namespace or _NAMESPACE},
            "eventTime": _stamp(series.first),
            "reportingController": _CONTROLLER,
            "reportingInstance": socket.gethostname()[:_LONGEST_INSTANCE],
            "action": _ACTION,
            "reason": event.reason,
            "type": "Warning" if event.is_warning else "Normal",
            "note": event.message.encode()[: _LONGEST_NOTE - len(more)].decode(errors="ignore") + more,
            "regarding": {
                **regarding,
                **({"namespace": namespace} if namespace else {}),
                **({"uid": uid} if uid else {}),
            },
            **({"series": _counted(series)} if series.count > 1 else {}),
        }


def _path(series: Series) -> str:
    source, name, _ = series.key
    return f"/apis/{_API}/namespaces/{source.place(name)[0] or _NAMESPACE}/events/{series.name}"


def _counted(series: Series) -> Document:
    return {"count": series.count, "lastObservedTime": _stamp(series.last)}


def _stamp(moment: float) -> str:
    """A moment of the monotonic clock as RFC 3339 writes it, with microseconds."""
    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=time.monotonic() - moment)
    return then.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
