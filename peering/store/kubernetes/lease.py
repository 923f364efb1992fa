"""A lock in the cluster: a Lease of coordination.k8s.io, as leader election uses it.

Whether a holder is alive is judged by whether its Lease changes while somebody looks, on that one's own monotonic
clock: the times in the Lease are for people, and clocks that differ or jump do no harm.
"""

from __future__ import annotations

import asyncio
import datetime
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from peering.store.kubernetes.api import Api, ApiError
from peering.store.protocol import Conflict, Document, StoreError

_API = "coordination.k8s.io/v1"
_NOT_FOUND, _CONFLICT = 404, 409


class Lost(StoreError):
    """Somebody else holds the lease, or nobody could be asked in time."""


class Lease:
    """One lease and one who wants it. `seconds`: who has not renewed it for so long holds it no more."""

    def __init__(self, api: Api, namespace: str, name: str, holder: str, seconds: float) -> None:
        self._api = api
        self._collection = f"/apis/{_API}/namespaces/{namespace}/leases"
        self._place = {"name": name, "namespace": namespace}
        self._holder = holder
        self._seconds = seconds
        self._seen: tuple[str, float] = ("", 0.0)
        self._mine: Document | None = None

    async def try_to_take(self) -> bool:
        """Whether it is ours now."""
        try:
            lease = await self._api.call("GET", f"{self._collection}/{self._place['name']}")
        except ApiError as error:
            if error.code != _NOT_FOUND:
                raise
            return await self._write("POST", self._document({}, 0))
        version = lease["metadata"]["resourceVersion"]
        if version != self._seen[0]:
            self._seen = version, time.monotonic()
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        lasts = float(spec.get("leaseDurationSeconds") or self._seconds)
        if holder not in ("", self._holder) and time.monotonic() - self._seen[1] < lasts:
            return False
        changes = int(spec.get("leaseTransitions") or 0) + (holder != self._holder)
        return await self._write("PUT", self._document(lease["metadata"], changes))

    async def renew(self) -> None:
        """Raises Lost when it is another's."""
        if self._mine is None or not await self._write("PUT", self._renewed(self._mine)):
            raise Lost(f"Lease/{self._place['name']} was taken by somebody else")

    async def let_go(self) -> None:
        """The next one need not wait."""
        if self._mine is not None:
            free = self._renewed(self._mine)
            free["spec"] = {**free["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
            with suppress(StoreError):
                await self._write("PUT", free)
            self._mine = None

    async def _write(self, method: str, document: Document) -> bool:
        path = self._collection if method == "POST" else f"{self._collection}/{self._place['name']}"
        try:
            self._mine = await self._api.call(method, path, {}, document)
        except ApiError as error:
            self._mine = None
            if error.code == _NOT_FOUND and method == "POST":
                namespace = self._place["namespace"]
                raise StoreError(f"there is no namespace {namespace}: apply config/default, or name another") from error
            if error.code not in (_CONFLICT, _NOT_FOUND):
                raise
            return False
        return True

    def _document(self, metadata: Document, changes: int) -> Document:
        version = {"resourceVersion": metadata["resourceVersion"]} if metadata else {}
        spec = {
            "holderIdentity": self._holder,
            "leaseDurationSeconds": max(1, round(self._seconds)),
            "acquireTime": _now(),
            "renewTime": _now(),
            "leaseTransitions": changes,
        }
        return {"apiVersion": _API, "kind": "Lease", "metadata": {**self._place, **version}, "spec": spec}

    def _renewed(self, lease: Document) -> Document:
        metadata = {**self._place, "resourceVersion": lease["metadata"]["resourceVersion"]}
        return {**lease, "metadata": metadata, "spec": {**lease["spec"], "renewTime": _now()}}


@asynccontextmanager
async def held(lease: Lease, patience: float, interval: float) -> AsyncIterator[None]:
    """The lease is ours inside; renewed every `interval` seconds. Raises Conflict after `patience` seconds of waiting.

    If it is lost on the way, what is inside is cancelled and Lost is raised.
    """
    until = time.monotonic() + patience
    while not await lease.try_to_take():
        if time.monotonic() > until:
            raise Conflict("somebody else is writing a declaration: try again")
        await asyncio.sleep(random.uniform(0.05, 0.15) * interval)
    work, lost = asyncio.current_task(), list[StoreError]()

    async def renew() -> None:
        try:
            while True:
                await asyncio.sleep(interval)
                await lease.renew()
        except StoreError as error:
            lost.append(error)
            if work is not None:
                work.cancel()

    renewing = asyncio.ensure_future(renew())
    try:
        yield
    except asyncio.CancelledError:
        if lost and work is not None and not work.uncancel():
            raise Lost(str(lost[0])) from lost[0]
        raise
    finally:
        renewing.cancel()
        await lease.let_go()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
