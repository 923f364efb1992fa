"""Whether a BGPPeer's `peerIP` may be the address of another node, for a speaker that knows only its own. Pure.

Only the other nodes could tell for certain, and to watch them all is what is to be avoided. So it is taken for one when
the peer is in an AS of nodes, or in one that is to be looked up (`dynamicASNumber`), and no Switch and no
RouteReflector has the address. A peer in another AS is one of the fabric; should it be a node after all, the session is
the same but for the port that the other node listens on and for who dials.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from peering.addressing import bare
from peering.resource import Resource, parse_resource
from peering.resources.bgp_configuration import BGPConfigurationSpec
from peering.resources.bgp_peer import BGPPeerSpec
from peering.resources.fabric import RackSpec, SwitchSpec
from peering.resources.node import NodeSpec
from peering.resources.route_reflector import RouteReflectorSpec
from peering.selectors import parse_selector

#: Documents by kind.
Declared = Mapping[str, Sequence[Mapping[str, Any]]]


def peers_with_nodes(node: str, declared: Declared) -> bool:
    """Whether a BGPPeer that selects the node may lead to another. What cannot be read leads nowhere."""
    candidates = [document for document in declared.get("BGPPeer", ()) if _may_be_for(document.get("spec"), node)]
    own = next((one for one in _read(declared.get("Node", ())) if one.name == node), None)
    if not candidates or own is None:
        return False
    numbers = _numbers(own, declared)
    peers = [cast(BGPPeerSpec, one.spec) for one in _read(candidates)]
    among = {peer.endpoint()[0] for peer in peers if _selects(peer, own) and peer.as_number in numbers}
    return bool(among - {*_own_addresses(own)} - {*_fabric(declared)})


def _may_be_for(spec: Any, node: str) -> bool:
    """Seen before anything is read: there may be a BGPPeer for every node."""
    return isinstance(spec, dict) and bool(spec.get("peerIP")) and spec.get("node") in (None, "", node)


def _selects(peer: BGPPeerSpec, node: Resource) -> bool:
    return peer.node_selector is None or parse_selector(peer.node_selector)(node.labels)


def _numbers(own: Resource, declared: Declared) -> set[int | None]:
    """The AS numbers that nodes have, as far as can be told: its own, that of every rack, that of the cluster.

    None, of a peer whose AS is to be looked up, is among them.
    """
    racks = [cast(RackSpec, one.spec).node_as_number for one in _read(declared.get("Rack", ()))]
    found = [one for one in _read(declared.get("BGPConfiguration", ())) if one.name == "default"]
    default = cast(BGPConfigurationSpec, found[0].spec) if found else BGPConfigurationSpec()
    return {cast(NodeSpec, own.spec).bgp.as_number, *racks, default.default_as_number, None}


def _own_addresses(own: Resource) -> Iterator[str]:
    spec = cast(NodeSpec, own.spec)
    for address in (spec.bgp.ipv4_address, spec.bgp.ipv6_address):
        if address is not None:
            yield bare(address)


def _fabric(declared: Declared) -> Iterator[str]:
    for one in _read(declared.get("Switch", ())):
        switch = cast(SwitchSpec, one.spec)
        yield from map(bare, (*switch.addresses, *switch.link_addresses))
    for one in _read(declared.get("RouteReflector", ())):
        yield from map(bare, cast(RouteReflectorSpec, one.spec).addresses)


def _read(documents: Iterable[Mapping[str, Any]]) -> Iterator[Resource]:
    for document in documents:
        read = parse_resource(dict(document))
        if isinstance(read, Resource):
            yield read
