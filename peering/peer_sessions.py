"""BGPPeers compiled: the sessions of nodes with addresses outside the racks.

The selected nodes dial the address; the far end is not ours to configure. As in Calico, the session's source
address is the node's own of the same family (`UseNodeIP`), the session may cross routers (multihop), and an
IPv6 peer gets IPv6 routes only.
"""

from __future__ import annotations

from collections.abc import Mapping

from peering import addressing
from peering.facts import NodeFacts
from peering.problems import Problem
from peering.resources.calico import BGPPeerSpec
from peering.selectors import parse_selector
from peering.session import SecretKeyRef, Session
from peering.snapshot import Snapshot

_MULTIHOP_TTL = 255


def compile_peers(
    snapshot: Snapshot, nodes: Mapping[str, NodeFacts], problems: list[Problem]
) -> dict[str, list[Session]]:
    """The sessions that BGPPeers give, by node."""
    by_node: dict[str, list[Session]] = {}
    for name, peer in snapshot.specs("BGPPeer", BGPPeerSpec).items():
        selected = _selected(peer, nodes)
        if not selected:
            path, wanted = ("spec.node", peer.node) if peer.node else ("spec.nodeSelector", peer.node_selector)
            message = f"{wanted or 'all()'!r} selects no node"
            problems.append(
                Problem(
                    "warning",
                    "selector-matches-nothing",
                    f"BGPPeer/{name}",
                    path,
                    message,
                    "no session will exist",
                )
            )
        for node in selected:
            session = _session(name, peer, node, problems)
            if session is not None:
                by_node.setdefault(node.name, []).append(session)
    return by_node


def _selected(peer: BGPPeerSpec, nodes: Mapping[str, NodeFacts]) -> list[NodeFacts]:
    if peer.node is not None:
        return [nodes[peer.node]] if peer.node in nodes else []
    selects = parse_selector(peer.node_selector or "all()")
    return [node for node in nodes.values() if selects(node.labels)]


def _session(name: str, peer: BGPPeerSpec, node: NodeFacts, problems: list[Problem]) -> Session | None:
    address, port = peer.endpoint()
    if address in node.loopbacks:
        return None  # a node does not peer with itself; Calico skips it too
    family = addressing.family_of(address)
    own = next((a for a in node.loopbacks if addressing.family_of(a) == family), None)
    if peer.source_address == "UseNodeIP" and own is None:
        message = f"Node/{node.name} has no {family.removesuffix('-unicast')} address to speak to {address} from"
        hint = "give the node one, or set sourceAddress: None"
        problems.append(Problem("error", "no-source-address", f"BGPPeer/{name}", "spec.sourceAddress", message, hint))
        return None
    reference = peer.password.secret_key_ref if peer.password else None
    return Session(
        name=f"{name}-{family.removesuffix('-unicast')}",
        peer="external",
        source=f"BGPPeer/{name}",
        type="ibgp" if peer.as_number == node.asn else "ebgp",
        local_address=own if peer.source_address == "UseNodeIP" else None,
        local_asn=node.asn,
        peer_address=address,
        peer_asn=peer.as_number,
        peer_port=port,
        password=SecretKeyRef(reference.name, reference.key) if reference else None,
        ttl_security=peer.ttl_security,
        multihop=None if peer.ttl_security else _MULTIHOP_TTL,
        hold_time=peer.hold_time,
        keepalive_time=peer.hold_time // 3 if peer.keepalive_time is None else peer.keepalive_time,
        graceful_restart_time=peer.max_restart_time,
        families=(family,),
    )
