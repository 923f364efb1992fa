"""The agent between a real store, a fake ExaBGP and a fake kernel: what it does with what it hears from each."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from bgp_speaker import agent, reconciler
from bgp_speaker.agent import AlreadyRunning, Speaker
from bgp_speaker.exabgp_attributes import Attributes
from bgp_speaker.exabgp_driver import ConfigRefused, Connected, ExaBGPFailed, Exited
from bgp_speaker.exabgp_events import EndOfRib, PeerState, Undecodable, Update
from bgp_speaker.exabgp_neighbors import NeighborState
from bgp_speaker.initial_sync import InitialSync
from bgp_speaker.node_policy import NodePolicy
from bgp_speaker.node_view import NodeView, ViewReader
from ipam.cni_service import CniService
from ipam.new_blocks import ensure_blocks
from peering.compile import plan
from peering.prefixes import Address, Prefix, pack_address, pack_prefix
from peering.resource import Resource, parse_resource
from peering.resources.bgp_filter import BGPFilterSpec
from peering.resources.observed import BGPNodeStatusSpec, PeerStatus
from peering.store.protocol import Document, Event, Store, StoreError
from peering.store.resources import find, put
from peering.store.sqlite import SqliteStore
from tests.unit.samples import dual_tor

NODE = "node-1"
SESSIONS = plan(dual_tor()).speakers[NODE].sessions
PEERS = [s.peer_address for s in SESSIONS]
BLOCK = "10.244.0.0/26"


class FakeExaBGP:
    """Takes every configuration and command, and connects as soon as it is started."""

    made: ClassVar[list[FakeExaBGP]] = []
    #: What the next `start` or `ensure` raises.
    refusal: ClassVar[Exception | None] = None

    def __init__(
        self,
        run_dir: Path,
        *,
        on_event: Callable[[object], None],
        log: Callable[[str], None],
        user: str,
        orphan_timeout: float,
    ) -> None:
        self.socket_path = run_dir / "exabgp.sock"
        self.shim_command = ("/usr/bin/python3", "shim.py")
        self.on_event = on_event
        self.log = log
        self.orphan_timeout = orphan_timeout
        self.texts: list[str] = []
        self.calls: list[str] = []
        self.lines: list[str] = []
        self.table: dict[str, set[str]] = {}
        self.ready = False
        FakeExaBGP.made.append(self)

    async def start(self, text: str) -> str:
        if self.ready:
            return await self.ensure(text)
        self.calls.append("start")
        self._take(text)
        self.ready = True
        self.on_event(Connected(pid=1, fresh=True, adopted=False, lost=0, neighbors=()))
        return "started"

    async def ensure(self, text: str) -> str:
        self.calls.append("ensure")
        if self.texts and text == self.texts[-1]:
            return "unchanged"
        self._take(text)
        return "reloaded"

    async def send_all(self, lines: Iterable[str]) -> list[str]:
        self.lines += lines
        await asyncio.sleep(0)
        return []

    async def announced(self) -> dict[str, set[str]]:
        return self.table

    async def neighbors(self) -> tuple[NeighborState, ...]:
        return ()

    async def stop(self) -> None:
        self.calls.append("stop")
        self.ready = False

    async def leave(self) -> None:
        self.calls.append("leave")
        self.ready = False

    def _take(self, text: str) -> None:
        if FakeExaBGP.refusal is not None:
            raise FakeExaBGP.refusal
        self.texts.append(text)

    def session(self, peer: str, state: str, reason: str = "") -> None:
        self.on_event(PeerState(peer, state, reason))  # type: ignore[arg-type]

    def configured(self) -> set[str]:
        """The peers in the configuration that was taken last."""
        return {line.split()[1] for line in self.texts[-1].splitlines() if line.startswith("neighbor ")}


class FakeRoutes:
    """The kernel: keeps what was written last."""

    made: ClassVar[list[FakeRoutes]] = []

    def __init__(self, log: object, changed: Callable[[], None]) -> None:
        self.changed = changed
        self.written: list[tuple[tuple[str, ...], bool]] = []
        self.discarded: tuple[str, ...] = ()
        self.learned: set[Prefix] = set()
        self.peers: set[Prefix] = set()
        self.link_mtu = 9000
        FakeRoutes.made.append(self)

    async def __aenter__(self) -> FakeRoutes:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def read_links(self) -> None:
        pass

    def connected(self, gateway: Address) -> int | None:
        return 1

    def interface(self, gateway: Address) -> str | None:
        return "eth0"

    def sources(self, loopbacks: Iterable[str]) -> list[Address]:
        return []

    def mtu(self, sessions: Iterable[object], uplinks: Iterable[str]) -> int:
        return self.link_mtu

    def distrust(self) -> None:
        pass

    def write(
        self,
        desired: Mapping[Prefix, object],
        blocks: Iterable[str],
        peers: Mapping[Prefix, object],
        sync: InitialSync | None,
    ) -> int:
        self.written.append((tuple(blocks), sync is not None and sync.over))
        self.learned, self.peers = set(desired), set(peers)
        return len(desired)

    def discard(self, services: Iterable[str]) -> None:
        self.discarded = tuple(services)


class Agent:
    """A running speaker with everything around it."""

    def __init__(self, folder: Path) -> None:
        self.store = SqliteStore(folder / "store.db")
        self.run_dir = folder / "run"
        self.claims: list[str] = []
        self.claim_fault: Exception | None = None
        self.said: list[str] = []

    def speaker(self) -> Speaker:
        return Speaker(NODE, self.store, self.run_dir, self._claim, self.said.append)

    async def _claim(self, store: Store, node: Resource, pools: tuple[Resource, ...]) -> None:
        self.claims.append(node.name)
        if self.claim_fault is not None:
            raise self.claim_fault

    @property
    def exabgp(self) -> FakeExaBGP:
        return FakeExaBGP.made[-1]

    @property
    def routes(self) -> FakeRoutes:
        return FakeRoutes.made[-1]

    async def declare(self, *resources: Resource) -> None:
        for resource in resources:
            await put(self.store, resource)

    async def status(self) -> BGPNodeStatusSpec | None:
        found = await find(self.store, "BGPNodeStatus", NODE)
        return cast(BGPNodeStatusSpec, found.spec) if found else None

    async def row(self, number: int = 0) -> PeerStatus | None:
        status = await self.status()
        return status.sessions[number] if status else None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Speaker]:
        """From the first configuration to a clean end."""
        speaker = self.speaker()
        task = asyncio.create_task(speaker.run())
        try:
            yield speaker
        finally:
            speaker.stop()
            await asyncio.wait_for(task, 10)
            await self.store.close()


async def eventually(holds: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
    """Waits until the condition holds."""
    async with asyncio.timeout(10):
        while True:
            answer = holds()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.005)


def read(document: Document) -> Resource:
    parsed = parse_resource(document)
    assert isinstance(parsed, Resource)
    return parsed


def rack_1(**changes: object) -> Resource:
    rack = dual_tor().get("Rack", "rack-1")
    assert rack is not None
    document = rack.to_document()
    document["spec"] |= changes
    return read(document)


def block(cidr: str = BLOCK) -> Resource:
    spec = {"node": NODE, "cidr": cidr, "state": "confirmed"}
    name = f"{NODE}-{cidr.replace('.', '-').replace('/', '-')}"
    return read(
        {"apiVersion": "underlay.io/v1alpha1", "kind": "BlockAffinity", "metadata": {"name": name}, "spec": spec}
    )


@pytest.fixture(autouse=True)
def _small_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "ExaBGP", FakeExaBGP)
    monkeypatch.setattr(agent, "RouteWriter", FakeRoutes)
    monkeypatch.setattr(agent, "_GONE_TWICE_S", 0.05)
    monkeypatch.setattr(agent, "_STATUS_PAUSE_S", 0.01)
    monkeypatch.setattr(reconciler, "_FIRST_RETRY_S", 0.01)
    monkeypatch.setattr(FakeExaBGP, "made", [])
    monkeypatch.setattr(FakeExaBGP, "refusal", None)
    monkeypatch.setattr(FakeRoutes, "made", [])


Story = Callable[[Agent, Speaker], Awaitable[None]]


def tell(folder: Path, story: Story, *resources: Resource) -> Agent:
    """Runs the story with an agent that finds these resources in its store."""
    told = Agent(folder)

    async def work() -> None:
        await told.declare(*resources)
        async with told.running() as speaker:
            await story(told, speaker)

    asyncio.run(work())
    return told


async def started(a: Agent) -> None:
    await eventually(lambda: bool(FakeExaBGP.made) and a.exabgp.ready)


def test_exabgp_gets_the_sessions_and_the_status_follows_them(tmp_path: Path) -> None:
    async def story(a: Agent, _: Speaker) -> None:
        await started(a)
        assert a.exabgp.configured() == set(PEERS)
        a.exabgp.session(PEERS[0], "up")
        await eventually(lambda: any("announce eor" in line for line in a.exabgp.lines))
        assert [line.split()[-1] for line in a.exabgp.lines if "nlri" in line] == ["10.0.11.1/32"]
        assert [line for line in a.exabgp.lines if f"neighbor {PEERS[0]} " not in line] == []
        a.exabgp.session(PEERS[1], "down", "refused")
        await eventually(lambda: _rows(a, [("Established", ""), ("Idle", "refused")]))
        row = await a.row()
        assert row is not None
        assert row.announced == 1
        a.exabgp.session(PEERS[0], "down", "hold timer expired")
        await eventually(lambda: _rows(a, [("Idle", "hold timer expired"), ("Idle", "refused")]))

    told = tell(tmp_path, story, *dual_tor())
    assert f"session with {PEERS[0]} up" in told.said
    assert f"session with {PEERS[0]} down: hold timer expired" in told.said
    assert told.exabgp.calls[-1] == "stop"


async def _row_is(a: Agent, number: int, state: str, received: int) -> bool:
    row = await a.row(number)
    return row is not None and (row.state, row.received) == (state, received)


async def _rows(a: Agent, expected: list[tuple[str, str]]) -> bool:
    status = await a.status()
    return status is not None and [(s.state, s.reason) for s in status.sessions][: len(expected)] == expected


def test_a_confirmed_block_is_announced_and_a_lost_one_withdrawn_and_claimed_anew(tmp_path: Path) -> None:
    async def story(a: Agent, _: Speaker) -> None:
        await started(a)
        a.exabgp.session(PEERS[0], "up")
        await eventually(lambda: a.claims == [NODE])
        await a.declare(block())
        await eventually(lambda: any(line.endswith(f"nlri {BLOCK}") and "announce" in line for line in a.exabgp.lines))
        await eventually(lambda: bool(a.routes.written) and a.routes.written[-1][0] == (BLOCK,))
        claims = len(a.claims)
        await a.store.delete("BlockAffinity", block().name)
        await eventually(lambda: any(line.endswith(f"nlri {BLOCK}") and "withdraw" in line for line in a.exabgp.lines))
        await eventually(lambda: a.routes.written[-1][0] == () and len(a.claims) > claims)

    tell(tmp_path, story, *dual_tor())


def test_a_node_that_is_missing_in_one_reading_only_keeps_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "_GONE_TWICE_S", 0.2)
    found: list[bool] = []

    class Noting(ViewReader):
        async def read(self) -> NodeView:
            view = await super().read()
            found.append(view.plan is not None)
            return view

    monkeypatch.setattr(agent, "ViewReader", Noting)

    async def story(a: Agent, _: Speaker) -> None:
        await started(a)
        node = dual_tor().get("Node", NODE)
        assert node is not None
        await a.store.delete("Node", NODE)
        await eventually(lambda: not found[-1])
        await a.declare(node)
        await a.declare(block())
        await eventually(lambda: a.routes.written[-1][0] == (BLOCK,))
        assert (len(FakeExaBGP.made), a.exabgp.calls.count("stop")) == (1, 0)
        assert [line for line in a.exabgp.lines if "withdraw" in line] == []

    tell(tmp_path, story, *dual_tor())


def test_a_node_that_stays_missing_withdraws_everything_and_ends_its_sessions(tmp_path: Path) -> None:
    async def story(a: Agent, _: Speaker) -> None:
        await started(a)
        a.exabgp.session(PEERS[0], "up")
        await eventually(lambda: any("nlri" in line and BLOCK in line for line in a.exabgp.lines))
        await a.store.delete("Node", NODE)
        await eventually(lambda: a.exabgp.calls[-1] == "stop")
        assert "withdraw" in a.exabgp.lines[-1]
        assert {BLOCK, "10.0.11.1/32"} <= set(a.exabgp.lines[-1].split())
        await eventually(lambda: a.routes.written[-1] == ((), True))
        await eventually(lambda: _rows(a, []))
        node = dual_tor().get("Node", NODE)
        assert node is not None
        await a.declare(node)
        await eventually(lambda: len(FakeExaBGP.made) == 2 and a.exabgp.ready)

    tell(tmp_path, story, *dual_tor(), block())


def test_a_node_that_is_not_declared_gets_no_exabgp(tmp_path: Path) -> None:
    async def story(a: Agent, _: Speaker) -> None:
        await eventually(lambda: bool(FakeRoutes.made) and bool(a.routes.written))
        status = await a.status()
        assert FakeExaBGP.made == []
        assert a.claims == []
        assert status is None or status.sessions == ()

    tell(tmp_path, story)


def test_a_store_that_is_away_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(a: Agent, _: Speaker) -> None:
        await started(a)
        real = a.store.snapshot

        async def away(kinds: Iterable[str]) -> Any:
            raise StoreError("the store is away")

        monkeypatch.setattr(a.store, "snapshot", away)
        await a.declare(block())
        await eventually(lambda: "store: the store is away (trying again)" in a.said)
        a.exabgp.session(PEERS[0], "up")
        await eventually(lambda: any("announce eor" in line for line in a.exabgp.lines))
        assert not any(BLOCK in line for line in a.exabgp.lines)
        monkeypatch.setattr(a.store, "snapshot", real)
        await eventually(lambda: any(BLOCK in line for line in a.exabgp.lines))

    tell(tmp_path, story, *dual_tor())


def test_a_claim_that_fails_is_in_the_status_until_it_succeeds(tmp_path: Path) -> None:
    async def story(a: Agent, _: Speaker) -> None:
        a.claim_fault = StoreError("no free block")
        await eventually(lambda: _problem(a, "no free block"))
        await eventually(lambda: len(a.claims) > 2)
        a.claim_fault = None
        await eventually(lambda: _problem(a, None))

    told = tell(tmp_path, story, *dual_tor())
    assert told.said.count("ipam: no free block") == 1


async def _problem(a: Agent, text: str | None) -> bool:
    """Whether the status has a problem with this text; with None, whether it has none at all."""
    status = await a.status()
    if status is None:
        return False
    return not status.problems if text is None else any(text in problem for problem in status.problems)


def test_a_second_agent_in_the_same_run_directory_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    async def story(a: Agent, _: Speaker) -> None:
        await started(a)
        with pytest.raises(AlreadyRunning, match="another speaker works in"):
            await a.speaker().run()
        assert (len(FakeExaBGP.made), a.exabgp.calls.count("stop")) == (1, 0)

    told = tell(tmp_path, story, *dual_tor())

    async def again() -> None:
        told.store = SqliteStore(tmp_path / "store.db")
        async with told.running():
            await eventually(lambda: len(FakeExaBGP.made) == 2)

    asyncio.run(again())


def test_a_refused_configuration_leaves_the_old_one_and_is_told(tmp_path: Path) -> None:
    async def story(a: Agent, _: Speaker) -> None:
        await started(a)
        FakeExaBGP.refusal = ConfigRefused("line 7: no")
        await a.declare(rack_1(holdTime=30))
        await eventually(lambda: _problem(a, "line 7: no"))
        assert (len(a.exabgp.texts), a.exabgp.calls.count("stop")) == (1, 0)
        FakeExaBGP.refusal = None
        await a.declare(rack_1(holdTime=60))
        await eventually(lambda: _problem(a, None))
        assert "hold-time 60;" in a.exabgp.texts[-1]

    told = tell(tmp_path, story, *dual_tor())
    assert told.said.count("exabgp: line 7: no") == 1


def test_an_exabgp_that_does_not_come_up_is_told(tmp_path: Path) -> None:
    FakeExaBGP.refusal = ExaBGPFailed("ExaBGP does not come up; its log says why")

    async def story(a: Agent, _: Speaker) -> None:
        await eventually(lambda: _problem(a, "does not come up"))

    tell(tmp_path, story, *dual_tor())


def test_a_session_without_its_password_waits_and_comes_with_the_secret(tmp_path: Path) -> None:
    value = secrets.token_hex(8)
    password = {"secretKeyRef": {"name": "rack-1", "key": "bgp"}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "rack-1"}, "stringData": {"bgp": value}}

    async def story(a: Agent, _: Speaker) -> None:
        await started(a)
        assert a.exabgp.configured() == set()
        await eventually(lambda: _rows(a, [("Idle", "its password is not known")] * len(PEERS)))
        await a.declare(read(secret))
        await eventually(lambda: a.exabgp.configured() == set(PEERS))
        assert "md5-password" in a.exabgp.texts[-1]
        await eventually(lambda: _rows(a, [("Idle", "never came up")] * len(PEERS)))
        await a.store.delete("Secret", "rack-1")
        await eventually(lambda: a.exabgp.configured() == set())

    told = tell(tmp_path, story, *dual_tor().with_changes([rack_1(password=password)]))
    assert not any(value in line for line in told.said)


def test_what_changes_nothing_for_this_node_does_not_touch_exabgp(tmp_path: Path) -> None:
    async def story(a: Agent, _: Speaker) -> None:
        await started(a)
        calls = len(a.exabgp.calls)
        twin = dual_tor().get("Node", "node-3")
        assert twin is not None
        await a.store.delete("Node", "node-3")
        await a.declare(twin, block())
        await eventually(lambda: bool(a.routes.written) and a.routes.written[-1][0] == (BLOCK,))
        assert len(a.exabgp.calls) == calls

    tell(tmp_path, story, *dual_tor())


def test_the_status_is_written_when_something_changed_and_not_otherwise(tmp_path: Path) -> None:
    async def story(a: Agent, _: Speaker) -> None:
        await started(a)
        a.exabgp.session(PEERS[0], "up")
        await eventually(lambda: _rows(a, [("Established", "")]))
        await eventually(lambda: _announced(a, 1))
        before = (await a.store.get("BGPNodeStatus", NODE)).version
        for peer in PEERS[:3]:
            a.exabgp.session(peer, "connected")
            a.routes.changed()
            await asyncio.sleep(0.05)
        assert (await a.store.get("BGPNodeStatus", NODE)).version == before

    tell(tmp_path, story, *dual_tor())


async def _announced(a: Agent, count: int) -> bool:
    row = await a.row()
    return row is not None and row.announced == count


def test_the_death_of_exabgp_ends_its_sessions_and_the_next_one_is_told_everything(tmp_path: Path) -> None:
    async def story(a: Agent, _: Speaker) -> None:
        await started(a)
        a.exabgp.session(PEERS[0], "up")
        await eventually(lambda: any("announce eor" in line for line in a.exabgp.lines))
        a.exabgp.ready = False
        a.exabgp.on_event(Exited("killed"))
        await eventually(lambda: _rows(a, [("Idle", "ExaBGP ended")]))
        status = await a.status()
        assert status is not None
        assert status.exabgp_restarts == 1
        a.exabgp.lines.clear()
        a.exabgp.ready = True
        a.exabgp.on_event(Connected(pid=2, fresh=True, adopted=False, lost=0, neighbors=()))
        a.exabgp.session(PEERS[0], "up")
        await eventually(lambda: any("announce eor" in line for line in a.exabgp.lines))
        assert "10.0.11.1/32" in a.exabgp.lines[0]

    tell(tmp_path, story, *dual_tor())


def neighbor(peer: str, *, up: bool) -> NeighborState:
    return NeighborState(
        peer=peer,
        local="10.0.0.9",
        asn=65011,
        up=up,
        uptime=50 if up else 0,
        families=("ipv4-unicast",),
        router_id=None,
        hold_time=9,
        graceful_restart=True,
    )


def test_an_adopted_exabgp_keeps_its_sessions_with_their_age_and_loses_what_is_not_true(tmp_path: Path) -> None:
    async def story(a: Agent, _: Speaker) -> None:
        await started(a)
        a.exabgp.table = {PEERS[0]: {"10.244.9.0/26", "10.0.11.1/32"}}
        neighbors = (neighbor(PEERS[0], up=True), neighbor(PEERS[1], up=False))
        a.exabgp.on_event(Connected(pid=1, fresh=False, adopted=True, lost=3, neighbors=neighbors))
        await eventually(lambda: any("announce route-refresh" in line for line in a.exabgp.lines))
        assert [line.split()[-1] for line in a.exabgp.lines if "withdraw" in line] == ["10.244.9.0/26"]
        await eventually(lambda: _rows(a, [("Established", ""), ("Idle", "not up yet")]))
        row = await a.row()
        assert row is not None
        status = await a.status()
        assert status is not None
        assert 45 < status.reported - row.since < 60

    tell(tmp_path, story, *dual_tor())


def test_old_kernel_routes_are_held_until_every_session_has_told_everything(tmp_path: Path) -> None:
    async def story(a: Agent, _: Speaker) -> None:
        await started(a)
        await eventually(lambda: bool(a.routes.written))
        for session in SESSIONS[:-1]:
            a.exabgp.on_event(EndOfRib(session.peer_address, session.families[0]))
        await asyncio.sleep(0.1)
        assert not a.routes.written[-1][1]
        a.exabgp.on_event(EndOfRib(PEERS[-1], SESSIONS[-1].families[0]))
        await eventually(lambda: a.routes.written[-1][1])

    tell(tmp_path, story, *dual_tor())


def test_after_a_line_that_cannot_be_read_the_peers_are_asked_to_repeat(tmp_path: Path) -> None:
    async def story(a: Agent, _: Speaker) -> None:
        await started(a)
        a.exabgp.session(PEERS[0], "up")
        await eventually(lambda: any("announce eor" in line for line in a.exabgp.lines))
        a.exabgp.lines.clear()
        a.exabgp.on_event(Undecodable("{garbage", "no JSON"))
        await eventually(lambda: a.exabgp.lines == [f"neighbor {PEERS[0]} announce route-refresh ipv4 unicast"])

    told = tell(tmp_path, story, *dual_tor())
    assert any("cannot read '{garbage'" in line for line in told.said)


def test_a_bug_ends_the_agent_and_leaves_exabgp_to_the_next_one(tmp_path: Path) -> None:
    async def check() -> None:
        a = Agent(tmp_path)
        await a.declare(*dual_tor())
        task = asyncio.create_task(a.speaker().run())
        await started(a)
        FakeExaBGP.refusal = RuntimeError("a bug")
        await a.declare(rack_1(holdTime=30))
        with pytest.raises(ExceptionGroup):
            await asyncio.wait_for(task, 10)
        assert a.exabgp.calls[-1] == "leave"
        await a.store.close()

    asyncio.run(check())


def test_exabgp_outlives_its_agent_for_the_restart_time_that_its_peers_were_told(tmp_path: Path) -> None:
    async def story(a: Agent, _: Speaker) -> None:
        await started(a)
        assert a.exabgp.orphan_timeout == 77

    tell(tmp_path, story, *dual_tor().with_changes([rack_1(gracefulRestartTime=77)]))


def test_a_start_that_failed_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faults: list[OSError] = [OSError("no space left on device")]
    start = FakeExaBGP.start

    async def failing(self: FakeExaBGP, text: str) -> str:
        if faults:
            raise faults.pop()
        return await start(self, text)

    monkeypatch.setattr(FakeExaBGP, "start", failing)

    async def story(a: Agent, _: Speaker) -> None:
        await started(a)
        assert a.exabgp.configured() == set(PEERS)

    told = tell(tmp_path, story, *dual_tor())
    assert "exabgp: no space left on device (trying again)" in told.said


def test_an_exabgp_that_comes_up_late_is_no_problem_any_more(tmp_path: Path) -> None:
    FakeExaBGP.refusal = ExaBGPFailed("ExaBGP does not come up; its log says why")

    async def story(a: Agent, _: Speaker) -> None:
        await eventually(lambda: _problem(a, "does not come up"))
        FakeExaBGP.refusal = None
        a.exabgp.ready = True
        a.exabgp.on_event(Connected(pid=1, fresh=True, adopted=False, lost=0, neighbors=()))
        await eventually(lambda: _problem(a, None))

    tell(tmp_path, story, *dual_tor())


@pytest.mark.parametrize(("kind", "name"), [("Rack", "rack-1"), ("Node", NODE)])
def test_what_cannot_be_read_any_more_takes_no_session_away(tmp_path: Path, kind: str, name: str) -> None:
    found = dual_tor().get(kind, name)
    assert found is not None
    newer = found.to_document()
    newer["spec"]["newField"] = True

    async def story(a: Agent, _: Speaker) -> None:
        await started(a)
        a.exabgp.session(PEERS[0], "up")
        await eventually(lambda: _announced(a, 1))
        await a.store.update(kind, name, newer)
        await eventually(lambda: _problem(a, "spec.newField"))
        await a.declare(block())
        await eventually(lambda: _announced(a, 2))
        assert a.exabgp.configured() == set(PEERS)
        assert "stop" not in a.exabgp.calls
        await a.declare(found)
        await eventually(lambda: _problem(a, None))

    tell(tmp_path, story, *dual_tor())


@pytest.fixture
def view(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[NodeView], NodeView]]:
    """What the agent sees is what the store declares, changed by what is put in here."""
    changes: list[Callable[[NodeView], NodeView]] = []

    class Changing(ViewReader):
        async def read(self) -> NodeView:
            found = await super().read()
            for change in changes:
                found = change(found)
            return found

    monkeypatch.setattr(agent, "ViewReader", Changing)
    return changes


View = list[Callable[[NodeView], NodeView]]


def wake(number: int) -> Resource:
    """Something that makes the agent look, and changes nothing for it."""
    data = {"number": str(number)}
    return read({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "wake"}, "stringData": data})


def first_session(**changes: Any) -> Callable[[NodeView], NodeView]:
    """Changes the first of the node's sessions."""

    def change(found: NodeView) -> NodeView:
        assert found.plan is not None
        one, *others = found.plan.sessions
        return replace(found, plan=replace(found.plan, sessions=(replace(one, **changes), *others)))

    return change


