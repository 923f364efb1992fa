"""Nodes that go and come back, and nodes taken for each other: real agents on a cluster, their kernel made up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bgp_speaker import node_status
from bgp_speaker.agent import Speaker
from ipam.allocator import Allocator
from ipam.new_blocks import ensure_blocks
from ipam.requests import Request
from peering.manifests import read_manifests
from peering.problems import Problem
from peering.resource import Resource
from peering.store.interest import speaker_interests
from peering.store.protocol import Document, Event, Store
from tests.kube_api.cluster import Cluster, run, until
from tests.unit.kube_processes import rights_of
from tests.unit.samples import SAMPLES
from tests.unit.test_agent import FakeExaBGP, FakeRoutes, _small_world  # noqa: F401 - a fixture
from underlay import controller
from underlay.controller import Controller, Graces
from underlay.node_events import NodeEvents
from underlay.statuses import Statuses

NAME = "node-1"
UPLINKS = {
    NAME: "eth1=10.1.1.1/31,fd00:1:1::1/127;eth2=10.1.2.1/31,fd00:1:2::1/127",
    "node-2": "eth1=10.1.1.3/31,fd00:1:1::3/127;eth2=10.1.2.3/31,fd00:1:2::3/127",
}


def kubernetes_node(name: str = NAME, address: str = "10.0.11.1") -> Document:
    annotations = {"underlay.io/uplinks": UPLINKS[name], "projectcalico.org/IPv4Address": f"{address}/32"}
    metadata = {"name": name, "labels": {"rack": "rack-1"}, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {}, "status": {}}


async def claim(store: Store, node: Resource, pools: tuple[Resource, ...]) -> None:
    await ensure_blocks(store, node, pools)


class Fabric:
    """The sample dual-tor in a cluster whose nodes are Kubernetes' own."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.server = cluster.server
        self.said: list[str] = []
        self._folder = folder

    async def declare(self) -> None:
        for resource in read_manifests([SAMPLES / "dual-tor"])[0]:
            await self.server.put(resource.to_document())
        await self.server.put(kubernetes_node(), group="")

    @asynccontextmanager
    async def speaker(self, machine: str = "m", log: list[str] | None = None) -> AsyncIterator[Speaker]:
        """An agent of node-1 on a machine."""
        store, said = self.cluster.store(speaker_interests(NAME)), self.said if log is None else log
        agent = Speaker(NAME, store, self._folder / machine, claim, said.append)
        task = asyncio.create_task(agent.run())
        try:
            yield agent
        finally:
            agent.stop()
            await asyncio.wait_for(task, 10)

    @asynccontextmanager
    async def controller(self, grace: float) -> AsyncIterator[None]:
        made = Controller(self.cluster.store(()), self.said.append, Graces(grace, grace), None, False)
        task = asyncio.create_task(made.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def specs(self, plural: str) -> list[Document]:
        resource = self.server.resource(plural)
        return [one["spec"] for one in self.server.objects.of(resource)]

    def owned(self) -> set[str]:
        return {one["cidr"] for one in self.specs("blockaffinities") if one.get("state") == "confirmed"}

    def report(self) -> Document:
        return next(iter(self.specs("bgpnodestatuses")), {})

    def events(self, reason: str) -> list[Document]:
        resource = self.server.resource("events", "events.k8s.io")
        return [one for one in self.server.objects.of(resource) if one["reason"] == reason]

    def is_settled(self) -> bool:
        """Two blocks, which the kernel and the report have, too."""
        owned = self.owned()
        return (
            len(owned) == 2
            and set(self.report().get("blocks", ())) == owned
            and bool(FakeRoutes.made[-1].written)
            and set(FakeRoutes.made[-1].written[-1][0]) == owned
            and len(self.report().get("sessions", ())) == 4
        )


def told(tmp_path: Path, story: Callable[[Fabric], Awaitable[None]]) -> None:
    async def work() -> None:
        async with Cluster(tmp_path) as cluster:
            fabric = Fabric(cluster, tmp_path)
            await fabric.declare()
            await story(fabric)

    run(work)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller, "_COLLECT_PAUSE_S", 0.05)


def test_a_node_that_comes_back_in_time_has_what_it_had(tmp_path: Path) -> None:
    """The object is another one, with another uid: names are what counts. Meanwhile there is no session."""

    async def story(fabric: Fabric) -> None:
        async with fabric.controller(grace=60), fabric.speaker():
            await until(fabric.is_settled)
            before, first = fabric.owned(), FakeExaBGP.made[-1]
            uid = fabric.server.kept("nodes", NAME, group="")["metadata"]["uid"]
            await fabric.server.remove("nodes", NAME, group="")
            await until(lambda: first.calls[-1] == "stop")
            await until(lambda: bool(fabric.report()) and not fabric.report().get("sessions"))
            assert FakeRoutes.made[-1].written[-1][0] == ()
            assert fabric.owned() == before
            await fabric.server.put(kubernetes_node(), group="")
            assert fabric.server.kept("nodes", NAME, group="")["metadata"]["uid"] != uid
            await until(fabric.is_settled)
            assert fabric.owned() == before
            assert FakeExaBGP.made[-1] is not first
            assert FakeExaBGP.made[-1].configured() == first.configured()

    told(tmp_path, story)


