"""Route reflectors, and the mesh that they replace (RFC 4456).

A reflector drops a route whose CLUSTER_LIST holds its own cluster ID. So two reflectors with one cluster ID do not
pass on to each other what they reflect: each client has to peer with both. With a cluster ID each they do.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from typing import cast

from peering import addressing
from peering.lint.digest import NodeDigest, ReflectorDigest, owner_of, peer_address, ref_of, some_of
from peering.lint.view import View
from peering.problems import Problem
from peering.resources.node import NodeSpec

#: Nodes of a mesh from which on a reflector is the better design: 4,950 sessions.
LARGE_MESH = 100

_MESH = ("BGPConfiguration/default", "spec.nodeToNodeMeshEnabled")

Reflectors = frozenset[str]


def clients(view: View) -> dict[Reflectors, list[str]]:
    """The nodes by the set of reflectors that they are clients of, those that are nodes themselves included."""
    found: defaultdict[Reflectors, list[str]] = defaultdict(list)
    for name, node in view.nodes.items():
        of = node.reflectors
        if view.reflecting_nodes:
            of = of | {p for p in node.ends.all_peers & view.reflecting_nodes if _is_client(view, node, p)}
        if of:
            found[of].append(name)
    return found


def _is_client(view: View, node: NodeDigest, reflector: str) -> bool:
    """Calico's rule: iBGP, and no or another cluster ID."""
    other = view.graph.nodes[reflector.removeprefix("node/")]
    return node.facts.asn == other.asn and node.facts.cluster_id is None


def single_reflector(view: View) -> Iterator[Problem]:
    """A reflector that nobody stands beside."""
    for reflectors, names in clients(view).items():
        if len(reflectors) == 1:
            (reflector,) = reflectors
            who = some_of(f"Node/{name}" for name in names)
            message = f"is the only reflector of {who}: when it fails no route gets there"
            hint = "declare a second one, with a cluster ID of its own"
            yield Problem("warning", "single-reflector", ref_of(reflector), "", message, hint)


def shared_cluster_id(view: View) -> Iterator[Problem]:
    """Reflectors of one cluster ID with clients that peer with one of them only."""
    groups = clients(view)
    for cluster_id, members in _clusters(view).items():
        for one, other in combinations(sorted(members), 2):
            only_one = [n for of, names in groups.items() if one in of and other not in of for n in names]
            only_other = [n for of, names in groups.items() if other in of and one not in of for n in names]
            if only_one and only_other:
                who = f"Node/{min(only_one)} peers with the former only and Node/{min(only_other)} with the latter"
                message = f"shares cluster ID {cluster_id} with {ref_of(one)}, but {who}: no route gets across"
                yield _cluster_problem(other, message)
    for name, reflector in view.reflectors.items():
        for peer in sorted(reflector.ends.all_peers):
            above = view.graph.reflectors.get(peer.removeprefix("reflector/"))
            if above is not None and above.cluster_id == reflector.plan.cluster_id and _upstream(view, name, peer):
                message = f"shares cluster ID {above.cluster_id} with {ref_of(peer)} above it: no route gets across"
                yield _cluster_problem(f"reflector/{name}", message)


def _cluster_problem(reflector: str, message: str) -> Problem:
    path = "spec.clusterID" if reflector.startswith("reflector/") else "spec.bgp.routeReflectorClusterID"
    hint = "give each reflector a cluster ID of its own, or let every client peer with both"
    return Problem("error", "cluster-id-shared", ref_of(reflector), path, message, hint)


def _clusters(view: View) -> dict[str, set[str]]:
    members: defaultdict[str, set[str]] = defaultdict(set)
    for name, plan in view.graph.reflectors.items():
        members[plan.cluster_id].add(f"reflector/{name}")
    for peer in view.reflecting_nodes:
        members[view.graph.nodes[peer.removeprefix("node/")].cluster_id or ""].add(peer)
    return {cluster_id: names for cluster_id, names in members.items() if len(names) > 1}


def _upstream(view: View, name: str, peer: str) -> bool:
    resource = view.graph.snapshot.get("RouteReflector", name)
    return resource is not None and peer.removeprefix("reflector/") in getattr(resource.spec, "upstream", ())


def mesh(view: View) -> Iterator[Problem]:
    """A mesh that is too large to be a good idea, or that reflectors were to replace."""
    members = [node for node in view.nodes.values() if node.in_mesh]
    if len(members) > LARGE_MESH:
        sessions = len(members) * (len(members) - 1) // 2
        message = f"{len(members)} nodes are in the full mesh: {sessions} sessions, and every change goes over all"
        hint = "set it to false and declare two RouteReflectors"
        yield Problem("warning", "large-mesh", *_MESH, message, hint)
    both = {reflector for node in members for reflector in node.reflectors}
    if both:
        nodes = some_of(node.ref for node in members if node.reflectors)
        message = f"{nodes} are in the full mesh and clients of {some_of(map(ref_of, both))}: routes come twice"
        hint = "set it to false when the sessions with the reflectors are up"
        yield Problem("warning", "mesh-and-reflectors", *_MESH, message, hint)


