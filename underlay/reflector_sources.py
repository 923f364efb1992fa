"""Where a reflector's desired sets come from: a store that is followed, or the command line with its files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from peering.problems import Problem
from reflector.desired import Desired
from reflector.plan_configuration import passwords_in
from reflector.plan_follower import Log, NothingToRun
from reflector.plan_process import PlanProcess
from reflector.standalone import PASSWORD
from underlay.reflector_options import Given, Reader

Tell = Callable[[Desired | NothingToRun], None]


class Source(Protocol):
    """`run` tells each desired set, the first one too, until it is cancelled; `look` has it look again now."""

    async def run(self, tell: Tell) -> None: ...

    def look(self) -> None: ...


class StoreSource:
    """RouteReflector `name` of a store. `folder` is where the last good plan is kept.

    Secrets are in the store. While that is away from the start, `password_file` is what all sessions with a password
    are given; whose password is another one stays down.
    """

    def __init__(self, store: str, name: str, folder: Path, password_file: Path | None, log: Log) -> None:
        self._process = PlanProcess(store, name, folder, log)
        self._password_file = password_file
        self._log = log

    def look(self) -> None:
        self._process.look()

    async def run(self, tell: Tell) -> None:
        await self._process.run(lambda told: tell(self._with_password(told)))

    def _with_password(self, told: Desired | NothingToRun) -> Desired | NothingToRun:
        if isinstance(told, NothingToRun) or told.origin != "saved":
            return told
        reader = Reader()
        password = reader.password(self._password_file)
        log_problems(self._log, reader.problems)
        wanted = passwords_in(told.configuration)
        return replace(told, passwords=dict.fromkeys(wanted, password)) if password else told


class OptionsSource:
    """The second form: what `given` says, with the files that it names read again at every look.

    `first` is what they said at the start, `warnings` what was not as it should be. Where they are wrong now, what they
    said before stays. Large files take a while: they are read beside the sessions.
    """

    def __init__(self, given: Given, first: Desired, warnings: Iterable[Problem], log: Log) -> None:
        self._given = given
        self._desired = first
        self._warnings = tuple(warnings)
        self._log = log
        self._woken = asyncio.Event()

    def look(self) -> None:
        self._woken.set()

    async def run(self, tell: Tell) -> None:
        log_problems(self._log, self._warnings)
        tell(self._desired)
        while True:
            await self._woken.wait()
            self._woken.clear()
            desired, problems = await asyncio.to_thread(desired_of, self._given)
            log_problems(self._log, problems)
            if desired is not None and desired != self._desired:
                self._desired = desired
                tell(desired)


def desired_of(given: Given) -> tuple[Desired | None, list[Problem]]:
    """What the options and their files say, None where there is an error; and all problems, warnings too."""
    reader = Reader()
    found = reader.standalone(given)
    if found is None:
        return None, reader.problems
    standalone, password = found
    passwords = {PASSWORD: password} if password is not None else {}
    return Desired(standalone.configuration(), passwords, "options"), reader.problems


def log_problems(log: Log, problems: Iterable[Problem]) -> None:
    """As events: nothing is refused for them any more."""
    for problem in problems:
        log("problem", level=problem.severity, code=problem.code, problem=problem.line())
