"""A node's drain in the agent: the state of draining.py, and the blocks that are in use, which only a drain asks for.

Blocks are watched while a drain is wanted and no longer: each pod writes them. One that was not read, or cannot be,
counts as used. Of podCIDRs the store does not know; who serves the node's pods is asked every second, if anybody does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import cast

from bgp_speaker import draining
from bgp_speaker.draining import SERVING, Draining, Held, Phase
from bgp_speaker.node_view import NodeView
from bgp_speaker.reconciler import WILL_HEAL, Log
from peering.drain_wish import DrainWish
from peering.resources.ipam import IPAMBlockSpec
from peering.store.protocol import Store
from peering.store.resources import Loader

#: Of a node's podCIDRs those in which no pod has an address. May read a disk.
UnusedPodCidrs = Callable[[Iterable[str]], frozenset[str]]

_KINDS = ("IPAMBlock",)
_RETRY_S = 1.0
_LOOK_S = 1.0


def nobody_knows(_: Iterable[str]) -> frozenset[str]:
    """Where another's plugins serve the node's pods."""
    return frozenset()


class NodeDrain:
    """`changed` is called when other blocks are in use."""

    def __init__(
        self,
        store: Store,
        node: str,
        changed: Callable[[], None],
        log: Log,
        unused_pod_cidrs: UnusedPodCidrs = nobody_knows,
    ) -> None:
        self._store = store
        self._node = node
        self._changed = changed
        self._log = log
        self._ask = unused_pod_cidrs
        self._wish = DrainWish()
        self._state = SERVING
        self._wanted, self._over = asyncio.Event(), asyncio.Event()
        self._unused: frozenset[str] = frozenset()
        self._pod_cidrs: tuple[str, ...] = ()
        self._unused_pod_cidrs: frozenset[str] = frozenset()

    @property
    def phase(self) -> Phase:
        return self._state.phase

    @property
    def shuts_down(self) -> bool:
        """Whether what is announced is to be the last resort."""
        return self._state.phase != "serving"

    def follow(self, wish: DrainWish, pod_cidrs: tuple[str, ...] = ()) -> bool:
        """What is wanted now of a node with these podCIDRs; whether the phase is another one by it."""
        self._wish, self._pod_cidrs = wish, pod_cidrs
        self._unused_pod_cidrs &= frozenset(pod_cidrs)
        if wish.extent:
            self._over.clear()
            self._wanted.set()
        else:
            self._wanted.clear()
            self._over.set()
            self._unused = self._unused_pod_cidrs = frozenset()
        return self._become(draining.wanted(self._state, wish.extent is not None))

    def told(self, *, everybody: bool, now: float) -> None:
        """The peers that are up were told what is announced now, or one came up that was not. Monotonic seconds."""
        self._become(draining.told(self._state, everybody=everybody, now=now))

    def tick(self, now: float) -> bool:
        """Whether the phase is another one by the time that passed."""
        return self._become(draining.passed(self._state, self._wish.settle, now))

    def announced(self, view: NodeView) -> Held:
        """What the node announces in this phase."""
        held = Held(view.blocks, view.borrowed, (*view.services.ranges, *view.services.addresses))
        if self.phase != "drained":
            return held
        return draining.left(held, self._wish.extent, self._unused | self._unused_pod_cidrs, view.services.shared)

    def kept(self, view: NodeView) -> tuple[str, ...]:
        """What a drained node announces still."""
        held = self.announced(view) if self.phase == "drained" else Held()
        return (*held.blocks, *held.borrowed, *held.services)

    async def run(self) -> None:
        """Keeps what is in use current while a drain is wanted. Never returns."""
        while True:
            await self._wanted.wait()
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(work()) for work in (self._watch_again_and_again, self._look_again_and_again)
                ]
                await self._over.wait()
                for task in tasks:
                    task.cancel()

    async def _watch_again_and_again(self) -> None:
        said = ""
        while True:
            try:
                await self._watch()
            except WILL_HEAL as error:
                if str(error) != said:
                    said = str(error)
                    self._log(f"drain: {error} (watching again)")
            await asyncio.sleep(_RETRY_S)

    async def _look_again_and_again(self) -> None:
        while True:
            pod_cidrs = self._pod_cidrs
            unused = await asyncio.to_thread(self._ask, pod_cidrs)
            if pod_cidrs == self._pod_cidrs and unused != self._unused_pod_cidrs:
                self._unused_pod_cidrs = unused
                self._changed()
            await asyncio.sleep(_LOOK_S)

    async def _watch(self) -> None:
        loader = Loader(self._store)
        since = await self._read(loader)
        async for _ in self._store.watch(_KINDS, since):
            await self._read(loader)

    async def _read(self, loader: Loader) -> int:
        resources, since, _ = await loader.load(_KINDS)
        unused = draining.unused_blocks((cast(IPAMBlockSpec, one.spec) for one in resources), self._node)
        if unused != self._unused:
            self._unused = unused
            self._changed()
        return since

    def _become(self, state: Draining) -> bool:
        before, self._state = self._state, state
        return before.phase != state.phase
