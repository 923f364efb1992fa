"""Rules of a BGPFilter that never decide about a route.

Three reasons: no prefix satisfies the rule, no session of its `peerType` uses the filter, or earlier rules decide
about everything it matches. What is found is certain: sets of prefixes are compared exactly, other conditions only
where one plainly holds whenever the other does. A rule that is not found may still be dead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from peering.prefix_sets import covered, is_empty
from peering.resources.bgp_filter import BGPFilterSpec, FilterRule
from peering.route_filter import PEER_TYPES, SessionType, prefix_set, rules_of, wildcard

_FIELDS = {"importV4": 32, "importV6": 128, "exportV4": 32, "exportV6": 128}


@dataclass(frozen=True, slots=True)
class DeadRule:
    """`spec.FIELD[rule]` never decides. `by` are the earlier rules that decide in its place, for `shadowed`."""

    field: str
    rule: int
    reason: Literal["no-prefix", "no-session", "shadowed"]
    by: tuple[int, ...] = ()

    @property
    def path(self) -> str:
        return f"spec.{self.field}[{self.rule}]"


def never_matches(spec: BGPFilterSpec, session_types: Collection[SessionType] = ("ebgp", "ibgp")) -> list[DeadRule]:
    """The dead rules of a filter that sessions of these types use."""
    return [
        dead for field, bits in _FIELDS.items() for dead in _dead(field, bits, rules_of(spec, field), session_types)
    ]


def _dead(
    field: str, bits: int, rules: Sequence[FilterRule], session_types: Collection[SessionType]
) -> Iterator[DeadRule]:
    for index, rule in enumerate(rules):
        if is_empty(prefix_set(rule, bits)):
            yield DeadRule(field, index, "no-prefix")
        elif not _types(rule, session_types):
            yield DeadRule(field, index, "no-session")
        elif by := _shadowing(rules, index, bits, session_types):
            yield DeadRule(field, index, "shadowed", by)


def _shadowing(
    rules: Sequence[FilterRule], index: int, bits: int, session_types: Collection[SessionType]
) -> tuple[int, ...]:
    """The earlier rules that together take everything: one where one is enough, else as few as can be left."""
    wanted = prefix_set(rules[index], bits)
    wider = [i for i in range(index) if _implied(rules[index], rules[i], session_types)]
    for i in wider:
        if covered(wanted, [prefix_set(rules[i], bits)]):
            return (i,)
    if not covered(wanted, [prefix_set(rules[i], bits) for i in wider]):
        return ()
    for one in list(wider):
        rest = [i for i in wider if i != one]
        if covered(wanted, [prefix_set(rules[i], bits) for i in rest]):
            wider = rest
    return tuple(wider)


def _implied(rule: FilterRule, earlier: FilterRule, session_types: Collection[SessionType]) -> bool:
    """Whether the earlier rule's conditions, the prefix apart, hold whenever those of the rule do."""
    begin = earlier.as_path_prefix
    return (
        _types(rule, session_types) <= _types(earlier, session_types)
        and earlier.source in (None, rule.source)
        and earlier.communities in (None, rule.communities)
        and earlier.priority in (None, rule.priority)
        and rule.as_path_prefix[: len(begin)] == begin
        and _interfaces_within(rule.interface, earlier.interface)
    )


def _types(rule: FilterRule, session_types: Collection[SessionType]) -> set[SessionType]:
    return {one for one in session_types if rule.peer_type in (None, PEER_TYPES[one])}


def _interfaces_within(pattern: str | None, wider: str | None) -> bool:
    """Certain cases only: the same pattern, any interface at all, or a plain name that the wider one matches."""
    if wider is None or pattern == wider:
        return True
    if pattern is None:
        return False
    plain = not set(pattern) & set("*?\\")
    return wider == "*" or (plain and wildcard(wider).fullmatch(pattern) is not None)
