"""Of many nodes those that decide about one: its plan is the same without all others."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peering.compile import plan
from peering.manifests import read_manifests
from peering.neighbours import around, neighbours
from peering.node_sessions import MAX_MESH
from peering.resource import Resource, parse_resource
from peering.snapshot import Snapshot

_SAMPLES = Path(__file__).parents[2] / "config" / "samples"
SAMPLES = sorted(path.parent for path in _SAMPLES.glob("*/nodes.yaml"))
_NODES = 9


def read(kind: str, name: str, spec: dict[str, Any], **labels: str) -> Resource:
    metadata = {"name": name, "labels": labels}
    found = parse_resource({"apiVersion": "underlay.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
    assert isinstance(found, Resource), found
    return found


def node(number: int, asn: int | None = None, cluster: str | None = None, **labels: str) -> Resource:
    bgp = {"ipv4Address": f"192.0.2.{number}/32", "asNumber": asn, "routeReflectorClusterID": cluster}
    return read("Node", f"n{number}", {"bgp": {name: value for name, value in bgp.items() if value}}, **labels)


def default(mesh: bool | None) -> Resource:
    spec: dict[str, Any] = {"asNumber": 64600}
    return read("BGPConfiguration", "default", spec if mesh is None else {**spec, "nodeToNodeMeshEnabled": mesh})


def anything(dice: random.Random) -> Iterator[Resource]:
    """A declaration in which nodes peer with nodes in many ways."""
    yield default(dice.choice([True, False, None]))
    for number in range(1, _NODES + 1):
        cluster = dice.choice([None, None, "244.0.0.1"])
        labels = {"rack": dice.choice(["r1", "r2", "r3"]), **({"reflector": "yes"} if cluster else {})}
        yield node(number, dice.choice([None, None, 64601]), cluster, **labels)
        if dice.random() < 0.3:
            yield read("BGPConfiguration", f"node.n{number}", {"listenPort": 1790 + number})
    for number in range(dice.randrange(4)):
        yield read("BGPPeer", f"p{number}", _peer(dice))
    if dice.random() < 0.5:
        switch = {"asNumber": 65001, "addresses": ["203.0.113.1/32"]}
        yield read("Switch", "s1", switch)
        yield read("Rack", "r1", {"nodeSelector": "rack == 'r1'", "switches": ["s1"]})
    if dice.random() < 0.5:
        yield read("RouteReflector", "rr", {"addresses": ["203.0.113.9"], "nodeSelector": "rack == 'r2'"})


def _peer(dice: random.Random) -> dict[str, Any]:
    selectors = ["all()", "rack == 'r1'", "rack == 'r2'", "has(reflector)", "!has(reflector)", "rack == 'none'"]
    spec: dict[str, Any] = {}
    if dice.random() < 0.5:
        spec["peerSelector"] = dice.choice(selectors)
        spec["reversePeering"] = dice.choice(["Auto", "Manual"])
    else:
        spec["peerIP"] = f"192.0.2.{dice.randrange(1, _NODES + 3)}"
        spec |= dice.choice([{"asNumber": 64600}, {"asNumber": 64601}, {"dynamicASNumber": "internal"}])
    match dice.randrange(4):
        case 0:
            spec["node"] = f"n{dice.randrange(1, _NODES + 2)}"
        case 1 | 2:
            spec["nodeSelector"] = dice.choice(selectors)
    return spec


def check(resources: list[Resource]) -> list[int]:
    """How many nodes were left out for each node."""
    known = Snapshot(resources)
    whole = plan(known).speakers
    left_out = []
    for name, speaker in whole.items():
        near = around(name, known)
        assert plan(near).speakers[name] == speaker, name
        left_out.append(len(whole) - len(near.all("Node")))
    return left_out


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_the_plan_of_a_node_is_that_of_its_neighbourhood(sample: Path) -> None:
    check(read_manifests([str(sample)])[0])


def test_whatever_is_declared() -> None:
    dice, left_out = random.Random(7), list[int]()
    for _ in range(300):
        left_out += check([*anything(dice)])
    assert {0, _NODES - 1} < {*left_out}, "all of them are needed, or none, or some"


def test_who_decides() -> None:
    nodes = [node(number, rack=f"r{number % 2}") for number in range(1, 7)]
    client = {"peerSelector": "has(reflector)", "nodeSelector": "all()"}
    reflector = node(9, cluster="244.0.0.1", reflector="yes")
    cases: list[tuple[list[Resource], set[str]]] = [
        ([default(False)], {"n1"}),
        ([default(True)], {f"n{number}" for number in range(1, 7)}),
        ([default(False), reflector, read("BGPPeer", "p", client)], {"n1", "n9"}),
        ([default(False), read("BGPPeer", "p", {"peerIP": "192.0.2.4", "asNumber": 64600})], {"n1", "n4"}),
        ([default(False), read("BGPPeer", "p", {"peerSelector": "rack == 'r1'", "node": "n2"})], {"n1", "n2"}),
        (
            [default(None), read("RouteReflector", "rr", {"addresses": ["203.0.113.9"], "nodeSelector": "all()"})],
            {"n1"},
        ),
    ]
    for more, wanted in cases:
        assert neighbours("n1", Snapshot([*nodes, *more])) == wanted


def test_a_mesh_that_is_too_large_is_so_for_each_of_its_nodes() -> None:
    nodes = [
        read("Node", f"n{number}", {"bgp": {"ipv4Address": f"10.0.{number // 250}.{number % 250}/32"}})
        for number in range(MAX_MESH + 1)
    ]
    known = Snapshot([default(True), *nodes])
    assert {one.code for one in plan(around("n1", known)).problems} >= {"mesh-too-large"}


def test_a_node_that_is_not_there_has_no_neighbours() -> None:
    known = Snapshot([default(True), node(1), node(2)])
    assert not around("n3", known).all("Node")
    assert not around("n3", Snapshot([default(True), node(1)])).all("Node")
