"""What the peer's OPEN is worth: whether it is the peer, and on what terms (RFC 4271, 6.2; RFC 5492; RFC 6286).

A thousand nodes that connect at once say the same in their OPENs, but for the router ID and the host name. So what does
not depend on these is found out once for all of them, and shared: it takes far longer than everything else about a
session, and more memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from reflector.session import restart
from reflector.session.local_open import local_open
from reflector.session.settings import SessionSettings
from reflector.wire.as_path import AS_TRANS
from reflector.wire.capabilities import Capabilities
from reflector.wire.errors import ErrorCode, OpenError, ResetSession
from reflector.wire.families import Family
from reflector.wire.negotiated import Negotiated, negotiate
from reflector.wire.open_message import OpenMessage, decode_open, without_host_name

#: How many OPENs that differ in more than that are remembered.
_REMEMBERED = 256
#: Where the router ID is in the body, and one that is as good as any other.
_ROUTER_ID = slice(5, 9)
_SOME_ROUTER_ID = b"\xff\xff\xff\xff"


class Agreement(NamedTuple):
    """`remote` is the peer's OPEN, `terms` what it makes of the session together with ours.

    `end_of_ribs` are the End-of-RIB bodies of its families; the other two are as in `events.SessionUp`.
    """

    remote: OpenMessage
    terms: Negotiated
    end_of_ribs: Mapping[bytes, Family]
    forwarding_kept: frozenset[Family]
    long_lived_kept: frozenset[Family]


def agree(settings: SessionSettings, body: bytes) -> Agreement:
    """What follows from an OPEN with this body. Raises ResetSession (1/2, 2/x)."""
    router_id = body[_ROUTER_ID]
    if not any(router_id):
        decode_open(body)
    shared, host_name = without_host_name(body)
    common = _agree_on_what_is_common(settings, shared[:5] + _SOME_ROUTER_ID + shared[9:])
    capabilities = common.remote.capabilities
    if host_name is not None:
        capabilities = replace(capabilities, host_name=host_name)
    remote = OpenMessage(common.remote.asn, common.remote.hold_time, router_id, capabilities)
    _check_router_id(settings, remote)
    return common._replace(remote=remote)


@lru_cache(_REMEMBERED)
def _agree_on_what_is_common(settings: SessionSettings, body: bytes) -> Agreement:
    remote = decode_open(body)
    _check_asn(settings, remote)
    _check_hold_time(settings, remote)
    terms = negotiate(local_open(settings), remote)
    if not terms.families:
        missing = Capabilities(multiprotocol=settings.families).encode()
        raise _refusal(OpenError.UNSUPPORTED_CAPABILITY, missing, "no address family in common")
    return Agreement(remote, terms, restart.end_of_rib_markers(terms.families), *restart.kept_by(terms))


def _check_asn(settings: SessionSettings, remote: OpenMessage) -> None:
    """AS_TRANS is no AS of anybody (RFC 6793, 9): whoever has it for his own has not understood the number."""
    if remote.asn != AS_TRANS and settings.accepts_asn(remote.asn):
        return
    wanted = settings.peer_asn or settings.peer_type
    size = 2 if remote.asn < 1 << 16 else 4
    raise _refusal(OpenError.BAD_PEER_AS, remote.asn.to_bytes(size, "big"), f"AS {remote.asn}, wanted {wanted}")


def _check_router_id(settings: SessionSettings, remote: OpenMessage) -> None:
    """Within one AS no two speakers have the same router ID (RFC 6286, 2.2)."""
    if remote.router_id == settings.router_id and remote.asn == settings.local_asn:
        raise _refusal(OpenError.BAD_BGP_IDENTIFIER, remote.router_id, "our own router ID")


def _check_hold_time(settings: SessionSettings, remote: OpenMessage) -> None:
    if remote.hold_time and remote.hold_time < settings.minimum_hold_time:
        data = remote.hold_time.to_bytes(2, "big")
        raise _refusal(OpenError.UNACCEPTABLE_HOLD_TIME, data, f"a hold time of {remote.hold_time} s")


def _refusal(subcode: OpenError, data: bytes, reason: str) -> ResetSession:
    return ResetSession(ErrorCode.OPEN_MESSAGE, subcode, data, reason)
