"""How many files the process may have open, which is how many clients fit: each connection is one."""

from __future__ import annotations

import resource

#: What is open besides connections of clients: listening sockets, the store, the admin socket and who talks to it,
#: scrapes of metrics, state files, the interpreter's own.
RESERVED = 128


def raise_file_limit() -> int:
    """Raises the soft limit to the hard one, which anybody may; what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def connections_that_fit(limit: int) -> int:
    """Of a limit of open files."""
    return max(0, limit - RESERVED)
