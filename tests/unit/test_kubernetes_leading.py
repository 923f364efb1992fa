"""Two controllers on one cluster: one works at a time, and the other one takes over."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from peering.store.kubernetes import store as engine
from tests.kube_api.cluster import NAMESPACE, Cluster, run, until
from underlay.controller import Controller, Graces

GROUP = "coordination.k8s.io"


class Working(Controller):
    """Says when it works, in place of working."""

    def __init__(self, name: str, cluster: Cluster, told: list[str]) -> None:
        super().__init__(cluster.store(()), told.append, Graces(0.0), None, False)
        self._name, self._told = name, told

    async def _lead(self) -> None:
        self._told.append(f"{self._name} works")
        try:
            await asyncio.Event().wait()
        finally:
            self._told.append(f"{self._name} has stopped")


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_LEADER_S", 1.0)
    monkeypatch.setattr(engine, "_LEADER_RENEWED_S", 0.1)


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_one_works_and_the_next_follows(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            told: list[str] = []
            first = asyncio.create_task(Working("one", cluster, told).run())
            await until(lambda: told == ["one works"])
            second = asyncio.create_task(Working("two", cluster, told).run())
            await asyncio.sleep(0.5)  # several times as long as one looks and the other renews
            assert told == ["one works"]
            await ended(first)
            await until(lambda: told == ["one works", "one has stopped", "two works"])
            await ended(second)

    run(story)


def test_who_loses_the_lease_stops_and_asks_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            told: list[str] = []
            task = asyncio.create_task(Working("one", cluster, told).run())
            await until(lambda: told == ["one works"])
            await cluster.server.remove("leases", "underlay-controller", GROUP, NAMESPACE)
            await until(lambda: told[-1] == "one works" and len(told) > 1)
            assert told[1] == "one has stopped"
            assert "trying again" in told[2]
            await ended(task)

    run(story)
