"""Readings: what the server says now, past everything that is known here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from peering.store.kubernetes.api import Api, ApiError
from peering.store.kubernetes.objects import NODE_LABEL, Packed, fingerprint, join, label_value, pack
from peering.store.kubernetes.sources import Source
from peering.store.kubernetes.whole import Reading
from peering.store.kubernetes.writer import Writer
from peering.store.protocol import Stored, Told

_AT_ONCE = 8
_NOT_FOUND = 404


class Reader:
    """Reads objects, kinds, and the Secrets that objects refer to."""

    def __init__(self, api: Api, writer: Writer, sources: Callable[[str], Sequence[Source]]) -> None:
        self._api = api
        self._writer = writer
        self._sources = sources

    async def find(self, kind: str, name: str) -> Stored | None:
        """One object, out of all its sources."""
        sources = self._sources(kind)
        items = await asyncio.gather(*(self._writer.find(source, name) for source in sources))
        found = [pack(source, item) for source, item in zip(sources, items, strict=True) if item]
        return join(found) if found else None

    async def read(self, kind: str) -> list[Packed]:
        """All of a kind, unjoined, each source at one moment."""
        return [one for source in self._sources(kind) for one in await self._read_source(source)]

    async def _read_source(self, source: Source) -> list[Packed]:
        found = []
        try:
            async for page in self._api.pages(source.path(), {}, source.page):
                found += [pack(source, item) for item in page["items"]]
        except ApiError as error:
            if error.code != _NOT_FOUND or not source.may_be_missing:
                raise
        return found

    async def read_of_node(self, kind: str, node: str) -> list[Packed]:
        """Those of a kind that have the label of the node, or none; unjoined.

        Who gets its label meanwhile is read twice and not left out.
        """
        found: dict[tuple[Source, str], Packed] = {}
        for source in self._sources(kind):
            for words in (f"!{NODE_LABEL}", f"{NODE_LABEL}={label_value(node)}"):
                async for page in self._api.pages(source.path(), {"labelSelector": words}, source.page):
                    found |= {(source, one.name): one for one in (pack(source, item) for item in page["items"])}
        return [*found.values()]

    async def statuses(self, source: Source) -> dict[str, Told]:
        """What is told of the objects of one source, and how often they were changed, by name."""
        found = {}
        async for page in self._api.pages(source.path(), {}, source.page):
            for item in page["items"]:
                generation = item["metadata"].get("generation", 0)
                found[source.name_of(item["metadata"])] = Told(generation, item.get("status") or {})
        return found

    async def read_all(self, kinds: Sequence[str]) -> dict[str, list[Packed]]:
        """Several kinds, some at the same time."""
        room = asyncio.Semaphore(_AT_ONCE)

        async def read(kind: str) -> list[Packed]:
            async with room:
                return await self.read(kind)

        return dict(zip(kinds, await asyncio.gather(*map(read, kinds)), strict=True))

    async def read_secrets(self, stored: Iterable[Stored]) -> list[Packed]:
        """Those that the objects refer to, one by one."""
        (source,) = self._sources("Secret")
        names = sorted({name for one in stored for name in _secrets_in(one.document)})
        items = await asyncio.gather(*(self._writer.find(source, name) for name in names))
        return [pack(source, item) for item in items if item is not None]


def joined(parts: Iterable[Packed]) -> list[Stored]:
    """One object for each name, by name."""
    by_name: dict[str, list[Packed]] = {}
    for one in sorted(parts, key=lambda one: (one.name, one.source.rank)):
        by_name.setdefault(one.name, []).append(one)
    return [join(found) for found in by_name.values()]


def by_source(parts: Mapping[str, Iterable[Packed]]) -> dict[Source, dict[str, int]]:
    """What changes when somebody writes an object, by source and name."""
    seen: dict[Source, dict[str, int]] = {}
    for found in parts.values():
        for one in found:
            seen.setdefault(one.source, {})[one.name] = fingerprint(one)
    return seen


def by_kind(seen: Mapping[Source, Mapping[str, int]]) -> Reading:
    """The same by kind and name: all that its sources say of an object."""
    kinds: dict[str, dict[str, tuple[int, ...]]] = {}
    for source in sorted(seen, key=lambda one: one.rank):
        objects = kinds.setdefault(source.kind, {})
        for name, mark in seen[source].items():
            objects[name] = (*objects.get(name, ()), source.rank, mark)
    return kinds


def _secrets_in(value: Any) -> Iterator[str]:
    """The names in every secretKeyRef of a document."""
    if isinstance(value, dict):
        for field, inner in value.items():
            if field == "secretKeyRef" and isinstance(inner, dict) and isinstance(inner.get("name"), str):
                yield inner["name"]
            else:
                yield from _secrets_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _secrets_in(inner)
