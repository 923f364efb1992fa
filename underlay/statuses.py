"""Keeps the statuses of what is declared as conditions.py has them, where the store keeps statuses.

What was there is read when one of these objects has changed, and remembered in between: reports, which come all the
time, cost no request unless a status is another one. Each write is told to every process that watches the kind, so
looks are seconds apart. The plan is made anew when a declaration has changed, of a large one beside this process
(judging.py): a compiler that remembers would hold more than the plan is worth here. What was judged before stays until
there is another.

Whether a report is overdue is judged by the time for which it has not changed here: clocks that differ or jump do no
harm. Only of those that were there before the first look its own time is believed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import cast

from peering.resources.catalog import PLAN_KINDS
from peering.resources.observed import BGPNodeStatusSpec
from peering.store.protocol import NotFound, Store, Stored
from peering.store.resources import to_resource
from underlay.conditions import KINDS, Before, Declared, End, State, is_same, status_of
from underlay.judging import judged
from underlay.node_events import NodeEvents
from underlay.reports import OVERDUE_S

REPORT = "BGPNodeStatus"
#: What a status is made of.
WATCHED = frozenset((*PLAN_KINDS, REPORT))
_PLANNED, _TOLD = frozenset(PLAN_KINDS), frozenset(KINDS)


_Rows = tuple[tuple[str, State], ...]


@dataclass(frozen=True, slots=True)
class _Report:
    """What is needed of a report: kept in place of it, since there is one of each node.

    `rows` are its sessions with their states, which the nodes of a rack have alike, and then are one object.
    """

    version: int
    late_at: float
    node: str = ""
    rows: _Rows = ()


class Statuses:
    """Of one store, for as long as one controller leads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changed: set[str] = set(WATCHED)
        self._before: dict[tuple[str, str], Before] = {}
        self._facts = Declared({}, {})
        self._reports: dict[str, _Report] | None = None
        self._nodes = NodeEvents(store)

    def notice(self, kinds: Iterable[str]) -> None:
        """Objects of these kinds have changed."""
        self._changed |= WATCHED.intersection(kinds)

    async def write(self, now: float, elapsed: float) -> int:
        """Writes the statuses that are others now; how many. Raises StoreError, OSError (judging.py).

        `now` is Unix time, `elapsed` that of a clock that never jumps; both in seconds.
        """
        await self._read()
        self._nodes.tell(self._facts.problems, elapsed)
        states = await self._states(now, elapsed)
        written = 0
        for (kind, name), before in list(self._before.items()):
            status = status_of(f"{kind}/{name}", self._facts, states, before, now)
            if is_same(status, before.status):
                continue
            try:
                await self._store.apply_status(kind, name, status)
            except NotFound:
                del self._before[kind, name]
                continue
            self._before[kind, name] = replace(before, status=status)
            written += 1
        return written

    async def _read(self) -> None:
        """What was there is read first: its generation is then never one that was not judged."""
        changed, self._changed = self._changed, set()
        try:
            if changed & _TOLD:
                self._before = {
                    (kind, name): Before(told.generation, told.status)
                    for kind in KINDS
                    for name, told in (await self._store.statuses(kind)).items()
                }
            if changed & _PLANNED:
                objects, _ = await self._store.snapshot(PLAN_KINDS)
                self._facts = await judged(objects)
        except BaseException:
            self._changed |= changed
            raise

    async def _states(self, now: float, elapsed: float) -> dict[End, State]:
        """What is known of each session. Nothing is of those whose report is overdue."""
        known = self._reports
        alike = {one.rows: one.rows for one in (known or {}).values()}
        found = await self._store.list(REPORT)
        self._reports = {}
        for stored in found:
            report = (known or {}).get(stored.name)
            if report is None or report.version != stored.version:
                report = _read_report(stored, elapsed, None if known is not None else now, alike)
            self._reports[stored.name] = report
        return {
            (report.node, session): state
            for report in self._reports.values()
            if elapsed < report.late_at
            for session, state in report.rows
        }


def _read_report(stored: Stored, elapsed: float, now: float | None, alike: dict[_Rows, _Rows]) -> _Report:
    """`now` is given where the report may have been there for long. One that cannot be read says nothing."""
    parsed = to_resource(stored)
    if isinstance(parsed, list):
        return _Report(stored.version, elapsed)
    spec = cast(BGPNodeStatusSpec, parsed.spec)
    age = 0.0 if now is None else max(0.0, now - spec.reported)
    rows = tuple((row.session, row.state) for row in spec.sessions)
    return _Report(stored.version, elapsed + OVERDUE_S - age, spec.node, alike.setdefault(rows, rows))
