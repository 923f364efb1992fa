"""`plan()`: the one pure function that decides who peers with whom.

    declared ─► Snapshot ─► plan() ─┬─► speakers[node]    (what ExaBGP is told)
                                    ├─► switches[switch]  (what is rendered)
                                    └─► problems          (what lint says)

Lint, admission, the speaker and the renderer call this and nothing else, so what is accepted is what works.
No clock, no I/O, no randomness: the same snapshot gives the same bytes. Sessions come from racks
(rack_sessions.py) and from BGPPeers (peer_sessions.py); one node never has two sessions with one address
and port, and a Rack wins over a BGPPeer, whichever is read first.
"""

from __future__ import annotations

from peering import addressing, lint, peer_sessions, rack_sessions
from peering.facts import NodeFacts, node_facts
from peering.problems import Problem, ordered
from peering.session import Plan, PrefixRule, Session, SpeakerPlan
from peering.snapshot import Snapshot


def plan(snapshot: Snapshot) -> Plan:
    """The session graph of what is declared, and every problem of it."""
    problems: list[Problem] = []
    racks = rack_sessions.racks_of(snapshot, problems)
    nodes = node_facts(snapshot, racks, problems)
    node_sessions, switch_sessions = rack_sessions.compile_racks(snapshot, racks, nodes, problems)
    for name, sessions in peer_sessions.compile_peers(snapshot, nodes, problems).items():
        node_sessions.setdefault(name, []).extend(_without_duplicates(sessions, node_sessions.get(name, []), problems))
    speakers = {name: _speaker(snapshot, node, node_sessions.get(name, [])) for name, node in nodes.items()}
    switches = rack_sessions.switch_plans(snapshot, racks, nodes, switch_sessions, problems)
    problems += lint.check(snapshot, nodes, speakers, switches)
    return Plan(speakers=speakers, switches=switches, problems=ordered(problems))


def _without_duplicates(sessions: list[Session], present: list[Session], problems: list[Problem]) -> list[Session]:
    """Those whose peer address and port no session has yet; a dropped one is reported, not forgotten."""
    taken = {(s.peer_address, s.peer_port): s.source for s in present}
    kept = []
    for session in sorted(sessions, key=lambda s: (s.source, s.peer_address, s.peer_port)):
        other = taken.setdefault((session.peer_address, session.peer_port), session.source)
        if other == session.source:
            kept.append(session)
            continue
        message = f"the session with {session.peer_address} is already declared by {other}, which is used"
        problems.append(
            Problem("warning", "duplicate-session", session.source, "spec.peerIP", message, "remove one of the two")
        )
    return kept


def _speaker(snapshot: Snapshot, node: NodeFacts, sessions: list[Session]) -> SpeakerPlan:
    return SpeakerPlan(
        asn=node.asn,
        router_id=node.router_id,
        sessions=tuple(sorted(sessions, key=lambda s: s.name)),
        loopbacks=node.loopbacks,
        imports=_imports(snapshot, node) if sessions else (),
        uplink_subnets=tuple(sorted({addressing.subnet_of(a) for _, a in node.uplinks})),
        unexported=addressing.unexported_pools(snapshot),
    )


def _imports(snapshot: Snapshot, node: NodeFacts) -> tuple[PrefixRule, ...]:
    """What the node may learn: a default route, pools down to a block, and what its rack allows besides."""
    rules = [PrefixRule("0.0.0.0/0", 0, 0), PrefixRule("::/0", 0, 0)]
    rules += addressing.pool_rules(snapshot)
    rules += [addressing.inside(cidr) for cidr in node.accept_prefixes]
    return tuple(sorted(set(rules), key=lambda r: (":" in r.cidr, r.cidr, r.max_length)))
