"""What a speaker knows of its node that others on the node go by: whoever gives addresses to pods, for one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bgp_speaker.node_view import NodeView
from peering.resources.observed import BGPNodeStatusSpec


@dataclass(frozen=True, slots=True)
class NodeState:
    """One moment. `view` is None before the store was read for the first time.

    `established` counts the sessions of the plan that are up. `mtu` is the smallest of the uplinks in bytes, 0 where no
    uplink is known, None before the links were looked at for the first time.
    """

    view: NodeView | None = None
    established: int = 0
    mtu: int | None = None
    exabgp_runs: bool = False
    omitted: Mapping[str, str] = field(default_factory=dict)
    report: BGPNodeStatusSpec | None = None
