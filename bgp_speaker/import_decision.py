"""Whether a path that a peer announced takes part in best path selection, and with which attributes. Pure.

The order, per path: maxPrefixes of the session, a filter that is missing, loops, what is refused whoever says it
(import_policy.py), the session's BGPFilters, the plan's import policy. As in Calico the verdict of a filter ends the
evaluation: a route that a rule accepts need not be in the import policy. A session that names a filter which does not
exist accepts nothing, because nobody can say what it would have refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bgp_speaker.import_policy import NOT_ACCEPTED, ImportPolicy
from bgp_speaker.learned_routes import LearnedPath
from peering.bestpath import Path
from peering.prefixes import Address, Prefix, is_ipv6, pack_address
from peering.resources.bgp_filter import BGPFilterSpec
from peering.route_filter import Route, RouteFilter, compile_filters, named_filters
from peering.session import Session

#: The name of the interface that reaches a gateway directly, or None.
InterfaceOf = Callable[[Address], str | None]

DEFAULT_LOCAL_PREFERENCE = 100
TOO_MANY = "over maxPrefixes"


@dataclass(frozen=True, slots=True)
class _Rules:
    """What holds for one peer. `filters`: of IPv4, of IPv6."""

    own_asns: tuple[int, ...]
    allow_as_in: int
    missing: str
    filters: tuple[RouteFilter, RouteFilter]


class ImportDecision:
    """For all sessions of a plan; packed peer addresses."""

    def __init__(
        self, policy: ImportPolicy, sessions: Iterable[Session] = (), filters: Mapping[str, BGPFilterSpec] | None = None
    ) -> None:
        self._policy = policy
        self._rules = {pack_address(s.peer_address): _rules_of(s, policy, filters or {}) for s in sessions}
        named = {name for session in sessions for name in session.import_filters}
        self.looks_at_interfaces = any(_has_interface(filters[name]) for name in named if filters and name in filters)

    def judge(
        self,
        prefix: Prefix,
        peer: Address,
        learned: LearnedPath,
        crowded: Collection[tuple[Address, bool]],
        interface_of: InterfaceOf,
    ) -> tuple[Path | None, str]:
        """The path to use, or None and why. `crowded`: the peers and families that are over their limit."""
        rules, path = self._rules[peer], learned.path
        reason = self._refusal(prefix, peer, path, rules, crowded)
        if reason:
            return None, reason
        route_filter = rules.filters[is_ipv6(prefix)]
        if route_filter:
            route = _route(prefix, learned, interface_of(path.next_hop) if self.looks_at_interfaces else None)
            verdict = route_filter.decide(route)
            if verdict is not None:
                return (_changed(path, route, verdict.route), "") if verdict.accepted else (None, verdict.place)
        return (path, "") if self._policy.accepts(prefix) else (None, NOT_ACCEPTED)

    def _refusal(
        self, prefix: Prefix, peer: Address, path: Path, rules: _Rules, crowded: Collection[tuple[Address, bool]]
    ) -> str:
        """Why the path is refused whatever the filters say."""
        if crowded and (peer, is_ipv6(prefix)) in crowded:
            return TOO_MANY
        if rules.missing:
            return rules.missing
        if path.as_path and not self._policy.is_lent(prefix) and _loops(path.as_path, rules):
            return "own AS in path"
        if path.next_hop in self._policy.own_addresses:
            return "own address as next hop"
        return self._policy.refuses(prefix)


def missing_filters(names: Sequence[str], filters: Mapping[str, BGPFilterSpec]) -> str:
    """Which of the filters do not exist, as a sentence; empty when all are there."""
    missing = [f"BGPFilter/{name}" for name in names if name not in filters]
    return f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing" if missing else ""


def _loops(as_path: Sequence[int], rules: _Rules) -> bool:
    return any(as_path.count(asn) > rules.allow_as_in for asn in rules.own_asns)


def _rules_of(session: Session, policy: ImportPolicy, filters: Mapping[str, BGPFilterSpec]) -> _Rules:
    """The AS of the session counts as ours beside the node's, which a local AS may hide (RFC 7705)."""
    named = named_filters(session.import_filters, filters)
    return _Rules(
        own_asns=tuple({policy.own_asn, session.local_asn}),
        allow_as_in=session.allow_as_in or 0,
        missing=missing_filters(session.import_filters, filters),
        filters=(
            compile_filters(named, "import", "ipv4-unicast", session.type),
            compile_filters(named, "import", "ipv6-unicast", session.type),
        ),
    )


def _has_interface(spec: BGPFilterSpec) -> bool:
    return any(rule.interface is not None for rule in (*spec.import_v4, *spec.import_v6))


def _route(prefix: Prefix, learned: LearnedPath, interface: str | None) -> Route:
    attributes = learned.attributes
    return Route(
        prefix=prefix,
        as_path=attributes.as_path,
        communities=attributes.communities + attributes.large_communities,
        med=attributes.med,
        local_preference=attributes.local_preference,
        from_peer=True,
        interface=interface,
    )


def _changed(path: Path, before: Route, after: Route) -> Path:
    """The path as a filter's operations leave it; communities play no part from here on."""
    if after is before:
        return path
    preference = after.local_preference
    return replace(
        path,
        as_path=after.as_path,
        as_path_length=path.as_path_length + len(after.as_path) - len(before.as_path),
        local_preference=DEFAULT_LOCAL_PREFERENCE if preference is None else preference,
        med=after.med or 0,
    )
