"""The controller: rendered files follow the store, the last good ones stay, blocks of nodes that are gone are freed."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fabric_templates.output import write_atomically
from ipam.allocator import Allocator
from ipam.claims import confirmed_blocks
from ipam.collector import Collector, Freed
from ipam.new_blocks import ensure_blocks
from ipam.requests import Request
from peering.resource import Resource, parse_resource
from peering.store.protocol import Document, StoreError, Write
from peering.store.resources import load, put
from peering.store.sqlite import SqliteStore
from tests.unit.samples import dual_tor
from underlay import controller, rendered_folder
from underlay.controller import Controller, Graces
from underlay.rendered_folder import INDEX, RenderedFolder


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
    async def controlled(
        self, *, with_secrets: bool = False, grace: float = 0.05, leak_grace: float = 0.05
    ) -> AsyncIterator[None]:
        graces = Graces(grace, leak_grace)
        work = Controller(self.store, self.said.append, graces, self.out, with_secrets)
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


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller, "_COLLECT_PAUSE_S", 0.01)


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


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()


async def without_rack_1(cluster: Cluster) -> None:
    """Deletes the rack with its switches, and the nodes that stand in it."""
    gone = [("Rack", "rack-1"), ("Switch", "tor-1a"), ("Switch", "tor-1b"), ("Node", "node-1"), ("Node", "node-2")]
    _, since = await cluster.store.snapshot(())
    await cluster.store.apply_all([Write(kind, name, None) for kind, name in gone], (), since)


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


def test_the_folder_of_a_deleted_switch_goes_with_what_was_written_there(tmp_path: Path) -> None:
    async def story(cluster: Cluster) -> None:
        await all_rendered(cluster)
        (cluster.out / "tor-1b" / "notes.txt").write_text("mine")
        (cluster.out / "tor-9").mkdir()
        (cluster.out / "tor-9" / "frr.conf").write_text("mine")
        await without_rack_1(cluster)
        await eventually(lambda: not (cluster.out / "tor-1a").exists())
        await eventually(lambda: names(cluster.out / "tor-1b") == {"notes.txt"})
        assert names(cluster.out) == {INDEX, "tor-1b", "tor-2a", "tor-2b", "tor-9"}
        assert (cluster.out / "tor-9" / "frr.conf").read_text() == "mine"
        assert "router bgp 65021" in cluster.text("tor-2a")

    tell(tmp_path, story)


def test_a_rendered_file_that_somebody_edited_stays(tmp_path: Path) -> None:
    async def story(cluster: Cluster) -> None:
        await all_rendered(cluster)
        (file,) = (cluster.out / "tor-1a").iterdir()
        file.write_text(file.read_text() + "! by hand\n")
        await without_rack_1(cluster)
        await eventually(lambda: f"{file} stays: somebody changed it after it was rendered" in cluster.said)
        await eventually(lambda: not (cluster.out / "tor-1b").exists())
        assert file.read_text().endswith("! by hand\n")

    tell(tmp_path, story)


def test_what_was_deleted_while_no_controller_ran_is_removed_by_the_next(tmp_path: Path) -> None:
    async def story(cluster: Cluster) -> None:
        await all_rendered(cluster)

    async def goes(cluster: Cluster) -> None:
        await eventually(lambda: names(cluster.out) == {INDEX, "tor-2a", "tor-2b"})

    tell(tmp_path, story)
    cluster = Cluster(tmp_path)

    async def next_one() -> None:
        await without_rack_1(cluster)
        async with cluster.controlled():
            await goes(cluster)

    asyncio.run(next_one())


@pytest.mark.parametrize(
    "index",
    [
        "{",
        "[]",
        '{"../tor-1a": {"x": []}}',
        '{"tor-1a": {"../../victim": ["%s"]}}',
        '{"tor-1a": {"/victim": ["%s"]}}',
        '{"tor-1a": {"x": "y"}}',
        '{"tor-1a": []}',
    ],
)
def test_an_index_that_is_none_removes_nothing(tmp_path: Path, index: str) -> None:
    said: list[str] = []
    out = tmp_path / "deeper" / "rendered"
    (out / "tor-1a").mkdir(parents=True)
    victim = tmp_path / "deeper" / "victim"
    victim.write_text("mine")
    hashed = hashlib.sha256(b"mine").hexdigest()
    (out / INDEX).write_text(index.replace("%s", hashed))
    RenderedFolder(out, said.append).remove_all_but({"tor-2a"})
    assert said == [f"{out / INDEX} cannot be read: what was rendered before stays where it is"]
    assert victim.read_text() == "mine"
    assert (out / "tor-1a").is_dir()


def test_a_file_that_a_switch_has_no_longer_is_removed(tmp_path: Path) -> None:
    folder = RenderedFolder(tmp_path, lambda _: None)
    assert folder.keep("tor-1a", {"etc/frr.conf": "a", "daemons": "b"})
    assert not folder.keep("tor-1a", {"etc/frr.conf": "a", "daemons": "b"})
    assert folder.keep("tor-1a", {"daemons": "b"})
    assert names(tmp_path / "tor-1a") == {"daemons"}
    RenderedFolder(tmp_path, lambda _: None).remove_all_but({"tor-9"})
    assert names(tmp_path) == {INDEX}


def test_no_switch_at_all_removes_nothing(tmp_path: Path) -> None:
    folder = RenderedFolder(tmp_path, lambda _: None)
    folder.keep("tor-1a", {"frr.conf": "a"})
    folder.remove_all_but(())
    assert names(tmp_path / "tor-1a") == {"frr.conf"}
    folder.remove_all_but({"tor-1b"})
    assert names(tmp_path) == {INDEX}


def test_the_index_is_for_its_owner_only(tmp_path: Path) -> None:
    """With the rest of a text known, its hash would tell whether a guessed password is right."""
    RenderedFolder(tmp_path, lambda _: None).keep("tor-1a", {"frr.conf": "a"}, {"frr.conf"})
    assert (tmp_path / INDEX).stat().st_mode & 0o777 == 0o600


def test_a_file_whose_writing_was_cut_short_is_known_nevertheless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the index and the file: the old text is still one of ours."""
    RenderedFolder(tmp_path, lambda _: None).keep("tor-1a", {"frr.conf": "old"})

    def killed(directory: Path, files: dict[str, str], **more: Any) -> None:
        if INDEX not in files:
            raise KeyboardInterrupt
        write_atomically(directory, files, **more)

    monkeypatch.setattr(rendered_folder, "write_atomically", killed)
    with pytest.raises(KeyboardInterrupt):
        RenderedFolder(tmp_path, lambda _: None).keep("tor-1a", {"frr.conf": "new"})
    monkeypatch.undo()
    RenderedFolder(tmp_path, lambda _: None).remove_all_but({"tor-9"})
    assert names(tmp_path) == {INDEX}


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


