"""What one peer must be sent next: its own messages, and its place in the log of each of its families.

    own messages ────┐
    in flight ───────┼─► views() ─► the socket ─► wrote(n)
    cursors ─► logs ─┘

`in flight` is what the socket has taken a part of, or was handed: it is finished first, message borders are there.
Messages of the peer's own (keepalives, route refresh) go before anything from a log. A cursor that has lost its place
is `behind`: when nothing is left in flight, its group tells it what has changed since (`UpdateGroup.catch_up`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from reflector.log.batch import Batch, View
from reflector.log.route_log import RouteLog
from reflector.rib.route import Source

#: The kernel takes no more pieces at once (IOV_MAX is 1024; more than this wins nothing).
PIECES = 64


class Cursor:
    """A place in one log. `source` is the peer itself, whose own routes it is not sent."""

    __slots__ = ("log", "position", "source")

    def __init__(self, log: RouteLog, source: Source | None) -> None:
        self.log = log
        self.source = source
        self.position = log.end

    @property
    def lost(self) -> bool:
        """Whether its batch has left the ring."""
        return self.position < self.log.start


class Outbox:
    """Everything that waits for one peer. `cursors` are in the order in which families are served."""

    __slots__ = ("_cut", "_flight", "_own", "cursors")

    def __init__(self) -> None:
        self.cursors: list[Cursor] = []
        self._flight: deque[View] = deque()
        self._own: list[View] = []
        self._cut = False

    def say(self, message: bytes) -> None:
        """Messages for this peer alone, before what is not in flight yet."""
        self._own.append(memoryview(message))

    def begin(self, cursor: Cursor, number: int, batch: Batch | None) -> None:
        """A snapshot, or the state of what changed, and the log from batch `number` behind it."""
        cursor.position = number
        if batch is not None:
            self._flight.extend(batch.for_source(cursor.source))

    def end_with(self, messages: Iterable[bytes]) -> None:
        """Messages behind everything that is in flight."""
        self._flight.extend(memoryview(message) for message in messages)

    def pull(self, cursor: Cursor) -> bool:
        """Puts all that its log has for a cursor in flight; False when it is behind."""
        if cursor.lost:
            return False
        log = cursor.log
        while cursor.position < log.end:
            self._flight.extend(log.batch(cursor.position).for_source(cursor.source))
            cursor.position += 1
        return True

    @property
    def idle(self) -> bool:
        """Whether there is nothing to send."""
        if self._flight or self._own:
            return False
        return all(cursor.position == cursor.log.end for cursor in self.cursors)

    def behind(self) -> list[Cursor]:
        """The cursors that have lost their places, once nothing else is left to send before that matters."""
        return [] if self._flight else [cursor for cursor in self.cursors if cursor.lost]

    def clear(self) -> None:
        """Forgets all but the message that the socket took a part of: the session ends, a NOTIFICATION may follow.

        What is cut may be a piece of many messages; a border inside it is not looked for, the connection ends anyway.
        """
        rest = self._flight.popleft() if self._cut else None
        self.cursors.clear()
        self._flight.clear()
        self._own.clear()
        if rest is not None:
            self._flight.append(rest)

    def views(self, limit: int = PIECES) -> list[View]:
        """What to write next, at most `limit` pieces; empty when there is nothing, or cursors are behind."""
        flight = self._flight
        if self._own:
            # Behind what the socket took a part of, before everything else: all views are whole messages.
            at = 1 if self._cut else 0
            for view in reversed(self._own):
                flight.insert(at, view)
            self._own.clear()
        for cursor in self.cursors:
            log = cursor.log
            while cursor.position < log.end and len(flight) < limit:
                if cursor.position < log.start:
                    break
                flight.extend(log.batch(cursor.position).for_source(cursor.source))
                cursor.position += 1
        return list(flight) if len(flight) <= limit else [flight[index] for index in range(limit)]

    def single(self) -> tuple[Cursor, View] | None:
        """The one piece that is all there is to send: the last batch of one log. None when it is more, or nothing.

        That is how nearly every change goes out to nearly every client, and this spares them the rest of this class.
        """
        if self._flight or self._own:
            return None
        found: Cursor | None = None
        for cursor in self.cursors:
            behind = cursor.log.end - cursor.position
            if behind:
                if behind > 1 or found is not None:
                    return None
                found = cursor
        if found is None:
            return None
        batch = found.log.last
        return None if batch is None or found.source in batch.bounds else (found, batch.whole)

    def begin_at(self, cursor: Cursor, rest: View) -> None:
        """The kernel took a part of what `single` gave; this is the rest of it."""
        cursor.position += 1
        self._flight.append(rest)
        self._cut = True

    def wrote(self, count: int) -> None:
        """The socket took that many bytes of what `views` gave."""
        flight = self._flight
        while count:
            first = flight.popleft()
            self._cut = len(first) > count
            if self._cut:
                flight.appendleft(first[count:])
                return
            count -= len(first)
