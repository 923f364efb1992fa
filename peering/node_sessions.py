"""Sessions of nodes with nodes: BGPPeers with a `peerSelector`, their reverse, and the full mesh.

As in Calico: one session for each family that both have; the remote AS is the remote node's; a node with a
`routeReflectorClusterID` reflects to iBGP peers of no or another cluster (RFC 4456, 8) and leaves the mesh; the nodes
that a `peerSelector` selects get the mirrored session unless `reversePeering` is Manual. Both ends of such a session
dial, and BGP's collision detection keeps one connection (RFC 4271, 6.8); in the mesh the end that sees the larger
address, compared as text, is passive.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

from peering import addressing
from peering.facts import NodeFacts
from peering.memo import Memo
from peering.node_index import NodeIndex
from peering.offers import Offer, Rank
from peering.peer_sessions import PeerView, keepalive_of, password_of
from peering.problems import Problem
from peering.reflector_sessions import MULTIHOP
from peering.resources.bgp_configuration import BGPConfigurationSpec
from peering.session import SecretKeyRef, Session

#: A mesh of more nodes is not made: its sessions grow with the square, 80,000 at this size.
MAX_MESH = 400

_HOLD_TIME = 90


def selector_offers(
    peers: Iterable[PeerView], index: NodeIndex, nodes: dict[str, NodeFacts], memo: Memo
) -> Iterator[Offer | Problem]:
    """Both ends of what BGPPeers with a `peerSelector` give."""
    kept = memo.table("pairs")
    for peer in peers:
        if peer.spec.peer_selector is None:
            continue
        remotes = index.select(peer.spec.peer_selector)
        for name in peer.selected(index, nodes):
            for remote in remotes:
                if remote != name:
                    yield from kept.get((peer.name, name, remote), (nodes[name], nodes[remote], peer), _pair)


def _pair(node: NodeFacts, remote: NodeFacts, peer: PeerView) -> tuple[Offer | Problem, ...]:
    found: list[Offer | Problem] = []
    for near, far in _common_addresses(node, remote):
        end = _selector_end(node, remote, peer, near, far)
        found.append(Offer(("node", node.name), peer.rank, end))
        if peer.spec.reverse_peering == "Auto":
            reverse = _selector_end(remote, node, peer, far, near, f"reverse:{peer.ref}")
            found.append(Offer(("node", remote.name), Rank.REVERSE, reverse))
    if not found:
        message = f"has no address of a family of Node/{remote.name}, with which {peer.ref} wants it to peer"
        found.append(
            Problem("warning", "no-common-family", f"Node/{node.name}", "spec.bgp", message, "give both one family")
        )
    return tuple(found)


def _common_addresses(node: NodeFacts, remote: NodeFacts) -> Iterator[tuple[str, str]]:
    for is_ipv6 in (False, True):
        near, far = node.loopback(is_ipv6), remote.loopback(is_ipv6)
        if near is not None and far is not None and near != far:
            yield near, far


def _reflects(node: NodeFacts, remote: NodeFacts) -> bool:
    return node.cluster_id is not None and node.asn == remote.asn and remote.cluster_id != node.cluster_id


def _selector_end(
    node: NodeFacts, remote: NodeFacts, peer: PeerView, near: str, far: str, source: str | None = None
) -> Session:
    spec = peer.spec
    family = addressing.family_of(far)
    reflects = _reflects(node, remote)
    return Session(
        name=f"{peer.name}-{remote.name}-{family.removesuffix('-unicast')}",
        peer=f"node/{remote.name}",
        source=source or peer.ref,
        type="ibgp" if node.asn == remote.asn else "ebgp",
        local_address=None if spec.source_address == "None" else near,
        local_asn=node.asn,
        peer_address=far,
        peer_asn=remote.asn,
        peer_port=remote.listen_port,
        password=password_of(spec),
        ttl_security=spec.ttl_security,
        multihop=None if spec.ttl_security else MULTIHOP,
        hold_time=spec.hold_time,
        keepalive_time=keepalive_of(spec),
        graceful_restart_time=spec.max_restart_time,
        long_lived_stale_time=spec.long_lived_stale_time,
        connect_retry=spec.connect_retry,
        bfd=peer.bfd,
        rr_client=reflects,
        cluster_id=node.cluster_id if reflects else None,
        next_hop=peer.next_hop(remote.asn, node.asn),
        as_override=spec.as_override,
        add_paths=spec.add_paths,
        families=tuple(sorted(set(spec.families))) or (family,),
        import_filters=peer.filters[0],
        export_filters=peer.filters[1],
        max_prefixes=spec.max_prefixes,
    )


def mesh_members(
    configuration: BGPConfigurationSpec, nodes: Mapping[str, NodeFacts], clients: frozenset[str]
) -> list[str]:
    """The nodes of the full mesh: those with an address that reflect for nobody.

    Calico's mesh is on unless it is switched off. Where it is not written, nodes that a Rack or a RouteReflector
    (`clients`) serves stay out of it: those kinds are ours, and say who peers with whom.
    """
    wanted = configuration.node_to_node_mesh_enabled
    if wanted is False:
        return []
    return [
        name
        for name, node in nodes.items()
        if node.loopbacks and node.cluster_id is None and (wanted or (node.rack is None and name not in clients))
    ]


def mesh_offers(
    configuration: BGPConfigurationSpec, members: Sequence[str], nodes: Mapping[str, NodeFacts], memo: Memo
) -> Iterator[Offer | Problem]:
    """Both ends of every session of the full mesh."""
    if len(members) > MAX_MESH:
        message = f"{len(members)} nodes would make a full mesh of {len(members) * (len(members) - 1) // 2} sessions"
        hint = f"set it to false and declare RouteReflectors; above {MAX_MESH} nodes no mesh is made"
        path = "spec.nodeToNodeMeshEnabled"
        yield Problem("error", "mesh-too-large", "BGPConfiguration/default", path, message, hint)
        return
    kept = memo.table("mesh")
    for name, remote in combinations(sorted(members), 2):
        yield from kept.get((name, remote), (nodes[name], nodes[remote], configuration), _mesh_pair)


def _mesh_pair(node: NodeFacts, remote: NodeFacts, configuration: BGPConfigurationSpec) -> tuple[Offer, ...]:
    return tuple(
        Offer(("node", one.name), Rank.MESH, _mesh_end(one, other, near, far, configuration))
        for near_address, far_address in _common_addresses(node, remote)
        for one, other, near, far in (
            (node, remote, near_address, far_address),
            (remote, node, far_address, near_address),
        )
    )


def _mesh_end(node: NodeFacts, remote: NodeFacts, near: str, far: str, configuration: BGPConfigurationSpec) -> Session:
    family = addressing.family_of(far)
    reference = configuration.node_mesh_password.secret_key_ref if configuration.node_mesh_password else None
    restart_time = configuration.node_mesh_max_restart_time
    return Session(
        name=f"mesh-{remote.name}-{family.removesuffix('-unicast')}",
        peer=f"node/{remote.name}",
        source="mesh",
        type="ibgp" if node.asn == remote.asn else "ebgp",
        local_address=near,
        local_asn=node.asn,
        peer_address=far,
        peer_asn=remote.asn,
        peer_port=remote.listen_port,
        passive=far > near,
        password=SecretKeyRef(reference.name, reference.key) if reference else None,
        multihop=MULTIHOP,
        hold_time=_HOLD_TIME,
        keepalive_time=_HOLD_TIME // 3,
        graceful_restart_time=120 if restart_time is None else restart_time,
        families=(family,),
    )
