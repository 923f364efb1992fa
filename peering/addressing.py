"""Addresses that follow from other addresses: the far end of a link, the subnet of an interface, pool rules."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from peering.resources.calico import IPPoolSpec
from peering.selectors import parse_selector
from peering.session import Family, PrefixRule
from peering.snapshot import Snapshot

#: Which addresses of a point-to-point subnet of that size are its ends.
_ENDS = {2: (0, 1), 4: (1, 2)}

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@lru_cache(maxsize=65536)
def network(cidr: str) -> Network:
    """`ip_network`, remembered: the same few subnets are asked for by every node."""
    return ipaddress.ip_network(cidr)


def bare(interface_address: str) -> str:
    """`10.0.0.1/31` -> `10.0.0.1`."""
    return interface_address.split("/")[0]


def subnet_of(interface_address: str) -> str:
    """`10.0.0.1/31` -> `10.0.0.0/31`."""
    return str(ipaddress.ip_interface(interface_address).network)


def family_of(address: str) -> Family:
    return "ipv6-unicast" if ":" in address else "ipv4-unicast"


def far_end(interface_address: str) -> str | None:
    """The other address of a point-to-point link (/31, /127: RFC 3021, RFC 6164; /30, /126), or None.

    Of a /30 and a /126 the two in the middle are the ends: the first and the last address are taken by the
    network and its broadcast, or by the routers' anycast and custom.
    """
    interface = ipaddress.ip_interface(interface_address)
    ends = _ENDS.get(interface.network.num_addresses, ())
    addresses = [interface.network[index] for index in ends]
    others = [address for address in addresses if address != interface.ip]
    return str(others[0]) if len(others) == 1 else None


def lies_in(address: str, cidrs: Iterable[str]) -> bool:
    """Whether an address, with or without a length, lies in one of the subnets."""
    ip = ipaddress.ip_address(bare(address))
    return any(ip.version == network(c).version and ip in network(c) for c in cidrs)


def exactly(cidr: str) -> PrefixRule:
    """Only this prefix."""
    length = network(cidr).prefixlen
    return PrefixRule(cidr, length, length)


def inside(cidr: str) -> PrefixRule:
    """This prefix and everything more specific."""
    return PrefixRule(cidr, network(cidr).prefixlen, network(cidr).max_prefixlen)


def pool_rules(snapshot: Snapshot) -> list[PrefixRule]:
    """Every exported pool, from the pool as one prefix down to its blocks."""
    return [PrefixRule(pool.cidr, network(pool.cidr).prefixlen, pool.block_length) for pool in exported_pools(snapshot)]


def block_rules(snapshot: Snapshot, labels: Iterable[dict[str, str]]) -> list[PrefixRule]:
    """The blocks that nodes with any of these labels may claim, at exactly the block length."""
    labels = list(labels)
    return [
        PrefixRule(pool.cidr, pool.block_length, pool.block_length)
        for pool in exported_pools(snapshot)
        if any(parse_selector(pool.node_selector)(one) for one in labels)
    ]


def unexported_pools(snapshot: Snapshot) -> tuple[str, ...]:
    """The CIDRs of pools whose blocks stay out of the fabric."""
    return tuple(p.cidr for p in snapshot.specs("IPPool", IPPoolSpec).values() if p.disable_bgp_export)


def exported_pools(snapshot: Snapshot) -> list[IPPoolSpec]:
    """Pools whose blocks go into the fabric; `disabled` ones still do, as in Calico."""
    pools = snapshot.specs("IPPool", IPPoolSpec).values()
    return [pool for pool in pools if not pool.disable_bgp_export]
