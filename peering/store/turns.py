"""Whose turn it is to write, among all processes of the machine: the kernel's queue (flock(2)), for SQLite has none.

Whoever finds SQLite's lock taken sleeps and looks again. With many processes on few cores most of the time went into
looking in vain, and into waking up for it in place of the one that had the lock. So a writer takes its turn first, and
the kernel wakes one when it ends. The turn is a lock of the folder: SQLite's own locks of the file are gone as soon as
anybody in the process closes the file. It protects nothing, SQLite does that: who writes without a turn only waits the
old way.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

#: A transaction takes a tenth of a millisecond, so the turn before may end after some more looks.
_LOOKS = 10
#: Who does not get it then stays away before it queues: if one is woken at the end of each turn, processes change
#: places with every transaction. They get a fifth more done when each writes for a while.
_PAUSE_S = 0.02


class Turns:
    """The turns of one event loop (`at_once`) and of one thread beside it (`wait`), which take turns as well."""

    def __init__(self, folder: Path) -> None:
        self._at_once = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        self._wait = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)

    def at_once(self, work: Callable[[], T]) -> T:
        """Does the work if the turn is free, or is in a moment. Raises BlockingIOError when it is not."""
        for _ in range(_LOOKS - 1):
            try:
                return self._work(work, self._at_once, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.sched_yield()  # on a busy machine, whoever has the turn waits for a core
        return self._work(work, self._at_once, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def wait(self, work: Callable[[], T]) -> T:
        """Does the work when all before it have done theirs, however long that takes."""
        try:
            return self._work(work, self._wait, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_S)
        return self._work(work, self._wait, fcntl.LOCK_EX)

    def close(self) -> None:
        """Lets go of the folder."""
        os.close(self._at_once)
        os.close(self._wait)

    def _work(self, work: Callable[[], T], place: int, how: int) -> T:
        fcntl.flock(place, how)
        try:
            return work()
        finally:
            fcntl.flock(place, fcntl.LOCK_UN)
