"""Statuses of what is declared, in a cluster: what is written, when, and by how few requests."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from bgp_speaker.node_status import StatusWriter
from peering import worker_process
from peering.compile import plan
from peering.resource import parse_resource
from peering.resources.catalog import KINDS as CATALOG
from peering.resources.observed import BGPNodeStatusSpec, PeerStatus
from peering.session import Plan
from peering.store.kubernetes.store import KubernetesStore
from peering.store.protocol import Document, Event, StoreError
from peering.store.resources import put
from peering.store.sqlite import SqliteStore
from tests.kube_api.cluster import Cluster, run, until
from tests.kube_api.faults import Fault
from tests.kube_api.tables import human_duration
from tests.unit.samples import dual_tor
from underlay import controller, judging
from underlay.conditions import KINDS
from underlay.controller import Controller, Graces
from underlay.reports import OVERDUE_S
from underlay.statuses import Statuses

ROLES = Path(__file__).parents[2] / "config" / "rbac"
NOON = 1_767_268_800.0
TOLD = [("racks", "rack-1"), ("racks", "rack-2"), *(("switches", f"tor-{one}") for one in ("1a", "1b", "2a", "2b"))]
POOLS = [("ippools", "pods-v4"), ("ippools", "pods-v6")]


class Fabric:
    """The sample in a cluster, and its speakers' reports."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.store: KubernetesStore = cluster.store()
        self.plan: Plan = plan(dual_tor())

    async def declare(self) -> None:
        for resource in dual_tor():
            await put(self.store, resource)

    async def report(self, node: str, now: float, *down: str) -> None:
        """All sessions are up but those with these switches."""
        rows = [
            PeerStatus(
                session=one.name,
                peer=one.peer,
                peer_address=one.peer_address,
                peer_asn=one.peer_asn,
                state="Idle" if one.peer in down else "Established",
                since=0.0,
            )
            for one in self.plan.speakers[node].sessions
        ]
        await StatusWriter(self.store, node).write(BGPNodeStatusSpec(node=node, sessions=tuple(rows)), now)

    async def report_all(self, now: float) -> None:
        for node in self.plan.speakers:
            await self.report(node, now)

    def status(self, plural: str, name: str) -> Document:
        status: Document = self.cluster.server.kept(plural, name).get("status", {})
        return status

    def condition(self, plural: str, name: str, type_: str) -> Document:
        found = [one for one in self.status(plural, name)["conditions"] if one["type"] == type_]
        return dict(found[0])


def count(cluster: Cluster, verb: str, *names: str) -> int:
    """Requests of a verb for resources of our group."""
    wanted = {f"{name}.underlay.io" for name in names}
    return sum(n for (done, name), n in cluster.server.requests.items() if done == verb and name in wanted)


