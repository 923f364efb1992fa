"""A drain on a cluster: the wish beside Kubernetes' Nodes and Calico's resources, and a speaker that is drained."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from bgp_speaker.node_drain import NodeDrain
from bgp_speaker.node_view import NodeView
from peering.drain_wish import ANNOTATION, DrainWish, Extent
from peering.resources.catalog import PLAN_KINDS
from peering.store.interest import speaker_interests
from peering.store.resources import load
from tests.kube_api.cluster import Cluster, run, until
from underlay import draining

CALICO = "crd.projectcalico.org"
BLOCK = "10.0.0.0/26"
WISHES: tuple[Extent | None, ...] = ("Unused", "Everything", None)


def kubernetes_node(**metadata: Any) -> dict[str, Any]:
    addresses = [{"type": "InternalIP", "address": "192.0.2.1"}]
    metadata = {"name": "n1", **metadata}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": {"addresses": addresses}}


def test_the_wish_is_no_node_and_leaves_kubernetes_own_in_force(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            await cluster.server.put(kubernetes_node(), "")
            store = cluster.store()
            assert await draining._write(store, "n1", "Unused")
            assert not await draining._write(store, "n1", "Unused")
            assert (await draining._wish(store, "n1")).extent == "Unused"
            resources, _, problems = await load(store, PLAN_KINDS)
            assert {one.ref for one in resources} == {"Node/n1", "BGPConfiguration/node.n1"}
            assert problems == []
            assert await draining._write(store, "n1", None)
            assert [one.ref for one in (await load(store, PLAN_KINDS))[0]] == ["Node/n1"]

    run(story)


def test_an_annotation_of_kubernetes_node_is_a_wish(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            await cluster.server.put(kubernetes_node(annotations={ANNOTATION: "everything"}), "")
            assert (await draining._wish(cluster.store(), "n1")).extent == "Everything"

    run(story)


@pytest.mark.parametrize("ours_beside", [False, True])
@pytest.mark.parametrize("cordon", [{"unschedulable": True}, {"taints": [{"key": "node.kubernetes.io/unschedulable"}]}])
def test_a_cordon_of_kubernetes_is_a_wish_where_it_is_set(tmp_path: Path, cordon: Any, ours_beside: bool) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            ours = {"apiVersion": "underlay.io/v1alpha1", "metadata": {"name": "n1"}}
            default = {"metadata": {"name": "default"}, "spec": {"drainCordonedNodes": True}}
            await cluster.server.put({**ours, **default, "kind": "BGPConfiguration"})
            if ours_beside:
                await cluster.server.put({**ours, "kind": "Node", "spec": {"bgp": {"ipv4Address": "192.0.2.9/24"}}})
            for spec, extent in (({}, None), (cordon, "Unused"), ({"podCIDR": "10.1.0.0/24"}, None)):
                await cluster.server.put({**kubernetes_node(), "spec": spec}, "")
                assert (await draining._wish(cluster.store(), "n1")).extent == extent

    run(story)


def test_what_calico_says_of_the_node_stays_in_force(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path, calico=True) as cluster:
            await cluster.server.put(kubernetes_node(), "")
            metadata = {"name": "node.n1"}
            theirs = {"kind": "BGPConfiguration", "metadata": metadata, "spec": {"listenPort": 1790}}
            await cluster.server.put(theirs, CALICO)
            store = cluster.store()
            for extent in WISHES:
                assert await draining._write(store, "n1", extent)
                spec = (await store.get("BGPConfiguration", "node.n1")).document["spec"]
                assert spec == {"listenPort": 1790, **({"drain": extent} if extent else {})}

    run(story)


def test_a_drained_speaker_watches_its_own_blocks_and_others_watch_none(tmp_path: Path) -> None:
    def block(cidr: str, node: str, *users: str) -> dict[str, Any]:
        given = [{"ordinal": n, "handle": f"h{n}", "node": user} for n, user in enumerate(users)]
        name = cidr.replace(".", "-").replace("/", "-")
        metadata = {"name": name, "labels": {"underlay.io/node": node}}
        spec = {"cidr": cidr, "affinity": f"host:{node}", "allocations": given}
        return {"apiVersion": "underlay.io/v1alpha1", "kind": "IPAMBlock", "metadata": metadata, "spec": spec}

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            await cluster.server.put(block(BLOCK, "n1", ""))
            await cluster.server.put(block("10.0.0.64/26", "n2"))
            store = cluster.store(speaker_interests("n1"))
            changes: list[str] = []
            drain = NodeDrain(store, "n1", lambda: changes.append("changed"), print)
            working = asyncio.create_task(drain.run())
            await store.snapshot(("BlockAffinity",))
            asked = {query["labelSelector"] for _, name, _, query in cluster.server.queries if "ipamblocks" in name}
            assert asked == set()
            drain.follow(DrainWish("Unused"))
            drain.told(everybody=True, now=0)
            drain.tick(100)
            view = NodeView(blocks=(BLOCK,))
            await until(lambda: cluster.server.requests["watch", "ipamblocks.underlay.io"] == 1)
            assert drain.announced(view).blocks == (BLOCK,)
            await cluster.server.put(block(BLOCK, "n1"))
            await until(lambda: changes == ["changed"])
            assert drain.announced(view).blocks == ()
            asked = {query["labelSelector"] for _, name, _, query in cluster.server.queries if "ipamblocks" in name}
            assert asked == {"underlay.io/node=n1"}
            drain.follow(DrainWish())
            drain.follow(DrainWish("Unused"))
            drain.told(everybody=True, now=200)
            drain.tick(300)
            assert drain.announced(view).blocks == (BLOCK,), "what was known then may be used by now"
            working.cancel()

    run(story)


@pytest.mark.parametrize("extent", ["Unused", "Everything"])
def test_the_last_pod_takes_its_pod_cidr_along_as_it_would_a_block(tmp_path: Path, extent: Extent) -> None:
    """Who serves the node's pods is asked while a drain is wanted; the podCIDR that it knows of nothing stays."""
    pod_cidr, other = "10.1.7.0/24", "10.1.8.0/24"
    unused: set[str] = set()
    asked: list[tuple[str, ...]] = []

    def ask(pod_cidrs: Iterable[str]) -> frozenset[str]:
        asked.append(tuple(pod_cidrs))
        return frozenset(unused)

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            changes: list[str] = []
            drain = NodeDrain(cluster.store(speaker_interests("n1")), "n1", lambda: changes.append("c"), print, ask)
            working = asyncio.create_task(drain.run())
            view = NodeView(blocks=(pod_cidr, other))
            drain.follow(DrainWish(), (pod_cidr, other))
            await asyncio.sleep(0.05)
            assert asked == []
            drain.follow(DrainWish(extent), (pod_cidr, other))
            assert (drain.phase, drain.announced(view).blocks) == ("draining", (pod_cidr, other))
            await until(lambda: asked == [(pod_cidr, other)])
            drain.told(everybody=True, now=0)
            drain.tick(100)
            assert drain.announced(view).blocks == ((pod_cidr, other) if extent == "Unused" else ())
            for now, left in (({pod_cidr}, (other,)), (set(), (pod_cidr, other)), ({pod_cidr}, (other,))):
                unused.clear()
                unused.update(now)
                changes.clear()
                await until(lambda: changes == ["c"])
                assert drain.announced(view).blocks == (left if extent == "Unused" else ())
            drain.follow(DrainWish(), (pod_cidr, other))
            assert drain.announced(view).blocks == (pod_cidr, other)
            working.cancel()

    run(story)
