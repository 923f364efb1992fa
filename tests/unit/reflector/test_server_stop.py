"""The end of a reflector: everybody is told why, or nobody is told anything, and it comes soon."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from reflector.session.events import SessionClosed
from reflector.session.states import Input
from reflector.wire.errors import Cease
from reflector.wire.families import IPV4_UNICAST
from reflector.wire.framing import NOTIFICATION
from reflector.wire.notification import Notification, shutdown
from tests.unit.reflector.server_client import Client
from tests.unit.reflector.server_world import World, blocks, configuration, named, range_of, run, world

REASON = "kernel update, back at 14:00 — sorry"
GRACEFUL = {"graceful_restart_time": 120}


async def ended(w: World, *clients: Client) -> list[SessionClosed]:
    """How the last session of each ended, when the reflector is gone."""
    assert w.serving is not None
    await w.serving
    await w.until(lambda: all(client.over for client in clients))
    return [client.over[-1] for client in clients]


def test_everybody_is_told_why() -> None:
    async def scenario() -> None:
        async with world(configuration(ranges=(range_of(),))) as w:
            clients = [await w.client(n) for n in range(1, 21)]
            clients[0].announce(blocks(0, 100), 1)
            await w.quiet()
            w.server.stop(reason=REASON)
            for closed in await ended(w, *clients):
                assert closed.notification == shutdown(REASON)
                assert closed.notification.reason == REASON
                assert not closed.sent
            assert not any(sign == "-" for client in clients for sign, _ in client.news), "nobody is told of the others"
            assert w.log[-1] == ("stopped", {"graceful": False})

    run(scenario())


def test_whoever_would_keep_the_routes_is_told_not_to() -> None:
    """RFC 8538, 5: an end that is meant is a Hard Reset for who understands that."""

    async def scenario() -> None:
        async with world(configuration(ranges=(range_of(session=GRACEFUL),))) as w:
            one = await w.client(1, **GRACEFUL)
            w.server.stop(reason=REASON)
            (closed,) = await ended(w, one)
            assert closed.notification == Notification(6, Cease.HARD_RESET, shutdown(REASON).encode())
            assert closed.notification.reason == REASON
            assert not closed.retained

    run(scenario())


def test_who_leaves_gracefully_says_nothing_and_its_routes_stay() -> None:
    async def scenario() -> None:
        async with world(configuration(ranges=(range_of(session=GRACEFUL),))) as w:
            one, two = await w.client(1, **GRACEFUL), await w.client(2, **GRACEFUL)
            one.announce(blocks(0, 100), 1)
            await w.quiet()
            raw = await w.raw_client(3)
            await w.until(lambda: raw.messages)
            w.server.stop(graceful=True, reason=REASON)
            for closed in await ended(w, one, two):
                assert closed.notification is None
                assert closed.cause is Input.CONNECTION_FAILS
                assert closed.retained[IPV4_UNICAST].restart_time == 120
            assert not any(sign == "-" for sign, _ in two.news)
            await w.until(lambda: raw.closed)
            assert not raw.bodies(NOTIFICATION)

    run(scenario())


@pytest.mark.parametrize("graceful", [False, True])
def test_nobody_is_let_in_or_dialed_any_more_and_nothing_is_left_open(graceful: bool) -> None:
    async def scenario() -> None:
        with socket.socket() as nobody:
            nobody.bind(("127.1.0.4", 0))
            nobody.listen(0)  # takes the connection and says nothing
            async with world(configuration(named(4, nobody.getsockname()[1]))) as w:
                one = await w.client(1)
                opening = await w.raw_client(2)
                await w.until(lambda: opening.messages and w.neighbour(4).connections)
                w.server.stop(graceful=graceful)
                assert w.serving is not None
                await w.serving
                if not graceful:
                    await w.until(lambda: opening.bodies(NOTIFICATION))
                    assert opening.bodies(NOTIFICATION) == [shutdown().encode()]
                with pytest.raises(ConnectionRefusedError):
                    await w.raw_client(3)
                await w.until(lambda: not one.connected)
                assert not any(c.open for n in w.server.neighbours.values() for c in n.connections.values())

    run(scenario())


def test_who_does_not_read_holds_nobody_up() -> None:
    """Its socket is full: it gets what the kernel takes, and the others their last word at once."""

    async def scenario() -> None:
        async with world(configuration()) as w:
            one, two = await w.client(1), await w.client(2)
            slow = await w.client(3, receive_buffer=4096)
            slow.pause()
            await w.fill(3, one)
            before = time.monotonic()
            w.server.stop(reason=REASON)
            for closed in await ended(w, one, two):
                assert closed.notification == shutdown(REASON)
            assert time.monotonic() - before < 2

    run(scenario())


def test_it_ends_soon_with_many_clients() -> None:
    """Within two seconds, the clients' own work in the same loop included. bench/reflector_stop.py has 5,000."""

    async def scenario() -> None:
        async with world(configuration()) as w:
            clients = [w.make(n) for n in range(1, 201)]
            for client in clients:
                client.start()
            await w.told_all(*clients)
            for number, client in enumerate(clients):
                client.announce(blocks(number, 1), number)
            await w.quiet()
            before = time.monotonic()
            w.server.stop(reason=REASON)
            assert w.serving is not None
            async with asyncio.timeout(2):
                await w.serving
            assert time.monotonic() - before < 2
            assert {closed.notification for closed in await ended(w, *clients)} == {shutdown(REASON)}

    run(scenario())
