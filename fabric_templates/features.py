"""What a plan asks for and a platform cannot express, as problems; nothing is left out in silence.

Each option of a session is a row: the feature it needs, and when a session needs it. `check` looks every row
up in the device's table. Sessions that fail for the same reason and come from the same declaration share one
problem, so that a rack of forty nodes is one line to read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fabric_templates.devices import Device, Feature, Quantity, Support
from fabric_templates.endpoints import neighbor_key, over_ipv6
from peering.problems import Problem, Severity, ordered
from peering.session import Session, SwitchPlan

_NAMED = 5


@dataclass(frozen=True, slots=True)
class _Option:
    """`value` is what the session asks for, or None where it asks for nothing."""

    feature: Feature
    value: Callable[[Session, SwitchPlan], Any]
    severity: Severity = "error"
    hint: str = ""


def _if(condition: bool) -> bool | None:
    return True if condition else None


_OPTIONS = (
    _Option("addPaths", lambda s, _: s.add_paths),
    _Option("allowASIn", lambda s, _: s.allow_as_in),
    _Option("asOverride", lambda s, _: _if(s.as_override)),
    _Option("bfd", lambda s, _: s.bfd),
    _Option("bfdTimers", lambda s, _: s.bfd, "warning", "define the profile in the switch's BFD configuration"),
    _Option("clusterID", lambda s, _: s.cluster_id),
    _Option("exportFilters", lambda s, _: s.export_filters or None, hint="put the filter on the node's end"),
    _Option("extendedNextHop", lambda s, _: _if(over_ipv6(s) and "ipv4-unicast" in s.families)),
    _Option("gracefulRestart", lambda s, _: s.graceful_restart_time or None, hint="set gracefulRestartTime to 0s"),
    _Option("importFilters", lambda s, _: s.import_filters or None, hint="put the filter on the node's end"),
    _Option("localASN", lambda s, plan: _if(s.local_asn != plan.asn)),
    _Option("longLivedStaleTime", lambda s, _: s.long_lived_stale_time),
    _Option("maxPrefixes", lambda s, _: s.max_prefixes),
    _Option("multihop", lambda s, _: s.multihop),
    # On iBGP the next hop is kept by the protocol itself (RFC 4271, 5.1.3), on eBGP it takes an option.
    _Option("nextHopKeep", lambda s, _: _if(s.next_hop == "keep" and s.type == "ebgp")),
    _Option("nextHopSelf", lambda s, _: _if(s.next_hop == "self")),
    _Option("passive", lambda s, _: _if(s.passive)),
    _Option("password", lambda s, _: s.password),
    _Option("peerPort", lambda s, _: _if(s.peer_port != 179)),
    _Option("reachableBy", lambda s, _: s.reachable_by, hint="put the route into the switch's base configuration"),
    _Option("rrClient", lambda s, _: _if(s.rr_client)),
    _Option("ttlSecurity", lambda s, _: s.ttl_security),
    _Option("unnumbered", lambda s, _: s.interface, hint="give the link addresses"),
)

_QUANTITIES: dict[Quantity, Callable[[Session], int | None]] = {
    "allowASIn": lambda s: s.allow_as_in,
    "bfdDetectMultiplier": lambda s: s.bfd.detect_multiplier if s.bfd else None,
    "bfdMinimumTTL": lambda s: s.bfd.minimum_ttl if s.bfd else None,
    "bfdReceiveInterval": lambda s: s.bfd.receive_interval if s.bfd else None,
    "bfdTransmitInterval": lambda s: s.bfd.transmit_interval if s.bfd else None,
    "holdTime": lambda s: s.hold_time,
    "keepaliveTime": lambda s: s.keepalive_time,
    "longLivedStaleTime": lambda s: s.long_lived_stale_time,
    "maxPrefixes": lambda s: s.max_prefixes,
    "multihop": lambda s: s.multihop,
    "ttlSecurity": lambda s: s.ttl_security,
}

_INSTANCE_WIDE: dict[str, Callable[[Session], Any]] = {
    "clusterID": lambda s: s.cluster_id,
    "longLivedStaleTime": lambda s: s.long_lived_stale_time,
}


def check(where: str, plan: SwitchPlan, device: Device) -> tuple[Problem, ...]:
    """What `device` cannot express of `plan`. `where` is the object the problems name, e.g. `Switch/tor-1a`."""
    found = [
        *_lacking(where, plan, device),
        *_conflicting(where, plan, device),
        *_out_of_range(where, plan, device),
        *_several_values(where, plan, device),
        *_same_address(where, plan),
        *_listening(where, plan, device),
        *_aggregates(where, plan, device),
    ]
    return ordered(found)


def code_of(feature: str) -> str:
    """`"allowASIn"` -> `"platform-lacks-allow-as-in"`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", feature)
    return f"platform-lacks-{words.lower()}"