def hears(a: Agent, *prefixes: str, peer: str = PEERS[0]) -> None:
    told = tuple(("ipv4-unicast", pack_prefix(p), pack_address(peer), 0) for p in prefixes)
    a.exabgp.on_event(Update(peer, "", Attributes(as_path=(65011,), as_path_length=1), told, ()))  # type: ignore[arg-type]


def learns(a: Agent, *prefixes: str) -> Callable[[], bool]:
    wanted = {pack_prefix(p) for p in prefixes}
    return lambda: a.routes.learned == wanted


POD, OTHER_POD, THIRD_POD = "10.244.7.0/26", "10.244.8.0/26", "10.244.9.0/26"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"peer_address": "", "local_address": None, "interface": "eth1"}, "unnumbered on eth1"),
        ({"peer_asn": 0}, "any AS but our own"),
    ],
)
def test_a_session_that_exabgp_cannot_have_is_left_out_and_the_others_work(
    tmp_path: Path, view: View, changes: dict[str, Any], reason: str
) -> None:
    view.append(first_session(**changes))

    async def story(a: Agent, _: Speaker) -> None:
        await started(a)
        assert a.exabgp.configured() == set(PEERS[1:])
        a.exabgp.session(PEERS[1], "up")
        hears(a, POD, peer=PEERS[1])
        hears(a, OTHER_POD, peer=PEERS[0])
        await eventually(learns(a, POD))
        await eventually(lambda: _row_reason(a, reason))
        await eventually(lambda: _row_is(a, 1, "Established", received=1))
        for session in SESSIONS[1:]:
            a.exabgp.on_event(EndOfRib(session.peer_address, session.families[0]))
        await eventually(lambda: a.routes.written[-1][1])

    tell(tmp_path, story, *dual_tor())


