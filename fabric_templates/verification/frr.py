"""FRRouting, and what is made of it: `show bgp neighbors json`, and of the running configuration what that leaves out.

`externalBgpNbrMaxHopsAway` is 1 with and without TTL security, and a password is told as being there. A passive
neighbour does not tell which NOTIFICATION it sent to a connection that came in: that is told by who got it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fabric_templates.verification.end import End, Ends, Notice
from fabric_templates.verification.json_values import at, number, rows, text, total, tree
from peering.session import Family

_FAMILIES: dict[str, Family] = {"ipv4Unicast": "ipv4-unicast", "ipv6Unicast": "ipv6-unicast"}
#: Older than that it is not why the session is down now: who is refused tries again within two minutes.
_FRESH_MS = 300_000
_LINE = re.compile(r"^ neighbor (\S+) (peer-group|password|ttl-security hops) (.+?)\s*$", re.MULTILINE)
_GROUP = "peer-group"
_INSTANCE = re.compile(r"^router bgp \d+[ \t]*\r?\n((?:[ \t].*\n|\r?\n)*)", re.MULTILINE)


def read(parts: Mapping[str, str]) -> Ends:
    """From `neighbors` (or the only output), and `config`. Raises ValueError."""
    found = tree(parts.get("neighbors", parts.get("", "")))
    if not isinstance(found, dict):
        raise ValueError("expected an object of neighbors")
    ends = {key: _end(row) for key, row in rows(found).items() if "bgpState" in row}
    instance = _INSTANCE.search(parts.get("config", "") + "\n")
    return _with_config(ends, instance[1]) if instance else ends


def routes(output: str, _neighbor: str) -> frozenset[str]:
    """The prefixes of `show bgp FAMILY unicast neighbors ADDRESS routes json`. Raises ValueError."""
    found = at(tree(output), "routes")
    return frozenset(found) if isinstance(found, dict) else frozenset()


def _end(row: dict[str, Any]) -> End:
    families = {_FAMILIES[name]: info for name, info in rows(row.get("addressFamilyInfo")).items() if name in _FAMILIES}
    return End(
        state=text(row["bgpState"]),
        reason=text(row.get("lastNotificationReason")) or text(row.get("lastResetDueTo")),
        notice=_notice(row),
        local_asn=number(row.get("localAs")),
        peer_asn=number(row.get("remoteAs")) or None,
        hold_time=_seconds(row.get("bgpTimerHoldTimeMsecs")),
        has_password=bool(row.get("authenticationEnabled")),
        shut_down=bool(row.get("adminShutDown")),
        bfd_down=text(at(row, "peerBfdInfo", "status")).lower() == "down",
        over_limit=bool(row.get("prefixesConfigExceedMax")),
        limit=max((number(info.get("prefixAllowedMax")) or 0 for info in families.values()), default=None),
        families=frozenset(families),
        no_policy=any("inboundEbgpRequiresPolicy" in info for info in families.values()),
        sent=total([number(info.get("sentPrefixCounter")) for info in families.values()]),
        accepted=total([number(info.get("acceptedPrefixCounter")) for info in families.values()]),
    )


def _notice(row: dict[str, Any]) -> Notice | None:
    said, age = text(row.get("lastErrorCodeSubcode")), number(row.get("lastResetTimerMsecs")) or 0
    if len(said) != 4 or age > _FRESH_MS:
        return None
    due = text(row.get("lastResetDueTo")).lower()
    sent = True if due.endswith("send") else False if due.endswith("received") else None
    return Notice(int(said[:2], 16), int(said[2:], 16), sent)


def _seconds(milliseconds: Any) -> int | None:
    found = number(milliseconds)
    return None if found is None else found // 1000


def _with_config(ends: Ends, config: str) -> Ends:
    said: dict[str, dict[str, str]] = {}
    for key, option, value in _LINE.findall(config):
        said.setdefault(key, {})[option] = value
    return {key: _configured(end, _inherited(said, key)) for key, end in ends.items()}


def _inherited(said: Mapping[str, Mapping[str, str]], key: str) -> dict[str, str]:
    own = said.get(key, {})
    return {**said.get(own.get(_GROUP, ""), {}), **own}


def _configured(end: End, said: Mapping[str, str]) -> End:
    password = said.get("password", "")
    return replace(end, ttl_security=int(said.get("ttl-security hops", 0)), password=password)