STATUSES = ("bgppeers", "ippools", "racks", "routereflectors", "switches")


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each in the list, one process that compiles a plan is killed. However few objects there are, one does."""
    start, waiting = worker_process.start, list[bool]()

    async def started(module: str, *arguments: str) -> asyncio.subprocess.Process:
        process = await start(module, *arguments)
        if waiting:
            waiting.pop()
            process.kill()
        return process

    monkeypatch.setattr(judging, "_FEW", 0)
    monkeypatch.setattr(worker_process, "start", started)
    return waiting


def test_each_object_is_told_of_once_and_again_when_something_is_different(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            fabric = Fabric(cluster)
            await fabric.declare()
            await fabric.report_all(NOON)
            statuses = Statuses(cluster.store(()))
            assert await statuses.write(NOON + 1, 1.0) == len(TOLD) + len(POOLS)
            for plural, name in TOLD:
                assert fabric.condition(plural, name, "Ready")["status"] == "True"
                assert fabric.condition(plural, name, "Degraded")["status"] == "False"
            assert fabric.status("racks", "rack-1")["sessions"] == {"up": 8, "down": 0, "unknown": 0, "total": 8}
            assert [one["type"] for one in fabric.status(*POOLS[0])["conditions"]] == ["Ignored", "Ready"]
            cluster.server.requests.clear()
            assert await statuses.write(NOON + 2, 2.0) == 0
            await fabric.report("node-1", NOON + 3)
            assert await statuses.write(NOON + 4, 4.0) == 0, "a report that says the same"
            assert count(cluster, "list", *STATUSES) == count(cluster, "patch", *STATUSES) == 0
            await fabric.report("node-1", NOON + 5, "switch/tor-1b")
            assert await statuses.write(NOON + 6, 6.0) == 2, "the rack and the switch"
            assert fabric.condition("switches", "tor-1b", "Degraded")["status"] == "True"
            assert fabric.condition("racks", "rack-1", "Degraded")["lastTransitionTime"] == "2026-01-01T12:00:06Z"
            assert fabric.condition("racks", "rack-1", "Ready")["lastTransitionTime"] == "2026-01-01T12:00:01Z"
            assert count(cluster, "patch", *STATUSES) == 2

    run(story)


def test_the_next_controller_goes_on_from_what_is_there(tmp_path: Path) -> None:
    """It reads, and writes nothing while nothing is different."""

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            fabric = Fabric(cluster)
            await fabric.declare()
            await fabric.report_all(NOON)
            await Statuses(cluster.store()).write(NOON, 1.0)
            before = [fabric.status(*one) for one in (*TOLD, *POOLS)]
            cluster.server.requests.clear()
            assert await Statuses(cluster.store()).write(NOON + 60, 5000.0) == 0
            assert count(cluster, "patch", *STATUSES) == 0
            await fabric.report("node-1", NOON + 70, "switch/tor-1a")
            assert await Statuses(cluster.store()).write(NOON + 71, 9000.0) == 2
            times = [one["lastTransitionTime"] for one in fabric.status("racks", "rack-1")["conditions"]]
            assert sorted(times) == ["2026-01-01T12:00:00Z", "2026-01-01T12:00:00Z", "2026-01-01T12:01:11Z"]
            assert [fabric.status(*one) for one in TOLD if one[1] not in ("rack-1", "tor-1a")] == [
                status for one, status in zip(TOLD, before, strict=False) if one[1] not in ("rack-1", "tor-1a")
            ]

    run(story)


def test_a_change_is_judged_and_its_generation_told(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            fabric = Fabric(cluster)
            await fabric.declare()
            await fabric.report_all(NOON)
            statuses = Statuses(cluster.store())
            await statuses.write(NOON, 1.0)
            rack = cluster.server.kept("racks", "rack-1")
            spec = {**rack["spec"], "switches": ["tor-1a", "tor-9"]}
            await cluster.server.put({"kind": "Rack", "metadata": {"name": "rack-1"}, "spec": spec})
            statuses.notice({"Rack"})
            await statuses.write(NOON + 1, 2.0)
            ready = fabric.condition("racks", "rack-1", "Ready")
            assert (ready["status"], ready["observedGeneration"]) == ("False", 2)
            assert "tor-9" in ready["message"]
            assert fabric.condition("racks", "rack-2", "Ready")["observedGeneration"] == 1
            spec["switches"] = ["tor-1a", "tor-1b"]
            await cluster.server.put({"kind": "Rack", "metadata": {"name": "rack-1"}, "spec": spec})
            statuses.notice({"Rack"})
            await statuses.write(NOON + 2, 3.0)
            ready = fabric.condition("racks", "rack-1", "Ready")
            assert (ready["status"], ready["observedGeneration"]) == ("True", 3)
            assert ready["lastTransitionTime"] == "2026-01-01T12:00:02Z"

    run(story)


def test_an_object_that_is_made_anew_is_told_of_anew(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            fabric = Fabric(cluster)
            await fabric.declare()
            await fabric.report_all(NOON)
            statuses = Statuses(cluster.store())
            await statuses.write(NOON, 1.0)
            spec = cluster.server.kept("racks", "rack-1")["spec"]
            await cluster.server.remove("racks", "rack-1")
            assert await statuses.write(NOON + 1, 2.0) == 0, "nobody has said that it is gone"
            await fabric.report("node-1", NOON, "switch/tor-1a")
            assert await statuses.write(NOON + 2, 3.0) == 1, "what is gone stops nobody"
            await cluster.server.put({"kind": "Rack", "metadata": {"name": "rack-1"}, "spec": spec})
            statuses.notice({"Rack"})
            assert await statuses.write(NOON + 3, 4.0) == 1
            assert fabric.condition("racks", "rack-1", "Ready")["lastTransitionTime"] == "2026-01-01T12:00:03Z"

    run(story)


def test_a_report_that_does_not_come_makes_its_sessions_unknown(tmp_path: Path) -> None:
    """Whatever the clocks say: here they are a day apart."""

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            fabric = Fabric(cluster)
            await fabric.declare()
            statuses = Statuses(cluster.store())
            await statuses.write(NOON, 0.0)
            assert fabric.status("racks", "rack-1")["sessions"]["unknown"] == 8
            await fabric.report_all(NOON - 86400)
            await statuses.write(NOON, 10.0)
            assert fabric.status("racks", "rack-1")["sessions"]["up"] == 8
            await fabric.report("node-2", NOON - 86400 + 60)
            await statuses.write(NOON + 60, 70.0)
            assert await statuses.write(NOON + 99_999, 10.0 + OVERDUE_S - 1) == 0, "a clock that jumps"
            await statuses.write(NOON, 10.0 + OVERDUE_S)
            assert fabric.status("racks", "rack-1")["sessions"] == {"up": 4, "down": 0, "unknown": 4, "total": 8}
            degraded = fabric.condition("switches", "tor-1a", "Degraded")
            assert (degraded["status"], degraded["reason"]) == ("Unknown", "NotReported")
            await statuses.write(NOON, 70.0 + OVERDUE_S)
            assert fabric.condition("switches", "tor-1a", "Ready")["status"] == "Unknown"
            await fabric.report("node-1", NOON)
            await statuses.write(NOON, 80.0 + OVERDUE_S)
            assert fabric.status("racks", "rack-1")["sessions"]["up"] == 4

    run(story)


def test_of_old_reports_the_time_is_believed_at_the_first_look(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            fabric = Fabric(cluster)
            await fabric.declare()
            await fabric.report_all(NOON - OVERDUE_S + 30)
            await fabric.report("node-1", NOON - OVERDUE_S - 1)
            statuses = Statuses(cluster.store())
            await statuses.write(NOON, 0.0)
            assert fabric.status("racks", "rack-1")["sessions"] == {"up": 4, "down": 0, "unknown": 4, "total": 8}
            await statuses.write(NOON, 31.0)
            assert fabric.status("racks", "rack-1")["sessions"]["unknown"] == 8

    run(story)


def test_a_report_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            fabric = Fabric(cluster)
            await fabric.declare()
            await fabric.report_all(NOON)
            document = {"kind": "BGPNodeStatus", "metadata": {"name": "node-1"}, "spec": {"node": "node-1\n"}}
            await cluster.server.put(document)
            await Statuses(cluster.store()).write(NOON, 0.0)
            assert fabric.status("racks", "rack-1")["sessions"] == {"up": 4, "down": 0, "unknown": 4, "total": 8}

    run(story)


@pytest.mark.parametrize("refused", ["list", "patch"])
def test_what_could_not_be_written_is_written_by_the_next_look(refused: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            fabric = Fabric(cluster)
            await fabric.declare()
            await fabric.report_all(NOON)
            statuses = Statuses(cluster.store())
            faulty = "racks.underlay.io"
            cluster.server.faults.next_fault = lambda verb, name: (
                Fault(403) if (verb, name) == (refused, faulty) else None
            )
            with pytest.raises(StoreError):
                await statuses.write(NOON, 0.0)
            cluster.server.faults.next_fault = lambda verb, name: None
            await statuses.write(NOON + 1, 1.0)
            for one in (*TOLD, *POOLS):
                assert fabric.status(*one)["conditions"]
            assert await statuses.write(NOON + 2, 2.0) == 0

    run(story)


def test_while_the_plan_is_not_compiled_the_last_one_holds(tmp_path: Path, killed: list[bool]) -> None:
    """By a process that is killed, say."""

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            fabric = Fabric(cluster)
            await fabric.declare()
            await fabric.report_all(NOON)
            statuses = Statuses(cluster.store(()))
            await statuses.write(NOON, 0.0)
            before = [fabric.status(*one) for one in (*TOLD, *POOLS)]
            rack = await fabric.store.get("Rack", "rack-1")
            spec = {**rack.document["spec"], "switches": ["tor-1a"]}
            await fabric.store.update("Rack", "rack-1", {**rack.document, "spec": spec})
            statuses.notice(["Rack"])
            killed.append(True)
            with pytest.raises(ChildProcessError):
                await statuses.write(NOON + 1, 1.0)
            assert [fabric.status(*one) for one in (*TOLD, *POOLS)] == before
            assert await statuses.write(NOON + 2, 2.0) > 0
            assert fabric.condition("racks", "rack-1", "Ready")["observedGeneration"] == 2
            assert fabric.status("racks", "rack-1")["sessions"]["total"] == 4

    run(story)


def test_a_controller_whose_process_is_killed_begins_another(
    tmp_path: Path, killed: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller, "_STATUS_PAUSE_S", 0.05)
    monkeypatch.setattr(controller, "_STATUS_PAUSES", 0)
    monkeypatch.setattr(controller, "_SETTLE_S", 0.01)
    killed += [True, True]

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            fabric = Fabric(cluster)
            await fabric.declare()
            said: list[str] = []
            task = asyncio.create_task(Controller(cluster.store(()), said.append, Graces(60.0), None, False).run())
            await until(lambda: all(fabric.status(*one) for one in (*TOLD, *POOLS)))
            assert killed == []
            assert said == ["the process that compiles the plan has ended (status -9) (trying again)"]
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    run(story)


def test_the_one_that_leads_writes_and_sleeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports that come all the time are looked at now and then; nothing is asked for by them."""
    monkeypatch.setattr(controller, "_STATUS_PAUSE_S", 0.05)
    monkeypatch.setattr(controller, "_STATUS_PAUSES", 1)
    monkeypatch.setattr(controller, "_SETTLE_S", 0.01)

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            fabric = Fabric(cluster)
            await fabric.declare()
            now = asyncio.get_running_loop().time
            await fabric.report_all(NOON)
            said: list[str] = []
            work = Controller(cluster.store(()), said.append, Graces(60.0), None, False)
            task = asyncio.create_task(work.run())
            await until(lambda: all(fabric.status(*one) for one in (*TOLD, *POOLS)))
            await fabric.report("node-1", NOON + 1, "switch/tor-1b")
            await until(lambda: fabric.status("switches", "tor-1b")["sessions"]["down"] == 2)
            await until(lambda: fabric.status("racks", "rack-1")["sessions"]["down"] == 2)
            cluster.server.requests.clear()
            until_then = now() + 0.5
            number = 2.0
            while now() < until_then:
                number += 1
                await fabric.report("node-1", NOON + number, "switch/tor-1b")
                await asyncio.sleep(0.02)
            assert count(cluster, "patch", "bgpnodestatuses") > 5
            assert count(cluster, "patch", *STATUSES) == count(cluster, "list", *STATUSES) == 0
            await fabric.report("node-1", NOON + number + 1, "switch/tor-1a")
            await until(lambda: fabric.status("switches", "tor-1a")["sessions"]["down"] == 2)
            assert count(cluster, "list", *STATUSES) == 0
            await cluster.server.put(
                {
                    "kind": "IPPool",
                    "metadata": {"name": "pods-v4"},
                    "spec": {"cidr": "10.244.0.0/16", "blockSize": 26, "disabled": True},
                }
            )
            await until(lambda: fabric.condition("ippools", "pods-v4", "Ready")["reason"] == "Disabled")
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            assert said == []

    run(story)


