"""`speaker` and `controller`: the processes that run for as long as the node or the cluster does."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from bgp_speaker.agent import AlreadyRunning, Speaker
from ipam.errors import IpamError
from ipam.new_blocks import ensure_blocks
from peering.resource import Resource, is_name
from peering.store.open_store import open_store
from peering.store.protocol import Store, StoreError
from underlay.controller import Controller
from underlay.options import DEFAULT_STORE, StoreOption
from underlay.output import Refused

_RUN_DIR = Path("/run/underlay/speaker")


def register(app: typer.Typer) -> None:
    app.command()(speaker)
    app.command()(controller)


def speaker(
    node: Annotated[str, typer.Option("--node", help="The name of this machine's Node.")],
    store: StoreOption = DEFAULT_STORE,
    run_dir: Annotated[Path, typer.Option(help="Sockets, pid files and ExaBGP's configuration.")] = _RUN_DIR,
    exabgp_user: Annotated[str, typer.Option(help="The user that ExaBGP runs as.")] = "nobody",
) -> None:
    """Run the node agent: sessions by ExaBGP, blocks by IPAM, learned routes into the kernel.

    Example: underlay speaker --node node-1 --store sqlite:/var/lib/underlay/store.db
    """
    if not is_name(node):
        raise typer.BadParameter(f"{node!r} is no name of a Node", param_hint="--node")
    asyncio.run(_speaker(node, store, run_dir, exabgp_user))


def controller(
    store: StoreOption = DEFAULT_STORE,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds a node must be missing before its blocks are freed.")
    ] = 60.0,
    render_to: Annotated[
        Path | None, typer.Option(help="Keep the switches' configurations current in DIR/SWITCH/.", metavar="DIR")
    ] = None,
    with_secrets: Annotated[bool, typer.Option("--with-secrets", help="Render real passwords (files 0600).")] = False,
) -> None:
    """Free the blocks of nodes that are gone, and keep rendered switch configurations current.

    Example: underlay controller --render-to /var/lib/underlay/rendered
    """
    asyncio.run(_controller(store, grace, render_to, with_secrets))


def log(message: str) -> None:
    """One line on stderr with the time of day in UTC."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {message}\n")
    sys.stderr.flush()


async def _speaker(node: str, url: str, run_dir: Path, exabgp_user: str) -> None:
    store = open_store(url)
    agent = Speaker(node, store, run_dir, _claim, log, exabgp_user)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, agent.stop)
    try:
        await agent.run()
    except AlreadyRunning as error:
        raise Refused(message=f"error: {error}") from error
    finally:
        await store.close()


async def _claim(store: Store, node: Resource, pools: tuple[Resource, ...]) -> None:
    """IPAM's claim; an empty pool may have a free block later, so it counts as a fault that may heal."""
    try:
        await ensure_blocks(store, node, pools)
    except IpamError as error:
        raise StoreError(str(error)) from error


async def _controller(url: str, grace: float, render_to: Path | None, with_secrets: bool) -> None:
    store = open_store(url)
    try:
        await _until_signalled(Controller(store, log, grace, render_to, with_secrets).run())
    finally:
        await store.close()


async def _until_signalled(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(work)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        pass
