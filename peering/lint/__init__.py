"""Problems of the whole topology: what only shows when every session is known.

Checks stand in tables by what they look at. A check is a function from an object, or from the whole graph, to problems;
codes are stable, and docs/problems.md has a section for each.

    NODE_CHECKS       a node with its sessions, and its rack; kept while these are the same objects
    SWITCH_CHECKS     a switch with its sessions
    REFLECTOR_CHECKS  a reflector with its sessions
    OBJECT_CHECKS     a declared object by itself, and the names that it may refer to; kept likewise
    RESOURCE_CHECKS   a declared object against the graph
    GRAPH_CHECKS      the graph: indices over all nodes, never every pair of them

Sessions are walked over once (digest.py). Each problem is of one object; who prints many that say the same puts them
together (problem_groups.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from peering.facts import NodeFacts
from peering.graph import Graph
from peering.lint import (
    aggregates,
    as_numbers,
    both_ends,
    capacity,
    coverage,
    filters,
    identity,
    ignored_fields,
    pod_cidrs,
    pools,
    references,
    reflection,
    speaker,
    timers,
)
from peering.lint.digest import (
    NodeDigest,
    ReflectorDigest,
    SwitchDigest,
    node_digest,
    reflector_digest,
    switch_digest,
)
from peering.lint.references import Declared
from peering.lint.view import View
from peering.memo import Memo
from peering.problems import Problem, ordered
from peering.resource import Resource
from peering.resources.fabric import RackSpec
from peering.session import SpeakerPlan

__all__ = ["Memo", "check"]

Problems = Iterable[Problem]

NODE_CHECKS: tuple[Callable[[NodeDigest, RackSpec | None], Problems], ...] = (
    coverage.node_without_session,
    coverage.single_session,
    as_numbers.node_against_design,
)

SWITCH_CHECKS: tuple[Callable[[SwitchDigest, View], Problems], ...] = (capacity.over_budget,)

REFLECTOR_CHECKS: tuple[Callable[[ReflectorDigest, View], Problems], ...] = (reflection.route_leak,)

_TIMERS = (timers.silent_death, timers.bfd_with_graceful_restart, timers.bfd_without_use, timers.hold_time)
_NAMES = (references.unknown_filter, references.unknown_bfd_profile, references.missing_secret)

OBJECT_CHECKS: dict[str, tuple[Callable[[Resource, Declared], Problems], ...]] = {
    "BGPConfiguration": (ignored_fields.ignored_fields, references.missing_secret, timers.mesh_silent_death),
    "BGPPeer": (ignored_fields.ignored_fields, speaker.link_local_peer, *_NAMES, *_TIMERS),
    "IPAMConfiguration": (ignored_fields.ignored_fields, ignored_fields.ignored_ipam_configuration),
    "IPPool": (ignored_fields.ignored_fields,),
    "Node": (ignored_fields.ignored_drain,),
    "Rack": (ignored_fields.ignored_fields, speaker.unnumbered_rack, *_NAMES, *_TIMERS),
    "RouteReflector": (ignored_fields.ignored_fields, *_NAMES, *_TIMERS),
    "Switch": (references.missing_login,),
}

RESOURCE_CHECKS: dict[str, tuple[Callable[[Resource, View], Problems], ...]] = {
    "BGPConfiguration": (ignored_fields.ignored_configuration,),
    "BGPPeer": (coverage.empty_peer, capacity.max_prefixes_of_all, ignored_fields.ignored_next_hop),
    "IPPool": (coverage.empty_pool, pools.unannounced_pool),
    "IPReservation": (ignored_fields.ignored_reservation,),
    "Rack": (coverage.single_tor, coverage.empty_rack, capacity.max_prefixes),
    "RouteReflector": (as_numbers.fabric_peers, coverage.empty_reflector, capacity.max_prefixes),
    "Switch": (as_numbers.fabric_peers, both_ends.one_sided_rack_mates),
}

GRAPH_CHECKS: tuple[Callable[[View], Problems], ...] = (
    aggregates.hidden_failures,
    aggregates.outside_of_a_rack,
    aggregates.stranded_blocks,
    as_numbers.shared_as,
    as_numbers.shared_tor_as,
    as_numbers.own_as_in_path,
    both_ends.ends_disagree,
    filters.dead_rules,
    identity.duplicate_addresses,
    identity.duplicate_router_ids,
    pod_cidrs.mixed,
    pod_cidrs.shared,
    pod_cidrs.unusable,
    pools.pool_exhausted,
    pools.pool_overlap,
    reflection.kept_next_hop,
    reflection.mesh,
    reflection.node_route_leak,
    reflection.shared_cluster_id,
    reflection.single_reflector,
    reflection.unreachable_next_hop,
    speaker.reflecting_nodes,
)


def check(graph: Graph, memo: Memo | None = None) -> tuple[Problem, ...]:
    """Every problem that every check finds, in order. `memo` keeps what does not change between two graphs."""
    memo = memo or Memo()
    found = list(_found(graph, memo))
    memo.turn()
    return ordered(found)


def _found(graph: Graph, memo: Memo) -> Iterator[Problem]:
    nodes = memo.table("nodes")
    judged = {
        name: nodes.get(name, (facts, graph.speakers[name], graph.racks.get(facts.rack or "")), _judge_node)
        for name, facts in graph.nodes.items()
    }
    switches, reflectors = memo.table("switches"), memo.table("reflectors")
    view = View(
        graph,
        nodes={name: digest for name, (digest, _) in judged.items()},
        switches={n: switches.get(n, (n, plan), switch_digest) for n, plan in graph.switches.items()},
        reflectors={n: reflectors.get(n, (n, plan), reflector_digest) for n, plan in graph.reflectors.items()},
        memo=memo,
    )
    for _, problems in judged.values():
        yield from problems
    yield from _of_objects(graph, memo)
    for kind, resource_checks in RESOURCE_CHECKS.items():
        for resource in graph.snapshot.all(kind).values():
            for judge_resource in resource_checks:
                yield from judge_resource(resource, view)
    for switch in view.switches.values():
        for judge_switch in SWITCH_CHECKS:
            yield from judge_switch(switch, view)
    for reflector in view.reflectors.values():
        for judge_reflector in REFLECTOR_CHECKS:
            yield from judge_reflector(reflector, view)
    for judge_graph in GRAPH_CHECKS:
        yield from judge_graph(view)


def _judge_node(
    facts: NodeFacts, speaker: SpeakerPlan, rack: RackSpec | None
) -> tuple[NodeDigest, tuple[Problem, ...]]:
    digest = node_digest(facts, speaker)
    return digest, tuple(problem for judge in NODE_CHECKS for problem in judge(digest, rack))


def _of_objects(graph: Graph, memo: Memo) -> Iterator[Problem]:
    declared = Declared.of(graph.snapshot)
    kept = memo.table("objects")
    for kind in OBJECT_CHECKS:
        for resource in graph.snapshot.all(kind).values():
            yield from kept.get(resource.ref, (resource, declared), _judge_object)


def _judge_object(resource: Resource, declared: Declared) -> tuple[Problem, ...]:
    return tuple(problem for judge in OBJECT_CHECKS[resource.kind] for problem in judge(resource, declared))
