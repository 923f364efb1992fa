"""Pods of a node between a real store, a speaker that says what the test wants, and real folders and sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bgp_speaker.node_state import NodeState
from bgp_speaker.node_view import NodeView
from ipam import cni_socket
from ipam.cni_socket import listen
from ipam.conflist import FILE_NAME, PLUGIN
from peering.compile import plan
from peering.resource import Resource
from peering.resources.node import NodeSpec
from peering.resources.pools import IPPoolSpec
from peering.store.protocol import StoreError
from peering.store.resources import put
from peering.store.sqlite import SqliteStore
from tests.unit.cni_world import NODE, FailingStore, Folder, declare_pools, until
from tests.unit.samples import dual_tor
from tests.unit.test_cni_errors import small_disk
from underlay import node_pods
from underlay.node_pods import BlockClaims, CniPlaces, NodePods

PLAN = plan(dual_tor()).speakers[NODE]
VIEW = NodeView(
    plan=PLAN,
    node=Resource("Node", NODE, NodeSpec()),
    blocks=("10.244.0.0/26", "fd00:244::/122"),
    others_peer=True,
)
DOWN = NodeState(VIEW, established=0, mtu=9000)
UP = replace(DOWN, established=1)


class World:
    """A node with its folders; `state` is what its speaker says."""

    def __init__(self, folder: Path) -> None:
        self.cni = Folder(folder)
        self.store = FailingStore(self.cni.store)
        self.places = CniPlaces(folder / "net.d", folder / "bin", self.cni.socket, self.cni.queue)
        self.state = DOWN
        self.asked = 0
        self.claims = BlockClaims()
        self.said: list[str] = []

    @property
    def list(self) -> Path:
        return self.places.net_dir / FILE_NAME

    @property
    def plugin(self) -> Path:
        return self.places.bin_dir / PLUGIN

    def mtu(self) -> int:
        """Of the list; 0 while there is none."""
        return int(json.loads(self.list.read_text())["plugins"][0]["mtu"]) if self.list.exists() else 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        pods = NodePods(self.store, NODE, self.places, self._answer, self.claims, self.said.append)
        task = asyncio.create_task(pods.run())
        try:
            yield
            assert not task.done(), "it has ended by itself"
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.store.close()

    def _answer(self) -> NodeState:
        self.asked += 1
        return self.state

    async def status(self) -> tuple[int, str]:
        """Code and message of STATUS; 0 is that all is well."""
        return await status_at(self.places.socket, self.cni.config())

    async def looks(self) -> None:
        """Until it has acted on what is there now, and once more."""
        asked = self.asked
        await until(lambda: self.asked >= asked + 3)


async def status_at(path: Path, config: dict[str, Any]) -> tuple[int, str]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(json.dumps({"command": "STATUS", "config": config}).encode() + b"\n")
    error = json.loads(await reader.readline()).get("error") or {"code": 0, "msg": ""}
    writer.close()
    return error["code"], error["msg"]


Story = Callable[[World], Awaitable[None]]


def tell(folder: Path, story: Story, prepare: Callable[[World], None] = lambda w: None) -> World:
    world = World(folder)

    async def work() -> None:
        await declare_pools(world.cni)
        prepare(world)
        async with world.running():
            await story(world)

    asyncio.run(work())
    return world


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_pods, "_LOOK_S", 0.005)
    monkeypatch.setattr(cni_socket, "_LOOK_S", 0.005)


def test_a_list_comes_once_the_node_is_ready_and_stays(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        await until(w.plugin.exists)
        await w.looks()
        assert not w.places.net_dir.exists()
        w.state = UP
        await until(w.list.exists)
        assert w.mtu() == 9000
        ipam = json.loads(w.list.read_text())["plugins"][0]["ipam"]
        assert (ipam["socket"], ipam["queue"]) == (str(w.places.socket), str(w.places.queue))
        for later in (DOWN, replace(DOWN, view=NodeView()), NodeState()):
            w.state = later
            await w.looks()
            assert w.mtu() == 9000

    told = tell(tmp_path, story)
    assert told.said == [
        "cni: no pods yet: no BGP session is Established, of 4 in the plan",
        f"cni: {told.list} written, MTU 9000",
    ]


def test_a_list_of_an_earlier_agent_stays_as_it_is_until_the_node_is_ready(tmp_path: Path) -> None:
    (tmp_path / "net.d").mkdir()
    (tmp_path / "net.d" / FILE_NAME).write_text("{}")

    async def story(w: World) -> None:
        await until(w.plugin.exists)
        await w.looks()
        assert w.list.read_text() == "{}"
        w.state = UP
        await until(lambda: w.list.read_text() != "{}" and w.mtu() == 9000)

    tell(tmp_path, story)


def test_pods_of_an_earlier_agent_are_reached_until_it_is_known_better(tmp_path: Path) -> None:
    (tmp_path / "net.d").mkdir()
    (tmp_path / "net.d" / FILE_NAME).write_text("{}")

    async def story(w: World) -> None:
        await until(w.cni.socket.exists)
        assert await w.status() == (0, "")

    tell(tmp_path, story)


def test_the_list_has_the_mtu_of_the_day_and_the_last_one_while_none_is_known(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        w.state = UP
        await until(lambda: w.mtu() == 9000)
        w.state = replace(DOWN, mtu=8950)
        await until(lambda: w.mtu() == 8950)
        w.state = replace(UP, mtu=0)
        await w.looks()
        assert w.mtu() == 8950

    tell(tmp_path, story)


def test_without_a_known_uplink_pods_get_the_usual_mtu(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        w.state = replace(UP, mtu=0)
        await until(lambda: w.mtu() == 1500)
        w.state = UP
        await until(lambda: w.mtu() == 9000)

    told = tell(tmp_path, story)
    assert "cni: no link with an address of an uplink or a session: MTU 1500" in told.said


async def declare_pod_cidrs(w: World) -> tuple[Resource, ...]:
    """Pools of podCIDRs in place of the usual ones."""
    pools = [
        Resource("IPPool", name, IPPoolSpec(cidr=cidr, ipam="podCIDR"))
        for name, cidr in {"pods-v4": "10.1.0.0/16", "pods-v6": "fd00:1::/48"}.items()
    ]
    for pool in pools:
        await put(w.store, pool)
    return tuple(pools)


def of_kubernetes(pools: tuple[Resource, ...], *pod_cidrs: str) -> NodeState:
    """All is well, and the Node has these podCIDRs."""
    node = Resource("Node", NODE, NodeSpec(pod_cidrs=pod_cidrs))
    return replace(UP, view=replace(VIEW, node=node, pools=pools, blocks=pod_cidrs))


def ipam_of(w: World) -> dict[str, Any]:
    """Of the list; empty while there is none."""
    return dict(json.loads(w.list.read_text())["plugins"][0]["ipam"]) if w.list.exists() else {}


def subnets(ipam: dict[str, Any]) -> list[str]:
    return [one["subnet"] for ranges in ipam.get("ranges", ()) for one in ranges]


def test_the_list_follows_the_pod_cidrs_of_the_node_and_keeps_the_last_ones(tmp_path: Path) -> None:
    first, later = ("10.1.7.0/24", "fd00:1:0:7::/64"), ("10.1.8.0/24", "fd00:1:0:7::/64")

    async def story(w: World) -> None:
        pools = await declare_pod_cidrs(w)
        w.state = of_kubernetes(pools)
        await until(lambda: any("no podCIDR of IPv4 and IPv6" in line for line in w.said))
        assert not w.list.exists()
        w.state = of_kubernetes(pools, *first)
        await until(w.list.exists)
        assert (ipam_of(w)["type"], subnets(ipam_of(w))) == ("host-local", list(first))
        assert ipam_of(w)["dataDir"] == str(w.places.socket.parent / "host-local")
        w.state = of_kubernetes(pools, *later)
        await until(lambda: subnets(ipam_of(w)) == list(later))
        both = (*pools, Resource("IPPool", "blocks", IPPoolSpec(cidr="10.2.0.0/16")))
        for worse in (of_kubernetes(pools), of_kubernetes(both, *first), replace(UP, view=NodeView()), NodeState()):
            w.state = worse
            await w.looks()
            assert subnets(ipam_of(w)) == list(later)

    told = tell(tmp_path, story)
    assert [line for line in told.said if "written" in line or "stays" in line] == [
        f"cni: {told.list} written, MTU 9000, podCIDRs 10.1.7.0/24, fd00:1:0:7::/64",
        f"cni: {told.list} written, MTU 9000, podCIDRs 10.1.8.0/24, fd00:1:0:7::/64",
        "cni: the list stays as it is: its Node has no podCIDR of IPv4 and IPv6 that is a block of an IPPool",
        "cni: the list stays as it is: it has IPPools of both kinds for IPv4: let their nodeSelectors exclude it",
    ]


def test_the_list_is_made_of_what_the_speaker_knows_when_it_knows_what_the_store_says(tmp_path: Path) -> None:
    """Else it would be one of blocks for a moment, and pods would get addresses of a pool that is gone."""

    async def story(w: World) -> None:
        pools = await declare_pod_cidrs(w)
        pod_cidrs = ("10.1.7.0/24", "fd00:1:0:7::/64")
        known = of_kubernetes((), *pod_cidrs)
        w.state = known
        await w.looks()
        assert not w.list.exists()
        w.state = of_kubernetes(pools, *pod_cidrs)
        await until(w.list.exists)
        assert ipam_of(w)["type"] == "host-local"

    told = tell(tmp_path, story)
    assert len([line for line in told.said if "written" in line]) == 1


def test_what_somebody_removed_or_changed_comes_back(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        w.state = UP
        await until(w.list.exists)
        right = w.list.read_text()
        w.state = DOWN
        for path in (w.list, w.plugin):
            path.unlink()
            await until(path.exists)
        w.list.write_text("{}")
        await until(lambda: w.list.read_text() == right)

    tell(tmp_path, story)


def test_what_cannot_be_written_is_said_once_and_tried_again(tmp_path: Path) -> None:
    def prepare(w: World) -> None:
        w.places.net_dir.write_text("a file in its place")

    async def story(w: World) -> None:
        w.state = UP
        await until(lambda: any("net.d" in line for line in w.said))
        await w.looks()
        w.places.net_dir.unlink()
        await until(w.list.exists)

    told = tell(tmp_path, story, prepare)
    (line,) = (line for line in told.said if line.endswith("(trying again)"))
    assert line == f"cni: {told.places.net_dir}: File exists (trying again)"


def test_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "net.d"):
        (tmp_path / "net.d" / "all").write_bytes(b"x" * 4096)

        async def story(w: World) -> None:
            w.state = UP
            await until(lambda: f"cni: {w.places.net_dir}: No space left on device (trying again)" in w.said)
            assert {path.name for path in w.places.net_dir.iterdir()} == {"all"}
            (w.places.net_dir / "all").unlink()
            await until(lambda: w.mtu() == 9000)

        tell(tmp_path, story)


def test_without_a_plugin_there_is_no_list(tmp_path: Path) -> None:
    """The list would promise the runtime what is not there."""

    def prepare(w: World) -> None:
        w.places.bin_dir.write_text("a file in its place")

    async def story(w: World) -> None:
        w.state = UP
        await until(lambda: f"cni: {w.places.bin_dir}: File exists (trying again)" in w.said)
        await w.looks()
        assert not w.list.exists()
        w.places.bin_dir.unlink()
        await until(w.list.exists)

    tell(tmp_path, story, prepare)


def test_the_plugin_is_run_by_the_python_that_is_said(tmp_path: Path) -> None:
    """An agent in a container cannot look for the node's."""

    def prepare(w: World) -> None:
        w.places = replace(w.places, python=Path("/opt/node/python3"))

    async def story(w: World) -> None:
        await until(w.plugin.exists)
        assert w.plugin.read_text().splitlines()[0] == "#!/opt/node/python3 -IS"

    tell(tmp_path, story, prepare)


