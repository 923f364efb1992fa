"""BGPNodeStatus: what the node's speaker observes, written to the store when it changes, and now and then."""

from __future__ import annotations

from peering.resource import Resource
from peering.resources.observed import RENEWAL_S, BGPNodeStatusSpec
from peering.store.protocol import Store
from peering.store.resources import put


class StatusWriter:
    """Writes the status of one node; an equal one only to show that the speaker is alive."""

    def __init__(self, store: Store, node: str) -> None:
        self._store = store
        self._node = node
        self._written: BGPNodeStatusSpec | None = None
        self._written_at = 0.0

    async def write(self, status: BGPNodeStatusSpec, now: float) -> None:
        """`now` is Unix time. Raises StoreError when the store is away; the next try writes what is true then."""
        if status != self._written or abs(now - self._written_at) >= RENEWAL_S:
            stamped = status.model_copy(update={"reported": float(round(now))})
            await put(self._store, Resource("BGPNodeStatus", self._node, stamped))
            self._written, self._written_at = status, now
