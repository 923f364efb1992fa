"""What is to be told about a session beside its state: what is missing, and what is held back because of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bgp_speaker.announcements import next_hop
from bgp_speaker.import_decision import missing_filters
from bgp_speaker.node_policy import NodePolicy
from bgp_speaker.prefix_limits import Usage
from peering.session import Session, SpeakerPlan


def session_notes(plan: SpeakerPlan, policy: NodePolicy, usages: Iterable[Usage]) -> dict[str, str]:
    """Session name -> what the reason of its row of the status says."""
    over: dict[str, list[str]] = {}
    for usage in usages:
        if usage.over:
            over.setdefault(usage.session, []).append(usage.line().partition(": ")[2])
    notes = {s.name: [*_missing(s, plan, policy), *over.get(s.name, ())] for s in plan.sessions}
    return {name: "; ".join(found) for name, found in notes.items() if found}


def _missing(session: Session, plan: SpeakerPlan, policy: NodePolicy) -> Iterator[str]:
    imports = missing_filters(session.import_filters, policy.filters)
    exports = missing_filters(session.export_filters, policy.filters)
    if imports:
        yield f"{imports}: nothing is accepted"
    if exports:
        yield f"{exports}: nothing is announced"
    for family in session.families:
        if next_hop(session, family, plan.loopbacks, policy) is None:
            yield f"no address as next hop of {family} routes: none is announced"
