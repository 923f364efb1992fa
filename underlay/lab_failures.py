"""Breaks something in a lab, and mends it again, whatever becomes of us.

What mends it is handed to a guard before anything is broken: a shell of its own that waits for the end of its standard
input, and then runs it. We mend by closing that pipe; if we are interrupted or killed, the kernel closes it. So there
is one way of mending, and each run uses it.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from containerlab import namespaces
from containerlab.expectations import Failure
from containerlab.expectations_file import ends_of
from containerlab.lab_state import LabBusy
from containerlab.node_addresses import addresses_of
from containerlab.runner import LabFailed
from containerlab.topology import Node, split_command
from underlay.lab_reach import CannotTell, good
from underlay.lab_view import LabView

_MEND_S = 60.0
#: Process IDs by name, in this network namespace only: a lab of namespaces shares its process IDs with the machine.
_PIDS = (
    "for d in /proc/[0-9]*; do "
    '[ "$(cat $d/comm 2>/dev/null)" = "$1" ] '
    '&& [ "$(readlink $d/ns/net)" = "$(readlink /proc/self/ns/net)" ] '
    '&& echo "${d#/proc/}"; done; true'
)

Argv = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Ways:
    """The commands that break something, and those that mend it."""

    there: tuple[Argv, ...]
    back: tuple[Argv, ...]


class Guard:
    """Holds what mends a failure, and does it when it is told to or when we are gone."""

    def __init__(self, commands: Sequence[Argv]) -> None:
        lines = [f"{shlex.join(argv)} || failed=1" for argv in commands]
        # A pipe that nobody reads any more must not keep it from mending.
        self._script = "\n".join(["trap '' HUP INT TERM PIPE", "cat >/dev/null", "failed=0", *lines, "exit $failed"])
        self._process: asyncio.subprocess.Process | None = None

    async def watch(self) -> None:
        """From now on it mends when we end. Its own session: a Ctrl-C at the terminal is not for it."""
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            "sh", "-c", self._script, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT, start_new_session=True
        )

    async def mend(self) -> None:
        """Once; a second time does nothing. Raises CannotTell if it fails."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(_MEND_S):
                out, _ = await process.communicate()
        except TimeoutError:
            raise CannotTell(f"what was broken was not mended within {_MEND_S:g} s") from None
        if process.returncode:
            said = out.decode(errors="replace").strip().splitlines()
            raise CannotTell(f"what was broken could not be mended: {said[-1] if said else 'no message'}", said)


class Broken:
    """One failure: `make` breaks, `mend` mends; both raise CannotTell."""

    def __init__(self, view: LabView, failure: Failure) -> None:
        self._view, self._failure = view, failure
        self._guard = Guard(())
        self._off = False

    async def make(self) -> None:
        ways = await self._ways()
        self._guard = Guard(ways.back)
        await self._guard.watch()
        if self._failure.power:
            self._off = True
            with _told():
                await self._view.fabric.lab.stop(self._failure.power)
        for argv in ways.there:
            done = await namespaces.command(argv)
            if not done.ok:
                raise CannotTell(f"{self._failure.title()}: `{shlex.join(argv)}`: {done.reason()}")

    async def mend(self) -> None:
        try:
            await self._guard.mend()
        finally:
            off, self._off = self._off, False
            if off and self._failure.power:
                with _told():
                    await self._view.fabric.start(self._failure.power)

    async def _ways(self) -> _Ways:
        failure = self._failure
        if failure.link:
            return self._links(*ends_of(self._view.topology, failure.link))
        if node := failure.isolate or failure.power:
            return self._links(node, self._view.topology.interfaces(node))
        node = failure.node or ""
        if failure.process:
            return await self._signal(node, failure.process, failure.signal)
        argv = self._view.reach.argv
        return _Ways((argv(node, failure.run or ()),), (argv(node, failure.undo or ()),))

    def _links(self, node: str, interfaces: Sequence[str]) -> _Ways:
        """Down and up; the kernel drops static routes over an interface that goes down, and may drop IPv6 addresses."""
        argv, declared = self._view.reach.argv, self._view.topology.nodes[node]
        addresses = addresses_of(declared)
        lost = [(a, name) for name in interfaces for a in addresses.get(name, ()) if ":" in a]
        return _Ways(
            tuple(argv(node, ("ip", "link", "set", name, "down")) for name in interfaces),
            (
                *(argv(node, ("ip", "link", "set", name, "up")) for name in interfaces),
                *(argv(node, ("ip", "-6", "address", "replace", a, "dev", name)) for a, name in lost),
                *(argv(node, line) for line in _static_routes(declared)),
            ),
        )

    async def _signal(self, node: str, process: str, signal: str) -> _Ways:
        pids = await self._pids(node, process)
        if not pids:
            raise CannotTell(f"{node}: no process {process!r} runs there")
        argv = self._view.reach.argv
        there = argv(node, ("sh", "-c", f"kill -{signal} {' '.join(pids)}"))
        back = argv(node, ("sh", "-c", f"kill -CONT {' '.join(pids)} 2>/dev/null; true"))
        return _Ways((there,), (back,) if signal == "STOP" else ())

    async def _pids(self, node: str, process: str) -> list[str]:
        """Of a daemon as `lab status` names it, else of a process as the kernel does."""
        if self._view.ours and "/" not in node:
            daemons = self._view.fabric.lab.init(node).status()
            if found := [str(d.pid) for d in daemons if d.name == process and d.pid is not None]:
                return found
        return (await good(self._view.reach, node, ("sh", "-c", _PIDS, "sh", process))).split()


def _static_routes(node: Node) -> Iterator[Argv]:
    """The routes of the topology's `exec` lines, made again whether they are there or not."""
    for line in node.exec:
        words = split_command(line)
        if words[:1] == ("ip",) and {"route", "add"} <= set(words):
            yield tuple("replace" if word == "add" else word for word in words)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """The runner's failures as what they are here: nothing that was expected or not."""
    try:
        yield
    except (LabFailed, LabBusy, TimeoutError) as error:
        raise CannotTell(str(error).partition("\n")[0], str(error).splitlines()) from error
