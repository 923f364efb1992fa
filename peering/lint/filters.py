"""Rules of BGPFilters that never decide about a route (dead_rules.py finds them)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import cast

from peering.dead_rules import DeadRule, never_matches
from peering.lint.view import View
from peering.problems import Problem
from peering.resources.bgp_filter import BGPFilterSpec
from peering.route_filter import SessionType

_BOTH: frozenset[SessionType] = frozenset({"ebgp", "ibgp"})


def dead_rules(view: View) -> Iterator[Problem]:
    """Of filters that sessions use, seen with the types of those sessions; of others with both."""
    types = _types_by_filter(view)
    for name, resource in view.graph.snapshot.all("BGPFilter").items():
        yield from dead_rules_of(resource.ref, cast(BGPFilterSpec, resource.spec), types.get(name, _BOTH))


def dead_rules_of(ref: str, spec: BGPFilterSpec, types: Collection[SessionType]) -> Iterator[Problem]:
    """Of one filter, used by sessions of these types."""
    for rule in never_matches(spec, types):
        hint = "take it out, or correct its conditions"
        yield Problem("warning", "filter-never-matches", ref, rule.path, _reason(rule), hint)


def _types_by_filter(view: View) -> dict[str, set[SessionType]]:
    types: defaultdict[str, set[SessionType]] = defaultdict(set)
    for routers in (view.nodes.values(), view.switches.values(), view.reflectors.values()):
        for filters in {router.ends.filters for router in routers}:
            for name, session_type in filters:
                types[name].add(session_type)
    return types


def _reason(rule: DeadRule) -> str:
    if rule.reason == "no-prefix":
        return "never matches: no prefix satisfies cidr, matchOperator and prefixLength together"
    if rule.reason == "no-session":
        return "never matches: no session with this filter is of that peerType"
    by = ", ".join(f"spec.{rule.field}[{index}]" for index in rule.by)
    return f"never matches: {by} decides about everything that it would"
