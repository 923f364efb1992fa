"""Messages in a stream of bytes (RFC 4271, 4.1 and 6.1; RFC 8654 for lengths above 4,096).

The header is judged as soon as its 19 bytes are there; nothing waits for a body that must not come. Bytes are copied
once per message, whatever pieces they come in.
"""

from __future__ import annotations

from collections.abc import Iterator

from reflector.wire.errors import ErrorCode, HeaderError, ResetSession

MARKER = b"\xff" * 16
HEADER_LENGTH = 19
MAX_LENGTH = 4096
MAX_EXTENDED_LENGTH = 65535

OPEN, UPDATE, NOTIFICATION, KEEPALIVE, ROUTE_REFRESH = 1, 2, 3, 4, 5

#: Least and greatest length of each type; the greatest is None where it is what was negotiated. An OPEN and a KEEPALIVE
#: are never extended (RFC 8654, 4). The length of a ROUTE-REFRESH has an error code of its own: route_refresh.py.
_LENGTHS: dict[int, tuple[int, int | None]] = {
    OPEN: (29, MAX_LENGTH),
    UPDATE: (23, None),
    NOTIFICATION: (21, None),
    KEEPALIVE: (19, 19),
    ROUTE_REFRESH: (19, None),
}

Message = tuple[int, bytes]


class Framer:
    """Cuts what comes from a peer into messages. `max_length` may be raised after the OPENs."""

    def __init__(self, max_length: int = MAX_LENGTH) -> None:
        self.max_length = max_length
        self._pending = bytearray()
        self._needed = HEADER_LENGTH

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yields (type, body without header) of each message that is complete now.

        Raises ResetSession, after all messages before the bad one were yielded. To be consumed to the end; it is
        useless after an exception.
        """
        if self._pending:
            self._pending += data
            if len(self._pending) < self._needed:
                return
            data = bytes(self._pending)
            self._pending.clear()
        position, end = 0, len(data)
        while end - position >= HEADER_LENGTH:
            length = data[position + 16] << 8 | data[position + 17]
            kind = data[position + 18]
            least, greatest = _LENGTHS.get(kind, (0, None))
            if (
                not least <= length <= (greatest or self.max_length)
                or length > self.max_length
                or kind not in _LENGTHS
                or not data.startswith(MARKER, position)
            ):
                raise _header_error(data[position : position + HEADER_LENGTH], self.max_length)
            if end - position < length:
                self._needed = length
                break
            yield kind, data[position + HEADER_LENGTH : position + length]
            position += length
        else:
            self._needed = HEADER_LENGTH
        if position < end:
            self._pending += data[position:]


def encode_message(kind: int, body: bytes = b"") -> bytes:
    """A whole message. Raises ValueError for a body that no message can hold."""
    length = HEADER_LENGTH + len(body)
    if length > MAX_EXTENDED_LENGTH:
        raise ValueError(f"a message of {length} bytes")
    return MARKER + length.to_bytes(2, "big") + bytes((kind,)) + body


def _header_error(header: bytes, max_length: int) -> ResetSession:
    """What is wrong with a header, in the order of RFC 4271, 6.1: marker, length, type, length for the type."""
    length, kind = int.from_bytes(header[16:18], "big"), header[18]
    code = ErrorCode.MESSAGE_HEADER
    if not header.startswith(MARKER):
        return ResetSession(code, HeaderError.NOT_SYNCHRONIZED, b"", "the marker is not all ones")
    if HEADER_LENGTH <= length <= max_length and kind not in _LENGTHS:
        return ResetSession(code, HeaderError.BAD_TYPE, header[18:19], f"message type {kind}")
    return ResetSession(code, HeaderError.BAD_LENGTH, header[16:18], f"message type {kind} of {length} bytes")
