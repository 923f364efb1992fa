"""The status of a node: written when it changes and, to show that somebody is there, now and then."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from bgp_speaker.node_status import StatusWriter
from peering.resources.observed import RENEWAL_S, BGPNodeStatusSpec, PeerStatus
from peering.store.protocol import StoreError
from peering.store.resources import find
from peering.store.sqlite import SqliteStore

IDLE = BGPNodeStatusSpec(node="node-1")
BUSY = BGPNodeStatusSpec(node="node-1", blocks=("10.244.0.0/26",), kernel_routes=3, problems=("something",))


async def kept(store: SqliteStore) -> tuple[BGPNodeStatusSpec, int]:
    """What the store holds, and its version."""
    found = await find(store, "BGPNodeStatus", "node-1")
    assert found is not None
    return cast(BGPNodeStatusSpec, found.spec), found.version


def test_an_equal_status_is_written_once_and_another_one_at_once(tmp_path: Path) -> None:
    async def check() -> None:
        store = SqliteStore(tmp_path / "store.db")
        writer = StatusWriter(store, "node-1")
        await writer.write(IDLE, 1000.4)
        first = await kept(store)
        counts = {"established": 0, "total": 0}
        at_1000 = {"reported": 1000.0, "reported_at": "1970-01-01T00:16:40Z"}
        assert first[0] == IDLE.model_copy(update=at_1000 | counts)
        await writer.write(IDLE, 1000 + RENEWAL_S - 1)
        assert await kept(store) == first
        await writer.write(BUSY, 1001)
        at_1001 = {"reported": 1001.0, "reported_at": "1970-01-01T00:16:41Z"}
        assert (await kept(store))[0] == BUSY.model_copy(update=at_1001 | counts)
        await store.close()

    asyncio.run(check())


def row(name: str, state: str) -> PeerStatus:
    fields = {"session": name, "peer": "external", "peerAddress": "192.0.2.1", "peerASN": 65000, "since": 0.0}
    return PeerStatus.model_validate({**fields, "state": state})


def test_sessions_are_counted_for_whoever_cannot(tmp_path: Path) -> None:
    async def check() -> None:
        store = SqliteStore(tmp_path / "store.db")
        rows = (row("a", "Established"), row("b", "Idle"), row("c", "Established"))
        await StatusWriter(store, "node-1").write(IDLE.model_copy(update={"sessions": rows}), 1000)
        found = (await kept(store))[0]
        assert (found.established, found.total, len(found.sessions)) == (2, 3, 3)
        await StatusWriter(store, "node-1").write(IDLE, 1000)
        written = (await store.get("BGPNodeStatus", "node-1")).document["spec"]
        assert (written["established"], written["total"]) == (0, 0), "none is a number, too, for a table"
        await store.close()

    asyncio.run(check())


@pytest.mark.parametrize("later", [RENEWAL_S + 0.5, -3600])
def test_it_is_renewed_when_time_passed_and_when_the_clock_was_set_back(tmp_path: Path, later: float) -> None:
    async def check() -> None:
        store = SqliteStore(tmp_path / "store.db")
        writer = StatusWriter(store, "node-1")
        await writer.write(IDLE, 10_000)
        await writer.write(IDLE, 10_000 + later)
        assert (await kept(store))[0].reported == round(10_000 + later)
        await store.close()

    asyncio.run(check())


def test_what_a_predecessor_wrote_is_replaced(tmp_path: Path) -> None:
    async def check() -> None:
        store = SqliteStore(tmp_path / "store.db")
        await StatusWriter(store, "node-1").write(BUSY, 10)
        await StatusWriter(store, "node-1").write(IDLE, 20)
        assert (await kept(store))[0].blocks == ()
        await store.close()

    asyncio.run(check())


def test_what_could_not_be_written_is_written_by_the_next_try(tmp_path: Path) -> None:
    async def check() -> None:
        store = SqliteStore(tmp_path / "store.db")
        writer = StatusWriter(store, "node-1")
        (tmp_path / "store.db").mkdir()
        with pytest.raises(StoreError):
            await writer.write(IDLE, 10)
        (tmp_path / "store.db").rmdir()
        await writer.write(IDLE, 11)
        assert (await kept(store))[0].reported == 11
        await store.close()

    asyncio.run(check())


@pytest.mark.parametrize(
    ("pattern", "contested"),
    [
        ("ab" * 4, {"a", "b"}),
        ("aab" * 6, {"a", "b"}),  # the faster one of two finds its own words now and then
        ("abaaaaaa" * 3, set()),  # somebody looks into it by hand
        ("a" * 9, set()),
        ("ab" * 4 + "a" * 4, {"b"}),  # b writes no more: a has it for itself
    ],
)
def test_another_writer_is_noticed(pattern: str, contested: set[str], tmp_path: Path) -> None:
    async def check() -> None:
        store = SqliteStore(tmp_path / "store.db")
        writers = {name: StatusWriter(store, "node-1") for name in "ab"}
        for moment, name in enumerate(pattern):
            await writers[name].write(IDLE, 1000 + moment * RENEWAL_S)
        assert {name for name, writer in writers.items() if writer.is_contested} == contested
        await store.close()

    asyncio.run(check())
