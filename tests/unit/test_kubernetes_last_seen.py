"""An agent that starts while the API server is away goes by what the one before it knew; not by what is too old."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from bgp_speaker.node_view import ViewReader
from peering.store.interest import speaker_interests
from peering.store.kubernetes import following
from peering.store.kubernetes.last_seen import OLDEST_S, LastSeen
from peering.store.kubernetes.objects import Packed
from peering.store.kubernetes.selection import Selection
from peering.store.kubernetes.sources import sources_of
from peering.store.protocol import Document, StoreError
from tests.kube_api.cluster import NAMESPACE, Cluster, run, until
from tests.kube_api.pauses import shorten

(PEERS,) = (Selection(source) for source in sources_of("BGPPeer", NAMESPACE, False))
ONE = Selection(PEERS.source, name="one")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)
    monkeypatch.setattr(following, "_KEPT_AFTER_S", 0.05)
    monkeypatch.setattr(following, "_STILL_HOLDS_S", 0.1)


def ours(kind: str, name: str, spec: Document, labels: dict[str, str] | None = None) -> Document:
    metadata = {"name": name, "labels": labels or {}}
    return {"apiVersion": "underlay.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def affinity(block: str) -> Document:
    spec = {"node": "n1", "cidr": block, "state": "confirmed"}
    return ours("BlockAffinity", f"n1-{block.translate(str.maketrans('./', '--'))}", spec, {"underlay.io/node": "n1"})


async def declare(cluster: Cluster) -> None:
    secret = {"name": "tor", "namespace": NAMESPACE}
    password = {"secretKeyRef": {"name": "tor", "key": "p"}}
    await cluster.server.put({"apiVersion": "v1", "kind": "Secret", "metadata": secret, "stringData": {"p": "x"}}, "")
    await cluster.server.put(ours("BGPConfiguration", "default", {"nodeToNodeMeshEnabled": False}))
    peer = {"peerIP": "192.0.2.9", "asNumber": 65000, "password": password}
    await cluster.server.put(ours("BGPPeer", "tor", peer))
    await cluster.server.put(ours("Node", "n1", {"bgp": {"ipv4Address": "192.0.2.1/24", "asNumber": 65001}}))
    await cluster.server.put(affinity("10.0.0.0/26"))


def packed(name: str, **spec: Any) -> Packed:
    return Packed(PEERS.source, name, 7, json.dumps({"spec": spec}).encode())


def test_what_was_written_is_read_by_the_next_process_only(tmp_path: Path) -> None:
    file = tmp_path / "seen"
    LastSeen(file, "here").write([(PEERS, [packed("one", asNumber=1), packed("two")]), (ONE, [])])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    after = LastSeen(file, "here")
    found = after.of(PEERS)
    assert found is not None
    assert [(one.name, one.version, one.document["spec"]) for one in found] == [
        ("one", 7, {"asNumber": 1}),
        ("two", 7, {}),
    ]
    assert after.of(ONE) == []
    assert after.of(Selection(PEERS.source, name="two")) is None
    after.write([(PEERS, [packed("three")])])
    assert after.of(PEERS) is None, "what this process has seen itself is newer"
    assert [one.name for one in LastSeen(file, "here").of(PEERS) or ()] == ["three"]
    assert [*tmp_path.iterdir()] == [file]


def test_what_is_not_to_be_believed_is_as_none(tmp_path: Path) -> None:
    file = tmp_path / "seen"
    assert LastSeen(file, "here").of(PEERS) is None
    LastSeen(file, "here").write([(PEERS, [packed("one")])])
    assert LastSeen(file, "here").of(PEERS)
    assert LastSeen(file, "there").of(PEERS) is None
    for ahead, believed in ((OLDEST_S - 5, True), (OLDEST_S + 5, False), (-OLDEST_S - 5, False)):
        later = LastSeen(file, "here", lambda ahead=ahead: time.time() + ahead)  # type: ignore[misc]
        assert (later.of(PEERS) is not None) == believed
    os.utime(file, (0, time.time() - OLDEST_S - 5))
    assert LastSeen(file, "here").of(PEERS) is None
    LastSeen(file, "here").touch()
    assert LastSeen(file, "here").of(PEERS)
    for text in ("", "[]", "{", '{"version": 1}', file.read_text().replace('"version": 1', '"version": 2')):
        file.write_text(text)
        assert LastSeen(file, "here").of(PEERS) is None


def test_an_agent_that_starts_while_the_server_is_away_sees_what_the_one_before_saw(tmp_path: Path) -> None:
    file = tmp_path / "seen"

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            await declare(cluster)
            first = cluster.store(speaker_interests("n1"), file)
            before = await ViewReader(first, "n1").read()
            assert before.plan is not None
            assert (len(before.plan.sessions), before.blocks, [*before.passwords.values()]) == (
                1,
                ("10.0.0.0/26",),
                ["x"],
            )
            await until(lambda: file.exists() and b"10.0.0.0/26" in file.read_bytes() and b"data" in file.read_bytes())
            await first.close()
            await cluster.server.stop()

            second = cluster.store(speaker_interests("n1"), file)
            reader = ViewReader(second, "n1")
            assert await reader.read() == before
            assert second.trouble()
            written = file.stat().st_mtime_ns

            _, since = await second.snapshot(())
            changes = second.watch(["BlockAffinity"], since)
            await cluster.server.start()
            await cluster.server.put(affinity("10.0.0.64/26"))
            async for _ in changes:
                if len((await reader.read()).blocks) == 2:
                    break
            await until(lambda: not second.trouble())
            assert (await reader.read()).blocks == ("10.0.0.0/26", "10.0.0.64/26")
            await until(lambda: b"10.0.0.64/26" in file.read_bytes())
            assert file.stat().st_mtime_ns > written

    run(story)


def test_what_is_gone_when_the_server_is_back_is_told(tmp_path: Path) -> None:
    file = tmp_path / "seen"

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            await declare(cluster)
            first = cluster.store(speaker_interests("n1"), file)
            await ViewReader(first, "n1").read()
            await until(lambda: file.exists() and b"10.0.0.0/26" in file.read_bytes())
            await first.close()
            await cluster.server.remove("blockaffinities", "n1-10-0-0-0-26")
            await cluster.server.stop()
            second = cluster.store(speaker_interests("n1"), file)
            reader = ViewReader(second, "n1")
            assert (await reader.read()).blocks == ("10.0.0.0/26",)
            _, since = await second.snapshot(())
            changes = second.watch(["BlockAffinity"], since)
            await cluster.server.start()
            assert [one.name for one in await anext(changes)] == ["n1-10-0-0-0-26"]
            assert (await reader.read()).blocks == ()

    run(story)


def test_while_the_server_is_away_the_file_grows_old(tmp_path: Path) -> None:
    """Its age is what decides whether it is believed."""
    file = tmp_path / "seen"

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            await declare(cluster)
            store = cluster.store(speaker_interests("n1"), file)
            await ViewReader(store, "n1").read()
            await until(file.exists)
            before = file.stat().st_mtime_ns
            await until(lambda: file.stat().st_mtime_ns > before)
            await cluster.server.stop()
            await until(lambda: bool(store.trouble()))
            touched, until_then = file.stat().st_mtime_ns, time.monotonic() + 1.0
            await until(lambda: time.monotonic() > until_then)
            assert file.stat().st_mtime_ns == touched

    run(story)


def test_without_a_file_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_FIRST_LISTS_S", 0.5)

    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            await declare(cluster)
            await cluster.server.stop()
            with pytest.raises(StoreError):
                await ViewReader(cluster.store(speaker_interests("n1"), tmp_path / "none"), "n1").read()

    run(story)
