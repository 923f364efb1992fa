"""`get`: resources as the store has them. Values of Secrets are never shown."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer

from peering.resource import Resource
from peering.resources.catalog import KINDS, Kind, kind_named
from peering.store.open_store import open_store
from peering.store.resources import load
from underlay.columns import cell, columns_of
from underlay.options import DEFAULT_STORE, OutputOption, StoreOption
from underlay.output import Format, Refused, print_data, print_problems, print_table

_HIDDEN = "(hidden)"


def get(
    kind: Annotated[str, typer.Argument(help="A kind, such as switches.")],
    name: Annotated[str | None, typer.Argument(help="One resource; all of the kind without it.")] = None,
    store: StoreOption = DEFAULT_STORE,
    output: OutputOption = Format.table,
) -> None:
    """Show resources of a kind.

    Example: underlay get switches tor-1a -o yaml
    """
    asyncio.run(_get(store, kind_or_misuse(kind), name, output))


def kind_or_misuse(text: str) -> Kind:
    """The kind of an argument; what is none ends the command as wrong usage."""
    kind = kind_named(text)
    if kind is None:
        raise typer.BadParameter(f"{text!r} is no kind; known: {', '.join(k.plural for k in KINDS.values())}")
    return kind


def no_such(kind: str, name: str, known: Iterable[str]) -> Refused:
    """For a name that is mistyped, as a rule."""
    there = ", ".join(known) or "none"
    return Refused(message=f"error: {kind}/{name}: there is no such resource (there are: {there})")


async def _get(url: str, kind: Kind, name: str | None, output: Format) -> None:
    store = open_store(url)
    try:
        resources, _, problems = await load(store, (kind.name,))
    finally:
        await store.close()
    print_problems(problems)
    chosen = [resource for resource in resources if name in (None, resource.name)]
    if name is not None and not chosen:
        raise no_such(kind.name, name, (resource.name for resource in resources))
    if output is Format.table:
        _print(kind, chosen)
        return
    shown = [_without_secrets(resource.to_document()) for resource in chosen]
    print_data(shown[0] if name is not None else {"kind": "List", "items": shown}, output)


def _print(kind: Kind, resources: Sequence[Resource]) -> None:
    columns = columns_of(kind)
    documents = [_without_secrets(_with_defaults(resource)) for resource in resources]
    cells = ([cell(document, column.path) for column in columns] for document in documents)
    rows = [(resource.name, *found) for resource, found in zip(resources, cells, strict=True)]
    print_table("", ["NAME", *(column.title.upper() for column in columns)], rows)


def _with_defaults(resource: Resource) -> dict[str, Any]:
    """The document with the fields that it leaves to their defaults, which are in force as well."""
    return resource.to_document() | {"spec": resource.spec.model_dump(mode="json", by_alias=True)}


def _without_secrets(document: dict[str, Any]) -> dict[str, Any]:
    if "stringData" in document:
        document.pop("spec", None)
        document["stringData"] = dict.fromkeys(document["stringData"], _HIDDEN)
    return document
