"""Which other nodes decide about the plan of one node: without all others it is the same. Pure.

They are those with which it may have a session, whether they are there or not: by a BGPPeer with a `peerSelector`, in
either direction, in the full mesh, or at the address of a BGPPeer. For a speaker of a large cluster, to which all nodes
are known because nodes peer with nodes, and which need not compile them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

from peering.addressing import bare
from peering.node_index import NodeIndex
from peering.peer_sessions import selected_nodes
from peering.resource import Resource
from peering.resources.bgp_peer import BGPPeerSpec
from peering.resources.fabric import RackSpec
from peering.resources.node import NodeSpec
from peering.resources.route_reflector import RouteReflectorSpec
from peering.snapshot import Snapshot


def around(node: str, snapshot: Snapshot) -> Snapshot:
    """What is declared, with the node and its neighbours alone; the same object where that is all."""
    near = neighbours(node, snapshot)
    if near.issuperset(snapshot.all("Node")):
        return snapshot
    return Snapshot(one for one in snapshot if one.kind != "Node" or one.name in near)


def neighbours(node: str, snapshot: Snapshot) -> set[str]:
    """The names of the nodes that decide, its own among them."""
    nodes = snapshot.all("Node")
    index = NodeIndex(nodes)
    found, addresses = {node}, set[str]()
    for peer in snapshot.specs("BGPPeer", BGPPeerSpec).values():
        dialling = selected_nodes(peer, index, nodes)
        remotes = index.select(peer.peer_selector) if peer.peer_selector is not None else []
        if node in dialling:
            found.update(remotes)
            addresses.update({peer.endpoint()[0]} if peer.peer_ip else ())
        if node in remotes:
            found.update(dialling)
    found.update(name for name, one in nodes.items() if not addresses.isdisjoint(_addresses(one)))
    return found | _mesh(node, snapshot, index)


def _addresses(node: Resource) -> Iterator[str]:
    bgp = cast(NodeSpec, node.spec).bgp
    return (bare(address) for address in (bgp.ipv4_address, bgp.ipv6_address) if address is not None)


def _mesh(node: str, snapshot: Snapshot, index: NodeIndex) -> set[str]:
    """All that may be in the full mesh, where the node may (node_sessions.mesh_members)."""
    wanted = snapshot.configuration().node_to_node_mesh_enabled
    if wanted is False:
        return set()
    members = set(snapshot.all("Node"))
    if wanted is None:
        members.difference_update(_served(snapshot, index))
    return members if node in members else set()


def _served(snapshot: Snapshot, index: NodeIndex) -> Iterable[str]:
    """The nodes that a Rack or a RouteReflector selects."""
    racks = [rack.node_selector for rack in snapshot.specs("Rack", RackSpec).values()]
    reflectors = [one.node_selector for one in snapshot.specs("RouteReflector", RouteReflectorSpec).values()]
    return {name for selector in (*racks, *reflectors) if selector is not None for name in index.select(selector)}
