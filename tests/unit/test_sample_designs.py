"""The samples are what people copy: nothing in them is wrong, and what they give is written down."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from fabric_templates.render import check, render
from peering.compile import plan
from peering.manifests import parse_manifests
from peering.resources.fabric import Design
from peering.session import Plan
from peering.snapshot import Snapshot
from tests.unit.samples import SAMPLES, nodes, sample
from underlay.fabric_lab import node_resource, read_topology, topology_path

GOLDEN = Path(__file__).parent / "golden" / "samples"
DOCS = Path(__file__).parents[2] / "docs"
NAMES = sorted(folder.name for folder in SAMPLES.iterdir())
#: Their nodes come from a topology.
WITHOUT_NODES = {"dual-tor", "dual-tor-ibgp"}
WITH_SWITCHES = [
    "as-per-cluster",
    "as-per-node",
    "bfd",
    "loopbacks",
    "rack-aggregate",
    "shared-subnet",
    "unnumbered",
]
#: What lint warns of, and the sample's own words explain.
EXPLAINED = {
    "bfd": {"ignored-field"},
    "calico-reflectors": {"speaker-cannot"},
    "unnumbered": {"speaker-cannot"},
}


def compiled(name: str) -> Plan:
    return plan(Snapshot([*sample(name), *(nodes() if name in WITHOUT_NODES else ())]))


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_has_no_problem_and_every_node_at_least_two_sessions(name: str) -> None:
    found = compiled(name)
    explained = EXPLAINED.get(name, set())
    assert [problem.line() for problem in found.problems if problem.code not in explained] == []
    assert {problem.severity for problem in found.problems} <= {"warning"}
    assert {problem.code for problem in found.problems} == explained
    text = "".join(file.read_text(encoding="utf-8") for file in (SAMPLES / name).iterdir())
    assert all(code in text for code in explained)
    assert len(found.speakers) >= 2
    assert min(len(speaker.sessions) for speaker in found.speakers.values()) >= 2


@pytest.mark.parametrize("name", NAMES)
def test_every_switch_of_a_sample_can_be_rendered(name: str) -> None:
    found = compiled(name)
    assert {n: check(n, switch) for n, switch in found.switches.items()} == dict.fromkeys(found.switches, ())


@pytest.mark.parametrize("name", WITH_SWITCHES)
def test_golden(name: str, equals_golden: Callable[[Path, str], None]) -> None:
    equals_golden(GOLDEN / f"{name}.conf", render("tor-1a", compiled(name).switches["tor-1a"])["frr.conf"])


def test_every_golden_file_has_its_sample() -> None:
    assert sorted(path.stem for path in GOLDEN.iterdir()) == WITH_SWITCHES
    assert {n for n in NAMES if compiled(n).switches} == {*WITH_SWITCHES, *WITHOUT_NODES}


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_says_what_it_is_for(name: str) -> None:
    texts = [file.read_text(encoding="utf-8") for file in sorted((SAMPLES / name).iterdir())]
    assert any(text.startswith("# ") for text in texts)
    assert f"config/samples/{name}`" in (DOCS / "designs.md").read_text(encoding="utf-8")


def test_the_nodes_of_a_sample_are_those_of_its_topology() -> None:
    declared = {r.name: r.to_document() for r in sample("as-per-cluster") if r.kind == "Node"}
    topology = read_topology(topology_path("as-per-cluster"))
    given = {node.name: node_resource(node).to_document() for node in topology.in_group("k8s-node")}
    assert declared == given


def examples() -> dict[str, str]:
    """The YAML of docs/designs.md, by the heading that it stands under."""
    text = (DOCS / "designs.md").read_text(encoding="utf-8")
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    blocks = {title: re.findall(r"^```yaml\n(.*?)^```$", body, re.M | re.S) for title, body in pairs(parts)}
    return {title: found[0] for title, found in blocks.items() if found}


def pairs(parts: list[str]) -> list[tuple[str, str]]:
    return list(zip(parts[1::2], parts[2::2], strict=True))


NODE = """
apiVersion: underlay.io/v1alpha1
kind: Node
metadata: {{name: node-{n}, labels: {{rack: rack-1}}}}
spec:
  bgp: {{ipv4Address: 10.0.11.{n}/32, asNumber: {asn}}}
  uplinks:
    - {{interface: eth1, addresses: [10.1.1.{host}/31]}}
    - {{interface: eth2, addresses: [10.1.2.{host}/31]}}
"""


def with_nodes(title: str) -> str:
    """The example with the nodes that it leaves out."""
    text = examples()[title]
    first = {"An AS per rack": 65101, "An AS per cluster": 64512, "An AS per node": 4200000001}.get(title, 65001)
    step = 1 if title == "An AS per node" else 0
    nodes = [NODE.format(n=n, asn=first + step * (n - 1), host=2 * n - 1) for n in (1, 2)]
    return "---".join([text, *(node for n, node in enumerate(nodes, 1) if f"name: node-{n}" not in text)])


@pytest.mark.parametrize("title", examples())
def test_the_yaml_of_each_design_is_whole_but_for_nodes(title: str) -> None:
    resources, problems = parse_manifests(with_nodes(title), title)
    assert problems == []
    found = plan(Snapshot(resources))
    assert [problem.line() for problem in found.problems] == []
    assert {name: len(speaker.sessions) for name, speaker in found.speakers.items()} == {"node-1": 2, "node-2": 2}


def test_every_design_has_its_yaml() -> None:
    designs = {re.search(r"design: (\S+)", text)[1] for text in examples().values()}  # type: ignore[index]
    assert designs == set(get_args(Design))
