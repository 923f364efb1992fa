"""What processes report and what is kept beside resources: node status and secrets."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from peering.resources.fields import OneLine, Spec

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
    sessions: tuple[PeerStatus, ...] = ()
    """Its sessions."""
    blocks: tuple[str, ...] = ()
    """Its blocks."""
    kernel_routes: int = 0
    """Routes in the kernel."""
    problems: tuple[str, ...] = ()
    """What is wrong."""
    exabgp_restarts: int = 0
    """How often ExaBGP was started again."""


class SecretSpec(Spec):
    """The values of a Secret; they leave the store only into a daemon's configuration."""

    values: dict[str, str] = {}
