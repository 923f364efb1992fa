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
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from ipam.block import node_of
from peering.problems import Problem
from peering.resource import Resource
from peering.resources.ipam import Allocation, IPAMBlockSpec, IPAMHandleSpec
from peering.resources.node import NodeSpec
from peering.store.protocol import Store, Stored
from peering.store.resources import to_resource

#: Between two turns of others.
_AT_ONCE = 100
#: Of a Node only its name is asked for, of no object its labels.
_NODE = NodeSpec()
_NONE: Mapping[str, str] = {}


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
        return _Other(stored.version, parsed)

    def _block(self, stored: Stored, parsed: Resource) -> _Block:
        spec = cast(IPAMBlockSpec, parsed.spec)
        owner = node_of(spec)
        plain = [a for a in spec.allocations if _is_plain(a, owner)]
        rest = (a for a in spec.allocations if not _is_plain(a, owner))
        trimmed = spec.model_copy(update={"allocations": (*plain[:1], *rest)})
        handles = tuple(self._same_text(a.handle) for a in plain)
        return _Block(stored.version, Resource("IPAMBlock", stored.name, trimmed, _NONE, _NONE), handles)

    def _same_text(self, handle: str) -> str:
        """The text that the IPAMHandle has, where there is one: there are as many as pods."""
        fact = self._facts.get("IPAMHandle", {}).get(handle)
        return fact.handle if isinstance(fact, _Handle) and fact.handle == handle else handle

    def _others(self) -> Iterator[Resource | list[Problem]]:
        return (fact.parsed for facts in self._facts.values() for fact in facts.values() if isinstance(fact, _Other))

    async def _resources(self, stored: Iterable[Stored], *, whole: bool) -> AsyncIterator[Resource]:
        others = [one for one in self._others() if isinstance(one, Resource)]
        nodes = {one.name for one in others if one.kind == "Node"}
        left_out = set[str]() if whole else self._in_order()
        for one in others:
            yield one
        async for block in _in_turns(stored):
            fact = self._facts["IPAMBlock"][block.name]
            if not isinstance(fact, _Block):
                continue
            if node_of(cast(IPAMBlockSpec, fact.resource.spec)) in nodes and left_out.issuperset(fact.plain):
                left_out.difference_update(fact.plain[:1])
                yield fact.resource
            else:
                left_out.difference_update(fact.plain)
                yield cast(Resource, to_resource(block))
        for name, handle in self._facts["IPAMHandle"].items():
            if isinstance(handle, _Handle) and handle.handle not in left_out:
                spec = IPAMHandleSpec.model_construct(handle=handle.handle, blocks=handle.blocks)
                yield Resource("IPAMHandle", name, spec, version=handle.version)

    def _in_order(self) -> set[str]:
        """Handles that promise the one block in which they have addresses, all of them its owner's."""
        promised = {one.handle: one.blocks for one in self._facts["IPAMHandle"].values() if isinstance(one, _Handle)}
        found: dict[str, str] = {}
        elsewhere: set[str] = set()
        for fact in self._facts["IPAMBlock"].values():
            if isinstance(fact, _Block):
                spec = cast(IPAMBlockSpec, fact.resource.spec)
                elsewhere.update(a.handle for a in spec.allocations if a.handle not in fact.plain[:1])
                elsewhere.update(handle for handle in fact.plain if found.setdefault(handle, spec.cidr) != spec.cidr)
        return {handle for handle, cidr in found.items() if promised.get(handle) == (cidr,)} - elsewhere


def _is_plain(allocation: Allocation, owner: str) -> bool:
    """Whether the address is in use by the owner of its block, by a handle."""
    return bool(allocation.handle) and not allocation.borrowed and allocation.node in ("", owner)


async def _in_turns(objects: Iterable[Stored]) -> AsyncIterator[Stored]:
    for number, stored in enumerate(objects):
        if not number % _AT_ONCE:
            await asyncio.sleep(0)
        yield stored
