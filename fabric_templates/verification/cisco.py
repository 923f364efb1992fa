"""Cisco's IOS-XE, IOS-XR and NX-OS: the text of `show bgp ... neighbors`, in the lines that the three have in common.

From Cisco's documentation of the three commands; not run on a switch. Lines that are not known are passed over: each
release adds some. The neighbour's own lines are at its beginning, so what stands twice (per family) is added up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from fabric_templates.verification.end import End, Ends, Notice
from fabric_templates.verification.json_values import total
from fabric_templates.verification.notices import named
from peering.session import Family

_BEGIN = re.compile(r"^BGP neighbor is ([0-9A-Fa-f.:]+)", re.MULTILINE)
_STATE = re.compile(r"^ *BGP [Ss]tate = (\w+)", re.MULTILINE)
_AS = re.compile(r"[Rr]emote AS (\d+(?:\.\d+)?)(?:,\s+local AS (\d+(?:\.\d+)?))?")
_HOLD = re.compile(r"hold ?time (?:is|=) (\d+)", re.IGNORECASE)
_SHUT = re.compile(r"Administratively shut ?down|BGP state = Shut|Idle \(Admin\)", re.IGNORECASE)
_FAMILY = re.compile(r"^ +For address family: (IPv[46]) Unicast", re.MULTILINE | re.IGNORECASE)
#: IOS-XE has a table of `sent rcvd`; IOS-XR and NX-OS say it in words.
_TABLE = re.compile(r"^ *Prefixes Current: +(\d+) +(\d+)", re.MULTILINE)
_ACCEPTED = re.compile(r"^ *(\d+) accepted (?:prefixes|paths)", re.MULTILINE)
_SENT = re.compile(r"^ *Prefix advertised (\d+)|^ *(\d+) sent (?:prefixes|paths)", re.MULTILINE)
_LIMIT = re.compile(r"^ *Maximum prefixes allowed (\d+)", re.MULTILINE | re.IGNORECASE)
#: Hours, minutes, seconds; days and weeks are written otherwise.
_RESET = re.compile(r"Last reset (?:by (us|peer) )?(\d+):(\d\d):(\d\d), due to (.+)", re.IGNORECASE)
#: Older than that it is not why the session is down now.
_FRESH_S = 300
_FAMILIES: dict[str, Family] = {"ipv4": "ipv4-unicast", "ipv6": "ipv6-unicast"}
_STATES = {state.lower(): state for state in ("Idle", "Connect", "Active", "OpenSent", "OpenConfirm", "Established")}


def read(parts: Mapping[str, str]) -> Ends:
    """From `neighbors`. Raises ValueError."""
    output = parts.get("neighbors", "")
    begins = list(_BEGIN.finditer(output))
    if not begins and output.strip():
        raise ValueError(f"expected BGP neighbors, found {output.strip().splitlines()[0][:80]!r}")
    stops = [begin.start() for begin in begins[1:]] + [len(output)]
    blocks: dict[str, str] = {}
    for begin, stop in zip(begins, stops, strict=True):
        # A neighbour of two families is there twice where the families are asked for one after the other.
        blocks[begin[1]] = blocks.get(begin[1], "") + output[begin.start() : stop]
    return {address: _end(block) for address, block in blocks.items()}


def _end(block: str) -> End:
    state, asns, hold = _STATE.search(block), _AS.search(block), _HOLD.search(block)
    known = _STATES.get(state[1].lower(), "Idle") if state else "Idle"
    limits = [int(limit) for limit in _LIMIT.findall(block)]
    table = _TABLE.findall(block)
    return End(
        state=known,
        reason=_reset(block),
        notice=next((notice for said in _RESET.finditer(block) if (notice := _notice(said))), None),
        local_asn=_asn(asns[2]) if asns and asns[2] else None,
        peer_asn=_asn(asns[1]) if asns else None,
        hold_time=int(hold[1]) if hold and known == "Established" else None,
        shut_down=bool(_SHUT.search(block)),
        over_limit="PfxCt" in block,
        limit=max(limits, default=None),
        families=_families(block) if known == "Established" else None,
        sent=total([int(one or other) for one, other in _SENT.findall(block)] or [int(sent) for sent, _ in table]),
        accepted=total([int(one) for one in _ACCEPTED.findall(block)] or [int(received) for _, received in table]),
    )


def _families(block: str) -> frozenset[Family] | None:
    """None where the text does not say."""
    return frozenset(_FAMILIES[name.lower()] for name in _FAMILY.findall(block)) or None


def _reset(block: str) -> str:
    found = _RESET.search(block)
    return found[5].strip() if found else ""


def _notice(reset: re.Match[str]) -> Notice | None:
    """NX-OS says who has reset it, the others say `sent` or `received` in words. None where it was long ago."""
    hours, minutes, seconds = map(int, reset.group(2, 3, 4))
    if hours * 3600 + minutes * 60 + seconds > _FRESH_S:
        return None
    words = reset[5].lower()
    sent = {"us": True, "peer": False}.get((reset[1] or "").lower())
    if sent is None:
        sent = True if " sent" in words else False if "received" in words else None
    return named(reset[5], sent=sent)


def _asn(said: str) -> int:
    """Also in asdot (RFC 5396)."""
    high, _, low = said.rpartition(".")
    return (int(high or 0) << 16) + int(low)
