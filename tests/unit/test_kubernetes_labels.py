"""Blocks that were not made by our engine: their speakers find them all the same."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ipam.claims import affinities_of, finish
from peering.store.interest import speaker_interests
from peering.store.kubernetes.objects import label_value
from peering.store.protocol import Document
from tests.kube_api.cluster import Cluster, run, until
from tests.kube_api.faults import Fault
from underlay import controller
from underlay.controller import Controller, Graces

LONG = "node-" + "x" * 70


def ours(kind: str, name: str, labels: dict[str, str] | None = None, **spec: object) -> Document:
    metadata = {"name": name, "labels": labels or {}}
    return {"apiVersion": "underlay.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def affinity(node: str, number: int, **labels: str) -> Document:
    name = f"{node}-10-0-{number}-0-26"
    return ours("BlockAffinity", name, labels, node=node, cidr=f"10.0.{number}.0/26", state="confirmed")


def labels_of(cluster: Cluster, plural: str, name: str) -> dict[str, str]:
    found: dict[str, str] = cluster.server.kept(plural, name)["metadata"].get("labels") or {}
    return found


def test_a_node_finds_its_own_without_listing_those_of_others(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            writer = cluster.store()
            for number in range(5):
                for node in ("n1", LONG):
                    document = affinity(node, number)
                    await writer.create("BlockAffinity", document["metadata"]["name"], document)
            await cluster.server.put(affinity("n1", 7))
            await cluster.server.put(affinity("n2", 8))
            before = len(cluster.server.queries)
            found = await affinities_of(cluster.store(), "n1")
            assert [one.name for one in found] == [f"n1-10-0-{number}-0-26" for number in (0, 1, 2, 3, 4, 7)]
            assert len(await affinities_of(cluster.store(), LONG)) == 5
            asked = [query for verb, _, _, query in cluster.server.queries[before:] if verb == "list"]
            chosen = {query.get("labelSelector") for query in asked}
            values = ("n1", label_value(LONG))
            assert chosen == {"!underlay.io/node", *(f"underlay.io/node={value}" for value in values)}
            assert await finish(cluster.store(), "n1", 0.0) == [f"10.0.{n}.0/26" for n in (0, 1, 2, 3, 4, 7)]

    run(story)


def test_the_controller_puts_labels_on_and_speakers_see_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else of the objects changes, and what has labels, or needs none, is not written."""
    monkeypatch.setattr(controller, "_ORDER_PAUSE_S", 0.05)

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            server, said = cluster.server, list[str]()
            await server.put(ours("Node", "n1"))
            await server.put(ours("IPPool", "pods", cidr="10.0.0.0/16"))
            await server.put(affinity("n1", 1, team="net"))
            await server.put(ours("IPAMBlock", "10-0-1-0-26", cidr="10.0.1.0/26", affinity="host:n1", sequence=1))
            await server.put(
                ours(
                    "IPAMBlock",
                    "10-0-9-0-26",
                    cidr="10.0.9.0/26",
                    sequence=1,
                    allocations=[{"ordinal": 1, "handle": "somebody", "sequence": 1, "node": "n1"}],
                )
            )
            before = server.kept("ipamblocks", "10-0-1-0-26")["spec"]
            speaker = cluster.store(speaker_interests("n1"))
            assert (await speaker.snapshot(["BlockAffinity", "IPAMBlock"]))[0] == []
            task = asyncio.create_task(Controller(cluster.store(()), said.append, Graces(60.0), None, False).run())
            name = "n1-10-0-1-0-26"
            await until(lambda: len(said) >= 2)
            assert labels_of(cluster, "blockaffinities", name) == {
                "team": "net",
                "underlay.io/node": "n1",
                "underlay.io/type": "host",
            }
            assert labels_of(cluster, "ipamblocks", "10-0-1-0-26") == {"underlay.io/node": "n1"}
            assert server.kept("ipamblocks", "10-0-1-0-26")["spec"] == before
            async with asyncio.timeout(10):
                while len((await speaker.snapshot(["BlockAffinity", "IPAMBlock"]))[0]) < 2:  # noqa: ASYNC110 - only asking tells
                    await asyncio.sleep(0.01)
            writes = server.requests["update", "ipamblocks.underlay.io"]
            looks = server.requests["list", "ipamblocks.underlay.io"]
            await until(lambda: server.requests["list", "ipamblocks.underlay.io"] > looks + 2)
            assert server.requests["update", "ipamblocks.underlay.io"] == writes == 1
            assert labels_of(cluster, "ipamblocks", "10-0-9-0-26") == {}
            assert sorted(said) == [
                f"BlockAffinity/{name} was made without labels: it has them now",
                "IPAMBlock/10-0-1-0-26 was made without labels: it has them now",
            ]
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run(story)


def test_what_another_writes_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            await cluster.server.put(affinity("n1", 1))
            ask = asyncio.Event()

            def meddle(verb: str, resource: str) -> Fault | None:
                return Fault(409) if verb == "update" and not ask.is_set() else None

            cluster.server.faults.next_fault = meddle
            assert await cluster.store().put_in_order() == []
            ask.set()
            assert len(await cluster.store().put_in_order()) == 1
            versions = [q for v, _, _, q in cluster.server.queries if v == "list"]
            assert all(query["resourceVersion"] == "0" for query in versions)

    run(story)
