"""BGPPeer: sessions of the selected nodes with an address, or with the nodes that another selector selects.

Fields and rules are Calico's v3 API. Ours are `holdTime`, `connectRetry`, `bfd`, `maxPrefixes`, `addPaths`,
`asOverride`, `longLivedStaleTime`, `families`, `localAddress` and `dynamicASNumber`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from peering.resources.fields import (
    AddPaths,
    AddressFamily,
    AsNumber,
    ConnectRetry,
    Flag,
    HoldTime,
    IpAddress,
    KeepaliveTime,
    Many,
    MaybeOneLine,
    MaybeSelector,
    Mistake,
    OneLine,
    Password,
    PrefixLimit,
    RestartTime,
    Spec,
    StaleTime,
    WholeNumber,
    keepalive_mistakes,
    shown,
    unless_empty,
)
from peering.resources.rules import Rule, exclusive, one_of, requires


def _unless_zero(value: object) -> object:
    """Calico's API has asNumber 0 for one that is not set."""
    return None if value in (0, "0", "") and not isinstance(value, bool) else value


def _peer_ip(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is no address, address:port or [address]:port")
    _endpoint(value)
    return value


PeerIp = Annotated[
    Annotated[str, BeforeValidator(_peer_ip)] | None,
    BeforeValidator(unless_empty),
    WithJsonSchema({"type": "string", "minLength": 2, "maxLength": 54, "pattern": r"^[\[\]0-9A-Fa-f:.]+$"}),
]
MaybeAsNumber = Annotated[AsNumber | None, BeforeValidator(_unless_zero)]


class BGPPeerSpec(Spec):
    """Sessions of the selected nodes. Both node selectors empty means all nodes, as in Calico ("global")."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        exclusive("node", "node_selector"),
        exclusive("peer_ip", "peer_selector", names=("peerIP", "peerSelector")),
        exclusive("peer_ip", "local_workload_selector", names=("peerIP", "localWorkloadSelector")),
        exclusive("peer_selector", "local_workload_selector"),
        one_of(
            "peer_ip",
            "peer_selector",
            "local_workload_selector",
            names=("peerIP", "peerSelector", "localWorkloadSelector"),
        ),
        exclusive("peer_selector", "as_number", names=("peerSelector", "asNumber")),
        exclusive("as_number", "dynamic_as_number", names=("asNumber", "dynamicASNumber")),
        exclusive("peer_selector", "dynamic_as_number", names=("peerSelector", "dynamicASNumber")),
        requires("peer_ip", "as_number", "dynamic_as_number", names=("peerIP", "asNumber", "dynamicASNumber")),
        requires("local_workload_selector", "as_number", names=("localWorkloadSelector", "asNumber")),
        exclusive("next_hop_mode", "keep_original_next_hop"),
        requires("reachable_by", "peer_ip", names=("reachableBy", "peerIP")),
        requires("local_address", "peer_ip", names=("localAddress", "peerIP")),
        exclusive("source_address", "local_address"),
    )
    ELSEWHERE = {
        "failureDetectionMode": "write bfd: NAME, of a BFDProfile",
        "restartMode": "write longLivedStaleTime for long-lived graceful restart; without it restart is as in RFC 4724",
        "birdGatewayMode": "leave it out: next hops are resolved over connected links",
        "externalNetwork": "leave it out: there is one routing table",
        "extensions": "leave it out: there are no raw configuration lines here",
        "peerASN": "write asNumber",
        "peerAddress": "write peerIP",
    }

    node: MaybeOneLine = None
    """One node by name."""
    node_selector: MaybeSelector = None
    """The nodes with these labels."""
    peer_ip: PeerIp = Field(default=None, alias="peerIP")
    """The peer: address, address:port or [address]:port."""
    peer_selector: MaybeSelector = None
    """The nodes to peer with."""
    as_number: MaybeAsNumber = Field(default=None, alias="asNumber")
    """The peer's AS."""
    dynamic_as_number: Literal["internal", "external"] | None = Field(default=None, alias="dynamicASNumber")
    """The peer's AS is the node's own, or any other."""
    local_as_number: AsNumber | None = Field(default=None, alias="localASNumber")
    """The AS that the node shows this peer."""
    num_allowed_local_as_numbers: Annotated[WholeNumber, Field(ge=0, le=10)] | None = Field(
        default=None, alias="numAllowedLocalASNumbers"
    )
    """How often the node's own AS may be in the path of a received route."""
    as_override: Flag = False
    """Replace the peer's AS in the path by the node's in what is sent."""
    next_hop_mode: Literal["Auto", "Self", "Keep"] | None = None
    """The next hop of what is sent."""
    keep_original_next_hop: Flag | None = None
    """Calico's older way to say nextHopMode Keep towards another AS."""
    password: Password | None = None
    """TCP-MD5 password."""
    source_address: Literal["UseNodeIP", "None"] | None = None
    """Speak from the node's own address, or from the one that the kernel chooses."""
    local_address: IpAddress | None = None
    """Speak from this address."""
    hold_time: HoldTime = 90
    """Hold time."""
    keepalive_time: KeepaliveTime | None = None
    """Keepalive time; a third of holdTime without it."""
    connect_retry: ConnectRetry | None = None
    """Pause before the next try to connect."""
    max_restart_time: RestartTime = 120
    """Graceful restart time that the peer is told; 0 turns it off."""
    long_lived_stale_time: StaleTime | None = None
    """How long stale routes may be kept after that (RFC 9494)."""
    ttl_security: Annotated[WholeNumber, Field(ge=1, le=254)] | None = None
    """GTSM with this many hops (RFC 5082)."""
    bfd: MaybeOneLine = None
    """BFDProfile of the session."""
    max_prefixes: PrefixLimit | None = None
    """The session is closed when the peer sends more."""
    add_paths: AddPaths | None = None
    """Several paths per prefix (RFC 7911)."""
    families: Annotated[tuple[AddressFamily, ...], Field(max_length=2)] = ()
    """Address families; without them that of the peer's address."""
    reachable_by: IpAddress | None = None
    """Gateway of a static route to the peer."""
    filters: Many[OneLine] = ()
    """BGPFilters, in this order."""
    local_workload_selector: MaybeSelector = None
    """Workloads on the node itself that it peers with."""
    reverse_peering: Literal["Auto", "Manual"] = "Auto"
    """Whether the nodes of peerSelector get the other end by themselves."""

    def mistakes(self) -> Iterator[Mistake]:
        yield from keepalive_mistakes(self.hold_time, self.keepalive_time)
        if self.peer_ip is None:
            return
        peer = self.endpoint()[0]
        for field, address in (("reachableBy", self.reachable_by), ("localAddress", self.local_address)):
            if address is not None and (":" in address) is not (":" in peer):
                yield (field,), f"{address} and peerIP {peer} are of different families"

    def endpoint(self) -> tuple[str, int | None]:
        """`peerIP` as (address, port or None): `10.0.0.1`, `10.0.0.1:1790`, `fd00::1` or `[fd00::1]:1790`."""
        return _endpoint(self.peer_ip or "")


def _endpoint(text: str) -> tuple[str, int | None]:
    host, port = text, ""
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        port = port.removeprefix(":") if port else ""
        host = host if bracket else text
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
        port = port or "missing"
    try:
        address = str(ipaddress.ip_address(host))
    except ValueError:
        raise ValueError(f"{shown(text)} is no address, address:port or [address]:port") from None
    if "%" in address:
        raise ValueError(f"{shown(text)} names an interface; write the address alone")
    if not port:
        return address, None
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise ValueError(f"{shown(text)} has no port in 1..65535")
    return address, int(port)
