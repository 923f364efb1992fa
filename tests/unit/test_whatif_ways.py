"""The ways that what-if finds are those of a plain simulation of every router, for any fabric and any failure."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peering.compile import Compiler
from peering.graph import Graph
from peering.prefixes import format_prefix
from peering.resource import Resource
from peering.snapshot import Snapshot
from peering.whatif.fabric import Fabric, fabric_of
from peering.whatif.situation import NOTHING, Failure
from peering.whatif.ways import Ways
from tests.unit.whatif_fabrics import fabrics
from tests.unit.whatif_oracle import Oracle


@dataclass(repr=False)
class Case:
    graph: Graph
    fabric: Fabric
    failure: Failure


def graph_of(resources: list[Resource]) -> Graph:
    return Compiler().graph(Snapshot(resources))[0]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    graph = graph_of(draw(fabrics()))
    fabric = fabric_of(graph)
    ours = (edge for edge in fabric.edges() if edge.sender.kind != "external")
    edges = sorted(ours, key=lambda e: (e.sender.id, e.near.name))
    links = sorted(
        {pair for pairs in fabric.links.pairs.values() for pair in pairs} | {e.pair for e in edges if e.pair}
    )
    failure = Failure(
        frozenset(draw(st.sets(st.sampled_from(sorted(fabric.routers)), max_size=2))),
        frozenset(draw(st.sets(st.sampled_from(links), max_size=1)) if links else ()),
        frozenset(draw(st.sets(st.sampled_from(edges), max_size=1)) if edges else ()),
    )
    return Case(graph, fabric, failure)


def oracle_of(case: Case, failure: Failure) -> Oracle:
    silent = {(edge.sender.id, edge.near.name) for edge in failure.sessions}
    return Oracle(case.graph, set(failure.routers), {frozenset(pair) for pair in failure.links}, silent)


def assert_same(case: Case, ways: Ways, failure: Failure) -> None:
    now, oracle = ways.situation(failure), oracle_of(case, failure)
    up = [node for node in case.fabric.nodes if now.situation.is_up(node)]
    for node in up:
        for origin in case.fabric.origins[node.id]:
            prefix = format_prefix(origin.prefix)
            for source in up:
                if source is not node:
                    way = now.way(source, node, origin)
                    assert (way.status, way.width) == oracle.way(source.id, prefix), (source, node, prefix, failure)
            inward, outward = now.from_outside(node, origin), now.to_outside(node, origin)
            if inward is not None and outward is not None:
                assert (inward.status, inward.width) == oracle.from_outside(prefix), (node, prefix, failure)
                default = "::/0" if origin.is_ipv6 else "0.0.0.0/0"
                assert (outward.status, outward.width) == oracle.way(node.id, default), (node, failure)


@settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(cases())
def test_every_way_is_that_of_the_plain_simulation(case: Case) -> None:
    ways = Ways(case.fabric)
    assert_same(case, ways, NOTHING)
    assert_same(case, ways, case.failure)
