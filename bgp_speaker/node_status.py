"""BGPNodeStatus: what the node's speaker observes, written to the store when it changes, and now and then.

A report has one writer. One that finds another's words in place of its own, again and again, shares the node's name
with somebody: two machines that are called the same.
"""

from __future__ import annotations

import datetime

from peering.resource import Resource
from peering.resources.observed import RENEWAL_S, BGPNodeStatusSpec
from peering.store.protocol import Conflict, NotFound, Store
from peering.store.resources import put

#: An answer that was lost looks like another's write, and so does a person's; neither does so all the time. Of two
#: writers the faster one finds its own words now and then: what counts is more than a third of its times.
_LOST, _CONTESTED, _MOST = 2, 5, 6


class StatusWriter:
    """Writes the status of one node; an equal one only to show that the speaker is alive."""

    def __init__(self, store: Store, node: str) -> None:
        self._store = store
        self._node = node
        self._written: BGPNodeStatusSpec | None = None
        self._written_at = 0.0
        self._version: int | None = None
        self._contest = 0

    @property
    def is_contested(self) -> bool:
        """Whether somebody else has written the report meanwhile, again and again."""
        return self._contest >= _CONTESTED

    async def write(self, status: BGPNodeStatusSpec, now: float) -> None:
        """`now` is Unix time. Raises StoreError when the store is away; the next try writes what is true then."""
        if status != self._written or abs(now - self._written_at) >= RENEWAL_S:
            await self._put(Resource("BGPNodeStatus", self._node, stamped(status, now)))
            self._written, self._written_at = status, now

    async def _put(self, report: Resource) -> None:
        """Whatever was there: the version only tells whose it was."""
        version, self._version = self._version, None
        if version is not None:
            try:
                stored = await self._store.update(report.kind, report.name, report.to_document(), version)
            except Conflict:
                self._contest = min(self._contest + _LOST, _MOST)
            except NotFound:
                pass
            else:
                self._version, self._contest = stored.version, max(self._contest - 1, 0)
                return
        self._version = (await put(self._store, report)).version


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
