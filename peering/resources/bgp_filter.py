"""BGPFilter: ordered rules for what is imported and exported, as Calico's v3 API has them.

The first rule whose conditions all hold decides. What the rules mean is in `peering/route_filter.py`; this module
says only what may be written. Ours are the operations `setMED` and `setLocalPreference`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema

from peering.resources.fields import (
    AsNumber,
    Cidr,
    Community,
    Many,
    Mistake,
    OneLine,
    Spec,
    WholeNumber,
    unless_empty,
)
from peering.resources.rules import Rule, exactly_one, requires

MaybeCidr = Annotated[
    Cidr | None,
    BeforeValidator(unless_empty),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 49, "pattern": r"^[0-9A-Fa-f:.]+/[0-9]{1,3}$"}),
]
InterfacePattern = Annotated[Annotated[OneLine, StringConstraints(max_length=15)] | None, BeforeValidator(unless_empty)]
PrefixBound = Annotated[WholeNumber, Field(ge=0, le=128)]
RoutePriority = Annotated[WholeNumber, Field(ge=1, le=2147483646)]
Number32 = Annotated[WholeNumber, Field(ge=0, le=4294967295)]


class PrefixLength(Spec):
    """Bounds of the route's own length."""

    min: PrefixBound | None = None
    """The shortest; without it the length of the CIDR."""
    max: PrefixBound | None = None
    """The longest; without it that of a host route."""


class CommunityMatch(Spec):
    """A condition on communities: exactly one, as in Calico."""

    values: tuple[Community, ...] = Field(min_length=1, max_length=1)
    """The community that the route must carry."""


class AddCommunity(Spec):
    """A community that is added."""

    value: Community
    """The community."""


class PrependASPath(Spec):
    """AS numbers that are put in front of the path."""

    prefix: tuple[AsNumber, ...] = Field(min_length=1, max_length=10)
    """The resulting path begins with these, in this order."""


class SetPriority(Spec):
    """Calico's route priority: LOCAL_PREF becomes 2147483647 minus it."""

    value: RoutePriority
    """The priority; lower is better."""


class SetNumber(Spec):
    """A number that is set."""

    value: Number32
    """A number of 32 bits."""


class Operation(Spec):
    """One change of an accepted route: exactly one field."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            "an operation",
            "add_community",
            "prepend_as_path",
            "set_priority",
            "set_med",
            "set_local_preference",
            names=("addCommunity", "prependASPath", "setPriority", "setMED", "setLocalPreference"),
        ),
    )

    add_community: AddCommunity | None = None
    """Add a community."""
    prepend_as_path: PrependASPath | None = Field(default=None, alias="prependASPath")
    """Put AS numbers in front of the path."""
    set_priority: SetPriority | None = None
    """Set Calico's route priority."""
    set_med: SetNumber | None = Field(default=None, alias="setMED")
    """Set the MULTI_EXIT_DISC (RFC 4271, 5.1.4)."""
    set_local_preference: SetNumber | None = None
    """Set the LOCAL_PREF (RFC 4271, 5.1.5)."""


class FilterRule(Spec):
    """A rule: all conditions that are set must hold."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        requires("cidr", "match_operator"),
        requires("match_operator", "cidr"),
        requires("prefix_length", "cidr"),
        Rule(
            "operations need action Accept",
            "!has(self.operations) || size(self.operations) == 0 || self.action == 'Accept'",
            lambda spec: not spec.operations or spec.action == "Accept",
            field="operations",
        ),
    )

    action: Literal["Accept", "Reject"]
    """What becomes of the route."""
    cidr: MaybeCidr = None
    """Condition: the prefix, as `matchOperator` says."""
    match_operator: Literal["Equal", "NotEqual", "In", "NotIn"] | None = None
    """How the route's prefix compares with `cidr`."""
    prefix_length: PrefixLength | None = None
    """Condition: the length of the route's prefix."""
    source: Literal["RemotePeers"] | None = None
    """Condition: the route was learned over BGP."""
    interface: InterfacePattern = None
    """Condition: the route leaves by this interface; `*` stands for any text."""
    peer_type: Literal["eBGP", "iBGP"] | None = None
    """Condition: the kind of session."""
    communities: CommunityMatch | None = None
    """Condition: a community of the route."""
    as_path_prefix: Many[AsNumber] = Field(default=(), alias="asPathPrefix")
    """Condition: the AS path begins with these."""
    priority: RoutePriority | None = None
    """Condition: Calico's priority of the route."""
    operations: tuple[Operation, ...] = Field(default=(), max_length=10)
    """What is changed of an accepted route, in this order."""


class BGPFilterSpec(Spec):
    """Rules by direction and family; the first that matches decides."""

    export_v4: Many[FilterRule] = Field(default=(), alias="exportV4")
    """For IPv4 routes that are sent."""
    import_v4: Many[FilterRule] = Field(default=(), alias="importV4")
    """For IPv4 routes that are received."""
    export_v6: Many[FilterRule] = Field(default=(), alias="exportV6")
    """For IPv6 routes that are sent."""
    import_v6: Many[FilterRule] = Field(default=(), alias="importV6")
    """For IPv6 routes that are received."""

    def mistakes(self) -> Iterator[Mistake]:
        for name, rules, version in (
            ("exportV4", self.export_v4, 4),
            ("importV4", self.import_v4, 4),
            ("exportV6", self.export_v6, 6),
            ("importV6", self.import_v6, 6),
        ):
            for index, rule in enumerate(rules):
                for path, message in _prefix_mistakes(rule, version):
                    yield (name, index, *path), message


def _prefix_mistakes(rule: FilterRule, version: int) -> Iterator[Mistake]:
    """What the family of the list says against the rule's prefix and lengths."""
    if rule.cidr is None:
        return
    network = ipaddress.ip_network(rule.cidr)
    if network.version != version:
        yield ("cidr",), f"{rule.cidr} is an IPv{network.version} prefix"
        return
    bounds = rule.prefix_length or PrefixLength()
    for name, bound in (("min", bounds.min), ("max", bounds.max)):
        if bound is not None and bound > network.max_prefixlen:
            yield ("prefixLength", name), f"{bound} is longer than an IPv{version} address"
    if bounds.min is not None and bounds.max is not None and bounds.min > bounds.max:
        yield ("prefixLength", "min"), f"{bounds.min} is above max {bounds.max}"
