"""What a process of the cluster knows without asking: lists, watches, and that it holds no more than it needs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from peering.compile import plan
from peering.manifests import read_manifests
from peering.resource import Resource, parse_resource
from peering.resources.catalog import PLAN_KINDS
from peering.snapshot import Snapshot
from peering.store.interest import nodes_peer, speaker_interests
from peering.store.kubernetes import follower, sources
from peering.store.protocol import Changed, Document, NotFound, StoreError
from peering.store.resources import Loader, load
from tests.kube_api.cluster import NAMESPACE, Cluster, run, until
from tests.kube_api.faults import Fault

_SAMPLES = Path(__file__).parents[2] / "config" / "samples"
SAMPLES = sorted(path.parent for path in _SAMPLES.glob("*/nodes.yaml"))


def ours(kind: str, name: str, spec: Document, labels: dict[str, str] | None = None) -> Document:
    metadata: Document = {"name": name, **({"labels": labels} if labels else {})}
    return {"apiVersion": "underlay.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def node_of_kubernetes(name: str, address: str = "192.0.2.1", **labels: str) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {"node.alpha.kubernetes.io/ttl": "0"}},
        "spec": {"podCIDRs": ["10.1.0.0/24"]},
        "status": {"addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}]},
    }


def affinity(node: str, number: int, **more: Any) -> Document:
    spec = {"node": node, "cidr": f"10.0.{number}.0/26", "state": "confirmed", **more}
    return ours("BlockAffinity", f"{node}-{number}{more.get('type', '')}", spec)


async def first(watch: AsyncIterator[Sequence[Changed]]) -> set[tuple[str, bool]]:
    """What the next batch says: names, and whether they are there."""
    return {(change.name, change.stored is not None) for change in await anext(watch)}


# Lists and watches


def test_a_long_list_comes_in_pages_of_one_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            for number in range(1200):
                await cluster.server.put(ours("BFDProfile", f"p{number:04}", {}))
            between = iter(range(1, 100))
            ask = cluster.server.faults.ask

            def meddle(verb: str, resource: str) -> Fault | None:
                if next(between) == 2:
                    cluster.server.objects.documents.pop(("bfdprofiles.underlay.io", "", "p1199"))
                return ask(verb, resource)

            monkeypatch.setattr(cluster.server.faults, "ask", meddle)
            objects = await cluster.store().list("BFDProfile")
            assert [one.name for one in objects] == [f"p{number:04}" for number in range(1200)]
            pages = [query for _, _, _, query in cluster.server.queries]
            assert [query["limit"] for query in pages] == ["500"] * 3

    run(story)


def test_a_list_whose_pages_are_forgotten_is_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "_FIRST_PAUSE_S", 0.01)

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            for number in range(700):
                await cluster.server.put(ours("BFDProfile", f"p{number:04}", {}))
            asked = iter(range(100))

            def compact(verb: str, resource: str) -> None:
                if next(asked) == 1:
                    cluster.server.objects.compact()

            cluster.server.faults.next_fault = compact
            store = cluster.store(interests=())
            objects, _ = await store.snapshot(["BFDProfile"])
            assert len(objects) == 700
            assert cluster.server.requests["list", "bfdprofiles.underlay.io"] == 4

    run(story)


def test_an_idle_watch_asks_for_nothing(tmp_path: Path) -> None:
    """A speaker's watches together begin anew less than once a minute, and nothing else is asked."""

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            store = cluster.store(speaker_interests("node-1"))
            kinds = (*PLAN_KINDS, "Secret", "BlockAffinity")
            await store.snapshot(kinds)
            await until(lambda: sum(n for (verb, _), n in cluster.server.requests.items() if verb == "watch") >= 14)
            before = sum(cluster.server.requests.values())
            for _ in range(3):
                await store.snapshot(kinds)
                await asyncio.sleep(0.3)
            assert sum(cluster.server.requests.values()) == before
            watches = [query for verb, _, _, query in cluster.server.queries if verb == "watch"]
            per_minute = sum(60 / float(query["timeoutSeconds"]) for query in watches)
            assert per_minute < 0.6
            assert all(query["allowWatchBookmarks"] == "true" for query in watches)

    run(story)


