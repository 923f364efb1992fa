"""Nokia SR Linux: `info from state network-instance default protocols bgp neighbor * | as json`.

From Nokia's model srl_nokia-bgp; not run on a switch. The list stands somewhere below the path that was asked for, with
or without the name of the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fabric_templates.verification.end import End, Ends
from fabric_templates.verification.json_values import at, items, number, text, total, tree
from fabric_templates.verification.notices import named

#: As RFC 4271 writes the states.
_STATES = {state.lower(): state for state in ("Idle", "Connect", "Active", "OpenSent", "OpenConfirm", "Established")}


def read(parts: Mapping[str, str]) -> Ends:
    """From `neighbors`. Raises ValueError."""
    found = tree(parts.get("neighbors", ""))
    peers = list(_peers(found))
    if not peers and "neighbor" not in parts.get("neighbors", ""):
        raise ValueError("expected a list of neighbors")
    return {row["peer-address"]: _end(row) for row in peers}


def _peers(value: Any) -> Iterator[dict[str, Any]]:
    """Every item with a peer's address and a state."""
    if isinstance(value, dict):
        if "peer-address" in value and "session-state" in value:
            yield value
            return
        value = list(value.values())
    for item in items(value):
        yield from _peers(item)


def _end(row: dict[str, Any]) -> End:
    families = items(row.get("afi-safi"))
    said = f"{text(row.get('last-notification-error-code'))} {text(row.get('last-notification-error-subcode'))}"
    state = text(row["session-state"])
    return End(
        state=_STATES.get(state.lower(), state),
        reason=said.strip(),
        notice=named(said, sent=None),
        peer_asn=number(row.get("peer-as")),
        shut_down=row.get("admin-state") == "disable",
        sent=total([number(at(family, "sent-routes")) for family in families]),
        received=total([number(at(family, "received-routes")) for family in families]),
        accepted=total([_accepted(family) for family in families]),
    )


def _accepted(family: Any) -> int | None:
    """What was received and not refused."""
    received, refused = number(at(family, "received-routes")), number(at(family, "rejected-routes"))
    return None if received is None or refused is None else received - refused
