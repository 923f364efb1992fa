"""OpenBGPD: `bgpctl -j show neighbor`. Its prefixes are counted before any filter, so what was accepted is not told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fabric_templates.verification.end import End, Ends
from fabric_templates.verification.json_values import at, items, number, text, tree
from fabric_templates.verification.notices import named
from peering.session import Family

_FAMILIES: dict[str, Family] = {"IPv4 unicast": "ipv4-unicast", "IPv6 unicast": "ipv6-unicast"}


def read(parts: Mapping[str, str]) -> Ends:
    """From `neighbors`. Raises ValueError."""
    found = at(tree(parts.get("neighbors", "")), "neighbors")
    if not isinstance(found, list):
        raise ValueError("expected a list of neighbors")
    return {row["remote_addr"]: _end(row) for row in found if isinstance(at(row, "remote_addr"), str)}


def routes(output: str, _neighbor: str) -> frozenset[str]:
    """Of `bgpctl -j show rib neighbor ADDRESS`. Raises ValueError."""
    return frozenset(text(at(row, "prefix")) for row in items(at(tree(output), "rib")))


def _end(row: dict[str, Any]) -> End:
    config = row.get("config")
    sent, got = text(row.get("last_error_sent")), text(row.get("last_error_received"))
    families = {_FAMILIES.get(name) for name in items(at(config, "capabilities", "multiprotocol"))} - {None}
    return End(
        state=text(row.get("state")),
        reason=sent or got or text(row.get("last_shutdown_reason")),
        notice=named(sent, sent=True) or named(got, sent=False),
        peer_asn=number(row.get("remote_as")),
        hold_time=number(at(row, "session", "holdtime")),
        ttl_security=0 if at(config, "ttl_security") is False else None,
        shut_down=bool(at(config, "down")),
        limit=number(at(config, "max_prefix")) or 0,
        families=frozenset(family for family in families if family),
        sent=number(at(row, "stats", "prefixes", "sent")),
        received=number(at(row, "stats", "prefixes", "received")),
    )
