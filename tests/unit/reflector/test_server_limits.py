"""Who announces too much: put out, kept out for a while, let in again; and the others do not notice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reflector.configuration import ReflectorConfiguration
from reflector.wire.errors import Cease
from reflector.wire.notification import Notification
from tests.unit.reflector.server_client import Client
from tests.unit.reflector.server_world import World, address, blocks, configuration, named, range_of, run, world

LIMIT, KEPT_OUT = 100, 300.0
TOO_MANY = Notification(6, Cease.MAXIMUM_PREFIXES, bytes((0, 1, 1)) + LIMIT.to_bytes(4))


def by_range(**policy: Any) -> ReflectorConfiguration:
    return configuration(ranges=(range_of("127.1.0.1/32", **policy), range_of()))


def by_name(**policy: Any) -> ReflectorConfiguration:
    return configuration(named(1, **policy))


Plan = Callable[..., ReflectorConfiguration]
BOTH = pytest.mark.parametrize("plan", [by_range, by_name])


async def too_many(w: World, *others: Client) -> Client:
    """Client 1 has announced a thousand times too much, and is out."""
    one = await w.client(1)
    one.announce(blocks(0, 10), 1)
    await w.until(lambda: all(len(other.told) == 10 for other in others))
    one.announce(blocks(0, 100 * LIMIT), 1)
    await w.until(lambda: one.over)
    assert one.notices == [TOO_MANY]
    await w.quiet()
    return one


@BOTH
def test_it_is_put_out_with_all_that_it_said(plan: Plan) -> None:
    async def scenario() -> None:
        async with world(plan(max_prefixes=LIMIT)) as w:
            others = [await w.client(2), await w.client(3)]
            await too_many(w, *others)
            assert not any(other.told for other in others)
            assert not any(other.over for other in others)
            assert w.server.counters.limits_exceeded == 1
            (line,) = w.events("prefix-limit")
            assert line["limit"] == LIMIT
            assert w.neighbour(1).barred
            assert not w.server.engine.tables[others[0].terms.families[0]].paths

    run(scenario())


@BOTH
def test_it_is_kept_out_for_its_time_and_let_in_again(plan: Plan) -> None:
    async def scenario() -> None:
        async with world(plan(max_prefixes=LIMIT, restart_after=KEPT_OUT)) as w:
            other = await w.client(2)
            one = await too_many(w, other)
            await w.until(lambda: w.server.counters.refused["stopped"])
            one.die()
            await w.pass_time(KEPT_OUT - 20.0)
            refused = w.server.counters.refused["stopped"]
            one.start()
            await w.until(lambda: w.server.counters.refused["stopped"] > refused)
            one.die()
            await w.pass_time(30.0)
            one.start()
            await w.told_all(one)
            one.announce(blocks(0, LIMIT), 1)
            await w.until(lambda: len(other.told) == LIMIT)
            assert not w.neighbour(1).barred
            assert not other.over

    run(scenario())


@BOTH
def test_without_a_time_it_is_kept_out_until_somebody_resets_it(plan: Plan) -> None:
    async def scenario() -> None:
        async with world(plan(max_prefixes=LIMIT, restart_after=None)) as w:
            other = await w.client(2)
            one = await too_many(w, other)
            one.die()
            await w.pass_time(3600.0, step=40.0)
            one.start()
            await w.until(lambda: w.server.counters.refused["stopped"])
            assert w.server.reset(address(1))
            await w.told_all(one)
            assert not other.over

    run(scenario())


def test_who_is_kept_out_and_gone_is_forgotten_after_its_time() -> None:
    async def scenario() -> None:
        async with world(by_range(max_prefixes=LIMIT, restart_after=KEPT_OUT)) as w:
            other = await w.client(2)
            (await too_many(w, other)).die()
            await w.pass_time(KEPT_OUT + 10.0)
            await w.until(lambda: list(w.server.neighbours) == [other.address])

    run(scenario())


def test_a_prefix_limit_is_an_end_for_who_would_be_waited_for() -> None:
    """RFC 8538: a Hard Reset, after which nothing is kept."""

    async def scenario() -> None:
        session = {"graceful_restart_time": 120}
        async with world(configuration(ranges=(range_of(session=session, max_prefixes=LIMIT),))) as w:
            other, one = await w.client(2), await w.client(1, **session)
            one.announce(blocks(0, 2 * LIMIT), 1)
            await w.until(lambda: one.over)
            assert one.notices == [Notification(6, Cease.HARD_RESET, TOO_MANY.encode())]
            await w.quiet()
            assert not other.told
            assert not w.server.engine._stale

    run(scenario())
