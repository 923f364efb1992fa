"""Following the store: what is told is always good, and the last good stays in force whatever happens to the store."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from peering.prefixes import pack_prefix
from peering.resource import Resource, parse_resource
from peering.resources.catalog import UNDERLAY
from peering.session import SecretKeyRef
from peering.store.protocol import Changed, Stored, StoreError
from peering.store.resources import put
from peering.store.sqlite import SqliteStore
from reflector import plan_follower
from reflector.declaration import Declaration
from reflector.desired import Desired, change, changed
from reflector.plan_follower import NothingToRun, PlanFollower
from reflector.saved_plan import SavedPlan
from tests.unit.declarations import NO_MESH, declare, host
from tests.unit.reflector.test_configuration_owners import affinity

PASSWORD = SecretKeyRef("bgp", "key")
SIGNED = {"password": {"secretKeyRef": {"name": "bgp", "key": "key"}}}
A, B = host("a", 1), host("b", 2)


def rr(**fields: Any) -> Resource:
    spec: dict[str, Any] = {"addresses": ["192.0.2.101"], "nodeSelector": "all()", **fields}
    return declare("RouteReflector", "rr-1", **spec)


def secret(**values: str) -> Resource:
    document = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bgp"}, "stringData": values}
    parsed = parse_resource(document)
    assert isinstance(parsed, Resource)
    return parsed


class Store(SqliteStore):
    """A store that can be away, and that can lose what it holds for one reading."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.away = ""
        self.empty = 0
        self.readings = self.failures = 0
        self.asked = asyncio.Event()

    async def until(self, condition: Callable[[], object]) -> None:
        """The condition is looked at after every reading, be it one that failed."""
        async with asyncio.timeout(20):
            while not condition():
                self.asked.clear()
                await self.asked.wait()

    async def next_reading(self) -> None:
        before = self.readings
        await self.until(lambda: self.readings > before)

    async def snapshot(self, kinds: Iterable[str]) -> tuple[Sequence[Stored], int]:
        wanted = tuple(kinds)
        self.asked.set()
        if self.away:
            self.failures += 1
            raise StoreError(self.away)
        found, version = await super().snapshot(wanted)
        if wanted:
            self.readings += 1
            self.asked.set()
            if self.empty:
                self.empty -= 1
                return [one for one in found if one.kind != "Node"], version
        return found, version

    async def get(self, kind: str, name: str) -> Stored:
        if self.away:
            raise StoreError(self.away)
        return await super().get(kind, name)

    async def watch(self, kinds: Iterable[str], since: int) -> AsyncIterator[Sequence[Changed]]:
        async for changes in super().watch(kinds, since):
            if self.away:
                raise StoreError(self.away)
            yield changes


