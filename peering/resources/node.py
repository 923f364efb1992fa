"""Node, in Calico's shape: who speaks BGP, from which addresses, over which links.

`uplinks`, `routerID` are ours. Calico fills in more than it declares (tunnel addresses, orchestrator references);
what has no meaning in a fabric without overlay is accepted and not read. How a Node of Kubernetes becomes one of
these is in `peering/kubernetes_node.py`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, model_validator

from peering.resources.fields import (
    AsNumber,
    Cidr,
    Flag,
    InterfaceAddress,
    Ipv4InterfaceAddress,
    Ipv6InterfaceAddress,
    Many,
    MaybeOneLine,
    Mistake,
    OneLine,
    RouterId,
    Spec,
)

__all__ = ["CALICO_FACTS", "NodeBGP", "NodeSpec", "Uplink"]

#: Fields of Calico's Node that its own processes write: read over, no wish of the admin's.
CALICO_FACTS = (
    "addresses",
    "interfaces",
    "orchRefs",
    "wireguard",
    "ipv4VXLANTunnelAddr",
    "ipv6VXLANTunnelAddr",
    "vxlanTunnelMACAddr",
    "vxlanTunnelMACAddrV6",
)
_CALICO_BGP_FACTS = ("ipv4IPIPTunnelAddr",)


class NodeBGP(Spec):
    """The node as a BGP speaker: its stable loopbacks, its own AS where it has one, and the cluster it reflects for."""

    as_number: AsNumber | None = Field(default=None, alias="asNumber")
    """The node's AS; wins over that of its rack and of BGPConfiguration."""
    ipv4_address: Ipv4InterfaceAddress | None = Field(default=None, alias="ipv4Address")
    """The IPv4 loopback: announced as a host route, source of sessions."""
    ipv6_address: Ipv6InterfaceAddress | None = Field(default=None, alias="ipv6Address")
    """The same for IPv6."""
    router_id: RouterId | None = Field(default=None, alias="routerID")
    """Router ID; ipv4Address without it."""
    route_reflector_cluster_id: RouterId | None = Field(default=None, alias="routeReflectorClusterID")
    """The node reflects for the cluster with this ID (RFC 4456)."""

    @model_validator(mode="before")
    @classmethod
    def _without_facts(cls, value: Any) -> Any:
        return _leave_out(value, _CALICO_BGP_FACTS)


class Uplink(Spec):
    """A routed link of the node. Without addresses it is unnumbered, and `switch` names what is at its other end."""

    EXAMPLE = "{interface: eth1, addresses: [10.1.1.1/31]}"

    interface: OneLine
    """Name of the interface, for people and messages; of an unnumbered link also what it is found by."""
    addresses: Many[InterfaceAddress] = ()
    """The node's addresses on the link, with their lengths."""
    switch: MaybeOneLine = None
    """The switch at the other end of an unnumbered link."""
    switch_interface: MaybeOneLine = None
    """The interface of that switch."""

    def mistakes(self) -> Iterator[Mistake]:
        if not self.addresses and self.switch is None:
            yield (), "an uplink needs addresses or, when it is unnumbered, the switch at its other end"
        for index, address in enumerate(self.addresses):
            if ipaddress.ip_interface(address).is_link_local:
                yield (
                    ("addresses", index),
                    f"{address} is link-local; leave addresses out and name the switch instead",
                )


class NodeSpec(Spec):
    """A node. Its uplinks say which switch it faces: their addresses lie in one of that switch's linkSubnets."""

    bgp: NodeBGP = Field(default_factory=NodeBGP)
    """The node as a BGP speaker."""
    uplinks: Many[Uplink] = ()
    """Its links to switches."""
    unschedulable: Flag = False
    """The node is cordoned, as Kubernetes says."""
    pod_cidrs: Annotated[tuple[Cidr, ...], Field(max_length=2)] = Field(default=(), alias="podCIDRs")
    """Where host-local gives the node's pods addresses, one of each family, as Kubernetes says."""

    @model_validator(mode="before")
    @classmethod
    def _without_facts(cls, value: Any) -> Any:
        return _leave_out(value, CALICO_FACTS)

    def mistakes(self) -> Iterator[Mistake]:
        seen: set[str] = set()
        for index, uplink in enumerate(self.uplinks):
            for spot, address in enumerate(uplink.addresses):
                bare = address.split("/")[0]
                if bare in seen:
                    yield ("uplinks", index, "addresses", spot), f"{bare} is written twice"
                seen.add(bare)
        if len({":" in cidr for cidr in self.pod_cidrs}) < len(self.pod_cidrs):
            yield ("podCIDRs",), "has two of one family; a node has at most one of each"


def _leave_out(value: Any, fields: tuple[str, ...]) -> Any:
    return {k: v for k, v in value.items() if k not in fields} if isinstance(value, dict) else value
