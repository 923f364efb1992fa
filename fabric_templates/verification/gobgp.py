"""GoBGP: `gobgp -j neighbor`, which is its gRPC API in JSON; what is zero is left out.

What its policy refuses counts as accepted nevertheless, since the policy stands before the table, not the neighbour.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fabric_templates.verification.end import End, Ends
from fabric_templates.verification.json_values import at, items, number, rows, text, total, tree
from peering.session import Family

_STATES = {1: "Idle", 2: "Connect", 3: "Active", 4: "OpenSent", 5: "OpenConfirm", 6: "Established"}
_SHUT_DOWN, _OVER_LIMIT = 1, 2
_FAMILIES: dict[tuple[int | None, int | None], Family] = {(1, 1): "ipv4-unicast", (2, 1): "ipv6-unicast"}


def read(parts: Mapping[str, str]) -> Ends:
    """From `neighbors`. Raises ValueError."""
    found = tree(parts.get("neighbors", ""))
    if not isinstance(found, list):
        raise ValueError("expected a list of neighbors")
    return {row["conf"]["neighbor_address"]: _end(row) for row in found if at(row, "conf", "neighbor_address")}


def routes(output: str, neighbor: str) -> frozenset[str]:
    """Of `gobgp -j global rib`: the prefixes with a path of the neighbour. Raises ValueError."""
    found = tree(output)
    paths = found.items() if isinstance(found, dict) else ()
    return frozenset(
        prefix for prefix, known in paths if any(at(path, "neighbor-ip") == neighbor for path in items(known))
    )


def _end(row: dict[str, Any]) -> End:
    state, families = at(row, "state"), list(map(_family, items(row.get("afi_safis"))))
    limits = [number(at(one, "prefix_limits", "max_prefixes")) or 0 for one in items(row.get("afi_safis"))]
    password = text(at(row, "conf", "auth_password"))
    security = rows(row).get("ttl_security", {})
    ttl_min = number(security.get("ttl_min")) or 255
    return End(
        state=_STATES.get(number(at(state, "session_state")) or 0, "Idle"),
        reason=text(at(state, "disconnect_message")),
        local_asn=number(at(row, "conf", "local_asn")),
        peer_asn=number(at(row, "conf", "peer_asn")) or None,
        hold_time=number(at(row, "timers", "state", "negotiated_hold_time")) if _is_up(state) else None,
        has_password=bool(password),
        password=password,
        ttl_security=256 - ttl_min if security.get("enabled") else 0,
        shut_down=at(state, "admin_state") == _SHUT_DOWN,
        over_limit=at(state, "admin_state") == _OVER_LIMIT,
        limit=max(limits, default=0),
        families=frozenset(family for family in families if family),
        sent=total([number(at(one, "state", "advertised")) for one in items(row.get("afi_safis"))]),
        received=total([number(at(one, "state", "received")) for one in items(row.get("afi_safis"))]),
    )


def _is_up(state: Any) -> bool:
    return bool(at(state, "session_state") == 6)


def _family(row: Any) -> Family | None:
    family = at(row, "config", "family")
    return _FAMILIES.get((number(at(family, "afi")), number(at(family, "safi"))))