def test_bookmarks_keep_a_watch_young(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What others have done is forgotten by the server, but not what comes after the last bookmark."""
    monkeypatch.setattr(follower, "_AGAIN_S", 0.01)

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            cluster.server.bookmark_interval = 0.02
            store = cluster.store(interests=())
            await store.snapshot(["BFDProfile"])
            for number in range(20):
                await cluster.server.put(ours("BGPFilter", f"f{number}", {}))
            latest = cluster.server.objects.revision
            (mine,) = store._following._followers.values()
            await until(lambda: mine._version == latest)
            cluster.server.objects.compact()
            cluster.server.cut_watches()
            await until(lambda: cluster.server.requests["watch", "bfdprofiles.underlay.io"] == 2)
            await cluster.server.put(ours("BFDProfile", "new", {}))
            await until(lambda: "new" in mine.objects)
            assert cluster.server.requests["list", "bfdprofiles.underlay.io"] == 1

    run(story)


def test_versions_that_are_gone_are_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """410: whatever was made, changed or deleted meanwhile is told, what was not is not."""
    monkeypatch.setattr(follower, "_FIRST_PAUSE_S", 0.3)

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            for name in ("goes", "stays", "changes"):
                await cluster.server.put(ours("BFDProfile", name, {}))
            store = cluster.store(interests=())
            _, since = await store.snapshot(["BFDProfile"])
            watch = store.watch(["BFDProfile"], since)
            waiting = asyncio.ensure_future(first(watch))
            await until(lambda: cluster.server.requests["watch", "bfdprofiles.underlay.io"] == 1)
            await cluster.server.stop()
            await cluster.server.remove("bfdprofiles", "goes")
            await cluster.server.put(ours("BFDProfile", "changes", {"detectMultiplier": 5}))
            await cluster.server.put(ours("BFDProfile", "comes", {}))
            cluster.server.objects.compact()
            await cluster.server.start()
            assert await waiting == {("goes", False), ("changes", True), ("comes", True)}
            assert cluster.server.requests["list", "bfdprofiles.underlay.io"] == 2

    run(story)


# Nodes


def test_a_node_of_kubernetes_is_read_as_a_manifest_is(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            item = node_of_kubernetes("n1", "192.0.2.7", rack="r1")
            item["metadata"]["annotations"]["underlay.io/uplinks"] = "eth1=10.1.1.1/31"
            await cluster.server.put(item, group="")
            for store in (cluster.store(), cluster.store(interests=())):
                (node,), _, problems = await load(store, ["Node"])
                assert problems == []
                assert node.labels == {"rack": "r1"}
                assert node.annotations == {"underlay.io/uplinks": "eth1=10.1.1.1/31"}
                assert node.to_document()["spec"] == {
                    "bgp": {"ipv4Address": "192.0.2.7/32"},
                    "uplinks": [{"interface": "eth1", "addresses": ["10.1.1.1/31"]}],
                    "podCIDRs": ["10.1.0.0/24"],
                }

    run(story)


def test_a_node_may_have_two_objects_of_one_name(tmp_path: Path) -> None:
    """Labels and podCIDRs of both; the rest is ours. Deleting ours leaves Kubernetes' own, which we cannot delete."""

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            await cluster.server.put(node_of_kubernetes("n1", "192.0.2.7", zone="a", rack="old"), group="")
            for store in (cluster.store(), cluster.store(interests=())):
                loader = Loader(store)
                await loader.load(["Node"])
                spec = {"bgp": {"ipv4Address": "203.0.113.1/32"}}
                await store.create("Node", "n1", ours("Node", "n1", spec, {"rack": "r1"}))
                (node,), _, _ = await loader.load(["Node"])
                assert dict(node.labels) == {"zone": "a", "rack": "r1"}
                assert node.to_document()["spec"] == {**spec, "podCIDRs": ["10.1.0.0/24"]}
                found = await store.get("Node", "n1")
                assert found.document == (await store.snapshot(["Node"]))[0][0].document
                moved = {"bgp": {"ipv4Address": "203.0.113.2/32"}}
                await store.update("Node", "n1", ours("Node", "n1", moved), found.version)
                await store.delete("Node", "n1")
                (node,), _, _ = await loader.load(["Node"])
                assert node.to_document()["spec"]["bgp"] == {"ipv4Address": "192.0.2.7/32"}
                with pytest.raises(StoreError, match="only read here"):
                    await store.delete("Node", "n1")
            assert cluster.server.kept("nodes", "n1", group="")["metadata"]["labels"] == {"zone": "a", "rack": "old"}

    run(story)


def test_pod_cidrs_that_come_and_change_wake_who_watches(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            item = node_of_kubernetes("n1")
            await cluster.server.put({**item, "spec": {}}, group="")
            store = cluster.store(interests=())
            _, since = await store.snapshot(["Node"])
            watch = store.watch(["Node"], since)
            for pods in (["10.1.0.0/24"], ["10.1.1.0/24", "fd00:1:0:1::/64"], []):
                await cluster.server.put({**item, "spec": {"podCIDRs": pods}}, group="")
                assert await asyncio.wait_for(first(watch), 10) == {("n1", True)}
                (node,), _, _ = await load(store, ["Node"])
                assert node.to_document()["spec"].get("podCIDRs", []) == pods

    run(story)


def test_the_heartbeat_of_a_node_wakes_nobody(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            await cluster.server.put(node_of_kubernetes("n1"), group="")
            store = cluster.store(interests=())
            objects, since = await store.snapshot(["Node"])
            watch = store.watch(["Node"], since)
            waiting = asyncio.ensure_future(first(watch))
            for beat in range(3):
                item = node_of_kubernetes("n1")
                item["status"]["conditions"] = [{"type": "Ready", "lastHeartbeatTime": str(beat)}]
                await cluster.server.put(item, group="", status=True)
            latest = cluster.server.kept("nodes", "n1", group="")["metadata"]["resourceVersion"]
            await cluster.server.put(node_of_kubernetes("n2"), group="")
            assert await waiting == {("n2", True)}
            assert int(latest) > objects[0].version >> 64
            assert (await store.snapshot(["Node"]))[0][0] == objects[0]

    run(story)


def test_a_node_that_is_deleted_and_made_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            await cluster.server.put(node_of_kubernetes("n1", rack="r1"), group="")
            store = cluster.store(interests=())
            loader = Loader(store)
            (before,), since, _ = await loader.load(["Node"])
            watch = store.watch(["Node"], since)
            waiting = asyncio.ensure_future(first(watch))
            await cluster.server.remove("nodes", "n1", group="")
            assert await waiting == {("n1", False)}
            assert (await loader.load(["Node"]))[0] == []
            with pytest.raises(NotFound):
                await store.get("Node", "n1")
            await cluster.server.put(node_of_kubernetes("n1", rack="r1"), group="")
            assert await first(watch) == {("n1", True)}
            (again,), _, _ = await loader.load(["Node"])
            assert again.version > before.version
            assert again.labels == before.labels

    run(story)


# Interests


def test_a_speaker_watches_its_own(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            await cluster.server.put(ours("Rack", "r1", {"nodeSelector": "rack == 'r1'", "switches": ["s"]}))
            for number in range(5):
                await cluster.server.put(node_of_kubernetes(f"n{number}", f"192.0.2.{number}", rack="r1"), group="")
            writer = cluster.store()
            for number in range(5):
                await writer.create(*named(affinity(f"n{number}", number)))
            await writer.create(*named(affinity("n3", 1, type="borrower")))
            store = cluster.store(speaker_interests("n1"))
            kinds = (*PLAN_KINDS, "Secret", "BlockAffinity")
            objects, since = await store.snapshot(kinds)
            names = {f"{one.kind}/{one.name}" for one in objects}
            assert names == {"Rack/r1", "Node/n1", "BlockAffinity/n1-1", "BlockAffinity/n3-1borrower"}
            assert [one.name for one in await store.list("BlockAffinity")] == sorted(
                [f"n{n}-{n}" for n in range(5)] + ["n3-1borrower"]
            ), "a list is of all"
            assert (await store.get("BlockAffinity", "n4-4")).document == affinity("n4", 4)
            watch = store.watch(kinds, since)
            waiting = asyncio.ensure_future(first(watch))
            await writer.create(*named(affinity("n2", 7)))
            await cluster.server.put(node_of_kubernetes("n4", "192.0.2.40"), group="")
            await writer.create(*named(affinity("n1", 8)))
            assert await waiting == {("n1-8", True)}
            asked = {resource for _, resource, _, _ in cluster.server.queries}
            assert not asked & {"pods", "events"}

    run(story)


def test_other_nodes_are_watched_while_nodes_peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own node is known at every moment, while the one watch takes the place of the other."""
    monkeypatch.setattr(sources, "_NODES_PAGE", 1)

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            mesh = ours("BGPConfiguration", "default", {"nodeToNodeMeshEnabled": False})
            await cluster.server.put(mesh)
            for number in range(5):
                await cluster.server.put(node_of_kubernetes(f"n{number}"), group="")
            store = cluster.store(speaker_interests("n1"))
            seen: list[set[str]] = []

            async def names() -> set[str]:
                seen.append({one.name for one in (await store.snapshot(["Node", "BGPConfiguration"]))[0]} - {"default"})
                return seen[-1]

            assert await names() == {"n1"}
            told: set[tuple[str, bool]] = set()

            async def follow() -> None:
                watch = store.watch(["Node"], (await store.snapshot([]))[1])
                while True:
                    told.update(await first(watch))

            following = asyncio.ensure_future(follow())
            for enabled, wanted in ((True, {f"n{n}" for n in range(5)}), (False, {"n1"})):
                await cluster.server.put(ours("BGPConfiguration", "default", {"nodeToNodeMeshEnabled": enabled}))
                while await names() != wanted:  # noqa: ASYNC110 - every moment is looked at
                    await asyncio.sleep(0)
            assert all("n1" in moment for moment in seen)
            await until(lambda: ("n0", False) in told)
            following.cancel()
            assert ("n1", False) not in told

    run(story)


@pytest.mark.parametrize(
    "slow", ["bgpconfigurations.underlay.io", "bgppeers.underlay.io", "nodes.underlay.io", "nodes"]
)
def test_nothing_is_decided_before_all_of_it_is_read(slow: str, tmp_path: Path) -> None:
    """A mesh is on where it is not written: that is known when all of BGPConfiguration is, in whatever order."""

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            await cluster.server.put(ours("BGPConfiguration", "default", {"nodeToNodeMeshEnabled": False}))
            for number in range(3):
                await cluster.server.put(node_of_kubernetes(f"n{number}"), group="")
            carry_out = cluster.server._carry_out

            async def slowly(request: Any, place: Any, verb: str) -> Any:
                if (verb, place.resource.name) == ("list", slow):
                    await asyncio.sleep(0.3)
                return await carry_out(request, place, verb)

            cluster.server._carry_out = slowly  # type: ignore[method-assign]
            store = cluster.store(speaker_interests("n1"))
            async with asyncio.timeout(5):
                objects, _ = await store.snapshot(PLAN_KINDS)
            assert {one.name for one in objects} == {"default", "n1"}
            nodes = [query for _, name, _, query in cluster.server.queries if name.startswith("nodes")]
            assert all(query["fieldSelector"] == "metadata.name=n1" for query in nodes)

    run(story)


def test_a_watch_that_is_wanted_no_more_is_not_waited_for(tmp_path: Path) -> None:
    """All nodes are wanted, and before they were read they are not any more."""

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            await cluster.server.put(ours("BGPConfiguration", "default", {"nodeToNodeMeshEnabled": True}))
            await cluster.server.put(node_of_kubernetes("n1"), group="")
            carry_out, hold = cluster.server._carry_out, asyncio.Event()

            async def never(request: Any, place: Any, verb: str) -> Any:
                if verb == "list" and place.resource.name == "nodes" and "fieldSelector" not in request.query:
                    hold.set()
                    await asyncio.sleep(3600)
                return await carry_out(request, place, verb)

            cluster.server._carry_out = never  # type: ignore[method-assign]
            store = cluster.store(speaker_interests("n1"))
            reading = asyncio.ensure_future(store.snapshot(["Node"]))
            await hold.wait()
            await cluster.server.put(ours("BGPConfiguration", "default", {"nodeToNodeMeshEnabled": False}))
            objects, _ = await asyncio.wait_for(reading, 5)
            assert [one.name for one in objects] == ["n1"]

    run(story)


def declared_in(sample: Path) -> tuple[list[Resource], dict[str, list[Document]]]:
    resources = read_manifests([str(sample)])[0]
    declared: dict[str, list[Document]] = {}
    for resource in resources:
        declared.setdefault(resource.kind, []).append(resource.to_document())
    return resources, declared


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_its_own_node_is_enough_for_a_speaker(sample: Path) -> None:
    """Unless nodes peer, the plan of one node is the same whether the other nodes are known or not."""
    resources, declared = declared_in(sample)
    whole = plan(Snapshot(resources))
    assert whole.speakers
    for node, speaker in whole.speakers.items():
        if not nodes_peer(node, declared):
            own = plan(Snapshot(one for one in resources if one.kind != "Node" or one.name == node))
            assert own.speakers[node] == speaker


def test_which_designs_need_the_other_nodes() -> None:
    need = set()
    for sample in SAMPLES:
        _, declared = declared_in(sample)
        if any(nodes_peer(one["metadata"]["name"], declared) for one in declared["Node"]):
            need.add(sample.name)
    assert need == {"bgp-filters", "calico-mesh", "calico-reflectors", "communities"}, "a mesh is on unless it is not"


def test_a_peer_with_the_address_of_a_node_is_known_for_what_it_is() -> None:
    """With addresses in BGPPeers, as many have it who came from Calico: a reflecting node, and who is its client."""
    mesh = ours("BGPConfiguration", "default", {"nodeToNodeMeshEnabled": False, "asNumber": 64600})
    nodes = [node_of_kubernetes(f"n{number}", f"192.0.2.{number}") for number in (1, 2, 3)]
    nodes[0]["metadata"]["annotations"]["projectcalico.org/RouteReflectorClusterID"] = "244.0.0.1"
    cases: list[tuple[Document, bool]] = [
        ({"peerIP": "192.0.2.1", "asNumber": 64600}, True),
        ({"peerIP": "192.0.2.1", "dynamicASNumber": "internal"}, True),
        ({"peerIP": "192.0.2.1", "asNumber": 64600, "node": "n3"}, False),
        ({"peerIP": "192.0.2.1", "asNumber": 64600, "nodeSelector": "rack == 'r9'"}, False),
        ({"peerIP": "192.0.2.2", "asNumber": 64600}, False),  # itself
        ({"peerIP": "203.0.113.1", "asNumber": 64600}, False),  # a switch
        ({"peerIP": "203.0.113.9", "asNumber": 65000}, False),  # another AS
    ]
    switch = ours("Switch", "s", {"asNumber": 64600, "addresses": ["203.0.113.1/32"]})
    for spec, needed in cases:
        peer = ours("BGPPeer", "p", spec)
        declared = {"BGPConfiguration": [mesh], "BGPPeer": [peer], "Node": nodes, "Switch": [switch]}
        assert nodes_peer("n2", declared) is needed, spec
        read = [parse_resource(document) for documents in declared.values() for document in documents]
        resources = [one for one in read if isinstance(one, Resource)]
        assert len(resources) == len(read)
        whole = plan(Snapshot(resources)).speakers["n2"]
        own = plan(Snapshot(one for one in resources if one.kind != "Node" or one.name == "n2")).speakers["n2"]
        assert (own != whole) is needed, spec


# Secrets


def secret(name: str, value: str) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "stringData": {"password": value},
    }


def test_secrets_are_read_by_name_only_and_a_change_is_told(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            for name in ("used", "foreign"):
                await cluster.server.put(secret(name, "old"), group="")
            store = cluster.store(interests=())
            _, since = await store.snapshot(["Secret", "BGPPeer"])
            watch = store.watch(["Secret"], since)
            with pytest.raises(NotFound):
                await store.get("Secret", "missing")
            assert (await store.get("Secret", "used")).document["data"] == {"password": "b2xk"}
            waiting = asyncio.ensure_future(first(watch))
            await until(lambda: cluster.server.requests["watch", "secrets"] == 2)
            await cluster.server.put(secret("foreign", "new"), group="")
            await cluster.server.put(secret("used", "new"), group="")
            await waiting
            while (await store.get("Secret", "used")).document["data"] != {"password": "bmV3"}:
                assert await first(watch) == {("used", True)}
            assert [one.name for one in (await store.snapshot(["Secret"]))[0]] == ["used"]
            await cluster.server.put(secret("missing", "found"), group="")
            assert await first(watch) == {("missing", True)}
            await cluster.server.remove("secrets", "used", "", NAMESPACE)
            assert await first(watch) == {("used", False)}
            for verb, resource, _, query in cluster.server.queries:
                if resource == "secrets" and verb != "get":
                    assert query["fieldSelector"] in ("metadata.name=used", "metadata.name=missing")

    run(story)


def test_many_watches_leave_room_for_requests(tmp_path: Path) -> None:
    """One for each Secret; the client's own limit is a hundred connections."""

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            store = cluster.store(interests=())
            names = [f"s{number}" for number in range(120)]
            for name in names:
                await cluster.server.put(secret(name, name), group="")
            found = await asyncio.gather(*(store.get("Secret", name) for name in names))
            assert [one.name for one in found] == names
            await until(lambda: cluster.server.requests["watch", "secrets"] == 120)
            assert await store.list("BGPNodeStatus") == []

    run(story, 30)


def test_who_may_not_watch_a_secret_looks_at_it_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "_LOOK_S", (0.05, 0.05))

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            cluster.server.faults.next_fault = lambda verb, resource: (
                Fault(403) if resource == "secrets" and verb != "get" else None
            )
            await cluster.server.put(secret("used", "old"), group="")
            store = cluster.store(interests=())
            watch = store.watch(["Secret"], (await store.snapshot(["Secret"]))[1])
            assert (await store.get("Secret", "used")).document["data"] == {"password": "b2xk"}
            waiting = asyncio.ensure_future(first(watch))
            await waiting
            await cluster.server.put(secret("used", "new"), group="")
            assert await first(watch) == {("used", True)}
            assert (await store.get("Secret", "used")).document["data"] == {"password": "bmV3"}
            await cluster.server.remove("secrets", "used", "", NAMESPACE)
            assert await first(watch) == {("used", False)}
            assert store.trouble() == ""

    run(story)


def test_a_command_reads_the_secrets_that_are_referred_to(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            for name in ("used", "foreign"):
                await cluster.server.put(secret(name, "x"), group="")
            password = {"secretKeyRef": {"name": "used", "key": "password"}}
            peer = {"peerIP": "10.0.0.1", "asNumber": 65000, "password": password}
            await cluster.server.put(ours("BGPPeer", "p", peer))
            store = cluster.store()
            assert [one.name for one in await store.list("Secret")] == ["used"]
            objects, _ = await store.snapshot([*PLAN_KINDS, "Secret"])
            assert {one.kind for one in objects} == {"BGPPeer", "Secret"}
            assert {verb for verb, resource, _, _ in cluster.server.queries if resource == "secrets"} == {"get"}

    run(story)


# Calico's resources


def test_calicos_resources_are_read_and_never_written(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path, calico=True) as cluster:
            old = {"kind": "BGPPeer", "metadata": {"name": "p"}, "spec": {"peerIP": "10.0.0.1", "asNumber": 65000}}
            await cluster.server.put(old, "crd.projectcalico.org")
            await cluster.server.put({**old, "metadata": {"name": "q"}}, "crd.projectcalico.org")
            for store in (cluster.store(), cluster.store(interests=())):
                resources, _, problems = await load(store, ["BGPPeer"])
                assert ([one.name for one in resources], problems) == (["p", "q"], [])
                with pytest.raises(StoreError, match="only read here"):
                    await store.delete("BGPPeer", "p")
                spec = {"peerIP": "10.0.0.2", "asNumber": 65000}
                await store.update("BGPPeer", "p", ours("BGPPeer", "p", spec))
                assert (await store.get("BGPPeer", "p")).document["spec"] == spec
                (mine, theirs), _ = await store.snapshot(["BGPPeer"])
                assert (mine.document["spec"], theirs.document["spec"]) == (spec, old["spec"])
                await store.delete("BGPPeer", "p")
                assert (await store.get("BGPPeer", "p")).document["spec"] == old["spec"]
            writes = {(verb, name) for verb, name in cluster.server.requests if verb not in ("get", "list", "watch")}
            assert all(name == "bgppeers.underlay.io" for _, name in writes)

    run(story)


def test_without_calicos_resources_nothing_of_calico_is_asked_for(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            await cluster.store().snapshot(PLAN_KINDS)
            assert not [name for _, name in cluster.server.requests if "calico" in name]

    run(story)


# Reports and statuses


def test_a_report_is_one_request_and_leaves_nothing_behind(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            store = cluster.store()
            for blocks in (["10.0.0.0/26"], []):
                spec: Document = {"node": "n1", **({"blocks": blocks} if blocks else {})}
                await store.update("BGPNodeStatus", "n1", ours("BGPNodeStatus", "n1", spec))
                assert cluster.server.kept("bgpnodestatuses", "n1")["spec"] == spec
            assert sum(cluster.server.requests.values()) == 2
            (entry,) = cluster.server.kept("bgpnodestatuses", "n1")["metadata"]["managedFields"]
            assert (entry["manager"], entry["operation"]) == ("underlay", "Apply")

    run(story)


def test_a_status_changes_nothing_that_is_declared(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            rack = ours("Rack", "r1", {"nodeSelector": "all()", "switches": ["s"]})
            await cluster.server.put(rack)
            store = cluster.store(interests=())
            _, since = await store.snapshot(["Rack"])
            watch = store.watch(["Rack"], since)
            waiting = asyncio.ensure_future(first(watch))
            for reason in ("Compiled", "Sessions"):
                condition = {
                    "type": "Ready",
                    "status": "True",
                    "reason": reason,
                    "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }
                await store.apply_status("Rack", "r1", {"conditions": [condition]})
            kept = cluster.server.kept("racks", "r1")
            assert kept["status"]["conditions"] == [condition]
            assert (kept["spec"], kept["metadata"]["generation"]) == (rack["spec"], 1)
            await cluster.server.put(ours("Rack", "r2", {"nodeSelector": "all()", "switches": ["s"]}))
            assert await waiting == {("r2", True)}, "a status is no change of what is declared"
            with pytest.raises(NotFound):
                await store.apply_status("Rack", "r3", {"conditions": []})

    run(story)


def named(document: Document) -> tuple[str, str, Document]:
    return document["kind"], document["metadata"]["name"], json.loads(json.dumps(document))


# Services


def test_services_of_all_namespaces_are_known_by_what_is_read_of_them(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            service: Document = {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "web", "namespace": "shop"},
            }
            spec = {
                "type": "LoadBalancer",
                "clusterIPs": ["10.96.0.9"],
                "ports": [{"port": 80}],
                "selector": {"a": "b"},
            }
            status = {"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}]}}
            await cluster.server.put({**service, "spec": spec}, group="")
            await cluster.server.put(
                {**service, "metadata": {"name": "web", "namespace": "other"}, "spec": {}}, group=""
            )
            ends: list[Document] = [
                {"addresses": ["10.0.0.1"], "nodeName": "n1", "conditions": {"ready": True, "serving": True}},
                {"addresses": ["10.0.0.2"], "nodeName": "n1"},
                {"addresses": ["10.0.0.3"], "nodeName": "n2", "conditions": {"ready": False}},
            ]
            labels = {"kubernetes.io/service-name": "web"}
            found = {"name": "web-x", "namespace": "shop", "labels": labels}
            slices: Document = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": found}
            await cluster.server.put({**slices, "endpoints": ends}, group="discovery.k8s.io")
            store = cluster.store(interests=())
            await store.apply_status("Service", "shop.web", status)
            kinds = ["Service", "EndpointSlice"]
            objects, since = await store.snapshot(kinds)
            assert [one.name for one in objects] == ["shop.web-x", "other.web", "shop.web"]
            assert objects[2].document["status"] == status
            assert set(objects[2].document["spec"]) == {"type", "clusterIPs"}
            assert (await store.get("Service", "shop.web")).document == objects[2].document
            resources, _, problems = await load(store, kinds)
            assert problems == []
            assert next((one.name, one.to_document()["metadata"]) for one in resources) == (
                "shop.web-x",
                {"name": "web-x", "namespace": "shop", "labels": labels},
            )
            watch = store.watch(kinds, since)
            waiting = asyncio.ensure_future(first(watch))
            await cluster.server.put({**slices, "endpoints": ends[:2]}, group="discovery.k8s.io")
            await cluster.server.put({**slices, "endpoints": ends[2:]}, group="discovery.k8s.io")
            assert await waiting == {("shop.web-x", True)}
            assert (await store.snapshot(["EndpointSlice"]))[0][0].document["endpoints"] == []
            asked = {name for verb, name in cluster.server.requests if verb == "list"}
            assert asked == {"services", "endpointslices.discovery.k8s.io"}

    run(story)