def test_a_store_without_statuses_is_asked_for_none(tmp_path: Path) -> None:
    async def story() -> None:
        store = SqliteStore(tmp_path / "store.db")
        for resource in dual_tor():
            await put(store, resource)
        _, before = await store.snapshot(())
        assert not store.keeps_statuses
        await store.apply_status("Rack", "rack-1", {"conditions": []})
        store.tell("Rack", "rack-1", Event("Reason", "message"))
        assert await store.statuses("Rack") == {}
        assert await store.snapshot(()) == ([], before), "nothing was written"
        await store.close()

    run(story)


def test_the_rights_of_the_controller_are_those_that_it_needs() -> None:
    documents = yaml.safe_load_all((ROLES / "controller.yaml").read_text())
    (rules,) = [one["rules"] for one in documents if one["kind"] == "ClusterRole"]
    ours = [one for one in rules if one["apiGroups"] == ["underlay.io"]]

    def may(verb: str) -> set[str]:
        return {resource for rule in ours if verb in rule["verbs"] for resource in rule["resources"]}

    plurals = {CATALOG[kind].plural for kind in KINDS}
    assert {f"{plural}/status" for plural in plurals} == {one for one in may("patch") if "/" in one}
    assert {*plurals, "bgpnodestatuses"} <= may("list") & may("watch")


