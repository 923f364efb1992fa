"""OPEN (RFC 4271, 4.2 and 6.2), with capabilities (RFC 5492), AS numbers of four bytes (RFC 6793), the longer form of
the optional parameters (RFC 9072), and the rule that an identifier is any number but zero (RFC 6286).

What the *session* decides, whether this AS, identifier or capability is the wanted one, is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from reflector.wire.as_path import AS_TRANS
from reflector.wire.capabilities import HOST_NAME, Capabilities, decode_capabilities, encode_tlv
from reflector.wire.errors import ErrorCode, HeaderError, OpenError, ResetSession
from reflector.wire.framing import HEADER_LENGTH

VERSION = 4
#: The one optional parameter there is.
_CAPABILITIES = 2
#: As length and as first type: the parameters have the longer form.
_EXTENDED = 255
_FIXED = 10


@dataclass(frozen=True, slots=True)
class OpenMessage:
    """`asn` is the true AS number, from the capability if there is one; `router_id` is 4 bytes, `hold_time` seconds."""

    asn: int
    hold_time: int
    router_id: bytes
    capabilities: Capabilities = field(default_factory=Capabilities)

    def encode(self) -> bytes:
        """The body. The capability of four-byte AS numbers is the caller's: it says whether this speaker has it."""
        asn = self.asn if self.asn < 1 << 16 else AS_TRANS
        head = bytes((VERSION,)) + asn.to_bytes(2, "big") + self.hold_time.to_bytes(2, "big") + self.router_id
        return head + _encode_parameters(self.capabilities.encode())


def _encode_parameters(value: bytes) -> bytes:
    """The optional parameters with these capabilities, and their length."""
    if not value:
        return b"\0"
    if len(value) + 2 < _EXTENDED:
        return bytes((len(value) + 2, _CAPABILITIES, len(value))) + value
    parameter = bytes((_CAPABILITIES,)) + len(value).to_bytes(2, "big") + value
    return bytes((_EXTENDED, _EXTENDED)) + len(parameter).to_bytes(2, "big") + parameter


def decode_open(body: bytes) -> OpenMessage:
    """The OPEN in a message's body. Raises ResetSession (1/2 and 2/x)."""
    if len(body) < _FIXED:
        length = HEADER_LENGTH + len(body)
        data = length.to_bytes(2, "big")
        raise ResetSession(ErrorCode.MESSAGE_HEADER, HeaderError.BAD_LENGTH, data, f"an OPEN of {length} bytes")
    if body[0] != VERSION:
        data = VERSION.to_bytes(2, "big")
        raise _error(OpenError.UNSUPPORTED_VERSION, f"BGP version {body[0]}", data)
    hold_time = body[3] << 8 | body[4]
    if hold_time in (1, 2):
        raise _error(OpenError.UNACCEPTABLE_HOLD_TIME, f"a hold time of {hold_time} s", body[3:5])
    router_id = body[5:9]
    if not any(router_id):
        raise _error(OpenError.BAD_BGP_IDENTIFIER, "an identifier of zero", router_id)
    capabilities = decode_capabilities(_capabilities(body))
    asn = body[1] << 8 | body[2]
    if capabilities.four_octet_as is not None:
        asn = capabilities.four_octet_as
    if asn == 0:
        raise _error(OpenError.BAD_PEER_AS, "AS number 0", body[1:3])
    return OpenMessage(asn, hold_time, router_id, capabilities)


def without_host_name(body: bytes) -> tuple[bytes, tuple[str, str] | None]:
    """The body of an OPEN without the capability that no two speakers have alike, and what that said.

    A body that has none, or more than one, or cannot be read, comes back as it is.
    """
    if HOST_NAME not in body or len(body) < _FIXED:
        return body, None
    try:
        found = list(_capabilities(body))
    except ResetSession:
        return body, None
    names = decode_capabilities([each for each in found if each[0] == HOST_NAME])
    rest = [(code, value) for code, value in found if code != HOST_NAME]
    if names.host_name is None or len(rest) != len(found) - 1:
        return body, None
    return body[: _FIXED - 1] + _encode_parameters(b"".join(encode_tlv(*each) for each in rest)), names.host_name


def _capabilities(body: bytes) -> Iterator[tuple[int, bytes]]:
    """(code, value) of the capabilities in all parameters."""
    for kind, value in _parameters(body):
        if kind != _CAPABILITIES:
            raise _error(OpenError.UNSUPPORTED_PARAMETER, f"optional parameter {kind}", bytes((kind,)))
        yield from _tlvs(value, 1)


def _parameters(body: bytes) -> Iterator[tuple[int, bytes]]:
    length, data = body[9], body[_FIXED:]
    if length and data[:1] == bytes((_EXTENDED,)):
        if len(data) < 3 or len(data) != 3 + (data[1] << 8 | data[2]):
            raise _error(OpenError.UNSPECIFIC, "extended optional parameters whose length is not theirs")
        return _tlvs(data[3:], 2)
    if length != len(data):
        raise _error(OpenError.UNSPECIFIC, f"{len(data)} bytes of optional parameters, {length} said")
    return _tlvs(data, 1)


def _tlvs(data: bytes, size: int) -> Iterator[tuple[int, bytes]]:
    """Type, length in `size` bytes, value, to the end."""
    position = 0
    while position < len(data):
        start = position + 1 + size
        length = int.from_bytes(data[position + 1 : start], "big")
        if start + length > len(data):
            raise _error(OpenError.UNSPECIFIC, "an optional parameter or capability that does not fit")
        yield data[position], data[start : start + length]
        position = start + length


def _error(subcode: OpenError, reason: str, data: bytes = b"") -> ResetSession:
    return ResetSession(ErrorCode.OPEN_MESSAGE, subcode, data, reason)
