"""Which way a node and a switch of its rack speak: over the addresses of their links, over loopbacks, or without any.

A node and a switch share a link when an address of one of the node's uplinks lies in a `linkSubnet` of the switch. On
a point-to-point link the switch's end is the other address of it; in a subnet that many nodes share it is the switch's
`linkAddresses` there. Over loopbacks the link is still needed, to reach the other end by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from peering import addressing
from peering.facts import NodeFacts
from peering.problems import Problem
from peering.resources.fabric import SwitchSpec

#: Two loopbacks are one router apart: the packet is routed once on arrival.
_LOOPBACK_HOPS = 2


@dataclass(frozen=True, slots=True)
class Link:
    """Both ends of one way between a node and a switch. `far_interface` is set where there are no addresses.

    `point_to_point`: nodes on it have no way to each other but through the switch.
    """

    label: str
    near: str | None
    far: str
    hops: int = 1
    point_to_point: bool = True
    reachable_by: str | None = None
    far_reachable_by: str | None = None
    interface: str | None = None
    far_interface: str | None = None


Found = Iterator[Link | Problem]


def links(kind: str, node: NodeFacts, switch_name: str, switch: SwitchSpec) -> list[Link | Problem]:
    """The ways of `kind` (`peerAddresses` of the rack) between the two, or what is wrong with them."""
    found = list(_KINDS[kind](node, switch_name, switch))
    return found or [_no_link(node, switch_name, switch)]


def _over_links(node: NodeFacts, switch_name: str, switch: SwitchSpec) -> Found:
    for interface, address in node.uplinks:
        if not addressing.lies_in(address, switch.link_subnets):
            continue
        near, version = addressing.bare(address), "ipv6" if ":" in address else "ipv4"
        far = addressing.far_end(address)
        shared = next(
            (a for a in switch.link_addresses if addressing.lies_in(a, [addressing.subnet_of(address)])), None
        )
        if far is not None:
            yield Link(version, near, far)
        elif shared is not None:
            yield Link(version, near, addressing.bare(shared), point_to_point=False)
        else:
            yield _end_unknown(node, switch_name, interface, address)


def _over_loopbacks(node: NodeFacts, switch_name: str, switch: SwitchSpec) -> Found:
    ways = {":" in link.far: link for link in _over_links(node, switch_name, switch) if isinstance(link, Link)}
    for is_ipv6 in (False, True):
        near = node.loopback(is_ipv6)
        far = next((addressing.bare(a) for a in switch.addresses if (":" in a) is is_ipv6), None)
        if near is not None and far is not None and is_ipv6 in ways:
            way = ways[is_ipv6]
            yield replace(way, near=near, far=far, hops=_LOOPBACK_HOPS, reachable_by=way.far, far_reachable_by=way.near)


def _unnumbered(node: NodeFacts, switch_name: str, switch: SwitchSpec) -> Found:
    for interface, switch_at_end, far_interface in node.unnumbered:
        if switch_at_end != switch_name:
            continue
        if far_interface is None:
            message = f"the uplink {interface} is unnumbered, so the interface of Switch/{switch_name} is unknown"
            hint = "set switchInterface of the uplink"
            yield Problem("error", "link-end-unknown", f"Node/{node.name}", "spec.uplinks", message, hint)
        else:
            yield Link(interface, None, "", interface=interface, far_interface=far_interface)


_KINDS: dict[str, Callable[[NodeFacts, str, SwitchSpec], Found]] = {
    "links": _over_links,
    "loopbacks": _over_loopbacks,
    "unnumbered": _unnumbered,
}


def _end_unknown(node: NodeFacts, switch_name: str, interface: str, address: str) -> Problem:
    message = f"{address} on {interface} is no point-to-point address, so the end of Switch/{switch_name} is unknown"
    hint = "give the link a /31 or /30 (IPv6: /127 or /126), or name the switch's own address in its linkAddresses"
    return Problem("error", "link-end-unknown", f"Node/{node.name}", "spec.uplinks", message, hint)


def _no_link(node: NodeFacts, switch_name: str, switch: SwitchSpec) -> Problem:
    subnets = ", ".join(switch.link_subnets) or "it has none"
    message = f"has no uplink to Switch/{switch_name} of Rack/{node.rack}"
    hint = f"give an uplink an address in the switch's linkSubnets: {subnets}"
    return Problem("error", "node-without-link", f"Node/{node.name}", "spec.uplinks", message, hint)