async def _row_reason(a: Agent, text: str) -> bool:
    row = await a.row()
    return row is not None and text in row.reason and (text != "" or row.reason == "")


def test_filters_come_and_go_without_touching_exabgps_configuration(tmp_path: Path, view: View) -> None:
    view.append(first_session(import_filters=("mine",), export_filters=("mine",)))
    rules = {
        "importV4": [{"action": "Reject", "cidr": POD, "matchOperator": "Equal"}],
        "exportV4": [{"action": "Reject"}],
    }
    mine = NodePolicy(filters={"mine": BGPFilterSpec.model_validate(rules)})

    async def story(a: Agent, _: Speaker) -> None:
        await started(a)
        a.exabgp.session(PEERS[0], "up")
        hears(a, POD, OTHER_POD)
        await eventually(lambda: _row_reason(a, "BGPFilter/mine is missing: nothing is accepted"))
        assert a.routes.learned == set()
        assert not any("nlri" in line for line in a.exabgp.lines)
        view.append(lambda found: replace(found, policy=mine))
        await a.declare(wake(1))
        await eventually(learns(a, OTHER_POD))
        assert not any("nlri" in line for line in a.exabgp.lines)
        view.append(lambda found: replace(found, policy=NodePolicy(filters={"mine": BGPFilterSpec()})))
        await a.declare(wake(2))
        await eventually(learns(a, POD, OTHER_POD))
        await eventually(lambda: any("nlri 10.0.11.1/32" in line for line in a.exabgp.lines))
        await eventually(lambda: _row_reason(a, ""))
        assert len(a.exabgp.texts) == 1

    tell(tmp_path, story, *dual_tor())


