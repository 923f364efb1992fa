"""What strangers can make happen as often as they like, in the log a few times: a RefusalLog with its clock."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any

from peering.prefixes import Address, format_address, format_prefix
from reflector.engine.claims import Log
from reflector.server.refusal_log import RefusalLog

#: Of a connection that was let in and came to nothing, since what was said on it was wrong.
SESSION_FAILED = "session-failed"
#: Of one that was not let in.
REFUSED = "connection-refused"


class RefusalTeller:
    """Tells at once of the first of its kind from a network, and of the others together when a minute is over."""

    def __init__(self, log: Log, refusals: RefusalLog | None = None) -> None:
        self._log = log
        self._refusals = refusals or RefusalLog()
        self._timer: asyncio.TimerHandle | None = None

    def note(self, address: Address, code: str, text: str) -> None:
        """Somebody at this address was refused, or has failed (`SESSION_FAILED`). In a running loop."""
        loop = asyncio.get_running_loop()
        if self._refusals.note(address, code, text, loop.time()) is not None:
            self._tell_of(code, reason=text, peer=format_address(address))
        if self._timer is None:
            self._timer = loop.call_at(self._refusals.deadline(), self._tell)

    def close(self) -> None:
        """What was counted and not told is told now."""
        if self._timer is not None:
            self._timer.cancel()
            self._tell_due(inf)

    def _tell(self) -> None:
        loop = asyncio.get_running_loop()
        self._tell_due(loop.time())
        deadline = self._refusals.deadline()
        self._timer = loop.call_at(deadline, self._tell) if deadline < inf else None

    def _tell_due(self, now: float) -> None:
        for line in self._refusals.due(now):
            network = "others" if line.network is None else format_prefix(line.network)
            self._tell_of(line.code, reason=line.text, network=network, times=line.times)

    def _tell_of(self, code: str, **fields: Any) -> None:
        if code == SESSION_FAILED:
            self._log(SESSION_FAILED, **fields)
        else:
            self._log(REFUSED, code=code, **fields)
