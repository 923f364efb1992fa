"""Racks and switches compiled: one session per node, switch and address family, with both of its ends.

A node and a switch share a link when an address of one of the node's uplinks lies in a `linkSubnet` of the
switch. On a point-to-point link the switch's end is the other address of it. The two ends are made together,
so they cannot disagree.

Designs are rows of a table. `ebgp-as-per-rack`: the nodes of a rack share an AS that differs from the
switches'; routes of rack neighbours come back with the rack's own AS in the path and are dropped, so nodes
of one rack reach each other over the default route. `ibgp-tor-reflects`: nodes and switches share the AS,
each switch reflects (RFC 4456) and sets itself as next hop on point-to-point links, where nodes have no
other way to each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from peering import addressing
from peering.facts import NodeFacts
from peering.problems import Problem
from peering.resources.fabric import RackSpec, SwitchSpec
from peering.session import NextHopMode, PrefixRule, SecretKeyRef, Session, SwitchPlan
from peering.snapshot import Snapshot

Sessions = dict[str, list[Session]]


@dataclass(frozen=True, slots=True)
class _DesignRow:
    same_asn: bool
    switch_next_hop: NextHopMode
    rr_client: bool


_DESIGNS = {
    "ebgp-as-per-rack": _DesignRow(same_asn=False, switch_next_hop="auto", rr_client=False),
    "ibgp-tor-reflects": _DesignRow(same_asn=True, switch_next_hop="self", rr_client=True),
}


def racks_of(snapshot: Snapshot, problems: list[Problem]) -> dict[str, RackSpec]:
    """The racks, with the node AS filled in where the design gives it (iBGP: that of the switches)."""
    switches = snapshot.specs("Switch", SwitchSpec)
    racks = {}
    for name, rack in snapshot.specs("Rack", RackSpec).items():
        asns = [switches[s].as_number for s in rack.switches if s in switches]
        if _DESIGNS[rack.design].same_asn and rack.node_as_number is None and asns:
            rack = rack.model_copy(update={"node_as_number": asns[0]})
        elif rack.node_as_number is None:
            rack = rack.model_copy(update={"node_as_number": snapshot.configuration().as_number})
        racks[name] = rack
    problems += _dangling_switches(racks, switches)
    return racks


def compile_racks(
    snapshot: Snapshot, racks: Mapping[str, RackSpec], nodes: Mapping[str, NodeFacts], problems: list[Problem]
) -> tuple[Sessions, Sessions]:
    """The sessions of the racks, by node and by switch."""
    switches = snapshot.specs("Switch", SwitchSpec)
    by_node: Sessions = {}
    by_switch: Sessions = {}
    for node in nodes.values():
        if node.rack is None:
            continue
        rack = racks[node.rack]
        for switch_name in rack.switches:
            if switch_name not in switches:
                continue
            switch = switches[switch_name]
            pairs = list(_links(node, rack, switch_name, switch, problems))
            for local, far in pairs:
                near_end, far_end = _both_ends(node, rack, switch_name, switch, local, far)
                by_node.setdefault(node.name, []).append(near_end)
                by_switch.setdefault(switch_name, []).append(far_end)
    return by_node, by_switch


def _links(
    node: NodeFacts, rack: RackSpec, switch_name: str, switch: SwitchSpec, problems: list[Problem]
) -> Iterator[tuple[str, str]]:
    """(node's address, switch's address) of every link of the two; problems where a link cannot be made out."""
    found = False
    for interface, address in node.uplinks:
        if not addressing.lies_in(address, switch.link_subnets):
            continue
        found = True
        far = addressing.far_end(address)
        if far is not None:
            yield addressing.bare(address), far
            continue
        message = (
            f"{address} on {interface} is no point-to-point address, so the end of Switch/{switch_name} is unknown"
        )
        hint = "give the link a /31 or /30 (IPv6: /127 or /126)"
        problems.append(Problem("error", "link-end-unknown", f"Node/{node.name}", "spec.uplinks", message, hint))
    if not found:
        subnets = ", ".join(switch.link_subnets) or "it has none"
        message = f"has no uplink to Switch/{switch_name} of Rack/{node.rack}"
        hint = f"give an uplink an address in the switch's linkSubnets: {subnets}"
        problems.append(Problem("error", "node-without-link", f"Node/{node.name}", "spec.uplinks", message, hint))


def _both_ends(
    node: NodeFacts, rack: RackSpec, switch_name: str, switch: SwitchSpec, local: str, far: str
) -> tuple[Session, Session]:
    design = _DESIGNS[rack.design]
    family = addressing.family_of(local)
    suffix = family.removesuffix("-unicast")
    reference = rack.password.secret_key_ref if rack.password else None
    node_end = Session(
        name=f"{switch_name}-{suffix}",
        peer=f"switch/{switch_name}",
        source=f"Rack/{node.rack}",
        type="ibgp" if node.asn == switch.as_number else "ebgp",
        local_address=local,
        local_asn=node.asn,
        peer_address=far,
        peer_asn=switch.as_number,
        password=SecretKeyRef(reference.name, reference.key) if reference else None,
        ttl_security=1 if rack.ttl_security else None,
        hold_time=rack.hold_time,
        keepalive_time=rack.hold_time // 3 if rack.keepalive_time is None else rack.keepalive_time,
        graceful_restart_time=rack.graceful_restart_time,
        families=(family,),
    )
    switch_end = replace(
        node_end,
        name=f"{node.name}-{suffix}",
        peer=f"node/{node.name}",
        local_address=far,
        local_asn=switch.as_number,
        peer_address=local,
        peer_asn=node.asn,
        # ExaBGP dials: a speaker needs no listening port, and the two never collide.
        passive=True,
        rr_client=design.rr_client,
        next_hop=design.switch_next_hop,
        max_prefixes=rack.max_prefixes,
    )
    return node_end, switch_end


def switch_plans(
    snapshot: Snapshot,
    racks: Mapping[str, RackSpec],
    nodes: Mapping[str, NodeFacts],
    sessions: Sessions,
    problems: list[Problem],
) -> dict[str, SwitchPlan]:
    """What every switch has to do; a switch that no rack names has its fabric peers only."""
    rack_of = _rack_of_switch(racks, problems)
    plans = {}
    for name, switch in snapshot.specs("Switch", SwitchSpec).items():
        rack_name = rack_of.get(name)
        rack = racks.get(rack_name or "")
        accept = _accept(snapshot, nodes, rack_name) if rack_name else ()
        networks = tuple(f"{addressing.bare(a)}/{128 if ':' in a else 32}" for a in switch.addresses)
        uplinks = [_fabric_session(name, switch, i) for i in range(len(switch.fabric_peers))]
        plans[name] = SwitchPlan(
            asn=switch.as_number,
            platform=switch.platform,
            router_id=_router_id(name, switch, problems),
            rack=rack_name,
            sessions=tuple(sorted([*sessions.get(name, []), *uplinks], key=lambda s: s.name)),
            networks=networks,
            accept=accept,
            send=_sorted_rules(
                [*addressing.pool_rules(snapshot), *map(addressing.inside, rack.accept_prefixes if rack else ())]
            ),
            announce=_sorted_rules([*accept, *map(addressing.exactly, networks)]),
            downward=rack.downward if rack else "pools",
        )
    return plans


def _accept(snapshot: Snapshot, nodes: Mapping[str, NodeFacts], rack_name: str) -> tuple[PrefixRule, ...]:
    """What may come from the rack's nodes: blocks of the pools they may claim from, and their loopbacks."""
    members = [node for node in nodes.values() if node.rack == rack_name]
    rules = addressing.block_rules(snapshot, [node.labels for node in members])
    for node in members:
        rules += [addressing.inside(f"{loopback}/{128 if ':' in loopback else 32}") for loopback in node.loopbacks]
    return _sorted_rules(rules)


