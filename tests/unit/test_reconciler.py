"""The loop behind every arrow of the agent: triggers are merged, faults that may heal are retried, bugs are not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from bgp_speaker import reconciler
from bgp_speaker.reconciler import Reconciler
from peering.store.protocol import StoreError


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "_FIRST_RETRY_S", 0.001)


async def run_until(loop: Reconciler, done: asyncio.Event) -> None:
    """Runs the loop until `done`, and then a moment longer, so that a run too many would show."""
    task = asyncio.create_task(loop.run())
    async with asyncio.timeout(5):
        await done.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()


def counted(runs: list[int], done: asyncio.Event, at: int) -> Callable[[], Awaitable[None]]:
    async def work() -> None:
        runs.append(len(runs) + 1)
        if len(runs) >= at:
            done.set()

    return work


def test_it_runs_after_a_trigger_and_never_without_one() -> None:
    async def check() -> None:
        runs: list[int] = []
        done = asyncio.Event()
        loop = Reconciler("x", counted(runs, done, 1), print)
        task = asyncio.create_task(loop.run())
        for _ in range(20):
            await asyncio.sleep(0)
        assert runs == []
        task.cancel()
        loop.trigger()
        loop.trigger()
        await run_until(loop, done)
        assert runs == [1]

    asyncio.run(check())


def test_triggers_that_come_while_it_works_are_one_more_run() -> None:
    async def check() -> None:
        runs: list[int] = []
        done = asyncio.Event()

        async def work() -> None:
            runs.append(1)
            if len(runs) == 1:
                for _ in range(5):
                    loop.trigger()
                    await asyncio.sleep(0)
            else:
                done.set()

        loop = Reconciler("x", work, print)
        loop.trigger()
        await run_until(loop, done)
        assert len(runs) == 2

    asyncio.run(check())


@pytest.mark.parametrize("fault", [OSError("away"), StoreError("away"), TimeoutError("away")])
def test_a_fault_that_may_heal_is_said_once_and_tried_until_it_has_healed(fault: Exception) -> None:
    async def check() -> None:
        said: list[str] = []
        runs: list[int] = []
        done = asyncio.Event()
        succeed = counted(runs, done, 4)

        async def work() -> None:
            await succeed()
            if len(runs) < 4:
                raise fault

        loop = Reconciler("store", work, said.append)
        loop.trigger()
        await run_until(loop, done)
        assert (len(runs), said) == (4, ["store: away (trying again)"])

    asyncio.run(check())


def test_another_fault_is_said_too() -> None:
    async def check() -> None:
        said: list[str] = []
        done = asyncio.Event()
        faults: list[Exception | None] = [OSError("one"), OSError("one"), OSError("two"), None]

        async def work() -> None:
            fault = faults.pop(0)
            if fault is not None:
                raise fault
            done.set()

        loop = Reconciler("x", work, said.append)
        loop.trigger()
        await run_until(loop, done)
        assert said == ["x: one (trying again)", "x: two (trying again)"]

    asyncio.run(check())


def test_anything_else_is_a_bug_and_ends_it() -> None:
    async def check() -> None:
        async def work() -> None:
            raise ValueError("a bug")

        loop = Reconciler("x", work, print)
        loop.trigger()
        with pytest.raises(ValueError, match="a bug"):
            await asyncio.wait_for(loop.run(), 5)

    asyncio.run(check())


def test_a_pause_lies_between_two_runs() -> None:
    async def check() -> None:
        times: list[float] = []
        done = asyncio.Event()

        async def work() -> None:
            times.append(asyncio.get_running_loop().time())
            loop.trigger()
            if len(times) == 3:
                done.set()

        loop = Reconciler("x", work, print, pause=0.02)
        loop.trigger()
        await run_until(loop, done)
        assert [b - a >= 0.02 for a, b in pairwise(times)] == [True, True]

    asyncio.run(check())


@pytest.mark.parametrize(("pause", "rested"), [(0.01, True), (0.0, False)])
def test_after_a_long_run_it_rests_as_long_where_it_pauses_at_all(pause: float, rested: bool) -> None:
    async def check() -> None:
        spans: list[tuple[float, float]] = []
        done = asyncio.Event()
        clock = asyncio.get_running_loop().time

        async def work() -> None:
            began = clock()
            await asyncio.sleep(0.05)
            spans.append((began, clock()))
            loop.trigger()
            if len(spans) == 3:
                done.set()

        loop = Reconciler("x", work, print, pause=pause)
        loop.trigger()
        await run_until(loop, done)
        assert [b[0] - a[1] >= 0.05 for a, b in pairwise(spans)] == [rested, rested]

    asyncio.run(check())


def test_the_time_until_a_fault_has_healed_is_no_reason_to_rest() -> None:
    async def check() -> None:
        times: list[float] = []
        done = asyncio.Event()
        clock = asyncio.get_running_loop().time

        async def work() -> None:
            times.append(clock())
            if len(times) == 1:
                await asyncio.sleep(0.2)
                raise OSError("away")
            loop.trigger()
            if len(times) == 3:
                done.set()

        loop = Reconciler("x", work, lambda _: None, pause=0.001)
        loop.trigger()
        await run_until(loop, done)
        assert times[2] - times[1] < 0.1

    asyncio.run(check())
