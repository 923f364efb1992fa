"""An update group: the peers that are told the same of one address family, in the same bytes.

Whoever joins or catches up is told the table as of the last batch. Changes that are not published yet must be published
first: a prefix that changes and changes back before the next batch is in none, and one who saw it in between would be
left with that.
"""

from __future__ import annotations

from collections.abc import Mapping

from reflector.log.batch import Batch, Encode, Export, encode_batch, encode_state
from reflector.log.reader import Reader
from reflector.log.route_log import RING_BYTES, RouteLog
from reflector.rib.route import Key, Source
from reflector.rib.table import Paths, Table, best_of


class UpdateGroup:
    """`export` says how a route is told to this group, `encode` makes messages its members understand."""

    def __init__(self, table: Table, export: Export, encode: Encode, ring_bytes: int = RING_BYTES) -> None:
        self._table = table
        self._export = export
        self._encode = encode
        self._log = RouteLog(ring_bytes)
        self._readers: set[Reader] = set()

    def __len__(self) -> int:
        return len(self._readers)

    def join(self, source: Source | None) -> Reader:
        """A new member: it is told the whole table, then every batch behind it. Raises ValueError, see above."""
        self._check_published()
        reader = Reader(self._log, source)
        snapshot = self._log.snapshot or self._log.keep_snapshot(self._whole())
        reader.begin(*snapshot)
        self._readers.add(reader)
        return reader

    def leave(self, reader: Reader) -> None:
        self._readers.discard(reader)

    def publish(self, changes: Mapping[Key, Paths]) -> bool:
        """Puts what changed (`Table.take_changes`) into the log; whether there was anything to tell."""
        paths = self._table.paths
        batch = encode_batch(
            ((key, best_of(before), best_of(paths.get(key))) for key, before in changes.items()),
            self._export,
            self._encode,
        )
        if batch is None:
            return False
        self._log.append(batch, changes)
        self._log.forget_before(min((reader.position for reader in self._readers), default=self._log.end))
        return True

    def catch_up(self, reader: Reader) -> None:
        """Tells a reader that is `behind` what has changed since its place, as it is now. Raises ValueError."""
        self._check_published()
        paths = self._table.paths
        keys = self._log.changed_since(reader.position)
        state = encode_state(
            ((key, best_of(paths.get(key))) for key in keys), reader.source, self._export, self._encode
        )
        reader.begin(self._log.end, state)

    def _check_published(self) -> None:
        if self._table.changed:
            raise ValueError("the table has changes that are not published")

    def _whole(self) -> Batch | None:
        changes = ((key, None, best_of(paths)) for key, paths in self._table.paths.items())
        return encode_batch(changes, self._export, self._encode)
