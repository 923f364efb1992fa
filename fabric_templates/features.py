"""What a plan asks for and a platform cannot express, as problems; nothing is left out in silence.

Each option of a session is a row: the feature it needs, and when a session needs it; what a whole plan needs has rows
of its own. `check` looks every row up in the device's table. Listen ranges ask as the sessions would that dial in. What
a platform does partly is a warning that says what is missing. Sessions that fail for the same reason and come from the
same declaration share one problem, so that a rack of forty nodes is one line to read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Any

from fabric_templates.devices import Device, Feature, Quantity, Support
from fabric_templates.endpoints import neighbor_key, over_ipv6
from fabric_templates.naming import owned
from fabric_templates.ranges import asking, session_of
from fabric_templates.roles import listen_key
from peering.problems import Problem, Severity, ordered
from peering.session import ListenRange, Session, SwitchPlan

_NAMED = 5


@dataclass(frozen=True, slots=True)
class _Option:
    """`value` is what the session asks for, or None where it asks for nothing."""

    feature: Feature
    value: Callable[[Session, SwitchPlan], Any]
    severity: Severity = "error"
    hint: str = ""


def _from_rack(session: Session) -> bool:
    return session.peer.split("/")[0] in ("node", "reflector")


def _if(condition: bool) -> bool | None:
    return True if condition else None


def _is_range(session: Session) -> bool:
    return session.peer == "node/any"


def _shares_as(session: Session, plan: SwitchPlan) -> bool:
    """Whether other nodes of the rack have the node's AS, which so is in the paths that it is to be sent."""
    if session.type != "ebgp" or session.as_override or not session.peer.startswith("node/"):
        return False
    others = (s for s in plan.sessions if s.peer.startswith("node/") and s.peer != session.peer)
    return bool(_is_range(session) and session.peer_asn) or any(s.peer_asn == session.peer_asn for s in others)


_OPTIONS = (
    _Option("addPaths", lambda s, _: s.add_paths),
    _Option("allowASIn", lambda s, _: s.allow_as_in),
    _Option("asOverride", lambda s, _: _if(s.as_override)),
    _Option("bfd", lambda s, _: s.bfd),
    _Option("bfdPassive", lambda s, _: _if(bool(s.bfd and s.bfd.passive_mode)), "warning"),
    _Option("bfdTimers", lambda s, _: s.bfd, "warning", "define the profile in the switch's BFD configuration"),
    _Option("clusterID", lambda s, _: s.cluster_id),
    _Option("connectRetry", lambda s, _: s.connect_retry, "warning"),
    _Option("description", lambda s, _: s.name, "warning"),
    _Option("exportFilters", lambda s, _: s.export_filters or None, hint="put the filter on the node's end"),
    _Option("extendedNextHop", lambda s, _: _if(over_ipv6(s) and "ipv4-unicast" in s.families)),
    _Option("firstAS", lambda s, _: _if(_from_rack(s) and s.type == "ebgp"), "warning"),
    _Option("gracefulRestart", lambda s, _: s.graceful_restart_time or None, hint="set gracefulRestartTime to 0s"),
    _Option("importFilters", lambda s, _: s.import_filters or None, hint="put the filter on the node's end"),
    _Option("localAddress", lambda s, _: s.local_address, "warning", "the route to the neighbour gives the address"),
    _Option("localASN", lambda s, plan: _if(s.local_asn != plan.asn)),
    _Option("longLivedStaleTime", lambda s, _: s.long_lived_stale_time),
    _Option("maxPrefixes", lambda s, _: s.max_prefixes),
    _Option("maxPrefixesRestart", lambda s, _: s.max_prefixes, "warning", "clear the session by hand"),
    _Option("maxPrefixesWarning", lambda s, _: s.max_prefixes, "warning"),
    _Option("multihop", lambda s, _: s.multihop),
    # On iBGP the next hop is kept by the protocol itself (RFC 4271, 5.1.3), on eBGP it takes an option.
    _Option("nextHopKeep", lambda s, _: _if(s.next_hop == "keep" and s.type == "ebgp")),
    _Option("nextHopSelf", lambda s, _: _if(s.next_hop == "self")),
    _Option("passive", lambda s, _: _if(s.passive)),
    _Option("password", lambda s, _: s.password),
    # Nodes take such routes where they allow their own AS, and otherwise drop them themselves.
    _Option(
        "peerASInPath",
        lambda s, plan: _if(_shares_as(s, plan)),
        "warning",
        "give each node an AS of its own, or let the switch override it",
    ),
    _Option("peerPort", lambda s, _: _if(s.peer_port != 179)),
    _Option("reachableBy", lambda s, _: s.reachable_by, hint="put the route into the switch's base configuration"),
    _Option("rrClient", lambda s, _: _if(s.rr_client)),
    _Option("timers", lambda s, _: s.hold_time, hint="leave holdTime at the switch's default"),
    _Option("ttlSecurity", lambda s, _: s.ttl_security),
    _Option("unnumbered", lambda s, _: s.interface, hint="give the link addresses"),
)


