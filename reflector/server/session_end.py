"""The end of a session in words. Pure."""

from __future__ import annotations

from reflector.session.events import SessionClosed
from reflector.wire.errors import Cease, ErrorCode


def is_collision(event: SessionClosed) -> bool:
    """Nothing is wrong when one of two connections goes."""
    said = event.notification
    return said is not None and (said.code, said.subcode) == (ErrorCode.CEASE, Cease.CONNECTION_COLLISION)


def reason_of(event: SessionClosed) -> str:
    """For people: what was said, by whom, or what happened."""
    if event.notification is None:
        return event.reason or event.cause.value
    said = event.reason or event.notification.reason
    text = f"{'sent' if event.sent else 'received'} {event.notification.name}"
    return f"{text}: {said}" if said else text
