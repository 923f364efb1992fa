"""`--calico-crds`: Calico's own resources of a cluster are read, where it has them, and never written."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from peering.resources.catalog import PLAN_KINDS
from peering.store.kubernetes import follower
from peering.store.kubernetes.sources import CALICO
from peering.store.open_store import reading_calico
from peering.store.protocol import Document, StoreError
from tests.kube_api.cluster import Cluster, run, until
from tests.kube_api.resources import calico_definitions
from tests.kube_api.server import ApiServer
from tests.unit.command_line import Result, run_underlay
from tests.unit.test_kubernetes_commands import SAMPLE, server  # noqa: F401 - a fixture
from underlay.cli import command_line

GROUP = CALICO.partition("/")[0]
READ_ONLY = {"get", "list", "watch"}


def peer(name: str) -> Document:
    return {
        "apiVersion": CALICO,
        "kind": "BGPPeer",
        "metadata": {"name": name},
        "spec": {"peerIP": "192.0.2.9", "asNumber": 1},
    }


def options(command: Any, name: str = "") -> Iterator[tuple[str, set[str]]]:
    for below, one in getattr(command, "commands", {}).items():
        yield from options(one, f"{name} {below}".strip())
    if not hasattr(command, "commands"):
        yield name, {word for parameter in command.params for word in parameter.opts}


def test_whatever_takes_a_store_takes_it() -> None:
    """Also when the commands are put together again."""
    for _ in range(2):
        found = dict(options(typer.main.get_command(command_line())))
        assert len(found) > 20
        for name, words in found.items():
            assert ("--calico-crds" in words) is ("--store" in words), name


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("kubernetes", "kubernetes?calico-crds"),
        ("kubernetes:prod", "kubernetes:prod?calico-crds"),
        ("kubernetes:prod?namespace=net", "kubernetes:prod?namespace=net&calico-crds"),
        ("kubernetes?calico-crds", "kubernetes?calico-crds"),
    ],
)
def test_it_is_the_setting_of_the_url(url: str, read: str) -> None:
    assert reading_calico(url) == read


@pytest.mark.parametrize("url", ["sqlite:/nowhere/store.db", "kubernetesque:a"])
def test_other_stores_have_none(url: str) -> None:
    with pytest.raises(StoreError):
        reading_calico(url)
    result = run_underlay("get", "nodes", "--store", url, "--calico-crds")
    assert result.exit_code == 2
    assert "--calico-crds" in result.stderr
    assert "use --store kubernetes" in result.stderr


def succeeds(*arguments: str) -> Result:
    result = run_underlay(*arguments)
    assert result.exit_code == 0, result
    return result


def work_through(api: ApiServer) -> None:
    """Commands that read, judge and write; what they did to Calico's group is looked at."""
    succeeds("apply", "-f", str(SAMPLE), "--calico-crds")
    succeeds("get", "bgppeers", "--calico-crds")
    succeeds("lint", "--calico-crds")
    succeeds("apply", "-f", str(SAMPLE), "--calico-crds")
    succeeds("delete", "ippool", "pods-v6", "--calico-crds", "--force")
    assert {verb for verb, group, _ in api.used if group == GROUP} <= {"list"}
    assert {verb for verb, group, _ in api.used if group == "underlay.io"} - READ_ONLY


def test_they_are_read_and_not_written(server: ApiServer) -> None:  # noqa: F811 - the fixture
    server.registry.add_definitions(calico_definitions())
    asyncio.run(server.put(peer("from-calico"), GROUP))
    assert "from-calico" not in succeeds("get", "bgppeers").stdout
    assert not [group for _, group, _ in server.used if group == GROUP]
    assert "from-calico" in succeeds("get", "bgppeers", "--calico-crds").stdout
    before = server.kept("bgppeers", "from-calico", GROUP)
    work_through(server)
    assert server.kept("bgppeers", "from-calico", GROUP) == before
    for kept in ("bgppeer/from-calico",):
        refused = run_underlay("delete", *kept.split("/"), "--calico-crds")
        assert (refused.exit_code, "only read here" in refused.stderr) == (1, True), refused


def test_a_cluster_without_calico_is_as_good(server: ApiServer) -> None:  # noqa: F811 - the fixture
    work_through(server)


def test_a_process_looks_now_and_then_for_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of Calico's kinds is missing, as with an older Calico; it comes, and goes with its definition."""
    monkeypatch.setattr(follower, "_LOOK_S", (0.05, 0.1))
    monkeypatch.setattr(follower, "_AGAIN_S", 0.05)

    async def story() -> None:
        async with Cluster(tmp_path, calico=True) as cluster:
            registry, place = cluster.server.registry.found, (GROUP, "v1", "bgppeers")
            definition = registry.pop(place)
            store = cluster.store(())
            objects, since = await store.snapshot(PLAN_KINDS)
            assert objects == []
            assert store.trouble() == ""
            watch = store.watch(["BGPPeer"], since)
            waiting = asyncio.ensure_future(anext(watch))
            registry[place] = definition
            await cluster.server.put(peer("p"), GROUP)
            (change,) = await waiting
            assert change.stored is not None
            del registry[place]
            cluster.server.cut_watches()
            (change,) = await anext(watch)
            assert (change.name, change.stored) == ("p", None)
            await until(lambda: store.trouble() == "")
            assert {verb for verb, group, _ in cluster.server.used if group == GROUP} <= READ_ONLY

    run(story)
