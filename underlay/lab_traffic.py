"""Traffic between two places of a lab while something happens, measured by probe.py at both ends.

Both processes end when their standard input does, so they end with us, however we end, and also behind commands that
pass no signals on (`docker exec`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from typing import Any

from containerlab.expectations import Traffic, is_address
from underlay.lab_reach import CannotTell
from underlay.lab_view import LabView

#: The program as a child that is told to stop when nothing more comes on standard input.
_WITH_US = '"$@" & child=$!; cat >/dev/null; kill -TERM $child 2>/dev/null; wait $child'
_FIRST_PORT = 7100
_READY_S = 15.0
_RESULT_S = 20.0
_LONGEST_S = 3600
#: Before something happens and after it, in seconds: what was well and is so again is part of the measurement.
MARGIN_S = 1.0


class Flows:
    """The flows from one place to another with one IP version; `number` keeps the ports of several apart."""

    def __init__(self, view: LabView, what: Traffic, source: str, target: str, version: int, number: int) -> None:
        self._view, self._what = view, what
        self.source, self.target, self.version = source, target, version
        self._port = str(_FIRST_PORT + number)
        self._running: list[asyncio.subprocess.Process] = []

    async def start(self) -> None:
        """Until packets go. Raises CannotTell."""
        address = await self._view.address(self.target, self.version)
        place = self._view.owners.get(self.target, self.target)
        if is_address(place):
            raise CannotTell(f"traffic to {self.target}: nobody in the lab has this address")
        server = await self._spawn(place, ("serve", "--port", self._port))
        await self._ready(server, place)
        rate = ("--flows", str(self._what.flows), "--rate", str(self._what.rate), "--seconds", str(_LONGEST_S))
        await self._spawn(self.source, ("flows", "--to", address, "--port", self._port, "--json", *rate))

    async def stop(self) -> dict[str, Any]:
        """The result of probe.py. Raises CannotTell."""
        server, client = self._running
        _end_input(client)
        try:
            async with asyncio.timeout(_RESULT_S):
                out, err = await client.communicate()
            return dict(json.loads(out))
        except (TimeoutError, ValueError) as error:
            said = err.decode(errors="replace").strip() if isinstance(error, ValueError) else "no result"
            raise CannotTell(f"{self.source}: traffic to {self.target}: {said}", said.splitlines()) from error
        finally:
            await self.abort()
            await server.wait()

    async def abort(self) -> None:
        """Ends both, whatever state they are in."""
        for process in self._running:
            _end_input(process)
        for process in self._running:
            try:
                async with asyncio.timeout(_RESULT_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()

    async def _spawn(self, place: str, arguments: Sequence[str]) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        argv = self._view.reach.argv(place, ("sh", "-c", _WITH_US, "sh", *self._view.reach.probe, *arguments))
        try:
            process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe, stderr=pipe)
        except OSError as error:
            raise CannotTell(f"{place}: `{argv[0]}`: {error.strerror}") from error
        self._running.append(process)
        return process

    async def _ready(self, server: asyncio.subprocess.Process, place: str) -> None:
        assert server.stdout is not None
        line = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_READY_S):
                line = await server.stdout.readline()
        if line != b"ready\n":
            await self.abort()
            assert server.stderr is not None
            said = (await server.stderr.read()).decode(errors="replace").strip().splitlines()
            hint = f"{place} needs {self._view.reach.probe[0]} for traffic"
            raise CannotTell(f"{hint}: {said[-1] if said else 'it says nothing'}", said)


def _end_input(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
