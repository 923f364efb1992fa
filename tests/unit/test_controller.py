"""The controller: rendered files follow the store, the last good ones stay, blocks of nodes that are gone are freed."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ipam.claims import confirmed_blocks, ensure_blocks
from peering.resource import Resource, parse_resource
from peering.store.protocol import Document, StoreError
from peering.store.resources import put
from peering.store.sqlite import SqliteStore
from tests.unit.samples import dual_tor
from underlay import controller
from underlay.controller import Controller


class Cluster:
    """A store with the sample in it, and a controller that works on it."""

    def __init__(self, folder: Path) -> None:
        self.store = SqliteStore(folder / "store.db")
        self.out = folder / "rendered"
        self.said: list[str] = []

    async def declare(self, *resources: Resource) -> None:
        for resource in resources:
            await put(self.store, resource)

    @asynccontextmanager
    async def controlled(self, *, with_secrets: bool = False, grace: float = 0.05) -> AsyncIterator[None]:
        work = Controller(self.store, self.said.append, grace, self.out, with_secrets)
        task = asyncio.create_task(work.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.store.close()

    def text(self, switch: str) -> str:
        files = list((self.out / switch).glob("*")) if (self.out / switch).is_dir() else []
        return files[0].read_text() if files else ""

    def modes(self) -> set[str]:
        return {oct(file.stat().st_mode & 0o777) for file in self.out.glob("*/*")}


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while True:
            if holds():
                return
            await asyncio.sleep(0.005)


def read(document: Document) -> Resource:
    parsed = parse_resource(document)
    assert isinstance(parsed, Resource)
    return parsed


def edited(kind: str, name: str, **changes: object) -> Resource:
    found = dual_tor().get(kind, name)
    assert found is not None
    document = found.to_document()
    document["spec"] |= changes
    return read(document)


Story = Callable[[Cluster], Awaitable[None]]


def tell(folder: Path, story: Story, *, with_secrets: bool = False, grace: float = 0.05) -> Cluster:
    """Runs the story with a controller on the sample."""
    cluster = Cluster(folder)

    async def work() -> None:
        await cluster.declare(*dual_tor())
        async with cluster.controlled(with_secrets=with_secrets, grace=grace):
            await story(cluster)

    asyncio.run(work())
    return cluster


async def all_rendered(cluster: Cluster) -> None:
    await eventually(lambda: all(f"rendered Switch/tor-{n}" in cluster.said for n in ("1a", "1b", "2a", "2b")))


def test_files_follow_the_store_and_only_those_that_change_are_written(tmp_path: Path) -> None:
    async def story(cluster: Cluster) -> None:
        await all_rendered(cluster)
        assert "router bgp 65011" in cluster.text("tor-1a")
        before = {path: path.stat().st_ino for path in cluster.out.glob("*/*")}
        cluster.said.clear()
        await cluster.declare(edited("Switch", "tor-1a", asNumber=65019))
        await eventually(lambda: "router bgp 65019" in cluster.text("tor-1a"))
        await cluster.declare(edited("Switch", "tor-2b", asNumber=65029))
        await eventually(lambda: "router bgp 65029" in cluster.text("tor-2b"))
        assert cluster.said == ["rendered Switch/tor-1a", "rendered Switch/tor-2b"]
        kept = {path for path, inode in before.items() if path.stat().st_ino == inode}
        assert {path.parent.name for path in kept} == {"tor-1b", "tor-2a"}

    cluster = tell(tmp_path, story)
    assert cluster.modes() == {"0o644"}


def test_a_plan_with_errors_leaves_the_last_good_files(tmp_path: Path) -> None:
    async def story(cluster: Cluster) -> None:
        await all_rendered(cluster)
        before = {path: path.read_text() for path in cluster.out.glob("*/*")}
        broken = edited("Rack", "rack-1", switches=["tor-1a", "nowhere"])
        await cluster.declare(broken)
        await eventually(lambda: "the plan has 1 errors: rendered files stay as they are" in cluster.said)
        assert {path: path.read_text() for path in cluster.out.glob("*/*")} == before

    tell(tmp_path, story)


def test_a_document_that_cannot_be_read_leaves_them_too(tmp_path: Path) -> None:
    """Without it the plan would be whole, and the rack's sessions would be missing from it."""

    async def story(cluster: Cluster) -> None:
        await all_rendered(cluster)
        before = {path: path.read_text() for path in cluster.out.glob("*/*")}
        newer = edited("Rack", "rack-1").to_document()
        newer["spec"]["newField"] = True
        await cluster.store.update("Rack", "rack-1", newer)
        await eventually(lambda: "the plan has 1 errors: rendered files stay as they are" in cluster.said)
        assert {path: path.read_text() for path in cluster.out.glob("*/*")} == before

    tell(tmp_path, story)