def test_a_session_over_its_limit_is_told_and_its_routes_are_not_used(tmp_path: Path, view: View) -> None:
    view.append(first_session(max_prefixes=1))

    async def story(a: Agent, _: Speaker) -> None:
        await started(a)
        a.exabgp.session(PEERS[0], "up")
        hears(a, POD)
        await eventually(learns(a, POD))
        await eventually(lambda: _problem(a, "1 of 1 ipv4-unicast prefixes (maxPrefixes)"))
        hears(a, OTHER_POD)
        await eventually(learns(a))
        await eventually(lambda: _row_reason(a, "2 of 1 ipv4-unicast prefixes (maxPrefixes), none is used"))
        row = await a.row()
        assert row is not None
        assert (row.state, row.received, row.accepted) == ("Established", 2, 0)

    told = tell(tmp_path, story, *dual_tor())
    lines = [line for line in told.said if "maxPrefixes" in line]
    assert lines == [
        "tor-1a-ipv4: 1 of 1 ipv4-unicast prefixes (maxPrefixes)",
        "tor-1a-ipv4: 2 of 1 ipv4-unicast prefixes (maxPrefixes), none is used",
    ]


def test_a_peer_behind_a_gateway_has_its_route(tmp_path: Path, view: View) -> None:
    view.append(first_session(reachable_by="10.1.1.77"))

    async def story(a: Agent, _: Speaker) -> None:
        await started(a)
        await eventually(lambda: a.routes.peers == {pack_prefix(f"{PEERS[0]}/32")})
        view.clear()
        await a.declare(block())
        await eventually(lambda: a.routes.peers == set())

    tell(tmp_path, story, *dual_tor())


