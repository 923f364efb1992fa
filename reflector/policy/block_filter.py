"""BGPFilters on whole lists of prefixes and on attribute blocks. What a rule means is in `peering/route_filter.py`.

Prefixes are put into classes: those that satisfy the conditions on the prefix of the same rules. For each class there
is a filter of just these rules, without their prefixes. So a block is judged once for each class, not for each prefix,
and by the few rules that can matter; where the first of them asks for nothing else, by none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from peering.prefixes import Prefix
from peering.resources.bgp_filter import BGPFilterSpec, FilterRule
from peering.route_filter import (
    NORMAL_PRIORITY,
    PEER_TYPES,
    PRIORITY_SUM,
    Community,
    Direction,
    Named,
    Route,
    SessionType,
    Verdict,
    compile_filters,
    parse_community,
    prefix_set,
    rules_of,
)
from peering.session import Family as FamilyName
from reflector.policy.prefix_intervals import PrefixIntervals
from reflector.policy.refusal import Refusal
from reflector.policy.rewriting import rewritten
from reflector.rib.route import Key
from reflector.wire.as_path import prepend
from reflector.wire.attribute_block import AttributeBlock, Changes
from reflector.wire.families import IPV4_UNICAST, IPV6_UNICAST, Family

#: The rules whose conditions on the prefix hold, as bits.
PrefixClass = int

_NAMES: dict[Family, FamilyName] = {IPV4_UNICAST: "ipv4-unicast", IPV6_UNICAST: "ipv6-unicast"}
_BITS = {IPV4_UNICAST: 32, IPV6_UNICAST: 128}
_VERSIONS = {IPV4_UNICAST: "V4", IPV6_UNICAST: "V6"}


class _Rule(NamedTuple):
    """A rule, and where it is written: the filter's name, its place in the list."""

    name: str
    position: int
    spec: FilterRule

    @property
    def decides(self) -> bool:
        """Whether there is no condition but the prefix. (All routes of a reflector are from `RemotePeers`.)"""
        spec = self.spec
        return not (spec.communities or spec.as_path_prefix or spec.interface or spec.priority is not None)


class BlockFilter:
    """The filters of one session in one direction and family, made by `block_filter`.

    `by_prefix`: whether a rule asks for the prefix. If none does, `every` is the class of all prefixes.
    """

    def __init__(self, filters: Named, direction: Direction, family: Family, session_type: SessionType) -> None:
        self._rules = _rules(filters, direction, family, session_type)
        self._bits = _BITS.get(family, 0)
        self._session_type = session_type
        self._direction = direction
        self._family = family
        self._sets = [prefix_set(rule.spec, self._bits) for rule in self._rules]
        self._decisive = sum(1 << bit for bit, rule in enumerate(self._rules) if rule.decides)
        self.by_prefix = any(rule.spec.cidr is not None for rule in self._rules)
        self._classes = PrefixIntervals(self._bits, self._steps)
        self.every = self._reduced((1 << len(self._rules)) - 1)
        self._filters: dict[PrefixClass, _ClassFilter] = {}

    def class_of(self, key: Key) -> PrefixClass:
        """The class of one prefix."""
        return self._classes.at(key) if self.by_prefix else self.every

    def partition(self, keys: list[Key]) -> list[tuple[PrefixClass, list[Key]]]:
        """The classes of many prefixes; the same list when there is one."""
        return self._classes.partition(keys) if self.by_prefix else [(self.every, keys)]

    def decide(self, block: AttributeBlock, prefix_class: PrefixClass) -> AttributeBlock | Refusal:
        """What the filters make of these attributes with prefixes of that class. What no rule matches is accepted."""
        if not prefix_class:
            return block
        found = self._filters.get(prefix_class)
        if found is None:
            rules = [rule for bit, rule in enumerate(self._rules) if prefix_class >> bit & 1]
            found = self._filters[prefix_class] = _ClassFilter(rules, self._direction, self._family, self._session_type)
        return found.decide(block)

    def _steps(self, length: int) -> Iterator[tuple[int, PrefixClass]]:
        """Where the class changes among prefixes of this length."""
        toggled: dict[int, int] = {0: 0}
        for bit, prefixes in enumerate(self._sets):
            for border in (border for piece in prefixes.ranges(length) for border in piece):
                toggled[border] = toggled.get(border, 0) ^ 1 << bit
        toggled.pop(1 << self._bits, None)
        holding = 0
        for first in sorted(toggled):
            holding ^= toggled[first]
            yield first, self._reduced(holding)

    def _reduced(self, holding: int) -> PrefixClass:
        """Without the rules that cannot matter, since one before them decides whatever the attributes are."""
        decisive = holding & self._decisive
        return holding & ((decisive & -decisive) << 1) - 1 if decisive else holding


class _Conditions(NamedTuple):
    """What a rule asks of attributes, as a block has them: to find the rule that decides without making a route.

    `never`: it asks for an interface, and a reflector has none.
    """

    community: int | tuple[int, ...] | None
    as_path: tuple[int, ...]
    priority: int | None
    never: bool

    def hold(self, block: AttributeBlock) -> bool:
        if self.never or (self.priority is not None and _priority(block) != self.priority):
            return False
        wanted = self.community
        if wanted is not None and wanted not in block.communities and wanted not in block.large_communities:
            return False
        return not self.as_path or block.as_path[: len(self.as_path)] == self.as_path


