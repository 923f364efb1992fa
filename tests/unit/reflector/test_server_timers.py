"""Who is silent is put out in its time, and nobody else, whatever the load: hold timers and keepalives of a server."""

from __future__ import annotations

import asyncio

import pytest

from reflector.wire.errors import ErrorCode
from reflector.wire.families import IPV4_UNICAST
from reflector.wire.framing import KEEPALIVE, NOTIFICATION, encode_message
from reflector.wire.notification import Notification
from reflector.wire.packing import encode_end_of_rib, encode_updates
from tests.unit.reflector.policy_samples import block
from tests.unit.reflector.server_world import Clock, Raw, World, blocks, configuration, hello, range_of, run, world

ALIVE = encode_message(KEEPALIVE)
EXPIRED = Notification(ErrorCode.HOLD_TIMER_EXPIRED)
HOLD = 90
OPEN_TIME = 60.0


def route(number: int) -> bytes:
    told = [(bytes((10, 9, 0, 1)), block(local_pref=100).raw, blocks(number, 1))]
    return b"".join(encode_updates(IPV4_UNICAST, [], told))


async def up(w: World, number: int, hold_time: int = HOLD) -> Raw:
    """A session of which nothing is heard from now on but what the test says."""
    raw = await w.raw_client(number)
    raw.say(hello(number, hold_time=hold_time), ALIVE)
    established = w.server.counters.established
    await w.until(lambda: w.server.counters.established > established)
    return raw


def test_who_says_nothing_for_the_hold_time_is_put_out_with_its_routes() -> None:
    async def scenario() -> None:
        async with world(configuration()) as w:
            other, silent = await w.client(1), await up(w, 2)
            silent.say(route(0))
            await w.quiet()
            await w.pass_time(HOLD - 2.0)
            assert not silent.notices
            assert other.prefixes() == set(blocks(0, 1))
            await w.pass_time(4.0)
            await w.until(lambda: silent.closed)
            assert silent.notices == [EXPIRED]
            await w.until(lambda: not other.told)
            assert list(w.server.neighbours) == [other.address]
            assert w.server.counters.ended == {"sent hold timer expired": 1}
            assert [line["reason"] for line in w.events("session-down")] == ["sent hold timer expired"]
            assert not other.over

    run(scenario())


@pytest.mark.parametrize("said", [ALIVE, route(0), encode_end_of_rib(IPV4_UNICAST)], ids=["keepalive", "route", "end"])
def test_whatever_is_heard_is_a_sign_of_life(said: bytes) -> None:
    async def scenario() -> None:
        async with world(configuration()) as w:
            raw = await up(w, 1)
            for _ in range(4):
                await w.pass_time(HOLD - 10.0, step=40.0)
                raw.say(said)
                await w.quiet()
            assert not raw.notices
            await w.pass_time(HOLD + 2.0)
            await w.until(lambda: raw.notices == [EXPIRED])

    run(scenario())


def test_without_a_hold_time_nobody_is_put_out() -> None:
    async def scenario() -> None:
        async with world(configuration()) as w:
            raw = await up(w, 1, hold_time=0)
            before = len(raw.bodies(KEEPALIVE))
            await w.pass_time(3600.0, step=60.0)
            assert not raw.closed
            assert len(raw.bodies(KEEPALIVE)) == before

    run(scenario())


def test_everybody_hears_that_the_reflector_lives() -> None:
    """At least every third of the hold time, for as long as there is nothing else to hear."""

    async def scenario() -> None:
        async with world(configuration()) as w:
            raws = [await up(w, n, hold_time) for n, hold_time in ((1, 9), (2, 30), (3, HOLD))]
            before = [len(raw.bodies(KEEPALIVE)) for raw in raws]
            for _ in range(180):
                await w.pass_time(1.0)
                for raw in raws:
                    raw.say(ALIVE)
            await w.quiet()
            heard = [len(raw.bodies(KEEPALIVE)) - then for raw, then in zip(raws, before, strict=True)]
            # With jitter the interval is three quarters of that at the least (RFC 4271, 10).
            for count, hold_time in zip(heard, (9, 30, HOLD), strict=True):
                assert 180 * 3 / hold_time - 1 <= count <= 180 * 4 / hold_time + 1
            assert not any(raw.closed for raw in raws)

    run(scenario())


def test_under_load_nobody_is_taken_for_dead_by_anybody() -> None:
    """Hold times of 3 s, and a table that changes all the time: some hear nothing but that, some nothing."""

    async def scenario() -> None:
        async with world(configuration()) as w:
            clients = [await w.client(n, hold_time=3) for n in range(1, 9)]
            speaker, quiet = clients[0], await up(w, 20, hold_time=3)
            for number in range(60):
                speaker.announce(blocks(0, 3000), 1, med=number)
                quiet.say(ALIVE)
                await w.pass_time(0.5, step=0.5)
            await w.quiet()
            assert not any(client.over for client in clients)
            assert not quiet.closed
            assert all(len(client.told) == 3000 for client in clients[1:])
            assert not w.events("session-down")

    run(scenario())


def test_a_reflector_that_was_held_up_takes_nobody_for_dead() -> None:
    """It comes late to its timers, and what everybody said meanwhile lies in the sockets still."""

    async def scenario() -> None:
        async with world(configuration()) as w:
            raws = [await up(w, n) for n in range(1, 6)]
            loop = asyncio.get_running_loop()
            assert isinstance(loop, Clock)
            for raw in raws[:4]:
                raw.say(ALIVE)
            loop.ahead += 3 * HOLD
            await w.until(lambda: raws[4].closed)
            assert raws[4].notices == [EXPIRED], "this one has said nothing"
            await w.pass_time(10.0)
            assert not any(raw.closed for raw in raws[:4])

    run(scenario())


@pytest.mark.parametrize(
    "said",
    [b"", b"\xff" * 10, hello(1)[:25], hello(1)],
    ids=["nothing", "half a marker", "half an OPEN", "an OPEN and no KEEPALIVE"],
)
def test_who_does_not_come_to_the_point_is_put_out(said: bytes) -> None:
    """In its time, with a NOTIFICATION; and the same client is let in afterwards, and even before."""

    async def scenario() -> None:
        async with world(configuration(ranges=(range_of(session={"open_time": OPEN_TIME}),))) as w:
            other = await w.client(2)
            before = w.footprint()
            raw = await w.raw_client(1)
            raw.say(said)
            await w.until(lambda: w.server._sessions.publisher.coming == 1)
            await w.pass_time(OPEN_TIME - 2.0)
            assert not raw.notices
            await w.pass_time(4.0)
            await w.until(lambda: raw.closed)
            assert raw.notices == [EXPIRED]
            assert w.server.counters.failed == {"sent hold timer expired": 1}
            assert len(w.events("session-failed")) == 1
            assert not other.over
            raw.close()
            w.raw.clear()
            await w.pass_time(2.0)
            after = w.footprint()
            assert {**after, "files": before["files"]} == before
            again = await w.raw_client(1)
            again.say(said)
            await w.client(1)
            await w.until(lambda: again.bodies(NOTIFICATION))

    run(scenario())
