"""NOTIFICATION (RFC 4271, 4.5), its names for logs, and the reason in words that a Cease may carry (RFC 9003)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from reflector.wire.errors import (
    Cease,
    ErrorCode,
    FsmError,
    HeaderError,
    OpenError,
    RefreshError,
    ResetSession,
    UpdateError,
)

#: The longest reason in words, in bytes of UTF-8.
MAX_REASON = 255
_HARD_RESET = (ErrorCode.CEASE, Cease.HARD_RESET)
#: What a reason is in: RFC 9003, 2.
_WITH_REASON = (Cease.ADMINISTRATIVE_SHUTDOWN, Cease.ADMINISTRATIVE_RESET)

_SUBCODES: dict[int, type[IntEnum]] = {
    ErrorCode.MESSAGE_HEADER: HeaderError,
    ErrorCode.OPEN_MESSAGE: OpenError,
    ErrorCode.UPDATE_MESSAGE: UpdateError,
    ErrorCode.FINITE_STATE_MACHINE: FsmError,
    ErrorCode.CEASE: Cease,
    ErrorCode.ROUTE_REFRESH_MESSAGE: RefreshError,
}


@dataclass(frozen=True, slots=True)
class Notification:
    """Why a session ends."""

    code: int
    subcode: int = 0
    data: bytes = b""

    def encode(self) -> bytes:
        """The body; what does not fit a message of 4,096 bytes is cut off."""
        return bytes((self.code, self.subcode)) + self.data[:4075]

    @property
    def enclosed(self) -> Notification | None:
        """What a Cease/Hard Reset stands for (RFC 8538, 3.1). Without one, and with another Hard Reset in it, None."""
        if (self.code, self.subcode) != _HARD_RESET or len(self.data) < 2 or tuple(self.data[:2]) == _HARD_RESET:
            return None
        return Notification(self.data[0], self.data[1], self.data[2:])

    @property
    def name(self) -> str:
        """`"cease, administrative shutdown"`; numbers where there is no name; what a Hard Reset stands for."""
        within = self.enclosed
        return f"{self._own_name} ({within.name})" if within else self._own_name

    @property
    def _own_name(self) -> str:
        try:
            code = _words(ErrorCode(self.code))
        except ValueError:
            return f"code {self.code}, subcode {self.subcode}"
        subcodes = _SUBCODES.get(self.code)
        if subcodes is None or self.subcode == 0:
            return code
        try:
            return f"{code}, {_words(subcodes(self.subcode))}"
        except ValueError:
            return f"{code}, subcode {self.subcode}"

    @property
    def reason(self) -> str:
        """The reason in words; empty without one, or when it is none."""
        within = self.enclosed
        if within:
            return within.reason
        if self.code != ErrorCode.CEASE or self.subcode not in _WITH_REASON or not self.data:
            return ""
        text = self.data[1 : 1 + self.data[0]]
        return text.decode(errors="replace") if len(text) == self.data[0] else ""


def decode_notification(body: bytes) -> Notification:
    """The NOTIFICATION in a message's body. Never raises: nothing may answer a NOTIFICATION (RFC 4271, 6.4)."""
    padded = body[:2].ljust(2, b"\0")
    return Notification(padded[0], padded[1], body[2:])


def shutdown(reason: str = "", subcode: Cease = Cease.ADMINISTRATIVE_SHUTDOWN) -> Notification:
    """A Cease that says why; a reason that is too long is cut between characters."""
    text = reason.encode()[:MAX_REASON].decode(errors="ignore").encode()
    return Notification(ErrorCode.CEASE, subcode, bytes((len(text),)) + text if text else b"")


def notification_of(error: ResetSession) -> Notification:
    """What to send for an error."""
    return Notification(error.code, error.subcode, error.data)


def _words(value: IntEnum) -> str:
    return value.name.lower().replace("_", " ")
