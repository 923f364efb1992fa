"""Two real controllers on a cluster: one is killed while it frees what nodes have left, the other goes on."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from ipam.allocator import Allocator
from ipam.requests import Request
from tests.kube_api.cluster import Cluster, run, until
from tests.kube_api.faults import Fault
from tests.unit.ipam_world import Rules
from tests.unit.kube_processes import leader, rights_of, started
from tests.unit.test_kubernetes_ipam import Kept, ours

IPAM = {f"{plural}.underlay.io" for plural in ("ipamblocks", "ipamhandles", "blockaffinities")}
CONTROLLER = ("controller", "--store", "kubernetes", "--grace", "0", "--leak-grace", "0")
PODS = 6


class World:
    """Three nodes with pods; what breaks a rule of IPAM after any commit is in `broken`."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.broken: list[str] = []
        self.kept = Kept(cluster.server)
        self._rules = Rules(self.kept)  # type: ignore[arg-type]

    async def declare(self) -> None:
        server = self.cluster.server
        for node in "abc":
            await server.put(ours("Node", node))
        await server.put(ours("IPPool", "pods", cidr="10.0.0.0/26", blockSize=29))
        happened = server.objects._happened

        async def judged(event: Any) -> None:
            await happened(event)
            try:
                self._rules.check()
            except AssertionError as error:
                self.broken.append(str(error))

        server.objects._happened = judged  # type: ignore[method-assign]
        for node in "abc":
            await self.add_pods(node)

    async def add_pods(self, node: str) -> list[str]:
        allocator = Allocator(self.cluster.store(), node)
        given = [await allocator.allocate(Request(f"pod-{node}-{number}", pod="p")) for number in range(PODS)]
        return [one.address for (one,) in given]

    def addresses(self, node: str) -> dict[str, tuple[str, int, int]]:
        """Handle -> address of what is in use in the node's blocks, with the version of the gift."""
        blocks = [one.document["spec"] for one in self.kept.all("IPAMBlock")]
        return {
            a["handle"]: (spec["cidr"], a["ordinal"], a["sequence"])
            for spec in blocks
            for a in spec.get("allocations", ())
            if a["handle"].startswith(f"pod-{node}-")
        }

    def nodes(self) -> set[str]:
        return {one.document["spec"]["node"] for one in self.kept.all("BlockAffinity")}

    def handles(self) -> set[str]:
        return {one.document["spec"]["handle"] for one in self.kept.all("IPAMHandle")}


@pytest.mark.parametrize("write", [1, 4])
def test_a_leader_that_is_killed_in_the_middle_of_a_collection_is_followed(write: int, tmp_path: Path) -> None:
    """Its last write is done and nobody hears of it. A node that comes meanwhile keeps what it gets."""

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            world, server = World(cluster), cluster.server
            await world.declare()
            untouched, writes, killed = world.addresses("c"), 0, list[int]()
            server.used.clear()

            def kill(verb: str, resource: str) -> Fault | None:
                nonlocal writes
                if killed or resource not in IPAM or verb not in ("update", "delete"):
                    return None
                writes += 1
                if writes < write:
                    return None
                killed.append(leader(cluster))
                os.kill(killed[0], signal.SIGKILL)
                return Fault(500, late=True)

            server.faults.next_fault = kill
            async with started(cluster, tmp_path, "one", *CONTROLLER) as one:
                await until(lambda: leader(cluster) == one.pid, 30)
                async with started(cluster, tmp_path, "two", *CONTROLLER) as two:
                    await until(lambda: server.requests["get", "leases.coordination.k8s.io"] > 4, 30)
                    for node in "ab":
                        await server.remove("nodes", node)
                    await until(lambda: bool(killed), 30)
                    assert killed == [one.pid]
                    assert await one.wait() == -signal.SIGKILL
                    await until(lambda: leader(cluster) == two.pid, 30)
                    used = set(server.used)
                    await server.put(ours("Node", "d"))
                    await world.add_pods("d")
                    mine = world.addresses("d")
                    wanted = {f"pod-{node}-{number}" for node in "cd" for number in range(PODS)}
                    await until(lambda: world.nodes() == {"c", "d"} and world.handles() == wanted, 30)
                    assert (world.addresses("c"), world.addresses("d")) == (untouched, mine)
                    assert {*world.addresses("a"), *world.addresses("b")} == set()
            assert world.broken == []
            freed = [line.split(" ", 1)[1] for name in ("one", "two") for line in _lines(tmp_path / f"{name}.log")]
            assert len(set(freed)) == len(freed), "freed twice"
            assert used <= rights_of("underlay-controller")

    run(story, 120)


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if " freed" in line]
