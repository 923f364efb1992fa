"""One peer's place in a log: what it must be sent next, as views of shared bytes.

    own messages ─┐
    in flight ────┼─► views() ─► the socket ─► wrote(n)
    the log ──────┘

`in flight` is what the socket has taken a part of: it is finished first, message borders are there. Messages of the
peer's own (keepalives, route refresh) go before anything from the log. A reader that has lost its place in the ring is
`behind`: its owner makes a batch of the present state of what changed (`catch_up`).
"""

from __future__ import annotations

from collections import deque

from reflector.log.batch import Batch
from reflector.log.route_log import RouteLog
from reflector.rib.route import Source

View = memoryview


class Reader:
    """A cursor in one log. `source` is the peer itself, whose own routes it is not sent."""

    __slots__ = ("_cut", "_flight", "_log", "_own", "position", "source")

    def __init__(self, log: RouteLog, source: Source | None) -> None:
        self._log = log
        self._flight: deque[View] = deque()
        self._own: deque[View] = deque()
        self._cut = False
        self.source = source
        self.position = log.end

    def say(self, message: bytes) -> None:
        """A message to this peer alone."""
        self._own.append(memoryview(message))

    def begin(self, number: int, snapshot: Batch | None) -> None:
        """Starts with a snapshot, and the log from batch `number` behind it."""
        self.position = number
        if snapshot is not None:
            self._flight.extend(snapshot.for_source(self.source))

    @property
    def behind(self) -> bool:
        """Whether it has lost its place, and nothing is left to send before that matters."""
        return self.position < self._log.start and not self._flight

    @property
    def idle(self) -> bool:
        """Whether there is nothing to send."""
        return not self._flight and not self._own and self.position == self._log.end

    def views(self, limit: int = 64) -> list[View]:
        """What to write next, at most `limit` pieces; empty when idle or behind."""
        flight, log = self._flight, self._log
        while self._own:
            # Behind what the socket took a part of, before everything else: all views are whole messages.
            flight.insert(1 if self._cut else 0, self._own.pop())
        while len(flight) < limit and log.start <= self.position < log.end:
            flight.extend(log.batch(self.position).for_source(self.source))
            self.position += 1
        return list(flight) if len(flight) <= limit else [flight[index] for index in range(limit)]

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
