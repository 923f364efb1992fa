"""From the engine's changes to the sockets: when to publish (pacing.py), and whom to write to then. Thin."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from peering.prefixes import Address
from reflector.engine.engine import Engine
from reflector.engine.peer import PeerState
from reflector.server.connection import Connection
from reflector.server.counters import Counters
from reflector.server.neighbour import Neighbour
from reflector.server.pacing import Pacing

#: Seconds between looks at whether others have said enough after our restart.
_DEFERRED = 0.5


class Publisher:
    """`up` are the connections with a session, `coming` counts those without, `reads` what was read from any.

    `on_published(now)` is told of each round.
    """

    def __init__(
        self,
        engine: Engine,
        neighbours: Mapping[Address, Neighbour],
        counters: Counters,
        on_published: Callable[[float], None],
    ) -> None:
        self.up: set[Connection] = set()
        self.coming = 0
        self.reads = 0
        self.busy = False
        self._engine = engine
        self._neighbours = neighbours
        self._counters = counters
        self._on_published = on_published
        self._pacing = Pacing()
        self._reads_seen = -1

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Before anything else here."""
        self._loop = loop

    def want(self) -> None:
        """Something may have changed. Publishes soon if so."""
        if self._engine.waiting:
            self._pacing.wanted(self._loop.time())
            if not self.busy:
                self.busy = True
                self._loop.call_soon(self._maybe_publish)

    def _maybe_publish(self) -> None:
        now = self._loop.time()
        idle, self._reads_seen = self.reads == self._reads_seen, self.reads
        changes = sum(len(table.changed) for table in self._engine.tables.values())
        if self._pacing.due(now, idle=idle, crowd=self.coming > 0, changes=changes):
            self.busy = False
            self._publish(now)
        elif idle:
            self._loop.call_at(max(now, self._pacing.not_before), self._maybe_publish)
        else:
            self._loop.call_soon(self._maybe_publish)

    def _publish(self, now: float) -> None:
        published = self._engine.publish(now)
        if published is None:
            self.busy = True
            self._loop.call_later(_DEFERRED, self._maybe_publish)
            return
        for connection in tuple(self.up) if published.news else self._connections_of(published.served):
            if not connection.blocked and connection.open:
                connection.write(now)
        self._pacing.done(now, self._loop.time())
        self._counters.published(self._loop.time() - now)
        self._on_published(now)
        self.want()

    def _connections_of(self, states: list[PeerState]) -> list[Connection]:
        served = {id(state.outbox) for state in states}
        neighbours = [self._neighbours[state.source.address] for state in states]
        return [c for n in neighbours for c in n.connections.values() if id(c.outbox) in served]
