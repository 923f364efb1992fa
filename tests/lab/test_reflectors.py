"""Route reflectors in the cluster: all pods reach each other, and killing either reflector loses no packet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.running_lab import RunningLab, prefixes, wait_until
from tests.lab.test_as_per_cluster import unreached

_RUN_DIR = Path("/run/underlay-test")
REFLECTORS = ("rr-1", "rr-2")


@pytest.fixture(scope="module")
def reflector_lab() -> Iterator[RunningLab]:
    lab = RunningLab("reflectors", f"r{os.getpid()}", _RUN_DIR)
    try:
        lab.up()
        yield lab
    finally:
        left = lab.down()
        if _RUN_DIR.exists() and not any(_RUN_DIR.iterdir()):
            _RUN_DIR.rmdir()
    assert left == []


def reflector_pid(lab: RunningLab, name: str) -> int | None:
    """The pid of the reflector itself: beside it runs the worker that compiles its plan."""
    daemons = {daemon.name: daemon.pid for daemon in lab.fabric.lab.init(name).status()}
    return daemons["reflector"]


def up_since(lab: RunningLab, reflector: str) -> dict[tuple[str, str], str | None]:
    """Of every session with a reflector, by node and session, since when the node has it up; None: it is down."""
    status = lab.status()
    return {
        (node, row["session"]): row["since"] if row["state"] == "Established" else None
        for node in lab.nodes()
        for row in status[node]["sessions"]
        if row["session"].startswith(f"{reflector}-")
    }


def test_every_node_has_every_others_blocks_with_its_address_as_next_hop(reflector_lab: RunningLab) -> None:
    """RFC 4456, 10: a reflector leaves the next hop as it is."""
    nodes = reflector_lab.nodes()
    assert len(nodes) == 6
    blocks = reflector_lab.all_blocks()
    plan = reflector_lab.plan()
    for version in (4, 6):
        addresses = {
            node: {s.local_address for s in plan.speakers[node].sessions if (":" in s.peer_address) is (version == 6)}
            for node in nodes
        }
        for node in nodes:
            others = {b: addresses[n] for n in nodes if n != node for b in prefixes(blocks[n], version)}
            assert len(others) == 5
            assert reflector_lab.learned_routes(node, version) == others


def test_pods_of_all_nodes_reach_each_other(reflector_lab: RunningLab) -> None:
    assert unreached(reflector_lab) == []


def all_new(now: dict[tuple[str, str], str | None], before: dict[tuple[str, str], str | None]) -> bool:
    return all(now[session] not in (None, before[session]) for session in before)


def all_routes(lab: RunningLab) -> dict[tuple[str, int], dict[str, set[str]]]:
    return {(node, version): lab.learned_routes(node, version) for node in lab.nodes() for version in (4, 6)}


@pytest.mark.parametrize(("reflector", "version"), [("rr-1", 4), ("rr-2", 6)])
def test_a_reflector_is_killed_and_comes_back_and_no_packet_is_lost(
    reflector_lab: RunningLab, reflector: str, version: int
) -> None:
    near, far = reflector_lab.pod("node-1"), reflector_lab.pod("node-6")
    routes = all_routes(reflector_lab)
    (other,) = set(REFLECTORS) - {reflector}
    before, untouched = up_since(reflector_lab, reflector), up_since(reflector_lab, other)
    assert len(before) == len(untouched) == 12
    with reflector_lab.traffic(near.namespace, far, version) as seen:
        old = reflector_pid(reflector_lab, reflector)
        assert old is not None
        reflector_lab.kill(old)
        wait_until("new sessions", lambda: all_new(up_since(reflector_lab, reflector), before), 60)
        reflector_lab.wait_converged(60)
    assert reflector_pid(reflector_lab, reflector) not in (None, old)
    assert up_since(reflector_lab, other) == untouched
    print(f"{reflector} killed: worst gap {seen.worst_gap_ms:.0f} ms, {seen.lost} of {seen.sent} lost")
    assert seen.sent > 0
    assert seen.lost == 0
    assert all_routes(reflector_lab) == routes
    assert unreached(reflector_lab) == []
