"""The log of one group of peers and one family: batches in a ring, numbered, and the snapshot for who joins.

Readers hold a number, not bytes. The ring is bounded in bytes; a reader whose batch has left it has lost its place.
For those the log remembers in which batch a prefix changed last, so that they can be told what it is now, and skip
what it was in between. Memory is bounded by the table and the ring, whatever readers do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from reflector.log.batch import Batch
from reflector.rib.route import Key

#: Bytes of batches that are kept for readers that are behind.
RING_BYTES = 16 << 20
#: A snapshot is made anew when the log behind it is longer than this, and longer than the snapshot.
_SHORT_LOG = 1 << 20


class RouteLog:
    """`end` is the number that the next batch will get; `start` that of the oldest in the ring."""

    def __init__(self, ring_bytes: int = RING_BYTES) -> None:
        self.start = 0
        self.end = 0
        self._ring: deque[Batch] = deque()
        self._ring_bytes = ring_bytes
        self._size = 0
        self._changed: dict[Key, int] = {}
        self._snapshot: tuple[int, Batch | None] | None = None
        self._since_snapshot = 0

    def append(self, batch: Batch, keys: Iterable[Key]) -> None:
        """A batch, and the prefixes that are in it."""
        changed, number = self._changed, self.end
        for key in keys:
            changed.pop(key, None)
            changed[key] = number
        self._ring.append(batch)
        self.end += 1
        self._size += batch.size
        self._since_snapshot += batch.size
        while self._size > self._ring_bytes and len(self._ring) > 1:
            self._size -= self._ring.popleft().size
            self.start += 1

    def batch(self, number: int) -> Batch:
        """The batch of that number; it must not have left the ring."""
        return self._ring[number - self.start]

    def changed_since(self, number: int) -> list[Key]:
        """The prefixes in the batch of that number or a later one."""
        found = []
        for key in reversed(self._changed):
            if self._changed[key] < number:
                break
            found.append(key)
        return found

    def forget_before(self, number: int) -> None:
        """No reader will ask for changes older than `number`."""
        old = []
        for key, changed in self._changed.items():
            if changed >= number:
                break
            old.append(key)
        for key in old:
            del self._changed[key]

    @property
    def snapshot(self) -> tuple[int, Batch | None] | None:
        """(number of the first batch that is not in it, the whole table) while it is worth using; else None."""
        if self._snapshot is None or self._snapshot[0] < self.start:
            return None
        batch = self._snapshot[1]
        if self._since_snapshot > max(_SHORT_LOG, batch.size if batch else 0):
            return None
        return self._snapshot

    def keep_snapshot(self, batch: Batch | None) -> tuple[int, Batch | None]:
        """The table as it is after the last batch."""
        self._snapshot = (self.end, batch)
        self._since_snapshot = 0
        return self._snapshot
