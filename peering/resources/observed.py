"""What processes report and what is kept beside resources: node status and secrets."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from peering.resources.fields import OneLine, Spec

#: Seconds between two reports of a speaker to whom nothing happens.
RENEWAL_S = 30


class PeerStatus(Spec):
    """One session as the speaker sees it. `since` is a Unix time in seconds."""

    session: str
    peer: str
    local_address: str | None = None
    peer_address: str
    peer_asn: int = Field(alias="peerASN")
    state: Literal["Established", "Idle", "Unknown"]
    since: float
    reason: str = ""
    received: int = 0
    accepted: int = 0
    announced: int = 0


class BGPNodeStatusSpec(Spec):
    """What a node's speaker observes: its sessions, blocks and kernel routes, and what is wrong.

    `reported` is the Unix time of the report; it is renewed every `RENEWAL_S`, so an old one means that no
    speaker runs there any more.
    """

    node: OneLine
    reported: float = 0.0
    sessions: tuple[PeerStatus, ...] = ()
    blocks: tuple[str, ...] = ()
    kernel_routes: int = 0
    problems: tuple[str, ...] = ()
    exabgp_restarts: int = 0


class SecretSpec(Spec):
    """The values of a Secret; they leave the store only into a daemon's configuration."""

    values: dict[str, str] = {}
