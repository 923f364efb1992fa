"""Starts ExaBGP with a reconnect delay that suits a data centre. Run by path: exabgp_launch.py server FILE.

ExaBGP waits 0, 1, 2, 3, 4, 5, 7, 9 ... 60 s between attempts to reach a peer that refuses, and leaves a connection
attempt that nobody answers to the kernel, which repeats its SYN at ever longer intervals for two minutes.
After a switch has been away for some minutes, a node would come back up to a minute after it. No setting
changes either, and a reload resets the delay only by resetting the session as well. So two things are changed
in memory, before ExaBGP's own `main` runs:

- the delay stops growing at MAX_DELAY seconds;
- an attempt is given up after SYN_RETRIES repetitions of the SYN (Linux TCP_SYNCNT; 2 is 7 s).

Both touch names that ExaBGP does not promise to keep. Where they are missing, ExaBGP runs as it is.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from typing import Any

from exabgp.application.main import main
from exabgp.reactor import delay
from exabgp.reactor.network import outgoing

MAX_DELAY = 2
SYN_RETRIES = 2


def limit_delay() -> None:
    """Caps the seconds that Delay.increase adds."""
    kind = getattr(delay, "Delay", None)
    grow = getattr(kind, "increase", None)
    if kind is None or grow is None:
        return

    def increase(self: Any) -> None:
        grow(self)
        self._next = min(getattr(self, "_next", 0), MAX_DELAY)

    kind.increase = increase


def limit_connection_attempts() -> None:
    """Sets TCP_SYNCNT on every socket that ExaBGP opens towards a peer."""
    create = getattr(outgoing, "create", None)
    if create is None:
        return

    def create_impatient(*arguments: Any, **options: Any) -> Any:
        connection = create(*arguments, **options)
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, SYN_RETRIES)
        return connection

    outgoing.create = create_impatient


if __name__ == "__main__":
    limit_delay()
    limit_connection_attempts()
    sys.argv[0] = "exabgp"
    sys.exit(main())
