"""`underlay lab`: a topology in namespaces with the whole product running in it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status

from containerlab.lab_state import LabBusy
from containerlab.namespaces import CommandFailed
from containerlab.runner import Event, LabFailed
from peering.store.open_store import open_store
from underlay import lab_demo, lab_web
from underlay.fabric_lab import FabricLab
from underlay.lab_generate import generate
from underlay.lab_pods import ensure_pods
from underlay.lab_testing import lab_test
from underlay.options import FilesOption, OutputOption
from underlay.output import Format, Refused, console, print_data, print_table

lab = typer.Typer(help="Run a .clab.yml topology in network namespaces, with everything in it.", no_args_is_help=True)
lab.command()(generate)
lab.command(name="test")(lab_test)

TopologyArgument = Annotated[str, typer.Argument(help="A .clab.yml file, or the name of one that is shipped.")]
NameOption = Annotated[str | None, typer.Option("--name", help="Another name, to run the topology twice.")]

_CONVERGE_S = 60.0
_POLL_S = 0.1


def register(app: typer.Typer) -> None:
    app.add_typer(lab, name="lab")


@lab.command()
def up(
    topology: TopologyArgument,
    file: FilesOption = None,
    name: NameOption = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say too what of the topology has no effect.")
    ] = False,
) -> None:
    """Bring the lab up, or up to date; wait until it has converged; show the sessions.

    Example: underlay lab up dual-tor
    """
    _root()
    _guarded(_up(topology, file, name, verbose))


@lab.command()
def demo(topology: TopologyArgument, name: NameOption = None) -> None:
    """Prove it: traceroutes, and many flows from outside to a pod over both switches of its rack.

    Example: underlay lab demo dual-tor
    """
    _root()
    chosen = FabricLab(topology, name=name)
    _guarded(lab_demo.run(chosen))
    _print_page(chosen)


@lab.command()
def down(topology: TopologyArgument, name: NameOption = None) -> None:
    """Remove the lab: its processes, namespaces and files, and nothing else.

    Example: underlay lab down dual-tor
    """
    _root()
    chosen = FabricLab(topology, name=name)
    _guarded(chosen.down())
    console.print(f"lab {chosen.topology.name} is down", markup=False)


@lab.command()
def status(topology: TopologyArgument, name: NameOption = None, output: OutputOption = Format.table) -> None:
    """Show every node of the lab and the daemons that run on it. Exit 1 if any is not there.

    Example: underlay lab status dual-tor
    """
    chosen = FabricLab(topology, name=name)
    rows = chosen.lab.status()
    if output is not Format.table:
        data = [
            {
                "node": row.node,
                "namespace": row.namespace,
                "up": row.up,
                "daemons": [{"name": d.name, "pid": d.pid, "restarts": d.restarts} for d in row.daemons],
                "pods": list(row.pods),
            }
            for row in rows
        ]
        print_data(data, output)
    else:
        shown = [
            (row.node, row.namespace, "running" if row.up else "dead",
             "  ".join(f"{d.name}[{d.pid}]" if d.alive else f"{d.name}[dead]" for d in row.daemons), len(row.pods))
            for row in rows
        ]  # fmt: skip
        print_table("", ["NODE", "NAMESPACE", "STATE", "DAEMONS", "PODS"], shown)
        _print_page(chosen)
    if not all(row.up for row in rows):
        raise Refused()


@lab.command(name="exec", context_settings={"ignore_unknown_options": True})
def exec_(
    topology: TopologyArgument,
    node: Annotated[str, typer.Argument(help="A node of the lab, or NODE/POD.")],
    command: Annotated[list[str], typer.Argument(help="What to run there.")],
    name: NameOption = None,
) -> None:
    """Run a command in a node or pod. On a switch, `vtysh` is that switch's own, also in scripts.

    Example: underlay lab exec dual-tor tor-1a -- vtysh -c 'show bgp summary'
    """
    _root()
    sys.exit(lab_demo.execute(FabricLab(topology, name=name), node, command))


async def _up(topology: str, files: list[Path] | None, name: str | None, verbose: bool) -> None:
    started = time.monotonic()
    progress = _Progress()
    chosen = FabricLab(topology, name=name, files=files, on_event=progress.event, verbose=verbose)
    with progress:
        await chosen.up()
        progress.say("waiting for the sessions")
        await _converge(chosen, progress)
        progress.say("pods")
        pods = await ensure_pods(chosen)
    took = time.monotonic() - started
    console.print(
        f"lab {chosen.topology.name}: {len(chosen.topology.nodes)} nodes, {len(pods)} pods, "
        f"converged after {took:.1f} s",
        markup=False,
    )
    await lab_web.start(chosen.lab.run_dir, chosen.store_url)
    await lab_demo.show_sessions(chosen)
    console.print(f"export UNDERLAY_STORE={chosen.store_url}", markup=False)
    _print_page(chosen)


def _print_page(chosen: FabricLab) -> None:
    page = lab_web.running(chosen.lab.run_dir)
    if page is not None:
        console.print(f"the fabric on a page: {page.url}", markup=False)


async def _converge(chosen: FabricLab, progress: _Progress) -> None:
    store = open_store(chosen.store_url)
    deadline = time.monotonic() + _CONVERGE_S
    try:
        while not (state := await chosen.convergence(store)).done:
            progress.say(f"waiting for the sessions: {state.established} of {state.planned} established")
            if time.monotonic() > deadline:
                raise Refused(message="\n".join(f"error: not converged: {line}" for line in state.missing))
            await asyncio.sleep(_POLL_S)
    finally:
        await store.close()


class _Progress:
    """One moving line on a terminal; a line per stage where there is none."""

    def __init__(self) -> None:
        self._terminal = Console(stderr=True, highlight=False, emoji=False)
        self._line: Status | None = None
        self._last = ""

    def __enter__(self) -> _Progress:
        if self._terminal.is_terminal:
            self._line = self._terminal.status("starting")
            self._line.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._line is not None:
            self._line.stop()

    def event(self, event: Event) -> None:
        if self._line is not None:
            self.say(f"{event.stage}: {event.done} of {event.total} ({event.node})")
        elif event.done == event.total:
            self.say(f"{event.stage}: {event.total} nodes")

    def say(self, text: str) -> None:
        if self._line is not None:
            self._line.update(text)
        elif text != self._last and not text.startswith("waiting for the sessions:"):
            self._terminal.print(text, markup=False)
        self._last = text


def _guarded(work: object) -> None:
    """Runs the coroutine; what the runner says is wrong becomes problems on stderr."""
    try:
        asyncio.run(work)  # type: ignore[arg-type]
    except LabFailed as failed:
        raise Refused(failed.problems) from failed
    except (LabBusy, CommandFailed, TimeoutError) as error:
        raise Refused(message=f"error: {error}") from error


def _root() -> None:
    if os.geteuid() != 0:
        raise Refused(message="error: namespaces need root (run with sudo)")
