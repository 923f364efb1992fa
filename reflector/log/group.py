"""An update group: the peers that are told the same of one address family, in the same bytes.

Whoever joins or catches up is told the table as of the last batch. Changes that are not published yet must be published
first: a prefix that changes and changes back before the next batch is in none, and one who saw it in between would be
left with that. Joiners that come at once are best let in together, behind one batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from weakref import WeakKeyDictionary

from reflector.log.batch import Batch, Language, encode_exchange, encode_news, encode_state
from reflector.log.outbox import Cursor, Outbox
from reflector.log.route_log import RING_BYTES, RouteLog, Touched
from reflector.log.shape import News, Nlri, Slot
from reflector.rib.changes import Changes
from reflector.rib.route import Route, Source
from reflector.rib.table import Table


class UpdateGroup:
    """`language` is what its members understand, and are to be told."""

    def __init__(self, table: Table, language: Language, ring_bytes: int = RING_BYTES) -> None:
        self.language = language
        self._table = table
        self._log = RouteLog(self._slowest, ring_bytes)
        self._members: set[Cursor] = set()
        self._exchanges: WeakKeyDictionary[UpdateGroup, tuple[tuple[int, int], Batch | None]] = WeakKeyDictionary()

    def __len__(self) -> int:
        return len(self._members)

    def join(self, outbox: Outbox, source: Source | None) -> Cursor:
        """A new member: it is told the whole table, then every batch behind it. Raises ValueError, see above."""
        cursor = Cursor(self._log, source)
        self._begin(outbox, cursor, exact=False)
        self._members.add(cursor)
        outbox.cursors.append(cursor)
        return cursor

    def leave(self, cursor: Cursor) -> None:
        self._members.discard(cursor)

    def tell_again(self, outbox: Outbox, cursor: Cursor) -> bool:
        """The whole table once more, behind what the member was still to be told; False when it is behind.

        Who asks for that forwards traffic by what it has, and must not be led through what was true a while ago.
        """
        self._check_published()
        if not outbox.pull(cursor):
            return False
        self._begin(outbox, cursor, exact=True)
        return True

    def publish(self, changes: Changes) -> bool:
        """Puts what changed (`Table.take_changes`) into the log; whether there was anything to tell."""
        shape = self.language.shape
        news = shape.news(self._table, changes)
        batch = encode_news(news, self.language)
        if batch is None:
            return False
        touched = changes.prefixes() if shape.plain else self._touched(changes)
        self._log.append(batch, touched, grows=not changes.before)
        return True

    def catch_up(self, outbox: Outbox, cursor: Cursor) -> None:
        """Tells a member that has lost its place what has changed since, as it is now. Raises ValueError."""
        self._check_published()
        slots = self._log.changed_since(cursor.position)
        outbox.begin(cursor, self._log.end, encode_state(self._now(slots), cursor.source, self.language))

    def take_over(self, outbox: Outbox, cursor: Cursor, before: UpdateGroup) -> Cursor:
        """A member of another group whose terms have changed: told what it would have been told here. Same table.

        The shapes of both groups may differ in the number of paths only.
        """
        self._check_published()
        moved = Cursor(self._log, cursor.source)
        if not outbox.pull(cursor):
            slots = before._log.changed_since(cursor.position)
            outbox.begin(moved, self._log.end, encode_state(self._now(slots), moved.source, self.language))
        outbox.begin(moved, self._log.end, self._exchange(before))
        before.leave(cursor)
        outbox.cursors.remove(cursor)
        self._members.add(moved)
        outbox.cursors.append(moved)
        return moved

    def _begin(self, outbox: Outbox, cursor: Cursor, *, exact: bool) -> None:
        self._check_published()
        number, batch = self._log.snapshot(exact=exact) or self._log.keep_snapshot(self._whole())
        outbox.begin(cursor, number, batch)

    def _slowest(self) -> int:
        return min((cursor.position for cursor in self._members), default=self._log.end)

    def _touched(self, changes: Changes) -> Touched:
        nlri = self.language.shape.nlri
        found: dict[Slot, Nlri] = {}
        for slot, before, now in self.language.shape.changes(self._table, changes):
            route = now or before
            if route is not None:
                found[slot] = nlri(slot, route)
        return found

    def _now(self, slots: Mapping[Slot, Nlri]) -> Iterator[tuple[Slot, Nlri, Route | None]]:
        now, table = self.language.shape.now, self._table
        for slot, nlri in slots.items():
            yield slot, nlri, now(table, slot)

    def _exchange(self, before: UpdateGroup) -> Batch | None:
        """What members of the other group are told on top; the same for all that come until anything changes."""
        ends = (before._log.end, self._log.end)
        known = self._exchanges.get(before)
        if known is None or known[0] != ends:
            known = ends, encode_exchange(self._table, before.language, self.language)
            self._exchanges[before] = known
        return known[1]

    def _check_published(self) -> None:
        if self._table.changed:
            raise ValueError("the table has changes that are not published")

    def _whole(self) -> Batch | None:
        return encode_news(News({}, {}, self.language.shape.whole(self._table)), self.language)
