"""What the engine knows of one peer, up or gone but remembered: its source, its families, what waits for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from reflector.configuration import Peer
from reflector.engine.adj_rib_in import PeerFamily
from reflector.log.group import UpdateGroup
from reflector.log.outbox import Cursor, Outbox
from reflector.policy.export_policy import ExportTerms
from reflector.rib.route import Source
from reflector.wire.attribute_cache import AttributeCache
from reflector.wire.families import Family
from reflector.wire.negotiated import Negotiated
from reflector.wire.open_message import OpenMessage


@dataclass(slots=True)
class Membership:
    """A peer's place in an update group."""

    terms: ExportTerms
    group: UpdateGroup
    cursor: Cursor


@dataclass(slots=True)
class Retained:
    """Stale routes of a family: until when they stay as they are, and until when at all (as a last resort)."""

    until: float
    last: float


@dataclass(eq=False, slots=True)
class PeerState:
    """`negotiated` and `open` are there while the session is up. `awaited`: families whose End-of-RIB has not come.

    `asn` is the peer's AS in its last OPEN.
    """

    config: Peer
    source: Source
    asn: int
    outbox: Outbox = field(default_factory=Outbox)
    negotiated: Negotiated | None = None
    open: OpenMessage | None = None
    cache: AttributeCache | None = None
    families: dict[Family, PeerFamily] = field(default_factory=dict)
    memberships: dict[Family, Membership] = field(default_factory=dict)
    retained: dict[Family, Retained] = field(default_factory=dict)
    awaited: set[Family] = field(default_factory=set)
    warned: set[Family] = field(default_factory=set)
    up_since: float = 0.0
    updates: int = 0
    faults: int = 0
    last_fault: str = ""

    @property
    def up(self) -> bool:
        return self.negotiated is not None
