"""Whether a node's speaker does its part, for whoever restarts it or counts it as available (a readiness probe).

Other than node_condition.py this is not about pods. A speaker is ready when it has a plan, ExaBGP runs, and of each
declaration that gives it sessions (a rack with its two switches, a BGPPeer, the mesh) one is up, or could be: a session
that is down for a fault of the other end, or of the way there, says nothing about the speaker. A switch that dies must
not make a rolling update stop, or take nodes out. What counts against it is what is wrong at its own end.
"""

from __future__ import annotations

from bgp_speaker.node_state import NodeState
from peering.session import Session


def unreadiness(state: NodeState) -> str:
    """Why the speaker is not ready; empty when it is."""
    view = state.view
    if view is None:
        return "the store was not read yet"
    if view.node is None:
        return "there is no such Node"
    if view.plan is None:
        return "the plan has no speaker for it: underlay lint tells why"
    if view.plan.sessions and not state.exabgp_runs:
        return "ExaBGP does not run"
    return "; ".join(_without_any(view.plan.sessions, state))


def _without_any(sessions: tuple[Session, ...], state: NodeState) -> list[str]:
    """The declarations of which no session can come up for a reason at this end, each with the first reason."""
    by_source: dict[str, list[str]] = {}
    for session in sessions:
        by_source.setdefault(session.source, []).append(session.name)
    return [
        f"{source}: no session can come up: {state.omitted[names[0]]}"
        for source, names in by_source.items()
        if all(name in state.omitted for name in names)
    ]
