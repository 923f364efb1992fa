"""`speaker` and `controller`: the processes that run for as long as the node or the cluster does."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from bgp_speaker.agent import AlreadyRunning, Beside, Speaker
from bgp_speaker.node_drain import nobody_knows
from ipam.collector import LEAK_GRACE_S
from peering.prefixes import format_address
from peering.resource import is_name
from peering.store.interest import speaker_interests
from peering.store.open_store import open_store
from underlay import controller_metrics
from underlay.controller import Controller, Graces
from underlay.health_server import Answer, Paths, alive, keep_serving, unless
from underlay.node_metrics import exposition
from underlay.node_pods import LONGEST_SOCKET_PATH, BlockClaims, CniPlaces, NodePods
from underlay.node_readiness import unreadiness
from underlay.options import DEFAULT_STORE, StoreOption, is_written
from underlay.output import Refused
from underlay.reflector_options import Endpoint, Reader

_RUN_DIR = Path("/run/underlay/speaker")
#: What the agent knows of its cluster, for the one that comes after it.
_LAST_SEEN = "last-seen.json"
HealthOption = Annotated[
    str | None, typer.Option("--health", help="Answer /livez, /readyz and /metrics there.", metavar="ADDR:PORT")
]


def register(app: typer.Typer) -> None:
    app.command()(speaker)
    app.command()(controller)


_CNI_OPTIONS = {
    "cni_net_dir": "--cni-net-dir",
    "cni_bin_dir": "--cni-bin-dir",
    "cni_socket": "--cni-socket",
    "cni_queue": "--cni-queue",
    "cni_python": "--cni-python",
}
_USUAL = CniPlaces()


def speaker(
    ctx: typer.Context,
    node: Annotated[str, typer.Option("--node", help="The name of this machine's Node.")],
    store: StoreOption = DEFAULT_STORE,
    run_dir: Annotated[Path, typer.Option(help="Sockets, pid files and ExaBGP's configuration.")] = _RUN_DIR,
    exabgp_user: Annotated[str, typer.Option(help="The user that ExaBGP runs as.")] = "nobody",
    cni: Annotated[
        bool, typer.Option("--cni", help="Give pods addresses: serve the CNI plugin, and install it.")
    ] = False,
    cni_net_dir: Annotated[
        Path, typer.Option(help="Where the runtime looks for lists of plugins.", metavar="DIR")
    ] = _USUAL.net_dir,
    cni_bin_dir: Annotated[Path, typer.Option(help="Where it looks for plugins.", metavar="DIR")] = _USUAL.bin_dir,
    cni_socket: Annotated[Path, typer.Option(help="Where the plugin asks this agent.", metavar="PATH")] = _USUAL.socket,
    cni_queue: Annotated[
        Path, typer.Option(help="Where it leaves DELs while the agent is away.", metavar="DIR")
    ] = _USUAL.queue,
    cni_python: Annotated[
        Path | None, typer.Option(help="The node's Python that runs the plugin, 3.11 or later.", metavar="PATH")
    ] = None,
    health: HealthOption = None,
) -> None:
    """Run the node agent: sessions by ExaBGP, blocks by IPAM, learned routes into the kernel.

    Example: underlay speaker --node node-1 --store sqlite:/var/lib/underlay/store.db
    """
    if not is_name(node):
        raise typer.BadParameter(f"{node!r} is no name of a Node", param_hint="--node")
    places = CniPlaces(cni_net_dir, cni_bin_dir, cni_socket, cni_queue, cni_python)
    _check_places(ctx, cni, places)
    asyncio.run(_speaker(node, store, run_dir, exabgp_user, places if cni else None, _endpoint(health)))


def controller(
    store: StoreOption = DEFAULT_STORE,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds a node must be missing before its blocks are freed.")
    ] = 60.0,
    leak_grace: Annotated[
        float, typer.Option(min=0, help="Seconds an address must be without a holder before it is freed.")
    ] = LEAK_GRACE_S,
    render_to: Annotated[
        Path | None, typer.Option(help="Keep the switches' configurations current in DIR/SWITCH/.", metavar="DIR")
    ] = None,
    with_secrets: Annotated[bool, typer.Option("--with-secrets", help="Render real passwords (files 0600).")] = False,
    health: HealthOption = None,
) -> None:
    """Free the blocks of nodes that are gone, and keep rendered switch configurations current.

    Example: underlay controller --render-to /var/lib/underlay/rendered
    """
    asyncio.run(_controller(store, Graces(grace, leak_grace), render_to, with_secrets, _endpoint(health)))


def log(message: str) -> None:
    """One line on stderr with the time of day in UTC."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {message}\n")
    sys.stderr.flush()


def _check_places(ctx: typer.Context, cni: bool, places: CniPlaces) -> None:
    """Raises BadParameter. The plugin is told the paths by a file, and runs in no folder in particular."""
    for name, option in _CNI_OPTIONS.items():
        if is_written(ctx, name) and not cni:
            raise typer.BadParameter("goes with --cni", param_hint=option)
        path = ctx.params[name]
        if path is not None and not path.is_absolute():
            raise typer.BadParameter(f"{path} is no absolute path", param_hint=option)
    if len(os.fsencode(places.socket)) > LONGEST_SOCKET_PATH:
        message = f"is longer than the {LONGEST_SOCKET_PATH} bytes that a unix socket's path may have"
        raise typer.BadParameter(message, param_hint=_CNI_OPTIONS["cni_socket"])


def _endpoint(text: str | None) -> Endpoint | None:
    """Raises Refused."""
    reader = Reader()
    found = reader.endpoint("--health", text)
    if reader.problems:
        raise Refused(reader.problems)
    return found


def _health(place: Endpoint | None, paths: Paths) -> list[Beside]:
    """What answers probes, if it is wanted."""
    return [partial(keep_serving, format_address(place.address), place.port, paths, log)] if place else []


async def _speaker(
    node: str, url: str, run_dir: Path, exabgp_user: str, places: CniPlaces | None, health: Endpoint | None
) -> None:
    store, claims = open_store(url, speaker_interests(node), run_dir / _LAST_SEEN), BlockClaims()
    unused = places.unused_pod_cidrs if places is not None else nobody_knows
    agent = Speaker(node, store, run_dir, claims.claim, log, exabgp_user, unused)
    beside: list[Beside] = _health(
        health,
        {
            "/livez": alive,
            "/readyz": lambda: unless(unreadiness(agent.state)),
            "/metrics": lambda: Answer(exposition(agent.state)),
        },
    )
    if places is not None:
        beside.append(NodePods(store, node, places, lambda: agent.state, claims, log).run)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, agent.stop)
    try:
        await agent.run(*beside)
    except AlreadyRunning as error:
        raise Refused(message=f"error: {error}") from error
    finally:
        await store.close()


async def _controller(
    url: str, graces: Graces, render_to: Path | None, with_secrets: bool, health: Endpoint | None
) -> None:
    store = open_store(url, ())
    work = Controller(store, log, graces, render_to, with_secrets)
    metrics = partial(_controller_metrics, work)
    beside = _health(health, {"/livez": alive, "/readyz": alive, "/metrics": metrics})
    try:
        await until_signalled(_together(work.run, *beside))
    finally:
        await store.close()


def _controller_metrics(work: Controller) -> Answer:
    return Answer(controller_metrics.exposition(work.state))


async def _together(*works: Beside) -> None:
    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(work())


async def until_signalled(work: Coroutine[Any, Any, None]) -> None:
    """Until it ends, or SIGTERM or SIGINT ends it."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        pass