def _lacking(where: str, plan: SwitchPlan, device: Device) -> Iterator[Problem]:
    for option in _OPTIONS:
        support = device.features[option.feature]
        failing = [s for s in plan.sessions if not _supported(support, s, option.value(s, plan))]
        for source, sessions in _by_source(failing):
            message = f"{device.title} cannot express {option.feature}{_only(support)} for {sessions} of {source}"
            yield Problem(option.severity, code_of(option.feature), where, option.feature, message, option.hint)


def _supported(support: Support, session: Session, value: Any) -> bool:
    if value is None:
        return True
    if isinstance(support, bool):
        return support
    if isinstance(support, str):
        return session.type == support
    return value in support


def _only(support: Support) -> str:
    if isinstance(support, bool):
        return ""
    return f" (only {support if isinstance(support, str) else ', '.join(support)})"


def _by_source(sessions: Iterable[Session]) -> Iterator[tuple[str, str]]:
    """(declaration, the names of its sessions in short), sorted."""
    grouped: dict[str, list[str]] = {}
    for session in sessions:
        grouped.setdefault(session.source, []).append(session.name)
    for source in sorted(grouped):
        names = sorted(grouped[source])
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield source, f"session {', '.join(names[:_NAMED])}{more}"


def _conflicting(where: str, plan: SwitchPlan, device: Device) -> Iterator[Problem]:
    values = {option.feature: option.value for option in _OPTIONS}
    for first, second in device.conflicts:
        both = [s for s in plan.sessions if values[first](s, plan) and values[second](s, plan)]
        for source, sessions in _by_source(both):
            message = f"{device.title} cannot express {first} together with {second} for {sessions} of {source}"
            code = f"{code_of(first)}-with-{code_of(second).removeprefix('platform-lacks-')}"
            yield Problem("error", code, where, first, message, f"leave one of {first} and {second} out")


def _out_of_range(where: str, plan: SwitchPlan, device: Device) -> Iterator[Problem]:
    for quantity, (low, high) in device.ranges.items():
        value = _QUANTITIES[quantity]
        failing = [s for s in plan.sessions if not _within(value(s), low, high)]
        for source, sessions in _by_source(failing):
            message = f"{device.title} takes {quantity} {low}..{high}; it is outside for {sessions} of {source}"
            yield Problem("error", f"{code_of(quantity)}-value", where, quantity, message)


def _within(value: int | None, low: int, high: int) -> bool:
    return value is None or low <= value <= high


def _several_values(where: str, plan: SwitchPlan, device: Device) -> Iterator[Problem]:
    for option in device.instance_wide:
        values = sorted({str(v) for s in plan.sessions if (v := _INSTANCE_WIDE[option](s)) is not None})
        if len(values) > 1:
            message = f"{device.title} has one {option} for all sessions, but they ask for {', '.join(values)}"
            yield Problem("error", f"{code_of(option)}-per-session", where, option, message, "use one value")


def _aggregates(where: str, plan: SwitchPlan, device: Device) -> Iterator[Problem]:
    if plan.aggregates and not device.features["aggregates"]:
        message = f"{device.title} cannot announce {', '.join(plan.aggregates)} in place of the blocks in it"
        hint = "set aggregate: block in the pool"
        yield Problem("error", code_of("aggregates"), where, "aggregates", message, hint)


def _same_address(where: str, plan: SwitchPlan) -> Iterator[Problem]:
    """A switch knows a neighbour by address or interface, whatever the port: there can be only one session with it."""
    first: dict[str, str] = {}
    for session in sorted(plan.sessions, key=lambda s: s.name):
        key = _key(session)
        other = first.setdefault(key, session.name)
        if other != session.name:
            kind, path = ("interface", "interface") if session.interface else ("peer address", "peerAddress")
            message = f"sessions {other} and {session.name} have the same {kind} {key}"
            code = "platform-lacks-sessions-with-same-address"
            yield Problem("error", code, where, path, message, f"a switch holds one session per {kind}")


def _key(session: Session) -> str:
    try:
        return neighbor_key(session)
    except ValueError:
        return session.peer_address  # values.check refuses it


def _listening(where: str, plan: SwitchPlan, device: Device) -> Iterator[Problem]:
    ranges = plan.listen_ranges
    total = sum(r.limit for r in ranges)
    if ranges and not device.features["listenRanges"]:
        message = f"{device.title} has no dynamic neighbours, but {len(ranges)} listen ranges are planned"
        yield Problem("error", code_of("listenRanges"), where, "listenRanges", message, "name the neighbours")
    if len(ranges) > 1 and device.listen_limit == "instance":
        message = f"{device.title} counts dynamic neighbours of all ranges together: the limit is the sum, {total}"
        yield Problem("warning", "platform-lacks-listen-limit-per-range", where, "listenRanges", message)
    if total > device.limits.listen_limit:
        message = f"{device.title} takes {device.limits.listen_limit} dynamic neighbours, {total} are planned"
        yield Problem("error", "platform-lacks-listen-limit-value", where, "listenRanges", message)
