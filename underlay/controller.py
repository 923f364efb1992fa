"""`underlay controller`: what nobody else owns. Frees the blocks of nodes that are gone and keeps rendered
switch configurations current.

Both follow the store: a change triggers a look, and blocks whose node is missing are looked at again when
their grace time is over. Rendered files are replaced as a whole per switch, and only when their bytes change;
those of a switch that is deleted are removed; when the plan has errors the last good files stay.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from fabric_templates.render import RenderRefused, render, secret_files
from ipam.collector import Collector
from peering.compile import Compiler
from peering.problems import errors
from peering.resources.catalog import PLAN_KINDS
from peering.snapshot import Snapshot
from peering.store.passwords import all_sessions, references, resolve
from peering.store.protocol import Store, StoreError
from peering.store.resources import load
from underlay.rendered_folder import RenderedFolder

Log = Callable[[str], None]

_WATCHED = (*PLAN_KINDS, "Secret", "BlockAffinity", "IPAMBlock", "IPAMHandle")
_RETRY_S = 1.0


class Controller:
    """One controller per store; two would do the same work twice and harm nothing."""

    def __init__(self, store: Store, log: Log, grace: float, render_to: Path | None, with_secrets: bool) -> None:
        self._store = store
        self._log = log
        self._collector = Collector(store, grace)
        self._rendered = RenderedFolder(render_to, log) if render_to is not None else None
        self._with_secrets = with_secrets
        self._compiler = Compiler()
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Works until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            group.create_task(self._work())

    async def _watch(self) -> None:
        while True:
            try:
                _, since = await self._store.snapshot(())
                self._changed.set()
                async for _ in self._store.watch(_WATCHED, since):
                    self._changed.set()
            except (StoreError, OSError) as error:
                self._log(f"store: {error} (watching again)")
            await asyncio.sleep(_RETRY_S)

    async def _work(self) -> None:
        while True:
            next_look = None
            try:
                next_look = await self._collect()
                await self._render()
            except (StoreError, OSError) as error:
                self._log(f"{error} (trying again)")
                next_look = time.monotonic() + _RETRY_S
            await self._wait_until(next_look)

    async def _wait_until(self, moment: float | None) -> None:
        try:
            async with asyncio.timeout_at(moment):
                await self._changed.wait()
        except TimeoutError:
            pass
        self._changed.clear()

    async def _collect(self) -> float | None:
        for freed in await self._collector.collect(time.monotonic()):
            self._log(freed.said)
        return self._collector.next_observation(time.monotonic())

    async def _render(self) -> None:
        if self._rendered is None:
            return
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
            if self._rendered.keep(name, files, secret_files(switch) if passwords else ()):
                self._log(f"rendered Switch/{name}")
        self._rendered.remove_all_but(compiled.switches)
