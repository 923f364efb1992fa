"""Nodes whose stores go away and come back in any order, killed anywhere: nothing is given twice, nothing is lost.

Real services on a store that lets others go first at every operation. A runtime stands beside each node: it ADDs and
DELs containers, DELs what failed, and has DELs wait that nobody took. At every moment each address that a container
was told is its own and nobody else's, in the store or on its node's disk; when all is back it is in the store.

Time stands still but for the rules that let it pass, so that a busy machine is none that has lost its patience. A
process dies between any two operations of the store or of the disk, or is stopped while the next one runs already.

`UNDERLAY_MODEL_EXAMPLES` and `UNDERLAY_MODEL_STEPS` look deeper than the suite does.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ipam.block_order import address_at
from ipam.cni_plugin import queue_name
from ipam.cni_service import CniService
from ipam.collector import Collector
from tests.unit.away_store import AwayStore
from tests.unit.ipam_world import Rules, SteppedStore, declare

EXAMPLES = int(os.environ.get("UNDERLAY_MODEL_EXAMPLES", "40"))
STEPS = int(os.environ.get("UNDERLAY_MODEL_STEPS", "60"))
NODES = ("a", "b", "c")
CONTAINERS = tuple(f"{node}{number}" for node in NODES for number in range(6))
NETWORK = "net"
POOLS = {"v4": {"cidr": "10.0.0.0/28", "blockSize": 30}, "v6": {"cidr": "fd00::/124", "blockSize": 126}}
#: Four blocks of four addresses, of which one is kept: three nodes run out of both, and borrow.
WHICH = st.integers(0, 1000)
WISHES = (None,) * 12 + tuple(range(16))
SOME = st.sets(st.sampled_from(NODES), min_size=1)
AT_FIRST = st.sampled_from((9, 40, 400, 400, 400))

_LIFE: ContextVar[Life] = ContextVar("life")


class Killed(BaseException):
    """The process has died while a thread of it wrote a file."""


async def _inline(function: Callable[..., Any], *arguments: Any) -> Any:
    """In the place of a thread: the process may die before the file is written, or after."""
    await _LIFE.get().pause()
    try:
        answer = function(*arguments)
    except Killed:
        await asyncio.Event().wait()
    await _LIFE.get().pause()
    return answer


def _replacing(replace: Callable[..., None]) -> Callable[..., None]:
    """In the place of `os.replace`: of two files that are written one after the other only one may be."""

    def killing(*names: Any) -> None:
        _LIFE.get().count()
        replace(*names)
        _LIFE.get().count()

    return killing


class Loop(asyncio.SelectorEventLoop):
    """Its time stands still."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def forget_timers(self, life: Life) -> None:
        """Who is dead waits for nothing."""
        for timer in self._scheduled:  # type: ignore[attr-defined]
            if timer._context.get(_LIFE, None) is life:
                timer.cancel()


class Life:
    """One process of a node, from its start to its death. `dies_in`: after so many operations."""

    def __init__(self, world: World, node: str) -> None:
        self.dies_in: int | None = None
        self.dead = False
        self.tasks: list[asyncio.Task[Any]] = []
        self.loop = world.loop
        self.store = AwayStore(world.store, self.pause)
        folder = world.folder / node
        self.store.away, self.store.hangs = world.away[node], world.hangs[node]
        self.service = CniService(self.store, node, folder / "queue", world.said.append, alone=folder / "alone")
        for one in (self.service._allocator, self.service._alone):
            assert one is not None
            one._clock = lambda: world.clock

    async def pause(self) -> None:
        with suppress(Killed):
            self.count()
        if self.dead:
            await asyncio.Event().wait()  # and runs no line more
        await asyncio.sleep(0)

    def count(self) -> None:
        """One more operation."""
        if self.dies_in is not None:
            self.dies_in -= 1
            self.dead = self.dead or self.dies_in < 0
        if self.dead:
            raise Killed

    def end(self) -> None:
        """What the kernel does for whom it has ended."""
        assert self.service._alone is not None
        self.dead = True
        self.loop.forget_timers(self)
        self.service._alone._files.close()


@dataclass
class Container:
    """`told` while it lives. `gone`: a DEL was asked for, or has to be."""

    node: str
    told: tuple[str, ...] = ()
    gone: bool = False
    task: asyncio.Task[None] | None = None
    life: Life | None = field(default=None, repr=False)


