"""Who wants a node out of the fabric's paths, and how far. Pure.

`underlay drain` says it in BGPConfiguration/node.NAME, and not in the Node: a Node of ours would stand in the place of
Kubernetes' own, and whoever applies the Nodes again from files would end the drain by it. Beside it there are the
Node's annotation `underlay.io/drain`, for kubectl, and by setting (`drainCordonedNodes`) its cordon. Whoever wants
more, wins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from peering.resources.bgp_configuration import DRAIN_SETTLE_S, BGPConfigurationSpec
from peering.resources.node import NodeSpec
from peering.snapshot import Snapshot

Extent = Literal["Unused", "Everything"]

ANNOTATION = "underlay.io/drain"
#: The annotation's values -> the extent; others mean nothing, and lint says so.
ANNOTATED: dict[str, Extent | None] = {"true": "Unused", "everything": "Everything", "false": None}


@dataclass(frozen=True, slots=True)
class DrainWish:
    """`extent` None: nobody wants it. `because` are those who do, for people; `settle` is in seconds."""

    extent: Extent | None = None
    because: tuple[str, ...] = ()
    settle: float = DRAIN_SETTLE_S


def configuration_of(node: str) -> str:
    """The name of the BGPConfiguration that says what differs on the node."""
    return f"node.{node}"


def drain_wish(snapshot: Snapshot, node: str) -> DrainWish:
    """What is wanted of a node; nothing where there is no such Node."""
    resource = snapshot.get("Node", node)
    if resource is None:
        return DrainWish()
    default, name = snapshot.configuration(), configuration_of(node)
    own = snapshot.get("BGPConfiguration", name)
    cordoned = default.drain_cordoned_nodes and cast(NodeSpec, resource.spec).unschedulable
    table: tuple[tuple[Extent | None, str], ...] = (
        (cast(BGPConfigurationSpec, own.spec).drain if own else None, f"BGPConfiguration/{name} spec.drain"),
        (ANNOTATED.get(resource.annotations.get(ANNOTATION, "")), f"{resource.ref} annotation {ANNOTATION}"),
        ("Unused" if cordoned else None, f"{resource.ref} is cordoned (BGPConfiguration/default drainCordonedNodes)"),
    )
    wishes = {extent for extent, _ in table if extent}
    extent: Extent | None = "Everything" if "Everything" in wishes else next(iter(wishes), None)
    return DrainWish(extent, tuple(who for one, who in table if one), float(default.drain_settle_seconds))
