"""The finite state machine of RFC 4271, 8 as a table: (state, input) -> (action, next state).

Rules:
- Everything that decides about a transition stands here; `machine.py` only knows how to do an action.
- Inputs are the events of RFC 4271, 8.1 (their numbers stand beside them), of RFC 9687 (29), a ROUTE-REFRESH, and the
  replacement that RFC 4724, 5 adds. Optional events are left out: no DelayOpenTimer, no tracked half-open connections.
- What an OPEN is worth is found out before the table is asked: `OPEN` is a valid one that won its collision, and
  `OPEN_ERROR` and `COLLISION_LOST` are inputs of their own. So the next state never depends on the action.
- A missing row is the error: in a state with a connection it is the FSM error NOTIFICATION with the subcodes of
  RFC 6608, in Connect and Active the attempt is given up, in Idle nothing happens (RFC 4271, 8.2.2).

Deviations from the RFC's text:
- A failed attempt to connect leads to Active (as in RFC 1771), not to Idle: the peer may dial us while we wait.
- A connection that breaks in OpenSent leads to Idle, not to Active. A machine lives for one connection, and the
  neighbour starts the next one, with its back-off, in Active.
- A NOTIFICATION in OpenSent is not answered with one.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from reflector.wire import framing
from reflector.wire.errors import FsmError


class _Member(Enum):
    """Members are equal only to themselves; their own hash spares every look-up in the tables that of a name."""

    __hash__ = object.__hash__


class State(_Member):
    """The states of RFC 4271, 8.2.2, by the names that operators know."""

    IDLE = "Idle"
    CONNECT = "Connect"
    ACTIVE = "Active"
    OPEN_SENT = "OpenSent"
    OPEN_CONFIRM = "OpenConfirm"
    ESTABLISHED = "Established"


class Input(_Member):
    """What can happen to a machine; the value is the RFC's name of the event."""

    START = "ManualStart"  # 1, 3
    START_PASSIVE = "ManualStart_with_PassiveTcpEstablishment"  # 4, 5, 7
    STOP = "ManualStop"  # 2, 8
    CONNECT_RETRY_EXPIRES = "ConnectRetryTimer_Expires"  # 9
    HOLD_EXPIRES = "HoldTimer_Expires"  # 10
    KEEPALIVE_EXPIRES = "KeepaliveTimer_Expires"  # 11
    SEND_HOLD_EXPIRES = "SendHoldTimer_Expires"  # 29
    CONNECTED = "TcpConnectionConfirmed"  # 16, 17
    CONNECTION_FAILS = "TcpConnectionFails"  # 18
    OPEN = "BGPOpen"  # 19
    HEADER_ERROR = "BGPHeaderErr"  # 21
    OPEN_ERROR = "BGPOpenMsgErr"  # 22
    COLLISION_LOST = "OpenCollisionDump"  # 23
    REPLACED = "ReplacedByRestartingPeer"  # RFC 4724, 5
    NOTIFICATION = "NotifMsg"  # 24, 25
    KEEPALIVE = "KeepAliveMsg"  # 26
    UPDATE = "UpdateMsg"  # 27
    UPDATE_ERROR = "UpdateMsgErr"  # 28
    ROUTE_REFRESH = "RouteRefreshMsg"  # RFC 2918
    REFRESH_ERROR = "RouteRefreshMsgErr"  # RFC 7313, 5


class Action(_Member):
    """What the machine does on its way to the next state; the value is what the handbook says of it."""

    IGNORE = "nothing"
    DIAL = "ask for a TCP connection, start the connect-retry timer"
    LISTEN = "wait for the peer or for the connect-retry timer"
    SEND_OPEN = "send OPEN, start the hold timer with its large value"
    ACCEPT_OPEN = "send KEEPALIVE, start the hold and keepalive timers with the negotiated times"
    ESTABLISH = "restart the hold timer, report the session as up"
    HEARD = "restart the hold timer, hand out what the message says"
    SEND_KEEPALIVE = "send KEEPALIVE, restart the keepalive timer"
    NOTIFY = "send the NOTIFICATION that says why, close"
    RELEASE = "close without a NOTIFICATION"
    FSM_ERROR = "send NOTIFICATION 5 with the subcode of the state, close"


class Row(NamedTuple):
    action: Action
    next_state: State


IDLE, CONNECT, ACTIVE = State.IDLE, State.CONNECT, State.ACTIVE
OPEN_SENT, OPEN_CONFIRM, ESTABLISHED = State.OPEN_SENT, State.OPEN_CONFIRM, State.ESTABLISHED

#: States in which there is a connection.
CONNECTED_STATES = (OPEN_SENT, OPEN_CONFIRM, ESTABLISHED)