class World(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="ipam-alone-"))
        self.loop = Loop()
        self.store = SteppedStore()
        self.rules_of_store = Rules(self.store)
        self.clock = 1_000_000.0
        self.monotonic = 0.0
        self.said: list[str] = []
        self.lives: dict[str, Life] = {}
        self.away: dict[str, str] = dict.fromkeys(NODES, "")
        self.hangs: dict[str, bool] = dict.fromkeys(NODES, False)
        self.containers = {name: Container(name[0]) for name in CONTAINERS}
        self.tasks: list[asyncio.Task[Any]] = []
        self.dead: list[asyncio.Task[Any]] = []
        self.answered_alone = 0

    @initialize(strict=st.booleans(), cooldown=st.sampled_from((0, 0, 30)), both=st.booleans(), new=st.booleans())
    def declare(self, strict: bool, cooldown: int, both: bool, new: bool) -> None:
        """Unless they are new, the nodes have a pod and know what they keep."""
        self.pools = [name for name in POOLS if both or name == "v4"]
        self.set_pools(gone=set(), disabled=set())
        self.cooldown = cooldown
        self.set_affinity(strict)
        for node in NODES:
            declare(self.store, "Node", node)
            self.lives[node] = Life(self, node)
            if not new:
                self._start(self.containers[f"{node}0"], self._add(f"{node}0", self.containers[f"{node}0"], None))
                self._go(400)
                self.tick(node, 400)
        self.collector = Collector(self.store, 1.0, 1.0, clock=lambda: self.clock)

    # What happens

    @rule(which=st.lists(WHICH, min_size=1, max_size=6), sticky=st.sampled_from(WISHES), steps=AT_FIRST)
    def add(self, which: list[int], sticky: int | None, steps: int) -> None:
        """Some at once; the first may ask for an address."""
        for index in which:
            free = [name for name, one in self.containers.items() if one.task is None and not one.told and not one.gone]
            if free:
                name = free[index % len(free)]
                self._start(self.containers[name], self._add(name, self.containers[name], sticky))
            sticky = None
        self._go(steps)

    @rule(which=st.lists(WHICH, min_size=1, max_size=4), waits=st.booleans(), steps=AT_FIRST)
    def delete(self, which: list[int], waits: bool, steps: int) -> None:
        """`waits`: the plugin keeps it for the agent, if that cannot do it now, and the runtime thinks it done."""
        for index in which:
            used = [name for name, one in self.containers.items() if one.task is None and (one.told or one.gone)]
            if used:
                self._delete(used[index % len(used)], waits)
        self._go(steps)

    @rule(node=st.sampled_from(NODES), steps=AT_FIRST)
    def apply_queue(self, node: str, steps: int) -> None:
        self._spawn(self.lives[node], self.lives[node].service.apply_queue())
        self._go(steps)

    @rule(node=st.none() | st.sampled_from(NODES), steps=AT_FIRST)
    def tick(self, node: str | None, steps: int) -> None:
        for name in NODES if node is None else (node,):
            service = self.lives[name].service
            assert service._alone is not None
            self._spawn(self.lives[name], service._alone.tick())
        self._go(steps)

    @rule(nodes=SOME)
    def go_away(self, nodes: set[str]) -> None:
        for node in nodes:
            self.away[node] = self.lives[node].store.away = "away"

    @rule(nodes=SOME)
    def hang(self, nodes: set[str]) -> None:
        """The store answers nothing any more."""
        for node in nodes:
            self.hangs[node] = self.lives[node].store.hangs = True

    @rule(node=st.sampled_from(NODES), writes=st.integers(1, 3))
    def lose_answers(self, node: str, writes: int) -> None:
        self.lives[node].store.lost = writes

    @rule(nodes=SOME)
    def come_back(self, nodes: set[str]) -> None:
        for node in nodes:
            self.away[node] = self.lives[node].store.away = ""
            self.hangs[node] = self.lives[node].store.hangs = False
            self.lives[node].store.lost = 0

    @rule(seconds=st.sampled_from((2.1, 3.1)), steps=AT_FIRST)
    def wait(self, seconds: float, steps: int) -> None:
        """Longer than anybody waits for the store."""
        self.loop.now += seconds
        self._go(steps)

    @rule(node=st.sampled_from(NODES), operations=st.integers(0, 12), steps=AT_FIRST)
    def kill(self, node: str, operations: int, steps: int) -> None:
        """It dies within so many operations, if it does as many, and is started anew."""
        self.lives[node].dies_in = operations
        self._go(steps)
        self._start_anew(node)

    @rule(node=st.sampled_from(NODES), before=AT_FIRST, after=AT_FIRST)
    def replace(self, node: str, before: int, after: int) -> None:
        """The next process runs before this one is stopped: both may be in the middle of something."""
        old = self.lives[node]
        self.lives[node] = Life(self, node)
        self._hears_nothing(old)
        self.tick(node, before)
        for task in old.tasks:
            task.cancel()
        self.tasks = [task for task in self.tasks if task not in old.tasks]
        old.service.close()
        self.tick(node, after)
        old.end()
        self.dead += old.tasks

    @rule(strict=st.booleans())
    def set_affinity(self, strict: bool) -> None:
        declare(self.store, "IPAMConfiguration", "default", strictAffinity=strict, ipCooldownSeconds=self.cooldown)

    @rule(gone=st.sets(st.sampled_from(sorted(POOLS))), disabled=st.sets(st.sampled_from(sorted(POOLS))))
    def set_pools(self, gone: set[str], disabled: set[str]) -> None:
        for name in self.pools:
            if name in gone:
                self.store.objects.pop(("IPPool", name), None)
            else:
                declare(self.store, "IPPool", name, disabled=name in disabled, **POOLS[name])

    @rule(seconds=st.sampled_from((1, 40, 70, 3600, -90, 10**8, -(10**8))))
    def time_passes(self, seconds: int) -> None:
        self.clock += seconds
        self.monotonic += abs(seconds)

    @rule(steps=AT_FIRST)
    def collect(self, steps: int) -> None:
        self._spawn(None, self.collector.collect(self.monotonic))
        self._go(steps)

    # What holds at every moment

    @invariant()
    def check(self) -> None:
        self.rules_of_store.check()
        told = [address for one in self.containers.values() for address in one.told]
        assert len(set(told)) == len(told), f"given twice: {sorted(told)}"
        kept, on_disk = self._in_store(), self._on_disk()
        for name, one in self.containers.items():
            for address in one.told:
                assert address in kept.get(name, ()) or address in on_disk.get(name, ()), f"{name} has lost {address}"

    # What holds at the end

    def teardown(self) -> None:
        try:
            if self.lives:
                with _patched():
                    self._recover()
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            for _ in range(100):
                self.loop.run_until_complete(asyncio.sleep(0))
            for life in self.lives.values():
                life.end()
            self.loop.close()
            shutil.rmtree(self.folder)

    def _recover(self) -> None:
        self._go(2000)
        for node in NODES:
            self._start_anew(node)
        self.come_back(set(NODES))
        self.set_pools(gone=set(), disabled=set())
        for node in NODES:
            for _ in range(2):
                self.tick(node, 5000)
            assert not self.lives[node].service._alone.entries, self.said  # type: ignore[union-attr]
            self.apply_queue(node, 5000)
            assert self._queued(node) == [], self.said
        self._delete_those(lambda one: one.gone)
        held = self._in_store()
        for name, one in self.containers.items():
            assert set(one.told) == held.get(name, set()), f"{name} was told {one.told}, and has {held.get(name)}"
        self._delete_those(lambda one: bool(one.told))
        for _ in range(4):
            self.time_passes(3600)
            for node in NODES:
                self.lives[node].service._alone._changed = True  # type: ignore[union-attr]
                self.tick(node, 5000)
            self.collect(5000)
        assert self._in_store() == {}
        assert list(self.store.all("IPAMHandle")) == []
        assert [one for one in self.store.all("BlockAffinity") if one.document["spec"].get("type") == "borrower"] == []
        kept = [one.document["spec"] for one in self.store.all("IPAMBlock") if one.document["spec"].get("kept")]
        assert len({(one["affinity"], ":" in one["cidr"]) for one in kept}) == len(kept), "kept of more than one block"
        assert {one.document["spec"]["cidr"] for one in self.store.all("IPAMBlock")} == {one["cidr"] for one in kept}

    def _delete_those(self, which: Callable[[Container], bool]) -> None:
        for name, one in self.containers.items():
            if which(one):
                self._delete(name)
                self._go(5000)
                assert not one.gone, self.said

    # Inside

    async def _add(self, name: str, one: Container, sticky: int | None) -> None:
        one.gone = True  # until it is known to have succeeded, a DEL has to follow
        config: dict[str, Any] = {"name": NETWORK}
        if sticky is not None:
            config["runtimeConfig"] = {"ips": [f"10.0.0.{sticky}"]}
        life, answer = one.life, await self._ask(one, "ADD", name, config)
        if life is not self.lives[one.node]:
            return
        if "result" in answer:
            one.told, one.gone = tuple(ip["address"].partition("/")[0] for ip in answer["result"]["ips"]), False
            self.answered_alone += bool(self.lives[one.node].store.away)
        else:
            assert answer["error"]["code"] != 100, (answer, self.said)
        one.task = None

    async def _del(self, name: str, one: Container, waits: bool) -> None:
        life, answer = one.life, await self._ask(one, "DEL", name, {"name": NETWORK})
        if life is not self.lives[one.node]:
            return
        assert answer.get("error", {}).get("code", 0) != 100, (answer, self.said)
        one.gone = "error" in answer
        if one.gone and waits:
            queue = self.folder / one.node / "queue"
            queue.mkdir(parents=True, exist_ok=True)
            said = {"network": NETWORK, "containerID": name, "ifname": "eth0"}
            (queue / queue_name(NETWORK, name, "eth0")).write_text(json.dumps(said))
            one.gone = False
        one.task = None

    async def _ask(self, one: Container, command: str, name: str, config: dict[str, Any]) -> dict[str, Any]:
        request = {"command": command, "containerID": name, "ifname": "eth0", "args": "", "config": config}
        assert one.life is not None
        return dict(json.loads(await one.life.service.answer(json.dumps(request).encode())))

    def _delete(self, name: str, waits: bool = False) -> None:
        one = self.containers[name]
        one.told, one.gone = (), True
        self._start(one, self._del(name, one, waits))

    def _start(self, one: Container, work: Coroutine[Any, Any, None]) -> None:
        one.life = self.lives[one.node]
        one.task = self._spawn(one.life, work)

    def _spawn(self, life: Life | None, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        async def lives() -> Any:
            if life is not None:
                _LIFE.set(life)
            return await work

        task = self.loop.create_task(lives())
        self.tasks.append(task)
        if life is not None:
            life.tasks.append(task)
        return task

    def _go(self, steps: int) -> None:
        async def some_steps() -> None:
            for _ in range(steps):
                await asyncio.sleep(0)
                if all(task.done() for task in self.tasks):
                    break

        with _patched():
            self.loop.run_until_complete(some_steps())
        for task in self.tasks:
            if task.done():
                task.result()
        self.tasks = [task for task in self.tasks if not task.done()]

    def _start_anew(self, node: str) -> None:
        """Whoever waited for the dead process has heard nothing."""
        life = self.lives[node]
        life.end()
        self._hears_nothing(life)
        self.dead += life.tasks
        self.tasks = [task for task in self.tasks if task not in life.tasks]
        self.lives[node] = Life(self, node)

    def _hears_nothing(self, life: Life) -> None:
        for one in self.containers.values():
            if one.life is life and one.task is not None:
                one.task = None

    def _in_store(self) -> dict[str, set[str]]:
        """By container."""
        found: dict[str, set[str]] = {}
        for stored in self.store.all("IPAMBlock"):
            spec = stored.document["spec"]
            for a in spec.get("allocations", ()):
                found.setdefault(a["handle"].rpartition(".")[2], set()).add(address_at(spec["cidr"], a["ordinal"]))
        return found

    def _queued(self, node: str) -> list[str]:
        folder = self.folder / node / "queue"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

    def _on_disk(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for node in NODES:
            path = self.folder / node / "alone" / "given.json"
            for one in json.loads(path.read_text())["given"] if path.exists() else ():
                assert not one["refused"], one
                found[one["handle"].rpartition(".")[2]] = set(one["addresses"])
        return found


@contextmanager
def _patched() -> Iterator[None]:
    replacing = mock.patch.object(os, "replace", _replacing(os.replace))
    with mock.patch.object(asyncio, "to_thread", _inline), mock.patch.object(os, "fsync"), replacing:
        yield


World.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestWorld = World.TestCase
