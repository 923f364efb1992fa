"""What the tests of the session machine share: settings, messages of a peer, machines in a given state."""

from __future__ import annotations

from typing import Any

from reflector.session.events import Event, SessionClosed
from reflector.session.local_open import open_to_send
from reflector.session.machine import Session
from reflector.session.neighbor import Neighbor
from reflector.session.settings import SessionSettings
from reflector.session.states import State
from reflector.wire.families import IPV4_UNICAST, IPV6_UNICAST
from reflector.wire.framing import KEEPALIVE, NOTIFICATION, OPEN, ROUTE_REFRESH, UPDATE, Framer, encode_message
from reflector.wire.notification import Notification, decode_notification

NOW = 1000.0
OUR_ID, PEER_ID = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
BOTH_FAMILIES = (IPV4_UNICAST, IPV6_UNICAST)

KEEPALIVE_MESSAGE = encode_message(KEEPALIVE)
#: One IPv4 prefix with ORIGIN, an empty AS_PATH, NEXT_HOP and LOCAL_PREF.
UPDATE_BODY = bytes.fromhex("0000 0015 40010100 400200 4003040a000002 40050400000064 18c0a801")
UPDATE_MESSAGE = encode_message(UPDATE, UPDATE_BODY)
REFRESH_MESSAGE = encode_message(ROUTE_REFRESH, bytes((0, 1, 0, 1)))
CEASE_MESSAGE = encode_message(NOTIFICATION, bytes((6, 2)))


def our_settings(**fields: Any) -> SessionSettings:
    defaults = {"name": "peer", "local_asn": 64512, "router_id": OUR_ID, "families": BOTH_FAMILIES, "passive": True}
    return SessionSettings(**{**defaults, **fields})


def peer_settings(**fields: Any) -> SessionSettings:
    return our_settings(**{"name": "us", "router_id": PEER_ID, "passive": False, **fields})


def peer_open(*, restarting: bool = False, **fields: Any) -> bytes:
    """The OPEN message of a peer with these settings."""
    return open_to_send(peer_settings(**fields), restarting)


def plain_open(
    *, version: int = 4, asn: int = 64512, hold_time: int = 90, router_id: bytes = PEER_ID, parameters: bytes = b""
) -> bytes:
    """An OPEN message put together by hand."""
    head = bytes((version,)) + asn.to_bytes(2, "big") + hold_time.to_bytes(2, "big") + router_id
    return encode_message(OPEN, head + bytes((len(parameters),)) + parameters)


def messages(data: bytes) -> list[tuple[int, bytes]]:
    """What was sent, taken apart; it must be whole messages."""
    framer = Framer(65535)
    found = list(framer.feed(data))
    assert sum(19 + len(body) for _, body in found) == len(data)
    return found


def notifications(data: bytes) -> list[Notification]:
    return [decode_notification(body) for kind, body in messages(data) if kind == NOTIFICATION]


def closed(events: list[Event]) -> SessionClosed:
    """The one end among these events."""
    (end,) = [event for event in events if isinstance(event, SessionClosed)]
    return end


def accepted(neighbor: Neighbor, now: float = NOW) -> Session:
    session = neighbor.accept(now)
    assert session is not None
    return session


def session_in(state: State, settings: SessionSettings | None = None, peer: bytes | None = None) -> Session:
    """A session of a running neighbour, brought to a state at `NOW` by what a peer does; nothing left to be taken."""
    neighbor = Neighbor(settings or our_settings(passive=state is not State.CONNECT))
    if state is State.IDLE:
        neighbor.sessions.append(Session(neighbor.settings, neighbor))
        return neighbor.sessions[0]
    neighbor.start(NOW)
    session = neighbor.sessions[0]
    said = {State.OPEN_CONFIRM: [peer or peer_open()], State.ESTABLISHED: [peer or peer_open(), KEEPALIVE_MESSAGE]}
    if state not in (State.CONNECT, State.ACTIVE):
        assert accepted(neighbor) is session
        for message in said.get(state, []):
            session.receive(message, NOW)
    assert session.state is state
    session.events()
    session.data_to_send()
    return session
