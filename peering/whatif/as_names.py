"""AS numbers without their values: what two racks have that differ in nothing but their numbers."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from peering.route_filter import rules_of
from peering.whatif.fabric import Fabric
from peering.whatif.modules import Module, Modules

_FIELDS = ("importV4", "importV6", "exportV4", "exportV6")


class AsNames:
    """A number that only one module has can be swapped with that of another; one that filters name cannot."""

    def __init__(self, fabric: Fabric, modules: Modules) -> None:
        users: dict[int, set[str]] = {}
        fixed = set(_in_filters(fabric))
        for router in fabric.routers.values():
            users.setdefault(router.asn, set()).add(router.id)
            fixed.update(edge.near.local_asn for edge in router.out if edge.near.local_asn != router.asn)
        self._own: set[int] = set()
        self._ranks: dict[int, dict[int, int]] = {}
        for asn in sorted(users.keys() - fixed):
            homes = {modules.of[name].number if name in modules.of else None for name in users[asn]}
            home = homes.pop()
            if homes or home is None:
                continue
            first = next(iter(users[asn]))
            if len(users[asn]) == 1 and fabric.routers[first].kind == "node":
                self._own.add(asn)
            else:
                ranks = self._ranks.setdefault(home, {})
                ranks[asn] = len(ranks)

    def is_own(self, asn: int) -> bool:
        """Whether one node has the number for itself."""
        return asn in self._own

    def name(self, asn: int, module: Module) -> Hashable:
        """The number itself, its rank among those of the module, or that it is a node's own."""
        if asn in self._own:
            return "own"
        rank = self._ranks.get(module.number, {}).get(asn)
        return asn if rank is None else ("local", rank)


def _in_filters(fabric: Fabric) -> Iterable[int]:
    for spec in fabric.filters.specs.values():
        for field in _FIELDS:
            for rule in rules_of(spec, field):
                yield from rule.as_path_prefix
                for operation in rule.operations:
                    yield from operation.prepend_as_path.prefix if operation.prepend_as_path else ()
