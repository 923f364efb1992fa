"""What a broken or hostile client can do to a server: get its NOTIFICATION, and nothing to the others."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reflector.wire.capabilities import Capabilities
from reflector.wire.framing import KEEPALIVE, UPDATE, encode_message
from reflector.wire.notification import Notification
from tests.unit.reflector.policy_samples import keys
from tests.unit.reflector.server_client import Client
from tests.unit.reflector.server_world import Raw, World, blocks, configuration, hello, named, range_of, run, world

ALIVE = encode_message(KEEPALIVE)
#: What is said on a new connection, and what is said to it.
BAD: dict[str, tuple[bytes, Notification]] = {
    "version 3": (hello(1)[:19] + b"\3" + hello(1)[20:], Notification(2, 1, bytes((0, 4)))),
    "another AS": (hello(1, asn=65001, capabilities=Capabilities()), Notification(2, 2, (65001).to_bytes(2))),
    "hold time 1": (hello(1, hold_time=1), Notification(2, 6, bytes((0, 1)))),
    "our router ID": (hello(1, router_id=bytes((10, 255, 0, 1))), Notification(2, 3, bytes((10, 255, 0, 1)))),
    "zeros": (bytes(4096), Notification(1, 1)),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: reflector\r\n\r\n", Notification(1, 1)),
    "an UPDATE first": (encode_message(UPDATE, bytes(4)), Notification(5, 1, bytes((UPDATE,)))),
}


async def exchange(w: World, one: Client, other: Client) -> None:
    """A route goes from one to the other and is gone again."""
    one.announce(["10.70.0.0/24"], 1)
    await w.until(lambda: keys("10.70.0.0/24")[0] in other.prefixes())
    one.withdraw(["10.70.0.0/24"])
    await w.until(lambda: keys("10.70.0.0/24")[0] not in other.prefixes())


@pytest.mark.parametrize("name", BAD)
def test_a_bad_beginning(name: str) -> None:
    """Answered each time, counted each time, logged once; nothing is left of it."""
    said, notice = BAD[name]

    async def scenario() -> None:
        async with world(configuration(ranges=(range_of(session={"peer_type": "ibgp"}),))) as w:
            one, other = await w.client(2), await w.client(3)
            before = w.footprint()
            for _ in range(3):
                raw = await w.raw_client(1)
                raw.say(said)
                await w.until(lambda raw=raw: raw.closed)  # type: ignore[misc]
                assert not raw.reset, "or the NOTIFICATION might be lost"
                assert raw.notices == [notice]
                raw.close()
            w.raw.clear()
            await exchange(w, one, other)
            assert sum(w.server.counters.failed.values()) == 3
            assert len(w.events("session-failed")) == 1
            await w.pass_time(2.0)
            assert {**w.footprint(), "files": before["files"]} == before
            await w.client(1)

    run(scenario())


def test_a_neighbour_of_the_plan_that_fails_is_told_of_when_the_reason_changes() -> None:
    async def scenario() -> None:
        async with world(configuration(named(1), ranges=())) as w:
            for said in ("version 3", "version 3", "hold time 1", "hold time 1"):
                raw = await w.raw_client(1)
                raw.say(BAD[said][0])
                await w.until(lambda raw=raw: raw.closed)  # type: ignore[misc]
            reasons = [line["reason"] for line in w.events("session-down")]
            assert [reason.partition(":")[0] for reason in reasons] == [
                "sent open message, unsupported version",
                "sent open message, unacceptable hold time",
            ]
            assert w.neighbour(1).last_error == reasons[1]

    run(scenario())


def test_a_flood_of_connections_from_one_address() -> None:
    """Four are let in and silent, the rest is refused; others exchange routes, and in the end it may come in again."""

    async def scenario() -> None:
        async with world(configuration()) as w:
            one, other = await w.client(2), await w.client(3)
            flood: list[Raw] = []
            for _ in range(15):
                flood += [await w.raw_client(1) for _ in range(20)]
                await exchange(w, one, other)
            refused = w.server.counters.refused
            await w.until(lambda: refused.total() == len(flood) - len(w.neighbour(1).connections) - replaced(flood))
            assert len(w.neighbour(1).connections) <= 4
            assert set(refused) <= {"too-many", "too-often"}
            assert refused.total() > 250
            assert len(w.events("connection-refused")) <= len(refused)
            assert len(w.server.neighbours) == 3
            for raw in flood:
                raw.close()
            w.raw.clear()
            await w.until(lambda: len(w.server.neighbours) == 2)
            await w.pass_time(60.0)
            await w.client(1)

    run(scenario())


def replaced(flood: list[Raw]) -> int:
    """Those that gave way to a newer connection of the same client."""
    return sum(Notification(6, 7) in raw.notices for raw in flood)


@pytest.mark.parametrize(
    "wants",
    [
        lambda w: w.server.counters.failed.total() == 20,
        lambda w: len(w.events("session-failed")) == 1,
        lambda w: not w.server.neighbours,
    ],
    ids=["counted", "logged once", "forgotten"],
)
def test_many_who_fail_at_once(wants: Callable[[World], bool]) -> None:
    """Of one network: counted each, told of together."""

    async def scenario() -> None:
        async with world(configuration()) as w:
            for number in range(1, 21):
                raw = await w.raw_client(number)
                raw.say(BAD["hold time 1"][0])
                await w.until(lambda raw=raw: raw.closed)  # type: ignore[misc]
            assert wants(w)

    run(scenario())


def test_garbage_in_a_session_that_is_up_ends_that_one() -> None:
    async def scenario() -> None:
        async with world(configuration()) as w:
            one, other = await w.client(2), await w.client(3)
            raw = await w.raw_client(1)
            raw.say(hello(1), ALIVE)
            await w.until(lambda: w.server.counters.established == 3)
            one.announce(blocks(0, 10), 2)
            raw.say(b"\xff" * 16 + bytes((0, 18, 2)))
            await w.until(lambda: raw.closed)
            assert raw.notices == [Notification(1, 2, bytes((0, 18)))]
            await exchange(w, one, other)
            assert not one.over
            assert not other.over

    run(scenario())
