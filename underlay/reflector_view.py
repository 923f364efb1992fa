"""`routes`, and what `status --reflector` shows: the reflector's own view, by its admin socket."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from underlay.options import OutputOption
from underlay.output import Format, Refused, console, errors, print_data, print_table
from underlay.reflector_client import ask, socket_of
from underlay.reflector_tables import (
    TABLES,
    condition_line,
    detail_rows,
    headline,
    in_order,
    neighbor_columns,
    neighbor_rows,
    path_columns,
    path_rows,
    path_title,
    refused_lines,
)

SocketOption = Annotated[
    str | None,
    typer.Option("--reflector", help="A reflector on this machine: its name, or its admin socket.", metavar="NAME"),
]
NeighborOption = Annotated[
    str | None,
    typer.Option("--neighbor", help="With --reflector: all about this one, by name or address.", metavar="NAME"),
]

#: Rows of a table, unless --limit says otherwise.
LIMIT = 10_000
#: Conditions that are printed one by one.
_SHOWN = 20


def register(app: typer.Typer) -> None:
    app.command()(routes)


def routes(
    prefix: Annotated[str | None, typer.Argument(help="A prefix or an address.", metavar="PREFIX")] = None,
    reflector: SocketOption = None,
    longer: Annotated[bool, typer.Option("--longer", help="All prefixes inside PREFIX instead.")] = False,
    received: Annotated[
        str | None, typer.Option("--received", help="What this neighbour announced.", metavar="NEIGHBOR")
    ] = None,
    advertised: Annotated[
        str | None, typer.Option("--advertised", help="What this neighbour is told.", metavar="NEIGHBOR")
    ] = None,
    refused: Annotated[
        str | None, typer.Option("--refused", help="What of this neighbour is refused.", metavar="NEIGHBOR")
    ] = None,
    family: Annotated[str | None, typer.Option("--family", help="Only this family, such as ipv6-unicast.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="So many rows at most; 0 for all.")] = LIMIT,
    output: OutputOption = Format.table,
) -> None:
    """Show the routes that a reflector has: all paths to a prefix, which is best and why, or tables of them.

    Example: underlay routes 10.244.0.64/26 --reflector rr-1

    Example: underlay routes --advertised node-1
    """
    asked = {"--received": ("routes-in", received), "--advertised": ("routes-out", advertised)}
    asked["--refused"] = ("refused", refused)
    chosen = {option: one for option, one in asked.items() if one[1] is not None}
    if len(chosen) > 1:
        raise typer.BadParameter("only one of them", param_hint=" and ".join(chosen))
    if longer and prefix is None:
        raise typer.BadParameter("longer than what? Give PREFIX", param_hint="--longer")
    request, neighbor = next(iter(chosen.values()), ("routes", None))
    path = socket_of(reflector)
    if prefix is not None and not longer and not chosen:
        _show_paths(ask(path, "paths", prefix=prefix, family=family), output)
    else:
        answer = ask(path, request, neighbor=neighbor, prefix=prefix, family=family, limit=limit)
        _show_table(request, answer, output)


def _show_paths(answer: dict[str, Any], output: Format) -> None:
    paths = answer["rows"]
    if output is not Format.table:
        print_data(
            {**{name: answer[name] for name in answer if name not in ("rows", "truncated")}, "paths": paths}, output
        )
    elif paths:
        print_table(path_title(answer), path_columns(), path_rows(paths))
    if not paths:
        raise Refused(message=f"error: nothing is known of {answer['prefix']}, nor of a prefix around it")


def _show_table(request: str, answer: dict[str, Any], output: Format) -> None:
    rows = in_order(answer["rows"])
    if output is not Format.table:
        print_data({"routes": rows, "truncated": answer["truncated"]}, output)
    else:
        columns, cells = TABLES[request]
        print_table("", columns, map(cells, rows))
    if answer["truncated"]:
        errors.print(f"warning: there are more than these {len(rows)} (--limit 0 shows all)", markup=False)


def show_status(reflector: str, neighbor: str | None, output: Format) -> None:
    """A reflector with its neighbours, or one of those. Raises Refused where a declared one is not Established."""
    path = socket_of(reflector)
    if neighbor is not None:
        _show_neighbor(ask(path, "neighbor", neighbor=neighbor), output)
        return
    status = ask(path, "status")
    rows = sorted(ask(path, "neighbors", limit=0)["rows"], key=lambda row: (row["dynamic"], row["name"]))
    conditions = ask(path, "conditions", limit=0)["rows"]
    if output is Format.table:
        print_table(headline(status), neighbor_columns(), neighbor_rows(rows))
        for line in refused_lines(status):
            console.print(line, markup=False)
        _print_conditions(conditions)
    else:
        print_data({"status": status, "neighbors": rows, "conditions": conditions}, output)
    if any(row["state"] != "Established" and not row["dynamic"] for row in rows):
        raise Refused()


def _print_conditions(conditions: list[dict[str, Any]]) -> None:
    for row in conditions[:_SHOWN]:
        errors.print(f"warning: {condition_line(row)}", markup=False)
    if len(conditions) > _SHOWN:
        errors.print(f"warning: and {len(conditions) - _SHOWN} more conditions (-o json lists all)", markup=False)


def _show_neighbor(view: dict[str, Any], output: Format) -> None:
    if output is Format.table:
        print_table("", ["FIELD", "VALUE"], detail_rows(view))
    else:
        print_data(view, output)
    if view["state"] != "Established":
        raise Refused()