@pytest.mark.parametrize(("leak_grace", "is_freed"), [(0.05, True), (3600.0, False)])
def test_an_address_whose_node_is_gone_waits_for_a_grace_time_of_its_own(
    tmp_path: Path, leak_grace: float, is_freed: bool
) -> None:
    cluster = Cluster(tmp_path)

    async def work() -> None:
        await cluster.declare(*dual_tor())
        await Allocator(cluster.store, "node-1").allocate(Request("net.c1"))
        await cluster.store.delete("Node", "node-1")
        async with cluster.controlled(leak_grace=leak_grace):
            await eventually(lambda: any("its node is gone" in line and "block" in line for line in cluster.said))
            if is_freed:
                await eventually(lambda: any("net.c1 freed" in line for line in cluster.said))
            handles, _, _ = await load(cluster.store, ("IPAMHandle",))
        assert len(handles) == (0 if is_freed else 1)

    asyncio.run(work())


def test_what_is_due_is_freed_then_however_long_changes_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller, "_COLLECT_PAUSE_S", 3600.0)
    cluster = Cluster(tmp_path)

    async def work() -> None:
        await cluster.declare(*dual_tor())
        await ensure_blocks(cluster.store, dual_tor().all("Node")["node-1"], dual_tor().all("IPPool").values())
        await cluster.store.delete("Node", "node-1")
        async with cluster.controlled():
            await eventually(lambda: len([line for line in cluster.said if "of Node/node-1 freed" in line]) == 2)

    asyncio.run(work())


def test_pods_that_come_and_go_keep_neither_the_collector_nor_the_renderer_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every pod writes a block and a handle; a look reads all of them."""
    pause = 0.2
    monkeypatch.setattr(controller, "_COLLECT_PAUSE_S", pause)
    looks, renderings = list[float](), list[float]()
    collect, render = Collector.collect, Controller._render

    async def counted_collect(self: Collector, now: float) -> list[Freed]:
        looks.append(now)
        return await collect(self, now)

    async def counted_render(self: Controller, folder: RenderedFolder) -> None:
        renderings.append(0)
        await render(self, folder)

    monkeypatch.setattr(Collector, "collect", counted_collect)
    monkeypatch.setattr(Controller, "_render", counted_render)

    async def story(cluster: Cluster) -> None:
        await all_rendered(cluster)
        before, rendered = len(looks), len(renderings)
        allocator = Allocator(cluster.store, "node-1")
        while len(looks) < before + 4:
            for number in range(10):
                await allocator.allocate(Request(f"net.c{number}"))
                await allocator.release(f"net.c{number}")
            await asyncio.sleep(0)
        assert all(later - earlier >= pause for earlier, later in pairwise(looks))
        assert len(renderings) == rendered

    tell(tmp_path, story, grace=60)


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
        await asyncio.sleep(0.1)
        assert cluster.said.count("the store is away (trying again)") == 1
        monkeypatch.setattr(cluster.store, "snapshot", real)
        await eventually(lambda: "router bgp 65019" in cluster.text("tor-1a"))

    tell(tmp_path, story)
