"""`lab test`: a lab against a file of what is expected of it; prints what differs, or JUnit XML.

A lab that does not run is brought up before and taken down after. What cannot be found out (the lab does not come up, a
program is missing) is an error and no failure: then nothing is known of the network.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from containerlab.expectations import Expectations
from containerlab.expectations_file import SUFFIX, load_expectations
from containerlab.lab_state import LabBusy
from containerlab.namespaces import CommandFailed
from containerlab.runner import LabFailed
from peering.store.open_store import open_store
from underlay.fabric_lab import FabricLab
from underlay.junit import Outcome, junit
from underlay.lab_checks import play, skip
from underlay.lab_pods import ensure_pods
from underlay.lab_reach import CannotTell, NamespaceReach, Reach, TemplateReach, each, good
from underlay.lab_view import LabView
from underlay.options import FilesOption
from underlay.output import Format, Refused, console, errors, print_data, print_problems

_CONVERGE_S = 120.0
_POLL_S = 0.1
_TERMINATED = 128 + signal.SIGTERM
_MARKS = {"passed": "green", "failed": "bold red", "error": "bold red", "skipped": "dim"}
_LINES = 12

Tell = Callable[[Outcome], None]


class Output(StrEnum):
    """`-o`."""

    table = "table"
    json = "json"
    yaml = "yaml"
    junit = "junit"


def lab_test(
    topology: Annotated[str, typer.Argument(help="A .clab.yml file, or the name of one that is shipped.")],
    expect: Annotated[
        Path | None,
        typer.Option("--expect", help="What is expected; without it TOPOLOGY's .expect.yml.", metavar="FILE"),
    ] = None,
    file: FilesOption = None,
    name: Annotated[str | None, typer.Option("--name", help="The name that the lab was brought up by.")] = None,
    template: Annotated[
        str, typer.Option("--exec", help="What goes before a command to run it in a node.", metavar="TEMPLATE")
    ] = "",
    keep: Annotated[bool, typer.Option("--keep", help="Leave a lab up that was brought up for this.")] = False,
    junit: Annotated[
        Path | None, typer.Option("--junit", help="Write JUnit XML there; - for standard output.", metavar="FILE")
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="table, json, yaml or junit.")] = Output.table,
) -> None:
    """Run a file of expectations: sessions, routes, pings, failures and recoveries. Exit 1 if one does not hold.

    A lab that does not run is brought up before, and taken down afterwards.

    Example: underlay lab test dual-tor --junit report.xml

    Example: underlay lab test my.clab.yml --exec 'docker exec -i {container}'
    """
    if junit == Path("-"):
        junit, output = None, Output.junit
    if not template and os.geteuid() != 0:
        raise Refused(message="error: namespaces need root (run with sudo)")
    fabric = FabricLab(topology, name=name, files=file, any_kind=bool(template))
    run = _Run(fabric, _reach(fabric, template), ours=not template, keep=keep)
    expected = _expected(expect or _beside(fabric.path), fabric, power=not template)
    report = _Report(fabric.topology.name, str(fabric.path.name), live=output is Output.table)
    try:
        asyncio.run(_guarded(run.all(expected, report.tell)))
    except asyncio.CancelledError:
        raise typer.Exit(_TERMINATED) from None
    report.write(output, junit)
    if not report.good:
        raise typer.Exit(1)


async def _guarded(work: Any) -> None:
    """SIGTERM ends the work as Ctrl-C does: what is broken is mended, what was brought up taken down."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await work


def _reach(fabric: FabricLab, template: str) -> Reach:
    if not template:
        return NamespaceReach(fabric)
    try:
        return TemplateReach(template, fabric.topology)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--exec") from error


def _beside(topology: Path) -> Path:
    return topology.with_name(topology.name.removesuffix(".yml").removesuffix(".yaml").removesuffix(".clab") + SUFFIX)


