"""Blocks whose node is gone are freed: seen twice, a grace time apart, before anything is taken.

One reading of the store may be wrong (a cache, a list that came back empty), so a node must be missing in two
readings at least `grace` seconds apart. And a reading without any node frees nothing: that is a store that has
lost its nodes, not a cluster that has.
"""

from __future__ import annotations

from typing import cast

from ipam.claims import release_block
from peering.resources.ipam import BlockAffinitySpec
from peering.store.protocol import Store
from peering.store.resources import load


class Collector:
    """Remembers since when which node is missing. Times are seconds of any monotonic clock."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._missing_since: dict[str, float] = {}

    async def collect(self, store: Store, now: float) -> list[tuple[str, str]]:
        """One observation; frees what is due and returns it as (node, block)."""
        resources, _, _ = await load(store, ("Node", "BlockAffinity"))
        nodes = {r.name for r in resources if r.kind == "Node"}
        affinities = [cast(BlockAffinitySpec, r.spec) for r in resources if r.kind == "BlockAffinity"]
        if not nodes:
            return []
        missing = {a.node for a in affinities} - nodes
        self._missing_since = {node: self._missing_since.get(node, now) for node in missing}
        due = {node for node, since in self._missing_since.items() if since < now and now - since >= self._grace}
        freed = [(a.node, a.cidr) for a in affinities if a.node in due]
        for node, cidr in freed:
            await release_block(store, node, cidr)
        return freed

    def next_observation(self, now: float) -> float | None:
        """When to look again for what is missing now; None when nothing is."""
        if not self._missing_since:
            return None
        return max(now, min(self._missing_since.values()) + self._grace)
