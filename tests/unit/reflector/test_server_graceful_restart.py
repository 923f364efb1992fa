"""Restarts over real connections: what stays of a client that is away, for how long, and what its return changes."""

from __future__ import annotations

from typing import Any

from reflector.wire.communities import LLGR_STALE
from reflector.wire.families import IPV4_UNICAST
from tests.unit.reflector.policy_samples import read
from tests.unit.reflector.server_client import Client
from tests.unit.reflector.server_world import World, address, blocks, configuration, named, range_of, run, world

RESTART, STALE = 120, 3600
GRACEFUL: dict[str, Any] = {"graceful_restart_time": RESTART}
LASTING: dict[str, Any] = {**GRACEFUL, "long_lived_stale_time": STALE}


def plan(session: dict[str, Any], **fields: Any) -> Any:
    return configuration(ranges=(range_of(session=session, **fields),))


async def away(w: World, *others: Client, **fields: Any) -> Client:
    """Client 1 has announced ten prefixes, and is gone without a word; the others have heard of the prefixes only."""
    one = await w.client(1, **fields)
    one.announce(blocks(0, 10), 1)
    one.end_of_rib()
    await w.quiet()
    one.die()
    await w.until(lambda: w.server.engine._stale)
    await w.quiet()
    for other in others:
        assert other.prefixes() == set(blocks(0, 10))
        other.news.clear()
    return one


def communities(client: Client) -> set[tuple[int, ...]]:
    return {tuple(read(told.attributes).get("communities", ())) for told in client.told.values()}


def test_who_comes_back_in_time_is_missed_by_nobody() -> None:
    async def scenario() -> None:
        async with world(plan(GRACEFUL)) as w:
            other = await w.client(2, **GRACEFUL)
            one = await away(w, other, **GRACEFUL)
            await w.pass_time(RESTART - 20.0)
            late = await w.client(3)
            assert late.prefixes() == set(blocks(0, 10)), "who comes meanwhile is told of them too"
            one.start()
            await w.told_all(one)
            one.announce(blocks(0, 10), 1)
            one.end_of_rib()
            await w.quiet()
            await w.pass_time(2.0 * RESTART)
            assert not other.news
            assert other.prefixes() == late.prefixes() == set(blocks(0, 10))
            assert not w.server.engine._stale

    run(scenario())


def test_what_is_not_said_again_goes_with_the_end_of_rib() -> None:
    async def scenario() -> None:
        async with world(plan(GRACEFUL)) as w:
            other = await w.client(2, **GRACEFUL)
            one = await away(w, other, **GRACEFUL)
            one.start()
            await w.told_all(one)
            one.announce(blocks(0, 4), 1)
            one.announce(blocks(20, 1), 1)
            await w.quiet()
            assert other.news == [("+", key) for key in blocks(20, 1)]
            one.end_of_rib()
            await w.quiet()
            assert {key for sign, key in other.news if sign == "-"} == set(blocks(4, 6))
            assert other.prefixes() == set(blocks(0, 4) + blocks(20, 1))

    run(scenario())


def test_who_does_not_come_back_is_forgotten_when_its_time_is_over() -> None:
    """And keeps its place until then, however full the range is."""

    async def scenario() -> None:
        async with world(plan(GRACEFUL, limit=2)) as w:
            other = await w.client(2, **GRACEFUL)
            await away(w, other, **GRACEFUL)
            await w.pass_time(RESTART - 10.0)
            assert not other.news
            (await w.raw_client(3)).close()
            await w.until(lambda: w.server.counters.refused["range-full"] == 1)
            await w.pass_time(20.0)
            await w.quiet()
            assert sorted(other.news) == [("-", key) for key in blocks(0, 10)]
            assert list(w.server.neighbours) == list(w.server.engine.peers) == [other.address]
            assert other.up
            await w.client(3)

    run(scenario())


def test_after_the_restart_time_routes_are_a_last_resort() -> None:
    """RFC 9494: for who knows that, with LLGR_STALE; and then they have their time too."""

    async def scenario() -> None:
        async with world(plan(LASTING)) as w:
            knows, knows_not = await w.client(2, **LASTING), await w.client(3)
            await away(w, knows, knows_not, **LASTING)
            assert communities(knows) == {()}
            await w.pass_time(RESTART + 10.0)
            await w.quiet()
            assert communities(knows) == {(LLGR_STALE,)}
            assert not knows_not.told
            await w.pass_time(STALE - 60.0, step=20.0)
            await w.quiet()
            assert len(knows.told) == 10
            await w.pass_time(60.0, step=20.0)
            await w.quiet()
            assert not knows.told
            assert address(1) not in w.server.neighbours
            assert not knows.over
            assert not knows_not.over

    run(scenario())


