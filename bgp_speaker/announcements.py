"""What each neighbour has to be told: the node's confirmed blocks and its loopbacks. Pure.

A neighbour is told the prefixes of the families its session carries. The next hop is the session's own
address (`self`): with a link per switch that is the link's address, so a switch needs no further route to it.
"""

from __future__ import annotations

from collections.abc import Iterable

from bgp_speaker.exabgp_commands import Announcement
from peering.prefixes import contains, host_prefix, pack_prefix
from peering.session import Session, SpeakerPlan

#: What is announced to each neighbour address, by prefix text.
Announced = dict[str, dict[str, Announcement]]


def desired_announcements(plan: SpeakerPlan, blocks: Iterable[str]) -> Announced:
    """The whole set for every session of the plan; empty sets are kept, so that they are withdrawn to."""
    kept = [pack_prefix(cidr) for cidr in plan.unexported]
    exported = [b for b in blocks if not any(contains(cidr, pack_prefix(b)) for cidr in kept)]
    prefixes = [*exported, *map(host_prefix, plan.loopbacks)]
    return {session.peer_address: _for_session(session, prefixes) for session in plan.sessions}


def _for_session(session: Session, prefixes: Iterable[str]) -> dict[str, Announcement]:
    return {p: Announcement(p) for p in prefixes if _family(p) in session.families}


def _family(prefix: str) -> str:
    return "ipv6-unicast" if ":" in prefix else "ipv4-unicast"
