"""What a reflector is told to be: a whole desired set, which the server takes in place of the one before.

Made from a plan (plan_configuration.py) or from a command line; knows no store. A `Peer` has two halves: `session`,
where a difference makes a new session, and `policy`, where a difference is taken up in place. What the kernel has to
know of a connection (`transport`) lies between: the password of the listening socket changes in place (RFC 2385, 4.5
leaves the session alone as long as both ends change it within a hold time), where we dial from does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from peering.prefixes import Address, Prefix
from peering.route_filter import Named
from peering.session import NextHopMode, SecretKeyRef
from reflector.session.settings import SessionSettings

OwnershipMode = Literal["off", "report", "enforce"]

#: Of a peer's `max_prefixes`, in percent: from here on it is warned of (FRR's and Junos' default).
WARN_PERCENT = 75
#: Seconds for which a peer that went beyond its `max_prefixes` is kept out.
RESTART_AFTER = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerPolicy:
    """What is done with routes from and to a peer.

    `client` says that an iBGP peer is one (RFC 4456); of an eBGP peer it says nothing. `allow_as_in` is how often our
    own AS may be in a path; `as_override` replaces the peer's AS by ours in what it is sent. `prepend` is how often
    our AS goes in front of a path on top of the once that eBGP requires. Filters are in order (Calico's BGPFilter).
    `max_prefixes` counts what a peer announces in one family, refused prefixes too; beyond it the session ends, and
    begins again after `restart_after` seconds (None: when an admin resets it). `add_path_limit` is how many paths per
    prefix a peer is sent that takes several; None for all.
    """

    client: bool = True
    next_hop: NextHopMode = "auto"
    allow_as_in: int = 0
    as_override: bool = False
    prepend: int = 0
    import_filters: Named = ()
    export_filters: Named = ()
    max_prefixes: int | None = None
    restart_after: float | None = RESTART_AFTER
    add_path_limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """The connection: ports, the packed address that we dial from (None: the kernel's choice), hops.

    `ttl_security` is the most hops that a peer may be away (RFC 5082; 1: on the link), None without it. `multihop` is
    the TTL we send with otherwise; None for the kernel's default. `password` is where it is, never the password.
    """

    local_address: Address | None = None
    peer_port: int = 179
    interface: str | None = None
    ttl_security: int | None = None
    multihop: int | None = None
    password: SecretKeyRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A named neighbour. `owner` is the one under whose name the peer's blocks stand (`node/NAME`, or its address)."""

    name: str
    address: Address
    session: SessionSettings
    policy: PeerPolicy = PeerPolicy()
    transport: Transport = Transport()
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRange:
    """Dynamic neighbours: whoever comes from `prefix` (packed), at most `limit` of them, dialed by nobody.

    `session` has the name of the range; a neighbour's own name is its address.
    """

    prefix: Prefix
    session: SessionSettings
    policy: PeerPolicy = PeerPolicy()
    transport: Transport = Transport()
    limit: int = 10_000


@dataclass(frozen=True, slots=True)
class Owners:
    """Who may announce what: packed prefix -> the owners' names (`Peer.owner`; text of an address for a dynamic peer).

    A prefix in `shared`, or inside one, may be announced by everybody (service addresses).
    """

    by_prefix: Mapping[Prefix, frozenset[str]] = field(default_factory=dict)
    shared: frozenset[Prefix] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReflectorConfiguration:
    """`addresses` (packed) are listened on, at `port`; `peers` are by address, ranges tried by the longest prefix."""

    name: str
    asn: int
    router_id: Address
    cluster_id: bytes
    addresses: tuple[Address, ...]
    port: int = 179
    peers: Mapping[Address, Peer] = field(default_factory=dict)
    ranges: tuple[PeerRange, ...] = ()
    ownership: OwnershipMode = "report"
    owners: Owners = Owners()
