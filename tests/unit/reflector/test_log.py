"""The log, the split horizon and the merge for slow readers, against a reflector so naive that it is right.

The naive one keeps a table for every client: for each prefix the best path of what the others announced, unless the
best is the client's own. Ours must leave every client with the same table, whatever is announced, withdrawn, dropped
or joined, and however slowly anybody reads.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflector.log.group import UpdateGroup
from reflector.log.reader import Reader
from reflector.rib.route import Key, Kind, Route, Source
from reflector.rib.selection import best
from reflector.rib.table import AdjRibIn, Table

PREFIXES = [bytes((24, 10, 0, n)) for n in range(6)]


@dataclass(frozen=True)
class Block:
    """Just enough of a set of path attributes."""

    local_pref: int | None = 100
    as_path_length: int = 0
    neighbour_as: int = 0
    med: int | None = None
    origin: int = 0
    originator_id: bytes | None = None
    cluster_list_length: int = 0

    def text(self) -> bytes:
        return repr((self.local_pref, self.as_path_length, self.neighbour_as, self.med)).encode()


BLOCKS = [
    Block(),
    Block(local_pref=200),
    Block(as_path_length=1, neighbour_as=1, med=5),
    Block(as_path_length=1, neighbour_as=1, med=3),
    Block(as_path_length=1, neighbour_as=2, med=9),
]


def encode(withdrawn: Iterable[Key], announced: Iterable[tuple[bytes, bytes, Iterable[Key]]]) -> list[bytes]:
    """Messages that a test can read: one a line."""
    messages = [b"-" + key.hex().encode() + b"\n" for key in withdrawn]
    messages += [
        b"+" + key.hex().encode() + b" " + hop + b" " + block + b"\n" for hop, block, keys in announced for key in keys
    ]
    return messages


def export(route: Route) -> tuple[bytes, bytes] | None:
    """Only what has a local preference below 300 is told."""
    assert isinstance(route.block, Block)
    return None if route.block.local_pref == 300 else (route.next_hop.hex().encode(), route.block.text())


@dataclass(eq=False)
class Client:
    """A peer: what it announced, what it was told, and how much of a message it has read."""

    source: Source
    adj: AdjRibIn
    reader: Reader
    told: dict[Key, bytes] = field(default_factory=dict)
    _rest: bytes = b""
    withdrawn_twice: int = 0

    def read(self, limit: int) -> None:
        """Takes at most that many bytes, across messages or in the middle of one."""
        taken = b"".join(map(bytes, self.reader.views(3)))[:limit]
        self.reader.wrote(len(taken))
        *lines, self._rest = (self._rest + taken).split(b"\n")
        for line in lines:
            self._take(line)

    def _take(self, line: bytes) -> None:
        if line.startswith(b"own"):
            return
        key, _, said = line[1:].partition(b" ")
        if line.startswith(b"+"):
            self.told[bytes.fromhex(key.decode())] = said
        else:
            self.told.pop(bytes.fromhex(key.decode()), None)


class Fabric:
    """One table, one group, and its members."""

    def __init__(self, ring_bytes: int) -> None:
        self.table = Table()
        self.group = UpdateGroup(self.table, export, encode, ring_bytes)
        self.clients: list[Client] = []
        self._number = 0

    def publish(self) -> None:
        changes = self.table.take_changes()
        if changes:
            self.group.publish(changes)

    def join(self, kind: Kind = "client") -> Client:
        self.publish()
        self._number += 1
        source = Source(f"c{self._number}", kind, self._number.to_bytes(4), self._number.to_bytes(4))
        client = Client(source, AdjRibIn(source), self.group.join(source))
        self.clients.append(client)
        return client

    def drop(self, client: Client) -> None:
        self.table.withdraw_all(client.adj)
        self.group.leave(client.reader)
        self.clients.remove(client)

    def drain(self) -> None:
        """Everybody reads to the end."""
        self.publish()
        for client in self.clients:
            for _ in range(10_000):
                if client.reader.behind:
                    self.group.catch_up(client.reader)
                if client.reader.idle:
                    break
                client.read(1 << 20)
            assert client.reader.idle

    def expected(self, client: Client) -> dict[Key, bytes]:
        """What the naive reflector would have told this client."""
        table = {}
        for key in PREFIXES:
            routes = [c.adj.routes[key] for c in self.clients if key in c.adj.routes]
            if routes and (first := best(routes)).source is not client.source:
                said = export(first)
                if said is not None:
                    table[key] = b" ".join(said)
        return table


STEP = st.one_of(
    st.tuples(
        st.just("announce"), st.integers(0, 9), st.sets(st.sampled_from(PREFIXES), min_size=1), st.integers(0, 5)
    ),
    st.tuples(st.just("withdraw"), st.integers(0, 9), st.sets(st.sampled_from(PREFIXES), min_size=1)),
    st.tuples(st.just("read"), st.integers(0, 9), st.integers(1, 120)),
    st.tuples(st.just("say"), st.integers(0, 9)),
    st.tuples(st.sampled_from(["join", "publish"])),
    st.tuples(st.just("drop"), st.integers(0, 9)),
)


def run(fabric: Fabric, step: tuple[object, ...]) -> None:
    what, *arguments = step
    if what == "join":
        fabric.join()
    elif what == "publish":
        fabric.publish()
    elif fabric.clients:
        client = fabric.clients[arguments[0] % len(fabric.clients)]  # type: ignore[operator]
        act(fabric, client, str(what), arguments[1:])


def act(fabric: Fabric, client: Client, what: str, arguments: list[object]) -> None:
    match what, arguments:
        case "announce", [set() as keys, int() as number]:
            block = Block(local_pref=300) if number == len(BLOCKS) else BLOCKS[number]
            fabric.table.announce(client.adj, sorted(keys), client.source.route(block, client.source.address))
        case "withdraw", [set() as keys]:
            fabric.table.withdraw(client.adj, sorted(keys))
        case "read", [int() as count]:
            if client.reader.behind:
                fabric.publish()
                fabric.group.catch_up(client.reader)
            client.read(count)
        case "say", []:
            client.reader.say(b"own\n")
        case "drop", []:
            fabric.drop(client)


@settings(max_examples=2000, deadline=None)
@given(st.lists(STEP, max_size=40), st.sampled_from([1, 200, 1 << 20]))
def test_every_client_ends_with_the_table_of_the_naive_reflector(
    steps: list[tuple[object, ...]], ring_bytes: int
) -> None:
    fabric = Fabric(ring_bytes)
    for _ in range(3):
        fabric.join()
    for step in steps:
        run(fabric, step)
    fabric.drain()
    for client in fabric.clients:
        assert client.told == fabric.expected(client)


def two() -> tuple[Fabric, Client, Client]:
    fabric = Fabric(1 << 20)
    return fabric, fabric.join(), fabric.join()


def announce(fabric: Fabric, client: Client, *keys: Key, block: Block = BLOCKS[0]) -> None:
    fabric.table.announce(client.adj, keys, client.source.route(block, client.source.address))


def test_nobody_is_sent_its_own_routes() -> None:
    fabric, one, other = two()
    announce(fabric, one, *PREFIXES)
    fabric.publish()
    assert (one.reader.views(), len(other.reader.views())) == ([], 1)


def test_all_others_are_sent_the_very_same_bytes() -> None:
    fabric, one, other = two()
    third = fabric.join()
    announce(fabric, one, *PREFIXES)
    fabric.publish()
    assert other.reader.views()[0].obj is third.reader.views()[0].obj


def test_a_change_back_before_the_batch_is_no_change() -> None:
    fabric, one, other = two()
    announce(fabric, one, PREFIXES[0])
    fabric.publish()
    other.read(1000)
    announce(fabric, one, PREFIXES[0], block=BLOCKS[1])
    announce(fabric, one, PREFIXES[0])
    fabric.publish()
    assert other.reader.idle


def test_joiners_share_a_snapshot() -> None:
    fabric, one, _ = two()
    announce(fabric, one, *PREFIXES)
    late = [fabric.join() for _ in range(3)]
    assert len({id(client.reader.views()[0].obj) for client in late}) == 1


def test_a_slow_reader_is_told_the_present_and_not_the_past() -> None:
    """A hundred changes of one prefix cost a reader that slept through them one message."""
    fabric = Fabric(ring_bytes=1)
    one, slow = fabric.join(), fabric.join()
    for number in range(100):
        announce(fabric, one, PREFIXES[0], block=BLOCKS[number % 2])
        fabric.publish()
    assert slow.reader.behind
    fabric.group.catch_up(slow.reader)
    assert b"".join(map(bytes, slow.reader.views())).count(b"\n") == 1
    fabric.drain()
    assert slow.told == fabric.expected(slow)


def test_nobody_is_told_what_is_not_published() -> None:
    fabric, one, other = two()
    announce(fabric, one, PREFIXES[0])
    with pytest.raises(ValueError, match="not published"):
        fabric.group.join(None)
    with pytest.raises(ValueError, match="not published"):
        fabric.group.catch_up(other.reader)


def test_an_own_message_goes_first_but_never_into_another() -> None:
    fabric, one, other = two()
    announce(fabric, one, *PREFIXES)
    fabric.publish()
    (view,) = other.reader.views()
    other.reader.wrote(5)
    other.reader.say(b"own\n")
    sent = bytes(view[:5]) + b"".join(map(bytes, other.reader.views()))
    assert sent == bytes(view) + b"own\n"


@pytest.mark.parametrize("seed", range(5))
def test_what_is_kept_for_slow_readers_is_given_back(seed: int) -> None:
    """Once nobody is behind, nothing is remembered but the ring."""
    chance = random.Random(seed)
    fabric = Fabric(ring_bytes=1)
    one, slow = fabric.join(), fabric.join()
    for _ in range(50):
        announce(fabric, one, chance.choice(PREFIXES), block=chance.choice(BLOCKS))
        fabric.publish()
    fabric.drain()
    announce(fabric, one, PREFIXES[0], block=Block(local_pref=7))
    fabric.publish()
    assert slow.reader.views()
    assert len(fabric.group._log.changed_since(0)) == 1
