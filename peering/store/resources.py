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
    objects, version = await store.snapshot(kinds)
    resources: list[Resource] = []
    problems: list[Problem] = []
    for stored in objects:
        parsed = to_resource(stored)
        if isinstance(parsed, Resource):
            resources.append(parsed)
        else:
            problems += parsed
    return resources, version, problems


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
