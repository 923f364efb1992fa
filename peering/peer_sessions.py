"""BGPPeers with an address compiled: the sessions of the selected nodes with it.

The long way of saying what a Rack or a RouteReflector says in short: when a router of ours is at the address, its end
of the session is made too. Calico's rules (`updatePeersV1`): a BGPPeer without node selectors is global and goes before
the others; a port that is not written is the peer's `listenPort` when a node with that address and AS exists, else the
cluster's; of a global BGPPeer that names a node, the end that sees the larger address (as text) is passive; a node does
not peer with itself.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass

from peering import addressing
from peering.facts import NodeFacts
from peering.memo import Memo
from peering.node_index import NodeIndex
from peering.offers import Offer, Rank
from peering.peer_targets import LinkIndex, Target, Targets
from peering.problems import Problem
from peering.profiles import Attached, attached_filters, bfd_parameters
from peering.reflector_sessions import MULTIHOP, reflector_end
from peering.resources.bgp_peer import BGPPeerSpec
from peering.session import NEXT_HOPS, BfdParameters, NextHopMode, SecretKeyRef, Session
from peering.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class PeerView:
    """A BGPPeer with what it refers to. `target` is who of ours has its address, `default_port` the cluster's."""

    name: str
    spec: BGPPeerSpec
    bfd: BfdParameters | None
    filters: Attached
    target: Target | None
    default_port: int

    @property
    def rank(self) -> Rank:
        is_global = self.spec.node is None and self.spec.node_selector is None
        return Rank.GLOBAL_PEER if is_global else Rank.NODE_PEER

    @property
    def ref(self) -> str:
        return f"BGPPeer/{self.name}"

    def next_hop(self, peer_asn: int, local_asn: int) -> NextHopMode:
        """Calico's deprecated `keepOriginalNextHop` keeps it towards other ASes only."""
        if self.spec.keep_original_next_hop:
            return "keep" if peer_asn != local_asn else "auto"
        return NEXT_HOPS[self.spec.next_hop_mode]

    def selected(self, index: NodeIndex, nodes: dict[str, NodeFacts]) -> list[str]:
        """The nodes that have this peering."""
        return selected_nodes(self.spec, index, nodes)


def selected_nodes(peer: BGPPeerSpec, index: NodeIndex, nodes: Container[str]) -> list[str]:
    """The nodes, of these, that a BGPPeer is for."""
    if peer.node is not None:
        return [peer.node] if peer.node in nodes else []
    return index.select(peer.node_selector)


def peer_views(snapshot: Snapshot, targets: Targets, memo: Memo) -> list[PeerView]:
    """Every BGPPeer, in the order of names."""
    default_port = snapshot.configuration().listen_port or 179
    kept = memo.table("peers")
    views = []
    for name, spec in snapshot.specs("BGPPeer", BGPPeerSpec).items():
        target = targets.at(spec.endpoint()[0]) if spec.peer_ip else None
        bfd, filters = bfd_parameters(snapshot, spec.bfd), attached_filters(snapshot, spec.filters)
        views.append(kept.get(name, (name, spec, bfd, filters, target, default_port), PeerView))
    return views


def peer_offers(node: NodeFacts, peer: PeerView, links: LinkIndex) -> Iterator[Offer | Problem]:
    """The session of a node with the address of a BGPPeer, and the other end of it where that is ours."""
    address, _ = peer.spec.endpoint()
    if address in node.loopbacks or any(addressing.bare(a) == address for _, a in node.uplinks):
        return
    link = next((a for _, a in node.uplinks if addressing.lies_in(address, [addressing.subnet_of(a)])), None)
    target = peer.target or (links.far_end(link, address) if link else None)
    source = _source(node, peer, address, link)
    if isinstance(source, Problem):
        yield source
        return
    near = _near_end(node, peer, target, source, link)
    if near.peer_asn == 0:
        message = f"AS of {address} is unknown: no Switch, Node or RouteReflector that is declared has the address"
        hint = "write asNumber; the speaker cannot take any AS"
        yield Problem("error", "dynamic-as-unknown", peer.ref, "spec.dynamicASNumber", message, hint)
        return
    yield Offer(("node", node.name), peer.rank, near)
    if target is not None and target.kind != "node":
        yield _far_offer(node, peer, target, near, link)


def _source(node: NodeFacts, peer: PeerView, address: str, link: str | None) -> str | Problem | None:
    """The node's own address of the session; None leaves it to the kernel.

    On a link that node and peer share it is the link's, unless `UseNodeIP` is written: a switch expects it.
    """
    spec = peer.spec
    if spec.local_address is not None:
        own = {*node.loopbacks, *(addressing.bare(a) for _, a in node.uplinks)}
        if spec.local_address in own:
            return spec.local_address
        message = f"Node/{node.name} has no address {spec.local_address}"
        return Problem("error", "no-source-address", peer.ref, "spec.localAddress", message, "select only its node")
    if spec.source_address == "None":
        return None
    if spec.source_address is None and link is not None:
        return addressing.bare(link)
    own_address = node.loopback(":" in address)
    if own_address is not None:
        return own_address
    version = addressing.family_of(address).removesuffix("-unicast")
    message = f"Node/{node.name} has no {version} address to speak to {address} from"
    hint = "give the node one, or set sourceAddress: None"
    return Problem("error", "no-source-address", peer.ref, "spec.sourceAddress", message, hint)


