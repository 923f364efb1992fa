"""What a session tells its user, in the order in which it happened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from reflector.session.restart import Retention
from reflector.session.states import Input, State
from reflector.wire import route_refresh
from reflector.wire.families import Family
from reflector.wire.negotiated import Negotiated
from reflector.wire.notification import Notification
from reflector.wire.open_message import OpenMessage
from reflector.wire.route_refresh import RouteRefresh


class ConnectWanted(NamedTuple):
    """Open a TCP connection to the peer, in place of an attempt that still runs.

    Answer with `connected` or `connection_lost`.
    """


@dataclass(frozen=True, slots=True)
class SessionUp:
    """The session is Established. `peer` is its OPEN.

    Of the routes that outlived the last session, those in their first phase stay in the families of `forwarding_kept`,
    those in their long-lived phase in those of `long_lived_kept`, both until the family's End-of-RIB. All others go
    now (RFC 4724, 4.2; RFC 9494, 4.3). What else the peer says of its restart is in `negotiated.graceful_restart`.
    """

    peer: OpenMessage
    negotiated: Negotiated
    forwarding_kept: frozenset[Family] = frozenset()
    long_lived_kept: frozenset[Family] = frozenset()


class UpdateReceived(NamedTuple):
    """The body of an UPDATE, not looked at."""

    body: bytes


class EndOfRibReceived(NamedTuple):
    """The peer has said everything it had of a negotiated family. In place of the UPDATE, not beside it."""

    family: Family


class RefreshRequested(NamedTuple):
    """The peer wants all routes of a negotiated family again."""

    family: Family


class RefreshBegins(NamedTuple):
    """The peer starts to send everything of a family again (RFC 7313)."""

    family: Family


class RefreshEnds(NamedTuple):
    """What the peer did not send again since `RefreshBegins` is gone."""

    family: Family


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """The connection, or the attempt to make one, is over: send what is left to send, and close the socket.

    `state` is the one it was in, `cause` what ended it. `notification` is the one that was sent (`sent`) or received.
    `retained` are the families whose routes stay in place as stale ones; the rest goes now.
    """

    state: State
    cause: Input
    notification: Notification | None
    sent: bool
    retained: Mapping[Family, Retention]
    reason: str = ""
    """In words, where there is more to say than the notification's name."""


Event = (
    ConnectWanted
    | SessionUp
    | UpdateReceived
    | EndOfRibReceived
    | RefreshRequested
    | RefreshBegins
    | RefreshEnds
    | SessionClosed
)

_OF_REFRESH: dict[int, Callable[[Family], Event]] = {
    route_refresh.REQUEST: RefreshRequested,
    route_refresh.BEGIN: RefreshBegins,
    route_refresh.END: RefreshEnds,
}


def refresh_event(message: RouteRefresh, terms: Negotiated) -> Event | None:
    """What a ROUTE-REFRESH says; None for what is to be passed over.

    That is a family that was not agreed on (RFC 2918, 4), borders that were not (RFC 7313, 3.2), another subtype.
    """
    make = _OF_REFRESH.get(message.subtype)
    if make is None or message.family not in terms.families:
        return None
    if message.subtype != route_refresh.REQUEST and not terms.enhanced_route_refresh:
        return None
    return make(message.family)
