"""`web`: the page that shows the fabric as it is."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from underlay.http_command import place_of, server_of
from underlay.options import DEFAULT_STORE, StoreOption

#: Beside those of the metrics of speakers, reflectors and controllers.
PORT = 9793
#: Only who looks at the page has to have an HTTP server.
_SERVER = "underlay.web_server"


def register(app: typer.Typer) -> None:
    app.command()(web)


def web(
    store: StoreOption = DEFAULT_STORE,
    listen: Annotated[
        str, typer.Option("--listen", help="Where the page is.", metavar="ADDR:PORT")
    ] = f"127.0.0.1:{PORT}",
) -> None:
    """Show the fabric on a web page: sessions, addresses, switches, problems. It reads and never writes.

    There is no login: who reaches the port sees the page.

    Example: underlay web --listen 127.0.0.1:9793
    """
    place = place_of(listen)
    server = server_of(_SERVER, "web")
    asyncio.run(server.serve(place, store))