@dataclass(frozen=True, slots=True)
class _PlanOption:
    """What the switch as a whole is asked for."""

    feature: Feature
    value: Callable[[SwitchPlan], Any]
    severity: Severity = "error"
    hint: str = ""


def _kinds(communities: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({"large" if text.count(":") == 2 else "standard" for text in communities}))


def _has_rack(plan: SwitchPlan) -> bool | None:
    return _if(any(map(_from_rack, asking(plan))))


def _has_mate(plan: SwitchPlan) -> bool | None:
    return _if(any(session.peer.startswith("switch/") for session in plan.sessions))


_PLAN_OPTIONS = (
    _PlanOption("aggregates", lambda p: _if(bool(p.aggregates)), hint="set aggregate: block in the pools"),
    _PlanOption("blackhole", _has_rack, "warning", "nodes must not attach BLACKHOLE"),
    _PlanOption("ecmp", lambda p: _if(bool(asking(p))), "warning", "allow 16 paths in the switch's base configuration"),
    _PlanOption("gracefulShutdown", lambda p: _if(bool(asking(p))), "warning", "drain nodes by another way"),
    _PlanOption("keepCommunities", lambda p: _kinds(p.keep_communities) or None),
    _PlanOption("listenASFilter", lambda p: _if(any(r.peer_asns for r in p.listen_ranges))),
    _PlanOption("multipathRelax", lambda p: _if(len(asking(p)) > 1), "warning", "allow it in the base configuration"),
    _PlanOption(
        "originate", lambda p: _if(bool(p.networks)), "warning", "announce the loopbacks by the base configuration"
    ),
    _PlanOption("pathFilters", _has_rack, "warning", "the spines must not take routes that passed them"),
    _PlanOption("prefixFilters", _has_rack),
    # Without it two switches of one AS would send a node's packets to each other, see policy.
    _PlanOption("setOrigin", _has_mate, hint="leave the rack's other switch out of fabricPeers"),
    _PlanOption("stripCommunities", _has_rack, "warning"),
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
        *_lacking_for_all(where, plan, device),
        *_conflicting(where, plan, device),
        *_out_of_range(where, plan, device),
        *_several_values(where, plan, device),
        *_same_address(where, plan),
        *_same_name(where, plan, device),
        *_listening(where, plan, device),
        *_too_many(where, plan, device),
    ]
    return ordered(found)


def code_of(feature: str) -> str:
    """`"allowASIn"` -> `"platform-lacks-allow-as-in"`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", feature)
    return f"platform-lacks-{words.lower()}"


def _lacking(where: str, plan: SwitchPlan, device: Device) -> Iterator[Problem]:
    asked = asking(plan)
    for option in _OPTIONS:
        support = device.features[option.feature]
        failing = [s for s in asked if not _supported(support, s.type, option.value(s, plan))]
        for source, sessions in _by_source(failing):
            what = f"{option.feature}{_only(support)} for {sessions} of {source}"
            yield _problem(where, device, option.feature, option.severity, what, option.hint)


def _lacking_for_all(where: str, plan: SwitchPlan, device: Device) -> Iterator[Problem]:
    for option in _PLAN_OPTIONS:
        support, value = device.features[option.feature], option.value(plan)
        if not _supported(support, "", value):
            what = f"{option.feature}{_only(support)}"
            yield _problem(where, device, option.feature, option.severity, what, option.hint)


def _problem(where: str, device: Device, feature: Feature, severity: Severity, what: str, hint: str) -> Problem:
    if device.features[feature] == "partly":
        message = f"{device.title} expresses {what} in part: {device.notes[feature]}"
        return Problem("warning", code_of(feature), where, feature, message, "")
    return Problem(severity, code_of(feature), where, feature, f"{device.title} cannot express {what}", hint)


def _supported(support: Support, kind: str, value: Any) -> bool:
    """Whether a session of `kind` gets `value`, or all of it where there are several."""
    if value is None:
        return True
    if isinstance(support, bool):
        return support
    if isinstance(support, str):
        return kind == support
    return set(value if isinstance(value, tuple) else (value,)) <= set(support)


def _only(support: Support) -> str:
    if isinstance(support, bool) or support == "partly":
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
    values = {option.feature: option.value for option in _OPTIONS} | {"listenRanges": lambda s, _: _if(_is_range(s))}
    for first, second in device.conflicts:
        both = [s for s in asking(plan) if values[first](s, plan) and values[second](s, plan)]
        for source, sessions in _by_source(both):
            message = f"{device.title} cannot express {first} together with {second} for {sessions} of {source}"
            code = f"{code_of(first)}-with-{code_of(second).removeprefix('platform-lacks-')}"
            yield Problem("error", code, where, first, message, f"leave one of {first} and {second} out")


def _out_of_range(where: str, plan: SwitchPlan, device: Device) -> Iterator[Problem]:
    for quantity, (low, high) in device.ranges.items():
        value = _QUANTITIES[quantity]
        failing = [s for s in asking(plan) if not _within(value(s), low, high)]
        for source, sessions in _by_source(failing):
            message = f"{device.title} takes {quantity} {low}..{high}; it is outside for {sessions} of {source}"
            yield Problem("error", f"{code_of(quantity)}-value", where, quantity, message)


def _within(value: int | None, low: int, high: int) -> bool:
    return value is None or low <= value <= high


def _several_values(where: str, plan: SwitchPlan, device: Device) -> Iterator[Problem]:
    for option in device.instance_wide:
        values = sorted({str(v) for s in asking(plan) if (v := _INSTANCE_WIDE[option](s)) is not None})
        if len(values) > 1:
            message = f"{device.title} has one {option} for all sessions, but they ask for {', '.join(values)}"
            yield Problem("error", f"{code_of(option)}-per-session", where, option, message, "use one value")


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


def _same_name(where: str, plan: SwitchPlan, device: Device) -> Iterator[Problem]:
    """BFD profiles have the names that people gave them; cut to the platform's length two of them may be one."""
    first: dict[str, str] = {}
    for profile in sorted({s.bfd.profile for s in asking(plan) if s.bfd}):
        name = owned(device.limits.name, profile)
        other = first.setdefault(name, profile)
        if other != profile:
            message = f"BFDProfile/{other} and BFDProfile/{profile} are both called {name} on {device.title}"
            yield Problem("error", "name-collision", where, "bfd", message, "give one of them a shorter name")