TABLE: dict[tuple[State, Input], Row] = {
    (IDLE, Input.START): Row(Action.DIAL, CONNECT),
    (IDLE, Input.START_PASSIVE): Row(Action.LISTEN, ACTIVE),
    # An attempt to connect.
    (CONNECT, Input.STOP): Row(Action.RELEASE, IDLE),
    (CONNECT, Input.CONNECT_RETRY_EXPIRES): Row(Action.DIAL, CONNECT),
    (CONNECT, Input.CONNECTED): Row(Action.SEND_OPEN, OPEN_SENT),
    (CONNECT, Input.CONNECTION_FAILS): Row(Action.LISTEN, ACTIVE),
    # Between two attempts, or for ever where the peer is the one who dials.
    (ACTIVE, Input.STOP): Row(Action.RELEASE, IDLE),
    (ACTIVE, Input.CONNECT_RETRY_EXPIRES): Row(Action.DIAL, CONNECT),
    (ACTIVE, Input.CONNECTED): Row(Action.SEND_OPEN, OPEN_SENT),
    # The OPEN of the peer is awaited.
    (OPEN_SENT, Input.STOP): Row(Action.NOTIFY, IDLE),
    (OPEN_SENT, Input.HOLD_EXPIRES): Row(Action.NOTIFY, IDLE),
    (OPEN_SENT, Input.CONNECTION_FAILS): Row(Action.RELEASE, IDLE),
    (OPEN_SENT, Input.OPEN): Row(Action.ACCEPT_OPEN, OPEN_CONFIRM),
    (OPEN_SENT, Input.HEADER_ERROR): Row(Action.NOTIFY, IDLE),
    (OPEN_SENT, Input.OPEN_ERROR): Row(Action.NOTIFY, IDLE),
    (OPEN_SENT, Input.COLLISION_LOST): Row(Action.NOTIFY, IDLE),
    (OPEN_SENT, Input.NOTIFICATION): Row(Action.RELEASE, IDLE),
    # The KEEPALIVE that confirms our OPEN is awaited.
    (OPEN_CONFIRM, Input.STOP): Row(Action.NOTIFY, IDLE),
    (OPEN_CONFIRM, Input.HOLD_EXPIRES): Row(Action.NOTIFY, IDLE),
    (OPEN_CONFIRM, Input.KEEPALIVE_EXPIRES): Row(Action.SEND_KEEPALIVE, OPEN_CONFIRM),
    (OPEN_CONFIRM, Input.CONNECTION_FAILS): Row(Action.RELEASE, IDLE),
    (OPEN_CONFIRM, Input.HEADER_ERROR): Row(Action.NOTIFY, IDLE),
    (OPEN_CONFIRM, Input.COLLISION_LOST): Row(Action.NOTIFY, IDLE),
    (OPEN_CONFIRM, Input.NOTIFICATION): Row(Action.RELEASE, IDLE),
    (OPEN_CONFIRM, Input.KEEPALIVE): Row(Action.ESTABLISH, ESTABLISHED),
    # Routes are exchanged.
    (ESTABLISHED, Input.STOP): Row(Action.NOTIFY, IDLE),
    (ESTABLISHED, Input.HOLD_EXPIRES): Row(Action.NOTIFY, IDLE),
    (ESTABLISHED, Input.KEEPALIVE_EXPIRES): Row(Action.SEND_KEEPALIVE, ESTABLISHED),
    (ESTABLISHED, Input.SEND_HOLD_EXPIRES): Row(Action.NOTIFY, IDLE),
    (ESTABLISHED, Input.CONNECTION_FAILS): Row(Action.RELEASE, IDLE),
    (ESTABLISHED, Input.HEADER_ERROR): Row(Action.NOTIFY, IDLE),
    (ESTABLISHED, Input.REPLACED): Row(Action.RELEASE, IDLE),
    (ESTABLISHED, Input.NOTIFICATION): Row(Action.RELEASE, IDLE),
    (ESTABLISHED, Input.KEEPALIVE): Row(Action.HEARD, ESTABLISHED),
    (ESTABLISHED, Input.UPDATE): Row(Action.HEARD, ESTABLISHED),
    (ESTABLISHED, Input.UPDATE_ERROR): Row(Action.NOTIFY, IDLE),
    (ESTABLISHED, Input.ROUTE_REFRESH): Row(Action.HEARD, ESTABLISHED),
    (ESTABLISHED, Input.REFRESH_ERROR): Row(Action.NOTIFY, IDLE),
    # Who has started is not started again (RFC 4271, 8.2.2, in every state).
    **{
        (state, start): Row(Action.IGNORE, state)
        for state in State
        if state is not IDLE
        for start in (Input.START, Input.START_PASSIVE)
    },
}

#: What stands for a missing row.
MISSING: dict[State, Row] = {
    IDLE: Row(Action.IGNORE, IDLE),
    CONNECT: Row(Action.RELEASE, IDLE),
    ACTIVE: Row(Action.RELEASE, IDLE),
    OPEN_SENT: Row(Action.FSM_ERROR, IDLE),
    OPEN_CONFIRM: Row(Action.FSM_ERROR, IDLE),
    ESTABLISHED: Row(Action.FSM_ERROR, IDLE),
}

#: Subcode of the FSM error NOTIFICATION by the state in which it happened (RFC 6608, 3).
FSM_SUBCODES: dict[State, FsmError] = {
    OPEN_SENT: FsmError.OPEN_SENT,
    OPEN_CONFIRM: FsmError.OPEN_CONFIRM,
    ESTABLISHED: FsmError.ESTABLISHED,
}

#: Inputs that are messages, with their type: an unexpected one is named in the data of the FSM error (RFC 6608, 4).
MESSAGE_TYPES: dict[Input, int] = {
    Input.OPEN: framing.OPEN,
    Input.OPEN_ERROR: framing.OPEN,
    Input.UPDATE: framing.UPDATE,
    Input.NOTIFICATION: framing.NOTIFICATION,
    Input.KEEPALIVE: framing.KEEPALIVE,
    Input.ROUTE_REFRESH: framing.ROUTE_REFRESH,
    Input.REFRESH_ERROR: framing.ROUTE_REFRESH,
}


def row(state: State, happened: Input) -> Row:
    """What follows from an input; the answer of `MISSING` where the table has none."""
    return TABLE.get((state, happened)) or MISSING[state]
