"""Which events are written, and when. Pure; times are seconds of one clock that never jumps.

What is told again within six minutes is the same series: it is counted, and its number is written at most once a
minute. A process has a small stock of writes, which fills slowly; what has to wait for too long is left out and
counted, and the next event says how many were. So a session that flaps all day, or a loop of ours, costs one write a
minute.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from peering.store.kubernetes.sources import Source
from peering.store.protocol import Event

#: As Kubernetes' own recorders have it.
SERIES_S = 360.0
UPDATE_S = 60.0
STOCK, REFILL_S = 20, 60.0
#: So many series are known at once; one that could not be written for so long never is.
MOST, LONGEST_WAIT_S = 100, 3600.0

#: The source and the name of an object, and what happened to it.
Key = tuple[Source, str, Event]


@dataclass(slots=True)
class Series:
    """What happened `count` times from `first` to `last`; `told` of them are written, as the event `name`."""

    key: Key
    first: float
    last: float
    count: int = 1
    told: int = 0
    name: str = ""
    tried: float = -math.inf

    @property
    def due(self) -> float:
        """When it may be written next; never, while all is written."""
        return math.inf if self.told == self.count else self.tried + UPDATE_S


class EventSeries:
    """The series of one process."""

    def __init__(self) -> None:
        self._series: dict[Key, Series] = {}
        self._stock, self._filled = float(STOCK), -math.inf
        self.left_out = 0

    def add(self, key: Key, now: float) -> None:
        """It has happened."""
        self._forget(now)
        known = self._series.get(key)
        if known is not None:
            known.last, known.count = now, known.count + 1
        elif len(self._series) < MOST:
            self._series[key] = Series(key, now, now)
        else:
            self.left_out += 1

    def take(self, now: float) -> Series | None:
        """The next to write, if one may be written now. Whoever takes it says in `told` what has been written."""
        self._forget(now)
        self._fill(now)
        ready = min(self._series.values(), key=lambda one: (one.due, one.first), default=None)
        if ready is None or ready.due > now or self._stock < 1:
            return None
        self._stock -= 1
        ready.tried = now
        return ready

    def wait(self, now: float) -> float:
        """Seconds until one may be written; endless while there is none."""
        self._fill(now)
        due = min((one.due for one in self._series.values()), default=math.inf)
        return max(due - now, 0.0 if self._stock >= 1 else (1 - self._stock) * REFILL_S, 0.0)

    def end(self, series: Series) -> None:
        """Its event is gone: what happens again is another series."""
        self._series.pop(series.key, None)

    def _fill(self, now: float) -> None:
        self._stock = min(STOCK, self._stock + (now - self._filled) / REFILL_S)
        self._filled = now

    def _forget(self, now: float) -> None:
        for one in list(self._series.values()):
            quiet = now - one.last
            if (quiet >= SERIES_S and one.told == one.count) or quiet >= LONGEST_WAIT_S:
                self._drop(one)

    def _drop(self, series: Series) -> None:
        self.left_out += series.count - series.told
        del self._series[series.key]