def _key(session: Session) -> str:
    try:
        return neighbor_key(session)
    except ValueError:
        return session.peer_address  # values.check refuses it


def _listening(where: str, plan: SwitchPlan, device: Device) -> Iterator[Problem]:
    ranges = plan.listen_ranges
    total = sum(r.limit for r in ranges)
    support = device.features["listenRanges"]
    if ranges and support is not True:
        if support == "partly":
            yield _problem(where, device, "listenRanges", "warning", "listenRanges", "")
        else:
            message = f"{device.title} has no dynamic neighbours, but {len(ranges)} listen ranges are planned"
            yield Problem("error", code_of("listenRanges"), where, "listenRanges", message, "name the neighbours")
    if len(ranges) > 1 and device.listen_limit == "instance":
        message = f"{device.title} counts dynamic neighbours of all ranges together: the limit is the sum, {total}"
        yield Problem("warning", "platform-lacks-listen-limit-per-range", where, "listenRanges", message)
    if ranges and device.listen_limit == "none":
        message = f"{device.title} does not count dynamic neighbours, {total} are planned"
        yield Problem("warning", "platform-lacks-listen-limit", where, "listenRanges", message)
    if total > device.limits.listen_limit:
        message = f"{device.title} takes {device.limits.listen_limit} dynamic neighbours, {total} are planned"
        yield Problem("error", "platform-lacks-listen-limit-value", where, "listenRanges", message)
    yield from _ranges_of_a_group(where, plan)


def _ranges_of_a_group(where: str, plan: SwitchPlan) -> Iterator[Problem]:
    """Neighbours that dial in take their options from the group, so ranges for one AS and family say the same."""
    first: dict[str, ListenRange] = {}
    for listen in sorted((r for r in plan.listen_ranges if _is_network(r.cidr)), key=lambda r: r.cidr):
        other = first.setdefault(listen_key(listen), listen)
        if _options(plan, other) != _options(plan, listen):
            message = f"the listen ranges {other.cidr} and {listen.cidr} differ in more than their addresses"
            hint = "give the ranges of one AS and family the same options"
            yield Problem("error", "platform-lacks-listen-options-per-range", where, "listenRanges", message, hint)


def _options(plan: SwitchPlan, listen: ListenRange) -> Session:
    return replace(session_of(plan, listen), name="", peer_address="")


def _is_network(cidr: str) -> bool:
    try:
        ip_network(cidr)
    except ValueError:
        return False  # values.check refuses it
    return True


def _too_many(where: str, plan: SwitchPlan, device: Device) -> Iterator[Problem]:
    most = device.limits.neighbors
    if most is not None and len(plan.sessions) > most:
        message = f"{device.title} takes {most} neighbours, {len(plan.sessions)} are planned"
        yield Problem("error", "platform-lacks-neighbors-value", where, "sessions", message, "use more switches")
