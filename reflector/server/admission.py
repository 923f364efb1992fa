"""Who may come in. Pure: an address and a time in, an answer out; the caller has the sockets.

A neighbour of the plan comes in by its address, everybody else by the longest range that the address is in. A
connection that may come in gets a number, its *ticket*: with it the caller says later that the session is up
(`established`) and that the connection is gone (`released`). What we dial ourselves is let in by nobody; room is kept
for it.

What is limited, and why so:

*Of an address*: how many connections at a time (two meet while both ends dial, a third and fourth come in before the
loss of the first is noticed), and how often (each costs a session machine and an OPEN, even if the one before gives way
to it). Beyond that a connection costs an accept and a close.

*Of those who wait*: dynamic neighbours with a connection and without a session. Each has a session machine and a
socket, some kilobytes, and may take minutes for its OPEN. The limit has to be above what comes in at once when a whole
fabric reconnects, since who is refused waits for long before it tries again. So it is high, and when it is reached the
newcomer takes the place of the one who has waited longest, if that has had the seconds that an honest handshake needs.
Half an OPEN and then silence keeps nobody out.

*Of a range*: its neighbours, which are addresses. The one who waits gives way there too. One whose routes are kept
while it restarts keeps its place as well (`hold`), or whoever has many addresses would fill the table by coming and
going.

*Of all*: what the process may have open (file_limit.py), less a connection for each neighbour that we dial, but half at
most. Dynamic neighbours leave room for the named ones: two connections each, but half of the rest at most.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from peering.prefixes import Address, Prefix, format_address, format_prefix
from reflector.configuration import PeerRange
from reflector.server.connect_rate import ConnectRate
from reflector.wire.errors import Cease

_PER_NAMED = 2

RefusalCode = Literal["no-such-neighbour", "too-many", "too-often", "range-full", "no-room"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`connections` there may be in all, those that we dial among them, and `per_address` from one address.

    It may come `burst` times at once, then each `interval` seconds. `waiting` is how many dynamic neighbours may be
    without a session; after `patience` seconds one may give way.
    """

    connections: int
    per_address: int = 4
    burst: int = 16
    interval: float = 1.0
    waiting: int = 12_000
    patience: float = 5.0


class Admitted(NamedTuple):
    """`range` None is a named neighbour. The caller closes the connections with the tickets `instead_of`."""

    ticket: int
    range: PeerRange | None
    instead_of: tuple[int, ...] = ()


class Refused(NamedTuple):
    """`notify` is the subcode of the Cease for the peer."""

    code: RefusalCode
    text: str
    notify: Cease


@dataclass(slots=True, eq=False)
class _Source:
    """An address from which somebody has come in.

    `range` is the prefix of its range, None for a named neighbour and for one that has no place any more; `since` is
    when its wait for a session began; `held` keeps the place without a connection.
    """

    address: Address
    range: Prefix | None
    since: float
    tickets: set[int] = field(default_factory=set)
    established: set[int] = field(default_factory=set)
    held: bool = False

    @property
    def waits(self) -> bool:
        return self.range is not None and not self.established and not self.held


class _Places:
    """Those of a range: its neighbours, and among them those who wait, the longest first."""

    def __init__(self) -> None:
        self.taken: set[Address] = set()
        self.waiting: dict[Address, _Source] = {}


