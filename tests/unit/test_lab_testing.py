"""`underlay lab test` where no lab is needed: wrong usage, what is looked for where, how commands get into nodes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from containerlab.topology_file import load_topology
from tests.unit.command_line import run_underlay
from underlay.fabric_lab import FabricLab
from underlay.lab_reach import CannotTell, TemplateReach, each, run
from underlay.lab_view import LabView

TOPOLOGY = """
name: small
topology:
  nodes:
    leaf: {kind: KIND, exec: [ip addr add 10.0.0.0/31 dev eth1, ip addr add 10.9.9.9/32 dev lo]}
    host: {kind: linux, exec: [ip addr add 10.0.0.1/31 dev eth1, ip -6 addr add fd00::1/127 dev eth1]}
  links:
    - endpoints: ["leaf:eth1", "host:eth1"]
"""


@pytest.fixture
def topology(tmp_path: Path) -> Path:
    path = tmp_path / "small.clab.yml"
    path.write_text(TOPOLOGY.replace("KIND", "linux"))
    return path


def reach(template: str) -> TemplateReach:
    loaded, _ = load_topology(TOPOLOGY.replace("KIND", "linux"), "small")
    assert loaded is not None
    return TemplateReach(template, loaded)


# Usage


def test_a_topology_without_expectations_is_wrong_usage(topology: Path) -> None:
    result = run_underlay("lab", "test", str(topology), "--exec", "true {node}")
    assert result.exit_code == 2
    assert "small.expect.yml" in result.stderr
    other = run_underlay("lab", "test", str(topology), "--exec", "true {node}", "--expect", "gone.yml")
    assert (other.exit_code, "gone.yml" in other.stderr) == (2, True)


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("docker exec leaf", "names neither"),
        ("docker exec {name}", "there is no {name}"),
        ("docker 'exec {node}", "No closing quotation"),
    ],
)
def test_a_template_that_leads_nowhere_is_wrong_usage(topology: Path, template: str, told: str) -> None:
    (topology.parent / "small.expect.yml").write_text("checks: [{sessions: all}]")
    result = run_underlay("lab", "test", str(topology), "--exec", template)
    assert result.exit_code == 2
    assert told in result.stderr


def test_mistakes_in_the_file_are_told_and_nothing_is_run(topology: Path) -> None:
    (topology.parent / "small.expect.yml").write_text("checks: [{fail: {power: leaf}}, {ping: {from: lef, to: host}}]")
    result = run_underlay("lab", "test", str(topology), "--exec", "no-such-program {node}", "-o", "junit")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        "error: small.expect.yml checks[0].fail.power: a node cannot be switched off by commands in it "
        "(`isolate` takes all its links down; without --exec, `power` works)",
        "error: small.expect.yml checks[1].ping.from: there is no node 'lef' (did you mean 'leaf'?)",
        "nothing was run",
    ]


def test_nodes_may_be_of_any_kind_where_something_else_runs_them(topology: Path) -> None:
    topology.write_text(TOPOLOGY.replace("KIND", "arista_ceos"))
    (topology.parent / "small.expect.yml").write_text("checks: [{command: {node: leaf, run: Cli, prints: EOS}}]")
    result = run_underlay("lab", "test", str(topology), "--exec", "echo EOS {container}")
    assert (result.exit_code, "1 tests: 1 passed" in result.stdout) == (0, True)
    refused = run_underlay("lab", "status", str(topology))
    assert (refused.exit_code, "cannot run in a namespace" in refused.stderr) == (1, True)


# How commands get there


def test_a_template_names_the_container_as_containerlab_does() -> None:
    assert reach("docker exec -i {container}").argv("leaf", ("ip", "-j", "route")) == (
        "docker", "exec", "-i", "clab-small-leaf", "ip", "-j", "route",
    )  # fmt: skip
    assert reach("docker exec {container}").argv("host/pod-1", ("true",))[2] == "clab-small-host-pod-1"
    assert reach("underlay lab exec {lab} {node} --").argv("host/pod-1", ("true",)) == (
        "underlay", "lab", "exec", "small", "host/pod-1", "--", "true",
    )  # fmt: skip


def test_a_command_that_does_not_exist_has_the_code_of_a_shell() -> None:
    done = asyncio.run(run(reach("no-such-program {node}"), "leaf", ("true",)))
    assert done.code == 127


def test_side_by_side_all_end_before_the_first_error_is_told() -> None:
    ended = []

    async def work(number: int) -> int:
        await asyncio.sleep(0.01 * number)
        ended.append(number)
        if number == 1:
            raise CannotTell("one")
        return number

    with pytest.raises(CannotTell, match="one"):
        asyncio.run(_all(work(1), work(3)))
    assert ended == [1, 3]
    assert asyncio.run(_all(work(4), work(2))) == [4, 2]


async def _all(*work: object) -> list[int]:
    return await each(work)  # type: ignore[arg-type]


# What is known without asking


def view(topology: Path, *files: Path) -> LabView:
    fabric = FabricLab(str(topology), files=list(files) or None, any_kind=True)
    return LabView(fabric, reach("true {node}"), ours=False)


def test_a_node_has_the_address_of_its_loopback_else_its_first(topology: Path) -> None:
    seen = view(topology)
    assert asyncio.run(seen.address("leaf", 4)) == "10.9.9.9"
    assert asyncio.run(seen.address("host", 6)) == "fd00::1"
    assert asyncio.run(seen.address("192.0.2.1", 4)) == "192.0.2.1"
    with pytest.raises(CannotTell, match="leaf has no IPv6 address"):
        asyncio.run(seen.address("leaf", 6))


def test_neighbors_are_known_by_address_and_by_interface(topology: Path) -> None:
    seen = view(topology)
    assert seen.owners == {"10.0.0.0": "leaf", "10.9.9.9": "leaf", "10.0.0.1": "host", "fd00::1": "host"}
    assert seen.far_ends("leaf") == {"eth1": "host"}
    assert seen.far_ends("host/pod-1") == {"eth0": "host"}


def test_a_node_of_which_no_sessions_are_known_cannot_be_asked_for_them(topology: Path) -> None:
    with pytest.raises(CannotTell, match="leaf: nothing is known there that speaks BGP"):
        asyncio.run(view(topology).sessions(["leaf"]))
