"""`whatif`: what stays reachable when parts of the fabric fail."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from peering.compile import Compiler
from peering.graph import Graph
from peering.problems import errors
from peering.snapshot import Snapshot
from peering.store.open_store import open_store
from peering.store.resources import load
from peering.whatif.answers import answer
from peering.whatif.every import every_single_failure
from peering.whatif.fabric import fabric_of
from peering.whatif.failures import Failures, UnknownName
from peering.whatif.ways import MOST_NODES_ONE_BY_ONE, TooEntangled, Ways
from underlay.applying import SNAPSHOT_KINDS
from underlay.declaring import read_or_refuse
from underlay.options import DEFAULT_STORE, FilesOption, OutputOption, StoreOption
from underlay.output import Format, Refused, print_problems
from underlay.whatif_tables import show_answer, show_every

FailOption = Annotated[
    list[str] | None,
    typer.Option("--fail", help="What fails, KIND/NAME; several with commas between, or repeated.", metavar="NAMES"),
]
EveryOption = Annotated[bool, typer.Option("--every", help="Every single failure instead, one after the other.")]


def register(app: typer.Typer) -> None:
    app.command()(whatif)


def whatif(
    file: FilesOption = None,
    fail: FailOption = None,
    every: EveryOption = False,
    store: StoreOption = DEFAULT_STORE,
    output: OutputOption = Format.table,
) -> None:
    """Show what stays reachable when parts of the fabric fail. Exit 1 when something else is cut off with them.

    Example: underlay whatif -f config/samples/dual-tor --fail Switch/tor-1a,Node/node-3
    """
    names = [name.strip() for text in fail or () for name in text.split(",") if name.strip()]
    if bool(names) is every:
        message = "not together with --every" if every else "say what fails, or ask for --every single failure"
        raise typer.BadParameter(message, param_hint="--fail")
    ways = Ways(fabric_of(_graph(_snapshot(file, store))))
    try:
        if every:
            cuts_off = show_every(list(every_single_failure(ways)), output)
        else:
            failures = Failures(ways.fabric)
            cuts_off = show_answer(answer(ways, [failures.named(name) for name in dict.fromkeys(names)]), output)
    except UnknownName as unknown:
        raise Refused(message=f"error: {unknown}") from None
    except TooEntangled:
        message = "error: the racks pass on each other's routes, so none of them can stand for another"
        limit = f"(then at most {MOST_NODES_ONE_BY_ONE} nodes can be computed)"
        raise Refused(message=f"{message} {limit}") from None
    if cuts_off:
        raise Refused()


def _snapshot(files: Sequence[Path] | None, store: str) -> Snapshot:
    return Snapshot(read_or_refuse(files)) if files else asyncio.run(_from_store(store))


async def _from_store(url: str) -> Snapshot:
    """With the blocks that nodes own, which no plan looks at."""
    store = open_store(url)
    try:
        resources, _, problems = await load(store, (*SNAPSHOT_KINDS, "BlockAffinity"))
    finally:
        await store.close()
    print_problems(problems)
    return Snapshot(resources)


def _graph(snapshot: Snapshot) -> Graph:
    compiler = Compiler()
    problems = compiler.plan(snapshot).problems
    print_problems(errors(problems))
    if errors(problems):
        raise Refused(message="nothing was computed: the plan has errors")
    return compiler.graph(snapshot)[0]
