"""What is declared for one reflector: its part of the plan with everything that goes with it, but for passwords. Pure.

This is what is kept for the time when the store is away (saved_plan.py), and what a configuration is made from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from peering.memo import Memo
from peering.prefixes import pack_prefix
from peering.problems import Problem, errors
from peering.resources.bgp_filter import BGPFilterSpec
from peering.session import Plan, ReflectorPlan
from peering.snapshot import Snapshot
from reflector.block_owners import owners_of, relays_of
from reflector.configuration import Owners, ReflectorConfiguration
from reflector.plan_configuration import configuration_of
from reflector.plan_objections import attached, declared_by, objections


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """`filters` are those that the sessions name and that exist; `relays` nodes that pass on routes of others."""

    name: str
    plan: ReflectorPlan
    filters: Mapping[str, BGPFilterSpec] = field(default_factory=dict)
    owners: Owners = field(default_factory=Owners)
    relays: frozenset[str] = frozenset()

    def configuration(self, memo: Memo | None = None) -> ReflectorConfiguration:
        """Raises ValueError for a plan without a router ID."""
        return configuration_of(self.name, self.plan, self.filters, self.owners, relays=self.relays, memo=memo)

    def objections(self) -> tuple[Problem, ...]:
        """What of it a reflector cannot do."""
        return objections(self.name, self.plan, self.filters)


def declaration_of(name: str, compiled: Plan, snapshot: Snapshot) -> Declaration | None:
    """What is declared for RouteReflector `name`; None if there is none. The snapshot has the blocks of IPAM, too."""
    plan = compiled.reflectors.get(name)
    if plan is None:
        return None
    filters = snapshot.specs("BGPFilter", BGPFilterSpec)
    return Declaration(
        name=name,
        plan=plan,
        filters={one: filters[one] for one in sorted(attached(plan) & filters.keys())},
        owners=owners_of(snapshot, [pack_prefix(one.cidr) for one in plan.listen_ranges]),
        relays=relays_of(snapshot),
    )


def errors_of(name: str, compiled: Plan) -> tuple[Problem, ...]:
    """The errors that concern this reflector: of itself, of what declares its sessions, of their filters.

    Those of a node do not: one node that is declared wrongly must not keep the others from being served.
    """
    plan = compiled.reflectors.get(name)
    if plan is None:
        known = ", ".join(sorted(compiled.reflectors)) or "none"
        message = "is not declared, so there is nothing to do for this process"
        return (Problem("error", "unknown-reflector", f"RouteReflector/{name}", "", message, f"declared: {known}"),)
    mine = {f"RouteReflector/{name}", *(f"BGPFilter/{one}" for one in attached(plan))}
    mine |= {declared_by(session) for session in plan.sessions}
    return tuple(problem for problem in errors(compiled.problems) if problem.object in mine)
