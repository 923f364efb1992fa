"""Pools, blocks and addresses as the page shows them: the rows of `ipam show`, added up. Pure.

Numbers of addresses are exact whatever their size; shares are between 0 and 1. What host-local gives of a podCIDR is
known to its node alone: such a block is claimed, and none of it is counted as used.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ipam.block_order import is_inside
from ipam.owners import LOAD_BALANCERS
from peering.resources.pools import IPPoolSpec
from underlay.ipam_view import Row, of_node
from underlay.web_facts import Known

#: More blocks than these are not listed: each node's page has its own.
MOST_BLOCKS = 200
#: Beyond that a number is said as a power of two.
_EXACT = 1 << 24


@dataclass(frozen=True, slots=True)
class Pool:
    """`claimed` and `used` are shares of the pool: of its blocks, of its addresses."""

    name: str
    cidr: str
    block_length: int
    blocks: int
    of_blocks: int
    addresses: int
    of_addresses: int
    notes: str

    @property
    def claimed(self) -> float:
        return self.blocks / self.of_blocks

    @property
    def used(self) -> float:
        return self.addresses / self.of_addresses


@dataclass(frozen=True, slots=True)
class Address:
    """One that is given; `owner` has the block that it is in."""

    address: str
    block: str
    owner: str
    node: str
    holder: str


@dataclass(frozen=True, slots=True)
class Ipam:
    """`blocks` are all of them, or the fullest where there are more; `total` is how many there are."""

    pools: Sequence[Pool]
    blocks: Sequence[Row]
    total: int
    borrowed: Sequence[Address]
    services: Sequence[Address]
    ranges: Sequence[str]


def ipam_of(what: Known) -> Ipam:
    """Of the whole fabric."""
    rows = what.ipam_rows
    configuration = what.snapshot.configuration()
    ranges = (
        *configuration.service_cluster_ips,
        *configuration.service_external_ips,
        *configuration.service_load_balancer_ips,
    )
    return Ipam(
        pools=[_pool(name, pool, rows) for name, pool in what.snapshot.specs("IPPool", IPPoolSpec).items()],
        blocks=rows if len(rows) <= MOST_BLOCKS else _fullest(rows),
        total=len(rows),
        borrowed=[
            one for row in rows if row["owner"] != LOAD_BALANCERS for one in _given(row) if one.node != one.owner
        ],
        services=[one for row in rows if row["owner"] == LOAD_BALANCERS for one in _given(row)],
        ranges=[one.cidr for one in ranges],
    )


def blocks_of(what: Known, node: str) -> list[Row]:
    """As `ipam show --node` has them."""
    return of_node(what.ipam_rows, node)


def number(value: int) -> str:
    """`65,536`, or `2^80`."""
    if value < _EXACT:
        return f"{value:,}"
    return f"2^{value.bit_length() - 1}" if value & (value - 1) == 0 else f"about 2^{value.bit_length() - 1}"


def _fullest(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: -(row["used"] or 0) / row["size"])[:MOST_BLOCKS]


def _pool(name: str, pool: IPPoolSpec, rows: Sequence[Row]) -> Pool:
    network = ipaddress.ip_network(pool.cidr)
    mine = {row["cidr"]: row for row in rows if is_inside(row["cidr"], pool.cidr)}
    notes = {
        "disabled": pool.disabled,
        "not exported": pool.disable_bgp_export,
        "load balancers": pool.for_load_balancers,
        "podCIDR": pool.by_pod_cidr,
    }
    return Pool(
        name,
        pool.cidr,
        pool.block_length,
        blocks=len(mine),
        of_blocks=1 << (pool.block_length - network.prefixlen),
        addresses=sum(row["used"] or 0 for row in mine.values()),
        of_addresses=network.num_addresses,
        notes=", ".join(word for word, holds in notes.items() if holds),
    )


def _given(row: Row) -> list[Address]:
    return [Address(one["address"], row["cidr"], row["node"], one["node"], _holder(one)) for one in row["allocations"]]


def _holder(one: Row) -> str:
    return f"{one['namespace']}/{one['pod']}" if one["pod"] else str(one["handle"] or "")
