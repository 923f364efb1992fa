"""One BGP session as one of its two ends sees it, and the plan that holds all of them.

`plan()` (compile.py) makes these; the speaker, the reflector and the switch templates read them and decide
nothing further. The JSON shape is the one users' scripts depend on: it changes only by adding.
Times are whole seconds, addresses are text without a prefix length, families are `ipv4-unicast` and
`ipv6-unicast`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
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
class BfdParameters:
    """A BFDProfile as both ends of a session use it; intervals in milliseconds (RFC 5880, 6.8)."""

    profile: str
    receive_interval: int
    transmit_interval: int
    detect_multiplier: int
    passive_mode: bool = False
    minimum_ttl: int = 254

    def to_json(self) -> dict[str, Any]:
        return _json_of(self, {"minimum_ttl": "minimumTTL"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One end's view of a session. `name` is unique among the sessions of that end.

    `peer_asn` 0 is any other AS than our own (`dynamicASNumber: external`). An unnumbered session has an `interface`
    and no addresses: `local_address` None, `peer_address` the empty text.
    """

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
    connect_retry: int | None = None
    bfd: BfdParameters | None = None
    rr_client: bool = False
    cluster_id: str | None = None
    next_hop: NextHopMode = "auto"
    allow_as_in: int | None = None
    as_override: bool = False
    prepend: int = 0
    add_paths: str | None = None
    add_path_limit: int | None = None
    families: tuple[Family, ...] = ("ipv4-unicast",)
    import_filters: tuple[str, ...] = ()
    export_filters: tuple[str, ...] = ()
    max_prefixes: int | None = None
    reachable_by: str | None = None
    interface: str | None = None

    def renamed(self, name: str) -> Session:
        return replace(self, name=name)

    def far_end(
        self,
        *,
        name: str,
        peer: str,
        local_address: str | None,
        local_asn: int,
        peer_address: str,
        peer_port: int = 179,
        passive: bool = False,
        rr_client: bool = False,
        cluster_id: str | None = None,
        next_hop: NextHopMode = "auto",
        max_prefixes: int | None = None,
        add_path_limit: int | None = None,
        filters: tuple[tuple[str, ...], tuple[str, ...]] = ((), ()),
        interface: str | None = None,
        reachable_by: str | None = None,
        source: str | None = None,
    ) -> Session:
        """The same session from the other side: what both ends share is taken over, the rest is said here.

        Written out, not `replace()`: a fabric has a hundred thousand of these, and this is twice as fast.
        """
        return Session(
            name=name,
            peer=peer,
            source=source or self.source,
            type=self.type,
            local_address=local_address,
            local_asn=local_asn,
            peer_address=peer_address,
            peer_asn=self.local_asn,
            peer_port=peer_port,
            passive=passive,
            password=self.password,
            ttl_security=self.ttl_security,
            multihop=self.multihop,
            hold_time=self.hold_time,
            keepalive_time=self.keepalive_time,
            graceful_restart_time=self.graceful_restart_time,
            long_lived_stale_time=self.long_lived_stale_time,
            connect_retry=self.connect_retry,
            bfd=self.bfd,
            rr_client=rr_client,
            cluster_id=cluster_id,
            next_hop=next_hop,
            as_override=self.as_override,
            add_paths=FAR_ADD_PATHS[self.add_paths],
            add_path_limit=add_path_limit,
            families=self.families,
            import_filters=filters[0],
            export_filters=filters[1],
            max_prefixes=max_prefixes,
            reachable_by=reachable_by,
            interface=interface,
        )

    def to_json(self) -> dict[str, Any]:
        """SESSION of `underlay plan -o json`."""
        return _json_of(self, _SESSION_JSON_NAMES)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerPlan:
    """What one node's speaker has to do, apart from its own blocks, which IPAM owns.

    `loopbacks` are the node's own stable addresses: announced as host routes, and the preferred source of
    learned routes. `imports` is what may be learned; `uplink_subnets` never are, whatever `imports` says. Own
    blocks that lie in one of `unexported` (pools with `disableBGPExport`) are not announced. Of those that lie in one
    of `aggregates` (pools with `aggregate: pool`) switches and routers are told the whole instead.
    """

    asn: int
    router_id: str
    sessions: tuple[Session, ...] = ()
    loopbacks: tuple[str, ...] = ()
    imports: tuple[PrefixRule, ...] = ()
    uplink_subnets: tuple[str, ...] = ()
    unexported: tuple[str, ...] = ()
    aggregates: tuple[str, ...] = ()
    cluster_id: str | None = None
    listen_port: int = 179

    def to_json(self) -> dict[str, Any]:
        return _json_of(self, {"router_id": "routerID", "cluster_id": "clusterID"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenRange:
    """A dynamic-neighbour range of a switch or a reflector: whoever dials in from `cidr`, at most `limit` of them.

    What is said beside that is the same for each of them, and means what it means in a Session. `peer_asns` are the
    ASs that may dial where there are several; `peer_asn` is 0 then.
    """

    cidr: str
    peer_asn: int
    limit: int
    peer_asns: tuple[int, ...] = ()
    password: SecretKeyRef | None = None
    ttl_security: int | None = None
    multihop: int | None = None
    bfd: BfdParameters | None = None
    hold_time: int = 90
    keepalive_time: int = 30
    graceful_restart_time: int = 120
    long_lived_stale_time: int | None = None
    rr_client: bool = False
    cluster_id: str | None = None
    next_hop: NextHopMode = "auto"
    allow_as_in: int | None = None
    as_override: bool = False
    add_paths: str | None = None
    add_path_limit: int | None = None
    import_filters: tuple[str, ...] = ()
    export_filters: tuple[str, ...] = ()
    max_prefixes: int | None = None

    def to_json(self) -> dict[str, Any]:
        names = {"peer_asn": "peerASN", "peer_asns": "peerASNs", "cluster_id": "clusterID", "allow_as_in": "allowASIn"}
        return _json_of(self, names)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReflectorPlan:
    """What one in-cluster route reflector has to do.

    `addresses` are what it listens on, at `listen_port`. `ownership` is what it does with a prefix whose block belongs
    to another node. `node` is the node it runs on, where that is declared. A session on which there were too many
    prefixes begins again after `max_prefixes_restart` seconds; 0 is never.
    """

    asn: int
    cluster_id: str
    router_id: str = "0.0.0.0"
    addresses: tuple[str, ...] = ()
    listen_port: int = 179
    sessions: tuple[Session, ...] = ()
    listen_ranges: tuple[ListenRange, ...] = ()
    ownership: Literal["off", "report", "enforce"] = "report"
    max_prefixes_restart: int = 300
    node: str | None = None

    def to_json(self) -> dict[str, Any]:
        return _json_of(self, {"cluster_id": "clusterID", "router_id": "routerID", "listen_ranges": "listenRanges"})


Downward = Literal["default-only", "pools", "all"]


@dataclass(frozen=True, slots=True)
class Setting:
    """What one platform has to know and no other has: a VRF's name, a tenant."""

    name: str
    value: str

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "value": self.value}


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchPlan:
    """What one switch's configuration has to say.

    `accept` is what may come from the rack's nodes. `send` is what nodes may be sent beside a default route when
    `downward` is not `all`. `announce` is what leaves towards the fabric peers (sessions whose `peer` is
    `external`): the rack's own prefixes and the switch's loopbacks, so that a ToR is never a transit between spines.
    Other switches of the rack (`peer` is `switch/NAME`) are told, and believed, what is in `accept`. `aggregates`
    (pools with `aggregate: rack`) are made by the switch while it knows a more specific prefix in them, which stays.
    Of the communities that nodes attach, `keep_communities` (`65101:100`, large ones `65101:1:2`) pass; the others are
    removed.
    `platform` is a name, or a name and a release, as in `nvue@5.14`.
    """

    asn: int
    platform: str
    router_id: str
    rack: str | None = None
    sessions: tuple[Session, ...] = ()
    listen_ranges: tuple[ListenRange, ...] = ()
    networks: tuple[str, ...] = ()
    aggregates: tuple[str, ...] = ()
    accept: tuple[PrefixRule, ...] = ()
    send: tuple[PrefixRule, ...] = ()
    announce: tuple[PrefixRule, ...] = ()
    downward: Downward = "pools"
    keep_communities: tuple[str, ...] = ()
    settings: tuple[Setting, ...] = ()

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


#: `nextHopMode` -> what sessions call it.
NEXT_HOPS: dict[str | None, NextHopMode] = {None: "auto", "Auto": "auto", "Self": "self", "Keep": "keep"}
#: What one end of a session does with several paths -> what the other end does.
FAR_ADD_PATHS: dict[str | None, str | None] = {None: None, "both": "both", "send": "receive", "receive": "send"}

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
