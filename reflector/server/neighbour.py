"""What the server has of one neighbour: its configuration, its session machines, its connections."""

from __future__ import annotations

from dataclasses import dataclass, field

from reflector.configuration import Peer
from reflector.engine.peer import PeerState
from reflector.server.connection import Connection
from reflector.server.dialer import Dialing
from reflector.session.machine import Session
from reflector.session.neighbor import Neighbor


@dataclass(eq=False, slots=True)
class Neighbour:
    """`dynamic`: it stands in no plan, and is forgotten when it is gone. `state` is there while the engine knows it.

    `barred`: it has announced too much, and is kept out until its machines start again. `flaps` are the ends of
    Established sessions; `last_error` is why the last session or attempt ended, `told_error` what of that the log was
    told last.
    """

    peer: Peer
    machines: Neighbor
    dynamic: bool = False
    connections: dict[Session, Connection] = field(default_factory=dict)
    dialing: dict[Session, Dialing] = field(default_factory=dict)
    state: PeerState | None = None
    barred: bool = False
    flaps: int = 0
    last_error: str = ""
    told_error: str = ""
