"""The sample fabric with its four nodes, for tests that need a whole declaration."""

from __future__ import annotations

from pathlib import Path

from peering.manifests import parse_manifests, read_manifests
from peering.resource import Resource
from peering.snapshot import Snapshot

SAMPLES = Path(__file__).parents[2] / "config" / "samples"


def node(number: int, rack: int, seat: int, **labels: str) -> Resource:
    """node-N in rack-R, on the links of the lab's address plan."""
    low = 2 * (seat - 1)
    text = f"""
apiVersion: underlay.io/v1alpha1
kind: Node
metadata: {{name: node-{number}, labels: {{rack: rack-{rack}}}}}
spec:
  bgp: {{ipv4Address: 10.0.1{rack}.{seat}/32, ipv6Address: 'fd00:0:1{rack}::{seat}/128'}}
  uplinks:
    - {{interface: eth1, addresses: [10.{rack}.1.{low + 1}/31, 'fd00:{rack}:1::{low + 1:x}/127']}}
    - {{interface: eth2, addresses: [10.{rack}.2.{low + 1}/31, 'fd00:{rack}:2::{low + 1:x}/127']}}
"""
    resources, problems = parse_manifests(text, "node")
    assert problems == []
    return resources[0]


def nodes() -> list[Resource]:
    return [node(1, 1, 1), node(2, 1, 2), node(3, 2, 1), node(4, 2, 2)]


def sample(name: str) -> list[Resource]:
    """The resources of config/samples/NAME."""
    resources, problems = read_manifests([SAMPLES / name])
    assert problems == []
    return resources


def dual_tor(name: str = "dual-tor") -> Snapshot:
    """The sample with its nodes."""
    return Snapshot([*sample(name), *nodes()])
