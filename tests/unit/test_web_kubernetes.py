"""The page on a cluster: what it asks the API server for is what its role allows, and the server may go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
import yaml
from aiohttp import ClientSession

from peering.store.kubernetes import api, follower
from tests.kube_api.cluster import Cluster, run
from tests.kube_api.pauses import shorten
from tests.unit.test_web_server import next_change, ready, served, text_of, until, up
from tests.unit.web_world import world
from underlay import web_fabric
from underlay.web_fabric import Fabric

ROLE = Path(__file__).parents[2] / "config" / "rbac" / "web.yaml"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_REQUEST_S", 0.5)
    shorten(monkeypatch)
    monkeypatch.setattr(follower, "_AGAIN_S", 0.01)
    monkeypatch.setattr(web_fabric, "_LOOK_S", 0.05)


def allowed() -> Iterator[tuple[str, str]]:
    (role,) = [d for d in yaml.safe_load_all(ROLE.read_text()) if d["kind"] == "ClusterRole"]
    for rule in role["rules"]:
        for group, resource in product(rule["apiGroups"], rule["resources"]):
            yield from ((verb, f"{resource}.{group}".rstrip(".")) for verb in rule["verbs"])


def test_a_cluster_is_followed_and_its_api_server_may_go(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            for one in world(now=time.time()):
                await cluster.server.put(one.to_document())
            cluster.server.requests.clear()
            async with served(Fabric(cluster.store(interests=()))) as url, ClientSession() as session:
                await until(lambda: ready(url, session))
                assert "<b>15</b> of <b>16</b> sessions" in await text_of(url, session)
                async with session.get(f"{url}/changes") as stream:
                    await next_change(stream)
                    await cluster.server.put(up("node-1").to_document())
                    await next_change(stream)
                    assert "<b>16</b> of <b>16</b> sessions" in await text_of(url, session)
                    assert await _asked_alone(cluster)
                    await cluster.server.stop()
                    await until(lambda: _says(url, session, True))
                    assert "<b>16</b> of <b>16</b> sessions" in await text_of(url, session)
                    assert await ready(url, session)
                    await cluster.server.start()
                    await until(lambda: _says(url, session, False))
        asked = {key for key, number in cluster.server.requests.items() if number}
        assert asked
        assert asked <= set(allowed())

    run(story)


async def _says(url: str, session: ClientSession, away: bool) -> bool:
    return ("The store does not answer" in await text_of(url, session)) is away


async def _asked_alone(cluster: Cluster) -> bool:
    """Whether a second of quiet costs no request: nothing is polled."""
    before = cluster.server.requests.total()
    await asyncio.sleep(1.0)
    return cluster.server.requests.total() == before
