"""The shapes that templates see: a switch's configuration in terms that no platform owns.

`View` is the whole; its parts refer to each other by name. Absent options are None or False, and order is
final: a template walks and prints.
"""

from __future__ import annotations

from collections.abc import Mapping
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
class MaxPrefixes:
    """Warn at `percent`, close the session above `count`, try again after `restart` minutes."""

    count: int
    percent: int = _WARN_PERCENT
    restart: int = _RESTART_MINUTES

    @property
    def warn_count(self) -> int:
        """`percent` of `count`, for platforms that count; at least 1."""
        return max(1, self.count * self.percent // 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyNeighbor:
    """What one session says in one address family. The maps are those of its group."""

    key: str
    version: Version
    import_map: str
    export_map: str
    rr_client: bool
    next_hop: NextHop | None
    as_override: bool
    allow_as_in: int | None
    add_paths_send: bool
    add_paths_receive: bool
    max_prefixes: MaxPrefixes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyGroup:
    """A group's policy in one address family; `dynamic` says what each neighbour of a listen range is in it."""

    name: str
    version: Version
    dynamic: FamilyNeighbor | None
    import_map: str
    export_map: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbor:
    """What one session says. Absent options are None or False; `families` are what it says in each.

    `key` is the neighbour's address, with `unnumbered` the interface that it is behind, of a listen range its prefix.
    `version` is that of the TCP connection. `remote_asn` 0 is one of `remote_asns`. `update_source` is our end;
    `from_loopback` says that it is an address of `networks`, for platforms that want an interface's name there.
    `direct`: the peer is on a link of ours. `bfd` is the profile that `bfd_profile` names, for platforms that say it at
    the neighbour.
    """

    key: str
    version: Version
    unnumbered: bool
    group: str
    type: PeerType
    side: Side
    remote_asn: int
    remote_asns: tuple[int, ...]
    description: str
    update_source: str | None
    from_loopback: bool
    local_asn: int | None
    passive: bool
    port: int | None
    timers: Timers
    password: str | None
    direct: bool
    ttl_security: int | None
    multihop: int | None
    bfd_profile: str | None
    bfd: BfdProfile | None
    graceful_restart: Literal["helper", "disabled"] | None
    long_lived_stale_time: int | None
    cluster_id: str | None
    extended_next_hop: bool
    families: tuple[FamilyNeighbor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """A range of dynamic neighbours: at most `limit`, all as `neighbor` says, in a group that is theirs alone."""

    cidr: str
    version: Version
    group: str
    limit: int
    neighbor: Neighbor


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A peer-group. `dynamic` is set where neighbours dial in and so have no lines of their own: what each of them is.

    `families` are its policies.
    """

    key: str
    name: str
    side: Side
    type: PeerType
    versions: tuple[Version, ...]
    path_rules: tuple[PathRule, ...]
    first_as_checked: bool
    families: tuple[FamilyGroup, ...]
    dynamic: Neighbor | None = None


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
class View:
    """Everything a platform's templates may print.

    `neighbors`, `listens` and `groups` hold their families inside them, `families` holds the same once more family by
    family: platforms nest them either way. `traits` and `settings` are those of the platform's table, all of them.
    """

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
    traits: Mapping[str, bool]
    settings: Mapping[str, str]