def test_a_plugin_of_an_earlier_agent_that_cannot_be_replaced_is_good_enough(tmp_path: Path) -> None:
    """A folder that is read-only, as part of the machine's image."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], check=True)
    try:
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / PLUGIN).write_text("of an earlier version")
        subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        try:

            async def story(w: World) -> None:
                w.state = UP
                await until(w.list.exists)

            told = tell(tmp_path, story)
            assert f"cni: {folder}: Read-only file system (trying again)" in told.said
        finally:
            subprocess.run(["umount", str(folder)], check=True)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_store_that_is_away_keeps_a_new_node_waiting_and_says_so_once(tmp_path: Path) -> None:
    def prepare(w: World) -> None:
        w.store.away = True
        w.state = UP

    async def story(w: World) -> None:
        await until(lambda: w.said == ["cni: no pods yet: the store is away"])
        await w.looks()
        assert not w.list.exists()
        w.store.away = False
        await until(w.list.exists)

    tell(tmp_path, story, prepare)


def test_a_socket_that_somebody_else_has_is_waited_for(tmp_path: Path) -> None:
    taken = Folder(tmp_path).socket

    async def story(w: World) -> None:
        await until(lambda: f"cni: {taken}: another agent listens on {taken} (trying again)" in w.said)
        await w.looks()
        assert len([line for line in w.said if "another agent" in line]) == 1
        other.close()
        await until(lambda: len(w.said) > 0 and accepts(taken))
        w.state = UP
        assert await w.status() == (0, "")

    other = listen(taken)
    tell(tmp_path, story)


def test_a_socket_that_somebody_removed_is_made_anew(tmp_path: Path) -> None:
    async def story(w: World) -> None:
        w.state = UP
        for _ in range(2):
            await until(lambda: accepts(w.places.socket))
            assert await w.status() == (0, "")
            w.places.socket.unlink()
        await until(lambda: accepts(w.places.socket))

    told = tell(tmp_path, story)
    assert told.said.count(f"cni: {told.places.socket} was removed: it is made anew") == 2


def accepts(path: Path) -> bool:
    """Whether somebody listens; one that listens no longer leaves the file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(str(path)) == 0


