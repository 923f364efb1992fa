"""Graceful restart of the peer, as far as the session knows it (RFC 4724, 8538, 9494). Pure.

A session that ends leaves its routes in place, as stale ones, when the peer said that it goes on forwarding, and when
the end looks like a restart: the connection broke, or the peer came in by a new one. With the N bit on both sides every
other end counts as well, except one that asks for more (Cease/Hard Reset).

How long is two phases: the peer's restart time with the routes as they are, then its long-lived stale time with the
routes as a last resort. Which of the stale routes survive the next session's OPEN is `kept_by`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from reflector.session.settings import SessionSettings
from reflector.session.states import Input
from reflector.wire.errors import Cease, ErrorCode
from reflector.wire.families import Family
from reflector.wire.negotiated import Negotiated
from reflector.wire.notification import Notification

#: Ends of a session that are a restart by RFC 4724 alone.
_RESTARTS = frozenset((Input.CONNECTION_FAILS, Input.REPLACED))

#: Ceases that mean a full end, and so are sent as a Hard Reset to who would keep the routes otherwise (RFC 8538, 5).
_HARD = frozenset((Cease.MAXIMUM_PREFIXES, Cease.ADMINISTRATIVE_SHUTDOWN, Cease.PEER_DECONFIGURED))


class Retention(NamedTuple):
    """How long routes of a family outlive the session, in seconds: as they are, and then as a last resort."""

    restart_time: int
    stale_time: int


def survives_notifications(settings: SessionSettings, negotiated: Negotiated) -> bool:
    """Whether both ends set the N bit."""
    theirs = negotiated.graceful_restart
    ours = settings.notification_restart and settings.graceful_restart_time > 0
    return ours and theirs is not None and theirs.notification


def outliving(
    settings: SessionSettings, negotiated: Negotiated, cause: Input, notification: Notification | None
) -> Mapping[Family, Retention]:
    """The families whose routes outlive an Established session that ended so, and how long.

    A family that only the long-lived capability names goes into that phase at once (RFC 9494, 4.2). That phase takes at
    most as long as we say ourselves, and is left out where we say nothing.
    """
    restart = negotiated.graceful_restart
    if restart is None or not settings.graceful_restart_time:
        return {}
    if cause not in _RESTARTS and (_is_hard(notification) or not survives_notifications(settings, negotiated)):
        return {}
    longest, long_lived = settings.long_lived_stale_time or 0, negotiated.long_lived
    times = {
        family: Retention(
            restart.restart_time if family in restart.families else 0,
            min(longest, long_lived[family].stale_time) if family in long_lived else 0,
        )
        for family in negotiated.families
    }
    return {family: retention for family, retention in times.items() if any(retention)}


def kept_by(negotiated: Negotiated) -> tuple[frozenset[Family], frozenset[Family]]:
    """Families whose stale routes survive the peer's new OPEN: in the restart phase, and in the long-lived one."""
    restart = negotiated.graceful_restart
    forwarding = restart.families if restart else {}
    return (
        frozenset(family for family in negotiated.families if forwarding.get(family)),
        frozenset(family for family, row in negotiated.long_lived.items() if row.forwarding),
    )


def hardened(notice: Notification) -> Notification:
    """The Cease as a Hard Reset that carries it, where it means a full end; else as it is. For peers with the N bit."""
    if notice.code != ErrorCode.CEASE or notice.subcode not in _HARD:
        return notice
    return Notification(ErrorCode.CEASE, Cease.HARD_RESET, notice.encode())


def _is_hard(notification: Notification | None) -> bool:
    return notification is not None and (notification.code, notification.subcode) == (ErrorCode.CEASE, Cease.HARD_RESET)


def end_of_rib_markers(families: tuple[Family, ...]) -> Mapping[bytes, Family]:
    """The bodies of UPDATE messages that are the End-of-RIB of these families (RFC 4724, 2).

    Both forms of MP_UNREACH_NLRI's length, since either is correct.
    """
    markers = {}
    for family in families:
        packed = family.afi.to_bytes(2, "big") + bytes((family.safi,))
        for attribute in (b"\x80\x0f\x03" + packed, b"\x90\x0f\x00\x03" + packed):
            markers[b"\x00\x00" + len(attribute).to_bytes(2, "big") + attribute] = family
        if (family.afi, family.safi) == (1, 1):
            markers[bytes(4)] = family
    return markers
