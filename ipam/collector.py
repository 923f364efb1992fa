"""Blocks that nobody stands for any more are freed: seen twice, a grace time apart, before anything is taken.

That is a block whose node is gone, and an empty block whose pool is gone. One reading of the store may be wrong
(a cache, a list that came back empty), so a block must be found ownerless in two readings at least `grace`
seconds apart. A reading without any node frees nothing: that is a store that has lost its nodes, not a
cluster that has. Neither does one in which a document could not be read: it may be the owner.
"""

from __future__ import annotations

from typing import cast

from ipam.claims import release_block
from peering.prefixes import contains, pack_prefix
from peering.resource import Resource
from peering.resources.ipam import BlockAffinitySpec, IPAMBlockSpec
from peering.resources.pools import IPPoolSpec
from peering.store.protocol import Store
from peering.store.resources import load

_KINDS = ("Node", "IPPool", "BlockAffinity", "IPAMBlock")


class Collector:
    """Remembers since when which (node, block) is ownerless. Times are seconds of any monotonic clock."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._ownerless_since: dict[tuple[str, str], float] = {}

    async def collect(self, store: Store, now: float) -> list[tuple[str, str]]:
        """One observation; frees what is due and returns it as (node, block)."""
        resources, _, unreadable = await load(store, _KINDS)
        ownerless = [] if unreadable else _ownerless(resources)
        self._ownerless_since = {key: self._ownerless_since.get(key, now) for key in ownerless}
        due = [key for key, since in self._ownerless_since.items() if since < now and now - since >= self._grace]
        for node, cidr in due:
            await release_block(store, node, cidr)
        return due

    def next_observation(self, now: float) -> float | None:
        """When to look again for what is ownerless now; None when nothing is."""
        if not self._ownerless_since:
            return None
        return max(now, min(self._ownerless_since.values()) + self._grace)


def _ownerless(resources: list[Resource]) -> list[tuple[str, str]]:
    nodes = {r.name for r in resources if r.kind == "Node"}
    if not nodes:
        return []
    pools = [pack_prefix(cast(IPPoolSpec, r.spec).cidr) for r in resources if r.kind == "IPPool"]
    blocks = [cast(IPAMBlockSpec, r.spec) for r in resources if r.kind == "IPAMBlock"]
    in_use = {block.cidr for block in blocks if block.allocations}
    affinities = [cast(BlockAffinitySpec, r.spec) for r in resources if r.kind == "BlockAffinity"]
    return [
        (a.node, a.cidr)
        for a in affinities
        if a.node not in nodes
        or (a.cidr not in in_use and not any(contains(pool, pack_prefix(a.cidr)) for pool in pools))
    ]
