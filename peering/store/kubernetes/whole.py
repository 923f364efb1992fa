"""A declaration as a whole, where there are no transactions over several objects.

What there is instead: one lock for all who do this, a second reading that must be equal to the one that was judged,
each write tried without effect first (`dryRun`), then done as a compare-and-swap, what others refer to before them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from peering.store.kubernetes.objects import own_version
from peering.store.kubernetes.sources import Source
from peering.store.kubernetes.writer import Writer
from peering.store.protocol import Conflict, Document, NotFound, Stored, StoreError, Write

#: Kind -> name -> what changes when somebody writes the object.
Reading = Mapping[str, Mapping[str, tuple[int, ...]]]
#: Kind -> name -> object.
Objects = Mapping[str, Mapping[str, Stored]]
Wrote = Callable[[Source, str, Document | str], None]
#: Before those that name them. Whatever goes, goes in the opposite order and after what comes.
_ORDER = (
    "Secret",
    "BFDProfile",
    "BGPFilter",
    "BGPConfiguration",
    "IPAMConfiguration",
    "IPReservation",
    "IPPool",
    "Switch",
    "Node",
    "Rack",
    "RouteReflector",
    "BGPPeer",
)


def in_order(writes: Sequence[Write]) -> list[Write]:
    """The writes in the order in which they are made."""
    ranks = {kind: rank for rank, kind in enumerate(_ORDER)}

    def key(write: Write) -> tuple[bool, int]:
        rank = ranks.get(write.kind, len(ranks))
        return write.document is None, rank if write.document is not None else -rank

    return sorted(writes, key=key)


def check_unchanged(before: Reading | None, now: Reading, since: int) -> None:
    """Raises Conflict when somebody wrote, made or deleted an object in between."""
    if before is None:
        raise Conflict(f"version {since} is too long ago: read again")
    for kind in {*before, *now}:
        objects, judged = now.get(kind, {}), before.get(kind, {})
        for name in {*objects, *judged}:
            if objects.get(name) != judged.get(name):
                raise Conflict(f"{kind}/{name} was changed by somebody else meanwhile")


class WholeWriter:
    """Writes onto objects as they were read under the lock."""

    def __init__(self, writer: Writer, sources: Callable[[str], Sequence[Source]], wrote: Wrote) -> None:
        self._writer = writer
        self._sources = sources
        self._wrote = wrote

    async def write(self, writes: Sequence[Write], now: Objects) -> None:
        """Raises NotFound, or what the server refuses, with nothing written; Conflict maybe after some writes."""
        planned = [(write, await self._version(write, now)) for write in in_order(writes)]
        for write, version in planned:
            await self._do(write, version, dry=True)
        for write, version in planned:
            await self._do(write, version, dry=False)

    async def _version(self, write: Write, now: Objects) -> int:
        """Of the object that is replaced or deleted; 0 where there is none. Secrets are looked up one by one."""
        source = self._sources(write.kind)[0]
        found = now.get(write.kind, {}).get(write.name)
        version = own_version(found.version) if found is not None else 0
        if write.kind == "Secret" and found is None:
            item = await self._writer.find(source, write.name)
            version = int(item["metadata"]["resourceVersion"]) if item is not None else 0
        if write.document is None and not version:
            raise missing(source, write.name, found)
        return version

    async def _do(self, write: Write, version: int, *, dry: bool) -> None:
        source = self._sources(write.kind)[0]
        try:
            item: Document | str
            if write.document is None:
                item = await self._writer.delete(source, write.name, version, dry=dry)
            elif version:
                item = await self._writer.replace(source, write.name, write.document, version, dry=dry)
            else:
                item = await self._writer.create(source, write.name, write.document, dry=dry)
        except NotFound as error:
            raise Conflict(f"{write.kind}/{write.name} was deleted by somebody else meanwhile") from error
        if not dry:
            self._wrote(source, write.name, item)


def missing(source: Source, name: str, elsewhere: Stored | None) -> StoreError:
    """Why an object cannot be deleted: there is none, or it is not ours."""
    if elsewhere is None:
        return NotFound(f"there is no {source.kind}/{name}")
    whose = elsewhere.document.get("apiVersion")
    return StoreError(f"{source.kind}/{name} is an object of {whose}, which is only read here: delete it with kubectl")
