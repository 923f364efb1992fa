"""BIRD 2 and later: `birdc show protocols all`.

`Last error` begins with `BGP Error` for a NOTIFICATION that BIRD sent, `Received` for one that it got.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from fabric_templates.verification.end import End, Ends, Notice
from fabric_templates.verification.json_values import total
from fabric_templates.verification.notices import named
from peering.session import Family

_BEGIN = re.compile(r"^(?=\S+ +BGP +)", re.MULTILINE)
_FIELD = re.compile(r"^ {2,4}([A-Z][A-Za-z ]+): +(.+?)\s*$", re.MULTILINE)
_CHANNEL = re.compile(r"^  Channel (ipv[46])$", re.MULTILINE)
_ROUTES = re.compile(r"^    Routes: +(\d+) imported,(?: \d+ filtered,)? (\d+) exported", re.MULTILINE)
_LIMIT = re.compile(r"^    Receive limit: +(\d+)( \[HIT\])?", re.MULTILINE)
_FAMILIES: dict[str, Family] = {"ipv4": "ipv4-unicast", "ipv6": "ipv6-unicast"}
_STATES = {"Down": "Idle", "Passive": "Active"}


def read(parts: Mapping[str, str]) -> Ends:
    """From `protocols`. Raises ValueError."""
    output = parts.get("protocols", "")
    if not re.search(r"^Name +Proto ", output, re.MULTILINE):
        raise ValueError(f"expected birdc's table of protocols, found {output.strip()[:80]!r}")
    blocks = [re.split(r"\n(?=\S)", block)[0] for block in _BEGIN.split(output)[1:]]
    found = [(dict(_FIELD.findall(block)), block) for block in blocks]
    peers = [(fields, block) for fields, block in found if "Neighbor address" in fields]
    return {fields["Neighbor address"].split("%")[0]: _end(fields, block) for fields, block in peers}


def _end(fields: Mapping[str, str], block: str) -> End:
    state, error = fields.get("BGP state", "Idle"), fields.get("Last error", "")
    limits = _LIMIT.findall(block)
    routes = _ROUTES.findall(block)
    return End(
        state=_STATES.get(state, state),
        reason=error,
        notice=_notice(error),
        local_asn=_number(fields, "Local AS"),
        peer_asn=_number(fields, "Neighbor AS"),
        hold_time=_hold_time(fields.get("Hold timer", "")),
        shut_down=block.split(maxsplit=4)[3] == "down",
        over_limit="Route limit exceeded" in error,
        limit=max((int(limit) for limit, _ in limits), default=0),
        families=frozenset(_FAMILIES[name] for name in _CHANNEL.findall(block)),
        sent=total([int(sent) for _, sent in routes]),
        accepted=total([int(accepted) for accepted, _ in routes]),
    )


def _notice(error: str) -> Notice | None:
    kind, _, words = error.partition(": ")
    sent = {"BGP Error": True, "Received": False}.get(kind)
    return named(words, sent=sent) if sent is not None else None


def _number(fields: Mapping[str, str], name: str) -> int | None:
    found = fields.get(name, "")
    return int(found) if found.isdecimal() else None


def _hold_time(timer: str) -> int | None:
    negotiated = timer.rpartition("/")[2]
    return int(negotiated) if negotiated.isdecimal() else None
