"""A client that does not read: it holds nobody up, costs no memory, and is told the present when it reads again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reflector.log import group
from reflector.log.route_log import RING_BYTES
from reflector.server.connection import Connection
from reflector.wire.errors import ErrorCode
from reflector.wire.families import IPV4_UNICAST
from reflector.wire.notification import Notification
from tests.unit.reflector.policy_samples import read
from tests.unit.reflector.server_client import Client
from tests.unit.reflector.server_world import World, blocks, configuration, range_of, run, world

RING = 200_000
#: Small, so that it fills soon.
BUFFER = 4096
SEND_HOLD = 300
STUCK = Notification(ErrorCode.SEND_HOLD_TIMER_EXPIRED)


@pytest.fixture(autouse=True)
def _short_ring(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A place in the log is lost after a few batches."""
    assert RING_BYTES > RING
    defaults = group.UpdateGroup.__init__.__defaults__
    monkeypatch.setattr(group.UpdateGroup.__init__, "__defaults__", (RING,))
    yield
    assert defaults == (RING_BYTES,)


async def slow_world(w: World) -> tuple[Client, Client, Client]:
    """One that speaks, one that reads, and one whose socket is full."""
    speaker, quick = await w.client(1), await w.client(2)
    slow = await w.client(3, receive_buffer=BUFFER)
    slow.pause()
    await w.fill(3, speaker)
    await w.until(lambda: len(quick.told) == 10_000)
    return speaker, quick, slow


def waiting(connection: Connection) -> int:
    """Bytes that are kept for one client, the ring of its group not counted."""
    outbox = connection.outbox
    return sum(map(len, outbox._flight)) + sum(map(len, outbox._own))


def meds(client: Client) -> set[int]:
    return {read(told.attributes)["med"] for told in client.told.values()}


def test_the_others_are_not_held_up() -> None:
    async def scenario() -> None:
        async with world(configuration()) as w:
            speaker, quick, slow = await slow_world(w)
            seen = slow.received
            for number in range(20):
                speaker.announce(blocks(20_000 + number, 1), 1)
                await w.until(lambda number=number: blocks(20_000 + number, 1)[0] in quick.prefixes())  # type: ignore[misc]
            late = await w.client(4)
            assert late.prefixes() == quick.prefixes()
            assert w.connection(3).blocked
            assert slow.received == seen

    run(scenario())


def test_memory_is_bounded_and_the_present_is_told_in_the_end() -> None:
    """What changed thirty times meanwhile is told once: as it is now."""

    async def scenario() -> None:
        async with world(configuration()) as w:
            speaker, quick, slow = await slow_world(w)
            connection = w.connection(3)
            kept = waiting(connection)
            for number in range(30):
                speaker.announce(blocks(0, 10_000), 1, med=1000 + number)
                await w.quiet()
                assert waiting(connection) == kept
                assert meds(quick) == {1000 + number}
                (found,) = w.server.engine.groups.values()
                assert found._log._size <= RING
                assert len(found._log._left) <= 10_000
            speaker.withdraw(blocks(9_000, 1_000))
            speaker.announce(blocks(10_000, 10), 1, med=7)
            await w.quiet()
            assert connection.outbox.cursors[0].lost
            slow.resume()
            await w.quiet()
            assert slow.told == quick.told
            assert not connection.blocked
            assert meds(slow) == {1029, 7}
            heard = [client.news.count(("+", blocks(0, 1)[0])) for client in (quick, slow)]
            assert heard[1] <= heard[0] - 29, "of thirty only the last"
            speaker.announce(blocks(11_000, 1), 1)
            await w.until(lambda: blocks(11_000, 1)[0] in slow.prefixes())
            assert not slow.over

    run(scenario())


def test_a_withdrawal_that_it_slept_through_is_told() -> None:
    async def scenario() -> None:
        async with world(configuration()) as w:
            speaker, quick, slow = await slow_world(w)
            speaker.die()
            await w.until(lambda: not quick.told)
            slow.resume()
            await w.until(lambda: slow.news and not slow.told)
            await w.quiet()
            assert not slow.told
            assert not slow.over

    run(scenario())


def test_who_takes_nothing_for_too_long_is_put_out() -> None:
    """RFC 9687; though it goes on to say that it lives."""

    async def scenario() -> None:
        async with world(configuration(ranges=(range_of(session={"send_hold_time": float(SEND_HOLD)}),))) as w:
            speaker, quick, slow = await slow_world(w)
            await w.pass_time(SEND_HOLD - 60.0)
            assert slow.up
            assert w.connection(3).blocked
            await w.pass_time(60.0 + 10.0)
            await w.until(lambda: w.server.counters.ended["sent send hold timer expired"] == 1)
            assert slow.address not in w.server.neighbours
            assert not quick.over
            assert not speaker.over
            (line,) = w.events("session-down")
            assert line["reason"] == "sent send hold timer expired"

    run(scenario())


def test_who_takes_a_little_now_and_then_is_not() -> None:
    async def scenario() -> None:
        async with world(configuration(ranges=(range_of(session={"send_hold_time": float(SEND_HOLD)}),))) as w:
            speaker, _, slow = await slow_world(w)
            for _ in range(6):
                await w.pass_time(0.4 * SEND_HOLD)
                seen = slow.received
                slow.resume()
                await w.until(lambda seen=seen: slow.received > seen + 100_000)  # type: ignore[misc]
                slow.pause()
                await w.fill(3, speaker)
            assert slow.up
            assert not slow.over
            assert slow.terms.families == (IPV4_UNICAST,)

    run(scenario())
