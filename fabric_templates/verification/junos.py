"""Junos: `show bgp neighbor | display json`, where every element is a list of objects with the text in `data`.

From Juniper's documentation of the output; not run on a switch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fabric_templates.verification.end import End, Ends, Notice
from fabric_templates.verification.json_values import at, items, number, text, total, tree
from fabric_templates.verification.notices import named


def read(parts: Mapping[str, str]) -> Ends:
    """From `neighbors`. Raises ValueError."""
    found = at(tree(parts.get("neighbors", "")), "bgp-information", 0)
    if not isinstance(found, dict):
        raise ValueError("expected bgp-information")
    peers = ((text(_of(peer, "peer-address")), peer) for peer in items(found.get("bgp-peer")))
    return {address.partition("+")[0]: _end(peer) for address, peer in peers if address}


def _of(element: Any, *path: str) -> Any:
    """The text of an element below another one."""
    for name in path:
        element = at(element, name, 0)
    return at(element, "data")


def _end(peer: dict[str, Any]) -> End:
    ribs, option = items(peer.get("bgp-rib")), at(peer, "bgp-option-information", 0)
    return End(
        state=text(_of(peer, "peer-state")),
        reason=text(_of(peer, "last-error")),
        notice=_notice(peer),
        local_asn=number(_of(peer, "local-as")),
        peer_asn=number(_of(peer, "peer-as")),
        hold_time=number(_of(peer, "active-holdtime")),
        has_password=True if _of(option, "authentication-configured") is not None else None,
        sent=total([number(_of(rib, "advertised-prefix-count")) for rib in ribs]),
        received=total([number(_of(rib, "received-prefix-count")) for rib in ribs]),
        accepted=total([number(_of(rib, "accepted-prefix-count")) for rib in ribs]),
    )


def _notice(peer: dict[str, Any]) -> Notice | None:
    """`last-error` does not say who sent it; the counters do where only one of them counts anything."""
    received, sent = (number(_of(peer, name)) for name in ("notifications-received", "notifications-sent"))
    direction = None if bool(received) == bool(sent) else bool(sent)
    return named(text(_of(peer, "last-error")), sent=direction)
