"""What is planned, and what the node's speaker cannot do.

ExaBGP needs the address of its peer, and the speaker announces the node's own routes: it passes on nobody else's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import cast

from peering.lint.references import Declared
from peering.lint.view import View
from peering.problems import Problem
from peering.resource import Resource
from peering.resources.bgp_peer import BGPPeerSpec
from peering.resources.fabric import RackSpec


def unnumbered_rack(resource: Resource, declared: Declared) -> Iterator[Problem]:
    if cast(RackSpec, resource.spec).peer_addresses == "unnumbered":
        message = "unnumbered sessions stay down: the speaker needs the address of its peer"
        hint = "give the links a /31 or a /127, and leave peerAddresses out"
        yield Problem("warning", "speaker-cannot", resource.ref, "spec.peerAddresses", message, hint)


def link_local_peer(resource: Resource, declared: Declared) -> Iterator[Problem]:
    spec = cast(BGPPeerSpec, resource.spec)
    if spec.peer_ip is not None and ipaddress.ip_address(spec.endpoint()[0]).is_link_local:
        message = f"the session with {spec.peer_ip} stays down: the speaker cannot tell the interface of that address"
        hint = "use another address of the peer"
        yield Problem("warning", "speaker-cannot", resource.ref, "spec.peerIP", message, hint)


def reflecting_nodes(view: View) -> Iterator[Problem]:
    """Calico's reflector nodes: their sessions come up, and nothing is reflected."""
    for node in view.nodes.values():
        clients = sum(session.rr_client for session in node.speaker.sessions)
        if clients:
            message = f"its speaker announces own routes only, and reflects none to its clients ({clients} sessions)"
            hint = "declare a RouteReflector and let the clients peer with that"
            yield Problem("warning", "speaker-cannot", node.ref, "spec.bgp.routeReflectorClusterID", message, hint)
