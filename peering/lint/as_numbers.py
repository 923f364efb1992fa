"""AS numbers that do not work together: pairs that no OPEN agrees on, and paths that loop checks drop.

A router drops a route whose AS path holds its own AS (RFC 4271, 9.1.2). So where nodes share an AS and reach each other
over eBGP, somebody has to let that pass: the switch that puts its own AS in place (as-override) or the node
(allow-as-in). Where nodes get a default route only there is nothing to drop.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import cast

from peering.designs import DESIGNS
from peering.lint.digest import NodeDigest, ref_of, some_of
from peering.lint.view import View
from peering.problems import Problem
from peering.resource import Resource
from peering.resources.fabric import RackSpec, SwitchSpec
from peering.resources.route_reflector import RouteReflectorSpec


def node_against_design(node: NodeDigest, rack: RackSpec | None) -> Iterator[Problem]:
    """A node with an AS of its own must still fit the design of its rack; that of the rack the compiler compares."""
    if rack is None or node.facts.declared_asn is None:
        return
    wanted = "ibgp" if DESIGNS[rack.design].ibgp else "ebgp"
    source = f"Rack/{node.facts.rack}"
    for session in node.speaker.sessions:
        if session.source == source and session.type != wanted:
            message = (
                f"AS {node.speaker.asn} does not fit design {rack.design} with {session.peer} (AS {session.peer_asn})"
            )
            hint = "leave asNumber to the rack, or change the design"
            yield Problem("error", "as-pair-impossible", node.ref, "spec.bgp.asNumber", message, hint)
            return


def fabric_peers(resource: Resource, view: View) -> Iterator[Problem]:
    """What a Switch or RouteReflector says of the AS of a fabric peer that is declared itself."""
    spec = cast("SwitchSpec | RouteReflectorSpec", resource.spec)
    known = {**view.as_numbers, **(_rack_mates(resource.name, view) if resource.kind == "Switch" else {})}
    for index, peer in enumerate(spec.fabric_peers):
        ref, actual = known.get(peer.address, ("", peer.as_number))
        if actual != peer.as_number:
            message = f"says AS {peer.as_number} of {ref}, which has AS {actual}: its OPEN is refused"
            hint = f"write asNumber: {actual}, or change the AS of {ref}"
            path = f"spec.fabricPeers[{index}].asNumber"
            yield Problem("error", "as-pair-impossible", resource.ref, path, message, hint)


def _rack_mates(name: str, view: View) -> dict[str, tuple[str, int]]:
    """Owner and AS of the addresses at which a switch peers with others of its rack, which it calls by name."""
    peers = {s.peer_address: s.peer for s in view.switches[name].plan.sessions if s.peer.startswith("switch/")}
    switches = view.graph.switches
    return {a: (ref_of(peer), switches[peer.removeprefix("switch/")].asn) for a, peer in peers.items()}


def shared_as(view: View) -> Iterator[Problem]:
    """Racks whose nodes have one AS, and nodes of one AS where each should have its own."""
    owners: defaultdict[int, set[str]] = defaultdict(set)
    for node in view.graph.nodes.values():
        rack = view.graph.racks.get(node.rack or "")
        if rack is None:
            continue
        if DESIGNS[rack.design].node_asn != "node":
            owners[node.asn].add(f"Rack/{node.rack}")
        elif node.declared_asn is not None:  # one without is an error of its own
            owners[node.asn].add(f"Node/{node.name}")
    for asn, sharing in owners.items():
        if len(sharing) > 1:
            yield from _sharing(asn, sorted(sharing), view)


def _sharing(asn: int, sharing: list[str], view: View) -> Iterator[Problem]:
    racks = [ref for ref in sharing if ref.startswith("Rack/")]
    nodes = [ref for ref in sharing if ref.startswith("Node/")]
    dropping = [ref for ref in racks if not _tolerates(view, ref)]
    # The first keeps its AS, unless it is the only one that does not let the paths of the others pass.
    for ref in dropping[1:] or (dropping if len(racks) > 1 else []):
        other = next(one for one in racks if one != ref)
        message = f"its nodes have AS {asn}, and so have those of {other}: each drops the other's routes"
        hint = "give each rack an AS of its own, or use design ebgp-as-per-cluster"
        yield Problem("error", "as-shared-by-racks", ref, "spec.nodeASNumber", message, hint)
    for ref in nodes if racks else nodes[1:]:
        message = f"has AS {asn}, and so has {(racks or nodes)[0]}: each drops the other's routes"
        hint = "design ebgp-as-per-node needs an AS for each node"
        yield Problem("error", "as-shared-by-nodes", ref, "spec.bgp.asNumber", message, hint)


def _tolerates(view: View, ref: str) -> bool:
    """Whether a rack's nodes take paths with their own AS, or get none."""
    rack = view.graph.racks[ref.removeprefix("Rack/")]
    design = DESIGNS[rack.design]
    return design.one_asn or (rack.downward == "default-only" and not design.ibgp)


def shared_tor_as(view: View) -> Iterator[Problem]:
    """ToRs of two racks with one AS, and spines of another between them: each ToR drops what comes from the other."""
    racks: defaultdict[int, set[str]] = defaultdict(set)
    for switch in view.switches.values():
        if switch.plan.rack is not None and any(s.type == "ebgp" for s in switch.ends.fabric):
            rack = view.graph.racks[switch.plan.rack]
            if not DESIGNS[rack.design].ibgp:  # there the nodes have it too, and the racks are told
                racks[switch.plan.asn].add(switch.plan.rack)
    for asn, sharing in racks.items():
        first, *others = sorted(sharing)
        for rack_name in others:
            message = f"its switches have AS {asn}, and so have those of Rack/{first}: each drops the other's routes"
            hint = "give the ToRs of each rack an AS of their own, or have the spines send a default route or override"
            yield Problem("warning", "tor-as-shared", f"Rack/{rack_name}", "spec.switches", message, hint)


def own_as_in_path(view: View) -> Iterator[Problem]:
    """Nodes of one AS whose only sessions are eBGP, declared by BGPPeers, with routers outside of the cluster."""
    by_asn: defaultdict[int, list[NodeDigest]] = defaultdict(list)
    for node in view.nodes.values():
        if node.ends.declared and _only_outwards(node):
            by_asn[node.facts.asn].append(node)
    for asn, nodes in by_asn.items():
        if len(nodes) > 1:
            yield from _own_as(asn, nodes)


def _only_outwards(node: NodeDigest) -> bool:
    sessions = [session for group in node.ends.declared.values() for session in group]
    return len(sessions) == node.ends.count and all(
        s.type == "ebgp"
        and s.allow_as_in is None
        and not s.as_override
        and s.local_asn == node.facts.asn
        and not s.peer.startswith(("node/", "reflector/"))
        for s in sessions
    )


def _own_as(asn: int, nodes: Iterable[NodeDigest]) -> Iterator[Problem]:
    by_source: defaultdict[str, list[str]] = defaultdict(list)
    for node in nodes:
        for source, _ in node.ends.sources:
            by_source[source].append(node.ref)
    for source, refs in by_source.items():
        message = f"{some_of(refs)} have AS {asn} and eBGP only: each drops the others' routes, which hold its own AS"
        if len(set(refs)) == 1:
            message = f"{refs[0]} has AS {asn} like other nodes, and eBGP only: it drops their routes"
        hint = "set numAllowedLocalASNumbers: 1, or asOverride where the peer overrides the AS"
        yield Problem("warning", "own-as-in-path", source, "spec.numAllowedLocalASNumbers", message, hint)
