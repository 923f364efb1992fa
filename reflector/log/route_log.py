"""The log of one group of peers and one family: batches in a ring, numbered, and the snapshot for who joins.

Cursors hold a number, not bytes. The ring is bounded in bytes; a cursor whose batch has left it has lost its place. For
those the log remembers in which batch a slot changed last, so that they can be told what it is now, and skip what it
was in between. Memory is bounded by the table and the ring, whatever readers do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping

from reflector.log.batch import Batch
from reflector.log.shape import Nlri, Slot

#: Bytes of batches that are kept for cursors that are behind.
RING_BYTES = 16 << 20
#: A snapshot is made anew when the log behind it is longer than this, and longer than the snapshot.
_SHORT_LOG = 1 << 20
#: What a source's slice costs beside its bytes.
_SLICE_BYTES = 100

Touched = Mapping[Slot, Nlri] | Collection[Slot]
"""The slots of a batch, with the NLRI that each was told of where that is another thing."""


class RouteLog:
    """`end` is the number that the next batch will get; `start` that of the oldest in the ring.

    `slowest` gives the lowest number that any cursor is at; it is asked when batches leave the ring.
    """

    def __init__(self, slowest: Callable[[], int], ring_bytes: int = RING_BYTES) -> None:
        self.start = 0
        self.end = 0
        self.last: Batch | None = None
        self._slowest = slowest
        self._ring: deque[tuple[Batch, Touched]] = deque()
        self._ring_bytes = ring_bytes
        self._size = 0
        self._left: dict[Slot, tuple[int, Nlri]] = {}
        self._snapshot: tuple[int, Batch | None] | None = None
        self._since_snapshot = 0
        self._only_grown = True

    def append(self, batch: Batch, touched: Touched, *, grows: bool = False) -> None:
        """A batch, and the slots that are in it. `grows`: all of them are new."""
        self.last = batch
        self._only_grown &= grows
        self._ring.append((batch, touched))
        self.end += 1
        self._size += _cost(batch)
        self._since_snapshot += batch.size
        if self._size > self._ring_bytes and len(self._ring) > 1:
            self._shorten()

    def _shorten(self) -> None:
        slowest = self._slowest()
        self._forget_before(slowest)
        while self._size > self._ring_bytes and len(self._ring) > 1:
            batch, touched = self._ring.popleft()
            self._size -= _cost(batch)
            if self.start >= slowest:
                for slot, nlri in _pairs(touched):
                    self._left.pop(slot, None)
                    self._left[slot] = (self.start, nlri)
            self.start += 1

    def batch(self, number: int) -> Batch:
        """The batch of that number; it must not have left the ring."""
        return self._ring[number - self.start][0]

    def changed_since(self, number: int) -> dict[Slot, Nlri]:
        """The slots in the batch of that number or a later one, each with its last NLRI."""
        found: dict[Slot, Nlri] = {}
        for slot, (changed, nlri) in reversed(self._left.items()):
            if changed < number:
                break
            found[slot] = nlri
        for index in range(max(0, number - self.start), len(self._ring)):
            found.update(_pairs(self._ring[index][1]))
        return found

    def _forget_before(self, number: int) -> None:
        """No cursor will ask for changes older than `number`."""
        old = []
        for slot, (changed, _) in self._left.items():
            if changed >= number:
                break
            old.append(slot)
        for slot in old:
            del self._left[slot]

    def snapshot(self, *, exact: bool) -> tuple[int, Batch | None] | None:
        """(number of the first batch that is not in it, the whole table) while it is worth using; else None.

        `exact`: with the batches behind it, it says nothing that was true once and is not any more.
        """
        if self._snapshot is None or self._snapshot[0] < self.start or (exact and not self._only_grown):
            return None
        batch = self._snapshot[1]
        if self._since_snapshot > max(_SHORT_LOG, batch.size if batch else 0):
            return None
        return self._snapshot

    def keep_snapshot(self, batch: Batch | None) -> tuple[int, Batch | None]:
        """The table as it is after the last batch."""
        self._snapshot = (self.end, batch)
        self._since_snapshot = 0
        self._only_grown = True
        return self._snapshot


def _cost(batch: Batch) -> int:
    return batch.size + _SLICE_BYTES * len(batch.bounds)


def _pairs(touched: Touched) -> Iterable[tuple[Slot, Nlri]]:
    return touched.items() if isinstance(touched, Mapping) else ((slot, slot) for slot in touched)
