"""Resources in a store: the validated view that the rooms work with.

A document that cannot be read any more (written by a newer version, or by hand) is reported and left out;
it never stops the others.
"""

from __future__ import annotations

from collections.abc import Iterable

from peering.problems import Problem
from peering.resource import Resource, parse_resource
from peering.store.protocol import NotFound, Store, Stored


def to_resource(stored: Stored) -> Resource | list[Problem]:
    return parse_resource(stored.document, f"{stored.kind}/{stored.name}", stored.version)


async def load(store: Store, kinds: Iterable[str]) -> tuple[list[Resource], int, list[Problem]]:
    """The resources of the kinds, the version to watch from, and the problems of unreadable ones."""
    return await Loader(store).load(kinds)


class Loader:
    """Loads again and again: what was read before and is still the same version is the same object, not read anew."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: dict[tuple[str, str], tuple[int, Resource | list[Problem]]] = {}

    async def load(self, kinds: Iterable[str]) -> tuple[list[Resource], int, list[Problem]]:
        """As the function `load`. What this call does not find is forgotten."""
        objects, version = await self._store.snapshot(kinds)
        self._read = {(stored.kind, stored.name): self._known(stored) for stored in objects}
        resources: list[Resource] = []
        problems: list[Problem] = []
        for _, parsed in self._read.values():
            if isinstance(parsed, Resource):
                resources.append(parsed)
            else:
                problems += parsed
        return resources, version, problems

    def _known(self, stored: Stored) -> tuple[int, Resource | list[Problem]]:
        """A version is given once in the life of a store, to one document of one object."""
        known = self._read.get((stored.kind, stored.name))
        if known is None or known[0] != stored.version:
            known = (stored.version, to_resource(stored))
        return known


async def find(store: Store, kind: str, name: str) -> Resource | None:
    """The resource, or None when there is none or it cannot be read."""
    try:
        parsed = to_resource(await store.get(kind, name))
    except NotFound:
        return None
    return parsed if isinstance(parsed, Resource) else None


async def put(store: Store, resource: Resource) -> Resource:
    """Creates the resource, or replaces whatever has its name."""
    document = resource.to_document()
    try:
        stored = await store.update(resource.kind, resource.name, document)
    except NotFound:
        stored = await store.create(resource.kind, resource.name, document)
    parsed = to_resource(stored)
    assert isinstance(parsed, Resource)
    return parsed
