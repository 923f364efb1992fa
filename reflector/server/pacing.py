"""When to publish: at once when nothing else comes in, later the more it costs. Pure.

A batch costs one encoding and a write to every client, so many small batches cost more than few large ones. While
input keeps coming, changes are gathered, for a time that grows with what a round costs. When it pauses they go out;
but while clients are on their way in (a fabric that reconnects), rounds take no more than a share of the time, or most
of it would go into telling few things to many.
"""

from __future__ import annotations

#: Seconds that changes are gathered at most while input keeps coming, on top of what the last rounds cost.
GATHER = 0.02
#: Changes of prefixes that are enough for a batch.
ENOUGH = 100_000
#: While clients come in, a round is followed by a pause of so many times its length.
PAUSE = 3.0


class Pacing:
    """Times in seconds."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._ended = 0.0
        self._cost = 0.0

    def wanted(self, now: float) -> None:
        """There are changes, or somebody to be let in."""
        if self._first is None:
            self._first = now

    def due(self, now: float, *, idle: bool, crowd: bool, changes: int) -> bool:
        """Whether to publish. `idle`: nothing has come in since the last question; `crowd`: clients are coming in."""
        if self._first is None:
            return False
        if changes >= ENOUGH:
            return True
        if idle:
            return not crowd or now >= self.not_before
        return now >= self._first + GATHER + PAUSE * self._cost

    @property
    def not_before(self) -> float:
        """When to ask again, if input pauses."""
        return self._ended + PAUSE * self._cost

    def done(self, started: float, now: float) -> None:
        """A round of publishing and writing took from `started` until `now`."""
        self._first = None
        self._cost = now - started
        self._ended = now
