"""The process that follows the store: what it tells arrives whole, it is replaced when it dies, and ends with us."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from peering.resource import Resource
from peering.session import SecretKeyRef
from peering.store.resources import put
from peering.store.sqlite import SqliteStore
from reflector import plan_process, plan_worker
from reflector.desired import Desired
from reflector.plan_follower import NothingToRun
from reflector.plan_process import PlanProcess
from tests.unit.declarations import NO_MESH
from tests.unit.reflector.test_configuration_follower import SIGNED, A, B, rr, secret


class World:
    """A process at work, and everything that it said."""

    def __init__(self, folder: Path, url: str = "") -> None:
        self.store = SqliteStore(folder / "store.db")
        self.told: list[Desired | NothingToRun] = []
        self.lines: list[tuple[str, dict[str, Any]]] = []
        self._heard = asyncio.Event()
        self.process = PlanProcess(url or f"sqlite:{folder / 'store.db'}", "rr-1", folder / "state", self._log)

    def tell(self, told: Desired | NothingToRun) -> None:
        self.told.append(told)
        self._heard.set()

    def _log(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))
        self._heard.set()

    async def put(self, *resources: Resource) -> None:
        for resource in resources:
            await put(self.store, resource)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self._heard.clear()
                await self._heard.wait()

    def events(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.lines if name == event]

    def peers(self) -> set[str]:
        last = self.told[-1]
        return {peer.name for peer in last.configuration.peers.values()} if isinstance(last, Desired) else set()


def running(folder: Path, *resources: Resource, of: Callable[[World], Awaitable[None]], url: str = "") -> World:
    async def work() -> World:
        world = World(folder, url)
        await world.put(*resources)
        task = asyncio.ensure_future(world.process.run(world.tell))
        try:
            await of(world)
        finally:
            task.cancel()
            await asyncio.wait([task])
            await world.store.close()
        return world

    return asyncio.run(work())


def children() -> set[int]:
    """The processes that this one started and that still run."""
    found = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True)
    return {int(line.split()[0]) for line in found.stdout.splitlines() if "reflector.plan_worker" in line}


def test_what_it_tells_and_what_it_logs_arrives(tmp_path: Path) -> None:
    password = secrets.token_hex(8)

    async def work(world: World) -> None:
        await world.until(lambda: world.told)
        assert world.peers() == {"a-ipv4"}
        await world.put(B, secret(key=password))
        await world.until(lambda: world.peers() == {"a-ipv4", "b-ipv4"})
        await world.until(lambda: world.told[-1].passwords)  # type: ignore[union-attr]

    world = running(tmp_path, NO_MESH, rr(**SIGNED), A, of=work)
    first, last = world.told[0], world.told[-1]
    assert isinstance(first, Desired)
    assert isinstance(last, Desired)
    assert last.passwords == {SecretKeyRef("bgp", "key"): password.encode()}
    assert last.configuration.peers[bytes((192, 0, 2, 1))] is first.configuration.peers[bytes((192, 0, 2, 1))]
    assert [fields["code"] for fields in world.events("problem")] == ["missing-secret"]
    assert children() == set()


def test_there_may_be_nothing_to_run(tmp_path: Path) -> None:
    async def work(world: World) -> None:
        await world.until(lambda: world.told)

    (told,) = running(tmp_path, A, of=work).told
    assert isinstance(told, NothingToRun)
    assert [problem.code for problem in told.problems] == ["unknown-reflector"]


def test_one_that_is_killed_is_replaced_and_tells_everything_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_process, "_FIRST_RETRY_S", 0.01)

    async def work(world: World) -> None:
        await world.until(lambda: world.told)
        (worker,) = children()
        os.kill(worker, signal.SIGKILL)
        await world.put(B)
        await world.until(lambda: world.peers() == {"a-ipv4", "b-ipv4"})
        assert children() - {worker}

    (line,) = running(tmp_path, NO_MESH, rr(), A, of=work).events("plan-worker-ended")
    assert line == {"level": "error", "reason": "status -9", "again_in": 0.01}


def test_signals_to_the_whole_group_do_not_end_it(tmp_path: Path) -> None:
    async def work(world: World) -> None:
        await world.until(lambda: world.told)
        (worker,) = children()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(worker, number)
        await world.put(B)
        await world.until(lambda: world.peers() == {"a-ipv4", "b-ipv4"})
        assert children() == {worker}

    assert running(tmp_path, NO_MESH, rr(), A, of=work).events("plan-worker-ended") == []


def test_it_looks_again_when_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Follower:
        looks = 0

        def look(self) -> None:
            self.looks += 1

    async def work() -> int:
        read_end, write_end = os.pipe()
        follower = Follower()
        monkeypatch.setattr(sys, "stdin", os.fdopen(read_end))
        asked = asyncio.ensure_future(plan_worker._until_parent_is_gone(follower))  # type: ignore[arg-type]
        os.write(write_end, 2 * plan_worker.LOOK)
        os.close(write_end)
        await asyncio.wait_for(asked, 20)
        return follower.looks

    assert asyncio.run(work()) == 2


def test_to_look_again_is_asked_of_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard, stand_in = tmp_path / "heard", tmp_path / "worker"
    os.mkfifo(heard)
    stand_in.write_text(f"#!/bin/sh\nexec tee {heard}\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stand_in))

    async def work(world: World) -> None:
        pipe = await asyncio.to_thread(heard.open, "rb")
        with pipe:
            reading = asyncio.ensure_future(asyncio.to_thread(pipe.read, 1))
            for _ in range(100):  # the first time it may not be known yet that the worker is there
                world.process.look()
                await asyncio.wait([reading], timeout=0.1)
                if reading.done():
                    break
            assert reading.done()
            assert reading.result() == plan_worker.LOOK

    running(tmp_path, of=work)


def test_a_worker_that_fails_is_told_in_a_line_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_process, "_FIRST_RETRY_S", 0.01)

    async def work(world: World) -> None:
        await world.until(lambda: len(world.events("plan-worker-ended")) == 2)

    world = running(tmp_path, of=work, url="nothing:at-all")
    assert "StoreError: --store: 'nothing:at-all' is no store" in world.events("plan-worker-failed")[0]["error"]
    assert [line["again_in"] for line in world.events("plan-worker-ended")] == [0.02, 0.04]
    assert world.told == []


def test_a_worker_that_cannot_be_started_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_process, "_FIRST_RETRY_S", 0.01)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))

    async def work(world: World) -> None:
        await world.until(lambda: world.events("plan-worker-ended"))

    (line, *_) = running(tmp_path, of=work).events("plan-worker-ended")
    assert line["reason"] == "cannot be started: No such file or directory"


def test_it_ends_when_its_parent_is_gone(tmp_path: Path) -> None:
    """Killed, the parent can say nothing; its end of the pipe closes all the same."""
    store = SqliteStore(tmp_path / "store.db")

    async def prepare() -> None:
        for resource in (NO_MESH, rr(), A):
            await put(store, resource)
        await store.close()

    asyncio.run(prepare())
    argv = [sys.executable, "-m", "reflector.plan_worker", f"sqlite:{store._path}", "rr-1", str(tmp_path / "state")]
    worker = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    assert worker.stdin is not None
    assert worker.stdout is not None
    assert len(worker.stdout.read(4)) == 4
    worker.stdin.close()
    assert worker.wait(20) == 0
    worker.stdout.close()
