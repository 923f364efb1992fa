"""Rack and Switch: the short way to declare a dual-ToR fabric, compiled to one session per link and family.

A switch says what it is (AS, loopbacks, the subnets its node-facing links come from, who it peers with
upwards). A rack says which nodes stand in it, which switches serve them and by which design. Nothing about
a session is written twice: the addresses of both ends follow from the node's uplinks and the link subnets.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from peering.resources.fields import (
    WELL_KNOWN_COMMUNITIES,
    AsNumber,
    Cidr,
    Community,
    Flag,
    HoldTime,
    HostAddress,
    InterfaceAddress,
    IpAddress,
    KeepaliveTime,
    ListenLimit,
    Many,
    MaybeOneLine,
    Mistake,
    OneLine,
    Password,
    Port,
    PrefixLimit,
    RestartTime,
    RouterId,
    SecretName,
    Selector,
    Spec,
    StaleTime,
    keepalive_mistakes,
)

Design = Literal["ebgp-as-per-rack", "ebgp-as-per-node", "ebgp-as-per-cluster", "ibgp-tor-reflects"]


class FabricPeer(Spec):
    """A neighbour of a switch that is not ours to configure: a spine, a border router; or the rack's other switch."""

    EXAMPLE = "{name: spine-1, address: 10.254.1.0, asNumber: 65000}"

    name: OneLine
    """For descriptions; in a Switch that of another switch of its rack means that one. May have both families."""
    address: IpAddress
    """Address of the neighbour."""
    as_number: AsNumber = Field(alias="asNumber")
    """Its AS."""
    hold_time: HoldTime = 90
    """Hold time; keepalive is a third."""


def fabric_peer_mistakes(peers: Sequence[FabricPeer]) -> Iterator[Mistake]:
    """Names and addresses that would make two sessions one."""
    named: set[tuple[str, bool]] = set()
    addresses: set[str] = set()
    for index, peer in enumerate(peers):
        spot = ("fabricPeers", index)
        if (peer.name, ":" in peer.address) in named:
            yield (*spot, "name"), f"{peer.name} is named twice in one address family"
        if peer.address in addresses:
            yield (*spot, "address"), f"{peer.address} is the address of two"
        named.add((peer.name, ":" in peer.address))
        addresses.add(peer.address)


class SwitchSetting(Spec):
    """What the switch's platform has to know and no other has."""

    EXAMPLE = "{name: vrf, value: k8s}"

    name: OneLine
    """One of the platform's settings."""
    value: OneLine
    """Its value."""


class Management(Spec):
    """How `underlay diff`, `push` and `verify` log in to the switch. The plan knows nothing of it."""

    EXAMPLE = "{address: 192.0.2.11, driver: napalm, secretRef: {name: switch-login}}"

    address: HostAddress
    """Address or DNS name of its management interface."""
    port: Port | None = None
    """The driver's own without it."""
    driver: Literal["napalm", "netmiko", "scrapli"] | None = None
    """The library that speaks to it."""
    secret_ref: SecretName | None = None
    """Secret with the keys username and password."""


class SwitchSpec(Spec):
    """A ToR switch: what it is, and the subnets its links to nodes come from."""

    platform: OneLine = "frr"
    """What its configuration is rendered for; with a release after an @ where syntax depends on it."""
    settings: Many[SwitchSetting] = ()
    """What the platform has to know beside."""
    as_number: AsNumber = Field(alias="asNumber")
    """Its AS."""
    router_id: RouterId | None = Field(default=None, alias="routerID")
    """Router ID; the first IPv4 address without it."""
    addresses: Many[InterfaceAddress] = ()
    """Loopbacks; each is announced as a host route."""
    link_subnets: Many[Cidr] = ()
    """What its links to nodes are carved from."""
    link_addresses: Many[InterfaceAddress] = ()
    """Its own addresses in subnets that many nodes share; on point-to-point links its end follows."""
    fabric_peers: Many[FabricPeer] = ()
    """Neighbours upwards."""
    management: Management | None = None
    """How one logs in to it."""

    def mistakes(self) -> Iterator[Mistake]:
        yield from fabric_peer_mistakes(self.fabric_peers)
        seen: set[str] = set()
        for index, setting in enumerate(self.settings):
            if setting.name in seen:
                yield ("settings", index, "name"), f"{setting.name} is set twice"
            seen.add(setting.name)
        subnets = [ipaddress.ip_network(cidr) for cidr in self.link_subnets]
        for index, address in enumerate(self.link_addresses):
            own = ipaddress.ip_interface(address).ip
            if not any(own in subnet for subnet in subnets if subnet.version == own.version):
                yield ("linkAddresses", index), f"{address} lies in none of linkSubnets"


class RackSpec(Spec):
    """Which nodes stand in the rack, which switches serve them, and by which design they speak.

    Timers are those of the sessions between the rack's nodes and its switches.
    """

    node_selector: Selector
    """The nodes that stand in the rack."""
    switches: Many[OneLine] = Field(min_length=1)
    """Names of the switches that serve it."""
    design: Design = "ebgp-as-per-rack"
    """Who has which AS."""
    peer_addresses: Literal["links", "loopbacks", "unnumbered"] = "links"
    """The two ends speak over the addresses of their link, over their loopbacks, or over link-local ones."""
    neighbors: Literal["named", "listen"] = "named"
    """The switches name each node, or take whoever of the right AS dials in from their linkSubnets."""
    listen_limit: ListenLimit = 64
    """With `listen`, how many may dial in from one subnet."""
    loop_check: Literal["as-override", "allow-as-in"] = "as-override"
    """Of `ebgp-as-per-cluster`: who lets a path with the cluster's AS pass."""
    node_as_number: AsNumber | None = Field(default=None, alias="nodeASNumber")
    """AS of its nodes."""
    hold_time: HoldTime = 90
    """Hold time of its sessions."""
    keepalive_time: KeepaliveTime | None = None
    """Keepalive time of its sessions; a third of holdTime without it."""
    graceful_restart_time: RestartTime = 120
    """How long a switch keeps a node's routes while its speaker is away (RFC 4724); 0 turns it off."""
    long_lived_stale_time: StaleTime | None = None
    """How long stale routes may be kept after that (RFC 9494)."""
    bfd: MaybeOneLine = None
    """BFDProfile of its sessions."""
    ttl_security: Flag = False
    """Both ends send TTL 255 and take nothing less (RFC 5082)."""
    max_prefixes: PrefixLimit | None = None
    """A switch closes a session on which a node announces more."""
    prefix_limit: Literal["none", "ipam"] = "none"
    """Without maxPrefixes: no limit, or twice what IPAM may hand to a node."""
    password: Password | None = None
    """TCP-MD5 password of its sessions."""
    downward: Literal["default-only", "pools", "all"] = "pools"
    """What the switches send to nodes."""
    keep_communities: Many[Community] = ()
    """Communities of nodes' routes that the switches pass on; others are removed."""
    accept_prefixes: Many[Cidr] = ()
    """What nodes may learn besides the default route and pools."""

    def mistakes(self) -> Iterator[Mistake]:
        yield from keepalive_mistakes(self.hold_time, self.keepalive_time)
        if self.neighbors == "listen" and self.peer_addresses != "links":
            message = f"listen takes nodes by their link's subnet, and peerAddresses is {self.peer_addresses}"
            yield ("neighbors",), message
        for index, community in enumerate(self.keep_communities):
            if community in WELL_KNOWN_COMMUNITIES:
                message = f"{community} is well-known: switches keep or refuse those by themselves"
                yield ("keepCommunities", index), message