def test_status_tells_whether_pods_may_come_and_whether_those_that_run_are_reached(tmp_path: Path) -> None:
    at_once = replace(PLAN, sessions=tuple(replace(s, graceful_restart_time=0) for s in PLAN.sessions))

    async def story(w: World) -> None:
        await until(w.cni.socket.exists)
        assert (await w.status())[0] == 51, "there never was a session"
        w.state = NodeState()
        assert await w.status() == (50, f"Node/{NODE}: the node agent has just started")
        w.state = UP
        assert await w.status() == (0, "")
        w.state = replace(UP, view=replace(VIEW, blocks=()))
        assert await w.status() == (50, f"Node/{NODE}: it has no block of IPv4 and IPv6 yet")
        w.state = DOWN
        assert await w.status() == (0, ""), "its peers keep the routes for the restart time"
        w.state = replace(DOWN, view=replace(VIEW, plan=at_once))
        assert await w.status() == (51, f"Node/{NODE}: no BGP session is Established, of 4 in the plan")
        w.state = replace(UP, view=replace(VIEW, node=None, plan=None))
        assert await w.status() == (51, f"Node/{NODE}: there is no such Node")
        w.state = UP
        w.store.away = True
        assert await w.status() == (50, "the store is away")

    tell(tmp_path, story)


def test_claims_say_that_a_pool_is_full_until_it_is_no_longer(tmp_path: Path) -> None:
    async def work() -> None:
        store, claims = SqliteStore(tmp_path / "store.db"), BlockClaims()
        node = Resource("Node", NODE, NodeSpec())
        await put(store, node)
        await put(store, Resource("Node", "node-2", NodeSpec()))
        pool = Resource("IPPool", "small", IPPoolSpec.model_validate({"cidr": "10.1.0.0/26"}))
        await put(store, pool)
        await claims.claim(store, Resource("Node", "node-2", NodeSpec()), (pool,))
        said = f"no free block for Node/{NODE} in IPPool small"
        with pytest.raises(StoreError, match=said):
            await claims.claim(store, node, (pool,))
        assert claims.exhausted == said
        wider = Resource("IPPool", "wider", IPPoolSpec.model_validate({"cidr": "10.2.0.0/16"}))
        await put(store, wider)
        await store.delete("IPPool", "small")
        await claims.claim(store, node, (wider,))
        assert claims.exhausted == ""
        await store.close()

    asyncio.run(work())
