"""`status`, `ipam show`: what is, as the processes report it."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Sequence
from typing import Annotated, Any, cast

import typer

from ipam.block_order import address_at, size_of
from peering.resource import Resource
from peering.resources.ipam import BlockAffinitySpec, IPAMBlockSpec
from peering.resources.observed import RENEWAL_S, BGPNodeStatusSpec
from peering.store.open_store import open_store
from peering.store.resources import load
from underlay.options import DEFAULT_STORE, NodeOption, OutputOption, StoreOption
from underlay.output import Format, Refused, errors, print_data, print_table

_STALE_S = 3 * RENEWAL_S

ipam = typer.Typer(help="Blocks and addresses.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.command()(status)


def status(
    node: NodeOption = None,
    store: StoreOption = DEFAULT_STORE,
    output: OutputOption = Format.table,
) -> None:
    """Show every session as the nodes' speakers see it, with the reason where one is down. Exit 1 if any is.

    Example: underlay status --node node-1
    """
    statuses = _read(store, "BGPNodeStatus")
    chosen = [_unless_stale(cast(BGPNodeStatusSpec, r.spec)) for r in statuses if node in (None, r.name)]
    if node is not None and not chosen:
        raise Refused(message=f"error: Node/{node}: no speaker has reported a status")
    if output is Format.table:
        print_sessions(chosen)
        for spec in chosen:
            for problem in spec.problems:
                errors.print(f"warning: Node/{spec.node}: {problem}", markup=False)
    else:
        print_data([s.model_dump(mode="json", by_alias=True) for s in chosen], output)
    if any(s.state != "Established" for spec in chosen for s in spec.sessions):
        raise Refused()


def _unless_stale(status: BGPNodeStatusSpec) -> BGPNodeStatusSpec:
    """A report that was not renewed says nothing about now: its sessions are shown as unknown."""
    age = time.time() - status.reported
    if age < _STALE_S:
        return status
    reason = f"no report for {_age(status.reported)}: no speaker runs on the node"
    sessions = [s.model_copy(update={"state": "Unknown", "reason": reason}) for s in status.sessions]
    return status.model_copy(update={"sessions": tuple(sessions), "problems": (*status.problems, reason)})


def print_sessions(statuses: Sequence[BGPNodeStatusSpec], title: str = "") -> None:
    """The session table."""
    columns = ["NODE", "SESSION", "LOCAL", "PEER", "AS", "STATE", "SINCE", "RCVD", "USED", "SENT", "REASON"]
    print_table(title, columns, [row for spec in statuses for row in _rows(spec)])


def _rows(spec: BGPNodeStatusSpec) -> list[Sequence[object]]:
    return [
        (
            spec.node, s.session, s.local_address or "", s.peer_address, s.peer_asn, s.state,
            _age(s.since), s.received, s.accepted, s.announced, s.reason,
        )
        for s in spec.sessions
    ]  # fmt: skip


@ipam.command()
def show(
    node: NodeOption = None,
    blocks: Annotated[bool, typer.Option("--blocks", help="Only blocks, not addresses.")] = False,
    ip: Annotated[str | None, typer.Option("--ip", help="Who has this address.")] = None,
    store: StoreOption = DEFAULT_STORE,
    output: OutputOption = Format.table,
) -> None:
    """Show blocks with their owners, and addresses with their holders.

    Example: underlay ipam show --node node-1
    """
    address = None if ip is None else _canonical(ip)
    rows = [row for row in _block_rows(store) if node in (None, row["node"])]
    if blocks:
        rows = [{**row, "addresses": {}} for row in rows]
    if address is not None:
        rows = _holding(rows, address)
    if output is not Format.table:
        print_data(rows, output)
        return
    lines: list[Sequence[object]] = []
    for row in rows:
        lines.append((row["cidr"], row["node"], row["state"], f"{row['used']}/{row['size']}", "", ""))
        lines += [("", "", "", "", address, handle) for address, handle in row["addresses"].items()]
    print_table("", ["BLOCK", "NODE", "STATE", "USED", "ADDRESS", "HANDLE"], lines)


def _holding(rows: list[dict[str, Any]], address: str) -> list[dict[str, Any]]:
    """The row of the block in which the address is held, with that address alone."""
    for row in rows:
        if address in row["addresses"]:
            return [{**row, "addresses": {address: row["addresses"][address]}}]
    raise Refused(message=f"error: {address} is held by nobody")


def _canonical(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        raise typer.BadParameter(f"{address!r} is no IP address", param_hint="--ip") from None


def _block_rows(url: str) -> list[dict[str, Any]]:
    contents = {cast(IPAMBlockSpec, r.spec).cidr: cast(IPAMBlockSpec, r.spec) for r in _read(url, "IPAMBlock")}
    rows = []
    for resource in _read(url, "BlockAffinity"):
        affinity = cast(BlockAffinitySpec, resource.spec)
        allocations = contents[affinity.cidr].allocations if affinity.cidr in contents else ()
        addresses = {address_at(affinity.cidr, a.ordinal): a.handle for a in allocations}
        rows.append(
            {
                "cidr": affinity.cidr,
                "node": affinity.node,
                "state": affinity.state,
                "used": len(allocations),
                "size": size_of(affinity.cidr),
                "addresses": addresses,
            }
        )
    return sorted(rows, key=lambda row: (str(row["node"]), str(row["cidr"])))


def _read(url: str, kind: str) -> list[Resource]:
    async def read() -> list[Resource]:
        store = open_store(url)
        try:
            return (await load(store, (kind,)))[0]
        finally:
            await store.close()

    return asyncio.run(read())


def _age(since: float) -> str:
    if not since:
        return ""
    seconds = max(0, int(time.time() - since))
    hours, rest = divmod(seconds, 3600)
    return f"{hours}h{rest // 60:02}m" if hours else f"{rest // 60}m{rest % 60:02}s"
