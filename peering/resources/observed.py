"""What processes report and what is kept beside resources: node status and secrets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from peering.resources.fields import OneLine, Spec

#: RFC 3339.
Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
#: Seconds between two reports of a speaker to whom nothing happens.
RENEWAL_S = 45


class PeerStatus(Spec):
    """One session as the speaker sees it. `reason` is why it is down, or what is missing while it is up."""

    session: str
    """Its name in the plan."""
    peer: str
    """Who is at the other end."""
    local_address: str | None = None
    """The node's address."""
    peer_address: str
    """The other end's address."""
    peer_asn: int = Field(alias="peerASN")
    """The other end's AS."""
    state: Literal["Established", "Idle", "Unknown"]
    """Whether the session is up."""
    since: float
    """Unix time of the last change."""
    reason: str = ""
    """Why it is down."""
    received: int = 0
    """Prefixes received."""
    accepted: int = 0
    """Prefixes accepted."""
    announced: int = 0
    """Prefixes sent."""


class BGPNodeStatusSpec(Spec):
    """What a node's speaker observes: its sessions, blocks and kernel routes, and what is wrong.

    The report is renewed again and again, so an old one means that no speaker runs there any more.
    """

    node: OneLine
    """The node."""
    reported: float = 0.0
    """Unix time of the report."""
    reported_at: Timestamp | None = None
    """The same in RFC 3339, for kubectl, which prints its age."""
    sessions: tuple[PeerStatus, ...] = ()
    """Its sessions."""
    established: int | None = None
    """How many of them are up."""
    total: int | None = None
    """How many it has."""
    blocks: tuple[str, ...] = ()
    """Its blocks."""
    kernel_routes: int = 0
    """Routes in the kernel."""
    problems: tuple[str, ...] = ()
    """What is wrong."""
    exabgp_restarts: int = 0
    """How often ExaBGP was started again."""
    drain: Literal["serving", "draining", "drained"] = "serving"
    """How far a drain is."""
    kept: tuple[str, ...] = ()
    """Of a drained node: what it announces still beside its loopbacks."""


class SecretSpec(Spec):
    """The values of a Secret; they leave the store only into a daemon's configuration."""

    values: dict[str, str] = {}
