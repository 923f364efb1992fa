"""Who may come in, who gives way, and what is said of those who may not."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peering.prefixes import Address, contains, format_address, pack_address, pack_prefix
from reflector.configuration import PeerRange
from reflector.server.admission import Admission, Admitted, Limits, RefusalCode, Refused
from reflector.server.connect_rate import ConnectRate
from reflector.server.refusal_log import Line, RefusalLog, network_of
from reflector.session.settings import SessionSettings
from reflector.wire.errors import Cease

NOW = 1000.0
NAMED = pack_address("10.9.9.9")
STRANGER = pack_address("192.0.2.1")
WIDE, NARROW, SIX = pack_prefix("10.0.0.0/8"), pack_prefix("10.1.0.0/16"), pack_prefix("fd00::/16")


def range_of(prefix: bytes, limit: int = 10_000) -> PeerRange:
    session = SessionSettings(name="range", local_asn=64512, router_id=b"\x0a\0\0\1")
    return PeerRange(prefix=prefix, session=session, limit=limit)


def admission(
    *ranges: PeerRange,
    peers: Iterable[Address] = (NAMED,),
    connections: int = 1000,
    per_address: int = 4,
    burst: int = 1000,
    waiting: int = 500,
) -> Admission:
    limits = Limits(connections=connections, per_address=per_address, burst=burst, waiting=waiting, patience=5.0)
    made = Admission(limits)
    made.configure(frozenset(peers), ranges or (range_of(WIDE),))
    return made


def client(number: int) -> Address:
    return (0x0A010000 + number).to_bytes(4)


def comes_in(who: Admission, address: Address, now: float = NOW) -> Admitted:
    answer = who.admit(address, now)
    assert isinstance(answer, Admitted), answer
    return answer


def session_up(who: Admission, address: Address, now: float = NOW) -> int:
    ticket = comes_in(who, address, now).ticket
    who.established(ticket)
    return ticket


def refusal(who: Admission, address: Address, now: float = NOW) -> tuple[RefusalCode, Cease]:
    answer = who.admit(address, now)
    assert isinstance(answer, Refused), answer
    return answer.code, answer.notify


def test_a_named_neighbour_comes_in_by_its_address() -> None:
    assert comes_in(admission(), NAMED).range is None


def test_everybody_else_comes_in_by_the_longest_range() -> None:
    wide, narrow, six = range_of(WIDE), range_of(NARROW), range_of(SIX)
    who = admission(wide, narrow, six)
    assert comes_in(who, pack_address("10.1.2.3")).range is narrow
    assert comes_in(who, pack_address("10.2.2.3")).range is wide
    assert comes_in(who, pack_address("fd00::1")).range is six


def test_a_full_range_does_not_spill_over_into_a_wider_one() -> None:
    who = admission(range_of(WIDE), range_of(NARROW, limit=1))
    session_up(who, client(1))
    assert refusal(who, client(2)) == ("range-full", Cease.OUT_OF_RESOURCES)


@pytest.mark.parametrize("address", ["192.0.2.1", "fd01::1", "::a01:203"])
def test_a_stranger_is_told_that_it_is_none_of_us(address: str) -> None:
    answer = admission(range_of(WIDE), range_of(SIX)).admit(pack_address(address), NOW)
    assert isinstance(answer, Refused)
    assert (answer.code, answer.notify) == ("no-such-neighbour", Cease.CONNECTION_REJECTED)
    assert answer.text.startswith(f"{format_address(pack_address(address))} is no neighbour")


def test_a_range_of_everything() -> None:
    who = admission(range_of(pack_prefix("0.0.0.0/0")), range_of(pack_prefix("::/0")))
    assert comes_in(who, STRANGER).range is not None
    assert comes_in(who, pack_address("2001:db8::1")).range is not None


def test_an_address_has_so_many_connections_at_a_time() -> None:
    who = admission(per_address=2)
    for address in (NAMED, client(1)):
        first = comes_in(who, address).ticket
        comes_in(who, address)
        assert refusal(who, address) == ("too-many", Cease.OUT_OF_RESOURCES)
        who.released(first, NOW)
        comes_in(who, address)


def test_an_address_comes_in_so_often() -> None:
    who = admission(burst=3)
    for _ in range(3):
        who.released(comes_in(who, client(1)).ticket, NOW)
    assert refusal(who, client(1)) == ("too-often", Cease.OUT_OF_RESOURCES)
    comes_in(who, client(2))
    comes_in(who, client(1), NOW + 1)
    assert refusal(who, client(1), NOW + 1)[0] == "too-often"


def test_ten_thousand_connections_from_one_address_take_four_places() -> None:
    who = Admission(Limits(connections=20_000))
    who.configure((), [range_of(WIDE)])
    answers = [who.admit(client(1), NOW) for _ in range(10_000)]
    assert sum(isinstance(answer, Admitted) for answer in answers) == 4
    assert who.connections == 4
    comes_in(who, client(2))


def test_ten_thousand_clients_come_in_at_once() -> None:
    who = Admission(Limits(connections=20_000))
    who.configure((), [range_of(WIDE)])
    tickets = [comes_in(who, client(n)).ticket for n in range(10_000)]
    assert who.waiting == who.neighbours(WIDE) == 10_000
    for ticket in tickets:
        who.established(ticket)
    assert (who.waiting, who.neighbours(WIDE)) == (0, 10_000)
    assert refusal(who, client(10_000)) == ("range-full", Cease.OUT_OF_RESOURCES)


def test_who_waits_without_a_word_gives_way_when_there_are_too_many() -> None:
    who = admission(waiting=3)
    first = [comes_in(who, client(0)).ticket, comes_in(who, client(0)).ticket]
    session_up(who, client(1))
    comes_in(who, client(2), NOW + 1)
    comes_in(who, client(3), NOW + 2)
    assert refusal(who, client(4), NOW + 4.9) == ("no-room", Cease.OUT_OF_RESOURCES)
    newcomer = comes_in(who, client(4), NOW + 5)
    assert sorted(newcomer.instead_of) == first
    assert (who.waiting, who.neighbours(WIDE), who.connections) == (3, 4, 4)
    assert refusal(who, client(5), NOW + 5.9)[0] == "no-room"
    comes_in(who, client(5), NOW + 6)


def test_who_waits_keeps_nobody_out_of_a_range() -> None:
    who = admission(range_of(WIDE), range_of(NARROW, limit=2))
    other = comes_in(who, pack_address("10.2.0.1"), NOW - 100).ticket
    held_up = comes_in(who, client(1)).ticket
    session_up(who, client(2))
    assert refusal(who, client(3))[0] == "range-full"
    assert comes_in(who, client(3), NOW + 5).instead_of == (held_up,)
    who.released(other, NOW)


def test_who_has_gone_does_not_give_way() -> None:
    who = admission(range_of(WIDE, limit=2))
    who.released(comes_in(who, client(1)).ticket, NOW)
    session_up(who, client(2))
    session_up(who, client(3))
    assert refusal(who, client(4), NOW + 1000)[0] == "range-full"


def test_who_waits_may_have_another_connection() -> None:
    who = admission(range_of(WIDE, limit=1), waiting=1)
    comes_in(who, client(1))
    assert comes_in(who, client(1), NOW + 10).instead_of == ()
    assert who.connections == 2


def test_neighbours_with_a_session_never_give_way() -> None:
    who = admission(range_of(WIDE, limit=2))
    tickets = [session_up(who, client(1)), session_up(who, client(2))]
    assert refusal(who, client(3), NOW + 1000)[0] == "range-full"
    who.released(tickets[0], NOW + 1000)
    assert comes_in(who, client(3), NOW + 1000).instead_of == ()


def test_a_neighbour_with_a_session_may_have_another_connection_in_a_full_range() -> None:
    who = admission(range_of(WIDE, limit=1), waiting=1)
    old = session_up(who, client(1))
    new = comes_in(who, client(1)).ticket
    assert who.waiting == 0
    who.released(old, NOW)
    assert who.waiting == 1
    who.established(new)
    assert (who.waiting, who.neighbours(WIDE)) == (0, 1)


def test_a_wait_begins_when_the_session_is_lost() -> None:
    who = admission(waiting=2)
    old = session_up(who, client(1))
    comes_in(who, client(1))
    second = comes_in(who, client(2), NOW + 10).ticket
    who.released(old, NOW + 20)
    assert comes_in(who, client(3), NOW + 21).instead_of == (second,)


def test_a_neighbour_whose_routes_are_kept_keeps_its_place() -> None:
    who = admission(range_of(WIDE, limit=1))
    ticket = session_up(who, client(1))
    who.hold(client(1), True, NOW)
    who.released(ticket, NOW)
    assert (who.connections, who.neighbours(WIDE)) == (0, 1)
    assert refusal(who, client(2), NOW + 1000)[0] == "range-full"
    again = comes_in(who, client(1), NOW + 1000).ticket
    assert refusal(who, client(2), NOW + 2000)[0] == "range-full"
    who.released(again, NOW + 2000)
    who.hold(client(1), False, NOW + 2000)
    comes_in(who, client(2), NOW + 2000)


def test_a_place_is_held_for_somebody_who_is_not_there_yet() -> None:
    who = admission(range_of(WIDE, limit=1))
    who.hold(client(1), False, NOW)
    assert who.neighbours(WIDE) == 0
    who.hold(client(1), True, NOW)
    assert refusal(who, client(2), NOW)[0] == "range-full"
    comes_in(who, client(1))


def test_dynamic_neighbours_leave_room_for_the_named_ones() -> None:
    peers = [bytes((172, 16, 0, n)) for n in range(3)]
    who = admission(peers=peers, connections=20)
    for n in range(14):
        session_up(who, client(n))
    assert refusal(who, client(14)) == ("no-room", Cease.OUT_OF_RESOURCES)
    for peer in 2 * peers:
        comes_in(who, peer)
    assert who.connections == 20
    assert refusal(who, peers[0])[0] == "no-room"


def test_connections_that_are_gone_leave_room() -> None:
    who = admission(connections=4)
    for n in range(5):
        who.released(session_up(who, client(n)), NOW)
    kept = [session_up(who, client(n)) for n in range(2)]
    assert refusal(who, client(2))[0] == "no-room"
    who.configure({NAMED, client(0)}, [range_of(WIDE)])
    session_up(who, client(2))
    who.configure({NAMED}, [range_of(WIDE)])
    who.released(kept[1], NOW)
    assert refusal(who, client(3))[0] == "no-room"


@pytest.mark.parametrize(("dialed", "room"), [(0, 10), (3, 7), (9, 5)])
def test_there_is_room_for_those_that_we_dial(dialed: int, room: int) -> None:
    """A connection each, but half of all at most; with another configuration, another number."""
    who = admission(connections=10)
    who.configure((), [range_of(WIDE)], dialed)
    for number in range(room):
        session_up(who, client(number))
    assert refusal(who, client(99))[0] == "no-room"
    who.configure((), [range_of(WIDE)])
    assert isinstance(who.admit(client(99), NOW), Refused if room == 10 else Admitted)


def test_many_named_neighbours_leave_half_of_the_room_for_others() -> None:
    who = admission(peers=[bytes((172, 16, 0, n)) for n in range(100)], connections=10)
    for n in range(5):
        session_up(who, client(n))
    assert refusal(who, client(5))[0] == "no-room"


def test_a_named_neighbour_does_not_wait() -> None:
    who = admission(waiting=1)
    comes_in(who, client(1))
    comes_in(who, NAMED)
    assert who.waiting == 1


def test_released_twice_is_released_once() -> None:
    who = admission()
    ticket, other = comes_in(who, client(1)).ticket, comes_in(who, client(1)).ticket
    for _ in range(2):
        who.released(ticket, NOW)
    who.established(ticket)
    assert (who.connections, who.waiting) == (1, 1)
    who.released(other, NOW)
    assert (who.connections, who.waiting, who.neighbours(WIDE)) == (0, 0, 0)


def test_another_configuration_moves_who_is_in() -> None:
    who = admission(range_of(WIDE))
    tickets = [session_up(who, client(1)), comes_in(who, pack_address("10.2.0.1")).ticket, comes_in(who, NAMED).ticket]
    who.configure({client(1)}, [range_of(WIDE, limit=1), range_of(NARROW)])
    assert (who.neighbours(WIDE), who.neighbours(NARROW), who.waiting) == (2, 0, 2)
    assert refusal(who, pack_address("10.3.0.1"))[0] == "range-full"
    who.configure((), [])
    assert refusal(who, client(1))[0] == "no-such-neighbour"
    assert who.connections == 3
    who.configure((), [range_of(WIDE)])
    for ticket in tickets:
        who.released(ticket, NOW)
    assert (who.connections, who.neighbours(WIDE), who.waiting) == (0, 0, 0)


def test_the_order_of_those_who_wait_outlives_another_configuration() -> None:
    who = admission(waiting=2)
    early = session_up(who, client(1), NOW)
    second = comes_in(who, client(2), NOW + 1).ticket
    late = comes_in(who, client(1), NOW + 2)
    who.released(early, NOW + 3)
    who.configure((), [range_of(WIDE)])
    assert comes_in(who, client(3), NOW + 10).instead_of == (second,)
    assert comes_in(who, client(4), NOW + 11).instead_of == (late.ticket,)
    who.configure((), [range_of(WIDE)])
    comes_in(who, client(5), NOW + 15)
    assert refusal(who, client(6), NOW + 15.9)[0] == "no-room"


_ADDRESSES = [NAMED, *(client(n) for n in range(6)), pack_address("10.2.0.1"), pack_address("fd00::1")]
_RANGES = [range_of(WIDE, limit=4), range_of(NARROW, limit=3), range_of(SIX, limit=1)]
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["admit", "admit", "admit", "established", "released", "hold", "release-hold", "configure"]),
        st.sampled_from(_ADDRESSES),
        st.integers(0, 40),
        st.floats(0, 4),
    ),
    max_size=60,
)


class _Book:
    """The same, naively: what is in, and everything counted from it when asked."""

    def __init__(self) -> None:
        self.tickets: dict[int, Address] = {}
        self.established: set[int] = set()
        self.held: set[Address] = set()
        self.peers = {NAMED}
        self.ranges = list(_RANGES)

    def range_of(self, address: Address) -> bytes | None:
        host = bytes((8 * len(address),)) + address
        fitting = [entry.prefix for entry in self.ranges if contains(entry.prefix, host)]
        return max(fitting, default=None) if address not in self.peers else None

    def neighbours(self, prefix: bytes) -> int:
        return sum(self.range_of(address) == prefix for address in {*self.tickets.values(), *self.held})

    def waiting(self) -> set[Address]:
        busy = {self.tickets[ticket] for ticket in self.established} | self.held
        return {address for address in self.tickets.values() if self.range_of(address) and address not in busy}


@given(_STEPS)
def test_the_books_are_right_whatever_happens(steps: list[tuple[str, Address, int, float]]) -> None:
    who = admission(*_RANGES, connections=12, per_address=3, waiting=4)
    book, now = _Book(), NOW
    for what, address, number, passed in steps:
        now += passed
        ticket = list(book.tickets)[number % len(book.tickets)] if book.tickets else 0
        if what == "admit":
            answer = who.admit(address, now)
            if isinstance(answer, Admitted):
                assert not {book.tickets[gone] for gone in answer.instead_of} - book.waiting()
                for gone in answer.instead_of:
                    del book.tickets[gone]
                book.tickets[answer.ticket] = address
                assert list(book.tickets.values()).count(address) <= 3
                assert len(book.tickets) <= 12
                assert (answer.range.prefix if answer.range else None) == book.range_of(address)
        elif what == "established":
            who.established(ticket)
            book.established |= {ticket} & book.tickets.keys()
        elif what == "released":
            who.released(ticket, now)
            book.tickets.pop(ticket, None)
            book.established.discard(ticket)
        elif what == "configure":
            book.peers = {NAMED, address} if number % 2 else set()
            book.ranges = _RANGES[number % 3 :]
            who.configure(book.peers, book.ranges)
        else:
            who.hold(address, what == "hold", now)
            (book.held.add if what == "hold" else book.held.discard)(address)
        assert who.connections == len(book.tickets)
        assert who.waiting == len(book.waiting())
        assert [who.neighbours(entry.prefix) for entry in book.ranges] == [
            book.neighbours(entry.prefix) for entry in book.ranges
        ]


# How often.


def test_a_burst_is_followed_by_one_each_interval() -> None:
    rate = ConnectRate(burst=3, interval=2.0)
    times = [NOW + 0.5 * n for n in range(40)]
    assert [t - NOW for t in times if rate.allows(client(1), t)] == [0, 0.5, 1, *range(2, 20, 2)]


def test_who_was_quiet_has_a_burst_again() -> None:
    rate = ConnectRate(burst=2, interval=1.0)
    assert [rate.allows(client(1), NOW) for _ in range(3)] == [True, True, False]
    assert [rate.allows(client(1), NOW + 60) for _ in range(3)] == [True, True, False]


def test_addresses_are_forgotten() -> None:
    rate = ConnectRate(burst=4, interval=1.0)
    most = 0
    for n in range(100_000):
        rate.allows(client(n), NOW + n / 1000)
        most = max(most, len(rate))
    assert most < 5000


# What is logged.


def test_a_refusal_is_logged_once_and_counted() -> None:
    log = RefusalLog(interval=60)
    assert log.note(STRANGER, "no-such-neighbour", "first", NOW) == Line(
        pack_prefix("192.0.2.0/24"), "no-such-neighbour", "first", 1
    )
    assert [log.note(STRANGER, "no-such-neighbour", "more", NOW + 1) for _ in range(9999)] == [None] * 9999
    assert log.due(NOW + 59) == []
    assert log.deadline() == NOW + 60
    assert log.due(NOW + 60) == [Line(pack_prefix("192.0.2.0/24"), "no-such-neighbour", "more", 9999)]
    assert log.due(NOW + 119) == []
    assert log.due(NOW + 120) == []
    assert log.deadline() == inf
    assert log.note(STRANGER, "no-such-neighbour", "again", NOW + 121) is not None


def test_another_reason_and_another_network_are_logged_by_themselves() -> None:
    log = RefusalLog()
    assert log.note(STRANGER, "no-such-neighbour", "a", NOW) is not None
    assert log.note(STRANGER, "too-many", "b", NOW) is not None
    assert log.note(pack_address("192.0.3.1"), "too-many", "c", NOW) is not None
    assert log.note(pack_address("192.0.2.200"), "too-many", "d", NOW) is None


def test_networks() -> None:
    assert network_of(pack_address("192.0.2.77")) == pack_prefix("192.0.2.0/24")
    assert network_of(pack_address("2001:db8:1:2:3::4")) == pack_prefix("2001:db8:1:2::/64")


def test_the_log_and_the_memory_are_bounded_whoever_comes() -> None:
    log = RefusalLog(interval=60, networks=100)
    lines = [log.note((n << 8).to_bytes(4), "no-such-neighbour", str(n), NOW) for n in range(10_000)]
    told = [line for line in lines if line is not None]
    assert len(told) == 101
    assert told[-1].network is None
    assert [(line.network, line.times) for line in log.due(NOW + 60)] == [(None, 9899)]
    assert [line.network for line in log.due(NOW + 120)] == []
    assert log.deadline() == inf