def test_what_exabgp_cannot_listen_on_is_a_problem_until_it_can(tmp_path: Path) -> None:
    reason = "could not listen on 10.0.11.1:179, the port may already be in use by another application"

    async def story(a: Agent, _: Speaker) -> None:
        await started(a)
        a.exabgp.log(f"exabgp: network         can not bind to 10.0.11.1:179 ({reason})")
        await eventually(lambda: _problem(a, reason))
        a.exabgp.log("exabgp: network         listening on every address now")
        await eventually(lambda: _problem(a, None))

    told = tell(tmp_path, story, *dual_tor())
    assert told.said.count(f"listening: {reason}") == 1


def test_a_session_that_ended_unheard_loses_its_paths_when_the_channel_is_back(tmp_path: Path) -> None:
    async def story(a: Agent, _: Speaker) -> None:
        await started(a)
        for peer in PEERS[:2]:
            a.exabgp.session(peer, "up")
        hears(a, POD)
        hears(a, OTHER_POD, peer=PEERS[1])
        await eventually(learns(a, POD, OTHER_POD))
        a.exabgp.on_event(Connected(pid=1, fresh=False, adopted=False, lost=3, neighbors=()))
        hears(a, THIRD_POD)
        await eventually(learns(a, POD, OTHER_POD, THIRD_POD))
        neighbors = (neighbor(PEERS[0], up=False), neighbor(PEERS[1], up=True))
        a.exabgp.on_event(Connected(pid=1, fresh=False, adopted=False, lost=3, neighbors=neighbors))
        await eventually(learns(a, OTHER_POD))

    tell(tmp_path, story, *dual_tor())


