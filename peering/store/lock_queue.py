"""Who waits for a lock that SQLite has no queue for: one looks for it often, all others seldom.

SQLite sleeps and looks, in every process. With many of them on few cores much of the time goes into looking
in vain, and into waking up for it, often in place of the one that has the lock. Here it is whoever has the flock(2) of
the store's folder that looks often. The others look too, so that a process that is stopped in its turn stops nobody.
"""

from __future__ import annotations

import fcntl
import os
import random
import time
from pathlib import Path
from types import TracebackType

_OFTEN_S = 0.001
_SELDOM_S = (0.02, 0.04)


class LockQueue:
    """One wait of at most `at_most` seconds. Use as a context manager; for threads that may sleep."""

    def __init__(self, folder: Path, at_most: float) -> None:
        self._folder = folder
        self._deadline = time.monotonic() + at_most
        self._place: int | None = None
        self._first = False

    def __enter__(self) -> LockQueue:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._place is not None:
            os.close(self._place)

    def sleep(self) -> bool:
        """Until the lock should be looked at again; False when the time is over."""
        if time.monotonic() > self._deadline:
            return False
        self._first = self._first or self._is_first()
        time.sleep(_OFTEN_S if self._first else random.uniform(*_SELDOM_S))
        return True

    def _is_first(self) -> bool:
        try:
            if self._place is None:
                self._place = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(self._place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
