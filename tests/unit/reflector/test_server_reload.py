"""Another whole desired set for a running reflector: who is touched by what, and who is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from peering.prefixes import pack_prefix
from peering.session import SecretKeyRef
from reflector.configuration import Owners, Peer, PeerRange, ReflectorConfiguration, Transport
from reflector.server.tcp_options import TcpError
from reflector.session.machine import Session
from reflector.wire.errors import Cease
from reflector.wire.families import IPV4_UNICAST
from reflector.wire.notification import Notification
from tests.unit.reflector.policy_samples import ACCEPT, REJECT, filters, keys
from tests.unit.reflector.server_client import Client
from tests.unit.reflector.server_world import (
    HERE,
    World,
    address,
    blocks,
    configuration,
    named,
    range_of,
    run,
    world,
)

CHANGED = Notification(6, Cease.OTHER_CONFIGURATION_CHANGE)
GONE = Notification(6, Cease.PEER_DECONFIGURED)
KEY = SecretKeyRef("bgp", "password")


class Untouched:
    """Remembers sessions, and holds that they are the same ones still, of which nobody has heard a complaint."""

    def __init__(self, w: World, *clients: Client) -> None:
        self._world = w
        self._clients = clients
        self._sessions = [self._of(client) for client in clients]

    def _of(self, client: Client) -> tuple[Session | None, Session | None, float]:
        neighbour = self._world.server.neighbours[client.address]
        assert neighbour.state is not None
        return neighbour.machines.established, client.session, neighbour.state.up_since

    def check(self) -> None:
        assert [self._of(client) for client in self._clients] == self._sessions
        assert not any(client.notices for client in self._clients)


async def three(w: World) -> tuple[Client, Client, Client]:
    """Clients 1 to 3, of which each has announced two prefixes, 10.N.1.0/24 and 10.N.2.0/24."""
    clients = [await w.client(n) for n in (1, 2, 3)]
    for number, client in enumerate(clients, start=1):
        client.announce([f"10.{number}.1.0/24", f"10.{number}.2.0/24"], number)
    await w.quiet()
    for client in clients:
        assert len(client.told) == 4
        client.news.clear()
    one, two, third = clients
    return one, two, third


def changed(wanted: ReflectorConfiguration, peer: Peer) -> ReflectorConfiguration:
    return replace(wanted, peers={**wanted.peers, peer.address: peer})


def plan(**fields: Any) -> ReflectorConfiguration:
    return configuration(named(1), named(2), named(3), **{"ranges": (), **fields})


def test_the_same_again_touches_nobody() -> None:
    async def scenario() -> None:
        async with world(plan(ranges=(range_of(),))) as w:
            clients = [*await three(w), await w.client(7)]
            untouched = Untouched(w, *clients)
            again = plan(ranges=(range_of(),), port=w.place[1])
            assert again == w.server.configuration
            w.server.configure(again, {})
            await w.quiet()
            untouched.check()
            assert not any(client.news for client in clients[:3])

    run(scenario())


def test_other_session_parameters_make_a_new_session_of_that_neighbour_alone() -> None:
    async def scenario() -> None:
        async with world(plan()) as w:
            one, two, third = await three(w)
            untouched = Untouched(w, two, third)
            w.server.configure(changed(w.server.configuration, named(1, session={"hold_time": 30})), {})
            await w.until(lambda: one.notices)
            assert one.notices == [CHANGED]
            await w.told_all(one)
            await w.quiet()
            assert one.terms.hold_time == 30
            assert one.prefixes() == set(keys("10.2.1.0/24", "10.2.2.0/24", "10.3.1.0/24", "10.3.2.0/24"))
            untouched.check()
            assert two.news == [("-", key) for key in keys("10.1.1.0/24", "10.1.2.0/24")]

    run(scenario())


def test_a_neighbour_that_is_gone_from_the_plan_is_let_go() -> None:
    async def scenario() -> None:
        async with world(plan()) as w:
            one, two, third = await three(w)
            untouched = Untouched(w, one, two)
            wanted = w.server.configuration
            w.server.configure(replace(wanted, peers={a: p for a, p in wanted.peers.items() if a != address(3)}), {})
            await w.until(lambda: third.notices)
            assert third.notices == [GONE]
            await w.quiet()
            untouched.check()
            assert two.prefixes() == set(keys("10.1.1.0/24", "10.1.2.0/24"))
            assert set(w.server.neighbours) == {one.address, two.address}
            third.die()
            third.start()
            await w.until(lambda: w.server.counters.refused["no-such-neighbour"])
            third.die()

    run(scenario())


def test_the_stale_routes_of_a_neighbour_that_is_gone_from_the_plan_go_with_it() -> None:
    """Else nobody could be let in at its address as long as they are kept."""

    async def scenario() -> None:
        session = {"graceful_restart_time": 120, "long_lived_stale_time": 3600}
        async with world(plan(ranges=(range_of("127.1.0.9/32", session=session),))) as w:
            one, two = await w.client(1), await w.client(9, graceful_restart_time=120, long_lived_stale_time=3600)
            two.announce(blocks(0, 5), 2)
            await w.quiet()
            two.die()
            await w.until(lambda: w.server.engine._stale)
            wanted = w.server.configuration
            w.server.configure(replace(wanted, ranges=()), {})
            await w.quiet()
            assert not one.told
            assert address(9) not in w.server.neighbours
            assert not w.server.engine._stale
            assert address(9) not in w.server.engine.peers
            w.server.configure(wanted, {})
            two.start()
            await w.told_all(two)

    run(scenario())


def test_new_neighbours_are_dialed() -> None:
    async def scenario() -> None:
        async with world(plan()) as w:
            one, two, third = await three(w)
            untouched = Untouched(w, one, two, third)
            new = w.make(4, passive=True)
            new.start()
            w.server.configure(changed(w.server.configuration, named(4, new.listen())), {})
            await w.told_all(new)
            assert len(new.told) == 6
            untouched.check()

    run(scenario())


def only(prefix: str) -> Any:
    """A filter that lets nothing through but what is in there."""
    return (
        {"matchOperator": "In", "cidr": prefix, **ACCEPT},
        REJECT,
    )


def test_other_export_filters_are_taken_up_in_place() -> None:
    async def scenario() -> None:
        async with world(plan()) as w:
            one, two, third = await three(w)
            untouched = Untouched(w, one, two, third)
            narrow = named(1, export_filters=filters("exportV4", *only("10.2.0.0/16")))
            w.server.configure(changed(w.server.configuration, narrow), {})
            await w.quiet()
            assert one.news == [("-", key) for key in keys("10.3.1.0/24", "10.3.2.0/24")], "what differs, and no more"
            assert not two.news
            assert not third.news
            other = named(1, export_filters=filters("exportV4", *only("10.3.0.0/16")))
            one.news.clear()
            w.server.configure(changed(w.server.configuration, other), {})
            await w.quiet()
            assert one.prefixes() == set(keys("10.3.1.0/24", "10.3.2.0/24"))
            assert len(one.news) == 4
            untouched.check()

    run(scenario())


def test_other_import_filters_are_taken_up_in_place() -> None:
    async def scenario() -> None:
        async with world(plan()) as w:
            one, two, third = await three(w)
            untouched = Untouched(w, one, two, third)
            narrow = named(1, import_filters=filters("importV4", *only("10.1.1.0/24")))
            w.server.configure(changed(w.server.configuration, narrow), {})
            await w.quiet()
            assert two.news == third.news == [("-", key) for key in keys("10.1.2.0/24")]
            w.server.configure(changed(w.server.configuration, named(1)), {})
            await w.quiet()
            assert two.news[1:] == third.news[1:] == [("+", key) for key in keys("10.1.2.0/24")]
            assert not one.news
            untouched.check()

    run(scenario())


def test_a_range_changes_for_all_its_neighbours_in_place() -> None:
    async def scenario() -> None:
        async with world(configuration()) as w:
            one, two, third = await three(w)
            untouched = Untouched(w, one, two, third)
            narrow = range_of(export_filters=filters("exportV4", *only("10.2.0.0/16")))
            w.server.configure(replace(w.server.configuration, ranges=(narrow,)), {})
            await w.quiet()
            assert len(w.server.engine.groups) == 1
            assert [sorted(c.prefixes()) for c in (one, two, third)] == [
                keys("10.2.1.0/24", "10.2.2.0/24"),
                [],
                keys("10.2.1.0/24", "10.2.2.0/24"),
            ]
            untouched.check()

    run(scenario())


def owners(mapping: dict[str, str]) -> Owners:
    return Owners({pack_prefix(prefix): frozenset((owner,)) for prefix, owner in mapping.items()})


def test_ownership_changes_in_place() -> None:
    async def scenario() -> None:
        others = {"10.2.0.0/16": "node/node-2", "10.3.0.0/16": "node/node-3", "10.1.1.0/24": "node/node-1"}
        mine, theirs = [owners({**others, "10.1.2.0/24": f"node/node-{number}"}) for number in (1, 2)]
        async with world(plan(ownership="enforce", owners=mine)) as w:
            one, two, third = await three(w)
            untouched = Untouched(w, one, two, third)
            wanted = w.server.configuration
            w.server.configure(replace(wanted, owners=theirs), {})
            await w.quiet()
            assert two.news == third.news == [("-", key) for key in keys("10.1.2.0/24")]
            assert [line["prefix"] for line in w.events("foreign-block")] == ["10.1.2.0/24"]
            w.server.configure(replace(wanted, owners=theirs, ownership="report"), {})
            await w.quiet()
            assert two.news[1:] == [("+", key) for key in keys("10.1.2.0/24")]
            untouched.check()

    run(scenario())


def test_another_owner_behind_the_same_neighbour_changes_in_place() -> None:
    async def scenario() -> None:
        mine = owners({"10.1.1.0/24": "node/node-1", "10.1.2.0/24": "node/other"})
        async with world(plan(ownership="enforce", owners=mine, peers={})) as w:
            w.server.configure(plan(ownership="enforce", owners=mine, port=w.place[1]), {})
            one, two = await w.client(1), await w.client(2)
            one.announce(["10.1.1.0/24", "10.1.2.0/24"], 1)
            await w.quiet()
            assert two.prefixes() == set(keys("10.1.1.0/24"))
            untouched = Untouched(w, one, two)
            w.server.configure(changed(w.server.configuration, named(1, owner="node/other")), {})
            await w.quiet()
            assert two.prefixes() == set(keys("10.1.2.0/24"))
            untouched.check()

    run(scenario())


def test_the_next_hop_changes_in_place() -> None:
    async def scenario() -> None:
        ours = bytes((10, 255, 0, 9))
        async with world(plan()) as w:
            one, two, third = await three(w)
            untouched = Untouched(w, one, two, third)
            peer = named(1, next_hop="self")
            peer = replace(peer, transport=replace(peer.transport, local_address=HERE))
            w.server.configure(changed(w.server.configuration, replace(named(1), policy=peer.policy)), {})
            await w.quiet()
            assert {told.next_hop for told in one.told.values()} == {HERE}
            assert {told.next_hop for told in two.told.values()} == {bytes((10, 9, 0, 1)), bytes((10, 9, 0, 3))}
            assert ours not in {told.next_hop for told in one.told.values()}
            w.server.configure(changed(w.server.configuration, named(1, next_hop="keep")), {})
            await w.quiet()
            assert {told.next_hop for told in one.told.values()} == {bytes((10, 9, 0, 2)), bytes((10, 9, 0, 3))}
            assert not two.news
            untouched.check()

    run(scenario())


def test_a_client_that_is_no_longer_one_begins_anew() -> None:
    """What it is told, and who is told of it, depends on that from the first route on (RFC 4456)."""

    async def scenario() -> None:
        async with world(plan()) as w:
            one, two, third = await three(w)
            untouched = Untouched(w, third)
            ibgp = {a: replace(named(n, client=False)) for n, a in ((1, address(1)), (2, address(2)))}
            w.server.configure(replace(w.server.configuration, peers={**w.server.configuration.peers, **ibgp}), {})
            await w.until(lambda: one.notices and two.notices)
            assert one.notices == two.notices == [CHANGED]
            await w.told_all(one, two)
            one.announce(["10.1.1.0/24"], 1)
            await w.quiet()
            assert two.prefixes() == set(keys("10.3.1.0/24", "10.3.2.0/24"))
            assert keys("10.1.1.0/24")[0] in third.prefixes()
            untouched.check()

    run(scenario())


def test_who_is_beyond_a_limit_that_has_come_down_is_put_out_at_once() -> None:
    async def scenario() -> None:
        async with world(plan()) as w:
            one, two, third = await three(w)
            untouched = Untouched(w, two, third)
            w.server.configure(changed(w.server.configuration, named(1, max_prefixes=1)), {})
            await w.until(lambda: one.notices)
            assert one.notices == [Notification(6, Cease.MAXIMUM_PREFIXES, bytes((0, 1, 1, 0, 0, 0, 1)))]
            await w.quiet()
            assert two.news == [("-", key) for key in keys("10.1.1.0/24", "10.1.2.0/24")]
            assert w.neighbour(1).barred
            assert w.server.counters.limits_exceeded == 1
            await w.until(lambda: w.server.counters.refused["stopped"])
            w.server.configure(changed(w.server.configuration, named(1, max_prefixes=10)), {})
            await w.told_all(one)
            untouched.check()

    run(scenario())


def test_who_is_near_a_limit_that_has_come_down_is_warned_of() -> None:
    async def scenario() -> None:
        async with world(plan()) as w:
            one, two, third = await three(w)
            untouched = Untouched(w, one, two, third)
            for limit, warnings in ((2, 1), (2, 1), (1000, 1), (2, 2)):
                w.server.configure(changed(w.server.configuration, named(1, max_prefixes=limit)), {})
                assert len(w.events("prefix-limit-near")) == warnings
                state = w.neighbour(1).state
                assert state is not None
                assert state.warned == ({IPV4_UNICAST} if limit == 2 else set())
            untouched.check()

    run(scenario())


def test_an_address_more_and_one_less_to_listen_on() -> None:
    async def scenario() -> None:
        there = bytes((127, 0, 0, 2))
        async with world(plan(ranges=(range_of(),))) as w:
            one, two, third = await three(w)
            untouched = Untouched(w, one, two, third)
            w.server.configure(replace(w.server.configuration, addresses=(HERE, there)), {})
            await w.client(4, to=there)
            w.server.configure(replace(w.server.configuration, addresses=(there,)), {})
            await w.client(5, to=there)
            with pytest.raises(ConnectionRefusedError):
                await w.raw_client(6, host=HERE)
            await w.quiet()
            untouched.check()
            w.server.configure(replace(w.server.configuration, addresses=(HERE,)), {})
            await w.client(7)

    run(scenario())


def test_an_address_that_cannot_be_listened_on_is_told_of_and_all_else_is_in_force() -> None:
    async def scenario() -> None:
        async with world(plan(ranges=(range_of(),))) as w:
            one, two, third = await three(w)
            untouched = Untouched(w, one, two)
            wanted = replace(
                changed(w.server.configuration, named(3, session={"hold_time": 30})),
                addresses=(HERE, bytes((192, 0, 2, 77))),
            )
            with pytest.raises(TcpError, match="on no interface"):
                w.server.configure(wanted, {})
            await w.until(lambda: third.notices == [CHANGED])
            await w.client(4)
            untouched.check()

    run(scenario())


def signed(number: int, port: int | None = None) -> Peer:
    return named(number, port, password=KEY)


def test_a_password_changes_under_a_live_session() -> None:
    """Both ends change it within the hold time (RFC 2385, 4.5)."""

    async def scenario() -> None:
        old, new = b"old secret", b"new secret"
        async with world(configuration(signed(1), ranges=()), {KEY: old}) as w:
            two = w.make(2, password=old, passive=True)
            two.start()
            w.server.configure(changed(w.server.configuration, signed(2, two.listen())), {KEY: old})
            one = await w.client(1, password=old)
            await w.told_all(two)
            untouched = Untouched(w, one, two)
            w.server.configure(w.server.configuration, {KEY: new})
            one.sign(new)
            two.sign(new)
            one.announce(blocks(0, 100), 1)
            await w.until(lambda: two.prefixes() == set(blocks(0, 100)))
            untouched.check()
            late = w.make(1, password=old)
            late.start()
            again = w.make(1, password=new)
            again.start()
            await w.until(lambda: again.connected and w.server.counters.refused == {})
            assert not late.up

    run(scenario())


def test_a_password_where_there_was_none_and_none_where_there_was_one() -> None:
    async def scenario() -> None:
        async with world(configuration(named(1), ranges=())) as w:
            one = await w.client(1)
            untouched = Untouched(w, one)
            for peer, password in ((signed(1), b"secret"), (named(1), b"")):
                w.server.configure(changed(w.server.configuration, peer), {KEY: b"secret"})
                one.sign(password)
                before = w.server._sessions.publisher.reads
                one.announce(blocks(len(password), 10), 1)
                await w.until(lambda before=before: w.server._sessions.publisher.reads > before)  # type: ignore[misc]
                untouched.check()

    run(scenario())


def test_how_far_away_a_neighbour_may_be_changes_in_place() -> None:
    async def scenario() -> None:
        async with world(configuration(named(1), named(2), ranges=())) as w:
            one, two = await w.client(1), await w.client(2)
            untouched = Untouched(w, one, two)
            near = replace(named(1), transport=Transport(ttl_security=1))
            w.server.configure(changed(w.server.configuration, near), {})
            one.set_ttl(64)
            one.announce(blocks(0, 1), 1)
            two.announce(blocks(1, 1), 2)
            await w.until(lambda: one.told)
            assert not two.told, "it comes with a TTL of 64"
            assert w.connection(1).socket.getsockopt(0, 2) == 255
            w.server.configure(changed(w.server.configuration, named(1)), {})
            await w.until(lambda: two.told)
            assert w.connection(1).socket.getsockopt(0, 2) == 64
            untouched.check()

    run(scenario())


def test_who_came_in_by_a_range_that_is_gone_is_let_go() -> None:
    async def scenario() -> None:
        left, right = range_of("127.1.0.0/31"), range_of("127.1.0.2/31")
        async with world(configuration(ranges=(left, right))) as w:
            one, two, third = await three(w)
            untouched = Untouched(w, one)
            w.server.configure(replace(w.server.configuration, ranges=(left,)), {})
            await w.until(lambda: two.notices and third.notices)
            assert two.notices == third.notices == [GONE]
            await w.quiet()
            assert list(w.server.neighbours) == [one.address]
            assert w.server._admission.connections == 1
            untouched.check()

    run(scenario())


def test_conditions_have_the_name_that_a_neighbour_has_now() -> None:
    async def scenario() -> None:
        async with world(configuration(ownership="report", owners=owners({"10.1.1.0/24": "127.1.0.1"}))) as w:
            one, two = await w.client(1), await w.client(2)
            for client in (one, two):
                client.announce(["10.1.1.0/24"], 1)
            await w.quiet()
            untouched = Untouched(w, one, two)
            duplicates = w.server.engine.claims.duplicates
            assert list(duplicates.values()) == [("127.1.0.1", "127.1.0.2")]
            w.server.configure(changed(w.server.configuration, named(2, owner="127.1.0.2")), {})
            await w.quiet()
            assert list(duplicates.values()) == [("127.1.0.1", "node-2")]
            assert len(w.events("duplicate-announcer")) == len(w.events("foreign-block")) == 1
            two.withdraw(["10.1.1.0/24"])
            await w.quiet()
            assert not duplicates
            assert [line["client"] for line in w.events("foreign-block-over")] == ["node-2"]
            untouched.check()

    run(scenario())


def no_range(prefix: str) -> tuple[PeerRange, ...]:
    return ()


def wide(prefix: str) -> tuple[PeerRange, ...]:
    return (range_of(prefix),)


@pytest.mark.parametrize("ranges", [no_range, wide])
def test_who_came_in_by_a_range_and_stands_in_the_plan_now_stays(
    ranges: Callable[[str], tuple[PeerRange, ...]],
) -> None:
    """And the other way round, if there is a range around it."""

    async def scenario() -> None:
        async with world(configuration()) as w:
            one = await w.client(1)
            one.announce(blocks(0, 1), 1)
            await w.quiet()
            untouched = Untouched(w, one)
            wanted = w.server.configuration
            w.server.configure(replace(changed(wanted, named(1)), ranges=ranges("127.0.0.0/8")), {})
            await w.quiet()
            untouched.check()
            neighbour = w.neighbour(1)
            assert not neighbour.dynamic
            assert neighbour.state is not None
            assert neighbour.state.source.name == neighbour.peer.name == "node-1"
            w.server.configure(wanted, {})
            await w.quiet()
            untouched.check()
            assert neighbour.dynamic
            assert neighbour.state.source.name == "127.1.0.1"
            one.die()
            await w.until(lambda: not w.server.neighbours)

    run(scenario())
