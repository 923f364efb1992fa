"""Follows the store for one reflector: tells each desired set that differs from the one before.

What is told is always good. A reading with an error that concerns the reflector, or with a document that cannot be
read and may have been a part of it, changes nothing: the last good declaration stays in force, and at a start the one
on disk (saved_plan.py). So it is while the store is away. Each problem is told when it comes up, and not again.

One reading in which all sessions are gone may be wrong (a list that came back empty), and would end them all: it
counts when a second one says the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from peering.memo import Memo
from peering.problems import Problem
from peering.store.protocol import Store, StoreError
from reflector.configuration import ReflectorConfiguration
from reflector.declaration import Declaration
from reflector.desired import Desired
from reflector.plan_configuration import passwords_in
from reflector.plan_reader import WATCHED, PlanReader, Reading
from reflector.saved_plan import SavedPlan

Log = Callable[..., None]

_WILL_HEAL = (OSError, StoreError, TimeoutError)
_FIRST_RETRY_S, _LAST_RETRY_S = 0.1, 10.0
_WATCH_AGAIN_S = 1.0
_GONE_TWICE_S = 1.0
#: Between two readings lies the time that the first one took, and so long at least.
_SHORTEST_REST_S = 0.02


@dataclass(frozen=True, slots=True)
class NothingToRun:
    """The store was read, and there is nothing that a reflector could start with."""

    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Made:
    """What follows from a declaration."""

    declaration: Declaration
    configuration: ReflectorConfiguration
    objections: tuple[Problem, ...]


class PlanFollower:
    """Tells a `Desired` at the beginning and after each change, and a `NothingToRun` only while there was none yet."""

    def __init__(
        self, store: Store, name: str, saved: SavedPlan, tell: Callable[[Desired | NothingToRun], None], log: Log
    ) -> None:
        self._store = store
        self._name = name
        self._saved = saved
        self._tell = tell
        self._log = log
        self._reader = PlanReader(store, name)
        self._memo = Memo()
        self._woken = asyncio.Event()
        self._good: Declaration | None = None
        self._made: _Made | None = None
        self._on_disk: Declaration | None = None
        self._told: Desired | NothingToRun | None = None
        self._said: frozenset[Problem] = frozenset()
        self._unsaved = ""

    def look(self) -> None:
        """Reads the store again soon, whether it changed or not."""
        self._woken.set()

    async def run(self) -> None:
        """Works until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            group.create_task(self._work())

    async def _watch(self) -> None:
        """Wakes for changes of the store; a lost watch is begun again. That the store is away is told by `_work`."""
        while True:
            try:
                _, since = await self._store.snapshot(())
                self._woken.set()
                async for _ in self._store.watch(WATCHED, since):
                    self._woken.set()
            except _WILL_HEAL:
                self._woken.set()
            await asyncio.sleep(_WATCH_AGAIN_S)

    async def _work(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            took = await self._until_read()
            await asyncio.sleep(max(_SHORTEST_REST_S, took))

    async def _until_read(self) -> float:
        """How many seconds the reading took that came to its end."""
        delay, said = _FIRST_RETRY_S, ""
        while True:
            began = time.monotonic()
            try:
                await self._read()
            except _WILL_HEAL as error:
                if str(error) != said:
                    said = str(error)
                    self._log("store-away", level="warning", error=said)
                self._start_without_store()
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LAST_RETRY_S)
            else:
                if said:
                    self._log("store-back")
                return time.monotonic() - began

    async def _read(self) -> None:
        reading = await self._reader.read()
        if not reading.errors and _sessions_of(self._good) and not _sessions_of(reading.declaration):
            await asyncio.sleep(_GONE_TWICE_S)
            reading = await self._reader.read()
        problems = [*reading.errors, *reading.unreadable]
        declaration = self._in_force(reading, problems)
        if declaration is None:
            self._tell_if_new(NothingToRun(tuple(problems)))
            return
        made = self._make(declaration)
        passwords, missing = await self._reader.passwords(passwords_in(made.configuration))
        self._say([*problems, *made.objections, *missing])
        self._tell_if_new(Desired(made.configuration, passwords, "store"))
        if not problems:
            self._save(declaration)

    def _in_force(self, reading: Reading, problems: list[Problem]) -> Declaration | None:
        """What holds after a reading. Problems of the file on disk are added to the others."""
        if problems and self._good is None:
            self._good = self._from_disk(problems)
        if not reading.errors and (self._good is None or not reading.unreadable):
            self._good = reading.declaration
        return self._good

    def _from_disk(self, problems: list[Problem]) -> Declaration | None:
        saved = self._saved.read()
        if isinstance(saved, Problem):
            problems.append(saved)
            return None
        self._on_disk = saved
        return saved

    def _start_without_store(self) -> None:
        """The store is away and nothing is in force yet: what was saved is."""
        if self._good is not None:
            return
        problems: list[Problem] = []
        self._good = self._from_disk(problems)
        self._say(problems)
        if self._good is not None:
            self._log("saved-plan-used", file=str(self._saved.path))
            self._tell_if_new(Desired(self._make(self._good).configuration, {}, "saved"))

    def _make(self, declaration: Declaration) -> _Made:
        """Where only owners changed, as with every new block, the rest is as it was."""
        last = self._made
        if last is None or not _differ_in_owners_only(last.declaration, declaration):
            last = _Made(declaration, declaration.configuration(self._memo), declaration.objections())
        elif last.declaration is not declaration:
            last = _Made(declaration, replace(last.configuration, owners=declaration.owners), last.objections)
        self._made = last
        return last

    def _tell_if_new(self, message: Desired | NothingToRun) -> None:
        if message != self._told:
            self._told = message
            self._tell(message)

    def _say(self, problems: Iterable[Problem]) -> None:
        """Each problem that was not there the last time."""
        now = frozenset(problems)
        for problem in dict.fromkeys(problems):
            if problem not in self._said:
                self._log("problem", level=problem.severity, code=problem.code, problem=problem.line())
        if self._said and not now:
            self._log("problems-over")
        self._said = now

    def _save(self, declaration: Declaration) -> None:
        if declaration is self._on_disk or declaration == self._on_disk:
            return
        try:
            self._saved.save(declaration)
        except OSError as error:
            if str(error) != self._unsaved:
                self._unsaved = str(error)
                self._log("plan-not-saved", level="warning", file=str(self._saved.path), error=self._unsaved)
        else:
            self._on_disk, self._unsaved = declaration, ""


def _differ_in_owners_only(one: Declaration, other: Declaration) -> bool:
    return one.plan is other.plan and (one.filters, one.relays) == (other.filters, other.relays)


def _sessions_of(declaration: Declaration | None) -> int:
    return len(declaration.plan.sessions) if declaration else 0
