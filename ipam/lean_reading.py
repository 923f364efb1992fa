"""The collector's reading of a large cluster, without what is in order: nothing of that can be left over.

Almost every address is in use by the node that owns its block, and held by a handle that promises this block and no
other. For such an address nothing but its handle is remembered. Its block is read with one of them in place of all,
so that it is not empty, and the handles of the others are not read at all. What leftovers.py finds is the same: its
rules look at one handle, at one borrower, or at whether a block is empty. Where anything about a block is not in order,
it is read whole, with all of its handles.

Documents are parsed once for each version and not kept; parsed, a cluster of 5,000 nodes with 30 pods each takes
400 MiB. Between them others get their turns: the first time takes many seconds, and a Lease is to be renewed meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

from ipam.block import node_of
from peering.problems import Problem
from peering.resource import Resource
from peering.resources.fields import Spec
from peering.resources.ipam import Allocation, BlockAffinitySpec, IPAMBlockSpec, IPAMHandleSpec
from peering.resources.node import NodeSpec
from peering.store.protocol import Store, Stored
from peering.store.resources import to_resource

#: Between two turns of others.
_AT_ONCE = 100
#: Of a Node only its name is asked for, of no object its labels.
_NODE = NodeSpec()
_NONE: Mapping[str, str] = {}
#: Nobody asks what was written of an object and what is a default; a set for each takes more than the rest of it.
_NOT_SAID: set[str] = set()
S = TypeVar("S", bound=Spec)


@dataclass(frozen=True, slots=True)
class _Handle:
    """What an IPAMHandle says."""

    version: int
    handle: str
    blocks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Block:
    """An IPAMBlock. Of the addresses with the handles in `plain`, which its owner uses, `resource` has the first."""

    version: int
    resource: Resource
    plain: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Other:
    """Any other object, or one that cannot be read."""

    version: int
    parsed: Resource | list[Problem]


_Fact = _Handle | _Block | _Other


class LeanReader:
    """Reads again and again, and remembers what did not change."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._facts: dict[str, dict[str, _Fact]] = {}
        self._promises: dict[tuple[str, ...], tuple[str, ...]] = {}

    async def read(self, kinds: Sequence[str], *, whole: bool) -> tuple[list[Resource], list[Problem]]:
        """Resources for `Reading.of`, and what could not be read. With `whole` nothing is left out."""
        objects, _ = await self._store.snapshot(kinds)
        by_kind: dict[str, list[Stored]] = {kind: [] for kind in sorted(kinds, key="IPAMHandle".__ne__)}
        for stored in objects:
            by_kind[stored.kind].append(stored)
        handles = (one for one in self._facts.get("IPAMHandle", {}).values() if isinstance(one, _Handle))
        self._promises = {one.blocks: one.blocks for one in handles}
        for kind, found in by_kind.items():
            known = self._facts.get(kind, {})
            self._facts[kind] = {stored.name: self._fact(known, stored) async for stored in _in_turns(found)}
        resources = [one async for one in self._resources(by_kind["IPAMBlock"], whole=whole)]
        return resources, [problem for one in self._others() if isinstance(one, list) for problem in one]

    def _fact(self, known: dict[str, _Fact], stored: Stored) -> _Fact:
        fact = known.get(stored.name)
        if fact is None or fact.version != stored.version:
            fact = self._parsed(stored)
        return fact

    def _parsed(self, stored: Stored) -> _Fact:
        parsed = to_resource(stored)
        if isinstance(parsed, Resource):
            if parsed.kind == "Node":
                parsed = Resource("Node", stored.name, _NODE, _NONE, _NONE)
            elif isinstance(parsed.spec, IPAMHandleSpec):
                handle = stored.name if parsed.spec.handle == stored.name else parsed.spec.handle
                blocks = self._promises.setdefault(parsed.spec.blocks, parsed.spec.blocks)
                return _Handle(stored.version, handle, blocks)
            elif isinstance(parsed.spec, IPAMBlockSpec):
                return self._block(stored, parsed)
            elif isinstance(parsed.spec, BlockAffinitySpec):
                parsed = Resource(parsed.kind, stored.name, _small(parsed.spec), _NONE, _NONE, stored.version)
        return _Other(stored.version, parsed)

    def _block(self, stored: Stored, parsed: Resource) -> _Block:
        spec = cast(IPAMBlockSpec, parsed.spec)
        owner = node_of(spec)
        plain = [a for a in spec.allocations if _is_plain(a, owner)]
        rest = (a for a in spec.allocations if not _is_plain(a, owner))
        trimmed = _small(spec, allocations=(*(_small(a, namespace="", pod="", since="") for a in plain[:1]), *rest))
        handles = tuple(self._same_text(a.handle) for a in plain)
        return _Block(stored.version, Resource("IPAMBlock", stored.name, trimmed, _NONE, _NONE), handles)

    def _same_text(self, handle: str) -> str:
        """The text that the IPAMHandle has, where there is one: there are as many as pods."""
        fact = self._facts.get("IPAMHandle", {}).get(handle)
        return fact.handle if isinstance(fact, _Handle) and fact.handle == handle else handle

    def _others(self) -> Iterator[Resource | list[Problem]]:
        return (fact.parsed for facts in self._facts.values() for fact in facts.values() if isinstance(fact, _Other))

    async def _resources(self, stored: Iterable[Stored], *, whole: bool) -> AsyncIterator[Resource]:
        """Tables of all handles are not made: of hundreds of thousands a Python process keeps the room for good."""
        others = [one for one in self._others() if isinstance(one, Resource)]
        nodes = {one.name for one in others if one.kind == "Node"}
        doubtful = self._doubtful()
        objects = Counter(_spec(one).cidr for one in self._facts["IPAMBlock"].values() if isinstance(one, _Block))
        trimmed: dict[str, _Block] = {}
        for one in others:
            yield one
        async for block in _in_turns(stored):
            fact = self._facts["IPAMBlock"][block.name]
            if not isinstance(fact, _Block):
                continue
            spec = _spec(fact)
            in_order = node_of(spec) in nodes and doubtful.isdisjoint(fact.plain) and objects[spec.cidr] == 1
            if in_order and not whole:
                trimmed[spec.cidr] = fact
                yield fact.resource
            else:
                yield cast(Resource, to_resource(block))
        for name, handle in self._facts["IPAMHandle"].items():
            if isinstance(handle, _Handle) and not _is_left_out(handle, trimmed):
                promise = IPAMHandleSpec.model_construct(handle=handle.handle, blocks=handle.blocks)
                yield Resource("IPAMHandle", name, promise, version=handle.version)

    def _doubtful(self) -> set[str]:
        """Handles of addresses of which not all are in order.

        In order are those of its owner in the one block that the handle promises. One that has some in two blocks
        promises another block than one of them, or both.
        """
        handles = self._facts["IPAMHandle"]
        called_otherwise = {
            one.handle: one.blocks for name, one in handles.items() if isinstance(one, _Handle) and one.handle != name
        }
        doubtful: set[str] = set()
        for fact in self._facts["IPAMBlock"].values():
            if isinstance(fact, _Block):
                spec = _spec(fact)
                doubtful.update(a.handle for a in spec.allocations if a.handle not in fact.plain[:1])
                for handle in fact.plain:
                    by_name = handles.get(handle)
                    of_name = by_name.blocks if isinstance(by_name, _Handle) and by_name.handle == handle else ()
                    if called_otherwise.get(handle, of_name) != (spec.cidr,):
                        doubtful.add(handle)
        return doubtful


def _small(spec: S, **changes: object) -> S:
    """The same with these changes, as it takes the least memory."""
    return cast(S, type(spec).model_construct(_NOT_SAID, **{**spec.__dict__, **changes}))


def _spec(block: _Block) -> IPAMBlockSpec:
    return cast(IPAMBlockSpec, block.resource.spec)


def _is_left_out(handle: _Handle, trimmed: Mapping[str, _Block]) -> bool:
    """Whether the block that it promises is read without its address."""
    block = trimmed.get(handle.blocks[0]) if len(handle.blocks) == 1 else None
    return block is not None and handle.handle in block.plain and handle.handle != block.plain[0]


def _is_plain(allocation: Allocation, owner: str) -> bool:
    """Whether the address is in use by the owner of its block, by a handle."""
    return bool(allocation.handle) and not allocation.borrowed and allocation.node in ("", owner)


async def _in_turns(objects: Iterable[Stored]) -> AsyncIterator[Stored]:
    for number, stored in enumerate(objects):
        if not number % _AT_ONCE:
            await asyncio.sleep(0)
        yield stored
