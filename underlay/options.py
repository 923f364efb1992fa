"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from peering.store.open_store import DEFAULT_STORE
from underlay.output import Format

StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="UNDERLAY_STORE",
        help="Where resources are kept: sqlite:PATH or kubernetes:CONTEXT.",
        metavar="URL",
    ),
]
FilesOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--file", "-f", help="Manifests: a file, a folder or - for standard input; may be repeated.", metavar="PATH"
    ),
]
OutputOption = Annotated[Format, typer.Option("--output", "-o", help="table, json or yaml.")]
NodeOption = Annotated[str | None, typer.Option("--node", help="Only this node.")]
SwitchOption = Annotated[str | None, typer.Option("--switch", help="Only this switch.")]
ReflectorOption = Annotated[str | None, typer.Option("--reflector", help="Only this reflector.")]


def is_written(ctx: typer.Context, parameter: str) -> bool:
    """Whether a parameter is from the command line, not from the environment or its default."""
    source = ctx.get_parameter_source(parameter)
    return source is not None and source.name == "COMMANDLINE"


__all__ = [
    "DEFAULT_STORE",
    "FilesOption",
    "NodeOption",
    "OutputOption",
    "ReflectorOption",
    "StoreOption",
    "SwitchOption",
    "is_written",
]
