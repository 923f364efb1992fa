"""What an idle speaker costs an API server: requests and connections. And how it knows that a watch is dead."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bgp_speaker.node_status import StatusWriter
from bgp_speaker.node_view import WATCHED
from peering.resources.observed import BGPNodeStatusSpec
from peering.store.interest import speaker_interests
from peering.store.kubernetes import api, follower
from peering.store.kubernetes.store import KubernetesStore
from peering.store.protocol import Document
from tests.kube_api.cluster import Cluster, run, until
from tests.kube_api.server import ApiServer
from tests.kube_api.watching import Watching

#: So much faster does the time of these tests pass.
_FASTER = 900
#: Of a speaker without passwords and without service addresses; docs/kubernetes.md says so.
_WATCHES = 14
_SERVICES = ("services", "endpointslices.discovery.k8s.io")


def ours(kind: str, name: str, spec: Document, **metadata: Any) -> Document:
    return {"apiVersion": "underlay.io/v1alpha1", "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}


async def without_mesh(server: ApiServer, **more: Any) -> None:
    await server.put(ours("BGPConfiguration", "default", {"nodeToNodeMeshEnabled": False, **more}))


def watches(store: KubernetesStore) -> set[str]:
    return {one.source.plural for one in store._following._followers}


def count(server: ApiServer, verb: str) -> int:
    return sum(number for (asked, _), number in server.requests.items() if asked == verb)


def test_an_idle_speaker_asks_at_most_twice_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two passwords: every watch ends and is begun again meanwhile, and reports are renewed."""
    shortest, longest = follower._WATCH_S
    monkeypatch.setattr(follower, "_WATCH_S", (shortest / _FASTER, longest / _FASTER))
    monkeypatch.setattr(follower, "_AGAIN_S", 1 / _FASTER)

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            await without_mesh(cluster.server)
            store = cluster.store(speaker_interests("node-1"))
            await store.snapshot(WATCHED)
            assert len(store._following._followers) == _WATCHES
            for name in ("tor-a", "tor-b"):
                secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {}}
                await store.create("Secret", name, secret)
                await store.get("Secret", name)
            await until(lambda: count(cluster.server, "watch") == _WATCHES + 2)
            before, began = sum(cluster.server.requests.values()), time.monotonic()
            reporting = asyncio.ensure_future(report(store, began))
            await until(lambda: count(cluster.server, "watch") >= 3 * (_WATCHES + 2))
            minutes = (time.monotonic() - began) * _FASTER / 60
            reporting.cancel()
            assert cluster.server.requests["patch", "bgpnodestatuses.underlay.io"] > 0.5 * minutes
            assert (sum(cluster.server.requests.values()) - before) / minutes <= 2

    async def report(store: KubernetesStore, began: float) -> None:
        """As the agent does, which looks every second whether it is time."""
        writer = StatusWriter(store, "node-1")
        while True:
            await writer.write(BGPNodeStatusSpec(node="node-1"), 1e9 + (time.monotonic() - began) * _FASTER)
            await asyncio.sleep(1 / _FASTER)

    run(story)


def test_services_are_watched_only_where_one_may_be_announced(tmp_path: Path) -> None:
    """They are known in the very reading that shows the range."""

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            await without_mesh(cluster.server)
            service = {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"clusterIP": "10.96.0.1"}}
            await cluster.server.put({"kind": "Service", **service}, group="")
            store = cluster.store(speaker_interests("node-1"))
            objects, _ = await store.snapshot(WATCHED)
            assert {one.kind for one in objects} == {"BGPConfiguration"}
            assert not any(cluster.server.requests["watch", name] for name in _SERVICES)
            assert [one.name for one in await store.list("Service")] == ["shop.web"], "a list is of all"
            await without_mesh(cluster.server, serviceClusterIPs=[{"cidr": "10.96.0.0/16"}])
            while True:
                objects, _ = await store.snapshot(WATCHED)
                if len(objects[0].document["spec"]) == 2:
                    break
            assert {one.name for one in objects} == {"default", "shop.web"}
            assert {"services", "endpointslices"} < watches(store)
            await without_mesh(cluster.server)
            await until(lambda: not {"services", "endpointslices"} & watches(store))
            assert {one.kind for one in (await store.snapshot(WATCHED))[0]} == {"BGPConfiguration"}

    run(story)


def test_a_watch_that_falls_silent_is_begun_again_unless_it_never_spoke(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers send no bookmarks of what nobody has written since they began: such watches would all be cut in vain."""
    monkeypatch.setattr(api, "_SILENCE_S", 0.4)
    monkeypatch.setattr(follower, "_FIRST_PAUSE_S", 0.01)
    bookmark = Watching._bookmark

    async def once_and_never_of_racks(watching: Watching, response: Any) -> None:
        if watching._place.resource.plural != "racks":
            await bookmark(watching, response)
        watching._bookmarks = False

    monkeypatch.setattr(Watching, "_bookmark", once_and_never_of_racks)

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            cluster.server.bookmark_interval = 0.05
            store = cluster.store(interests=())
            await store.snapshot(["Rack", "Switch"])
            await until(lambda: cluster.server.requests["watch", "switches.underlay.io"] == 3)
            assert cluster.server.requests["watch", "racks.underlay.io"] == 1
            assert cluster.server.requests["list", "switches.underlay.io"] == 1

    run(story)


def test_a_watch_without_bookmarks_is_not_trusted_beyond_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that does not even end it when asked to."""
    monkeypatch.setattr(api, "_SILENCE_S", 0.1)
    monkeypatch.setattr(follower, "_WATCH_S", (1, 1))
    monkeypatch.setattr(follower, "_FIRST_PAUSE_S", 0.01)

    async def forever(watching: Watching, response: Any, bookmark_interval: float) -> None:
        await asyncio.sleep(3600)

    monkeypatch.setattr(Watching, "write", forever)

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            store = cluster.store(interests=())
            await store.snapshot(["Rack"])
            await until(lambda: cluster.server.requests["watch", "racks.underlay.io"] == 2)

    run(story)


def test_the_kernel_is_asked_to_find_dead_connections_of_watches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[list[int]] = []
    keep_alive: Callable[[aiohttp.ClientResponse], None] = api._keep_alive

    def look(response: aiohttp.ClientResponse) -> None:
        keep_alive(response)
        assert response.connection is not None
        assert response.connection.transport is not None
        sock = response.connection.transport.get_extra_info("socket")
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        on = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        found.append([on, *(sock.getsockopt(socket.IPPROTO_TCP, option) for option in options)])

    monkeypatch.setattr(api, "_keep_alive", look)

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            await cluster.store(interests=()).snapshot(["Rack"])
            await until(lambda: bool(found))
            on, idle, interval, tries = found[0]
            assert on
            assert idle + interval * tries <= 60

    run(story)
