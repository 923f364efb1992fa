"""IPAM on the store of a cluster: its rules hold after every single commit of an API server that fails all the time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ipam.allocator import Allocator
from ipam.collector import Collector
from ipam.requests import Request
from peering.store.kubernetes import api
from peering.store.protocol import Document, Stored, StoreError
from tests.kube_api.cluster import Cluster, run
from tests.kube_api.faults import Fault, every_third
from tests.kube_api.server import ApiServer
from tests.unit.ipam_world import Rules

T = TypeVar("T")
NODES = ("a", "b", "c")
NOTHING: tuple[Fault, ...] = ()
REFUSED = (Fault(500), Fault(429, retry_after="0"), Fault(0))
LOST = (Fault(500, late=True), Fault(503, late=True), Fault(0, late=True))


class Kept:
    """What the server keeps, for the rules to look at."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server

    @property
    def version(self) -> int:
        return self._server.objects.revision

    def all(self, kind: str) -> list[Stored]:
        found = [one for one in self._server.objects.documents.values() if one["kind"] == kind]
        return [Stored(kind, one["metadata"]["name"], 0, one) for one in found]


def ours(kind: str, name: str, **spec: Any) -> Document:
    return {"apiVersion": "underlay.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


async def declared(cluster: Cluster) -> None:
    """Three nodes, and a pool of eight blocks of eight; its rules are judged from then on."""
    for node in NODES:
        await cluster.server.put(ours("Node", node))
    await cluster.server.put(ours("IPPool", "pods", cidr="10.0.0.0/26", blockSize=29))
    rules = Rules(Kept(cluster.server))  # type: ignore[arg-type]
    objects = cluster.server.objects
    happened = objects._happened

    async def judged(event: Any) -> None:
        await happened(event)
        rules.check()

    objects._happened = judged  # type: ignore[method-assign]


async def surely(work: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """As a container runtime does: what has failed is asked for again."""
    for _ in range(50):
        try:
            return await work(*arguments)
        except StoreError:
            continue
    raise AssertionError("it never succeeds")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_REQUEST_S", 0.5)
    monkeypatch.setattr(api, "_FIRST_PAUSE_S", 0.002)
    monkeypatch.setattr(api, "_LAST_PAUSE_S", 0.01)


@pytest.mark.parametrize("faults", [NOTHING, REFUSED, LOST], ids=["healthy", "refused", "answers-lost"])
def test_addresses_are_given_once_and_given_back(faults: tuple[Fault, ...], tmp_path: Path) -> None:
    async def live(allocator: Allocator, node: str, told: dict[str, str]) -> None:
        for number in range(6):
            handle = f"pod-{node}-{number}"
            (given,) = await surely(allocator.allocate, Request(handle, pod="p"))
            told[handle] = given.address
            if number % 3 == 2:
                await surely(allocator.release, handle)
                del told[handle]

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            await declared(cluster)
            if faults:
                cluster.server.faults.next_fault = every_third(*faults)
            told: dict[str, str] = {}
            allocators = {node: Allocator(cluster.store(interests=()), node) for node in NODES}
            await asyncio.gather(*(live(allocators[node], node, told) for node in NODES))
            assert len(set(told.values())) == len(told) == 12
            for node in NODES:
                for handle in [one for one in told if one.startswith(f"pod-{node}")]:
                    (again,) = await surely(allocators[node].allocate, Request(handle, pod="p"))
                    assert again.address == told[handle]
                    await surely(allocators[node].release, handle)
            held = [
                a for one in Kept(cluster.server).all("IPAMBlock") for a in one.document["spec"].get("allocations", ())
            ]
            assert held == []

    run(story, 40)


def test_what_a_node_leaves_is_collected_by_one_of_two_controllers(tmp_path: Path) -> None:
    """One is killed in the middle of it, and the other goes on."""

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            await declared(cluster)
            for node in NODES:
                await Allocator(cluster.store(), node).allocate(Request(f"pod-{node}", pod="p"))
            first, second = (Collector(cluster.store(interests=()), grace=1.0, leak_grace=1.0) for _ in range(2))
            for collector in (first, second):
                assert await collector.collect(0.0) == []
            await cluster.server.remove("nodes", "a")
            await cluster.server.remove("nodes", "b")
            deleted = 0

            def kill(verb: str, resource: str) -> None:
                nonlocal deleted
                deleted += verb in ("update", "delete")
                if deleted == 3:
                    killed.cancel()

            for collector in (first, second):
                while len(collector._seen) < 2:
                    await collector.collect(1.0)
            cluster.server.faults.next_fault = kill
            killed = asyncio.ensure_future(first.collect(10.0))
            with pytest.raises(asyncio.CancelledError):
                await killed
            cluster.server.faults.next_fault = lambda verb, resource: None
            moment = 10.0
            while {one.document["spec"]["node"] for one in Kept(cluster.server).all("BlockAffinity")} != {"c"} or len(
                Kept(cluster.server).all("IPAMHandle")
            ) != 1:
                moment += 10.0
                await second.collect(moment)
            (handle,) = Kept(cluster.server).all("IPAMHandle")
            assert handle.name == "pod-c"

    run(story, 40)
