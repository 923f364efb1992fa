"""Addresses that follow from other addresses: the far end of a link, the subnet of an interface, pool rules."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Literal

from peering.prefixes import Numbers, address_text, numbers
from peering.resources.pools import IPAMConfigurationSpec, IPPoolSpec
from peering.selectors import parse_selector
from peering.session import Family, PrefixRule
from peering.snapshot import Snapshot

#: By the number of host bits and the last two bits of the address: how far the other end of the link is.
_OTHER_END = {1: {0: 1, 1: -1, 2: 1, 3: -1}, 2: {1: 1, 2: -1}}

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@lru_cache(maxsize=65536)
def network(cidr: str) -> Network:
    """`ip_network`, remembered: the same few subnets are asked for by every node."""
    return ipaddress.ip_network(cidr)


def bare(interface_address: str) -> str:
    """`10.0.0.1/31` -> `10.0.0.1`."""
    return interface_address.partition("/")[0]


@lru_cache(maxsize=65536)
def subnet_of(interface_address: str) -> str:
    """`10.0.0.1/31` -> `10.0.0.0/31`."""
    bits, value, length = numbers(interface_address)
    return f"{address_text(value >> (bits - length) << (bits - length), bits)}/{length}"


def family_of(address: str) -> Family:
    return "ipv6-unicast" if ":" in address else "ipv4-unicast"


@lru_cache(maxsize=65536)
def far_end(interface_address: str) -> str | None:
    """The other address of a point-to-point link (/31, /127: RFC 3021, RFC 6164; /30, /126), or None.

    Of a /30 and a /126 the two in the middle are the ends: the first and the last address are taken by the
    network and its broadcast, or by the routers' anycast and custom.
    """
    bits, value, length = numbers(interface_address)
    other = _OTHER_END.get(bits - length, {}).get(value & 3)
    return None if other is None else address_text(value + other, bits)


def lies_in(address: str, cidrs: Iterable[str]) -> bool:
    """Whether an address, with or without a length, lies in one of the subnets."""
    bits, value, _ = numbers(address)
    return any(_covers(numbers(cidr), bits, value) for cidr in cidrs)


def _covers(subnet: Numbers, bits: int, value: int) -> bool:
    shift = subnet.bits - subnet.length
    return subnet.bits == bits and subnet.value >> shift == value >> shift


def host_of(interface_address: str) -> str:
    """`10.0.0.1/31` -> `10.0.0.1/32`."""
    return f"{bare(interface_address)}/{128 if ':' in interface_address else 32}"


def exactly(cidr: str) -> PrefixRule:
    """Only this prefix."""
    length = numbers(cidr).length
    return PrefixRule(cidr, length, length)


def inside(cidr: str) -> PrefixRule:
    """This prefix and everything more specific."""
    bits, _, length = numbers(cidr)
    return PrefixRule(cidr, length, bits)


def pool_rules(pools: Iterable[IPPoolSpec]) -> list[PrefixRule]:
    """Every pool, from the pool as one prefix down to its blocks."""
    return [PrefixRule(pool.cidr, numbers(pool.cidr).length, pool.block_length) for pool in pools]


def block_rules(pools: Iterable[IPPoolSpec], labels: Sequence[Mapping[str, str]] | None) -> list[PrefixRule]:
    """The blocks that nodes with any of these labels may claim, at exactly the block length; all pools for None."""
    return [
        PrefixRule(pool.cidr, pool.block_length, pool.block_length)
        for pool in pools
        if labels is None or any(parse_selector(pool.node_selector)(one) for one in labels)
    ]


def address_rules(pools: Iterable[IPPoolSpec], labels: Sequence[Mapping[str, str]] | None) -> list[PrefixRule]:
    """Single addresses of the pools that nodes with any of these labels may have addresses of; of all for None."""
    return [
        PrefixRule(pool.cidr, numbers(pool.cidr).bits, numbers(pool.cidr).bits)
        for pool in pools
        if labels is None or any(parse_selector(pool.node_selector)(one) for one in labels)
    ]


def range_rules(cidr: str) -> tuple[PrefixRule, PrefixRule]:
    """A range as a whole, and single addresses of it."""
    bits = numbers(cidr).bits
    return exactly(cidr), PrefixRule(cidr, bits, bits)


def aggregates(
    pools: Iterable[IPPoolSpec], by: Literal["rack", "pool"], labels: Sequence[Mapping[str, str]] | None = None
) -> tuple[str, ...]:
    """The pools that are announced whole, by the rack's switches or by the nodes.

    With `labels` those that nodes with any of these labels may claim from.
    """
    return tuple(
        pool.cidr
        for pool in pools
        if pool.aggregated_by == by
        and (labels is None or any(parse_selector(pool.node_selector)(one) for one in labels))
    )


def aggregates_of(blocks: Iterable[str], pools: Iterable[str]) -> tuple[str, ...]:
    """Those of the pools (CIDRs) in which one of the blocks lies."""
    own = [numbers(block) for block in blocks]
    return tuple(pool for pool in pools if any(_covers(numbers(pool), bits, value) for bits, value, _ in own))


def unexported_pools(snapshot: Snapshot) -> tuple[str, ...]:
    """The CIDRs of pools whose blocks stay out of the fabric."""
    return tuple(p.cidr for p in snapshot.specs("IPPool", IPPoolSpec).values() if p.disable_bgp_export)


def exported_pools(snapshot: Snapshot) -> tuple[IPPoolSpec, ...]:
    """Pools whose blocks go into the fabric; `disabled` ones still do, as in Calico.

    Those of load balancers do not: what is announced of them are the ranges of services.
    """
    pools = snapshot.specs("IPPool", IPPoolSpec).values()
    return tuple(pool for pool in pools if pool.exports_blocks)


def borrowable_pools(snapshot: Snapshot) -> tuple[IPPoolSpec, ...]:
    """Exported pools of which a node may have an address in another's block, and announces that by itself.

    Nobody borrows from a podCIDR: host-local gives the addresses of its own node.
    """
    configuration = snapshot.specs("IPAMConfiguration", IPAMConfigurationSpec).get("default")
    if configuration is not None and configuration.strict_affinity:
        return ()
    pools = exported_pools(snapshot)
    return tuple(pool for pool in pools if "Workload" in pool.allowed_uses and not pool.by_pod_cidr)


def sorted_rules(rules: Iterable[PrefixRule]) -> tuple[PrefixRule, ...]:
    """Each once, IPv4 first, by address."""
    return tuple(sorted(set(rules), key=lambda rule: (*numbers(rule.cidr), rule.max_length)))
