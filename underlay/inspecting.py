"""`status`: what is, as the processes report it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import cast

import typer

from peering.compile import plan
from peering.resource import Resource
from peering.resources.catalog import PLAN_KINDS
from peering.resources.observed import BGPNodeStatusSpec
from peering.session import Plan
from peering.snapshot import Snapshot
from peering.store.open_store import open_store
from peering.store.resources import load
from underlay import reports
from underlay.fabric_status import fabric_status
from underlay.options import DEFAULT_STORE, NodeOption, OutputOption, StoreOption
from underlay.output import Format, Refused, errors, print_data, print_table
from underlay.reflector_view import NeighborOption, SocketOption, show_status


def register(app: typer.Typer) -> None:
    app.command()(status)


def status(
    node: NodeOption = None,
    store: StoreOption = DEFAULT_STORE,
    reflector: SocketOption = None,
    neighbor: NeighborOption = None,
    output: OutputOption = Format.table,
) -> None:
    """Show every session as the nodes' speakers see it, with the reason where one is down.

    Exit 1 if any is, if a speaker is overdue with its report, or if a node that has sessions has never reported.

    With --reflector, a reflector on this machine with its neighbours, as it sees them itself.

    Example: underlay status --node node-1

    Example: underlay status --reflector rr-1
    """
    if reflector is not None:
        if node is not None:
            raise typer.BadParameter("not together with --reflector", param_hint="--node")
        show_status(reflector, neighbor, output)
        return
    if neighbor is not None:
        raise typer.BadParameter("goes with --reflector", param_hint="--neighbor")
    resources, now = _read(store, "BGPNodeStatus", *PLAN_KINDS), time.time()
    compiled = plan(Snapshot(resources))
    reported = {r.name: cast(BGPNodeStatusSpec, r.spec) for r in resources if r.kind == "BGPNodeStatus"}
    found = fabric_status(compiled, reported, now, node)
    if node is not None and not found.statuses:
        raise Refused(message=f"error: Node/{node}: no speaker has reported a status")
    if output is Format.table:
        rows = _reflector_rows(compiled, found.statuses) if node is None else ()
        print_sessions(list(found.statuses.values()), rows=rows)
    else:
        print_data(found.to_json(), output)
    for trouble in found.troubles():
        errors.print(trouble.line(), markup=False)
    if not found.is_good:
        raise Refused()


def print_sessions(
    statuses: Sequence[BGPNodeStatusSpec], title: str = "", rows: Sequence[Sequence[object]] = ()
) -> None:
    """The session table; `rows` come after those of the nodes."""
    columns = ["NODE", "SESSION", "LOCAL", "PEER", "AS", "STATE", "SINCE", "RCVD", "USED", "SENT", "REASON"]
    print_table(title, columns, [*(row for spec in statuses for row in _rows(spec)), *rows])


def _rows(spec: BGPNodeStatusSpec) -> list[Sequence[object]]:
    return [
        (
            spec.node, s.session, s.local_address or "", s.peer_address, s.peer_asn, s.state,
            _age(s.since), s.received, s.accepted, s.announced, s.reason,
        )
        for s in spec.sessions
    ]  # fmt: skip


def _reflector_rows(compiled: Plan, statuses: Mapping[str, BGPNodeStatusSpec]) -> list[Sequence[object]]:
    return [
        (
            f"reflector/{row.reflector}", row.session.name, row.session.local_address or "", row.session.peer_address,
            row.session.peer_asn, row.state, _age(row.since), "", "", "", row.reason,
        )
        for row in reports.reflector_sessions(compiled, statuses)
    ]  # fmt: skip


def _read(url: str, *kinds: str) -> list[Resource]:
    async def read() -> list[Resource]:
        store = open_store(url)
        try:
            return (await load(store, kinds))[0]
        finally:
            await store.close()

    return asyncio.run(read())


def _age(since: float) -> str:
    return reports.duration(time.time() - since) if since else ""