class Admission:
    """Knows the named neighbours, the ranges, and who is in. `configure` before anybody comes."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._peers: frozenset[Address] = frozenset()
        self._ranges: dict[Prefix, PeerRange] = {}
        self._lengths: dict[int, list[int]] = {4: [], 16: []}
        self._sources: dict[Address, _Source] = {}
        self._by_ticket: dict[int, _Source] = {}
        self._places: dict[Prefix, _Places] = {}
        self._waiting: dict[Address, _Source] = {}
        self._rate = ConnectRate(limits.burst, limits.interval)
        self._dynamic = 0
        self._last_ticket = 0
        self._room = limits.connections

    def configure(self, peers: Collection[Address], ranges: Iterable[PeerRange], dialed: int = 0) -> None:
        """Takes the whole desired set. Who is in stays in, beyond a limit too, until the caller releases it.

        `dialed` is how many neighbours we dial.
        """
        self._peers = frozenset(peers)
        self._room = self.limits.connections - min(dialed, self.limits.connections // 2)
        self._ranges = {entry.prefix: entry for entry in ranges}
        for size in self._lengths:
            lengths = {prefix[0] for prefix in self._ranges if len(prefix) == size + 1}
            self._lengths[size] = sorted(lengths, reverse=True)
        self._places = {prefix: _Places() for prefix in self._ranges}
        self._waiting = {}
        for source in sorted(self._sources.values(), key=lambda source: source.since):
            source.range = None if source.address in self._peers else self._range_of(source.address)
            self._settle(source, source.since)
        self._dynamic = sum(source.range is not None for source in self._by_ticket.values())

    def admit(self, address: Address, now: float) -> Admitted | Refused:
        """What becomes of a connection that has just come in from there."""
        named = address in self._peers
        prefix = None if named else self._range_of(address)
        if prefix is None and not named:
            text = f"{format_address(address)} is no neighbour, and in no range of dynamic neighbours"
            return Refused("no-such-neighbour", text, Cease.CONNECTION_REJECTED)
        source = self._sources.get(address)
        refused = self._own_limits(address, source, now)
        if refused is not None:
            return refused
        out = self._make_room(prefix, source, now)
        if isinstance(out, Refused):
            return out
        gone = self._put_out(out, now) if out is not None else ()
        return Admitted(self._enter(address, prefix, now), self._ranges[prefix] if prefix else None, gone)

    def established(self, ticket: int) -> None:
        """Its session is up. Nothing when the ticket is released already."""
        source = self._by_ticket.get(ticket)
        if source is not None:
            source.established.add(ticket)
            self._settle(source, source.since)

    def released(self, ticket: int, now: float) -> None:
        """Its connection is gone. Nothing when that was known."""
        source = self._forget(ticket)
        if source is not None:
            self._settle(source, now)

    def hold(self, address: Address, held: bool, now: float) -> None:
        """A neighbour keeps its place, connected or not, while its routes are kept; or no longer does."""
        source = self._sources.get(address)
        if source is None:
            if not held:
                return
            prefix = None if address in self._peers else self._range_of(address)
            source = self._sources[address] = _Source(address, prefix, now)
        source.held = held
        self._settle(source, now)

    @property
    def connections(self) -> int:
        """How many tickets are out."""
        return len(self._by_ticket)

    @property
    def waiting(self) -> int:
        """How many dynamic neighbours have a connection and no session."""
        return len(self._waiting)

    def neighbours(self, prefix: Prefix) -> int:
        """How many places of a range are taken."""
        return len(self._places[prefix].taken)

    # What is asked before somebody comes in.

    def _range_of(self, address: Address) -> Prefix | None:
        value, size = int.from_bytes(address), len(address)
        for length in self._lengths[size]:
            shift = 8 * size - length
            prefix = bytes((length,)) + (value >> shift << shift).to_bytes(size)
            if prefix in self._ranges:
                return prefix
        return None

    def _own_limits(self, address: Address, source: _Source | None, now: float) -> Refused | None:
        if source is not None and len(source.tickets) >= self.limits.per_address:
            text = f"{format_address(address)} has {len(source.tickets)} connections already"
            return Refused("too-many", text, Cease.OUT_OF_RESOURCES)
        if not self._rate.allows(address, now):
            text = f"{format_address(address)} comes in more often than every {self.limits.interval:g} s"
            return Refused("too-often", text, Cease.OUT_OF_RESOURCES)
        return None

    def _make_room(self, prefix: Prefix | None, source: _Source | None, now: float) -> _Source | Refused | None:
        """Who has to go out for one more connection, if anybody."""
        full = len(self._by_ticket) >= self._room
        if prefix is None:
            return self._no_room() if full else None
        places, limit = self._places[prefix], self._ranges[prefix].limit
        if source is None and len(places.taken) >= limit:
            text = f"{format_prefix(prefix)} has {limit} neighbours already"
            return self._longest_waiting(places.waiting, now) or Refused("range-full", text, Cease.OUT_OF_RESOURCES)
        crowded = source is None and len(self._waiting) >= self.limits.waiting
        if full or crowded or self._dynamic >= self._for_ranges():
            return self._longest_waiting(self._waiting, now) or self._no_room()
        return None

    def _for_ranges(self) -> int:
        """How many connections dynamic neighbours may have."""
        return self._room - min(_PER_NAMED * len(self._peers), self._room // 2)

    def _longest_waiting(self, waiting: dict[Address, _Source], now: float) -> _Source | None:
        first = next(iter(waiting.values()), None)
        return first if first is not None and now - first.since >= self.limits.patience else None

    def _no_room(self) -> Refused:
        text = f"no room: {len(self._by_ticket)} connections, {len(self._waiting)} dynamic neighbours without a session"
        return Refused("no-room", text, Cease.OUT_OF_RESOURCES)

    # What is noted of those who are in.

    def _enter(self, address: Address, prefix: Prefix | None, now: float) -> int:
        self._last_ticket += 1
        source = self._sources.get(address)
        if source is None:
            source = self._sources[address] = _Source(address, prefix, now)
        source.tickets.add(self._last_ticket)
        self._by_ticket[self._last_ticket] = source
        self._dynamic += source.range is not None
        self._settle(source, now)
        return self._last_ticket

    def _forget(self, ticket: int) -> _Source | None:
        source = self._by_ticket.pop(ticket, None)
        if source is not None:
            source.tickets.discard(ticket)
            source.established.discard(ticket)
            self._dynamic -= source.range is not None
        return source

    def _put_out(self, source: _Source, now: float) -> tuple[int, ...]:
        tickets = tuple(source.tickets)
        for ticket in tickets:
            self._forget(ticket)
        self._settle(source, now)
        return tickets

    def _settle(self, source: _Source, now: float) -> None:
        """Gives a source its place, among those who wait where it waits, or takes it away."""
        places = None if source.range is None else self._places[source.range]
        if not source.tickets and not source.held:
            del self._sources[source.address]
            self._waiting.pop(source.address, None)
            if places is not None:
                places.taken.discard(source.address)
                places.waiting.pop(source.address, None)
            return
        if places is None:
            return
        places.taken.add(source.address)
        if not source.waits:
            self._waiting.pop(source.address, None)
            places.waiting.pop(source.address, None)
        elif source.address not in self._waiting:
            source.since = now
            self._waiting[source.address] = places.waiting[source.address] = source
