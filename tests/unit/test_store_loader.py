"""Reading a store again and again: what did not change is not read anew, what did is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from peering.problems import Problem
from peering.resource import Resource
from peering.store import resources
from peering.store.protocol import Document, Stored
from peering.store.resources import Loader, load
from peering.store.sqlite import SqliteStore


def pool(name: str, cidr: str, **more: Any) -> Document:
    return {
        "apiVersion": "projectcalico.org/v3",
        "kind": "IPPool",
        "metadata": {"name": name},
        "spec": {"cidr": cidr, **more},
    }


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the documents that were read, in order."""
    names: list[str] = []
    real = resources.to_resource

    def noting(stored: Stored) -> Resource | list[Problem]:
        names.append(stored.name)
        return real(stored)

    monkeypatch.setattr(resources, "to_resource", noting)
    return names


Story = Callable[[SqliteStore, Loader], Coroutine[Any, Any, None]]


def tell(folder: Path, story: Story) -> None:
    async def work() -> None:
        store = SqliteStore(folder / "store.db")
        await story(store, Loader(store))
        await store.close()

    asyncio.run(work())


def test_only_what_changed_is_read_again(tmp_path: Path, parsed: list[str]) -> None:
    async def story(store: SqliteStore, loader: Loader) -> None:
        for number in (1, 2):
            await store.create("IPPool", f"pool-{number}", pool(f"pool-{number}", f"10.{number}.0.0/16"))
        (one, two), version, _ = await loader.load(("IPPool",))
        assert parsed == ["pool-1", "pool-2"]
        await store.update("IPPool", "pool-2", pool("pool-2", "10.9.0.0/16"))
        (same, changed), later, _ = await loader.load(("IPPool",))
        assert parsed == ["pool-1", "pool-2", "pool-2"]
        assert same is one
        assert (changed.to_document()["spec"]["cidr"], changed != two, later > version) == ("10.9.0.0/16", True, True)
        assert (await load(store, ("IPPool",)))[0] == [same, changed]

    tell(tmp_path, story)


def test_one_that_was_deleted_and_made_again_is_read_again(tmp_path: Path, parsed: list[str]) -> None:
    async def story(store: SqliteStore, loader: Loader) -> None:
        await store.create("IPPool", "pool", pool("pool", "10.1.0.0/16"))
        await loader.load(("IPPool",))
        await store.delete("IPPool", "pool")
        assert (await loader.load(("IPPool",)))[0] == []
        await store.create("IPPool", "pool", pool("pool", "10.2.0.0/16"))
        ((found,), _, _) = await loader.load(("IPPool",))
        assert found.to_document()["spec"]["cidr"] == "10.2.0.0/16"
        assert parsed == ["pool", "pool"]

    tell(tmp_path, story)


def test_what_cannot_be_read_is_told_every_time(tmp_path: Path, parsed: list[str]) -> None:
    async def story(store: SqliteStore, loader: Loader) -> None:
        await store.create("IPPool", "bad", pool("bad", "10.1.0.0/16", nonsense=1))
        first, second = await loader.load(("IPPool",)), await loader.load(("IPPool",))
        assert [problem.path for problem in first[2]] == ["spec.nonsense"]
        assert second == first
        assert parsed == ["bad"]

    tell(tmp_path, story)
