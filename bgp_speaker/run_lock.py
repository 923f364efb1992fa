"""One agent in a run directory: a lock that the kernel lets go of when its process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class AlreadyRunning(Exception):
    """Another agent works in the same run directory."""


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Holds the run directory, which is made if it is not there. Raises AlreadyRunning."""
    run_dir.mkdir(parents=True, exist_ok=True)
    lock = os.open(run_dir / "agent.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise AlreadyRunning(f"another speaker works in {run_dir} (use --run-dir for a second one)") from None
    else:
        yield
    finally:
        os.close(lock)
