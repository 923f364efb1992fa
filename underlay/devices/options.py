"""Options of the commands that log in to switches."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from underlay.devices.drivers import Driver

DriverOption = Annotated[Driver | None, typer.Option("--driver", help="Ask the switch over this library.")]
InventoryOption = Annotated[
    str, typer.Option("--inventory", help="Where it is: switches, netbox:URL or nornir:FILE.", metavar="PLACE")
]
CredentialsOption = Annotated[
    Path | None,
    typer.Option("--credentials", help="A file with username and password, for you alone (0600).", metavar="FILE"),
]
DEFAULT_INVENTORY = "switches"