# Tables


async def asked(cluster: Cluster, path: str, accept: str = "application/json") -> Any:
    async with (
        aiohttp.ClientSession() as http,
        http.get(cluster.server.url + path, headers={"Accept": accept}) as answer,
    ):
        return json.loads(await answer.text())


TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


async def table_of(cluster: Cluster, plural: str) -> dict[str, dict[str, Any]]:
    """Rows by name, cells by the title of their column."""
    found = await asked(cluster, f"/apis/underlay.io/v1alpha1/{plural}?limit=500", TABLE)
    titles = [one["name"] for one in found["columnDefinitions"]]
    return {row["cells"][0]: dict(zip(titles, row["cells"], strict=True)) for row in found["rows"]}


def test_what_kubectl_get_shows(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            fabric = Fabric(cluster)
            await fabric.declare()
            await fabric.report_all(NOON)
            await fabric.report("node-1", NOON, "switch/tor-1b")
            cluster.server.clock = lambda: NOON + 20
            await Statuses(cluster.store()).write(NOON, 0.0)
            for title, shown in (("Ready", "True"), ("Degraded", "True"), ("Up", 6), ("Sessions", 8)):
                assert (await table_of(cluster, "racks"))["rack-1"][title] == shown
            switches = await table_of(cluster, "switches")
            assert {name: (row["Degraded"], row["Up"]) for name, row in switches.items()} == {
                "tor-1a": ("False", 4),
                "tor-1b": ("True", 2),
                "tor-2a": ("False", 4),
                "tor-2b": ("False", 4),
            }
            assert (await table_of(cluster, "ippools"))["pods-v4"]["Ready"] == "True"
            node = (await table_of(cluster, "bgpnodestatuses"))["node-1"]
            assert (node["Node"], node["Up"], node["Sessions"], node["Reported"]) == ("node-1", 2, 4, "20s")

    run(story)


def test_what_is_not_told_yet_is_left_empty(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            await Fabric(cluster).declare()
            rack = (await table_of(cluster, "racks"))["rack-1"]
            assert (rack["Nodes"], rack["Ready"], rack["Up"]) == ("rack == 'rack-1'", None, None)

    run(story)


def test_kubectl_is_told_which_resources_there_are(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            assert (await asked(cluster, "/api"))["versions"] == ["v1"]
            groups = {one["name"] for one in (await asked(cluster, "/apis"))["groups"]}
            assert {"underlay.io", "coordination.k8s.io", "events.k8s.io"} <= groups
            found = (await asked(cluster, "/apis/underlay.io/v1alpha1"))["resources"]
            switches = next(one for one in found if one["name"] == "switches")
            assert (switches["kind"], switches["shortNames"], switches["namespaced"]) == ("Switch", ["sw"], False)
            assert (await asked(cluster, "/apis/nothing.io/v1"))["code"] == 404

    run(story)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(-5, "0s"), (0.9, "0s"), (119, "119s"), (120, "2m"), (3 * 3600, "3h"), (49 * 3600, "2d")]
)
def test_ages(seconds: float, shown: str) -> None:
    assert human_duration(seconds) == shown
    assert re.fullmatch(r"\d+[smhdy]", shown)


def test_the_sample_is_what_these_tests_think_it_is() -> None:
    documents = [one.to_document() for one in dual_tor()]
    assert all(not isinstance(parse_resource(one), list) for one in documents)
    told = {(CATALOG[one["kind"]].plural, one["metadata"]["name"]) for one in documents if one["kind"] in KINDS}
    assert told == {*TOLD, *POOLS}