async def add_pod(a: Agent, folder: Path) -> str:
    """The IPv4 address of a new pod, by the CNI service that runs beside the agent."""
    service = CniService(a.store, NODE, folder / "queue", a.said.append)
    request = {"command": "ADD", "containerID": "c1", "ifname": "eth0", "config": {"name": "net"}}
    result = json.loads(await service.answer(json.dumps(request).encode()))["result"]
    return str(result["ips"][0]["address"].removesuffix("/32"))


def announced(a: Agent) -> list[ipaddress.IPv4Network]:
    """What was announced of IPv4 so far, loopbacks included."""
    told = [line.split()[-1] for line in a.exabgp.lines if "announce" in line and " nlri " in line]
    return [ipaddress.IPv4Network(cidr) for cidr in told if ":" not in cidr]


async def ready_for_pods(a: Agent) -> None:
    await started(a)
    a.exabgp.session(PEERS[0], "up")
    await eventually(lambda: any("announce eor" in line for line in a.exabgp.lines))


def test_a_block_that_a_pod_needed_is_announced(tmp_path: Path) -> None:
    async def story(a: Agent, _: Speaker) -> None:
        await ready_for_pods(a)
        address = ipaddress.IPv4Address(await add_pod(a, tmp_path))
        await eventually(lambda: any(address in one and one.prefixlen == 26 for one in announced(a)))

    tell(tmp_path, story, *dual_tor())


def test_an_address_that_a_pod_borrowed_is_announced(tmp_path: Path) -> None:
    pool = dual_tor().get("IPPool", "pods-v4")
    assert pool is not None
    document = pool.to_document()
    document["spec"]["cidr"] = BLOCK
    small = read(document)

    async def story(a: Agent, _: Speaker) -> None:
        await ready_for_pods(a)
        await ensure_blocks(a.store, dual_tor().all("Node")["node-2"], [small])
        address = await add_pod(a, tmp_path)
        await eventually(lambda: ipaddress.IPv4Network(f"{address}/32") in announced(a))
        assert ipaddress.IPv4Network(BLOCK) not in announced(a)

    tell(tmp_path, story, *dual_tor().with_changes([small]))


