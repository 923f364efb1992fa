"""`underlay controller`: what nobody else owns. Frees what of IPAM nobody stands for any more, keeps rendered switch
configurations current, and in a cluster the statuses of what is declared and the addresses of Services.

All follow the store, each what concerns it. A block is written for every pod that comes or goes, and each look reads
all blocks, so two looks at IPAM are some seconds apart, and further where they take long; what was found is looked at
again when its grace time is over. Rendered files are replaced as a whole per switch, and only when their bytes
change; those of a switch that is deleted are removed; when the plan has errors the last good files stay. Of statuses
see statuses.py, of Services ipam/service_addresses.py.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fabric_templates.render import RenderRefused, render, secret_files
from ipam.collector import KINDS as COLLECTED_KINDS
from ipam.collector import LEAK_GRACE_S, Collector
from ipam.errors import IpamError
from ipam.service_addresses import WATCHED as ADDRESSED_KINDS
from ipam.service_addresses import ServiceAddresses, concerns
from peering.compile import Compiler
from peering.problems import errors
from peering.resources.catalog import PLAN_KINDS
from peering.resources.observed import RENEWAL_S
from peering.snapshot import Snapshot
from peering.store.passwords import all_sessions, references, resolve
from peering.store.protocol import Store, StoreError
from peering.store.resources import load
from underlay.controller_metrics import ControllerState
from underlay.rendered_folder import RenderedFolder
from underlay.statuses import WATCHED, Statuses

Log = Callable[[str], None]

_PLANNED = frozenset((*PLAN_KINDS, "Secret"))
_COLLECTED = frozenset(COLLECTED_KINDS)
_RETRY_S = 1.0
_LEASE = "underlay-controller"
#: Seconds between two looks at IPAM when nothing but changes asks for one.
_COLLECT_PAUSE_S = 5.0
#: After a change as much is waited for others that come with it.
_SETTLE_S = 1.0
#: Between two looks at Services: those that come together are served together.
_ADDRESS_PAUSE_S = 0.1
#: Between two looks for what was written past the store's engine.
_ORDER_PAUSE_S = 60.0
#: Between two looks at statuses so many times as long as a look takes, within these bounds.
_STATUS_PAUSES, _STATUS_PAUSE_S, _LONGEST_STATUS_PAUSE_S = 10, 10.0, 30.0


@dataclass(frozen=True, slots=True)
class Graces:
    """Seconds for which something must be left over before it is freed; `leak` is for addresses."""

    node: float
    leak: float = LEAK_GRACE_S


class Controller:
    """Of several in a cluster one works, the others wait. On one machine two do the same twice and harm nothing."""

    def __init__(self, store: Store, log: Log, graces: Graces, render_to: Path | None, with_secrets: bool) -> None:
        self._store = store
        self._log = log
        self._collector = Collector(store, graces.node, graces.leak)
        self._rendered = RenderedFolder(render_to, log) if render_to is not None else None
        self._with_secrets = with_secrets
        self._compiler = Compiler()
        self._statuses: Statuses | None = None
        self._watched = _PLANNED | _COLLECTED | (WATCHED | ADDRESSED_KINDS if store.keeps_statuses else frozenset())
        self._to_address = asyncio.Event()
        self._to_collect, self._to_render, self._to_tell = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._said: dict[str, str] = {}
        self._leads, self._freed = False, 0

    @property
    def state(self) -> ControllerState:
        """What it is at, for metrics."""
        return ControllerState(self._leads, self._freed, len(self._said))

    async def run(self) -> None:
        """Works until cancelled, whenever this is the one of several controllers that leads."""
        while True:
            with self._healing("leading"):
                async with self._store.leading(_LEASE):
                    self._said.pop("leading", None)
                    self._leads = True
                    try:
                        await self._lead()
                    finally:
                        self._leads = False
            await asyncio.sleep(_RETRY_S)

    async def _lead(self) -> None:
        # Another one may have led meanwhile: what this one has written before is not what is there.
        self._statuses = Statuses(self._store) if self._store.keeps_statuses else None
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            group.create_task(self._collect_again_and_again())
            if self._rendered is not None:
                group.create_task(self._render_again_and_again(self._rendered))
            if self._statuses is not None:
                group.create_task(self._tell_again_and_again(self._statuses))
                group.create_task(self._put_in_order_again_and_again())
                group.create_task(self._address_again_and_again(ServiceAddresses(self._store, self._log)))

    async def _watch(self) -> None:
        while True:
            with self._healing("watching"):
                _, since = await self._store.snapshot(())
                self._said.pop("watching", None)
                self._notice(self._watched)
                self._to_address.set()
                async for changes in self._store.watch(self._watched, since):
                    self._notice({change.kind for change in changes})
                    if self._statuses is not None and concerns(changes):
                        self._to_address.set()
            await asyncio.sleep(_RETRY_S)

    def _notice(self, kinds: AbstractSet[str]) -> None:
        if kinds & _COLLECTED:
            self._to_collect.set()
        if kinds & _PLANNED:
            self._to_render.set()
        if self._statuses is not None and kinds & WATCHED:
            self._statuses.notice(kinds)
            self._to_tell.set()

    @contextmanager
    def _healing(self, doing: str) -> Iterator[None]:
        """A failure that may heal ends the block, and is said once for as long as it lasts."""
        try:
            yield
        except (StoreError, IpamError, OSError) as error:
            if str(error) not in self._said.values():
                self._log(f"{error} (trying again)")
            self._said[doing] = str(error)
        else:
            self._said.pop(doing, None)

    async def _collect_again_and_again(self) -> None:
        while True:
            self._to_collect.clear()
            began = time.monotonic()
            due = began + _RETRY_S
            with self._healing("collecting"):
                for freed in await self._collector.collect(began):
                    self._log(freed.said)
                    self._freed += 1
                due = self._collector.next_observation(time.monotonic()) or math.inf
            took = time.monotonic() - began
            await asyncio.sleep(min(max(_COLLECT_PAUSE_S, took), max(due - time.monotonic(), took)))
            await _set_or_due(self._to_collect, due)

    async def _tell_again_and_again(self, statuses: Statuses) -> None:
        """That a report does not come any more is noticed, too."""
        while True:
            self._to_tell.clear()
            began = due = time.monotonic()
            with self._healing("statuses"):
                await statuses.write(time.time(), began)
                due = math.inf
            took = time.monotonic() - began
            await asyncio.sleep(min(max(_STATUS_PAUSE_S, _STATUS_PAUSES * took), _LONGEST_STATUS_PAUSE_S))
            await _set_or_due(self._to_tell, min(due, time.monotonic() + RENEWAL_S))
            await asyncio.sleep(_SETTLE_S)

    async def _address_again_and_again(self, addresses: ServiceAddresses) -> None:
        while True:
            self._to_address.clear()
            began = time.monotonic()
            due = began + _RETRY_S
            with self._healing("addresses of Services"):
                due = began + await addresses.look()
            await asyncio.sleep(max(_ADDRESS_PAUSE_S, time.monotonic() - began))
            await _set_or_due(self._to_address, due)

    async def _put_in_order_again_and_again(self) -> None:
        while True:
            with self._healing("putting in order"):
                for said in await self._store.put_in_order():
                    self._log(said)
            await asyncio.sleep(_ORDER_PAUSE_S)

    async def _render_again_and_again(self, folder: RenderedFolder) -> None:
        while True:
            await self._to_render.wait()
            self._to_render.clear()
            with self._healing("rendering"):
                await self._render(folder)
                continue
            await asyncio.sleep(_RETRY_S)
            self._to_render.set()

    async def _render(self, folder: RenderedFolder) -> None:
        resources, _, unreadable = await load(self._store, (*PLAN_KINDS, "Secret"))
        compiled = self._compiler.plan(Snapshot(resources))
        wrong = errors([*unreadable, *compiled.problems])
        if wrong:
            self._log(f"the plan has {len(wrong)} errors: rendered files stay as they are")
            return
        passwords = None
        if self._with_secrets:
            passwords = await resolve(self._store, references(all_sessions(compiled)))
        for name, switch in compiled.switches.items():
            try:
                files = render(name, switch, passwords=passwords)
            except RenderRefused as refused:
                self._log(f"Switch/{name} stays as it is: {refused}")
                continue
            if folder.keep(name, files, secret_files(switch) if passwords else ()):
                self._log(f"rendered Switch/{name}")
        folder.remove_all_but(compiled.switches)


async def _set_or_due(event: asyncio.Event, due: float) -> None:
    """Until the event is set, or a moment of the monotonic clock."""
    with suppress(TimeoutError):
        async with asyncio.timeout_at(None if due == math.inf else due):
            await event.wait()
