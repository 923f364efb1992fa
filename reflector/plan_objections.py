"""What a reflector cannot do of its plan: sessions that are left out, and fields without effect. Pure.

A session that cannot be made leaves the others alone. As sessions of one declaration are alike, what they have in
common is told once, of the declaration; lint does the same.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from peering.problems import Problem, ordered
from peering.resources.bgp_filter import BGPFilterSpec
from peering.route_filter import rules_of
from peering.session import ReflectorPlan, Session


class _Ignored(NamedTuple):
    """A field of a session, as manifests write it, why it has no effect at a reflector, and what to do instead."""

    field: str
    path: str
    why: str
    instead: str


_IGNORED = (
    _Ignored("bfd", "spec.bfd", "the reflector does not speak BFD", "shorten holdTime instead"),
    _Ignored(
        "reachable_by",
        "spec.reachableBy",
        "the reflector writes no routes",
        "give the machine that it runs on a route to the peer",
    ),
)
_FILTER_FIELDS = ("importV4", "exportV4", "importV6", "exportV6")


def left_out(sessions: Iterable[Session]) -> dict[str, str]:
    """Session name -> reason, for those that cannot be made."""
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    for session in sorted(sessions, key=lambda s: s.name):
        reason = _objection(session, taken)
        if reason is None:
            taken[session.peer_address] = session.name
        else:
            found[session.name] = reason
    return found


def objections(name: str, plan: ReflectorPlan, filters: Mapping[str, BGPFilterSpec]) -> tuple[Problem, ...]:
    """Everything in the plan of RouteReflector `name` that it cannot do; warnings, each once."""
    found = [*_omissions(name, plan), *_without_effect(name, plan), *_interfaces(name, plan, filters)]
    return ordered(found)


def declared_by(session: Session) -> str:
    """The object that declares the session, as problems name it; the mesh is a field of the configuration."""
    return "BGPConfiguration/default" if session.source == "mesh" else session.source.removeprefix("reverse:")


def _objection(session: Session, taken: Mapping[str, str]) -> str | None:
    if not session.peer_address:
        return f"it is unnumbered on {session.interface}, and the reflector needs the address of its peer"
    peer = ipaddress.ip_address(session.peer_address)
    if session.peer_address in taken:
        return f"session {taken[session.peer_address]} has the same peer address {peer}"
    if peer.is_link_local and session.interface is None:
        return f"its peer address {peer} is link-local, which needs an interface"
    if session.local_address and ipaddress.ip_address(session.local_address).version != peer.version:
        return f"its local address {session.local_address} and peer address {peer} are of different families"
    return None


def _omissions(name: str, plan: ReflectorPlan) -> Iterator[Problem]:
    omitted = left_out(plan.sessions)
    for session in plan.sessions:
        if session.name in omitted:
            message = f"session {session.name} of RouteReflector/{name} is left out: {omitted[session.name]}"
            hint = "give each of its neighbours one address, and one session with it"
            yield Problem("warning", "reflector-cannot", declared_by(session), "", message, hint)


def _without_effect(name: str, plan: ReflectorPlan) -> Iterator[Problem]:
    for row in _IGNORED:
        for source in {declared_by(s) for s in plan.sessions if getattr(s, row.field) is not None}:
            message = f"has no effect at RouteReflector/{name}: {row.why}"
            yield Problem("warning", "ignored-field", source, row.path, message, row.instead)


def _interfaces(name: str, plan: ReflectorPlan, filters: Mapping[str, BGPFilterSpec]) -> Iterator[Problem]:
    """Of the filters that its sessions use."""
    for filter_name in sorted(attached(plan) & filters.keys()):
        yield from interface_rules(f"RouteReflector/{name}", filter_name, filters[filter_name])


def interface_rules(where: str, name: str, spec: BGPFilterSpec) -> Iterator[Problem]:
    """Rules of BGPFilter `name` that ask for an interface: a reflector forwards nothing, so its routes have none."""
    for field in _FILTER_FIELDS:
        for index, rule in enumerate(rules_of(spec, field)):
            if rule.interface is not None:
                path = f"spec.{field}[{index}].interface"
                message = f"never holds at {where}: routes of a reflector leave by no interface"
                hint = "use another condition, or another filter here"
                yield Problem("warning", "reflector-cannot", f"BGPFilter/{name}", path, message, hint)


def attached(plan: ReflectorPlan) -> set[str]:
    """The names of the filters of all its sessions."""
    pairs = {(session.import_filters, session.export_filters) for session in plan.sessions}
    pairs |= {(one.import_filters, one.export_filters) for one in plan.listen_ranges}
    return {name for imports, exports in pairs for name in (*imports, *exports)}
