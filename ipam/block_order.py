"""Which blocks a pool has and in which order a node tries them. Pure.

Every node walks the pool in the same circle but starts at a place of its own (a hash of its name), so that
500 nodes that claim their first block at once hardly meet. Calico seeds its search the same way.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator
from functools import lru_cache

from peering.prefixes import contains, numbers, pack_prefix
from peering.resources.pools import IPPoolSpec


def block_name(cidr: str) -> str:
    """The object name of a block: `10.244.0.64/26` -> `10-244-0-64-26`."""
    return cidr.replace(".", "-").replace(":", "-").replace("/", "-")


def affinity_name(owner: str, cidr: str) -> str:
    """The object name of an owner's affinity for a block: `node-1-10-244-0-64-26`.

    That of an owner that is no node (`virtual:load-balancer`) ends with the type of it, as no node's does.
    """
    kind, _, name = owner.rpartition(":")
    return f"{name}-{block_name(cidr)}" + (f"-{kind}" if kind else "")


def borrower_name(node: str, cidr: str) -> str:
    """The object name of what lists the addresses that a node has borrowed from a block. No affinity has it."""
    return f"{affinity_name(node, cidr)}-borrower"


def blocks_for(node: str, pool: IPPoolSpec) -> Iterator[str]:
    """Every block of the pool as text, beginning at the node's own place."""
    network = ipaddress.ip_network(pool.cidr)
    step = 1 << (network.max_prefixlen - pool.block_length)
    count = network.num_addresses // step
    start = int.from_bytes(hashlib.sha256(node.encode()).digest()[:8]) % count
    base = int(network.network_address)
    make = ipaddress.IPv4Address if network.version == 4 else ipaddress.IPv6Address
    for index in range(count):
        yield f"{make(base + (start + index) % count * step)}/{pool.block_length}"


def block_with(address: str, pool: IPPoolSpec) -> str:
    """The block of the pool in which an address lies."""
    return str(ipaddress.ip_network(f"{address}/{pool.block_length}", strict=False))


@lru_cache(maxsize=1 << 14)
def is_inside(inner: str, outer: str) -> bool:
    """Whether a CIDR or address lies inside a CIDR, all as text."""
    return contains(pack_prefix(outer), pack_prefix(inner))


def ordinal_of(address: str, cidr: str) -> int:
    """The inverse of `address_at`."""
    return numbers(address).value - numbers(cidr).value


@lru_cache(maxsize=1 << 14)
def address_at(cidr: str, ordinal: int) -> str:
    """The address number `ordinal` of a block."""
    return str(ipaddress.ip_network(cidr)[ordinal])


def size_of(cidr: str) -> int:
    """How many addresses a block has."""
    bits, _, length = numbers(cidr)
    return 1 << (bits - length)
