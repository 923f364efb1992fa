"""What the speaker wants in the kernel's forwarding table: routes and the next hops they use.

A *route set* is a `Mapping[Prefix, KernelRoute]`, prefixes packed as in `peering.prefixes`. One prefix has one
route; a route has any number of equal-cost next hops, or none: a route without next hops is a *blackhole*,
which a node has for each of its own blocks. A next hop is always a gateway on a link; the caller decides which
of them are alive, and leaves out the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from peering.prefixes import Address, Prefix, format_address


@dataclass(frozen=True, slots=True, order=True)
class Nexthop:
    """A neighbour on a link.

    `gateway` is packed, 4 bytes or 16; a 16-byte gateway may serve an IPv4 route too (RFC 8950), a 4-byte one
    never an IPv6 route. `ifindex` is the kernel's number of the link.
    """

    gateway: Address
    ifindex: int

    def __str__(self) -> str:
        """`10.1.0.1 on link 7`, for messages."""
        return f"{format_address(self.gateway)} on link {self.ifindex}"


@dataclass(frozen=True, slots=True)
class KernelRoute:
    """Where a prefix goes: `nexthops` in any order (kept sorted, each once); empty means blackhole.

    `source` is the preferred source address of packets that the node itself sends that way, packed, of the
    route's own family (RTA_PREFSRC). A blackhole has none; one that is given is dropped.
    """

    nexthops: tuple[Nexthop, ...]
    source: Address | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "nexthops", tuple(sorted(set(self.nexthops))))
        if not self.nexthops:
            object.__setattr__(self, "source", None)


RouteSet = Mapping[Prefix, KernelRoute]

BLACKHOLE = KernelRoute(())


def refusal(route: KernelRoute, size: int) -> str:
    """Why no prefix with addresses of `size` bytes can have this route, or "".

    These are the mistakes that are seen without asking the kernel, which would name them less clearly.
    """
    if size not in (4, 16):
        return "not a packed prefix"
    if route.source is not None and len(route.source) != size:
        return "the preferred source is not of the route's family"
    wrong = [n.gateway for n in route.nexthops if len(n.gateway) not in (size, 16)]
    return f"gateway {wrong[0].hex()} is not of the route's family" if wrong else ""