def _expected(path: Path, fabric: FabricLab, *, power: bool) -> Expectations:
    """Refuses with every problem of the file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise typer.BadParameter(f"{path}: cannot be read: {reason}", param_hint="--expect") from error
    expected, problems = load_expectations(text, path.name, fabric.topology, power=power)
    if expected is None:
        raise Refused(problems, "nothing was run")
    print_problems(problems)
    return expected


class _Run:
    """One run: brings up what is not there, plays, takes down what it brought up."""

    def __init__(self, fabric: FabricLab, reach: Reach, *, ours: bool, keep: bool) -> None:
        self._fabric, self._reach, self._ours, self._keep = fabric, reach, ours, keep
        self._brought_up = False

    async def all(self, expected: Expectations, tell: Tell) -> None:
        try:
            ready = await self._ready(expected)
            if ready is not None:
                tell(ready)
            if ready is not None and ready.status == "error":
                skip(expected, "the lab is not there", tell)
            else:
                await play(LabView(self._fabric, self._reach, ours=self._ours), expected, tell)
        finally:
            if self._brought_up and not self._keep:
                errors.print(f"taking down {self._fabric.topology.name}", markup=False)
                await self._fabric.down()

    async def _ready(self, expected: Expectations) -> Outcome | None:
        """The lab as a test of its own: an outcome where it had to be brought up, or is not there."""
        began = time.monotonic()
        try:
            if not (self._ours and await self._bring_up()):
                await self._answers(expected)
                return None
        except (LabFailed, LabBusy, CommandFailed, TimeoutError, Refused, CannotTell) as error:
            lines = _lines_of(error)
            return Outcome("lab up", "error", time.monotonic() - began, lines[0], tuple(lines))
        return Outcome("lab up", "passed", time.monotonic() - began)

    async def _bring_up(self) -> bool:
        """Whether it was necessary. Raises Refused where it is there in part: it is somebody's, and broken."""
        rows = self._fabric.lab.status()
        dead = [row.node for row in rows if not row.up]
        if not dead:
            return False
        if len(dead) < len(rows):
            raise Refused(message=f"{', '.join(dead)}: not there, while other nodes are (`underlay lab up` mends it)")
        self._brought_up = True
        errors.print(f"bringing up {self._fabric.topology.name}", markup=False)
        await self._fabric.up()
        await self._converged()
        await ensure_pods(self._fabric)
        return True

    async def _converged(self) -> None:
        store = open_store(self._fabric.store_url)
        deadline = time.monotonic() + _CONVERGE_S
        try:
            while missing := (await self._fabric.convergence(store)).missing:
                if time.monotonic() > deadline:
                    raise Refused(message="\n".join(f"not converged: {line}" for line in missing))
                await asyncio.sleep(_POLL_S)
        finally:
            await store.close()

    async def _answers(self, expected: Expectations) -> None:
        """Every place that is named takes a command. Raises CannotTell."""
        await each(good(self._reach, place, ("true",)) for place in expected.places())


class _Report:
    """Collects the outcomes; `live`: a line for each as it comes."""

    def __init__(self, suite: str, topology: str, *, live: bool) -> None:
        self._suite, self._topology, self._live = suite, topology, live
        self._started = time.time()
        self._outcomes: list[Outcome] = []

    @property
    def good(self) -> bool:
        return all(one.status == "passed" for one in self._outcomes)

    def tell(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        if self._live:
            for line in _shown(outcome):
                console.print(line)

    def write(self, output: Output, file: Path | None) -> None:
        if file is not None:
            try:
                file.write_text(self._junit(), encoding="utf-8")
            except OSError as error:
                raise Refused(message=f"error: {file}: cannot be written: {error.strerror}") from error
        if output is Output.table:
            console.print(self._summary(), markup=False)
        elif output is Output.junit:
            sys.stdout.write(self._junit())
        else:
            print_data(self._data(), Format(output.value))

    def _junit(self) -> str:
        return junit(self._suite, self._outcomes, self._started, [("topology", self._topology)])

    def _counts(self) -> dict[str, int]:
        found = Counter(one.status for one in self._outcomes)
        return {status: found[status] for status in ("passed", "failed", "error", "skipped")}

    def _summary(self) -> str:
        told = ", ".join(f"{count} {status}" for status, count in self._counts().items() if count)
        return f"{self._suite}: {len(self._outcomes)} tests: {told}, in {time.time() - self._started:.0f} s"

    def _data(self) -> dict[str, Any]:
        tests = [
            {"name": o.name, "scenario": o.group, "status": o.status, "seconds": round(o.seconds, 3),
             "message": o.message, "seen": list(o.seen)}
            for o in self._outcomes
        ]  # fmt: skip
        return {"lab": self._suite, "topology": self._topology, **self._counts(), "tests": tests}


def _shown(outcome: Outcome) -> Sequence[Text]:
    """One line, what was measured or differs, and of what differs the evidence."""
    name = f"{outcome.group}: {outcome.name}" if outcome.group else outcome.name
    head = Text(f"{outcome.status:<8}", style=_MARKS[outcome.status])
    lines = [head.append(f"{outcome.seconds:6.1f} s  {name}", style="default not bold")]
    if outcome.message and outcome.status != "skipped":
        lines.append(Text(f"{'':18}{outcome.message}"))
    if outcome.status in ("failed", "error") and outcome.seen[:1] != (outcome.message,):
        lines += [Text(f"{'':20}{line}", style="dim") for line in outcome.seen[:_LINES]]
        if more := len(outcome.seen) - _LINES:
            lines += [Text(f"{'':20}... and {more} more lines", style="dim")] if more > 0 else []
    return lines


def _lines_of(error: Exception) -> list[str]:
    """What is wrong, one line each."""
    if isinstance(error, Refused | LabFailed):
        text = getattr(error, "message", "")
        return [*(problem.line() for problem in error.problems), *text.splitlines()] or [str(error)]
    return [str(error).partition("\n")[0] or type(error).__name__, *getattr(error, "seen", ())]
