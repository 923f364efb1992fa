"""`drain`, `uncordon`: a node leaves the fabric's paths before it is worked on, and comes back.

The wish goes into BGPConfiguration/node.NAME; the node's speaker does the rest, and reports how far it is. That is all
that is known of the fabric: BGP acknowledges nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, cast

import typer

from peering.drain_wish import DrainWish, Extent, configuration_of, drain_wish
from peering.resource import Resource
from peering.resources.bgp_configuration import BGPConfigurationSpec
from peering.resources.observed import BGPNodeStatusSpec
from peering.snapshot import Snapshot
from peering.store.interest import Interest
from peering.store.open_store import open_store
from peering.store.protocol import Conflict, NotFound, Store
from peering.store.resources import find, load, to_resource
from underlay import reports
from underlay.getting import no_such
from underlay.options import DEFAULT_STORE, StoreOption
from underlay.output import Refused, console, print_problems

NodeArgument = Annotated[str, typer.Argument(help="The node.")]
_ATTEMPTS = 20
_KINDS = ("BGPNodeStatus",)
_STEPS = {
    "serving": "its speaker has not begun",
    "draining": "its peers are told GRACEFUL_SHUTDOWN; waiting for the fabric to move",
}


def register(app: typer.Typer) -> None:
    app.command()(drain)
    app.command()(uncordon)


def drain(
    node: NodeArgument,
    store: StoreOption = DEFAULT_STORE,
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="Withdraw everything, addresses of pods that still run included.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until the node's speaker reports that it is drained.")] = False,
    timeout: Annotated[
        float, typer.Option(min=0, help="Seconds to wait; then the exit code is 1.", metavar="SECONDS")
    ] = 120.0,
) -> None:
    """Take a node out of the fabric's paths: GRACEFUL_SHUTDOWN (RFC 8326) first, withdrawals after the fabric moved.

    Example: underlay drain node-1 --wait
    """
    asyncio.run(_drain(store, node, "Everything" if withdraw else "Unused", timeout if wait else None))


def uncordon(node: NodeArgument, store: StoreOption = DEFAULT_STORE) -> None:
    """Let a drained node announce everything again, at once. Exit 1 when something else wants it drained still.

    Example: underlay uncordon node-1
    """
    asyncio.run(_uncordon(store, node))


async def _drain(url: str, node: str, extent: Extent, seconds: float | None) -> None:
    store = open_store(url, (Interest("BGPNodeStatus", "name", node),))
    try:
        await _check_node(store, node)
        before, _ = await _report(store, node)
        written = await _write(store, node, extent)
        _say(f"Node/{node}: {'is to be drained' if written else 'was to be drained already'}")
        if seconds is not None:
            await _wait(store, node, seconds, before.version if before and written else 0)
    finally:
        await store.close()


async def _uncordon(url: str, node: str) -> None:
    store = open_store(url, ())
    try:
        await _check_node(store, node)
        written = await _write(store, node, None)
        wish = await _wish(store, node)
    finally:
        await store.close()
    if wish.extent:
        raise Refused(message=f"error: Node/{node}: stays drained: {', '.join(wish.because)}")
    _say(f"Node/{node}: {'serves again' if written else 'was not drained'}")


async def _check_node(store: Store, node: str) -> None:
    """Raises Refused for a node that is not there: its name is mistyped."""
    try:
        await store.get("Node", node)
    except NotFound:
        raise no_such("Node", node, [one.name for one in await store.list("Node")]) from None


async def _wish(store: Store, node: str) -> DrainWish:
    names = (("Node", node), ("BGPConfiguration", "default"), ("BGPConfiguration", configuration_of(node)))
    found = [await find(store, kind, name) for kind, name in names]
    return drain_wish(Snapshot(one for one in found if one), node)


async def _write(store: Store, node: str, extent: Extent | None) -> bool:
    """Whether anything had to be written. What else the object says stays, and an empty one goes."""
    for _ in range(_ATTEMPTS):
        try:
            return await _try_to_write(store, node, extent)
        except (Conflict, NotFound):
            continue
    raise Refused(message="error: others change the store all the time: try again\nnothing was changed")


async def _try_to_write(store: Store, node: str, extent: Extent | None) -> bool:
    kind, name = "BGPConfiguration", configuration_of(node)
    try:
        stored = await store.get(kind, name)
    except NotFound:
        if extent is None:
            return False
        made = Resource(kind, name, BGPConfigurationSpec.model_validate({"drain": extent}))
        await store.create(kind, name, made.to_document())
        return True
    resource = to_resource(stored)
    if not isinstance(resource, Resource):
        raise Refused(resource, "nothing was changed")
    spec = cast(BGPConfigurationSpec, resource.spec)
    if spec.drain == extent:
        return False
    after = replace(resource, spec=spec.model_copy(update={"drain": extent}))
    if after == Resource(kind, name, BGPConfigurationSpec(), version=resource.version):
        await store.delete(kind, name, stored.version)
    else:
        await store.update(kind, name, after.to_document(), stored.version)
    return True


async def _wait(store: Store, node: str, seconds: float, outdated: int) -> None:
    """A line for each step. Raises Refused when the time is over."""
    said: list[str] = []

    def tell(line: str) -> None:
        if [line] != said[-1:]:
            said.append(line)
            _say(f"Node/{node}: {line}")

    try:
        async with asyncio.timeout(seconds):
            await _until_drained(store, node, tell, outdated)
    except TimeoutError:
        last = f": {said[-1]}" if said else ""
        raise Refused(message=f"error: Node/{node}: not drained after {seconds:g} s{last}") from None


async def _until_drained(store: Store, node: str, tell: Callable[[str], None], outdated: int) -> None:
    """A report of the version `outdated` is from before the wish."""
    report, since = await _report(store, node)
    if _tells_drained(report, tell, outdated):
        return
    async for _ in store.watch(_KINDS, since):
        report, _ = await _report(store, node)
        if _tells_drained(report, tell, outdated):
            return


async def _report(store: Store, node: str) -> tuple[Resource | None, int]:
    resources, since, problems = await load(store, _KINDS)
    print_problems(problem for problem in problems if problem.object == f"BGPNodeStatus/{node}")
    return next((one for one in resources if one.name == node), None), since


def _tells_drained(report: Resource | None, tell: Callable[[str], None], outdated: int) -> bool:
    """Whether the node is drained; what the report says goes to `tell`."""
    if report is None:
        tell("no speaker has reported a status")
        return False
    status = cast(BGPNodeStatusSpec, report.spec)
    late = reports.overdue(status, time.time())
    if report.version == outdated and late is None:
        return False
    tell(late or _step(status))
    return late is None and status.drain == "drained"


def _step(status: BGPNodeStatusSpec) -> str:
    """What is said of a report."""
    if status.drain != "drained":
        return _STEPS[status.drain]
    kept = ", ".join(status.kept)
    return f"drained, but for what is in use or what nobody else serves: {kept}" if kept else "drained"


def _say(line: str) -> None:
    console.print(line, markup=False)
