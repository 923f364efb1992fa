"""The session graph as a table: a row for each end of each session.

What most sessions do not have is a column only where some session has it: who waits for the other (`passive`), who
is a client of the reflector at this end (`rr-client`), families other than that of the addresses.
"""

from __future__ import annotations

from collections.abc import Sequence

from peering.plan_diff import ends
from peering.session import Plan, Session
from underlay.output import print_table

_COLUMNS = ("END", "SESSION", "LOCAL", "AS", "PEER", "AS", "TYPE", "HOLD", "FAMILIES", "FLAGS", "SOURCE")
_OPTIONAL = ("FAMILIES", "FLAGS")


def print_plan(plan: Plan) -> None:
    """Nodes, reflectors and switches, each with its sessions by name."""
    rows = [_row(end, session) for end, found in ends(plan).items() for session in found.sessions]
    shown = [i for i, column in enumerate(_COLUMNS) if column not in _OPTIONAL or any(row[i] for row in rows)]
    print_table("", [_COLUMNS[i] for i in shown], [[row[i] for i in shown] for row in rows], tight=True)


def _row(end: str, s: Session) -> Sequence[object]:
    local, peer = s.local_address or s.interface or "any", s.peer_address or s.peer
    flags = [word for word, holds in (("passive", s.passive), ("rr-client", s.rr_client)) if holds]
    peer_asn = s.peer_asn or "other"
    families = "" if s.families == (_own_family(s),) else ",".join(f.removesuffix("-unicast") for f in s.families)
    return (
        end,
        s.name,
        local,
        s.local_asn,
        peer,
        peer_asn,
        s.type,
        f"{s.hold_time}s",
        families,
        ",".join(flags),
        s.source,
    )


def _own_family(session: Session) -> str:
    return "ipv6-unicast" if ":" in session.peer_address else "ipv4-unicast"
