"""One table, its update groups and their members, as small as can be, beside a reflector so naive that it is right.

The naive one keeps nothing but what every client says. What a client must be told follows from that each time anew:
for each prefix the best path of all clients (or the best few), unless it is the client's own, as the policy of the
client's group puts it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from reflector.log.batch import Language, Told
from reflector.log.group import UpdateGroup
from reflector.log.outbox import Cursor, Outbox
from reflector.log.shape import BestPath, SeveralPaths, Shape
from reflector.rib.route import Key, Kind, Route, Source
from reflector.rib.selection import ranked
from reflector.rib.table import AdjRibIn, Table

PREFIXES = [bytes((24, 10, 0, n)) for n in range(6)]
LABELS = [b"\x01", b"\x02"]
PATH_IDS = [b"\0\0\0\1", b"\0\0\0\2", b"\0\0\0\3"]
BEGIN, END = b"begin\n", b"end\n"


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
    communities: tuple[int, ...] = ()

    def text(self) -> bytes:
        return repr((self.local_pref, self.as_path_length, self.neighbour_as, self.med)).encode()


BLOCKS = [
    Block(),
    Block(local_pref=200),
    Block(local_pref=300),
    Block(as_path_length=1, neighbour_as=1, med=5),
    Block(as_path_length=1, neighbour_as=1, med=3),
    Block(as_path_length=1, neighbour_as=2, med=9),
]


def encode(withdrawn: Iterable[bytes], announced: Iterable[tuple[bytes, bytes, Iterable[bytes]]]) -> list[bytes]:
    """Messages that a test can read: one a line."""
    messages = [b"-" + nlri.hex().encode() + b"\n" for nlri in withdrawn]
    return messages + [
        b"+%s %s %s\n" % (nlri.hex().encode(), hop, block) for hop, block, some in announced for nlri in some
    ]


@dataclass(frozen=True)
class Rules:
    """An export policy: local preferences and prefixes that are not told, and prefixes that get a mark."""

    hidden: frozenset[int] = frozenset({300})
    refused: frozenset[Key] = frozenset()
    marked: frozenset[Key] = frozenset()

    @property
    def by_prefix(self) -> bool:
        return bool(self.refused or self.marked)

    def decide(self, route: Route, key: Key) -> Told | None:
        if route.block.local_pref in self.hidden or key in self.refused:
            return None
        assert isinstance(route.block, Block)
        mark = b"marked " if key in self.marked else b""
        return route.next_hop.hex().encode(), mark + route.block.text()

    def partition(self, route: Route, keys: list[Key]) -> list[tuple[Told | None, list[Key]]]:
        found: dict[Told | None, list[Key]] = defaultdict(list)
        for key in keys:
            found[self.decide(route, key)].append(key)
        return list(found.items())


#: What groups may be told; the first leaves out local preference 300.
RULES = [
    Rules(),
    Rules(hidden=frozenset({200})),
    Rules(hidden=frozenset(), refused=frozenset(PREFIXES[:2]), marked=frozenset(PREFIXES[2:4])),
]


@dataclass(frozen=True)
class Form:
    """What all clients of a fabric have negotiated: one path or several, and whether NLRI carry a label."""

    several: bool = False
    labels: bool = False

    def shape(self, limit: int | None) -> Shape:
        return SeveralPaths(limit, own_nlri=self.labels) if self.several else BestPath(own_nlri=self.labels)

    def split(self, nlri: bytes) -> tuple[bytes, bytes]:
        """(slot, label) of an NLRI that was told."""
        number, rest = (nlri[:4], nlri[4:]) if self.several else (b"", nlri)
        return (number + rest[1:], rest[:1]) if self.labels else (number + rest, b"")


@dataclass(eq=False)
class Client:
    """A peer: what it says (by path identifier and prefix), what it was told (by slot), and how far it has read."""

    source: Source
    form: Form
    rules: Rules
    limit: int | None
    group: UpdateGroup
    outbox: Outbox = field(default_factory=Outbox)
    said: dict[tuple[bytes, Key], Route] = field(default_factory=dict)
    told: dict[bytes, bytes] = field(default_factory=dict)
    own: int = 0

    def __post_init__(self) -> None:
        self.adj = AdjRibIn(self.source)
        self.cursor: Cursor = self.group.join(self.outbox, self.source)
        self._rest = b""
        self._stale: set[bytes] = set()

    def read(self, limit: int) -> None:
        """Takes at most that many bytes, across messages or in the middle of one."""
        taken = b"".join(map(bytes, self.outbox.views(3)))[:limit]
        self.outbox.wrote(len(taken))
        *lines, self._rest = (self._rest + taken).split(b"\n")
        for line in lines:
            self._take(line)

    def _take(self, line: bytes) -> None:
        if line == b"own":
            self.own += 1
        elif line + b"\n" == BEGIN:
            self._stale = set(self.told)
        elif line + b"\n" == END:
            for slot in self._stale:
                del self.told[slot]
            self._stale = set()
        else:
            nlri, _, said = line[1:].partition(b" ")
            self._hear(line[:1], *self.form.split(bytes.fromhex(nlri.decode())), said)

    def _hear(self, sign: bytes, slot: bytes, label: bytes, said: bytes) -> None:
        self._stale.discard(slot)
        if sign == b"+":
            self.told[slot] = label.hex().encode() + b" " + said
        else:
            assert sign == b"-"
            self.told.pop(slot, None)

    @property
    def text(self) -> bytes:
        """Everything that waits for it, without taking it."""
        return b"".join(map(bytes, self.outbox.views(1 << 20)))


class Fabric:
    """One table, and a group for each (rules, limit) that anybody has."""

    def __init__(self, ring_bytes: int = 1 << 20, form: Form = Form()) -> None:
        self.table = Table()
        self.groups: dict[tuple[Rules, int | None], UpdateGroup] = {}
        self.clients: list[Client] = []
        self.form = form
        self._ring_bytes = ring_bytes
        self._number = 0

    def group(self, rules: Rules, limit: int | None) -> UpdateGroup:
        key = (rules, limit)
        if key not in self.groups:
            language = Language(rules, encode, self.form.shape(limit))
            self.groups[key] = UpdateGroup(self.table, language, self._ring_bytes)
        return self.groups[key]

    def publish(self) -> None:
        changes = self.table.take_changes()
        if changes:
            for group in self.groups.values():
                group.publish(changes)

    def join(self, rules: Rules = RULES[0], limit: int | None = None, kind: Kind = "client") -> Client:
        self.publish()
        self._number += 1
        address = self._number.to_bytes(4, "big")
        client = Client(
            Source(f"c{self._number}", kind, address, address), self.form, rules, limit, self.group(rules, limit)
        )
        self.clients.append(client)
        return client

    def drop(self, client: Client) -> None:
        for path_id, key in list(client.said):
            self.withdraw(client, [key], path_id)
        client.group.leave(client.cursor)
        client.outbox.clear()
        self.clients.remove(client)

    def announce(
        self, client: Client, keys: Iterable[Key], block: Block = BLOCKS[0], path_id: bytes = b"", label: bytes = b""
    ) -> None:
        listed = sorted(keys)
        if not path_id and not label:
            route = client.source.route(block, client.source.address)  # type: ignore[arg-type]
            self.table.announce(client.adj, listed, route)
            client.said.update({(b"", key): route for key in listed})
            return
        for key in listed:
            nlri = label + key if label else b""
            route = client.source.route(block, client.source.address, path_id, nlri)  # type: ignore[arg-type]
            self.table.announce_path(client.adj, path_id + key, key, route)
            client.said[path_id, key] = route

    def withdraw(self, client: Client, keys: Iterable[Key], path_id: bytes = b"") -> None:
        listed = sorted(keys)
        if path_id:
            for key in listed:
                self.table.withdraw_path(client.adj, path_id + key, key)
        else:
            self.table.withdraw(client.adj, listed)
        for key in listed:
            client.said.pop((path_id, key), None)

    def catch_up(self, client: Client) -> None:
        """As a server does for a client that has taken what was in flight."""
        if client.outbox.behind():
            self.publish()
            client.group.catch_up(client.outbox, client.cursor)

    def tell_again(self, client: Client, *, borders: bool) -> None:
        """A client asks for everything again; without borders, because it has forgotten what it was told."""
        self.publish()
        if client.cursor.lost:
            client.group.catch_up(client.outbox, client.cursor)
        client.outbox.pull(client.cursor)
        if borders:
            client.outbox.end_with([BEGIN])
        else:
            client.told.clear()
        assert client.group.tell_again(client.outbox, client.cursor)
        client.outbox.pull(client.cursor)
        if borders:
            client.outbox.end_with([END])

    def move(self, client: Client, rules: Rules, limit: int | None) -> None:
        """Another policy for a client, in place."""
        self.publish()
        before = client.group
        client.rules, client.limit, client.group = rules, limit, self.group(rules, limit)
        if client.group is not before:
            client.cursor = client.group.take_over(client.outbox, client.cursor, before)

    def drain(self) -> None:
        """Everybody reads to the end."""
        self.publish()
        for client in self.clients:
            for _ in range(10_000):
                self.catch_up(client)
                if client.outbox.idle:
                    break
                client.read(1 << 20)
            assert client.outbox.idle

    def expected(self, client: Client) -> dict[bytes, bytes]:
        """What the naive reflector has told this client by now."""
        table = {}
        for key in PREFIXES:
            paths = ranked(route for one in self.clients for (_, said), route in one.said.items() if said == key)
            for route in paths[: client.limit] if self.form.several else paths[:1]:
                told = client.rules.decide(route, key)
                if route.source is not client.source and told is not None:
                    number = route.sent_path_id if self.form.several else b""
                    table[number + key] = b" ".join((route.nlri[:1].hex().encode(), *told))
        return table

    def check(self) -> None:
        """Lets everybody read, and compares."""
        self.drain()
        for client in self.clients:
            assert client.told == self.expected(client)


WHO = st.integers(0, 9)
KEYS = st.sets(st.sampled_from(PREFIXES), min_size=1)


def steps(form: Form, rules: list[Rules], limits: list[int | None]) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    """Anything that may happen to a fabric, in any order."""
    path_ids = st.sampled_from(PATH_IDS if form.several else [b""])
    labels = st.sampled_from(LABELS if form.labels else [b""])
    terms = [st.sampled_from(rules), st.sampled_from(limits)]
    kinds = [
        st.tuples(st.just("announce"), WHO, KEYS, st.sampled_from(BLOCKS), path_ids, labels),
        st.tuples(st.just("withdraw"), WHO, KEYS, path_ids),
        st.tuples(st.just("read"), WHO, st.integers(1, 120)),
        st.tuples(st.just("say"), WHO),
        st.tuples(st.just("drop"), WHO),
        st.tuples(st.just("publish")),
        st.tuples(st.just("join"), *terms),
        st.tuples(st.just("again"), WHO, st.booleans()),
    ]
    if len(rules) * len(limits) > 1:
        kinds.append(st.tuples(st.just("move"), WHO, *terms))
    return st.lists(st.one_of(kinds), max_size=40)


def run(fabric: Fabric, step: tuple[Any, ...]) -> None:
    """One step; a step of nobody is none."""
    what, *rest = step
    if what == "publish":
        fabric.publish()
    elif what == "join":
        fabric.join(*rest)
    elif fabric.clients:
        _ACTS[what](fabric, fabric.clients[rest[0] % len(fabric.clients)], *rest[1:])


def _read(fabric: Fabric, client: Client, count: int) -> None:
    fabric.catch_up(client)
    client.read(count)


def _again(fabric: Fabric, client: Client, borders: bool) -> None:
    fabric.tell_again(client, borders=borders)


_ACTS: Mapping[str, Any] = {
    "announce": Fabric.announce,
    "withdraw": Fabric.withdraw,
    "drop": Fabric.drop,
    "move": Fabric.move,
    "read": _read,
    "again": _again,
    "say": lambda fabric, client: client.outbox.say(b"own\n"),
}
