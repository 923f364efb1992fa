"""A reflector from its start on: who comes in and is dialed, what each is told, what is left of who goes."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from peering.prefixes import format_address
from reflector.server.server import ReflectorServer
from reflector.server.tcp_options import TcpError
from reflector.wire.families import IPV4_UNICAST, IPV6_UNICAST
from reflector.wire.packing import encode_updates
from tests.unit.reflector.policy_samples import block, keys, read
from tests.unit.reflector.server_world import (
    HERE,
    HERE_V6,
    ROUTER_ID,
    World,
    address,
    blocks,
    configuration,
    named,
    range_of,
    run,
    world,
)


def test_routes_go_from_each_to_all_others() -> None:
    async def scenario() -> None:
        async with world(configuration()) as w:
            one, two, three = [await w.client(n) for n in (1, 2, 3)]
            one.announce(["10.1.0.0/24", "10.1.1.0/24"], 1)
            two.announce(["10.2.0.0/24"], 2)
            await w.quiet()
            assert one.prefixes() == set(keys("10.2.0.0/24"))
            assert two.prefixes() == set(keys("10.1.0.0/24", "10.1.1.0/24"))
            assert three.prefixes() == one.prefixes() | two.prefixes()
            told = three.told[IPV4_UNICAST, keys("10.2.0.0/24")[0]]
            assert told.next_hop == bytes((10, 9, 0, 2))
            assert read(told.attributes)["originator_id"] == address(2)
            assert read(told.attributes)["cluster_list"] == (ROUTER_ID,)
            one.withdraw(["10.1.1.0/24"])
            await w.quiet()
            assert two.prefixes() == set(keys("10.1.0.0/24"))
            assert three.prefixes() == set(keys("10.1.0.0/24", "10.2.0.0/24"))

    run(scenario())


def test_who_comes_late_is_told_the_table_and_then_its_end() -> None:
    async def scenario() -> None:
        async with world(configuration()) as w:
            one, two = await w.client(1), await w.client(2)
            assert one.ends == two.ends == {IPV4_UNICAST: 0}
            one.announce(blocks(0, 3000), 1)
            two.announce(blocks(3000, 5), 2)
            await w.quiet()
            late = await w.client(3)
            assert late.ends == {IPV4_UNICAST: 3005}
            assert late.prefixes() == set(blocks(0, 3005))

    run(scenario())


@pytest.mark.parametrize("silently", [True, False])
def test_the_routes_of_who_goes_are_withdrawn(silently: bool) -> None:
    async def scenario() -> None:
        async with world(configuration()) as w:
            one, two = await w.client(1), await w.client(2)
            one.announce(blocks(0, 10), 1)
            await w.quiet()
            assert two.prefixes() == set(blocks(0, 10))
            if silently:
                one.die()
            else:
                one.stop()
            await w.until(lambda: not two.told)
            assert [sign for sign, _ in two.news] == ["+"] * 10 + ["-"] * 10
            assert list(w.server.neighbours) == [two.address]
            (line,) = w.events("session-down")
            assert line["reason"] == ("closed by the peer" if silently else "received cease, administrative shutdown")

    run(scenario())


def test_a_neighbour_of_the_plan_comes_in_by_its_name() -> None:
    async def scenario() -> None:
        async with world(configuration(named(1), ranges=())) as w:
            one = await w.client(1)
            assert [line["peer"] for line in w.events("session-up")] == ["node-1"]
            assert w.server.counters.established == 1
            one.die()
            await w.until(lambda: w.events("session-down"))
            assert list(w.server.neighbours) == [one.address], "it is waited for"
            assert w.neighbour(1).flaps == 1
            one.start()
            await w.told_all(one)

    run(scenario())


def test_a_neighbour_of_the_plan_is_dialed_until_it_is_there() -> None:
    async def scenario() -> None:
        async with world(configuration(ranges=())) as w:
            one = w.make(1, passive=True)
            port = one.listen()
            one.die()
            peer = named(1, port)
            w.server.configure(configuration(peer, ranges=(), port=w.place[1]), {})
            await w.until(lambda: w.neighbour(1).last_error == "connection refused")
            one.start()
            assert one.listen() != port, "the port of before is taken"
            moved = replace(peer, transport=replace(peer.transport, peer_port=one.listen()))
            w.server.configure(configuration(moved, ranges=(), port=w.place[1]), {})
            await w.told_all(one)
            (session,) = w.neighbour(1).machines.sessions
            assert not session.incoming
            assert w.footprint()["tickets"] == 0

    run(scenario())


def test_one_of_two_connections_stays_when_both_ends_dial() -> None:
    """Whoever of both has the higher router ID, and however the two connections meet."""

    async def scenario(number: int, router_id: bytes) -> None:
        async with world(configuration(ranges=())) as w:
            one = w.make(number, router_id=router_id)
            peer = named(number, one.listen())
            w.server.configure(configuration(peer, ranges=(), port=w.place[1]), {})
            one.pause()
            one.start()
            await w.until(lambda: w.server.counters.failed["sent cease, connection collision"] == 1)
            one.resume()
            await w.told_all(one)
            assert len(w.neighbour(number).connections) == 1
            assert one.session is not None
            ours = w.neighbour(number).machines.established
            assert ours is not None
            assert ours.incoming is not one.session.incoming
            assert ours.incoming is (router_id > ROUTER_ID)
            assert not w.events("session-down"), "nothing is wrong when one of two goes"

    for number, router_id in ((1, bytes((1, 1, 1, 1))), (2, bytes((99, 1, 1, 1)))):
        run(scenario(number, router_id))


def test_it_listens_on_ipv6_and_carries_it() -> None:
    async def scenario() -> None:
        both = {"families": (IPV4_UNICAST, IPV6_UNICAST)}
        ranges = (range_of("::1/128", session=both), range_of(session=both))
        wanted = configuration(ranges=ranges, addresses=(HERE, HERE_V6))
        async with world(wanted) as w:
            one = await w.client(1, at=HERE_V6, to=HERE_V6, **both)
            two = await w.client(2, **both)
            assert set(two.ends) == {IPV4_UNICAST, IPV6_UNICAST}
            prefix = bytes((64,)) + bytes.fromhex("fd00000000000001")
            hop = bytes.fromhex("fd00") + bytes(13) + b"\1"
            one.say(*encode_updates(IPV6_UNICAST, [], [(hop, block(local_pref=100).raw, [prefix])]))
            await w.quiet()
            assert {place: told.next_hop for place, told in two.told.items()} == {(IPV6_UNICAST, prefix): hop}
            assert [line["peer"] for line in w.events("session-up")] == ["::1", format_address(two.address)]

    run(scenario())


def test_what_a_range_says_holds_for_who_is_in_no_longer_one() -> None:
    async def scenario() -> None:
        narrow, wide = range_of("127.1.0.2/32", max_prefixes=7), range_of(max_prefixes=9)
        async with world(configuration(ranges=(wide, narrow))) as w:
            for number in (1, 2):
                await w.client(number)
            assert [w.neighbour(n).peer.policy.max_prefixes for n in (1, 2)] == [9, 7]

    run(scenario())


def test_a_server_that_cannot_listen_says_so_and_leaves_nothing_open() -> None:
    async def scenario() -> None:
        async with world(configuration()) as w:
            before = len(os.listdir("/proc/self/fd"))
            twin = ReflectorServer(configuration(port=w.place[1], addresses=(HERE_V6, HERE)), {}, lambda *_, **__: None)
            with pytest.raises(TcpError, match="in use"):
                await twin.run()
            assert len(os.listdir("/proc/self/fd")) == before

    run(scenario())


def test_nothing_is_left_of_who_comes_and_goes() -> None:
    """Two hundred come and go, in every way; whoever is left has the routes of nobody else."""

    async def come_and_go(w: World, number: int) -> None:
        way = number % 5
        if way == 3:
            raw = await w.raw_client(number)
            raw.say(b"\xff" * 20)
            raw.close()
            return
        if way == 4:
            (await w.raw_client(number)).close()
            return
        restart = 10 if way == 2 else 0
        client = await w.client(number, graceful_restart_time=restart)
        client.announce(blocks(0, 3 + number % 4), number, local_pref=number)
        await w.quiet()
        if way == 1:
            client.stop()
            await w.until(lambda: not client.connected)
        client.die()

    async def scenario() -> None:
        async with world(configuration(ranges=(range_of(session={"graceful_restart_time": 20}),))) as w:
            stayer = await w.client(999)
            await w.quiet()
            before = w.footprint()
            for number in range(200):
                await come_and_go(w, 1 + number % 40)
                w.clients, w.raw = [stayer], []
                await w.pass_time(1.0)
            assert len(w.server._sessions._deadlines._heap) < 100
            await w.pass_time(300.0, step=20.0)
            await w.quiet()
            assert stayer.up
            assert not stayer.told
            assert w.footprint() == before
            assert len(w.server._sessions._deadlines._heap) <= 4
            assert w.server.counters.established == 1 + 120
            assert w.server._sessions.publisher.coming == 0

    run(scenario())
