"""Which prefixes fare alike: those that every policy of the fabric treats alike.

The rules of a switch for the host routes of its own rack are of that rack only, so they are compared through their
effect: whether the switch lets the rack's own prefix pass. All other rules are compared as they are written.

A prefix that overlaps another one, is originated twice, or lies in the subnet of a link is `special`: nothing is
taken to be like it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from peering.prefix_sets import PrefixSet
from peering.prefixes import Prefix, format_prefix, pack_prefix
from peering.route_filter import prefix_set, rules_of
from peering.session import PrefixRule
from peering.whatif.fabric import Fabric
from peering.whatif.modules import Modules
from peering.whatif.origins import Origin
from peering.whatif.policies import SpeakerPolicy, SwitchPolicy
from peering.whatif.router_makers import NEVER
from peering.whatif.routers import Router
from peering.whatif.rule_sets import Matcher, RuleSet

Kind = Hashable

_FIELDS = {4: ("importV4", "exportV4"), 16: ("importV6", "exportV6")}


class Kinds:
    """The kinds of the nodes' prefixes, found when they are asked for."""

    def __init__(self, fabric: Fabric, modules: Modules) -> None:
        self._fabric = fabric
        self._modules = modules
        #: The rules of each switch but those for host routes of its own module: of accept and of announce.
        self.rest: dict[str, tuple[RuleSet, RuleSet]] = {}
        self._matcher = Matcher(self._rule_sets())
        self._filtered = {size: tuple(_filter_sets(fabric, size)) for size in _FIELDS}
        self._special = _overlapping(fabric)
        self._known: dict[tuple[str, Origin], Kind | None] = {}

    def of(self, node: Router, origin: Origin) -> Kind | None:
        """The kind of a node's prefix; None for a special one."""
        key = (node.id, origin)
        if key not in self._known:
            self._known[key] = None if origin.prefix in self._special else self._kind(node, origin)
        return self._known[key]

    def is_special(self, prefix: Prefix) -> bool:
        return prefix in self._special

    def _kind(self, node: Router, origin: Origin) -> Kind:
        prefix, policy = origin.prefix, node.policy
        assert isinstance(policy, SpeakerPolicy)
        module = self._modules.of.get(node.id)
        return (
            len(prefix),
            self._matcher.matching(prefix),
            tuple(prefix in one for one in self._filtered[len(prefix) - 1]),
            tuple(_passes(switch, prefix) for switch in (module.switches if module else ())),
            policy.blocks[prefix],
            policy.communities(prefix),
            self._fabric.aggregates.covering(prefix),
            origin.pool is None,
        )

    def _rule_sets(self) -> Iterable[RuleSet]:
        yield self._fabric.rule_sets.of(PrefixRule(format_prefix(p), p[0], 8 * (len(p) - 1)) for p in NEVER)
        for router in self._fabric.routers.values():
            policy = router.policy
            if isinstance(policy, SpeakerPolicy):
                yield policy.imports
            elif isinstance(policy, SwitchPolicy):
                self.rest[router.id] = (self._rest(router, policy.accept), self._rest(router, policy.announce))
                yield policy.send
                yield from self.rest[router.id]

    def _rest(self, switch: Router, rules: RuleSet) -> RuleSet:
        module = self._modules.of.get(switch.id)
        if module is None:
            return rules
        return self._fabric.rule_sets.of(rule for rule in rules.rules if not self._is_of(module.number, rule))

    def _is_of(self, module: int, rule: PrefixRule) -> bool:
        """Whether the rule is for one host route that only routers of the module originate."""
        host = 128 if ":" in rule.cidr else 32
        if not rule.cidr.endswith(f"/{host}"):
            return False
        origins = self._fabric.index.routers(pack_prefix(rule.cidr))
        homes = {home.number if (home := self._modules.of.get(name)) else None for name in origins}
        return homes == {module}


def _passes(switch: Router, prefix: Prefix) -> tuple[bool, ...]:
    policy = switch.policy
    assert isinstance(policy, SwitchPolicy)
    return prefix in policy.accept, prefix in policy.announce, prefix in policy.send


def _filter_sets(fabric: Fabric, size: int) -> Iterable[PrefixSet]:
    """The sets that rules of filters tell apart, each once."""
    return {
        prefix_set(rule, 8 * size): None
        for _, spec in sorted(fabric.filters.specs.items())
        for field in _FIELDS[size]
        for rule in rules_of(spec, field)
        if rule.cidr is not None
    }


def _overlapping(fabric: Fabric) -> frozenset[Prefix]:
    special: set[Prefix] = set()
    for prefix in fabric.index:
        if prefix[0] == 0:
            continue
        covering = [one for one in fabric.index.covering(prefix) if one[0]]
        if len(covering) > 1 or len(fabric.index.routers(prefix)) > 1:
            special.update(covering)
        if fabric.uplink_subnets.covering(prefix):
            special.add(prefix)
    return frozenset(special)