def _near_end(node: NodeFacts, peer: PeerView, target: Target | None, source: str | None, link: str | None) -> Session:
    spec = peer.spec
    address, port = spec.endpoint()
    local_asn = spec.local_as_number or node.asn
    peer_asn = _peer_asn(spec, target, local_asn)
    ibgp = peer_asn == local_asn
    family = addressing.family_of(address)
    direct = link is not None and source in (None, addressing.bare(link))
    reflects = node.cluster_id is not None and ibgp and (target is None or target.cluster_id != node.cluster_id)
    is_node = target is not None and target.kind == "node"
    return Session(
        name=f"{peer.name}-{family.removesuffix('-unicast')}",
        peer=target.ref if target else "external",
        source=peer.ref,
        type="ibgp" if ibgp else "ebgp",
        local_address=source,
        local_asn=local_asn,
        peer_address=address,
        peer_asn=peer_asn,
        peer_port=port or _default_port(peer, target, peer_asn),
        passive=is_node and peer.rank is Rank.GLOBAL_PEER and address > (node.loopback(":" in address) or ""),
        password=password_of(spec),
        ttl_security=spec.ttl_security,
        multihop=None if spec.ttl_security or direct else MULTIHOP,
        hold_time=spec.hold_time,
        keepalive_time=keepalive_of(spec),
        graceful_restart_time=spec.max_restart_time,
        long_lived_stale_time=spec.long_lived_stale_time,
        connect_retry=spec.connect_retry,
        bfd=peer.bfd,
        rr_client=reflects,
        cluster_id=node.cluster_id if reflects else None,
        next_hop=peer.next_hop(peer_asn, local_asn),
        allow_as_in=spec.num_allowed_local_as_numbers or None,
        as_override=spec.as_override,
        add_paths=spec.add_paths,
        families=tuple(sorted(set(spec.families))) or (family,),
        import_filters=peer.filters[0],
        export_filters=peer.filters[1],
        max_prefixes=spec.max_prefixes,
        reachable_by=spec.reachable_by,
    )


def _peer_asn(spec: BGPPeerSpec, target: Target | None, local_asn: int) -> int:
    """0 when any other AS would do and nobody says which it is."""
    if spec.dynamic_as_number == "internal":
        return local_asn
    return spec.as_number or (target.asn if target else 0)


def _default_port(peer: PeerView, target: Target | None, peer_asn: int) -> int:
    if target is None or (target.kind == "node" and target.asn != peer_asn):
        return peer.default_port
    return target.port


def _far_offer(node: NodeFacts, peer: PeerView, target: Target, near: Session, link: str | None) -> Offer | Problem:
    near_address = near.local_address or (addressing.bare(link) if link else None)
    if near_address is None:
        message = f"the address of Node/{node.name} is left to its kernel, so {target.ref} cannot be given its end"
        hint = "leave sourceAddress out, or set localAddress"
        return Problem("warning", "far-end-unknown", peer.ref, "spec.sourceAddress", message, hint)
    if target.reflector is not None:
        end = reflector_end(near, node.name, target.reflector, near_address)
        return Offer(("reflector", target.name), peer.rank, end, near)
    reflects = near.type == "ibgp"
    shared = link is not None and addressing.far_end(link) is None
    end = near.far_end(
        name=f"{node.name}-{addressing.family_of(near_address).removesuffix('-unicast')}",
        peer=f"node/{node.name}",
        local_address=near.peer_address,
        local_asn=target.asn,
        peer_address=near_address,
        passive=True,
        rr_client=reflects,
        next_hop="self" if reflects and not shared else "auto",
        reachable_by=_way_back(node, near.reachable_by),
    )
    return Offer(("switch", target.name), peer.rank, end, near)


def _way_back(node: NodeFacts, reachable_by: str | None) -> str | None:
    """The node's own address on the link that its session goes over."""
    if reachable_by is None:
        return None
    links = (a for _, a in node.uplinks if addressing.lies_in(reachable_by, [addressing.subnet_of(a)]))
    return next((addressing.bare(a) for a in links), None)


def password_of(spec: BGPPeerSpec) -> SecretKeyRef | None:
    reference = spec.password.secret_key_ref if spec.password else None
    return SecretKeyRef(reference.name, reference.key) if reference else None


def keepalive_of(spec: BGPPeerSpec) -> int:
    return spec.hold_time // 3 if spec.keepalive_time is None else spec.keepalive_time