def test_others_on_the_node_are_told_how_it_is(tmp_path: Path) -> None:
    async def story(a: Agent, speaker: Speaker) -> None:
        await started(a)
        await eventually(lambda: speaker.state.mtu == 9000)
        assert speaker.state.view is not None
        assert (len(speaker.state.view.plan.sessions), speaker.state.established) == (4, 0)  # type: ignore[union-attr]
        a.exabgp.session(PEERS[0], "up")
        a.exabgp.session(PEERS[1], "up")
        assert speaker.state.established == 2
        a.exabgp.session(PEERS[1], "down", "hold timer expired")
        assert speaker.state.established == 1
        a.routes.link_mtu = 1500
        a.routes.changed()
        await eventually(lambda: speaker.state.mtu == 1500)
        await a.declare(block())
        await eventually(lambda: speaker.state.view is not None and speaker.state.view.blocks == (BLOCK,))
        a.exabgp.on_event(Exited("killed"))
        assert speaker.state.established == 0

    told = Agent(tmp_path)
    assert (told.speaker().state.view, told.speaker().state.mtu) == (None, None)
    tell(tmp_path, story, *dual_tor())


def test_the_cluster_is_told_of_each_change_of_a_session_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And of none that was only found: the next agent finds every session as it is."""
    heard: list[tuple[str, str, str, str]] = []

    def hear(_: SqliteStore, kind: str, name: str, event: Event) -> None:
        heard.append((kind, name, event.reason, event.message))

    async def story(a: Agent, _: Speaker) -> None:
        await started(a)
        for state, reason in (("up", ""), ("up", ""), ("down", "hold timer expired"), ("down", "refused")):
            a.exabgp.session(PEERS[0], state, reason)
        a.exabgp.session(PEERS[1], "down", "refused")
        a.exabgp.on_event(Exited("killed"))
        neighbors = (neighbor(PEERS[0], up=True),)
        a.exabgp.on_event(Connected(pid=2, fresh=False, adopted=True, lost=0, neighbors=neighbors))
        assert [one[:3] for one in heard] == [
            ("BGPNodeStatus", NODE, "SessionUp"),
            ("BGPNodeStatus", NODE, "SessionDown"),
            ("BGPNodeStatus", NODE, "ExaBGPEnded"),
        ]
        assert f"switch/tor-1a ({PEERS[0]})" in heard[0][3]
        assert "hold timer expired" in heard[1][3]
        assert "killed" in heard[2][3]

    monkeypatch.setattr(SqliteStore, "tell", hear)
    tell(tmp_path, story, *dual_tor())


def test_work_beside_lasts_as_long_as_the_agent_does(tmp_path: Path) -> None:
    async def work() -> list[str]:
        told, heard = Agent(tmp_path), list[str]()
        await told.declare(*dual_tor())
        speaker = told.speaker()

        async def beside() -> None:
            heard.append("begins")
            try:
                await asyncio.Event().wait()
            finally:
                heard.append("ends")

        running = asyncio.create_task(speaker.run(beside))
        await started(told)
        assert heard == ["begins"]
        speaker.stop()
        await asyncio.wait_for(running, 10)
        await told.store.close()
        return heard

    assert asyncio.run(work()) == ["begins", "ends"]


def test_another_agent_begins_nothing_beside(tmp_path: Path) -> None:
    async def story(a: Agent, _: Speaker) -> None:
        await started(a)

        async def beside() -> None:
            raise AssertionError("the node is another agent's")

        with pytest.raises(AlreadyRunning):
            await a.speaker().run(beside)

    tell(tmp_path, story, *dual_tor())


SERVICES = "10.96.0.0/12"


def test_what_is_announced_for_services_is_discarded_where_no_service_has_it(tmp_path: Path) -> None:
    """Also on a node that is drained: its pods send to services. Not on one that is declared no more."""

    async def story(a: Agent, _: Speaker) -> None:
        await started(a)
        await eventually(lambda: a.routes.discarded == (SERVICES,))
        await a.declare(*drain("Everything"))
        await eventually(lambda: drained_with(a))
        assert a.routes.discarded == (SERVICES,)
        await a.store.delete("Node", NODE)
        await eventually(lambda: not a.routes.discarded)

    tell(tmp_path, story, *dual_tor(), *drain(None))


# Draining


def drain(extent: str | None = "Unused", *, settle: int = 0) -> list[Resource]:
    default = read_spec(
        "BGPConfiguration", "default", drainSettleSeconds=settle, serviceClusterIPs=[{"cidr": SERVICES}]
    )
    return [default, read_spec("BGPConfiguration", f"node.{NODE}", **({"drain": extent} if extent else {}))]


def read_spec(kind: str, name: str, **spec: object) -> Resource:
    return read({"apiVersion": "underlay.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})


def addresses_in_use(*nodes: str) -> Resource:
    given = [{"ordinal": number, "handle": f"h{number}", "node": node} for number, node in enumerate(nodes)]
    return read_spec("IPAMBlock", "the-block", cidr=BLOCK, affinity=f"host:{NODE}", allocations=given)


def endpoint_on(node: str) -> Resource:
    return read(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "web", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.244.7.7"], "nodeName": node, "conditions": {"ready": True}}],
        }
    )


def told_of(a: Agent, prefix: str) -> str:
    """What the first peer was told last of a prefix: `plain`, `shut down`, `withdrawn`, or nothing."""
    lines = [line for line in a.exabgp.lines if PEERS[0] in line and prefix in line.split()]
    if not lines:
        return "nothing"
    if " withdraw " in lines[-1]:
        return "withdrawn"
    return "shut down" if "65535:0" in lines[-1] else "plain"


async def drained_with(a: Agent, *kept: str) -> bool:
    status = await a.status()
    return status is not None and (status.drain, set(status.kept)) == ("drained", set(kept))


def test_a_drained_node_announces_the_last_resort_and_then_what_is_used_only(tmp_path: Path) -> None:
    async def story(a: Agent, _: Speaker) -> None:
        await started(a)
        a.exabgp.session(PEERS[0], "up")
        await eventually(lambda: told_of(a, BLOCK) == "plain" and told_of(a, SERVICES) == "plain")
        await a.declare(*drain(settle=3600))
        await eventually(lambda: told_of(a, BLOCK) == told_of(a, SERVICES) == "shut down")
        await eventually(lambda: told_of(a, "10.0.11.1/32") == "shut down")
        await a.declare(*drain())
        await eventually(lambda: told_of(a, SERVICES) == "withdrawn")
        assert told_of(a, BLOCK) == "shut down"
        await eventually(lambda: drained_with(a, BLOCK))
        await a.declare(addresses_in_use("node-2"))
        await eventually(lambda: told_of(a, BLOCK) == "withdrawn")
        await eventually(lambda: drained_with(a))
        await a.declare(addresses_in_use(""))
        await eventually(lambda: told_of(a, BLOCK) == "shut down")
        await a.declare(*drain("Everything"))
        await eventually(lambda: told_of(a, BLOCK) == "withdrawn")
        assert told_of(a, "10.0.11.1/32") == "shut down"
        await a.declare(*drain(None))
        await eventually(lambda: {told_of(a, p) for p in (BLOCK, SERVICES, "10.0.11.1/32")} == {"plain"})
        assert a.exabgp.configured() == set(PEERS)
        await a.declare(addresses_in_use("node-2"))
        for _again in range(2):
            await a.declare(*drain())
            await eventually(lambda: told_of(a, BLOCK) == "withdrawn")
            await a.declare(*drain(None))
            await eventually(lambda: told_of(a, BLOCK) == "plain")

    before = [*drain(None), block(), addresses_in_use(""), endpoint_on("node-2")]
    told = tell(tmp_path, story, *dual_tor(), *before)
    phases = [line for line in told.said if line.startswith("drain: ")]
    assert phases == 3 * ["drain: draining", "drain: drained", "drain: serving"]


def test_what_nobody_else_serves_stays(tmp_path: Path) -> None:
    async def story(a: Agent, _: Speaker) -> None:
        await started(a)
        a.exabgp.session(PEERS[0], "up")
        await eventually(lambda: drained_with(a, SERVICES))
        assert told_of(a, SERVICES) == "shut down"

    tell(tmp_path, story, *dual_tor(), *drain(), endpoint_on(NODE))


def test_a_peer_that_comes_up_starts_the_settle_time_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so does an ExaBGP that was not told."""
    clock = [1000.0]
    monkeypatch.setattr(agent, "time", FakeTime(clock))

    async def story(a: Agent, speaker: Speaker) -> None:
        await started(a)
        a.exabgp.session(PEERS[0], "up")
        await eventually(lambda: told_of(a, BLOCK) == "plain")
        await a.declare(*drain(settle=100))
        await eventually(lambda: told_of(a, BLOCK) == "shut down")
        await eventually(lambda: speaker._drain._state.told_since == 1000.0)
        clock[0] = 1090.0
        a.exabgp.session(PEERS[1], "up")
        await eventually(lambda: speaker._drain._state.told_since == 1090.0)
        clock[0] = 1095.0
        a.exabgp.on_event(Connected(pid=2, fresh=True, adopted=False, lost=0, neighbors=()))
        await eventually(lambda: speaker._drain._state.told_since == 1095.0)
        assert not speaker._drain.tick(1194.0)
        assert speaker._drain.tick(1195.0)

    tell(tmp_path, story, *dual_tor(), *drain(None), block(), addresses_in_use(""))


