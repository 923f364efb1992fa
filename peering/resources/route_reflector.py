"""RouteReflector: a reflector that `underlay reflector` runs, and which nodes are its clients.

The short way, as Rack is for switches: the sessions of both ends follow. Reflectors that have no `upstream` peer
with each other as non-clients; one that names upstreams is their client (hierarchical reflection, RFC 4456, 7).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from peering.resources.fabric import FabricPeer, fabric_peer_mistakes
from peering.resources.fields import (
    AddPaths,
    AsNumber,
    Cidr,
    Flag,
    HoldTime,
    InterfaceAddress,
    KeepaliveTime,
    Many,
    MaybeOneLine,
    MaybeSelector,
    Mistake,
    OneLine,
    Password,
    Port,
    PrefixLimit,
    RestartTime,
    RouterId,
    Spec,
    StaleTime,
    WholeNumber,
    keepalive_mistakes,
)


def _off(value: Any) -> Any:
    """YAML 1.1 reads an unquoted `off` as false."""
    return "off" if value is False else value


Ownership = Annotated[Literal["off", "report", "enforce"], BeforeValidator(_off)]


class ReflectorPeer(FabricPeer):
    """A neighbour of a reflector that is neither a node nor a reflector of ours: a switch, a border router."""

    password: Password | None = None
    """TCP-MD5 password."""
    ttl_security: Annotated[WholeNumber, Field(ge=1, le=254)] | None = None
    """GTSM with this many hops (RFC 5082)."""
    next_hop_mode: Literal["Auto", "Self", "Keep"] = "Auto"
    """The next hop of what it is sent."""
    num_allowed_local_as_numbers: Annotated[WholeNumber, Field(ge=0, le=10)] = Field(
        default=0, alias="numAllowedLocalASNumbers"
    )
    """How often the reflector's AS may be in the path of a received route."""
    as_override: Flag = False
    """Replace the peer's AS in the path by the reflector's in what is sent."""
    prepend: Annotated[WholeNumber, Field(ge=0, le=10)] = 0
    """How often the reflector's AS is put in front of the path once more."""
    max_prefixes: PrefixLimit | None = None
    """The session is closed when the peer sends more."""


class RouteReflectorSpec(Spec):
    """A route reflector of ours: where it listens, who its clients are, what it does with foreign blocks."""

    addresses: Annotated[tuple[InterfaceAddress, ...], Field(max_length=2)] = Field(min_length=1)
    """Where it listens and dials from; at most one of each family."""
    node: MaybeOneLine = None
    """The node it runs on."""
    as_number: AsNumber | None = Field(default=None, alias="asNumber")
    """Its AS; that of BGPConfiguration without it."""
    router_id: RouterId | None = Field(default=None, alias="routerID")
    """Router ID; its IPv4 address without it."""
    cluster_id: RouterId | None = Field(default=None, alias="clusterID")
    """Cluster ID; its router ID without it (RFC 4456, 7)."""
    listen_port: Port = 179
    """Port that it listens on."""
    node_selector: MaybeSelector = None
    """The nodes that are its clients."""
    upstream: Many[OneLine] = ()
    """Reflectors that it is a client of."""
    fabric_peers: Many[ReflectorPeer] = ()
    """Neighbours that are neither nodes nor reflectors of ours."""
    accept_prefixes: Many[Cidr] = ()
    """Whoever comes from one of these, in its own AS, is a client, too."""
    password: Password | None = None
    """TCP-MD5 password of its sessions."""
    hold_time: HoldTime = 90
    """Hold time of its sessions."""
    keepalive_time: KeepaliveTime | None = None
    """Keepalive time of its sessions; a third of holdTime without it."""
    graceful_restart_time: RestartTime = 120
    """How long routes are kept while the other end restarts (RFC 4724); 0 turns it off."""
    long_lived_stale_time: StaleTime | None = None
    """How long stale routes may be kept after that (RFC 9494)."""
    bfd: MaybeOneLine = None
    """BFDProfile of its sessions."""
    add_paths: AddPaths | None = None
    """Several paths per prefix (RFC 7911)."""
    add_path_limit: Annotated[WholeNumber, Field(ge=1, le=255)] | None = None
    """Only so many of them are sent, the best first."""
    max_prefixes: PrefixLimit | None = None
    """It closes a session on which a client announces more."""
    max_prefixes_restart: RestartTime = 300
    """How long it stays closed; 0 until somebody resets it."""
    filters: Many[OneLine] = ()
    """BGPFilters of its sessions, in this order."""
    ownership: Ownership = "report"
    """What is done with a prefix whose block belongs to another node: nothing, a report, a refusal."""

    def mistakes(self) -> Iterator[Mistake]:
        yield from keepalive_mistakes(self.hold_time, self.keepalive_time)
        yield from fabric_peer_mistakes(self.fabric_peers)
        if self.add_path_limit is not None and self.add_paths not in ("send", "both"):
            yield ("addPathLimit",), "needs addPaths: send or both, or there is nothing to limit"
        if len({":" in address for address in self.addresses}) < len(self.addresses):
            yield ("addresses", 1), "at most one address of each family"
        for index, name in enumerate(self.upstream):
            if name in self.upstream[:index]:
                yield ("upstream", index), f"{name} is named twice"
