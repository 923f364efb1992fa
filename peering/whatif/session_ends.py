"""The sessions of the plan put together: both ends of each become an edge in either direction.

A session with one end only (a BGPPeer whose other side was not told) does not come up and has no edge. The far end of
a session with an external router is made up here: it mirrors ours. Neighbours that switches call by the same name are
one router. An external iBGP neighbour is taken for a reflector; one that switches have sets itself as next hop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from peering.graph import Graph
from peering.prefixes import Address
from peering.resources.fabric import FabricPeer, SwitchSpec
from peering.resources.route_reflector import RouteReflectorSpec
from peering.session import Session
from peering.whatif.links import Links
from peering.whatif.policies import OpenPolicy
from peering.whatif.routers import Edge, Pair, Router, packed

_FAR_ADD_PATHS = {None: None, "both": "both", "send": "receive", "receive": "send"}


@dataclass(frozen=True, slots=True)
class _End:
    owner: Router
    session: Session


def connect(graph: Graph, routers: dict[str, Router], links: Links) -> None:
    """Gives the routers their edges; external routers are added to `routers`."""
    externals = _Externals(graph, routers)
    waiting: dict[tuple[str, str], list[_End]] = {}
    for end in _ends(graph, routers):
        if end.session.peer == "external":
            _join(end, externals.far_end(end), links)
            continue
        facing = waiting.get((end.session.peer, end.owner.id), [])
        other = next((one for one in facing if _face_each_other(one, end)), None)
        if other is None:
            waiting.setdefault((end.owner.id, end.session.peer), []).append(end)
        else:
            facing.remove(other)
            _join(other, end, links)
    for router in routers.values():
        router.flat = not any(edge.pair for edge in router.out)


def _ends(graph: Graph, routers: dict[str, Router]) -> Iterator[_End]:
    for kind, plans in (("node", graph.speakers), ("reflector", graph.reflectors), ("switch", graph.switches)):
        for name, plan in plans.items():
            owner = routers[f"{kind}/{name}"]
            yield from (_End(owner, session) for session in plan.sessions)


def _face_each_other(one: _End, other: _End) -> bool:
    """Each dials the other's address; over a link without addresses both ends are named after the node's interface."""
    a, b = one.session, other.session
    if a.interface or b.interface:
        return a.name.removeprefix(f"{other.owner.name}-") == b.name.removeprefix(f"{one.owner.name}-")
    if (":" in a.peer_address) is not (":" in b.peer_address):
        return False
    return a.peer_address == (b.local_address or a.peer_address) and b.peer_address == (
        a.local_address or b.peer_address
    )


class _Externals:
    """Routers outside of the declaration, made when a session names them."""

    def __init__(self, graph: Graph, routers: dict[str, Router]) -> None:
        self._routers = routers
        self._names = _names_by_address(graph)

    def far_end(self, near: _End) -> _End:
        """The end that the external router has of our session."""
        ours = near.session
        router = self._router(ours)
        address = packed(ours.peer_address)
        router.addresses.add(address)
        if len(address) == 4:
            number = int.from_bytes(address)
            router.router_id = min(router.router_id or number, number)
        from_switch = near.owner.kind == "switch"
        session = Session(
            name=ours.name,
            peer=near.owner.id,
            source=ours.source,
            type=ours.type,
            local_address=ours.peer_address,
            local_asn=ours.peer_asn,
            peer_address=ours.local_address or "",
            peer_asn=ours.local_asn,
            rr_client=ours.type == "ibgp",
            next_hop="self" if from_switch else "auto",
            add_paths=_FAR_ADD_PATHS[ours.add_paths],
            families=ours.families,
        )
        return _End(router, session)

    def _router(self, session: Session) -> Router:
        name = self._names.get(session.peer_address, session.peer_address)
        known = self._routers.get(f"external/{name}")
        if known is not None and known.asn != session.peer_asn:
            name = f"{name}-as{session.peer_asn}"
            known = self._routers.get(f"external/{name}")
        if known is None:
            known = Router(
                id=f"external/{name}",
                kind="external",
                name=name,
                asn=session.peer_asn,
                router_id=0,
                cluster=f"external/{name}",
                policy=OpenPolicy(),
                transit=True,
            )
            self._routers[known.id] = known
        return known


def _names_by_address(graph: Graph) -> dict[str, str]:
    peers: list[FabricPeer] = []
    for switch in graph.snapshot.specs("Switch", SwitchSpec).values():
        peers += switch.fabric_peers
    for reflector in graph.snapshot.specs("RouteReflector", RouteReflectorSpec).values():
        peers += reflector.fabric_peers
    return {peer.address: peer.name for peer in reversed(peers)}


def _join(one: _End, other: _End, links: Links) -> None:
    pair = _link_of(one, other, links)
    there, back = _edge(one, other, pair, links), _edge(other, one, pair, links)
    there.reverse, back.reverse = back, there
    one.owner.out.append(there)
    other.owner.out.append(back)


def _link_of(one: _End, other: _End, links: Links) -> Pair | None:
    """The link that the session stands on; what is a neighbour by it is entered in `links`."""
    nodes = [end for end in (one, other) if end.owner.kind == "node"]
    if len(nodes) == 2:
        return None
    if not nodes:
        kinds = {one.owner.kind, other.owner.kind}
        return _joined(one, other, links) if kinds in ({"switch", "external"}, {"switch"}) else None
    node = nodes[0]
    peer = other if node is one else one
    if node.session.interface:
        return _joined(node, peer, links)
    if node.session.reachable_by:
        gateway = links.direct.get((node.owner.id, packed(node.session.reachable_by)))
        if gateway is not None and gateway[0] == peer.owner.id:
            return _joined(node, peer, links)
        return gateway[1] if gateway else None
    known = links.direct.get((node.owner.id, packed(node.session.peer_address)))
    if known is not None:
        return known[1] if known[0] == peer.owner.id else None
    uplink = links.uplink_to(node.owner.id, packed(node.session.peer_address))
    return _joined(node, peer, links) if uplink is not None and peer.owner.kind == "external" else None


def _joined(one: _End, other: _End, links: Links) -> Pair:
    return links.join(one.owner.id, _address_of(one, other, links), other.owner.id, _address_of(other, one, links))


def _address_of(sender: _End, receiver: _End, links: Links) -> Address:
    """The sender's address in this session, or what stands for one that nobody knows (the kernel's, link-local).

    The kernel takes the address of the link that leads to the peer; else the loopback, which is its preferred source.
    """
    known = sender.session.local_address or receiver.session.peer_address
    if known:
        return packed(known)
    if sender.owner.kind == "node" and sender.session.peer_address:
        peer = packed(sender.session.peer_address)
        uplink = links.uplink_to(sender.owner.id, peer)
        own = [uplink.near] if uplink else _loopbacks(sender.owner, links)
        found = next((address for address in own if len(address) == len(peer)), None)
        if found is not None:
            return found
    return f"{sender.owner.id} {sender.session.name} {receiver.owner.id}".encode()


def _loopbacks(node: Router, links: Links) -> list[Address]:
    return sorted(node.addresses - {uplink.near for uplink in links.uplinks[node.id]})


def _edge(sender: _End, receiver: _End, pair: Pair | None, links: Links) -> Edge:
    own = _address_of(sender, receiver, links)
    near = links.uplink_to(receiver.owner.id, own) if pair and receiver.owner.kind == "node" else None
    shared = near is not None and near.far is None
    interface = receiver.session.interface or (near.interface if near else None)
    return Edge(
        sender=sender.owner,
        receiver=receiver.owner,
        near=sender.session,
        far=receiver.session,
        peer=own,
        next_hops=_next_hops(sender, own, links),
        pair=pair,
        interface=interface if pair and receiver.owner.kind == "node" else None,
        subnet=near.subnet if near and shared else None,
    )


def _next_hops(sender: _End, own: Address, links: Links) -> tuple[Address, Address]:
    """What the sender names for itself in routes of IPv4 and of IPv6; empty where it has no address to name.

    A node names, for routes of the other family, its other address on the link, else its loopback.
    """
    if sender.owner.kind != "node" or len(own) not in (4, 16):
        return own, own
    uplinks = links.uplinks[sender.owner.id]
    interfaces = {uplink.interface for uplink in uplinks if uplink.near == own}
    on_link = [uplink.near for uplink in uplinks if uplink.interface in interfaces]
    found = {len(a): a for a in reversed([own, *on_link, *_loopbacks(sender.owner, links)])}
    return found.get(4, b""), found.get(16, b"")