class FakeTime:
    """The module, with another clock."""

    def __init__(self, clock: list[float]) -> None:
        self._clock = clock

    def monotonic(self) -> float:
        return self._clock[0]

    def time(self) -> float:
        return self._clock[0]


def test_what_exabgp_refused_was_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(a: Agent, speaker: Speaker) -> None:
        await started(a)
        a.exabgp.session(PEERS[0], "up")
        await eventually(lambda: told_of(a, BLOCK) == "plain")

        async def refuse(lines: Iterable[str]) -> list[str]:
            return list(lines)

        monkeypatch.setattr(a.exabgp, "send_all", refuse)
        await a.declare(*drain())
        await eventually(lambda: any("ExaBGP refused" in line for line in a.said))
        assert (speaker._drain.phase, speaker._drain._state.told_since) == ("draining", None)

    tell(tmp_path, story, *dual_tor(), *drain(None), block(), addresses_in_use(""))


def test_only_what_was_told_to_everybody_after_the_wish_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(a: Agent, speaker: Speaker) -> None:
        await started(a)
        a.exabgp.session(PEERS[0], "up")
        await eventually(lambda: told_of(a, BLOCK) == "plain")
        gate, asked, send = asyncio.Semaphore(0), list[str](), a.exabgp.send_all

        async def send_slowly(lines: Iterable[str]) -> list[str]:
            given = list(lines)
            if given:
                asked.extend(given)
                await gate.acquire()
            return await send(given)

        monkeypatch.setattr(a.exabgp, "send_all", send_slowly)
        await a.declare(block("10.244.0.64/26"))
        await eventually(lambda: len(asked) == 1)
        await a.declare(*drain(settle=3600))
        await eventually(lambda: speaker._drain.phase == "draining")
        gate.release()
        await eventually(lambda: any("65535:0" in line for line in asked))
        assert speaker._drain._state.told_since is None
        a.exabgp.session(PEERS[1], "up")
        gate.release()
        await eventually(lambda: any(PEERS[1] in line for line in asked))
        assert speaker._drain._state.told_since is None
        for _ in range(20):
            gate.release()
        await eventually(lambda: speaker._drain._state.told_since is not None)

    tell(tmp_path, story, *dual_tor(), *drain(None), block(), addresses_in_use(""))
