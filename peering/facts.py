"""What is known of a node before any session is made: rack, AS, loopbacks, uplinks, router ID."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from peering.addressing import bare
from peering.problems import Problem
from peering.resource import Resource
from peering.resources.calico import NodeSpec
from peering.resources.fabric import RackSpec
from peering.selectors import parse_selector
from peering.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """`loopbacks` and the addresses of `uplinks` (interface, address/length) are as declared, IPv4 first."""

    name: str
    asn: int
    router_id: str
    rack: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    loopbacks: tuple[str, ...] = ()
    uplinks: tuple[tuple[str, str], ...] = ()
    accept_prefixes: tuple[str, ...] = ()


def node_facts(snapshot: Snapshot, racks: Mapping[str, RackSpec], problems: list[Problem]) -> dict[str, NodeFacts]:
    """The facts of every node, by name. A node that two racks select stands in the first by name."""
    default_asn = snapshot.configuration().as_number
    membership = _membership(snapshot, racks, problems)
    facts = {}
    for name, resource in snapshot.all("Node").items():
        rack_name = membership.get(name)
        facts[name] = _facts_of(resource, rack_name, racks.get(rack_name or ""), default_asn, problems)
    return facts


def _membership(snapshot: Snapshot, racks: Mapping[str, RackSpec], problems: list[Problem]) -> dict[str, str]:
    rack_of: dict[str, str] = {}
    for rack_name in sorted(racks):
        selects = parse_selector(racks[rack_name].node_selector)
        matched = [n for n, r in snapshot.all("Node").items() if selects(r.labels)]
        if not matched:
            message = f"{racks[rack_name].node_selector!r} selects no node"
            hint = "no session of this rack will exist; compare with the labels of the nodes"
            problems.append(
                Problem("warning", "selector-matches-nothing", f"Rack/{rack_name}", "spec.nodeSelector", message, hint)
            )
        for node in matched:
            first = rack_of.setdefault(node, rack_name)
            if first != rack_name:
                message = f"is selected by Rack/{first} and by Rack/{rack_name}"
                hint = "a node stands in one rack; make the nodeSelectors exclude each other"
                problems.append(Problem("error", "node-in-two-racks", f"Node/{node}", "metadata.labels", message, hint))
    return rack_of


def _facts_of(
    resource: Resource, rack_name: str | None, rack: RackSpec | None, default_asn: int, problems: list[Problem]
) -> NodeFacts:
    spec = resource.spec
    assert isinstance(spec, NodeSpec)
    loopbacks = tuple(bare(a) for a in (spec.bgp.ipv4_address, spec.bgp.ipv6_address) if a)
    router_id = spec.bgp.router_id or (bare(spec.bgp.ipv4_address) if spec.bgp.ipv4_address else "")
    if not router_id:
        message = "has neither an IPv4 address nor a router ID"
        hint = "set spec.bgp.routerID (RFC 6286: any non-zero 32 bits, unique in the AS)"
        problems.append(Problem("error", "no-router-id", resource.ref, "spec.bgp", message, hint))
        router_id = "0.0.0.0"
    rack_asn = rack.node_as_number if rack else None
    return NodeFacts(
        name=resource.name,
        asn=spec.bgp.as_number or rack_asn or default_asn,
        router_id=router_id,
        rack=rack_name,
        labels=dict(resource.labels),
        loopbacks=loopbacks,
        uplinks=tuple((u.interface, a) for u in spec.uplinks for a in u.addresses),
        accept_prefixes=rack.accept_prefixes if rack else (),
    )
