"""`webhook`: asked by the API server about every change of the declaration."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from underlay.http_command import place_of, server_of
from underlay.options import DEFAULT_STORE, StoreOption

_MAX_LOSS = 20.0
#: Only who uses a cluster has to have an HTTP server.
_SERVER = "underlay.webhook_server"


def register(app: typer.Typer) -> None:
    app.command()(webhook)


def webhook(
    listen: Annotated[str, typer.Option("--listen", help="Where the API server asks.", metavar="ADDR:PORT")],
    certificate: Annotated[Path, typer.Option("--tls-cert", help="Its certificate, PEM.", metavar="FILE")],
    key: Annotated[Path, typer.Option("--tls-key", help="The key of that, PEM.", metavar="FILE")],
    store: StoreOption = DEFAULT_STORE,
    max_loss: Annotated[
        float,
        typer.Option(min=0, max=100, metavar="PERCENT", help="Refuse when a larger share of the sessions goes down."),
    ] = _MAX_LOSS,
) -> None:
    """Answer the API server's question whether a change of the declaration is good.

    Example: underlay webhook --store kubernetes --listen 0.0.0.0:9443 --tls-cert tls.crt --tls-key tls.key
    """
    place = place_of(listen)
    server = server_of(_SERVER, "kubernetes")
    asyncio.run(server.serve(place, server.Certificate(certificate, key), store, max_loss))
