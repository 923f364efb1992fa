"""What can be wrong with a message, in three strengths, and the codes that end a session.

RFC 7606 orders its approaches: *attribute discard* < *treat-as-withdraw* < *session reset*. The first two are a `Fault`
that stands beside what could be used of the UPDATE; the last is an exception. *AFI/SAFI disable* (RFC 7606, 2) is not
used: it leaves a family silent until somebody resets the session, and a reset heals by itself.

Codes and subcodes: RFC 4271, 6; 4486 and 9384 (Cease), 6608 (FSM), 7313 (route refresh), 8538, 9687.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Strength(IntEnum):
    """How much of an UPDATE a fault costs; the strongest of several counts (RFC 7606, 3 h)."""

    DISCARD = 1
    WITHDRAW = 2
    RESET = 3


class ErrorCode(IntEnum):
    """First byte of a NOTIFICATION."""

    MESSAGE_HEADER = 1
    OPEN_MESSAGE = 2
    UPDATE_MESSAGE = 3
    HOLD_TIMER_EXPIRED = 4
    FINITE_STATE_MACHINE = 5
    CEASE = 6
    ROUTE_REFRESH_MESSAGE = 7
    SEND_HOLD_TIMER_EXPIRED = 8


class HeaderError(IntEnum):
    """Subcodes of MESSAGE_HEADER."""

    NOT_SYNCHRONIZED = 1
    BAD_LENGTH = 2
    BAD_TYPE = 3


class OpenError(IntEnum):
    """Subcodes of OPEN_MESSAGE."""

    UNSPECIFIC = 0
    UNSUPPORTED_VERSION = 1
    BAD_PEER_AS = 2
    BAD_BGP_IDENTIFIER = 3
    UNSUPPORTED_PARAMETER = 4
    UNACCEPTABLE_HOLD_TIME = 6
    UNSUPPORTED_CAPABILITY = 7
    ROLE_MISMATCH = 11


class UpdateError(IntEnum):
    """Subcodes of UPDATE_MESSAGE."""

    MALFORMED_ATTRIBUTE_LIST = 1
    UNRECOGNIZED_WELL_KNOWN = 2
    MISSING_WELL_KNOWN = 3
    ATTRIBUTE_FLAGS = 4
    ATTRIBUTE_LENGTH = 5
    INVALID_ORIGIN = 6
    INVALID_NEXT_HOP = 8
    OPTIONAL_ATTRIBUTE = 9
    INVALID_NETWORK_FIELD = 10
    MALFORMED_AS_PATH = 11


class FsmError(IntEnum):
    """Subcodes of FINITE_STATE_MACHINE: the state in which the message was unexpected (RFC 6608)."""

    UNSPECIFIC = 0
    OPEN_SENT = 1
    OPEN_CONFIRM = 2
    ESTABLISHED = 3


class Cease(IntEnum):
    """Subcodes of CEASE (RFC 4486, 8538, 9384)."""

    UNSPECIFIC = 0
    MAXIMUM_PREFIXES = 1
    ADMINISTRATIVE_SHUTDOWN = 2
    PEER_DECONFIGURED = 3
    ADMINISTRATIVE_RESET = 4
    CONNECTION_REJECTED = 5
    OTHER_CONFIGURATION_CHANGE = 6
    CONNECTION_COLLISION = 7
    OUT_OF_RESOURCES = 8
    HARD_RESET = 9
    BFD_DOWN = 10


class RefreshError(IntEnum):
    """Subcodes of ROUTE_REFRESH_MESSAGE (RFC 7313, 5)."""

    INVALID_LENGTH = 1


class ResetSession(Exception):
    """The session must end with NOTIFICATION `code`/`subcode` and `data`. `reason` is for the log, one line."""

    def __init__(self, code: int, subcode: int, data: bytes = b"", reason: str = "") -> None:
        super().__init__(f"{code}/{subcode} {reason}".rstrip())
        self.code = int(code)
        self.subcode = int(subcode)
        self.data = data
        self.reason = reason


class Fault(NamedTuple):
    """Something wrong in an UPDATE that leaves the session up.

    `subcode` (of UPDATE_MESSAGE) and `data` are what a NOTIFICATION would have said, and says where RFC 7606 (5.2)
    makes a reset of it.
    """

    strength: Strength
    text: str
    subcode: int
    data: bytes = b""


class Malformed(ValueError):
    """A path attribute's value is not what it must be; how much that costs is said by the attribute's table row."""

    def __init__(self, subcode: UpdateError, text: str) -> None:
        super().__init__(text)
        self.subcode = subcode


def reset_by(fault: Fault) -> ResetSession:
    """The fault as the end of the session."""
    return ResetSession(ErrorCode.UPDATE_MESSAGE, fault.subcode, fault.data, fault.text)
