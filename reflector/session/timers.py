"""The four timers of a session, as deadlines in seconds of the caller's clock.

A timer that every message restarts (hold, keepalive) is not moved at every message: the message notes its time, and the
deadline is looked at again when it comes. So a deadline may be earlier than the timer's real end, never later, and a
message costs one assignment.

Intervals that RFC 4271, 10 wants jittered are multiplied by a factor between 0.75 and 1, from random numbers in [0, 1)
that the caller supplies. Without a source of them the factor is 1, so that tests see the same times on each run.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

#: A source of numbers in [0, 1), as `random.random`.
Random = Callable[[], float]

#: KEEPALIVEs are at least this far apart (RFC 4271, 4.4), in seconds.
KEEPALIVE_SPACING = 1.0


def no_jitter() -> float:
    return 1.0


def jittered(interval: float, random: Random) -> float:
    """An interval with the jitter of RFC 4271, 10."""
    return interval * (0.75 + 0.25 * random())


class Timers:
    """Deadlines; `inf` where a timer does not run.

    `heard` is when the last message that restarts the hold timer came, `sent` when something was last sent.
    """

    __slots__ = (
        "_hold_at",
        "_hold_time",
        "_keepalive_at",
        "_keepalive_time",
        "_random",
        "heard",
        "retry_at",
        "send_hold_at",
        "sent",
    )

    def __init__(self, random: Random) -> None:
        self._random = random
        self.stop()

    def stop(self) -> None:
        """Stops all of them."""
        self.retry_at = self._hold_at = self._keepalive_at = self.send_hold_at = inf
        self._hold_time = self._keepalive_time = inf
        self.heard = self.sent = -inf

    def next(self) -> float:
        """When the first of them may be due."""
        return min(self.retry_at, self._hold_at, self._keepalive_at, self.send_hold_at)

    def start_hold(self, now: float, seconds: float) -> None:
        """`inf` seconds: no hold timer, as two ends with a hold time of 0 agree."""
        self.heard, self._hold_time, self._hold_at = now, seconds, now + seconds

    def hold_over(self, now: float) -> bool:
        if now >= self._hold_at:
            self._hold_at = self.heard + self._hold_time
        return now >= self._hold_at

    def start_keepalive(self, now: float, seconds: float) -> None:
        self.sent, self._keepalive_time = now, seconds
        self._keepalive_at = now + self._next_keepalive()

    def keepalive_due(self, now: float) -> bool:
        """Whatever was sent within the last interval has told the peer that we live."""
        if now < self._keepalive_at:
            return False
        self._keepalive_at = self.sent + self._next_keepalive()
        return now >= self._keepalive_at

    def _next_keepalive(self) -> float:
        return max(KEEPALIVE_SPACING, jittered(self._keepalive_time, self._random))
