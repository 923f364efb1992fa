"""What `ipam show` shows: a row for each block with who owns it, and its addresses with who holds them. Pure.

Who owns a block is said by its IPAMBlock; how far the claim is by the owner's BlockAffinity. A claim of somebody who
does not own the block is a row of its own, without addresses. So is the podCIDR of a node in a pool of podCIDRs: of its
addresses only host-local on that node knows, so that nothing is said of how many are in use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

from ipam.block import user_of
from ipam.block_order import address_at, is_inside, size_of
from peering import pod_cidrs
from peering.prefixes import numbers
from peering.resource import Resource
from peering.resources.ipam import Allocation, BlockAffinitySpec, IPAMBlockSpec
from peering.snapshot import Snapshot

Row = dict[str, Any]

#: The state of a block for which its owner has no BlockAffinity, or that nobody owns.
NO_CLAIM = "none"
#: The state of a podCIDR, which is nobody's to claim.
POD_CIDR = "podCIDR"
#: The state of a block of another node in which the node that is asked for uses addresses.
BORROWED = "borrowed"


def block_rows(resources: Iterable[Resource]) -> list[Row]:
    """All blocks and claims, by owner and address. Of the kinds BlockAffinity and IPAMBlock.

    With those of the kinds IPPool and Node also the podCIDRs.
    """
    found = list(resources)
    affinities = (cast(BlockAffinitySpec, one.spec) for one in found if one.kind == "BlockAffinity")
    claims = [one for one in affinities if one.type != "borrower"]
    blocks = {spec.cidr: spec for spec in (cast(IPAMBlockSpec, r.spec) for r in found if r.kind == "IPAMBlock")}
    states = {(f"{one.type}:{one.node}", one.cidr): one.state for one in claims}
    rows = [_row(spec, states.get((spec.affinity, cidr), NO_CLAIM)) for cidr, spec in blocks.items()]
    owned = {(spec.affinity, cidr) for cidr, spec in blocks.items()}
    for (owner, cidr), state in states.items():
        if (owner, cidr) not in owned:
            rows.append(_row(IPAMBlockSpec(cidr=cidr, affinity=owner), state))
    for node, cidrs in pod_cidrs.of_nodes(pools_and_nodes(found)).items():
        for cidr in cidrs:
            rows.append({**_row(IPAMBlockSpec(cidr=cidr, affinity=f"host:{node}"), POD_CIDR), "used": None})
    return sorted(rows, key=_order)


def pools_and_nodes(resources: Iterable[Resource]) -> Snapshot:
    """What says which podCIDRs there are."""
    return Snapshot(one for one in resources if one.kind in ("IPPool", "Node"))


def of_node(rows: Iterable[Row], node: str) -> list[Row]:
    """The node's own blocks and claims, and of others' blocks the addresses that it uses."""
    found = []
    for row in rows:
        if row["node"] == node:
            found.append(row)
        elif borrowed := _with(row, lambda one: bool(one["node"] == node)):
            found.append({**borrowed, "node": node, "state": BORROWED})
    return sorted(found, key=_order)


def of_address(rows: Iterable[Row], address: str) -> list[Row]:
    """The block in which the address is held, with that address alone; or the podCIDR in which it lies."""
    found = []
    for row in rows:
        if row["state"] == POD_CIDR and is_inside(address, row["cidr"]):
            found.append(row)
        if only := _with(row, lambda one: bool(one["address"] == address)):
            found.append({**only, "used": row["used"]})
    return found


def without_addresses(rows: Iterable[Row]) -> list[Row]:
    """The blocks alone."""
    return [{**row, "addresses": {}, "allocations": []} for row in rows]


COLUMNS = ["BLOCK", "NODE", "STATE", "USED", "ADDRESS", "SEQUENCE", "HANDLE", "POD"]


def table_rows(rows: Iterable[Row]) -> list[tuple[object, ...]]:
    """A line for each block and each address; an address that another node uses names it."""
    lines: list[tuple[object, ...]] = []
    for row in rows:
        used = "" if row["used"] is None else f"{row['used']}/{row['size']}"
        lines.append((row["cidr"], row["node"], row["state"], used, "", "", "", ""))
        for one in row["allocations"]:
            user = "" if one["node"] == row["node"] else one["node"]
            pod = f"{one['namespace']}/{one['pod']}" if one["pod"] else ""
            lines.append(("", user, "", "", one["address"], one["sequence"], one["handle"], pod))
    return lines


def _row(spec: IPAMBlockSpec, state: str) -> Row:
    kind, _, owner = spec.affinity.partition(":")
    allocations = [_allocation(spec, a) for a in sorted(spec.allocations, key=lambda a: a.ordinal)]
    return {
        "cidr": spec.cidr,
        "node": owner if kind == "host" else spec.affinity,
        "owner": spec.affinity,
        "state": state,
        "used": len(allocations),
        "size": size_of(spec.cidr),
        "addresses": {one["address"]: one["handle"] for one in allocations},
        "allocations": allocations,
    }


def _allocation(spec: IPAMBlockSpec, a: Allocation) -> Row:
    return {
        "address": address_at(spec.cidr, a.ordinal),
        "sequence": a.sequence,
        "handle": a.handle,
        "node": user_of(spec, a),
        "namespace": a.namespace,
        "pod": a.pod,
        "since": a.since,
    }


def _with(row: Row, wanted: Callable[[Row], bool]) -> Row | None:
    """The row with those of its addresses that are wanted; None when none is."""
    kept = [one for one in row["allocations"] if wanted(one)]
    if not kept:
        return None
    return {**row, "used": len(kept), "addresses": {o["address"]: o["handle"] for o in kept}, "allocations": kept}


def _order(row: Row) -> tuple[str, bool, int]:
    return row["node"], ":" in row["cidr"], numbers(row["cidr"]).value
