"""What a BGPFilter means: which rule decides about a route, and what it makes of it.

Calico's semantics (projectcalico.org/v3): filters in the order a peer names them, their rules in the order they are
written, the first whose conditions all hold decides and ends the evaluation. When none does, an import is accepted
and an export is left to the speaker's own rule; `decide` returns None for both.

A rule has a condition on the prefix and others on the attributes. Compiled, each distinct prefix and each distinct
set of attributes is looked at once: it becomes a bit mask of the rules it satisfies, and the lowest bit that two masks
share is the rule that decides.

`Equal` and `NotEqual` respect `prefixLength` as `In` and `NotIn` do. (In Calico they would compare a prefix with a
prefix set, which are never equal.) Rules that can never decide are found by `peering/dead_rules.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, TypeVar

from peering.prefix_sets import PrefixSet, everything
from peering.prefixes import Prefix, pack_prefix
from peering.resources.bgp_filter import BGPFilterSpec, FilterRule, Operation
from peering.resources.fields import WELL_KNOWN_COMMUNITIES
from peering.session import Family

Direction = Literal["import", "export"]
SessionType = Literal["ibgp", "ebgp"]
#: Two numbers (RFC 1997) or three (large, RFC 8092).
Community = tuple[int, ...]
Named = tuple[tuple[str, BGPFilterSpec], ...]
K = TypeVar("K")

#: What a rule's `peerType` calls a session of that type.
PEER_TYPES: dict[SessionType, str] = {"ebgp": "eBGP", "ibgp": "iBGP"}
#: LOCAL_PREF and Calico's priority add up to this.
PRIORITY_SUM = 2147483647
#: Calico's priority of a route whose LOCAL_PREF nobody set.
NORMAL_PRIORITY = 1024

_BITS: dict[Family, int] = {"ipv4-unicast": 32, "ipv6-unicast": 128}
_VERSIONS: dict[Family, str] = {"ipv4-unicast": "V4", "ipv6-unicast": "V6"}
_REMEMBERED = 65536
_NO = (FilterRule(action="Reject"),)
_NOTHING = BGPFilterSpec(import_v4=_NO, import_v6=_NO, export_v4=_NO, export_v6=_NO)


@dataclass(frozen=True, slots=True)
class Route:
    """A route as a filter sees it. `as_path` is flattened; `from_peer`: learned over BGP, not originated here.

    `interface` is the one its next hop is reached over, where that is known.
    """

    prefix: Prefix
    as_path: tuple[int, ...] = ()
    communities: tuple[Community, ...] = ()
    med: int | None = None
    local_preference: int | None = None
    from_peer: bool = True
    interface: str | None = None

    @property
    def priority(self) -> int:
        """Calico's, from LOCAL_PREF."""
        return NORMAL_PRIORITY if self.local_preference is None else PRIORITY_SUM - self.local_preference


@dataclass(frozen=True, slots=True)
class Verdict:
    """`route` is what the rule made of it. `filter`, `field` (as `importV4`) and `rule` (from 0) say who decided."""

    accepted: bool
    route: Route
    filter: str
    field: str
    rule: int

    @property
    def place(self) -> str:
        """For people: `BGPFilter/no-bogons spec.importV4[2]`."""
        return f"BGPFilter/{self.filter} spec.{self.field}[{self.rule}]"


@dataclass(frozen=True, slots=True)
class _Rule:
    """A rule ready for use: conditions that are None always hold."""

    filter: str
    index: int
    accepts: bool
    prefixes: PrefixSet
    interface: re.Pattern[str] | None
    spec: FilterRule
    community: Community | None

    def admits(self, route: Route) -> bool:
        """Whether the conditions other than the prefix hold."""
        spec = self.spec
        begin = spec.as_path_prefix
        return (
            (spec.source is None or route.from_peer)
            and (self.community is None or self.community in route.communities)
            and (not begin or route.as_path[: len(begin)] == begin)
            and (spec.priority is None or route.priority == spec.priority)
            and (self.interface is None or _matches(self.interface, route.interface))
        )


class RouteFilter:
    """The filters of one session in one direction and family, compiled. Made by `compile_filters`."""

    def __init__(self, rules: Sequence[_Rule], field: str) -> None:
        self._rules = tuple(rules)
        self._field = field
        self._by_prefix: dict[Prefix, int] = {}
        self._by_attributes: dict[tuple[object, ...], int] = {}

    def __bool__(self) -> bool:
        """Whether there is any rule."""
        return bool(self._rules)

    def decide(self, route: Route) -> Verdict | None:
        """The verdict of the first rule that matches; None when none does."""
        matching = self._prefix_mask(route.prefix)
        matching = matching and matching & self._attribute_mask(route)
        if not matching:
            return None
        rule = self._rules[(matching & -matching).bit_length() - 1]
        changed = _changed(route, rule.spec.operations) if rule.spec.operations else route
        return Verdict(rule.accepts, changed, rule.filter, self._field, rule.index)

    def _prefix_mask(self, prefix: Prefix) -> int:
        mask = self._by_prefix.get(prefix)
        if mask is None:
            mask = _remember(self._by_prefix, prefix, _mask([prefix in rule.prefixes for rule in self._rules]))
        return mask

    def _attribute_mask(self, route: Route) -> int:
        key = (route.as_path, route.communities, route.local_preference, route.from_peer, route.interface)
        mask = self._by_attributes.get(key)
        if mask is None:
            mask = _remember(self._by_attributes, key, _mask([rule.admits(route) for rule in self._rules]))
        return mask


