"""Pods of a node whose API server is gone: the real plugin, the node's agent and its store, on the stand-in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partialmethod
from pathlib import Path

import pytest

from ipam.block_order import address_at
from ipam.cni_service import CniService
from ipam.new_blocks import ensure_blocks
from peering.store.interest import speaker_interests
from peering.store.resources import load
from tests.kube_api.cluster import Cluster, run, until
from tests.kube_api.pauses import shorten
from tests.unit.cni_world import NODE, Folder, call
from tests.unit.test_kubernetes_ipam import Kept, ours
from tests.unit.test_node_pods import UP, VIEW
from underlay.node_pods import BlockClaims, CniPlaces, NodePods

#: What one call of the plugin may take while the server is away: its own start, and what finds out that it is.
AT_MOST_S = 8.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)
    monkeypatch.setattr(CniService, "keep_applying", partialmethod(CniService.keep_applying, 0.05))


class Agent:
    """The pods' side of a node agent, on a store of its own as a new process has."""

    def __init__(self, cluster: Cluster, folder: Folder, blocks: tuple[str, ...] | None) -> None:
        self.said: list[str] = []
        state = replace(UP, view=replace(VIEW, blocks=blocks) if blocks is not None else None)
        places = CniPlaces(folder.path / "net.d", folder.path / "bin", folder.socket, folder.queue)
        store = cluster.store(speaker_interests(NODE))
        self.pods = NodePods(store, NODE, places, lambda: state, BlockClaims(), self.said.append)

    @asynccontextmanager
    async def running(self, folder: Folder) -> AsyncIterator[Agent]:
        task = asyncio.create_task(self.pods.run())
        try:
            await until(folder.socket.exists)
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def held(cluster: Cluster) -> dict[str, str]:
    """By container."""
    found = {}
    for one in Kept(cluster.server).all("IPAMBlock"):
        spec = one.document["spec"]
        for a in spec.get("allocations", ()):
            found[a["handle"].rpartition(".")[2]] = address_at(spec["cidr"], a["ordinal"])
    return found


async def add(folder: Folder, container: str) -> str:
    started = time.monotonic()
    (ip,) = (await call(folder, "ADD", container)).result()["ips"]
    assert time.monotonic() - started < AT_MOST_S
    return str(ip["address"]).removesuffix("/32")


def test_pods_come_and_go_while_the_server_is_gone_and_all_heals_by_itself(tmp_path: Path) -> None:
    folder = Folder(tmp_path)

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            await cluster.server.put(ours("Node", NODE))
            await cluster.server.put(ours("IPPool", "pods", cidr="10.0.0.0/24", blockSize=28))
            store = cluster.store()
            ((node, *_), _, _), (pools, _, _) = await load(store, ("Node",)), await load(store, ("IPPool",))
            (block,) = await ensure_blocks(store, node, pools)

            def kept() -> int:
                return sum(one.document["spec"].get("kept", 0) for one in Kept(cluster.server).all("IPAMBlock"))

            async with Agent(cluster, folder, (block,)).running(folder):
                told = {"c1": await add(folder, "c1")}
                await until(lambda: kept() == 4)
                await cluster.server.stop()
                told["c2"] = await add(folder, "c2")
            async with Agent(cluster, folder, None).running(folder) as agent:  # it has never seen the server
                assert await add(folder, "c2") == told["c2"]
                told["c3"] = await add(folder, "c3")
                assert {told["c2"], told["c3"]} == {address_at(block, 12), address_at(block, 13)}
                (await call(folder, "DEL", "c1")).nothing()
                assert len(folder.queued()) == 1
                assert held(cluster) == {"c1": told.pop("c1")}
                await cluster.server.start()
                await until(lambda: held(cluster) == told)
                await until(lambda: not folder.queued())
                assert await add(folder, "c2") == told["c2"]
                assert await add(folder, "c4") not in told.values()
                assert len(held(cluster)) == 3
                said = [line for line in agent.said if "store" in line and "DEL of" not in line]
                assert [line.partition(" given")[2] != "" for line in said].count(True) == 1, said
            handles = {one.name.rpartition(".")[2] for one in Kept(cluster.server).all("IPAMHandle")}
            assert handles == {"c2", "c3", "c4"}

    run(story)
