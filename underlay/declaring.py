"""`apply`, `get`, `delete`: the admin's resources in a store.

`apply` and `delete` compile the plan of the result first, print what it does to the sessions, and write only
when the change brings no error. Nothing is written when anything is wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from peering.compile import plan
from peering.manifests import read_manifests
from peering.plan_diff import SessionChange, compare
from peering.problems import Problem, errors
from peering.resource import Resource
from peering.resources.catalog import KINDS, PLAN_KINDS, Kind, kind_named
from peering.snapshot import Snapshot
from peering.store.open_store import open_store
from peering.store.protocol import Store
from peering.store.resources import load, put
from underlay.options import DEFAULT_STORE, FilesOption, OutputOption, StoreOption
from underlay.output import Format, Refused, console, print_data, print_problems, print_table

_SNAPSHOT_KINDS = (*PLAN_KINDS, "Secret")


def register(app: typer.Typer) -> None:
    app.command()(apply)
    app.command()(get)
    app.command()(delete)


def apply(
    file: FilesOption = None,
    store: StoreOption = DEFAULT_STORE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
) -> None:
    """Write manifests into the store, after the plan of the result was checked.

    Example: underlay apply -f config/samples/dual-tor
    """
    asyncio.run(_apply(store, read_or_refuse(file), dry_run))


def get(
    kind: Annotated[str, typer.Argument(help="A kind, such as switches.")],
    name: Annotated[str | None, typer.Argument(help="One resource; all of the kind without it.")] = None,
    store: StoreOption = DEFAULT_STORE,
    output: OutputOption = Format.table,
) -> None:
    """Show resources of a kind.

    Example: underlay get switches tor-1a -o yaml
    """
    asyncio.run(_get(store, _kind(kind), name, output))


def delete(
    kind: Annotated[str, typer.Argument(help="A kind, such as node.")],
    name: Annotated[str, typer.Argument(help="The resource.")],
    store: StoreOption = DEFAULT_STORE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
) -> None:
    """Remove a resource, after the plan without it was checked.

    Example: underlay delete node node-5
    """
    asyncio.run(_delete(store, _kind(kind), name, dry_run))


def read_or_refuse(paths: Sequence[Path] | None) -> list[Resource]:
    """The resources of the files; refuses when anything in them is wrong."""
    if not paths:
        raise typer.BadParameter("give at least one file or folder", param_hint="-f")
    resources, problems = read_manifests(paths)
    observed = [r for r in resources if KINDS[r.kind].writer == "observed"]
    problems += [
        Problem("error", "not-yours", r.ref, "kind", "is written by underlay itself", "leave it out") for r in observed
    ]
    if problems:
        raise Refused(problems, "nothing was changed")
    return resources


async def read_snapshot(store: Store) -> Snapshot:
    """What is declared in the store; what cannot be read is printed and left out."""
    resources, _, problems = await load(store, _SNAPSHOT_KINDS)
    print_problems(problems)
    return Snapshot(resources)


async def _apply(url: str, resources: list[Resource], dry_run: bool) -> None:
    store = open_store(url)
    try:
        current = await read_snapshot(store)
        changed = [r for r in resources if not _same(current.get(r.kind, r.name), r)]
        changes = _judge(current, current.with_changes(changed))
        # Written before a word is printed: a reader that hangs up (`| head`) must not stop it half-way.
        for resource in () if dry_run else changed:
            await put(store, resource)
        _print_changes(changes)
        for resource in changed:
            verb = "configured" if current.get(resource.kind, resource.name) else "created"
            console.print(f"{resource.ref} {verb}{' (dry run)' if dry_run else ''}", markup=False)
        for resource in resources:
            if resource not in changed:
                console.print(f"{resource.ref} unchanged", markup=False)
    finally:
        await store.close()


async def _delete(url: str, kind: Kind, name: str, dry_run: bool) -> None:
    store = open_store(url)
    try:
        current = await read_snapshot(store)
        if kind.writer == "observed":
            raise Refused(message=f"error: {kind.name}/{name}: is written by underlay itself and cannot be deleted")
        if current.get(kind.name, name) is None:
            known = ", ".join(current.all(kind.name)) or "none"
            raise Refused(message=f"error: {kind.name}/{name}: there is no such resource (there are: {known})")
        changes = _judge(current, current.with_changes((), [f"{kind.name}/{name}"]))
        if not dry_run:
            await store.delete(kind.name, name)
        _print_changes(changes)
        console.print(f"{kind.name}/{name} deleted{' (dry run)' if dry_run else ''}", markup=False)
    finally:
        await store.close()


def _judge(before: Snapshot, after: Snapshot) -> list[SessionChange]:
    """What the change does to the sessions; refuses the errors that it brings."""
    old, new = plan(before), plan(after)
    brought = [problem for problem in new.problems if problem not in old.problems]
    if errors(brought):
        raise Refused(brought, "nothing was changed")
    print_problems(brought)
    return compare(old, new)


def _print_changes(changes: Sequence[SessionChange]) -> None:
    for change in changes:
        console.print(change.line(), markup=False, style={"+": "green", "-": "red"}.get(change.line()[0], "yellow"))


def _same(current: Resource | None, wanted: Resource) -> bool:
    return current is not None and current.to_document() == wanted.to_document()


async def _get(url: str, kind: Kind, name: str | None, output: Format) -> None:
    store = open_store(url)
    try:
        resources, _, problems = await load(store, (kind.name,))
    finally:
        await store.close()
    print_problems(problems)
    shown = [_without_secrets(r.to_document()) for r in resources if name in (None, r.name)]
    if name is not None and not shown:
        raise Refused(message=f"error: {kind.name}/{name}: there is no such resource")
    if output is not Format.table:
        print_data(shown[0] if name is not None else {"kind": "List", "items": shown}, output)
        return
    print_table("", ["NAME", "SPEC"], [(d["metadata"]["name"], _summary(d)) for d in shown])


def _summary(document: dict[str, Any]) -> str:
    body = document.get("spec", document.get("stringData", {}))
    text = "  ".join(f"{key}={value}" for key, value in body.items())
    return text if len(text) <= 150 else text[:147] + "..."


def _without_secrets(document: dict[str, Any]) -> dict[str, Any]:
    if "stringData" in document:
        document["stringData"] = dict.fromkeys(document["stringData"], "(hidden)")
    return document


def _kind(text: str) -> Kind:
    kind = kind_named(text)
    if kind is None:
        raise typer.BadParameter(f"{text!r} is no kind; known: {', '.join(k.plural for k in KINDS.values())}")
    return kind
