"""What a node's speaker says, from its BGPNodeStatus. Times are Unix times in seconds."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fabric_templates.verification.end import End, Notice
from peering.addressing import aggregates_of
from peering.prefixes import contains, host_prefix, pack_prefix
from peering.resources.observed import BGPNodeStatusSpec, PeerStatus
from peering.session import Session, SpeakerPlan

#: As ExaBGP names the NOTIFICATION that ended a session.
_NOTICE = re.compile(r"notification (sent|received) \((\d+),(\d+)\)")


def ends(status: BGPNodeStatusSpec, plan: SpeakerPlan | None, *, late: bool) -> dict[str, End]:
    """By session name. Of a report that is `late` nothing is known but that the sessions were there."""
    sessions = {session.name: session for session in plan.sessions} if plan else {}
    return {row.session: _end(row, status, plan, sessions.get(row.session), late) for row in status.sessions}


def _end(
    row: PeerStatus, status: BGPNodeStatusSpec, plan: SpeakerPlan | None, session: Session | None, late: bool
) -> End:
    if late:
        return End(state="Unknown", peer_asn=row.peer_asn)
    found = _NOTICE.search(row.reason)
    return End(
        state=row.state,
        reason=row.reason,
        notice=Notice(int(found[2]), int(found[3]), found[1] == "sent") if found else None,
        peer_asn=row.peer_asn,
        sent=row.announced,
        received=row.received,
        accepted=row.accepted,
        announced=frozenset(_announced(status.blocks, plan, session)) if plan and session else None,
    )


def _announced(blocks: Iterable[str], plan: SpeakerPlan, session: Session) -> Iterable[str]:
    """What the node announces where no filter changes it."""
    blocks = tuple(blocks)
    kept = [pack_prefix(cidr) for cidr in plan.unexported]
    shown = {block for block in blocks if not any(contains(cidr, pack_prefix(block)) for cidr in kept)}
    if session.peer.partition("/")[0] not in ("node", "reflector"):
        whole = aggregates_of(blocks, plan.aggregates)
        shown = {block for block in shown if not aggregates_of([block], whole)} | set(whole)
    shown |= set(map(host_prefix, plan.loopbacks))
    return (one for one in shown if ("ipv6-unicast" if ":" in one else "ipv4-unicast") in session.families)