def test_a_switch_that_cannot_be_rendered_stops_no_other(tmp_path: Path) -> None:
    async def story(cluster: Cluster) -> None:
        await all_rendered(cluster)
        await cluster.declare(edited("Switch", "tor-1a", platform="abacus"))
        await eventually(lambda: any(line.startswith("Switch/tor-1a stays as it is: ") for line in cluster.said))
        await cluster.declare(edited("Switch", "tor-2a", asNumber=65028))
        await eventually(lambda: "router bgp 65028" in cluster.text("tor-2a"))
        assert "router bgp 65011" in cluster.text("tor-1a")

    tell(tmp_path, story)


@pytest.mark.parametrize("with_secrets", [True, False])
def test_passwords_only_where_they_are_asked_for_and_then_for_the_owner_only(
    tmp_path: Path, with_secrets: bool
) -> None:
    value = secrets.token_hex(8)
    rack = edited("Rack", "rack-1", password={"secretKeyRef": {"name": "rack-1", "key": "bgp"}})
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "rack-1"}, "stringData": {"bgp": value}}

    async def story(cluster: Cluster) -> None:
        await all_rendered(cluster)
        await cluster.declare(read(secret), rack)
        await eventually(lambda: "password" in cluster.text("tor-1a") and "password" in cluster.text("tor-1b"))

    cluster = tell(tmp_path, story, with_secrets=with_secrets)
    assert (value in cluster.text("tor-1a")) is with_secrets
    assert ("<secret:rack-1/bgp>" in cluster.text("tor-1a")) is not with_secrets
    modes = {path.parent.name: path.stat().st_mode & 0o777 for path in cluster.out.glob("*/*")}
    assert modes["tor-1a"] == (0o600 if with_secrets else 0o644)
    assert modes["tor-2a"] == 0o644
    assert not any(value in line for line in cluster.said)


def test_a_password_that_is_missing_leaves_the_file_until_it_comes(tmp_path: Path) -> None:
    rack = edited("Rack", "rack-1", password={"secretKeyRef": {"name": "rack-1", "key": "bgp"}})
    value = secrets.token_hex(8)

    async def story(cluster: Cluster) -> None:
        await all_rendered(cluster)
        await cluster.declare(rack)
        await eventually(lambda: any(line.startswith("Switch/tor-1a stays as it is") for line in cluster.said))
        await asyncio.sleep(0.2)  # so that nothing but the Secret can be what it looks again for
        assert "password" not in cluster.text("tor-1a")
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "rack-1"}, "stringData": {"bgp": value}}
        await cluster.declare(read(secret))
        await eventually(lambda: value in cluster.text("tor-1a"))

    tell(tmp_path, story, with_secrets=True)


def test_the_blocks_of_a_node_that_is_gone_are_freed_after_the_grace_time(tmp_path: Path) -> None:
    async def story(cluster: Cluster) -> None:
        pools = list(dual_tor().all("IPPool").values())
        nodes = dual_tor().all("Node")
        for name in ("node-1", "node-2"):
            await ensure_blocks(cluster.store, nodes[name], pools)
        mine, other = [await confirmed_blocks(cluster.store, name) for name in ("node-1", "node-2")]
        assert len(mine) == len(other) == 2
        await cluster.store.delete("Node", "node-1")
        await eventually(lambda: len([line for line in cluster.said if "of Node/node-1 freed" in line]) == 2)
        assert await confirmed_blocks(cluster.store, "node-1") == []
        assert await confirmed_blocks(cluster.store, "node-2") == other
        assert {b.document["spec"]["cidr"] for b in await cluster.store.list("IPAMBlock")} == set(other)

    tell(tmp_path, story)


def test_a_node_that_cannot_be_read_keeps_its_blocks(tmp_path: Path) -> None:
    """A Node that a newer version wrote is there, whoever cannot read it."""

    async def story(cluster: Cluster) -> None:
        nodes = dual_tor().all("Node")
        blocks = await ensure_blocks(cluster.store, nodes["node-1"], dual_tor().all("IPPool").values())
        newer = nodes["node-1"].to_document()
        newer["spec"]["newField"] = True
        await cluster.store.update("Node", "node-1", newer)
        await eventually(lambda: any("the plan has" in line for line in cluster.said))
        for number in range(3):
            await cluster.declare(edited("IPPool", "pods-v4", disabled=bool(number % 2)))
            await asyncio.sleep(0.05)
        assert await confirmed_blocks(cluster.store, "node-1") == blocks

    tell(tmp_path, story, grace=0.01)


def test_a_store_that_is_away_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller, "_RETRY_S", 0.02)

    async def story(cluster: Cluster) -> None:
        await all_rendered(cluster)
        real = cluster.store.snapshot

        async def away(kinds: object) -> object:
            raise StoreError("the store is away")

        monkeypatch.setattr(cluster.store, "snapshot", away)
        await cluster.declare(edited("Switch", "tor-1a", asNumber=65019))
        await eventually(lambda: "the store is away (trying again)" in cluster.said)
        monkeypatch.setattr(cluster.store, "snapshot", real)
        await eventually(lambda: "router bgp 65019" in cluster.text("tor-1a"))

    tell(tmp_path, story)
