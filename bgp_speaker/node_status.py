"""BGPNodeStatus: what the node's speaker observes, written to the store when it changes, and now and then."""

from __future__ import annotations

import datetime

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
            await put(self._store, Resource("BGPNodeStatus", self._node, stamped(status, now)))
            self._written, self._written_at = status, now


def stamped(status: BGPNodeStatusSpec, now: float) -> BGPNodeStatusSpec:
    """With the time, in whole seconds, and with the counts that a table of kubectl cannot make by itself."""
    at = datetime.datetime.fromtimestamp(round(now), datetime.UTC)
    return status.model_copy(
        update={
            "reported": float(round(now)),
            "reported_at": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "established": sum(row.state == "Established" for row in status.sessions),
            "total": len(status.sessions),
        }
    )