def test_a_node_that_comes_back_late_claims_anew_and_announces_nothing_else(tmp_path: Path) -> None:
    """Its blocks were freed, and its pods are gone with its Node; what others have taken meanwhile is theirs."""

    async def story(fabric: Fabric) -> None:
        async with fabric.speaker():
            await until(fabric.is_settled)
            before, store = fabric.owned(), fabric.cluster.store()
            async with fabric.controller(grace=0.1):
                await fabric.server.put(kubernetes_node("node-2", "10.0.11.2"), group="")
                await Allocator(store, NAME).allocate(Request("old", pod="old"))
                await fabric.server.remove("nodes", NAME, group="")
                await until(lambda: not fabric.owned() and not fabric.specs("ipamhandles"))
                for block in before:
                    assert FakeRoutes.made[-1].written[-1][0] == (), block
                (given,) = await Allocator(store, "node-2").allocate(Request("other", pod="p"))
                await fabric.server.put(kubernetes_node(), group="")
                mine = [one for one in fabric.specs("blockaffinities") if one["node"] == "node-2"]
                await until(lambda: len(fabric.report().get("blocks", ())) == 2)
                assert set(fabric.report()["blocks"]).isdisjoint(one["cidr"] for one in mine)
                assert given.address
            assert [one["node"] for one in fabric.specs("blockaffinities")].count(NAME) == 2

    told(tmp_path, story)


def test_a_report_that_somebody_deletes_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_status, "RENEWAL_S", 0.2)

    async def story(fabric: Fabric) -> None:
        async with fabric.speaker():
            await until(fabric.is_settled)
            await fabric.server.remove("bgpnodestatuses", NAME)
            await until(fabric.is_settled)
            assert not [line for line in fabric.said if line.startswith("report:")]

    told(tmp_path, story)


def test_two_machines_of_one_name_say_so_and_give_no_address_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have the blocks of the name. Whoever writes first has the address: it is a compare-and-swap."""
    monkeypatch.setattr(node_status, "RENEWAL_S", 0.05)

    async def story(fabric: Fabric) -> None:
        one, two = list[str](), list[str]()
        async with fabric.speaker("one", one), fabric.speaker("two", two):
            await until(fabric.is_settled)
            allocators = [Allocator(fabric.cluster.store(), NAME) for _ in range(2)]
            requests = [(give, f"{machine}-{n}") for n in range(20) for machine, give in enumerate(allocators)]
            given = await asyncio.gather(*(give.allocate(Request(name, pod="p")) for give, name in requests))
            addresses = [each.address for pod in given for each in pod]
            assert len(addresses) == len(set(addresses)) == 40
            await until(lambda: any("have two machines its name?" in line for line in (*one, *two)), 60)
            await until(
                lambda: any("have two machines its name?" in p for p in fabric.report().get("problems", ())), 60
            )
            assert len(fabric.owned()) == 2
        async with fabric.speaker("one"):
            await until(lambda: not fabric.report().get("problems") and fabric.is_settled(), 60)

    told(tmp_path, story)


def test_two_nodes_with_one_address_are_told_by_an_event(tmp_path: Path) -> None:
    """Each speaker sees its own Node alone: the controller sees both. Blocks go by the name, so none is given twice."""

    async def story(fabric: Fabric) -> None:
        await fabric.server.put(kubernetes_node("node-2"), group="")
        store = fabric.cluster.store(())
        statuses = Statuses(store)
        for seconds in (1.0, 2.0, 3.0):
            await statuses.write(time.time(), seconds)
        await until(lambda: bool(fabric.events("DuplicateAddress")))
        (event,) = fabric.events("DuplicateAddress")
        assert event["regarding"]["apiVersion"] == "v1"
        assert event["regarding"]["uid"] == fabric.server.kept("nodes", "node-2", group="")["metadata"]["uid"]
        assert event["type"] == "Warning"
        assert ("create", "events.k8s.io", "events") in fabric.server.used & rights_of("underlay-controller")
        assert "and so has Node/node-1 (give it its own)" in event["note"]
        for number in (1, 2):
            node = Allocator(fabric.cluster.store(), f"node-{number}")
            await node.allocate(Request(f"pod-{number}", pod="p"))
        blocks = [one["cidr"] for one in fabric.specs("blockaffinities")]
        assert len(blocks) == len(set(blocks)) == 2

    told(tmp_path, story)


def test_an_error_of_a_node_is_told_once_and_again_while_it_lasts() -> None:
    class Told:
        """What is told; the one thing that is used of a store."""

        def __init__(self) -> None:
            self.of: list[tuple[str, str, Event]] = []

        def tell(self, kind: str, name: str, event: Event) -> None:
            self.of.append((kind, name, event))

    store = Told()
    events = NodeEvents(store)  # type: ignore[arg-type]
    wrong = Problem("error", "no-router-id", "Node/a", "spec.bgp", "has none", "set one")
    warning = Problem("warning", "ignored-field", "Node/a", "spec.x", "has no effect")
    other = Problem("error", "unknown-switch", "Rack/a", "spec", "is not there")
    problems = {"Node/a": [wrong, warning], "Rack/a": [other]}
    for seconds in (0.0, 5.0, 1799.0):
        events.tell(problems, seconds)
        assert store.of == [("Node", "a", Event("NoRouterId", "spec.bgp: has none (set one)", is_warning=True))]
    events.tell(problems, 1800.0)
    assert len(store.of) == 2
    events.tell({}, 1801.0)
    events.tell(problems, 1802.0)
    assert len(store.of) == 3, "it was mended and is there again"