class _ClassFilter:
    """These rules, at least one, for prefixes that satisfy their conditions on the prefix."""

    def __init__(self, rules: list[_Rule], direction: Direction, family: Family, session_type: SessionType) -> None:
        self._field = direction + _VERSIONS[family]
        self._rules = rules
        # Each as a filter of its own, so that the name of the one that decides tells which it is.
        named = [(str(place), _without_prefix(rule.spec, self._field)) for place, rule in enumerate(rules)]
        self._filter = compile_filters(tuple(named), direction, _NAMES[family], session_type)
        self._some_prefix = bytes(1 + _BITS[family] // 8)
        first = self._filter.decide(Route(self._some_prefix)) if rules[0].decides else None
        self._same_for_all = first is not None and not rules[0].spec.operations
        self._refusal = self._refused(first) if first is not None and not first.accepted else None
        self._conditions = [(_conditions(rule.spec), not _changes_nothing(rule.spec)) for rule in rules]

    def decide(self, block: AttributeBlock) -> AttributeBlock | Refusal:
        if self._same_for_all:
            return self._refusal or block
        for conditions, matters in self._conditions:
            if conditions.hold(block):
                return self._decided(block) if matters else block
        return block

    def _decided(self, block: AttributeBlock) -> AttributeBlock | Refusal:
        seen = _seen(block, self._some_prefix)
        verdict = self._filter.decide(seen)
        if verdict is None:
            return block
        return rewritten(block, _changes(block, seen, verdict.route)) if verdict.accepted else self._refused(verdict)

    def _refused(self, verdict: Verdict) -> Refusal:
        rule = self._rules[int(verdict.filter)]
        return Refusal("filter", replace(verdict, filter=rule.name, rule=rule.position).place)


def _conditions(rule: FilterRule) -> _Conditions:
    wanted = parse_community(rule.communities.values[0]) if rule.communities else None
    community = wanted[0] << 16 | wanted[1] if wanted is not None and len(wanted) == 2 else wanted
    return _Conditions(community, tuple(rule.as_path_prefix or ()), rule.priority, rule.interface is not None)


def _changes_nothing(rule: FilterRule) -> bool:
    return rule.action == "Accept" and not rule.operations


def _priority(block: AttributeBlock) -> int:
    """Calico's (`Route.priority` of peering/route_filter.py)."""
    return NORMAL_PRIORITY if block.local_pref is None else PRIORITY_SUM - block.local_pref


def _without_prefix(rule: FilterRule, field: str) -> BGPFilterSpec:
    anything = rule.model_copy(update={"cidr": None, "match_operator": None, "prefix_length": None})
    return BGPFilterSpec.model_validate({field: [anything]})


@lru_cache(maxsize=1024)
def block_filter(filters: Named, direction: Direction, family: Family, session_type: SessionType) -> BlockFilter:
    """The filters as one. Remembered: equal arguments, one object, so that a thousand peers compile theirs once."""
    return BlockFilter(filters, direction, family, session_type)


def has_rules(filters: Named, direction: Direction, family: Family, session_type: SessionType) -> bool:
    """Whether there is any rule for this session. Families other than unicast have none."""
    return bool(_rules(filters, direction, family, session_type))


def _rules(filters: Named, direction: Direction, family: Family, session_type: SessionType) -> list[_Rule]:
    version = _VERSIONS.get(family)
    if version is None:
        return []
    return [
        _Rule(name, position, rule)
        for name, spec in filters
        for position, rule in enumerate(rules_of(spec, direction + version))
        if rule.peer_type in (None, PEER_TYPES[session_type])
    ]


def _seen(block: AttributeBlock, prefix: Prefix) -> Route:
    """The route as filters see it. The interface that it came by is not known to a reflector."""
    communities: tuple[Community, ...] = tuple((number >> 16, number & 0xFFFF) for number in block.communities)
    return Route(
        prefix=prefix,
        as_path=block.as_path,
        communities=(*communities, *block.large_communities),
        med=block.med,
        local_preference=block.local_pref,
    )


def _changes(block: AttributeBlock, seen: Route, changed: Route) -> Changes:
    """What the operations of a rule changed, as a block's changes."""
    changes: Changes = {}
    if changed.med != seen.med:
        changes["med"] = changed.med
    if changed.local_preference != seen.local_preference:
        changes["local_pref"] = changed.local_preference
    if len(changed.as_path) > len(seen.as_path):
        changes["as_path"] = prepend(block.segments, changed.as_path[: len(changed.as_path) - len(seen.as_path)])
    added = changed.communities[len(seen.communities) :]
    if small := tuple(one[0] << 16 | one[1] for one in added if len(one) == 2):
        changes["communities"] = (*block.communities, *small)
    if large := tuple((one[0], one[1], one[2]) for one in added if len(one) == 3):
        changes["large_communities"] = (*block.large_communities, *large)
    return changes
