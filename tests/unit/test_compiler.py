"""A compiler that remembers gives what one that starts anew gives; the order of the input is nothing to either."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peering.compile import Compiler, plan
from peering.resource import Resource
from peering.snapshot import Snapshot
from tests.unit.declarations import configuration, declare, host
from tests.unit.samples import node as rack_node
from tests.unit.samples import nodes, sample

EVERYTHING: tuple[Resource, ...] = (
    *sample("dual-tor"),
    *nodes(),
    host("rr-node", 9, cluster="1.0.0.1", rr=""),
    host("plain", 10, zone="a"),
    host("other", 11, zone="b"),
    declare("BGPPeer", "clients", nodeSelector="has(zone)", peerSelector="has(rr)", filters=["f"]),
    declare("BGPPeer", "border", peerIP="203.0.113.1", asNumber=65500, bfd="fast"),
    declare("BGPPeer", "border-again", peerIP="203.0.113.1", asNumber=65500, nodeSelector="has(zone)"),
    declare("BGPPeer", "to-rr", peerIP="10.9.0.1", asNumber=64512, nodeSelector="zone == 'b'"),
    declare("RouteReflector", "rr-1", addresses=["10.9.0.1"], nodeSelector="zone == 'a'"),
    declare("RouteReflector", "rr-2", addresses=["10.9.0.2"], upstream=["rr-1"], nodeSelector="has(rack)"),
    declare("BGPFilter", "f", exportV4=[{"action": "Reject"}]),
    declare("BFDProfile", "fast"),
)
BY_REF = {r.ref: r for r in EVERYTHING}

CHANGES: tuple[Resource, ...] = (
    configuration(nodeToNodeMeshEnabled=True, listenPort=1790),
    configuration(nodeToNodeMeshEnabled=False, asNumber=64999),
    declare("BGPConfiguration", "node.plain", listenPort=1791),
    rack_node(1, 2, 3),
    rack_node(2, 1, 2, zone="a"),
    host("plain", 10, zone="b"),
    host("plain", 12, ipv6=True, zone="a"),
    host("other", 11, cluster="1.0.0.2", rr=""),
    declare("BGPPeer", "clients", nodeSelector="has(zone)", peerSelector="has(rr)", reversePeering="Manual"),
    declare("BGPPeer", "border", peerIP="203.0.113.2", asNumber=65500),
    declare("BGPFilter", "f", importV4=[{"action": "Reject"}]),
    declare("BFDProfile", "fast", detectMultiplier=5),
    declare("RouteReflector", "rr-1", addresses=["10.9.0.1", "fd00:9::1"], nodeSelector="all()", holdTime=30),
    declare("IPPool", "more", cidr="10.250.0.0/16", nodeSelector="rack == 'rack-1'"),
)


def text(compiled: Any) -> str:
    return json.dumps(compiled.to_json())


def test_the_sample_has_sessions_of_every_source() -> None:
    compiled = plan(Snapshot([*EVERYTHING, *CHANGES[:1]]).with_changes(CHANGES[:1]))
    sources = {s.source.split("/")[0] for p in compiled.speakers.values() for s in p.sessions}
    assert sources == {"Rack", "BGPPeer", "reverse:BGPPeer", "RouteReflector", "mesh"}


@pytest.mark.parametrize("seed", range(20))
def test_the_order_of_the_input_does_not_matter(seed: int) -> None:
    shuffled = list(EVERYTHING)
    random.Random(seed).shuffle(shuffled)
    assert text(plan(Snapshot(shuffled))) == text(plan(Snapshot(EVERYTHING)))


STEPS = st.lists(
    st.one_of(st.sampled_from(CHANGES), st.sampled_from(sorted(BY_REF)), st.sampled_from(EVERYTHING)), max_size=6
)


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_what_is_remembered_changes_nothing(steps: list[Resource | str]) -> None:
    """Resources put in, taken out and put back, compiled one after the other by one compiler and anew."""
    compiler, snapshot = Compiler(), Snapshot(EVERYTHING)
    compiler.plan(snapshot)
    for step in steps:
        removed = [step] if isinstance(step, str) else []
        put = [] if isinstance(step, str) else [step]
        snapshot = snapshot.with_changes(put, removed)
        assert text(compiler.plan(snapshot)) == text(plan(snapshot))


def test_an_unchanged_node_keeps_its_very_plan() -> None:
    compiler, snapshot = Compiler(), Snapshot(EVERYTHING)
    before = compiler.plan(snapshot)
    after = compiler.plan(snapshot.with_changes([rack_node(1, 1, 1, extra="label")]))
    assert after.speakers["node-3"] is before.speakers["node-3"]
    assert after.switches["tor-2a"] is before.switches["tor-2a"]
