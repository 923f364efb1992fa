"""The desired sets of a reflector, from a process that follows the store (plan_worker.py). One that ends is replaced.

Whatever happens to that process or to the store, what it told last stays in force.
"""

from __future__ import annotations

import asyncio
import pickle
from asyncio.subprocess import Process
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from peering import worker_process
from reflector.desired import Desired, changed
from reflector.plan_follower import Log, NothingToRun
from reflector.plan_worker import LENGTH, LOOK

_FIRST_RETRY_S, _LAST_RETRY_S = 0.5, 30.0


class PlanProcess:
    """`store` is a URL, `folder` where the last good plan of the reflector is kept."""

    def __init__(self, store: str, name: str, folder: Path, log: Log) -> None:
        self._arguments = (store, name, str(folder))
        self._log = log
        self._process: Process | None = None

    def look(self) -> None:
        """Has the store read again."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(LOOK)

    async def run(self, tell: Callable[[Desired | NothingToRun], None]) -> None:
        """Tells each desired set until cancelled."""
        delay = _FIRST_RETRY_S
        while True:
            told = False

            def heard(message: Desired | NothingToRun) -> None:
                nonlocal told
                told = True
                tell(message)

            try:
                ended = f"status {await self._once(heard)}"
            except OSError as error:
                ended = f"cannot be started: {error.strerror}"
            delay = _FIRST_RETRY_S if told else min(2 * delay, _LAST_RETRY_S)
            self._log("plan-worker-ended", level="error", reason=ended, again_in=delay)
            await asyncio.sleep(delay)

    async def _once(self, tell: Callable[[Desired | NothingToRun], None]) -> int:
        """One process from its beginning to its end; its exit status."""
        process = self._process = await worker_process.start("reflector.plan_worker", *self._arguments)
        try:
            with suppress(asyncio.IncompleteReadError):
                await self._listen(process, tell)
        finally:
            self._process = None
            await worker_process.end(process)
        return process.returncode or 0

    async def _listen(self, process: Process, tell: Callable[[Desired | NothingToRun], None]) -> None:
        assert process.stdout is not None
        desired: Desired | None = None
        while True:
            (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
            kind, content = pickle.loads(await process.stdout.readexactly(length))
            if kind == "log":
                event, fields = content
                self._log(event, **fields)
            elif kind == "change":
                desired = changed(desired, content)
                tell(desired)
            else:
                tell(content)
