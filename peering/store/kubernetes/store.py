"""The store's protocol on a cluster's API server.

- Versions are the API's. `snapshot` is a place in the order in which this process has seen changes, and `watch` goes on
  from there; what happened just before may be told once more.
- The objects of one kind are read at one moment, those of several kinds one kind after the other.
- Kinds that are watched are answered from memory, also while the server is away; `trouble` tells that it is. What IPAM
  claims (observed kinds) is always asked of the server when it is asked for by name.
- `apply_all` has no transaction. It takes a Lease, so that no two of them mix; it reads again and compares; every write
  is first tried without effect, so that what the server refuses is refused as a whole. Killed in the middle, the
  writes before that were made, each whole, and applying again goes on. A Conflict with somebody who did not take the
  Lease (kubectl) may come after some writes were made. Readers see the writes one by one, what others refer to first.
- Secrets are never listed. There are those that were asked for by name, or that other objects refer to.
- Statuses are read when they are asked for, of our own kinds; events are written by a task of their own (events.py).
- A report (BGPNodeStatus) is written by server-side apply, whether it was there or not: `update` without a version
  raises no NotFound for it. With a version, of one that is gone it raises Conflict or NotFound.
- An event of a Node is told of Kubernetes' own, in whose place none of ours need be.
"""

from __future__ import annotations

import math
import os
import socket
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from peering.resources.catalog import KINDS, KUBERNETES, PLAN_KINDS
from peering.store.interest import Interest
from peering.store.kubernetes.api import Api, Client
from peering.store.kubernetes.changes import Changes
from peering.store.kubernetes.connect import connect, namespace_of
from peering.store.kubernetes.events import Events
from peering.store.kubernetes.following import Following
from peering.store.kubernetes.labelling import label
from peering.store.kubernetes.last_seen import LastSeen
from peering.store.kubernetes.lease import Lease, held
from peering.store.kubernetes.location import Location, parse_location
from peering.store.kubernetes.objects import Packed, own_version, pack, version_of
from peering.store.kubernetes.reader import Reader, by_kind, by_source, joined
from peering.store.kubernetes.sources import Source, sources_of
from peering.store.kubernetes.whole import Reading, WholeWriter, check_unchanged, missing
from peering.store.kubernetes.writer import Writer
from peering.store.protocol import Changed, Document, Event, NotFound, Stored, StoreError, Told, Write

_LOCK = "underlay-apply"
_LOCK_S, _LOCK_RENEWED_S, _LOCK_PATIENCE_S = 30.0, 8.0, 40.0
#: As the controllers of Kubernetes itself: who is not heard of for so long leads no more.
_LEADER_S, _LEADER_RENEWED_S = 15.0, 4.0
#: So many readings may be waiting for their `apply_all`.
_READINGS = 4
_DECLARED = (*PLAN_KINDS, "Secret")
_REPORT = "BGPNodeStatus"
_SECRET = "Secret"
_AFFINITY = "BlockAffinity"


