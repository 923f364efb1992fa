"""The shapes that templates see: a switch's configuration in terms that no platform owns.

`View` is the whole; its parts refer to each other by name. Absent options are None or False, and order is
final: a template walks and prints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fabric_templates.policy import CommunityList, PathList, PathRule, PrefixList, RouteMap, Side, Version

_KEEPALIVE_SECONDS = 30
_HOLD_SECONDS = 90
CONNECT_SECONDS = 5
_WARN_PERCENT = 80
_RESTART_MINUTES = 5

NextHop = Literal["self", "self-of-reflected-too", "unchanged"]
PeerType = Literal["ibgp", "ebgp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timers:
    """Seconds."""

    keepalive: int = _KEEPALIVE_SECONDS
    hold: int = _HOLD_SECONDS
    connect: int = CONNECT_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Dynamic:
    """What neighbours of a listen range take from their group; the timers are a session's defaults."""

    remote_asn: int
    timers: Timers = Timers()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A peer-group. `dynamic` is set where neighbours dial in and so have no lines of their own."""

    key: str
    name: str
    side: Side
    type: PeerType
    versions: tuple[Version, ...]
    path_rules: tuple[PathRule, ...]
    first_as_checked: bool
    dynamic: Dynamic | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BfdProfile:
    """How fast a silent neighbour is noticed, milliseconds; what the platform does itself is None."""

    name: str
    receive_interval: int | None
    transmit_interval: int | None
    detect_multiplier: int | None
    minimum_ttl: int | None
    passive_mode: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticRoute:
    """The way to a neighbour that is not on a link of the switch: a host prefix and the address it is behind."""

    version: Version
    prefix: str
    via: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbor:
    """What one session says in every address family. Absent options are None or False.

    `key` is the neighbour's address, or with `unnumbered` the interface that it is behind.
    """

    key: str
    unnumbered: bool
    group: str
    remote_asn: int
    description: str
    update_source: str | None
    local_asn: int | None
    passive: bool
    port: int | None
    timers: Timers
    password: str | None
    ttl_security: int | None
    multihop: int | None
    bfd_profile: str | None
    graceful_restart: Literal["helper", "disabled"] | None
    extended_next_hop: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyGroup:
    """A group's policy in one address family; `dynamic` groups are activated as a whole."""

    name: str
    dynamic: bool
    import_map: str
    export_map: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPrefixes:
    """Warn at `percent`, close the session above `count`, try again after `restart` minutes."""

    count: int
    percent: int = _WARN_PERCENT
    restart: int = _RESTART_MINUTES


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyNeighbor:
    """What one session says in one address family."""

    key: str
    rr_client: bool
    next_hop: NextHop | None
    as_override: bool
    allow_as_in: int | None
    add_paths_send: bool
    max_prefixes: MaxPrefixes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressFamily:
    """`version` is 4 or 6; `networks` the switch originates, `aggregates` too while it has something inside them."""

    version: Version
    networks: tuple[str, ...]
    aggregates: tuple[str, ...]
    max_paths: int
    groups: tuple[FamilyGroup, ...]
    neighbors: tuple[FamilyNeighbor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """A range of dynamic neighbours and the group they fall into."""

    cidr: str
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything a platform's templates may print."""

    name: str
    rack: str | None
    title: str
    asn: int
    router_id: str
    cluster_id: str | None
    long_lived_stale_time: int | None
    prefix_lists: tuple[PrefixList, ...]
    path_lists: tuple[PathList, ...]
    community_lists: tuple[CommunityList, ...]
    route_maps: tuple[RouteMap, ...]
    groups: tuple[Group, ...]
    neighbors: tuple[Neighbor, ...]
    listen_limit: int
    listens: tuple[Listen, ...]
    families: tuple[AddressFamily, ...]
    bfd_profiles: tuple[BfdProfile, ...]
    static_routes: tuple[StaticRoute, ...]
