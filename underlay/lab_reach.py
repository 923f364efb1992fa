"""How a command gets into a node or pod of a lab: by its namespace, or by a command that the user names.

A place is `NODE` or `NODE/POD`. What is asked of a lab goes through here, so a lab of containers is asked as one of
namespaces is.
"""

from __future__ import annotations

import asyncio
import shlex
import string
import sys
from collections.abc import Awaitable, Iterable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from containerlab import daemons as catalog
from containerlab import namespaces, probe
from containerlab.namespaces import Completed
from containerlab.pods import pod_namespace
from containerlab.topology import Topology
from underlay.fabric_lab import FabricLab

T = TypeVar("T")

_SECONDS = 30.0
_AT_A_TIME = 8
_FIELDS = ("lab", "node", "container")


class CannotTell(Exception):
    """It could not be found out whether an expectation holds; `seen`: what there was instead of an answer."""

    def __init__(self, message: str, seen: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.seen = tuple(seen)


class Reach(Protocol):
    """Where a lab is. `probe`: how the program of probe.py is run there, without its arguments; `limit`: how many
    commands may run at a time."""

    probe: tuple[str, ...]
    limit: asyncio.Semaphore

    def argv(self, place: str, command: Sequence[str]) -> tuple[str, ...]:
        """The command as it is run here, to run there."""


class NamespaceReach:
    """Our own runner: namespaces of this machine. On a switch, `vtysh`, `birdc`, ... are that switch's own."""

    def __init__(self, fabric: FabricLab) -> None:
        self._lab = fabric.lab
        self.limit = asyncio.Semaphore(_AT_A_TIME)
        self.probe: tuple[str, ...] = (sys.executable, "-I", probe.__file__)

    def argv(self, place: str, command: Sequence[str]) -> tuple[str, ...]:
        node, _, pod = place.partition("/")
        folder = self._lab.node_dir(node)
        namespace = pod_namespace(self._lab, node, pod) if pod else self._lab.namespace(node)
        return namespaces.inside(namespace, (*catalog.clients(folder).get(command[0], command[:1]), *command[1:]))


class TemplateReach:
    """A command such as `docker exec -i {container}`. Raises ValueError for one that is none."""

    def __init__(self, template: str, topology: Topology) -> None:
        self._words = shlex.split(template)
        named = {name for word in self._words for _, name, _, _ in string.Formatter().parse(word) if name is not None}
        if unknown := named - set(_FIELDS):
            raise ValueError(f"there is no {{{min(unknown)}}}; there are: {', '.join(f'{{{f}}}' for f in _FIELDS)}")
        if not named & {"node", "container"}:
            raise ValueError("names neither {node} nor {container}: every command would go to the same place")
        self._topology = topology
        self.limit = asyncio.Semaphore(_AT_A_TIME)
        self.probe: tuple[str, ...] = ("python3", "-I", "-c", Path(probe.__file__).read_text(encoding="utf-8"))

    def argv(self, place: str, command: Sequence[str]) -> tuple[str, ...]:
        values = {"lab": self._topology.name, "node": place}
        values["container"] = self._topology.namespace(place.replace("/", "-"))
        return (*(word.format_map(values) for word in self._words), *command)


async def run(reach: Reach, place: str, command: Sequence[str]) -> Completed:
    """What the command did there. Raises CannotTell if it does not end in time."""
    try:
        async with reach.limit, asyncio.timeout(_SECONDS):
            return await namespaces.command(reach.argv(place, command))
    except TimeoutError:
        raise CannotTell(f"{place}: `{shlex.join(command)}` did not end within {_SECONDS:g} s") from None


async def good(reach: Reach, place: str, command: Sequence[str]) -> str:
    """What it prints. Raises CannotTell if it fails."""
    done = await run(reach, place, command)
    if not done.ok:
        lines = (done.stdout + done.stderr).strip().splitlines()
        raise CannotTell(f"{place}: `{shlex.join(command)}`: {done.reason()}", lines)
    return done.stdout


async def each(work: Iterable[Awaitable[T]]) -> list[T]:
    """The results of all, side by side. Raises the first error when the last of them has ended: nothing runs on."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
