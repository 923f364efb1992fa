"""The fabric as what-if sees it: routers of four kinds, and one edge for each direction of each session.

A node's speaker, a reflector and a switch do what their plan says. An *external* router is a neighbour that is not
ours to configure; what is assumed of it is in policies.py. Everything here is as declared; what is down is said by a
`Situation`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, Protocol

from peering.prefixes import Address, Prefix, pack_address
from peering.route_filter import Community
from peering.session import Session

Kind = Literal["node", "switch", "reflector", "external"]
#: The two routers of a link, in order of their ids.
Pair = tuple[str, str]

#: The worst ORIGIN (RFC 4271, 5.1.1).
INCOMPLETE = 2


@dataclass(frozen=True, slots=True)
class Advertisement:
    """A route as one router says it to another. `originator` and `cluster_list` are those of RFC 4456, `origin` is a
    number of RFC 4271."""

    next_hop: Address
    as_path: tuple[int, ...] = ()
    local_preference: int | None = None
    med: int | None = None
    communities: tuple[Community, ...] = ()
    originator: int | None = None
    cluster_list: tuple[str, ...] = ()
    origin: int = 0


class Policy(Protocol):
    """What a router lets in and out, apart from what BGP itself demands."""

    def receives(self, edge: Edge, prefix: Prefix, heard: Advertisement) -> Advertisement | None:
        """What becomes of an advertisement that arrives over the edge; None when it is refused."""

    def sends(self, edge: Edge, prefix: Prefix, route: Advertisement, own: bool) -> Advertisement | None:
        """The route as it is when it leaves over the edge; None when it stays. `own`: originated here."""


@dataclass(eq=False, slots=True, repr=False)
class Router:
    """`id` is `node/NAME`, `switch/NAME`, `reflector/NAME` or `external/NAME`.

    `transit`: it passes on what it learns. `flat`: it has no session over a link that is declared, so the network
    beneath is taken to know the way to every address. `host` is the node that a reflector runs on.
    """

    id: str
    kind: Kind
    name: str
    asn: int
    router_id: int
    cluster: str
    policy: Policy
    transit: bool
    flat: bool = True
    host: str | None = None
    addresses: set[Address] = field(default_factory=set)
    out: list[Edge] = field(default_factory=list)

    def __repr__(self) -> str:
        return self.id


@dataclass(eq=False, slots=True, repr=False)
class Edge:
    """One direction of a session. `near` is the sender's end of it, `far` the receiver's.

    `peer` is the sender's address as the receiver sees it. `pair` is the link that the session stands on; without one
    it crosses the network. `next_hops` are the sender's own address for routes of IPv4 and of IPv6.
    """

    sender: Router
    receiver: Router
    near: Session
    far: Session
    peer: Address
    next_hops: tuple[Address, Address]
    pair: Pair | None = None
    interface: str | None = None
    subnet: Prefix | None = None
    reverse: Edge = field(init=False)

    def __repr__(self) -> str:
        return f"{self.sender} {self.near.name} > {self.receiver}"

    @property
    def ibgp(self) -> bool:
        return self.near.type == "ibgp"

    @property
    def all_paths(self) -> bool:
        """Whether add-path is spoken in this direction (RFC 7911)."""
        return self.near.add_paths in ("send", "both") and self.far.add_paths in ("receive", "both")

    def carries(self, prefix: Prefix) -> bool:
        """Whether the session has the prefix's family."""
        return ("ipv6-unicast" if len(prefix) > 5 else "ipv4-unicast") in self.near.families


@lru_cache(maxsize=1 << 17)
def packed(address: str) -> Address:
    """`pack_address`, remembered: both ends of a session name both addresses."""
    return pack_address(address)


def host_route(address: Address) -> Prefix:
    """The prefix of one address; in no other prefix for what only stands for an address that nobody knows."""
    return bytes((8 * len(address),)) + address if len(address) in (4, 16) else b""


def pair_of(one: str, other: str) -> Pair:
    """The link between two routers, whoever is named first."""
    return (one, other) if one < other else (other, one)
