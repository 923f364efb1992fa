"""The node's interfaces, as far as next hops depend on them: which are up, and which subnets they are on.

Read with pyroute2: they are few. `read_uplinks` is a coroutine because pyroute2's synchronous calls refuse to
run inside a running event loop.
"""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from pyroute2 import AsyncIPRoute

from peering.prefixes import Address, Prefix, contains, pack_address, pack_prefix

_IFF_UP, _IFF_LOOPBACK, _IFF_LOWER_UP = 0x1, 0x8, 0x10000
_USABLE = _IFF_UP | _IFF_LOWER_UP
_LINK_LOCAL = (pack_prefix("169.254.0.0/16"), pack_prefix("fe80::/10"))


@dataclass(frozen=True, slots=True)
class Link:
    """An interface. `up`: set up and with carrier. `addresses`: its own, (packed address, prefix length)."""

    name: str
    ifindex: int
    up: bool
    mtu: int
    addresses: tuple[tuple[Address, int], ...]


async def read_uplinks() -> list[Link]:
    """All interfaces but loopbacks, by ifindex, in the network namespace of this process.

    Addresses that duplicate address detection has not yet passed, or has refused, are included.
    Raises OSError or pyroute2's NetlinkError when the kernel cannot be asked.
    """
    async with AsyncIPRoute() as kernel:
        addresses = await _read_addresses(kernel)
        links = [found async for found in await kernel.get_links()]
    return [
        Link(
            name=found.get("ifname"),
            ifindex=found["index"],
            up=found["flags"] & _USABLE == _USABLE,
            mtu=found.get("mtu"),
            addresses=tuple(sorted(addresses[found["index"]])),
        )
        for found in sorted(links, key=lambda found: found["index"])
        if not found["flags"] & _IFF_LOOPBACK
    ]


async def read_local_addresses() -> frozenset[Address]:
    """All addresses of this machine, packed, those of loopbacks included; raises like `read_uplinks`."""
    async with AsyncIPRoute() as kernel:
        addresses = await _read_addresses(kernel)
    return frozenset(address for of_link in addresses.values() for address, _ in of_link)


async def _read_addresses(kernel: AsyncIPRoute) -> defaultdict[int, list[tuple[Address, int]]]:
    """(packed address, prefix length) by ifindex. On a point-to-point link `local` is ours, not `address`."""
    addresses: defaultdict[int, list[tuple[Address, int]]] = defaultdict(list)
    async for found in await kernel.get_addr():
        if found["family"] in (socket.AF_INET, socket.AF_INET6):
            local = found.get("local") or found.get("address")
            addresses[found["index"]].append((pack_address(local), found["prefixlen"]))
    return addresses


def connected_interface(links: Iterable[Link], gateway: Address) -> int | None:
    """The ifindex of the link that is up and on whose subnet `gateway` (packed) lies, or None.

    The longest subnet wins, then the lowest ifindex. Link-local gateways, which lie on every link, and the
    node's own addresses lead nowhere.
    """
    host = _host(gateway)
    candidates = [(own, length, link.ifindex) for link in links if link.up for own, length in link.addresses]
    is_own = any(own == gateway for own, _, _ in candidates)
    if is_own or any(contains(subnet, host) for subnet in _LINK_LOCAL):
        return None
    on_subnet = [(-length, ifindex) for own, length, ifindex in candidates if contains(bytes((length,)) + own, host)]
    return min(on_subnet)[1] if on_subnet else None


def uplink_mtu(
    links: Iterable[Link], uplinks: Collection[Address], local: Collection[Address], peers: Iterable[Address]
) -> int:
    """The smallest MTU of the links that lead to the fabric, those that are down too; 0 when there is none.

    They are the links with an address of the `uplinks`, and those with an address that sessions start at (`local`) or
    with a peer on their subnet. For the last two an address with the length of a host is no uplink's but a loopback.
    All addresses are packed.
    """
    hosts = [_host(peer) for peer in peers]

    def leads_out(own: Address, length: int) -> bool:
        if own in uplinks:
            return True
        subnet = bytes((length,)) + own
        return length < 8 * len(own) and (own in local or any(contains(subnet, host) for host in hosts))

    mtus = [link.mtu for link in links if any(leads_out(*address) for address in link.addresses)]
    return min(mtus, default=0)


def _host(address: Address) -> Prefix:
    return bytes((8 * len(address),)) + address
