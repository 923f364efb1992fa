"""IPAM's documents in the store: read, and written by compare-and-swap only.

A write that is lost raises `Lost`, whatever the engine calls it: somebody wrote, deleted or made the object in between.
Who catches it reads again and decides anew, at most `TRIES` times.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

from ipam.block_order import block_name
from ipam.errors import StoreBusy, Unreadable
from ipam.requests import Declared
from peering.resource import Resource
from peering.resources.fields import Spec
from peering.resources.ipam import IPAMBlockSpec
from peering.store.protocol import Conflict, NotFound, Store
from peering.store.resources import load, to_resource

#: How often a compare-and-swap is tried, as often as Calico does.
TRIES = 100

#: Kinds that keep addresses from being given. A pool that cannot be read gives none, and needs no such care.
_LIMITING = ("IPReservation", "IPAMConfiguration")
#: What the admin declares about addresses.
RULES = ("IPPool", *_LIMITING)


class Lost(Exception):
    """The document is no longer the one that was read."""


async def read(store: Store, kind: str, name: str) -> Resource | None:
    """The resource, None when there is none. Raises Unreadable."""
    try:
        stored = await store.get(kind, name)
    except NotFound:
        return None
    found = to_resource(stored)
    if isinstance(found, Resource):
        return found
    raise Unreadable(f"{kind}/{name} cannot be read; a newer version may have written it: {found[0].line()}")


async def read_block(store: Store, cidr: str) -> Resource | None:
    """The block's IPAMBlock."""
    return await read(store, "IPAMBlock", block_name(cidr))


async def read_rules(store: Store) -> list[Resource]:
    """The resources of the kinds `RULES`. Raises Unreadable when one cannot be read that may limit what is given."""
    resources, _, problems = await load(store, RULES)
    limiting = [problem for problem in problems if problem.object.startswith(_LIMITING)]
    if limiting:
        raise Unreadable(f"no address is given while {limiting[0].object} cannot be read: {limiting[0].line()}")
    return resources


async def read_declared(store: Store, node: str) -> Declared:
    """What the admin declared, for allocations on the node. Raises Unreadable."""
    resources = await read_rules(store)
    found = await read(store, "Node", node)
    return Declared.of(node, found.labels if found is not None else {}, resources)


async def create(store: Store, kind: str, name: str, spec: Spec) -> Resource:
    """A new object. Raises Lost when there is one."""
    resource = Resource(kind, name, spec)
    try:
        stored = await store.create(kind, name, resource.to_document())
    except Conflict as error:
        raise Lost from error
    return replace(resource, version=stored.version)


async def write(store: Store, resource: Resource, spec: Spec) -> Resource:
    """The object with another spec. Raises Lost."""
    changed = _as(resource, spec, resource.version)
    try:
        stored = await store.update(resource.kind, resource.name, changed.to_document(), resource.version)
    except (Conflict, NotFound) as error:
        raise Lost from error
    return _as(resource, spec, stored.version)


def _as(resource: Resource, spec: Spec, version: int) -> Resource:
    """`replace`, which takes some microseconds, in the place that every pod passes four times."""
    return Resource(resource.kind, resource.name, spec, resource.labels, resource.annotations, version)


async def write_numbered(store: Store, resource: Resource, spec: Spec) -> Resource:
    """`write` of a spec with a sequence, which becomes the version that is replaced: the document always changes."""
    return await write(store, resource, spec.model_copy(update={"sequence": resource.version}))


async def delete(store: Store, resource: Resource) -> None:
    """The object goes. Raises Lost."""
    try:
        await store.delete(resource.kind, resource.name, resource.version)
    except (Conflict, NotFound) as error:
        raise Lost from error


class BlockCopies:
    """Blocks as they were last read or written here, so that most writes need no read before them.

    A copy may be old. It is only good for writing onto it: if that succeeds, the copy was still the block.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._copies: dict[str, Resource] = {}

    async def get(self, cidr: str) -> Resource | None:
        """The block, read only if there is no copy."""
        known = self._copies.get(cidr)
        return known if known is not None else await self.read(cidr)

    async def read(self, cidr: str) -> Resource | None:
        """The block as it is now."""
        found = await read_block(self._store, cidr)
        self._copies.pop(cidr, None)
        if found is not None:
            self._copies[cidr] = found
        return found

    def forget(self, cidr: str) -> None:
        """The next `get` reads the block."""
        self._copies.pop(cidr, None)

    async def write(self, block: Resource, spec: IPAMBlockSpec) -> Resource:
        """Compare-and-swap of the block. Raises Lost; whatever fails, the copy is forgotten."""
        self._copies.pop(spec.cidr, None)
        self._copies[spec.cidr] = written = await write_numbered(self._store, block, spec)
        return written


def block_of(resource: Resource) -> IPAMBlockSpec:
    """The spec of an IPAMBlock."""
    return cast(IPAMBlockSpec, resource.spec)


def tries(what: str) -> Iterator[int]:
    """Counts the tries of a compare-and-swap; raises StoreBusy after the last."""
    yield from range(TRIES)
    raise StoreBusy(f"{what} was changed by others {TRIES} times in a row: try again")