class World:
    """A follower at work on a store, and everything that it said."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "store.db")
        self.saved = SavedPlan(folder / "state", "rr-1")
        self.told: list[Desired | NothingToRun] = []
        self.lines: list[tuple[str, dict[str, Any]]] = []
        self._heard = asyncio.Event()
        self.follower = PlanFollower(self.store, "rr-1", self.saved, self._tell, self._log)

    def _tell(self, told: Desired | NothingToRun) -> None:
        self.told.append(told)
        self._heard.set()

    def _log(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))
        self._heard.set()

    async def put(self, *resources: Resource) -> None:
        for resource in resources:
            await put(self.store, resource)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self._heard.clear()
                await self._heard.wait()

    async def settled(self) -> None:
        """What is in the store now was read, and everything that follows from it has happened.

        The first reading may have begun before, the second one has not, and the third one begins when that is over.
        """
        for _ in range(3):
            self.follower.look()
            await self.store.next_reading()

    def events(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.lines if name == event]

    @property
    def desired(self) -> Desired:
        assert isinstance(self.told[-1], Desired)
        return self.told[-1]

    def peers(self) -> set[str]:
        return {peer.name for peer in self.desired.configuration.peers.values()}


def following(folder: Path, *resources: Resource, of: Callable[[World], Awaitable[None]]) -> World:
    """A store with these resources, followed while `of` does things to it."""

    async def work() -> World:
        world = World(folder)
        await world.put(*resources)
        task = asyncio.ensure_future(world.follower.run())
        try:
            await of(world)
        finally:
            task.cancel()
            await asyncio.wait([task])
            await world.store.close()
        assert task.cancelled(), task.exception()
        return world

    return asyncio.run(work())


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_follower, "_GONE_TWICE_S", 0.05)
    monkeypatch.setattr(plan_follower, "_WATCH_AGAIN_S", 0.05)
    monkeypatch.setattr(plan_follower, "_LAST_RETRY_S", 0.1)


def test_the_first_set_and_every_change(tmp_path: Path) -> None:
    async def work(world: World) -> None:
        await world.until(lambda: world.told)
        assert world.peers() == {"a-ipv4"}
        await world.put(B)
        await world.until(lambda: world.peers() == {"a-ipv4", "b-ipv4"})
        await world.put(rr(holdTime=9))
        await world.until(lambda: {p.session.hold_time for p in world.desired.configuration.peers.values()} == {9})
        await world.store.delete("Node", "a")
        await world.until(lambda: world.peers() == {"b-ipv4"})

    world = following(tmp_path, NO_MESH, rr(), A, of=work)
    assert {told.origin for told in world.told if isinstance(told, Desired)} == {"store"}


def test_a_new_block_changes_owners_and_nothing_else(tmp_path: Path) -> None:
    async def work(world: World) -> None:
        await world.until(lambda: world.told)
        await world.put(affinity("a", "10.0.0.0/26"))
        await world.until(lambda: pack_prefix("10.0.0.0/26") in world.desired.configuration.owners.by_prefix)

    world = following(tmp_path, NO_MESH, rr(), A, of=work)
    first, second = world.told
    assert isinstance(first, Desired)
    assert isinstance(second, Desired)
    assert second.configuration.owners.by_prefix[pack_prefix("10.0.0.0/26")] == {"node/a"}
    assert second.configuration == replace(first.configuration, owners=second.configuration.owners)
    step = change(first, second)
    assert (step.peers, step.gone, step.owners) == ({}, (), second.configuration.owners)


def test_what_does_not_concern_it_is_not_told(tmp_path: Path) -> None:
    async def work(world: World) -> None:
        await world.until(lambda: world.told)
        await world.put(declare("RouteReflector", "rr-9", addresses=["192.0.2.109"], upstream=["rr-1"]))
        await world.until(lambda: len(world.told) == 2)
        await world.put(declare("BGPFilter", "unused", importV4=[{"action": "Reject"}]), secret(other="x"))
        await world.settled()

    assert len(following(tmp_path, NO_MESH, rr(), A, of=work).told) == 2


def test_passwords_come_from_the_store_and_follow_it(tmp_path: Path) -> None:
    first, second = secrets.token_hex(8), secrets.token_hex(40)

    async def work(world: World) -> None:
        await world.until(lambda: world.told)
        assert world.desired.passwords == {}
        await world.put(secret(key=first))
        await world.until(lambda: world.desired.passwords == {PASSWORD: first.encode()})
        await world.put(secret(key=second))
        await world.until(lambda: world.desired.passwords == {PASSWORD: second.encode()})
        await world.put(secret(key=second + "!"))
        await world.until(lambda: world.desired.passwords == {})
        await world.store.delete("Secret", "bgp")
        await world.until(lambda: len(world.events("problem")) == 3)

    world = following(tmp_path, NO_MESH, rr(**SIGNED), A, of=work)
    missing = (
        "Secret/bgp stringData[key]: is not there, and sessions of RouteReflector/rr-1 stay down without it "
        "(apply the Secret)"
    )
    too_long = (
        "Secret/bgp stringData[key]: is longer than 80 octets, and sessions of RouteReflector/rr-1 stay down "
        "(TCP-MD5 takes a shorter one)"
    )
    assert [one["problem"] for one in world.events("problem")] == [missing, too_long, missing]
    assert [one["code"] for one in world.events("problem")] == ["missing-secret", "reflector-cannot", "missing-secret"]
    said = repr((world.lines, [repr(told) for told in world.told], world.saved.path.read_text()))
    assert first not in said
    assert second not in said


def test_an_error_keeps_the_last_good_plan_and_is_said_once(tmp_path: Path) -> None:
    wrong = rr(filters=["gone"], holdTime=9)

    async def work(world: World) -> None:
        await world.until(lambda: world.told)
        await world.put(wrong)
        await world.until(lambda: world.events("problem"))
        await world.put(B)
        await world.settled()
        assert len(world.told) == 1, "neither the new hold time nor the new node"
        await world.put(rr(holdTime=9))
        await world.until(lambda: len(world.told) == 2)

    world = following(tmp_path, NO_MESH, rr(), A, of=work)
    (problem,) = world.events("problem")
    assert problem == {
        "level": "error",
        "code": "unknown-filter",
        "problem": "RouteReflector/rr-1 spec.filters[0]: there is no BGPFilter/gone: nothing passes this session "
        "(declared: none)",
    }
    assert world.events("problems-over") == [{}]
    assert world.peers() == {"a-ipv4", "b-ipv4"}
    assert {peer.session.hold_time for peer in world.desired.configuration.peers.values()} == {9}


def test_an_error_of_a_node_or_of_another_reflector_stops_nobody(tmp_path: Path) -> None:
    twin = host("twin", 2)
    other = declare("RouteReflector", "rr-2", addresses=["192.0.2.102"], filters=["gone"])

    async def work(world: World) -> None:
        await world.until(lambda: world.told)
        await world.put(B, twin, other)
        await world.until(lambda: {"b-ipv4"} < world.peers())

    assert following(tmp_path, NO_MESH, rr(), A, of=work).events("problem") == []


def test_what_it_cannot_do_is_said_and_the_rest_done(tmp_path: Path) -> None:
    profile = declare("BFDProfile", "fast")

    async def work(world: World) -> None:
        await world.until(lambda: world.told)
        await world.put(profile, rr(bfd="fast"))
        await world.until(lambda: world.events("problem"))

    (problem,) = following(tmp_path, NO_MESH, rr(), A, of=work).events("problem")
    assert (problem["level"], problem["code"]) == ("warning", "ignored-field")


def test_a_document_that_cannot_be_read_keeps_the_last_good_plan(tmp_path: Path) -> None:
    async def work(world: World) -> None:
        await world.until(lambda: world.told)
        await world.store.create("Node", "new", {"kind": "Node", "metadata": {"name": "new"}, "spec": {"later": 1}})
        await world.until(lambda: world.events("problem"))
        await world.put(B)
        await world.settled()
        assert len(world.told) == 1
        await world.store.delete("Node", "new")
        await world.until(lambda: len(world.told) == 2)

    world = following(tmp_path, NO_MESH, rr(), A, of=work)
    assert all("Node/new" in one["problem"] for one in world.events("problem"))
    assert world.peers() == {"a-ipv4", "b-ipv4"}


def test_a_start_with_a_document_that_cannot_be_read_takes_the_rest(tmp_path: Path) -> None:
    async def work(world: World) -> None:
        await world.until(lambda: world.told)
        assert world.peers() == {"a-ipv4"}
        assert world.events("problem")

    async def prepare() -> None:
        store = SqliteStore(tmp_path / "store.db")
        await store.create("Node", "new", {"kind": "Node", "metadata": {"name": "new"}, "spec": {"later": 1}})
        await store.close()

    asyncio.run(prepare())
    world = following(tmp_path, NO_MESH, rr(), A, of=work)
    assert not world.saved.path.exists(), "what may be half of it is not kept"


def test_one_reading_without_any_session_is_not_believed(tmp_path: Path) -> None:
    async def work(world: World) -> None:
        await world.until(lambda: world.told)
        world.store.empty = 1
        world.follower.look()
        await world.settled()
        assert world.store.empty == 0
        assert len(world.told) == 1

    following(tmp_path, NO_MESH, rr(nodeSelector="!has(gone)"), A, of=work)


def test_two_readings_without_any_session_are_believed(tmp_path: Path) -> None:
    async def work(world: World) -> None:
        await world.until(lambda: world.told)
        await world.store.delete("Node", "a")
        await world.until(lambda: world.peers() == set())

    following(tmp_path, NO_MESH, rr(), A, of=work)


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ((), "RouteReflector/rr-1: is not declared, so there is nothing to do for this process (declared: none)"),
        (
            (declare("RouteReflector", "rr-2", addresses=["192.0.2.102"]),),
            "RouteReflector/rr-1: is not declared, so there is nothing to do for this process (declared: rr-2)",
        ),
        (
            (rr(upstream=["top"]),),
            "RouteReflector/rr-1 spec.upstream[0]: there is no RouteReflector/top (declared: rr-1)",
        ),
        (
            (declare("RouteReflector", "rr-1", addresses=["2001:db8::1"]),),
            "RouteReflector/rr-1 spec.routerID: has neither routerID nor an IPv4 address (set one of the two)",
        ),
    ],
)
def test_at_a_start_with_nothing_good_there_is_nothing_to_run(
    tmp_path: Path, declared: tuple[Resource, ...], said: str
) -> None:
    async def work(world: World) -> None:
        await world.until(lambda: world.told)
        await world.settled()

    world = following(tmp_path, NO_MESH, *declared, of=work)
    (told,) = world.told
    assert isinstance(told, NothingToRun)
    assert said in [problem.line() for problem in told.problems]
    assert not world.saved.path.exists()


def test_what_is_good_is_on_disk(tmp_path: Path) -> None:
    async def work(world: World) -> None:
        await world.until(lambda: world.told)
        await world.put(B)
        await world.until(lambda: len(world.told) == 2)
        await world.settled()

    world = following(tmp_path, NO_MESH, rr(), A, of=work)
    found = world.saved.read()
    assert isinstance(found, Declaration)
    assert found.configuration() == world.desired.configuration


def test_a_plan_that_cannot_be_kept_is_told_once_and_serves(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, no folder")

    async def work(world: World) -> None:
        await world.until(lambda: world.told)
        await world.put(B)
        await world.until(lambda: len(world.told) == 2)
        await world.settled()

    world = following(tmp_path, NO_MESH, rr(), A, of=work)
    (line,) = world.events("plan-not-saved")
    assert "File exists" in line["error"]


def test_a_store_that_goes_away_changes_nothing_and_is_followed_again(tmp_path: Path) -> None:
    async def work(world: World) -> None:
        await world.until(lambda: world.told)
        world.store.away = "the network is down"
        world.follower.look()
        await world.store.until(lambda: world.store.failures >= 5)
        assert len(world.told) == 1
        world.store.away = ""
        await world.until(lambda: world.events("store-back"))
        await world.put(B)
        await world.until(lambda: world.peers() == {"a-ipv4", "b-ipv4"})

    world = following(tmp_path, NO_MESH, rr(), A, of=work)
    assert world.events("store-away") == [{"level": "warning", "error": "the network is down"}]


def test_a_start_without_the_store_takes_what_was_saved(tmp_path: Path) -> None:
    async def once(world: World) -> None:
        await world.until(lambda: world.told)
        await world.settled()

    async def again(world: World) -> None:
        await world.until(lambda: world.told)
        assert (world.desired.origin, world.desired.passwords) == ("saved", {})
        assert world.peers() == {"a-ipv4"}
        world.store.away = ""
        await world.until(lambda: world.desired.origin == "store")
        assert world.desired.passwords == {PASSWORD: password.encode()}

    password = secrets.token_hex(8)
    first = following(tmp_path, NO_MESH, rr(**SIGNED), secret(key=password), A, of=once)

    async def away() -> None:
        world = World(tmp_path)
        world.store.away = "not up yet"
        task = asyncio.ensure_future(world.follower.run())
        try:
            await again(world)
        finally:
            task.cancel()
            await asyncio.wait([task])
            await world.store.close()
        assert world.events("saved-plan-used") == [{"file": str(world.saved.path)}]
        assert world.desired == first.desired

    asyncio.run(away())


def test_a_start_without_the_store_and_with_a_damaged_file_waits(tmp_path: Path) -> None:
    async def work() -> None:
        world = World(tmp_path)
        await world.put(NO_MESH, rr(), A)
        world.saved.path.parent.mkdir()
        world.saved.path.write_text("{")
        world.store.away = "not up yet"
        task = asyncio.ensure_future(world.follower.run())
        try:
            await world.store.until(lambda: world.store.failures >= 5)
            assert world.events("problem")
            assert world.told == []
            world.store.away = ""
            await world.until(lambda: world.told)
            await world.settled()
        finally:
            task.cancel()
            await asyncio.wait([task])
            await world.store.close()
        (problem,) = world.events("problem")
        assert (problem["level"], problem["code"]) == ("warning", "saved-plan-unusable")
        assert isinstance(world.saved.read(), Declaration), "written anew"

    asyncio.run(work())


def test_a_start_with_errors_takes_what_was_saved(tmp_path: Path) -> None:
    async def once(world: World) -> None:
        await world.until(lambda: world.told)
        await world.settled()

    async def again(world: World) -> None:
        await world.until(lambda: world.told)
        await world.settled()

    good = following(tmp_path, NO_MESH, rr(), A, of=once)
    saved = good.saved.path.read_bytes()
    world = following(tmp_path, rr(upstream=["gone"]), B, of=again)
    (told,) = world.told
    assert isinstance(told, Desired)
    assert told.configuration == good.desired.configuration
    assert [one["code"] for one in world.events("problem")] == ["unknown-reflector"]
    assert world.saved.path.read_bytes() == saved


def test_a_reflector_that_is_deleted_goes_on(tmp_path: Path) -> None:
    async def work(world: World) -> None:
        await world.until(lambda: world.told)
        await world.store.delete("RouteReflector", "rr-1")
        await world.until(lambda: world.events("problem"))
        await world.settled()
        assert len(world.told) == 1

    assert following(tmp_path, NO_MESH, rr(), A, of=work).events("problem")[0]["code"] == "unknown-reflector"


def test_a_reflector_that_cannot_be_read_is_not_said_to_be_missing(tmp_path: Path) -> None:
    """What is wrong with it is said, and that alone."""

    async def work(world: World) -> None:
        await world.until(lambda: world.told)
        spec = {"addresses": ["127.0.0.1"], "routerID": "10.0.0.1", "ownership": "maybe"}
        document = {"apiVersion": UNDERLAY, "kind": "RouteReflector", "metadata": {"name": "rr-1"}, "spec": spec}
        await world.store.update("RouteReflector", "rr-1", document)
        await world.until(lambda: world.events("problem"))
        await world.settled()
        assert len(world.told) == 1

    (said,) = following(tmp_path, NO_MESH, rr(), A, of=work).events("problem")
    assert said["problem"].startswith("RouteReflector/rr-1 spec.ownership: 'maybe' is none of off, report, enforce")


def test_a_bug_is_not_taken_for_a_fault_that_heals(tmp_path: Path) -> None:
    async def work() -> None:
        world = World(tmp_path)
        await world.put(NO_MESH, rr(), A)

        def tell(told: Desired | NothingToRun) -> None:
            raise ZeroDivisionError("a bug")

        follower = PlanFollower(world.store, "rr-1", world.saved, tell, world._log)
        try:
            with pytest.raises(ExceptionGroup) as caught:
                await asyncio.wait_for(follower.run(), 20)
            assert isinstance(caught.value.exceptions[0], ZeroDivisionError)
        finally:
            await world.store.close()

    asyncio.run(work())


def test_only_what_changed_travels(tmp_path: Path) -> None:
    async def work(world: World) -> None:
        await world.until(lambda: world.told)
        await world.put(B, affinity("b", "10.0.0.0/26"))
        await world.until(lambda: world.peers() == {"a-ipv4", "b-ipv4"})
        await world.put(rr(holdTime=9))
        await world.until(lambda: {p.session.hold_time for p in world.desired.configuration.peers.values()} == {9})
        await world.store.delete("Node", "a")
        await world.until(lambda: world.peers() == {"b-ipv4"})

    world = following(tmp_path, NO_MESH, rr(), A, of=work)
    before: Desired | None = None
    seen: Desired | None = None
    for told in world.told:
        assert isinstance(told, Desired)
        step = change(before, told)
        seen = changed(seen, step)
        assert seen == told
        assert step.rest.configuration.peers == {}
        if before is not None:
            kept = before.configuration.peers.keys() & told.configuration.peers.keys() - step.peers.keys()
            assert all(told.configuration.peers[a] == before.configuration.peers[a] for a in kept)
            assert set(step.gone) == before.configuration.peers.keys() - told.configuration.peers.keys()
        before = told
    assert isinstance(before, Desired)
    nothing = change(before, replace(before, passwords={PASSWORD: b"x"}))
    assert (nothing.peers, nothing.gone, nothing.owners) == ({}, (), None)
    assert changed(before, nothing).configuration.owners is before.configuration.owners
