"""What is known of a node before any session is made: rack, AS, loopbacks, uplinks, router ID."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from peering.addressing import bare
from peering.memo import Memo
from peering.node_index import NodeIndex
from peering.problems import Problem
from peering.resource import Resource
from peering.resources.bgp_configuration import BGPConfigurationSpec
from peering.resources.fabric import RackSpec
from peering.resources.node import NodeSpec
from peering.snapshot import Snapshot

NO_ROUTER_ID = "0.0.0.0"


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """`loopbacks` and the addresses of `uplinks` (interface, address/length) are as declared, IPv4 first.

    `cluster_id` is Calico's `routeReflectorClusterID`; `unnumbered` are the uplinks without addresses, as (interface,
    switch, the switch's interface). `declared_asn` is the node's own, None where rack or configuration gives it.
    """

    name: str
    asn: int
    router_id: str
    rack: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    loopbacks: tuple[str, ...] = ()
    uplinks: tuple[tuple[str, str], ...] = ()
    accept_prefixes: tuple[str, ...] = ()
    cluster_id: str | None = None
    listen_port: int = 179
    unnumbered: tuple[tuple[str, str, str | None], ...] = ()
    declared_asn: int | None = None

    def loopback(self, is_ipv6: bool) -> str | None:
        """The node's own address of a family."""
        return next((a for a in self.loopbacks if (":" in a) is is_ipv6), None)


def node_facts(
    snapshot: Snapshot, racks: Mapping[str, RackSpec], index: NodeIndex, memo: Memo, problems: list[Problem]
) -> dict[str, NodeFacts]:
    """The facts of every node, by name. A node that two racks select stands in the first by name."""
    default = snapshot.configuration()
    membership = _membership(racks, index, problems)
    ports = _listen_ports(snapshot)
    kept = memo.table("facts")
    facts: dict[str, NodeFacts] = {}
    for name, resource in snapshot.all("Node").items():
        rack = membership.get(name)
        port = ports.get(name, default.listen_port or 179)
        inputs = (resource, rack, racks[rack] if rack else None, default.default_as_number, port)
        facts[name] = one = kept.get(name, inputs, _facts_of)
        if one.router_id == NO_ROUTER_ID:
            message = "has neither an IPv4 address nor a router ID"
            hint = "set spec.bgp.routerID (RFC 6286: any non-zero 32 bits, unique in the AS)"
            problems.append(Problem("error", "no-router-id", resource.ref, "spec.bgp", message, hint))
    return facts


def _membership(racks: Mapping[str, RackSpec], index: NodeIndex, problems: list[Problem]) -> dict[str, str]:
    rack_of: dict[str, str] = {}
    for rack in sorted(racks):
        for node in index.select(racks[rack].node_selector):
            first = rack_of.setdefault(node, rack)
            if first != rack:
                message = f"is selected by Rack/{first} and by Rack/{rack}"
                hint = "a node stands in one rack; make the nodeSelectors exclude each other"
                problems.append(Problem("error", "node-in-two-racks", f"Node/{node}", "metadata.labels", message, hint))
    return rack_of


def _listen_ports(snapshot: Snapshot) -> dict[str, int]:
    """`listenPort` of BGPConfigurations `node.NAME`, by node."""
    specs = snapshot.specs("BGPConfiguration", BGPConfigurationSpec)
    return {
        name.removeprefix("node."): spec.listen_port
        for name, spec in specs.items()
        if name.startswith("node.") and spec.listen_port
    }


def _facts_of(
    resource: Resource, rack_name: str | None, rack: RackSpec | None, default_asn: int, listen_port: int
) -> NodeFacts:
    spec = cast(NodeSpec, resource.spec)
    bgp = spec.bgp
    loopbacks = tuple(bare(a) for a in (bgp.ipv4_address, bgp.ipv6_address) if a)
    rack_asn = rack.node_as_number if rack else None
    return NodeFacts(
        name=resource.name,
        asn=bgp.as_number or rack_asn or default_asn,
        router_id=bgp.router_id or (bare(bgp.ipv4_address) if bgp.ipv4_address else NO_ROUTER_ID),
        rack=rack_name,
        labels=resource.labels,
        loopbacks=loopbacks,
        uplinks=tuple((u.interface, a) for u in spec.uplinks for a in u.addresses),
        accept_prefixes=rack.accept_prefixes if rack else (),
        cluster_id=bgp.route_reflector_cluster_id,
        listen_port=listen_port,
        unnumbered=tuple((u.interface, u.switch or "", u.switch_interface) for u in spec.uplinks if not u.addresses),
        declared_asn=bgp.as_number,
    )
