"""Arista EOS: `show bgp neighbors | json`, and `show bgp summary | json` for what passed the policy.

From Arista's documentation of both; not run on a switch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fabric_templates.verification.end import End, Ends
from fabric_templates.verification.json_values import at, number, rows, text, total, tree
from peering.session import Family

_FAMILIES: dict[str, Family] = {"ipv4Unicast": "ipv4-unicast", "ipv6Unicast": "ipv6-unicast"}


def read(parts: Mapping[str, str]) -> Ends:
    """From `neighbors`, and `summary` where it is there. Raises ValueError."""
    found = at(tree(parts.get("neighbors", "")), "vrfs", "default", "peerList")
    if not isinstance(found, list):
        raise ValueError("expected vrfs.default.peerList")
    summary = at(tree(parts["summary"]), "vrfs", "default", "peers") if "summary" in parts else {}
    return {
        row["peerAddress"]: _end(row, rows(summary).get(row["peerAddress"], {}))
        for row in found
        if isinstance(at(row, "peerAddress"), str)
    }


def _end(row: dict[str, Any], summary: dict[str, Any]) -> End:
    state = text(row.get("state")) or "Idle"
    idle = text(summary.get("peerStateIdleReason")).lower()
    families = {_FAMILIES[name]: said for name, said in rows(summary).items() if name in _FAMILIES}
    return End(
        state=state,
        reason=text(row.get("idleReason")),
        local_asn=asn(row.get("localAsn")),
        peer_asn=asn(row.get("asn")),
        hold_time=number(row.get("holdTime")) if state == "Established" else None,
        over_limit="max" in idle,
        shut_down="admin" in idle,
        sent=number(row.get("prefixesSent")),
        received=number(row.get("prefixesReceived")),
        accepted=total([number(said.get("nlrisAccepted")) for said in families.values()]),
    )


def asn(value: Any) -> int | None:
    """Also in asdot: `65130.1100` (RFC 5396)."""
    high, dot, low = str(value).partition(".")
    if dot and high.isdecimal() and low.isdecimal():
        return (int(high) << 16) + int(low)
    return number(value)