def test_who_comes_back_while_its_routes_are_a_last_resort_makes_them_good_again() -> None:
    async def scenario() -> None:
        async with world(plan(LASTING)) as w:
            other, plain = await w.client(2, **LASTING), await w.client(3)
            one = await away(w, other, plain, **LASTING)
            await w.pass_time(RESTART + 10.0)
            await w.quiet()
            one.start()
            await w.told_all(one)
            assert communities(other) == {(LLGR_STALE,)}
            one.announce(blocks(0, 4), 1)
            one.end_of_rib()
            await w.quiet()
            assert other.prefixes() == plain.prefixes() == set(blocks(0, 4))
            assert communities(other) == {()}
            await w.pass_time(2.0 * STALE, step=30.0)
            assert len(other.told) == 4

    run(scenario())


def test_a_neighbour_of_the_plan_is_still_expected_when_its_time_is_over() -> None:
    async def scenario() -> None:
        async with world(configuration(named(1, session=GRACEFUL))) as w:
            other = await w.client(2, **GRACEFUL)
            one = await away(w, other, **GRACEFUL)
            await w.pass_time(RESTART + 10.0)
            await w.until(lambda: not other.told)
            assert w.neighbour(1).state is None
            one.start()
            await w.told_all(one)
            one.announce(blocks(0, 1), 1)
            await w.until(lambda: other.prefixes() == set(blocks(0, 1)))

    run(scenario())


def test_a_second_connection_of_who_has_restarted_takes_the_place_of_the_first() -> None:
    """The loss of the first was noticed by nobody: RFC 4724, 5. Nothing is withdrawn."""

    async def scenario() -> None:
        async with world(plan(GRACEFUL)) as w:
            other, one = await w.client(2, **GRACEFUL), await w.client(1, **GRACEFUL)
            one.announce(blocks(0, 10), 1)
            one.end_of_rib()
            await w.quiet()
            await w.pass_time(20.0)
            other.news.clear()
            one.pause()  # it is not there any more, but its socket is
            again = w.make(1, restarting=True, **GRACEFUL)
            again.start()
            await w.told_all(again)
            again.announce(blocks(0, 10), 1)
            again.end_of_rib()
            await w.quiet()
            assert not other.news
            assert len(w.neighbour(1).connections) == 1
            assert w.server.counters.ended == {"replaced by a new connection": 1}

    run(scenario())


def test_a_reflector_that_has_restarted_tells_nobody_anything_before_all_have_spoken() -> None:
    """RFC 4724, 4.1: an early End-of-RIB would make them forget what they keep for it."""

    async def scenario() -> None:
        wanted = configuration(*(named(n, session=GRACEFUL) for n in (1, 2)), ranges=())
        async with world(wanted, restarting=True) as w:
            one, two = w.make(1, **GRACEFUL), w.make(2, **GRACEFUL)
            one.start()
            await w.until(lambda: one.up)
            assert one.opens[0].negotiated.graceful_restart is not None
            assert one.opens[0].negotiated.graceful_restart.restarting
            one.announce(blocks(0, 5), 1)
            one.end_of_rib()
            await w.pass_time(10.0)
            assert not one.ends, "the other is not here yet"
            two.start()
            await w.until(lambda: two.up)
            await w.pass_time(5.0)
            assert not two.told
            assert not two.ends
            two.end_of_rib()
            await w.pass_time(5.0)
            await w.told_all(one, two)
            assert two.ends == {IPV4_UNICAST: 5}, "first the table, then its end"

    run(scenario())


def test_nor_waits_for_who_does_not_come() -> None:
    async def scenario() -> None:
        wanted = configuration(*(named(n, session=GRACEFUL) for n in (1, 2)), ranges=())
        async with world(wanted, restarting=True) as w:
            one = w.make(1, **GRACEFUL)
            one.start()
            await w.until(lambda: one.up)
            one.end_of_rib()
            await w.pass_time(40.0)
            assert not one.ends
            await w.pass_time(10.0)
            await w.told_all(one)

    run(scenario())
