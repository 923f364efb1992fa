"""Rack and Switch: the short way to declare a dual-ToR fabric, compiled to one session per link and family.

A switch says what it is (AS, loopbacks, the subnets its node-facing links come from, who it peers with
upwards). A rack says which nodes stand in it, which switches serve them and by which design. Nothing about
a session is written twice: the addresses of both ends follow from the node's uplinks and the link subnets.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from peering.resources.fields import (
    AsNumber,
    Cidr,
    HoldTime,
    InterfaceAddress,
    IpAddress,
    KeepaliveTime,
    OneLine,
    Password,
    RestartTime,
    RouterId,
    Selector,
    Spec,
)

Design = Literal["ebgp-as-per-rack", "ibgp-tor-reflects"]


class FabricPeer(Spec):
    """A neighbour of a switch that is not ours to configure: a spine, a border router."""

    name: OneLine
    address: IpAddress
    as_number: AsNumber = Field(alias="asNumber")
    hold_time: HoldTime = 90


class SwitchSpec(Spec):
    """`addresses` are the switch's loopbacks; it announces them. `linkSubnets` hold its links to nodes."""

    platform: OneLine = "frr"
    as_number: AsNumber = Field(alias="asNumber")
    router_id: RouterId | None = Field(default=None, alias="routerID")
    addresses: tuple[InterfaceAddress, ...] = ()
    link_subnets: tuple[Cidr, ...] = ()
    fabric_peers: tuple[FabricPeer, ...] = ()

    @model_validator(mode="after")
    def _one_session_per_name(self) -> SwitchSpec:
        named = [(peer.name, ":" in peer.address) for peer in self.fabric_peers]
        twice = sorted({name for name, is_ipv6 in named if named.count((name, is_ipv6)) > 1})
        if twice:
            raise ValueError(f"fabricPeers: {', '.join(twice)} is named twice in one address family")
        addresses = [peer.address for peer in self.fabric_peers]
        shared = sorted({address for address in addresses if addresses.count(address) > 1})
        if shared:
            raise ValueError(f"fabricPeers: {', '.join(shared)} is the address of two")
        return self


class RackSpec(Spec):
    """Timers are those of the sessions between the rack's nodes and its switches."""

    node_selector: Selector
    switches: tuple[OneLine, ...] = Field(min_length=1)
    design: Design = "ebgp-as-per-rack"
    node_as_number: AsNumber | None = Field(default=None, alias="nodeASNumber")
    hold_time: HoldTime = 90
    keepalive_time: KeepaliveTime | None = None
    graceful_restart_time: RestartTime = 120
    ttl_security: bool = False
    max_prefixes: int | None = Field(default=None, ge=1, le=4294967295)
    password: Password | None = None
    downward: Literal["default-only", "pools", "all"] = "pools"
    accept_prefixes: tuple[Cidr, ...] = ()

    @model_validator(mode="after")
    def _timers(self) -> RackSpec:
        if self.keepalive_time is not None and self.hold_time and self.keepalive_time * 2 > self.hold_time:
            raise ValueError("keepaliveTime must be at most half of holdTime, better a third (RFC 4271, 4.4)")
        return self
