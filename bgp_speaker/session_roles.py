"""Which end of a session dials, which listens, and from which address. Pure.

Towards a switch or a router the node dials only, unless the plan says `passive`. Between two nodes either the plan
names a passive end, or both dial (Calico's `peerSelector`): then somebody has to listen, and since neither end knows
what the other was told, both do. Who wins when both dial at once is settled in exabgp_launch.py.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from peering.session import Session


@dataclass(frozen=True, slots=True)
class Role:
    """`local` is the address to dial from and to listen on; None leaves the choice to the kernel."""

    local: str | None
    passive: bool
    listens: bool


def role_of(session: Session, loopbacks: Iterable[str]) -> Role:
    """The role of this end; `loopbacks` are the node's. Raises ValueError for an address that is none."""
    listens = session.passive or is_between_nodes(session)
    local = session.local_address
    if local is None and listens:
        version = ipaddress.ip_address(session.peer_address).version
        local = next((a for a in loopbacks if ipaddress.ip_address(a).version == version), None)
    return Role(local, session.passive, listens and local is not None)


def is_between_nodes(session: Session) -> bool:
    """Whether the peer is a node, whose speaker is one of ours."""
    return session.peer.startswith("node/")