class KubernetesStore:
    """One cluster. With `interests` (be it none), whatever is read once is watched from then on.

    `last_seen`: a file for what is watched, for the process that comes after this one (last_seen.py).
    """

    keeps_statuses = True

    def __init__(
        self,
        location: Location,
        interests: Iterable[Interest] | None = None,
        connect: Callable[[Location], Awaitable[Client]] = connect,
        last_seen: Path | None = None,
    ) -> None:
        self._namespace = namespace_of(location)
        self._calico_crds = location.calico_crds
        self._api = Api(lambda: connect(location))
        self._writer = Writer(self._api)
        self._reader = Reader(self._api, self._writer, self._sources)
        self._changes = Changes()
        self._keeps = interests is not None
        sources = {kind: self._sources(kind) for kind in KINDS}
        kept = LastSeen(last_seen, repr(location)) if last_seen is not None else None
        self._following = Following(self._api, sources, self._changes, interests or (), kept)
        self._events = Events(self._api)
        self._readings: OrderedDict[int, dict[Source, dict[str, int]]] = OrderedDict()

    async def get(self, kind: str, name: str) -> Stored:
        found: Stored | None
        if self._is_answered_here(kind, name):
            await self._following.ready([kind])
            found = self._following.find(kind, name)
        else:
            found = await self._reader.find(kind, name)
        if found is None:
            raise NotFound(f"there is no {kind}/{name}")
        return found

    async def list(self, kind: str, node: str = "") -> Sequence[Stored]:
        if node and kind == _AFFINITY:
            return joined(await self._reader.read_of_node(kind, node))
        if kind == _SECRET:
            return [one for one in (await self.snapshot(_DECLARED))[0] if one.kind == kind]
        if self._following.is_whole(kind):
            await self._following.ready([kind])
            return self._following.all(kind)
        return joined(await self._reader.read(kind))

    async def snapshot(self, kinds: Iterable[str]) -> tuple[Sequence[Stored], int]:
        wanted = sorted(set(kinds))
        if self._keeps:
            self._following.follow(wanted)
        here = [kind for kind in wanted if self._following.follows(kind)]
        await self._following.ready(here)
        parts = await self._reader.read_all([kind for kind in wanted if kind not in here and kind != _SECRET])
        parts |= {kind: [*self._following.parts(kind)] if kind in _DECLARED else [] for kind in here}
        found: dict[str, Sequence[Stored]] = {kind: self._following.all(kind) for kind in here}
        found |= {kind: joined(parts[kind]) for kind in wanted if kind not in here and kind != _SECRET}
        # Nothing may come between what the followers know and the place: it would be told to nobody.
        place = self._changes.next_place(max((one.version for some in parts.values() for one in some), default=0))
        if _SECRET in wanted and _SECRET not in here:
            parts[_SECRET] = await self._reader.read_secrets(one for some in found.values() for one in some)
            found[_SECRET] = joined(parts[_SECRET])
        self._remember(place, wanted, parts)
        return [one for kind in wanted for one in found[kind]], place

    async def put_in_order(self) -> Sequence[str]:
        return await label(self._api, [self._sources(kind)[0] for kind in (_AFFINITY, "IPAMBlock")])

    async def create(self, kind: str, name: str, document: Document) -> Stored:
        source = self._sources(kind)[0]
        return self._wrote(source, await self._writer.create(source, name, document))

    async def update(self, kind: str, name: str, document: Document, version: int | None = None) -> Stored:
        source = self._sources(kind)[0]
        if kind == _REPORT:
            item = await self._writer.apply(source, name, document, version=version)
            self._events.know(kind, name, item)
            return self._wrote(source, item)
        if version is None:
            try:
                return self._wrote(source, await self._writer.replace_any(source, name, document))
            except NotFound:
                if await self._reader.find(kind, name) is None:
                    raise
                return await self.create(kind, name, document)
        if not own_version(version):
            return await self.create(kind, name, document)
        return self._wrote(source, await self._writer.replace(source, name, document, version))

    async def delete(self, kind: str, name: str, version: int | None = None) -> None:
        source = self._sources(kind)[0]
        try:
            uid = await self._writer.delete(source, name, version)
        except NotFound:
            raise missing(source, name, await self._reader.find(kind, name)) from None
        self._following.removed(source, name, uid)

    async def statuses(self, kind: str) -> Mapping[str, Told]:
        return await self._reader.statuses(self._sources(kind)[0])

    async def apply_status(self, kind: str, name: str, status: Document, version: int | None = None) -> None:
        """By server-side apply: one request."""
        own = None if version is None else own_version(version)
        await self._writer.apply(self._sources(kind)[0], name, {"status": status}, "status", own)

    def tell(self, kind: str, name: str, event: Event) -> None:
        sources = self._sources(kind)
        self._events.tell(next((one for one in sources if one.api_version == KUBERNETES), sources[0]), name, event)

    async def apply_all(self, writes: Sequence[Write], kinds: Iterable[str], since: int) -> None:
        wanted = sorted(set(kinds))
        before = self._reading(since, set(wanted))
        async with held(self.lease(_LOCK, _LOCK_S), _LOCK_PATIENCE_S, _LOCK_RENEWED_S):
            parts = await self._reader.read_all([kind for kind in wanted if kind != _SECRET])
            if _SECRET in wanted:
                parts[_SECRET] = await self._reader.read_secrets([one for found in parts.values() for one in found])
            check_unchanged(before, by_kind(by_source(parts)), since)
            now = {kind: {one.name: one for one in joined(found)} for kind, found in parts.items()}
            await WholeWriter(self._writer, self._sources, self._wrote_or_removed).write(writes, now)

    async def watch(self, kinds: Iterable[str], since: int) -> AsyncIterator[Sequence[Changed]]:
        wanted = tuple(kinds)
        waiter = self._changes.subscribe(wanted, since)
        try:
            missed = self._changes.forgotten_since(since)
            self._following.follow(wanted, self._readings.get(since))
            if missed:
                for kind in wanted:
                    for one in self._following.all(kind):
                        waiter.add((kind, one.name), since)
            while pending := await waiter.take():
                yield [
                    Changed(kind, name, place, self._following.find(kind, name))
                    for (kind, name), place in pending.items()
                ]
        finally:
            self._changes.unsubscribe(waiter)

    def lease(self, name: str, seconds: float) -> Lease:
        """A lock that this store wants; for `held`, which takes and renews it. One of several controllers leads so."""
        holder = f"{socket.gethostname()}-{os.getpid()}-{id(self):x}"
        return Lease(self._api, self._namespace, name, holder, seconds)

    def leading(self, name: str) -> AbstractAsyncContextManager[None]:
        return held(self.lease(name, _LEADER_S), math.inf, _LEADER_RENEWED_S)

    def trouble(self) -> str:
        """Why what is answered from memory may be old; empty while all watches run."""
        return self._following.trouble()

    async def close(self) -> None:
        await self._following.close()
        await self._events.close()
        self._changes.close()
        await self._api.close()

    # What is read

    def _sources(self, kind: str) -> tuple[Source, ...]:
        if kind not in KINDS:
            raise StoreError(f"{kind} is no kind known here")
        return sources_of(kind, self._namespace, self._calico_crds)

    def _is_answered_here(self, kind: str, name: str) -> bool:
        """A Secret that is asked for is watched from then on, by its name, where Secrets are watched."""
        if kind == _SECRET and (self._keeps or self._following.follows(kind)):
            self._following.follow([kind])
            self._following.follow_secret(name)
            return True
        return kind in PLAN_KINDS and self._following.is_known(kind, name)

    def _remember(self, place: int, kinds: Sequence[str], parts: Mapping[str, Sequence[Packed]]) -> None:
        """For `apply_all`, and for a watch that begins here."""
        empty: dict[Source, dict[str, int]] = {source: {} for kind in kinds for source in self._sources(kind)}
        self._readings[place] = {**empty, **by_source(parts)}
        while len(self._readings) > _READINGS:
            self._readings.popitem(last=False)

    def _reading(self, since: int, kinds: set[str]) -> Reading | None:
        reading = self._readings.get(since)
        if reading is None or not kinds <= {source.kind for source in reading}:
            return None
        return by_kind({source: seen for source, seen in reading.items() if source.kind in kinds})

    # What was written

    def _wrote(self, source: Source, item: Document) -> Stored:
        self._following.wrote(source, item)
        self._changes.next_place(version_of(item))
        return pack(source, item)

    def _wrote_or_removed(self, source: Source, name: str, item: Document | str) -> None:
        if isinstance(item, str):
            self._following.removed(source, name, item)
        else:
            self._wrote(source, item)


def open_cluster(rest: str, interests: Iterable[Interest] | None, last_seen: Path | None = None) -> KubernetesStore:
    """`rest` is what stands behind `kubernetes:`. Raises StoreError."""
    return KubernetesStore(parse_location(rest), interests, last_seen=last_seen)
