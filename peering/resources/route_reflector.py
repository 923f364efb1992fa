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
    keepalive_mistakes,
)


def _off(value: Any) -> Any:
    """YAML 1.1 reads an unquoted `off` as false."""
    return "off" if value is False else value


Ownership = Annotated[Literal["off", "report", "enforce"], BeforeValidator(_off)]


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
    fabric_peers: Many[FabricPeer] = ()
    """Neighbours that are neither nodes nor reflectors of ours."""
    accept_prefixes: Many[Cidr] = ()
    """What is taken besides the default route, pools and loopbacks."""
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
    max_prefixes: PrefixLimit | None = None
    """It closes a session on which a client announces more."""
    filters: Many[OneLine] = ()
    """BGPFilters of its sessions, in this order."""
    ownership: Ownership = "report"
    """What is done with a prefix whose block belongs to another node: nothing, a report, a refusal."""

    def mistakes(self) -> Iterator[Mistake]:
        yield from keepalive_mistakes(self.hold_time, self.keepalive_time)
        yield from fabric_peer_mistakes(self.fabric_peers)
        if len({":" in address for address in self.addresses}) < len(self.addresses):
            yield ("addresses", 1), "at most one address of each family"
        for index, name in enumerate(self.upstream):
            if name in self.upstream[:index]:
                yield ("upstream", index), f"{name} is named twice"