def route_leak(reflector: ReflectorDigest, view: View) -> Iterator[Problem]:
    """Routes of all clients to a router in another AS, unfiltered."""
    for session in reflector.ends.ebgp:
        if not session.export_filters and not session.peer.startswith("node/"):
            yield _leak(reflector.ref, "spec.filters", peer_address(session), session.peer_asn)


def node_route_leak(view: View) -> Iterator[Problem]:
    """The same of nodes that reflect: Calico's let everything inside a pool out (Calico issue 3810)."""
    for peer in sorted(view.reflecting_nodes):
        node = view.nodes[peer.removeprefix("node/")]
        for session in node.ends.ebgp:
            # A switch of the rack accepts the rack's own blocks only.
            if not session.export_filters and not session.source.startswith("Rack/") and "node/" not in session.peer:
                yield _leak(owner_of(session.source), "spec.filters", peer_address(session), session.peer_asn)


def _leak(ref: str, path: str, peer: str, asn: int) -> Problem:
    message = f"a reflector announces the routes of all its clients to {peer} (AS {asn}), unfiltered"
    hint = "attach a BGPFilter whose export rules say what may leave"
    return Problem("warning", "route-leak", ref, path, message, hint)


def unreachable_next_hop(view: View) -> Iterator[Problem]:
    """Next hops that come unchanged over iBGP and lie on no link of who gets them.

    A node resolves a next hop on one of its links or through a route that it has learned. Who has sessions with
    reflectors or the mesh only learns none that leads to another subnet. Nodes whose address is written without a
    length are left out: their links are not known.
    """
    stranded: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for node in view.nodes.values():
        if node.ends.count and not node.on_link:
            for subnet in _subnets(view, node):
                for source, _ in node.ends.sources:
                    stranded[source].setdefault(subnet, node.ref)
    for source, subnets in stranded.items():
        for is_ipv6 in (False, True):
            apart = sorted(subnet for subnet in subnets if (":" in subnet) is is_ipv6)
            if len(apart) > 1:
                yield _unreachable(source, *[(subnets[subnet], subnet) for subnet in apart[:2]])
    yield from _from_outside(view, stranded)


def _subnets(view: View, node: NodeDigest) -> Iterator[str]:
    resource = view.graph.snapshot.get("Node", node.facts.name)
    if resource is None:
        return
    bgp = cast(NodeSpec, resource.spec).bgp
    for address in (bgp.ipv4_address, bgp.ipv6_address):
        if address is not None and not address.endswith(("/32", "/128")):
            yield addressing.subnet_of(address)


def _unreachable(source: str, one: tuple[str, str], other: tuple[str, str]) -> Problem:
    message = (
        f"{one[0]} ({one[1]}) and {other[0]} ({other[1]}) get each other's routes with next hops on no link of theirs, "
        "and learn no way there"
    )
    hint = "let the nodes peer with a router on their link too: a Rack, or a BGPPeer"
    path = "spec.nodeToNodeMeshEnabled" if source == "mesh" else "spec"
    return Problem("warning", "next-hop-unreachable", owner_of(source), path, message, hint)


def kept_next_hop(view: View) -> Iterator[Problem]:
    """A reflecting node leaves the next hops of its clients as they are towards another AS, which must reach them."""
    groups = clients(view)
    for peer in sorted(view.reflecting_nodes):
        mine = [view.nodes[name] for reflectors, names in groups.items() if peer in reflectors for name in names]
        for session in view.nodes[peer.removeprefix("node/")].ends.ebgp:
            if session.next_hop != "keep" or session.source.startswith("Rack/"):
                continue
            away = next((found for node in mine for found in _away(view, node, session.peer_address)), None)
            if away is not None:
                message = (
                    f"keeps the next hops of its clients towards {peer_address(session)} (AS {session.peer_asn}), "
                    f"which shares no link with {away[0]} ({away[1]})"
                )
                hint = "use nextHopMode: Self, unless the peer has a way there"
                owner = owner_of(session.source)
                yield Problem("warning", "next-hop-unreachable", owner, "spec.nextHopMode", message, hint)


def _away(view: View, node: NodeDigest, address: str) -> Iterator[tuple[str, str]]:
    """The subnets of a node, of the address's family, that the address does not lie in."""
    gateway = ipaddress.ip_address(address)
    for subnet in _subnets(view, node):
        network = addressing.network(subnet)
        if gateway.version == network.version and gateway not in network:
            yield node.ref, subnet


def _from_outside(view: View, stranded: dict[str, dict[str, str]]) -> Iterator[Problem]:
    """What a reflector learned over eBGP goes to its clients with the stranger as next hop."""
    for reflector in view.reflectors.values():
        for session in reflector.ends.ebgp:
            if session.peer.startswith(("node/", "reflector/")):
                continue
            gateway = ipaddress.ip_address(session.peer_address)
            for subnet, ref in stranded.get(reflector.ref, {}).items():
                network = addressing.network(subnet)
                if gateway.version == network.version and gateway not in network:
                    message = (
                        f"passes routes of {peer_address(session)} on with that next hop, "
                        f"which lies on no link of {ref} ({subnet})"
                    )
                    hint = "let the nodes peer with a router on their link too: a Rack, or a BGPPeer"
                    yield Problem("warning", "next-hop-unreachable", reflector.ref, "spec.fabricPeers", message, hint)
                    break
