"""What has happened since the start, as numbers that only grow. Labels are of a fixed set, whatever peers say. Pure."""

from __future__ import annotations

from collections import Counter

from reflector.engine.peer import PeerState
from reflector.session.events import SessionClosed
from reflector.session.states import ESTABLISHED, OPEN_CONFIRM, OPEN_SENT, Input

_CAUSES = {Input.CONNECTION_FAILS: "connection lost", Input.REPLACED: "replaced by a new connection"}


class Counters:
    """`started` is when, by the clock of the loop. `updates` and `faults` are those of sessions that are over.

    `ended` counts Established sessions, `failed` connections that never became one, both by what ended them.
    """

    def __init__(self) -> None:
        self.started = 0.0
        self.refused: Counter[str] = Counter()
        self.established = 0
        self.ended: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.updates = 0
        self.faults = 0
        self.limits_exceeded = 0
        self.rounds = 0
        self.publishing = 0.0

    def closed(self, event: SessionClosed, state: PeerState | None) -> None:
        """A session is over."""
        if event.state is ESTABLISHED:
            self.ended[end_of(event)] += 1
            if state is not None:
                self.updates += state.updates
                self.faults += state.faults
        elif event.state in (OPEN_SENT, OPEN_CONFIRM):
            self.failed[end_of(event)] += 1

    def published(self, seconds: float) -> None:
        """A round of publishing and writing."""
        self.rounds += 1
        self.publishing += seconds


def end_of(event: SessionClosed) -> str:
    """`sent cease, administrative reset`, or what happened where no NOTIFICATION was."""
    if event.notification is None:
        return _CAUSES.get(event.cause, event.cause.value)
    name = event.notification.name
    return f"{'sent' if event.sent else 'received'} {'an unknown notification' if 'subcode' in name else name}"