def _fabric_session(name: str, switch: SwitchSpec, index: int) -> Session:
    peer = switch.fabric_peers[index]
    family = addressing.family_of(peer.address)
    return Session(
        name=f"{peer.name}-{family.removesuffix('-unicast')}",
        peer="external",
        source=f"Switch/{name}",
        type="ibgp" if peer.as_number == switch.as_number else "ebgp",
        local_address=None,
        local_asn=switch.as_number,
        peer_address=peer.address,
        peer_asn=peer.as_number,
        hold_time=peer.hold_time,
        keepalive_time=peer.hold_time // 3,
        families=(family,),
    )


def _router_id(name: str, switch: SwitchSpec, problems: list[Problem]) -> str:
    candidates = [switch.router_id, *(addressing.bare(a) for a in switch.addresses if ":" not in a)]
    for candidate in candidates:
        if candidate:
            return candidate
    message = "has neither routerID nor an IPv4 address"
    problems.append(Problem("error", "no-router-id", f"Switch/{name}", "spec.routerID", message, "set one of the two"))
    return "0.0.0.0"


def _rack_of_switch(racks: Mapping[str, RackSpec], problems: list[Problem]) -> dict[str, str]:
    rack_of: dict[str, str] = {}
    for rack_name in sorted(racks):
        for switch in racks[rack_name].switches:
            first = rack_of.setdefault(switch, rack_name)
            if first != rack_name:
                message = f"Switch/{switch} already serves Rack/{first}"
                problems.append(
                    Problem(
                        "error",
                        "switch-in-two-racks",
                        f"Rack/{rack_name}",
                        "spec.switches",
                        message,
                        "declare one rack for both groups of nodes, or another switch",
                    )
                )
    return rack_of


def _dangling_switches(racks: Mapping[str, RackSpec], switches: Mapping[str, SwitchSpec]) -> list[Problem]:
    problems = []
    for rack_name, rack in racks.items():
        ref = f"Rack/{rack_name}"
        for index, switch in enumerate(rack.switches):
            path = f"spec.switches[{index}]"
            if switch not in switches:
                known = ", ".join(sorted(switches)) or "none"
                problems.append(
                    Problem("error", "unknown-switch", ref, path, f"there is no Switch/{switch}", f"declared: {known}")
                )
            elif (switches[switch].as_number == rack.node_as_number) != _DESIGNS[rack.design].same_asn:
                problems.append(_as_mismatch(ref, rack, switch, switches[switch]))
        if len(set(rack.switches)) != len(rack.switches):
            problems.append(Problem("error", "switch-twice", ref, "spec.switches", "names a switch twice"))
    return problems


def _as_mismatch(ref: str, rack: RackSpec, switch_name: str, switch: SwitchSpec) -> Problem:
    relation = "the same AS as" if _DESIGNS[rack.design].same_asn else "another AS than"
    message = (
        f"design {rack.design} needs nodes in {relation} Switch/{switch_name}, "
        f"but the nodes have AS {rack.node_as_number} and the switch AS {switch.as_number}"
    )
    return Problem("error", "as-pair-impossible", ref, "spec.nodeASNumber", message, "change one AS or the design")


def _sorted_rules(rules: list[PrefixRule]) -> tuple[PrefixRule, ...]:
    return tuple(sorted(set(rules), key=lambda r: (":" in r.cidr, addressing.network(r.cidr), r.max_length)))
