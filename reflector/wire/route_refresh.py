"""ROUTE-REFRESH (RFC 2918), with the borders of a refresh (RFC 7313)."""

from __future__ import annotations

from dataclasses import dataclass

from reflector.wire.errors import ErrorCode, RefreshError, ResetSession
from reflector.wire.families import Family
from reflector.wire.framing import ROUTE_REFRESH, encode_message

REQUEST, BEGIN, END = 0, 1, 2


@dataclass(frozen=True, slots=True)
class RouteRefresh:
    """`subtype` 0 asks for all routes of the family, 1 and 2 are before and behind them; others are to be ignored."""

    family: Family
    subtype: int = REQUEST

    def encode(self) -> bytes:
        """The body."""
        return self.family.afi.to_bytes(2, "big") + bytes((self.subtype, self.family.safi))


def decode_route_refresh(body: bytes) -> RouteRefresh:
    """The ROUTE-REFRESH in a message's body. Raises ResetSession (7/1).

    What follows the four bytes of a request are outbound filters (RFC 5291), which are not supported: passed over.
    """
    if len(body) < 4 or (len(body) > 4 and body[2] in (BEGIN, END)):
        whole = encode_message(ROUTE_REFRESH, body)
        reason = f"a ROUTE-REFRESH of {len(whole)} bytes"
        raise ResetSession(ErrorCode.ROUTE_REFRESH_MESSAGE, RefreshError.INVALID_LENGTH, whole, reason)
    return RouteRefresh(Family(body[0] << 8 | body[1], body[3]), body[2])
