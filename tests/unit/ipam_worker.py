"""Processes of IPAM that never rest, until they are killed: they allocate, release, claim, borrow and collect.

Each worker has handles of its own, about which it writes down what it asks and what it is told, and finds wrong what
does not fit. Beside them it works on handles that all workers share, on some that nobody ever releases, and on blocks.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import astuple
from pathlib import Path

from ipam.allocator import Allocator, Given
from ipam.claims import confirmed_blocks, release_block
from ipam.collector import Collector
from ipam.errors import IpamError
from ipam.new_blocks import ensure_blocks
from ipam.requests import Request
from peering.resource import Resource
from peering.resources.ipam import Allocation
from peering.resources.node import NodeSpec
from peering.store.resources import load
from peering.store.sqlite import SqliteStore
from tests.unit.ipam_told import Log, Told

OWN_HANDLES = 3
SHARED = ("shared-0", "shared-1")
ADDRESSES = 32
GRACE, LEAK_GRACE = 0.02, 0.05
_CLOCKS = (0, 0, 70, 100_000, -100_000)
_FAMILIES = ((1, 0), (1, 1), (2, 0), (0, 1))


def is_gone(allocation: Allocation) -> bool:
    """Whose containers are gone, as a node would know it."""
    return allocation.handle.startswith("orphan-")


class Worker:
    """One life of one process of a node. `told` is what its earlier lives have left."""

    def __init__(self, path: Path, name: str, node: str, told: Told, log: Log, seed: int) -> None:
        self._store = SqliteStore(path)
        self._name = name
        self._node = node
        self._told = told
        self._unfinished = told.next_life()
        self._log = log
        self._random = random.Random(seed)
        self._offset = self._random.choice(_CLOCKS)
        self._allocator = Allocator(self._store, node, self._clock)
        self._orphans = 0
        self._parent = os.getppid()

    async def live(self) -> None:
        """Never ends by itself, unless the parent has."""
        await self._go_on()
        while os.getppid() == self._parent:
            action = self._random.choices(
                (self._ask, self._free, self._free_address, self._free_stale, self._share, self._leave, self._blocks),
                (8, 4, 2, 2, 3, 1, 3),
            )[0]
            await action()

    async def _go_on(self) -> None:
        """What was asked in the life before is asked again, or its handle is released, until it is sure what it holds.

        A request that is refused now leaves what it took in the life before.
        """
        if self._unfinished is not None and self._unfinished[0] == "ask" and self._random.random() < 0.5:
            await self._allocate(*self._unfinished[1:])
        for handle in sorted(self._told.unsure):
            await self._release(handle, sure=False)

    async def _ask(self) -> None:
        sticky = () if self._random.random() < 0.8 else (f"10.0.0.{self._random.randrange(ADDRESSES)}",)
        await self._allocate(self._own_handle(), self._random.choice(_FAMILIES), sticky)

    async def _free(self) -> None:
        await self._release(self._own_handle(), sure=True)

    async def _free_address(self) -> None:
        handle = self._own_handle()
        if not self._told.of(handle):
            return
        gift = self._random.choice(sorted(self._told.of(handle), key=str))
        self._log("free_address", handle, astuple(gift))
        if not await self._allocator.release_address(gift):
            self._log("wrong", f"{gift} of {handle} was held, and its release freed nothing")
        self._told.held[handle] = self._told.of(handle) - {gift}
        self._told.past.append(gift)
        self._log("freed", handle, [astuple(gift)])

    async def _free_stale(self) -> None:
        if self._told.past:
            gift = self._random.choice(self._told.past)
            self._log("work", f"a stale release of {gift}")
            if await self._allocator.release_address(gift):
                self._log("wrong", f"a stale release of {gift} freed something")
            self._log("worked")

    async def _share(self) -> None:
        handle = self._random.choice(SHARED)
        if self._random.random() < 0.6:
            await self._work(lambda: self._allocator.allocate(Request(handle)), f"allocate {handle}")
        else:
            await self._work(lambda: self._allocator.release(handle), f"release {handle}")

    async def _leave(self) -> None:
        """An address that only the collector can free."""
        self._orphans += 1
        handle = f"orphan-{self._name}-{self._orphans}"
        await self._work(lambda: self._allocator.allocate(Request(handle)), f"allocate {handle}")

    async def _blocks(self) -> None:
        if self._random.random() < 0.5:
            await self._work(self._ensure, "claim blocks")
        else:
            await self._work(self._let_go, "release a block")

    async def _ensure(self) -> None:
        pools = (await load(self._store, ["IPPool"]))[0]
        await ensure_blocks(self._store, Resource("Node", self._node, NodeSpec()), pools, self._clock())

    async def _let_go(self) -> None:
        blocks = await confirmed_blocks(self._store, self._node)
        if blocks:
            await release_block(self._store, self._node, self._random.choice(blocks))

    async def _work(self, work: Callable[[], Awaitable[object]], what: str) -> None:
        self._log("work", what)
        try:
            await work()
        except IpamError:
            pass
        self._log("worked")

    async def _allocate(self, handle: str, families: tuple[int, int], addresses: tuple[str, ...]) -> None:
        self._log("ask", handle, families, addresses)
        try:
            given = await self._allocator.allocate(Request(handle, *families, "default", handle, addresses=addresses))
        except IpamError as error:
            self._log("refused", handle, error.code)
            return
        self._log("given", handle, [astuple(one) for one in given])
        self._told.unsure.discard(handle)
        self._judge(handle, families, addresses, given)
        self._told.held[handle] = self._told.of(handle) | set(given)

    def _judge(self, handle: str, families: tuple[int, int], addresses: tuple[str, ...], given: list[Given]) -> None:
        asked = {version for version, count in zip((4, 6), families, strict=True) if count}
        if addresses:
            asked.discard(4)
        kept = {one for one in self._told.of(handle) if (6 if ":" in one.address else 4) in asked}
        if not kept <= set(given):
            self._log("wrong", f"{handle} had {sorted(map(str, kept))}, and was told {sorted(map(str, given))}")
        if not set(addresses) <= {one.address for one in given}:
            self._log("wrong", f"{handle} asked for {addresses}, and was told {sorted(map(str, given))}")

    async def _release(self, handle: str, *, sure: bool) -> None:
        """`sure` is whether what the handle holds is known exactly."""
        held = self._told.of(handle)
        self._log("free", handle)
        freed = await self._allocator.release(handle)
        if sure and sorted(freed) != sorted(one.address for one in held):
            self._log("wrong", f"{handle} held {sorted(map(str, held))}, and its release freed {sorted(freed)}")
        self._told.unsure.discard(handle)
        self._told.held[handle] = frozenset()
        self._told.past += held
        self._log("freed", handle, [astuple(one) for one in held])

    def _own_handle(self) -> str:
        return f"own-{self._name}-{self._random.randrange(OWN_HANDLES)}"

    def _clock(self) -> float:
        return time.time() + self._offset


async def collect_for_ever(path: Path, log: Log, seed: int) -> None:
    """The collector, with graces that are short; some of its clocks are wrong."""
    store, parent = SqliteStore(path), os.getppid()
    offset = random.Random(seed).choice(_CLOCKS)
    collector = Collector(store, GRACE, LEAK_GRACE, is_gone, lambda: time.time() + offset)
    while os.getppid() == parent:
        log("work", "collect")
        await collector.collect(time.monotonic())
        log("worked")
        await asyncio.sleep(0.002)
