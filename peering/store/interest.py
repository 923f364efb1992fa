"""What of a kind a process needs, where that is not all of it.

An engine that reads from afar (Kubernetes) then watches and keeps nothing else; one on the same machine need not care.
Interests narrow `watch` and `snapshot` alone: `get` and `list` answer for every object. A kind without an interest is
wanted whole; several of one kind add up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from peering.selectors import SelectorError, parse_selector
from peering.store.peers_by_address import peers_with_nodes

_SERVICE_RANGES = ("serviceClusterIPs", "serviceExternalIPs", "serviceLoadBalancerIPs")
#: Documents by kind.
Declared = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Wider:
    """All of the kind is wanted after all while `holds` for the documents of `kinds`."""

    kinds: tuple[str, ...]
    holds: Callable[[Declared], bool] = field(compare=False)


@dataclass(frozen=True, slots=True)
class Interest:
    """Objects of `kind` whose `by` is `value`: their name, or the node or the type that their spec names; or none."""

    kind: str
    by: Literal["name", "node", "type", "nothing"]
    value: str = ""
    unless: Wider | None = None


def speaker_interests(node: str) -> tuple[Interest, ...]:
    """A speaker's: its node, its own blocks, what is in use of them and what anybody has borrowed, its own report.

    Other nodes concern it only where nodes peer with nodes, and Services only where any of their addresses may be
    announced: EndpointSlices change with every pod of the cluster.
    """
    announced = Wider(("BGPConfiguration",), announces_services)
    deciding = ("BGPConfiguration", "BGPPeer", "Rack", "RouteReflector", "Switch", "Node")
    wider = Wider(deciding, partial(nodes_peer, node))
    return (
        Interest("Node", "name", node, wider),
        Interest("BlockAffinity", "node", node),
        Interest("BlockAffinity", "type", "borrower"),
        Interest("IPAMBlock", "node", node),
        Interest("BGPNodeStatus", "name", node),
        Interest("Service", "nothing", unless=announced),
        Interest("EndpointSlice", "nothing", unless=announced),
    )


def nodes_peer(node: str, declared: Declared) -> bool:
    """Whether the node may have a session with another, or how another peers may matter to it.

    That is so in a mesh, which is on where it is not written and neither a Rack nor a RouteReflector serves the node,
    and with a BGPPeer that selects its peers among the nodes, or may have the address of one.
    """
    if any(_spec(peer).get("peerSelector") for peer in declared.get("BGPPeer", ())):
        return True
    if peers_with_nodes(node, declared):
        return True
    default = next((one for one in declared.get("BGPConfiguration", ()) if _metadata(one).get("name") == "default"), {})
    mesh = _spec(default).get("nodeToNodeMeshEnabled")
    if isinstance(mesh, bool):
        return mesh
    own = next((one for one in declared.get("Node", ()) if _metadata(one).get("name") == node), None)
    servers = (*declared.get("Rack", ()), *declared.get("RouteReflector", ()))
    return own is not None and not any(_selects(_spec(server).get("nodeSelector"), own) for server in servers)


def announces_services(declared: Declared) -> bool:
    """Whether there is a range of service addresses: what lies in none is not announced."""
    default = next((one for one in declared.get("BGPConfiguration", ()) if _metadata(one).get("name") == "default"), {})
    return any(_spec(default).get(field) for field in _SERVICE_RANGES)


def _selects(selector: Any, node: Mapping[str, Any]) -> bool:
    """What cannot be read selects nothing."""
    labels = _metadata(node).get("labels")
    try:
        return bool(selector) and parse_selector(selector)(labels if isinstance(labels, dict) else {})
    except (SelectorError, TypeError):
        return False


def _spec(document: Mapping[str, Any]) -> Mapping[str, Any]:
    spec = document.get("spec")
    return spec if isinstance(spec, dict) else {}


def _metadata(document: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = document.get("metadata")
    return metadata if isinstance(metadata, dict) else {}
