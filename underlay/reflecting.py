"""`reflector`: the route reflector as a process, of a RouteReflector in a store or of what its options say."""

from __future__ import annotations

import asyncio
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from peering.problems import Problem, errors
from peering.resource import is_name
from peering.store.open_store import open_store
from reflector.desired import Desired
from reflector.restart_marker import RestartMarker
from reflector.server.admin_socket import default_socket
from reflector.server.json_log import EventLog
from reflector.server.server import ReflectorServer
from reflector.standalone import NAME
from underlay.options import DEFAULT_STORE, StoreOption, is_written
from underlay.output import Refused
from underlay.reflector_options import Given, Reader
from underlay.reflector_places import AdminSocket, Metrics
from underlay.reflector_process import Beside, ReflectorProcess
from underlay.reflector_sources import OptionsSource, Source, StoreSource, desired_of

_STATE_DIR = Path("/var/lib/underlay/reflector")


class Ownership(StrEnum):
    """`--ownership`."""

    off = "off"
    report = "report"
    enforce = "enforce"


class LogForm(StrEnum):
    """`--log`."""

    text = "text"
    json = "json"


def register(app: typer.Typer) -> None:
    app.command()(reflector)


def reflector(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Option("--name", help="The RouteReflector of the store that it is.")] = None,
    store: StoreOption = DEFAULT_STORE,
    listen: Annotated[
        list[str] | None, typer.Option("--listen", help="Where it listens; may be repeated.", metavar="ADDR:PORT")
    ] = None,
    asn: Annotated[str | None, typer.Option("--as", help="Its AS, and that of its clients.", metavar="N")] = None,
    router_id: Annotated[str | None, typer.Option("--router-id", help="Its router ID.", metavar="ID")] = None,
    cluster_id: Annotated[
        str | None, typer.Option("--cluster-id", help="Its cluster ID; the router ID without it.", metavar="ID")
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option("--accept", help="Whoever comes from here is a client; may be repeated.", metavar="PREFIX"),
    ] = None,
    owners: Annotated[
        Path | None, typer.Option("--owners", readable=False, help="Who may announce what, as JSON.", metavar="FILE")
    ] = None,
    ownership: Annotated[
        Ownership | None, typer.Option("--ownership", help="What is done with a prefix of somebody else.")
    ] = None,
    filters: Annotated[
        Path | None,
        typer.Option("--filters", readable=False, help="BGPFilters for all clients, as YAML.", metavar="FILE"),
    ] = None,
    max_prefixes: Annotated[
        str | None, typer.Option("--max-prefixes", help="Most prefixes of a client, by family.", metavar="N")
    ] = None,
    hold_time: Annotated[
        str | None, typer.Option("--hold-time", help="Hold time that it offers, in seconds; 90.", metavar="N")
    ] = None,
    password_file: Annotated[
        Path | None,
        typer.Option("--password-file", readable=False, help="TCP-MD5 password of the clients.", metavar="FILE"),
    ] = None,
    admin_socket: Annotated[
        Path | None, typer.Option("--admin-socket", help="Answer questions on this unix socket.", metavar="PATH")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option("--metrics", help="Serve Prometheus metrics here.", metavar="ADDR:PORT")
    ] = None,
    state_dir: Annotated[
        Path | None, typer.Option("--state-dir", help="Where the last good plan is kept.", metavar="DIR")
    ] = None,
    graceful: Annotated[
        bool, typer.Option("--graceful", help="End without a word, so that peers keep the routes.")
    ] = False,
    log: Annotated[LogForm, typer.Option("--log", help="How lines are written.")] = LogForm.text,
) -> None:
    """Run a route reflector: one that is declared in a store, or one that takes any client of some prefixes.

    Example: underlay reflector --name rr-1

    Example: underlay reflector --listen 0.0.0.0:179 --as 64512 --router-id 10.0.0.1 --accept 10.0.0.0/8
    """
    given = Given(
        name=name,
        listen=listen or (),
        asn=asn,
        router_id=router_id,
        cluster_id=cluster_id,
        accept=accept or (),
        owners=owners,
        ownership=ownership.value if ownership else None,
        filters=filters,
        max_prefixes=max_prefixes,
        hold_time=hold_time,
        password_file=password_file,
        admin_socket=admin_socket,
        metrics=metrics,
    )
    given.check_form()
    if name is not None and not is_name(name):
        raise typer.BadParameter(f"{name!r} is no name of a RouteReflector", param_hint="--name")
    if name is None and is_written(ctx, "store"):
        raise typer.BadParameter("goes with --name", param_hint="--store")
    asyncio.run(_reflect(given, store, state_dir, EventLog(sys.stderr, log.value), graceful))


async def _reflect(given: Given, store: str, state_dir: Path | None, log: EventLog, graceful: bool) -> None:
    folder = state_dir or (_STATE_DIR if given.name is not None else None)
    reader = Reader()
    metrics = reader.endpoint("--metrics", given.metrics)
    reader.socket_path("--admin-socket", given.admin_socket)
    source = _source(given, store, folder or _STATE_DIR, reader, log)
    marker = RestartMarker(folder, given.name or NAME) if folder is not None else None
    socket_path = given.admin_socket or default_socket(given.name or NAME)
    beside: list[Beside] = [AdminSocket(socket_path, log, required=given.admin_socket is not None)]
    beside += [Metrics(metrics)] if metrics is not None else []
    process = ReflectorProcess(source, ReflectorServer, log, marker=marker, graceful=graceful, beside=tuple(beside))
    await process.run()


def _source(given: Given, store: str, folder: Path, reader: Reader, log: EventLog) -> Source:
    """Raises Refused with all that is wrong with the options, and what `reader` has found already."""
    first: Desired | None = None
    found: list[Problem] = []
    if given.name is None:
        first, found = desired_of(given)
    else:
        open_store(store)
        reader.password(given.password_file)
    problems = [*reader.problems, *found]
    if errors(problems):
        raise Refused(problems)
    if first is not None:
        return OptionsSource(given, first, problems, log)
    assert given.name is not None
    return StoreSource(store, given.name, folder, given.password_file, log)
