"""Sessions that are planned and rendered, and that the node's speaker cannot speak: ExaBGP needs the peer's address."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import cast

from peering.lint.references import Declared
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
