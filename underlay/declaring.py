"""`apply`, `delete`: the admin's resources into a store and out of it; and what files and stores declare.

Both compile the plan of the result first, print what it does to the sessions, and write only when the change
brings no error and not too many sessions go down for it; applying.py has the rules. Nothing is written when
anything is wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from peering.manifests import read_manifests
from peering.problems import Problem
from peering.resource import Resource
from peering.resources.catalog import KINDS, Kind
from peering.snapshot import Snapshot
from peering.store.open_store import open_store
from peering.store.protocol import Store
from peering.store.resources import load
from underlay import getting
from underlay.applying import SNAPSHOT_KINDS, Edit, Guard, change
from underlay.options import DEFAULT_STORE, FilesOption, StoreOption
from underlay.output import Refused, print_problems

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")]
MaxLossOption = Annotated[
    float,
    typer.Option(
        "--max-loss",
        envvar="UNDERLAY_MAX_LOSS",
        min=0,
        max=100,
        metavar="PERCENT",
        help="Refuse when a larger share of the sessions would be removed or restarted.",
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Let errors of the plan and any loss of sessions pass.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="List every session that changes.")]

_MAX_LOSS = 20.0


def register(app: typer.Typer) -> None:
    app.command()(apply)
    app.command()(getting.get)
    app.command()(delete)


def apply(
    file: FilesOption = None,
    store: StoreOption = DEFAULT_STORE,
    dry_run: DryRunOption = False,
    max_loss: MaxLossOption = _MAX_LOSS,
    force: ForceOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Write manifests into the store, all or none, after the plan of the result was checked.

    Example: underlay apply -f config/samples/dual-tor
    """
    resources = read_or_refuse(file)
    asyncio.run(_change(store, partial(_putting, resources), Guard(max_loss, force), dry_run, verbose))


def delete(
    kind: Annotated[str, typer.Argument(help="A kind, such as node.")],
    name: Annotated[str, typer.Argument(help="The resource.")],
    store: StoreOption = DEFAULT_STORE,
    dry_run: DryRunOption = False,
    max_loss: MaxLossOption = _MAX_LOSS,
    force: ForceOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Remove a resource, after the plan without it was checked.

    Example: underlay delete node node-5
    """
    asyncio.run(_delete(store, getting.kind_or_misuse(kind), name, Guard(max_loss, force), dry_run, verbose))


def read_or_refuse(paths: Sequence[Path] | None, *, observed: bool = False) -> list[Resource]:
    """The resources of the files; refuses when anything in them is wrong.

    With `observed`, kinds that processes write are read too (a dump of a cluster); without, they are refused.
    """
    if not paths:
        raise typer.BadParameter("give at least one file or folder", param_hint="-f")
    resources, problems = read_manifests(paths)
    foreign = () if observed else [r for r in resources if KINDS[r.kind].writer == "observed"]
    problems += [
        Problem("error", "not-yours", r.ref, "kind", "is written by underlay itself", "leave it out") for r in foreign
    ]
    if problems:
        raise Refused(problems, "nothing was changed")
    return resources


async def read_snapshot(store: Store) -> Snapshot:
    """What is declared in the store; what cannot be read is printed and left out."""
    resources, _, problems = await load(store, SNAPSHOT_KINDS)
    print_problems(problems)
    return Snapshot(resources)


async def _change(url: str, edit_of: Callable[[Snapshot], Edit], guard: Guard, dry_run: bool, verbose: bool) -> None:
    store = open_store(url)
    try:
        await change(store, edit_of, guard, dry_run=dry_run, verbose=verbose)
    finally:
        await store.close()


async def _delete(url: str, kind: Kind, name: str, guard: Guard, dry_run: bool, verbose: bool) -> None:
    if kind.writer == "observed":
        raise Refused(message=f"error: {kind.name}/{name}: is written by underlay itself and cannot be deleted")
    store = open_store(url)
    try:
        # By the store's names, so that what cannot be read any more can be deleted.
        names = [stored.name for stored in await store.list(kind.name)]
        if name not in names:
            raise getting.no_such(kind.name, name, names)
        edit = Edit(removed=((kind.name, name),), lines=(f"{kind.name}/{name} deleted",))
        await change(store, lambda _: edit, guard, dry_run=dry_run, verbose=verbose)
    finally:
        await store.close()


def _putting(resources: Sequence[Resource], current: Snapshot) -> Edit:
    """Puts in those that differ from what is there."""
    put: list[Resource] = []
    lines, unchanged = [], []
    for resource in resources:
        present = current.get(resource.kind, resource.name)
        if present is not None and present.to_document() == resource.to_document():
            unchanged.append(f"{resource.ref} unchanged")
        else:
            put.append(resource)
            lines.append(f"{resource.ref} {'configured' if present else 'created'}")
    return Edit(put=tuple(put), lines=(*lines, *unchanged))
