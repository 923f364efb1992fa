"""The kinds that follow Calico's v3 API, with the fields that have an effect here.

`BGPConfiguration`, `BGPPeer`, `IPPool` and `Node` are read as Calico reads them. Underlay's own additions
are `Node.spec.uplinks`, the routed links of a node to its switches, and `BGPPeer.spec.holdTime`.
"""

from __future__ import annotations

import ipaddress
from typing import Literal

from pydantic import Field, model_validator

from peering.resources.fields import (
    AsNumber,
    Cidr,
    HoldTime,
    InterfaceAddress,
    KeepaliveTime,
    OneLine,
    Password,
    RestartTime,
    RouterId,
    Selector,
    Spec,
)


class BGPConfigurationSpec(Spec):
    """`default` only: the AS of nodes that no Rack and no Node gives one."""

    as_number: AsNumber = Field(default=64512, alias="asNumber")
    node_to_node_mesh_enabled: bool = True


class BGPPeerSpec(Spec):
    """A session of the selected nodes with one address. Both selectors empty means all nodes, as in Calico."""

    node: OneLine | None = None
    node_selector: Selector | None = None
    peer_ip: str = Field(alias="peerIP")
    as_number: AsNumber = Field(alias="asNumber")
    password: Password | None = None
    source_address: Literal["UseNodeIP", "None"] = "UseNodeIP"
    hold_time: HoldTime = 90
    keepalive_time: KeepaliveTime | None = None
    max_restart_time: RestartTime = 120
    ttl_security: int | None = Field(default=None, ge=1, le=254)

    @model_validator(mode="after")
    def _exclusive(self) -> BGPPeerSpec:
        if self.node is not None and self.node_selector is not None:
            raise ValueError("node and nodeSelector exclude each other")
        self.endpoint()
        return self

    def endpoint(self) -> tuple[str, int]:
        """`peerIP` as (address, port): `10.0.0.1`, `10.0.0.1:1790`, `fd00::1` or `[fd00::1]:1790`."""
        return _endpoint(self.peer_ip)


def _endpoint(text: str) -> tuple[str, int]:
    host, port = text, "179"
    if text.startswith("["):
        host, _, port = text[1:].partition("]:")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        address = str(ipaddress.ip_address(host))
    except ValueError:
        raise ValueError(f"peerIP {text!r} is no address, address:port or [address]:port") from None
    if not (port.isdigit() and 1 <= int(port) <= 65535):
        raise ValueError(f"peerIP {text!r} has no port in 1..65535")
    return address, int(port)


class IPPoolSpec(Spec):
    """A pool that nodes claim blocks from. Encapsulation does not exist here: pods are fabric endpoints."""

    cidr: Cidr
    block_size: int = 0
    node_selector: Selector = "all()"
    disabled: bool = False
    disable_bgp_export: bool = Field(default=False, alias="disableBGPExport")
    nat_outgoing: bool = False
    ipip_mode: Literal["Never"] = "Never"
    vxlan_mode: Literal["Never"] = "Never"

    @model_validator(mode="after")
    def _block_fits(self) -> IPPoolSpec:
        network = ipaddress.ip_network(self.cidr)
        low, high = (20, 32) if network.version == 4 else (116, 128)
        if self.block_size and not low <= self.block_size <= high:
            raise ValueError(f"blockSize must be {low}..{high} for IPv{network.version}")
        if network.prefixlen > self.block_length:
            raise ValueError(f"the pool {self.cidr} is smaller than one block of /{self.block_length}")
        if network.is_link_local:
            raise ValueError(f"{self.cidr} is link-local and cannot be routed")
        return self

    @property
    def block_length(self) -> int:
        """`blockSize`, or Calico's default: 26 for IPv4, 122 for IPv6."""
        return self.block_size or (26 if ":" not in self.cidr else 122)


class NodeBGP(Spec):
    """The node's stable loopbacks and its own AS, where it has one."""

    as_number: AsNumber | None = Field(default=None, alias="asNumber")
    ipv4_address: InterfaceAddress | None = Field(default=None, alias="ipv4Address")
    ipv6_address: InterfaceAddress | None = Field(default=None, alias="ipv6Address")
    router_id: RouterId | None = Field(default=None, alias="routerID")

    @model_validator(mode="after")
    def _right_families(self) -> NodeBGP:
        for field, address, is_ipv6 in (
            ("ipv4Address", self.ipv4_address, False),
            ("ipv6Address", self.ipv6_address, True),
        ):
            if address is not None and (":" in address) is not is_ipv6:
                raise ValueError(f"{field} {address} is an IPv{4 if is_ipv6 else 6} address")
        return self


class Uplink(Spec):
    """A routed link of the node: the interface and its addresses with their lengths."""

    interface: OneLine
    addresses: tuple[InterfaceAddress, ...] = Field(min_length=1)


class NodeSpec(Spec):
    """A node. Its uplinks say which switch it faces: their addresses lie in one of that switch's linkSubnets."""

    bgp: NodeBGP = NodeBGP()
    uplinks: tuple[Uplink, ...] = ()