def named_filters(names: Iterable[str], filters: Mapping[str, BGPFilterSpec]) -> Named:
    """The filters that a session names, in its order. A name without a BGPFilter lets nothing through.

    (Calico skips such a name in silence, and everything passes.)
    """
    return tuple((name, filters.get(name, _NOTHING)) for name in names)


@lru_cache(maxsize=1024)
def compile_filters(filters: Named, direction: Direction, family: Family, session_type: SessionType) -> RouteFilter:
    """The filters as one; rules for the other type of session are left out. Remembered: equal arguments, one object."""
    field = direction + _VERSIONS[family]
    rules = [
        _compiled(name, index, rule, _BITS[family])
        for name, spec in filters
        for index, rule in enumerate(rules_of(spec, field))
        if rule.peer_type in (None, PEER_TYPES[session_type])
    ]
    return RouteFilter(rules, field)


def parse_community(text: str) -> Community:
    """`"65000:100"` -> (65000, 100), also large ones and the well-known by name."""
    return tuple(int(part) for part in WELL_KNOWN_COMMUNITIES.get(text, text).split(":"))


def _compiled(name: str, index: int, rule: FilterRule, bits: int) -> _Rule:
    return _Rule(
        filter=name,
        index=index,
        accepts=rule.action == "Accept",
        prefixes=prefix_set(rule, bits),
        interface=wildcard(rule.interface) if rule.interface else None,
        spec=rule,
        community=parse_community(rule.communities.values[0]) if rule.communities else None,
    )


def prefix_set(rule: FilterRule, bits: int) -> PrefixSet:
    """What the rule says of the prefix: everything when it says nothing. `bits` of the family: 32 or 128."""
    if rule.cidr is None:
        return everything(bits)
    cidr = pack_prefix(rule.cidr)
    bounds = rule.prefix_length
    shortest = 0 if bounds is None or bounds.min is None else bounds.min
    longest = bits if bounds is None or bounds.max is None else bounds.max
    if rule.match_operator in ("Equal", "NotEqual"):
        longest = min(longest, cidr[0])
    return PrefixSet(cidr, shortest, longest, rule.match_operator in ("NotEqual", "NotIn"))


def wildcard(text: str) -> re.Pattern[str]:
    """BIRD's wildcards: `*` any characters, `?` one, and a backslash takes the meaning of the next one away."""
    parts = re.findall(r"\\.|.", text, re.DOTALL)
    return re.compile("".join({"*": ".*", "?": "."}.get(part) or re.escape(part[-1]) for part in parts), re.DOTALL)


def _matches(pattern: re.Pattern[str], interface: str | None) -> bool:
    return interface is not None and pattern.fullmatch(interface) is not None


def _changed(route: Route, operations: tuple[Operation, ...]) -> Route:
    for operation in operations:
        if operation.add_community is not None:
            added = parse_community(operation.add_community.value)
            if added not in route.communities:
                route = replace(route, communities=(*route.communities, added))
        elif operation.prepend_as_path is not None:
            route = replace(route, as_path=operation.prepend_as_path.prefix + route.as_path)
        elif operation.set_priority is not None:
            route = replace(route, local_preference=PRIORITY_SUM - operation.set_priority.value)
        elif operation.set_med is not None:
            route = replace(route, med=operation.set_med.value)
        elif operation.set_local_preference is not None:
            route = replace(route, local_preference=operation.set_local_preference.value)
    return route


def _mask(holds: Iterable[bool]) -> int:
    return sum(1 << index for index, one in enumerate(holds) if one)


def _remember(memory: dict[K, int], key: K, mask: int) -> int:
    """A full memory is begun anew: what is asked for again soon is back in it soon."""
    if len(memory) >= _REMEMBERED:
        memory.clear()
    memory[key] = mask
    return mask


def rules_of(spec: BGPFilterSpec, field: str) -> tuple[FilterRule, ...]:
    """The rules under `importV4`, `importV6`, `exportV4` or `exportV6`."""
    return {
        "importV4": spec.import_v4,
        "importV6": spec.import_v6,
        "exportV4": spec.export_v4,
        "exportV6": spec.export_v6,
    }[field]
