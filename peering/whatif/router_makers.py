"""Routers made from what the plan says of nodes, reflectors and switches."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping

from peering import addressing
from peering.facts import NodeFacts
from peering.graph import Graph
from peering.prefixes import Address, Prefix, contains, pack_prefix
from peering.resources.bgp_configuration import BGPConfigurationSpec
from peering.resources.fabric import SwitchSpec
from peering.route_filter import Community, parse_community
from peering.session import ReflectorPlan, Session, SpeakerPlan, SwitchPlan
from peering.snapshot import Snapshot
from peering.whatif.origins import Origin
from peering.whatif.policies import Filters, ReflectorPolicy, SpeakerPolicy, SwitchPolicy
from peering.whatif.routers import Router, packed
from peering.whatif.rule_sets import RuleSets

#: What no node learns: loopback, link-local and multicast space.
NEVER = tuple(map(pack_prefix, ("127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::1/128", "fe80::/10", "ff00::/8")))

_Communities = Callable[[Prefix], tuple[Community, ...]]


def make_routers(
    graph: Graph, origins: Mapping[str, tuple[Origin, ...]], filters: Filters, rule_sets: RuleSets
) -> dict[str, Router]:
    """The routers of the graph by id, without their sessions."""
    communities = _CommunitiesOf(graph.snapshot)
    made = [
        *(
            _node(graph.nodes[name], plan, origins[name], filters, rule_sets, communities)
            for name, plan in graph.speakers.items()
        ),
        *(_reflector(name, plan, filters) for name, plan in graph.reflectors.items()),
        *(_switch(name, plan, graph.snapshot, rule_sets) for name, plan in graph.switches.items()),
    ]
    return {router.id: router for router in made}


def _node(
    facts: NodeFacts,
    plan: SpeakerPlan,
    origins: tuple[Origin, ...],
    filters: Filters,
    rule_sets: RuleSets,
    communities: _CommunitiesOf,
) -> Router:
    uplinks = (addressing.bare(address) for _, address in facts.uplinks)
    policy = SpeakerPolicy(
        filters=filters,
        imports=rule_sets.of(plan.imports),
        refused=(*(o.prefix for o in origins), *map(pack_prefix, plan.uplink_subnets), *NEVER),
        blocks={o.prefix: o.exported for o in origins},
        communities=communities.of(facts.name),
        aggregates=_announced_whole(plan.aggregates, origins),
    )
    return Router(
        id=f"node/{facts.name}",
        kind="node",
        name=facts.name,
        asn=plan.asn,
        router_id=_number(plan.router_id),
        cluster=plan.cluster_id or "",
        policy=policy,
        transit=plan.cluster_id is not None,
        addresses={*_packed(plan.loopbacks), *_packed(uplinks), *_locals(plan.sessions)},
    )


def _announced_whole(pools: tuple[str, ...], origins: tuple[Origin, ...]) -> tuple[Prefix, ...]:
    """The pools in which the node has a block."""
    packed_pools = map(pack_prefix, pools)
    return tuple(pool for pool in packed_pools if any(o.pool is not None and contains(pool, o.prefix) for o in origins))


def _reflector(name: str, plan: ReflectorPlan, filters: Filters) -> Router:
    return Router(
        id=f"reflector/{name}",
        kind="reflector",
        name=name,
        asn=plan.asn,
        router_id=_number(plan.router_id),
        cluster=plan.cluster_id,
        policy=ReflectorPolicy(filters),
        transit=True,
        host=f"node/{plan.node}" if plan.node else None,
        addresses={*_packed(plan.addresses), *_locals(plan.sessions)},
    )


def _switch(name: str, plan: SwitchPlan, snapshot: Snapshot, rule_sets: RuleSets) -> Router:
    resource = snapshot.get("Switch", name)
    spec = resource.spec if resource else None
    own = [addressing.bare(a) for a in (*spec.addresses, *spec.link_addresses)] if isinstance(spec, SwitchSpec) else []
    policy = SwitchPolicy(
        accept=rule_sets.of(plan.accept),
        send=rule_sets.of(plan.send),
        announce=rule_sets.of(plan.announce),
        networks=frozenset(map(pack_prefix, plan.networks)),
        aggregates=tuple(map(pack_prefix, plan.aggregates)),
        downward=plan.downward,
        rack_paths=(_asns(plan, "node/"), _asns(plan, "reflector/")),
    )
    return Router(
        id=f"switch/{name}",
        kind="switch",
        name=name,
        asn=plan.asn,
        router_id=_number(plan.router_id),
        cluster=next((s.cluster_id for s in plan.sessions if s.cluster_id), plan.router_id),
        policy=policy,
        transit=True,
        addresses={*_packed(own), *_locals(plan.sessions)},
    )


def _asns(plan: SwitchPlan, kind: str) -> frozenset[int]:
    return frozenset(s.peer_asn for s in plan.sessions if s.type == "ebgp" and s.peer.startswith(kind))


def _number(router_id: str) -> int:
    return int(ipaddress.IPv4Address(router_id))


def _packed(addresses: Iterator[str] | tuple[str, ...] | list[str]) -> Iterator[Address]:
    return map(packed, addresses)


def _locals(sessions: tuple[Session, ...]) -> Iterator[Address]:
    return (packed(s.local_address) for s in sessions if s.local_address)


class _CommunitiesOf:
    """What `prefixAdvertisements` add to a node's own announcements: those of `node.NAME`, else of `default`."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._configurations = snapshot.specs("BGPConfiguration", BGPConfigurationSpec)
        self._made: dict[str, _Communities] = {}

    def of(self, node: str) -> _Communities:
        """Equal nodes get the same function."""
        for name in (f"node.{node}", "default"):
            if name in self._configurations and self._configurations[name].prefix_advertisements:
                if name not in self._made:
                    self._made[name] = _advertised(self._configurations[name])
                return self._made[name]
        return _none


def _none(prefix: Prefix) -> tuple[Community, ...]:
    return ()


def _advertised(configuration: BGPConfigurationSpec) -> _Communities:
    values = {community.name: community.value for community in configuration.communities}
    rules = [
        (pack_prefix(one.cidr), [parse_community(values.get(text, text)) for text in one.communities])
        for one in configuration.prefix_advertisements
    ]

    def of(prefix: Prefix) -> tuple[Community, ...]:
        found = [c for cidr, communities in rules if contains(cidr, prefix) for c in communities]
        return tuple(dict.fromkeys(found))

    return of
