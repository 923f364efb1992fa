"""One BGP session as one of its two ends sees it, and the plan that holds all of them.

`plan()` (compile.py) makes these; the speaker, the reflector and the switch templates read them and decide
nothing further. The JSON shape is the one users' scripts depend on: it changes only by adding.
Times are whole seconds, addresses are text without a prefix length, families are `ipv4-unicast` and
`ipv6-unicast`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from peering.problems import Problem

Family = Literal["ipv4-unicast", "ipv6-unicast"]
NextHopMode = Literal["auto", "self", "keep"]


@dataclass(frozen=True, slots=True)
class SecretKeyRef:
    """Where a password is; never the password itself."""

    name: str
    key: str

    def to_json(self) -> dict[str, dict[str, str]]:
        return {"secretKeyRef": {"name": self.name, "key": self.key}}


@dataclass(frozen=True, slots=True)
class PrefixRule:
    """A prefix-list entry: `cidr` and what lies inside it, with `min_length` <= length <= `max_length`."""

    cidr: str
    min_length: int
    max_length: int

    def to_json(self) -> dict[str, Any]:
        return {"cidr": self.cidr, "minLength": self.min_length, "maxLength": self.max_length}


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One end's view of a session. `name` is unique among the sessions of that end."""

    name: str
    peer: str
    source: str
    type: Literal["ibgp", "ebgp"]
    local_address: str | None
    local_asn: int
    peer_address: str
    peer_asn: int
    peer_port: int = 179
    passive: bool = False
    password: SecretKeyRef | None = None
    ttl_security: int | None = None
    multihop: int | None = None
    hold_time: int = 90
    keepalive_time: int = 30
    graceful_restart_time: int = 120
    long_lived_stale_time: int | None = None
    bfd: str | None = None
    rr_client: bool = False
    cluster_id: str | None = None
    next_hop: NextHopMode = "auto"
    allow_as_in: int | None = None
    as_override: bool = False
    add_paths: str | None = None
    families: tuple[Family, ...] = ("ipv4-unicast",)
    import_filters: tuple[str, ...] = ()
    export_filters: tuple[str, ...] = ()
    max_prefixes: int | None = None
    reachable_by: str | None = None

    def to_json(self) -> dict[str, Any]:
        """SESSION of `underlay plan -o json`."""
        return _json_of(self, _SESSION_JSON_NAMES)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerPlan:
    """What one node's speaker has to do, apart from its own blocks, which IPAM owns.

    `loopbacks` are the node's own stable addresses: announced as host routes, and the preferred source of
    learned routes. `imports` is what may be learned; `uplink_subnets` never are, whatever `imports` says. Own
    blocks that lie in one of `unexported` (pools with `disableBGPExport`) are not announced.
    """

    asn: int
    router_id: str
    sessions: tuple[Session, ...] = ()
    loopbacks: tuple[str, ...] = ()
    imports: tuple[PrefixRule, ...] = ()
    uplink_subnets: tuple[str, ...] = ()
    unexported: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return _json_of(self, {"asn": "asn", "router_id": "routerID"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReflectorPlan:
    """What one in-cluster route reflector has to do."""

    asn: int
    cluster_id: str
    sessions: tuple[Session, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return _json_of(self, {"cluster_id": "clusterID"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenRange:
    """A dynamic-neighbour range of a switch."""

    cidr: str
    peer_asn: int
    limit: int

    def to_json(self) -> dict[str, Any]:
        return _json_of(self, {"peer_asn": "peerASN"})


Downward = Literal["default-only", "pools", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchPlan:
    """What one switch's configuration has to say.

    `accept` is what may come from the rack's nodes. `send` is what nodes may be sent when `downward` is not
    `all`. `announce` is what leaves towards the fabric peers (sessions whose `peer` is `external`): the
    rack's own prefixes and the switch's loopbacks, so that a ToR is never a transit between spines.
    """

    asn: int
    platform: str
    router_id: str
    rack: str | None = None
    sessions: tuple[Session, ...] = ()
    listen_ranges: tuple[ListenRange, ...] = ()
    networks: tuple[str, ...] = ()
    accept: tuple[PrefixRule, ...] = ()
    send: tuple[PrefixRule, ...] = ()
    announce: tuple[PrefixRule, ...] = ()
    downward: Downward = "pools"

    def to_json(self) -> dict[str, Any]:
        return _json_of(self, {"router_id": "routerID", "listen_ranges": "listenRanges"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The session graph: what every speaker, reflector and switch has to do, and what is wrong with it."""

    speakers: dict[str, SpeakerPlan] = field(default_factory=dict)
    reflectors: dict[str, ReflectorPlan] = field(default_factory=dict)
    switches: dict[str, SwitchPlan] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The whole of `underlay plan -o json`; keys sorted by name."""
        return {
            "speakers": {n: self.speakers[n].to_json() for n in sorted(self.speakers)},
            "reflectors": {n: self.reflectors[n].to_json() for n in sorted(self.reflectors)},
            "switches": {n: self.switches[n].to_json() for n in sorted(self.switches)},
            "problems": [p.to_json() for p in self.problems],
        }


_SESSION_JSON_NAMES = {
    "local_asn": "localASN",
    "peer_asn": "peerASN",
    "cluster_id": "clusterID",
    "allow_as_in": "allowASIn",
}


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _json_of(value: Any, names: dict[str, str]) -> dict[str, Any]:
    return {names.get(f.name, _camel(f.name)): _plain(getattr(value, f.name)) for f in fields(value)}


def _plain(value: Any) -> Any:
    if hasattr(value, "to_json"):
        return value.to_json()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
