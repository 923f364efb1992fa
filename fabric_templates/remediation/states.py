"""Sessions as a switch tells of them: FRR's `show bgp neighbors json`."""

from __future__ import annotations

import json
from dataclasses import dataclass

UP = "Established"


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A session: its state (RFC 4271, section 8.2.2), and why it went down the last time where the switch says it."""

    state: str
    reason: str = ""


def neighbors(text: str) -> dict[str, Neighbor]:
    """Address or interface -> what the switch says of it. Raises ValueError where `text` is none of it."""
    found = json.loads(text or "{}")
    if not isinstance(found, dict):
        raise ValueError("expected an object")
    return {key: _neighbor(row) for key, row in found.items() if isinstance(row, dict) and "bgpState" in row}


def _neighbor(row: dict[str, object]) -> Neighbor:
    reason = row.get("lastNotificationReason") or row.get("lastResetDueTo") or ""
    return Neighbor(str(row["bgpState"]), str(reason))
