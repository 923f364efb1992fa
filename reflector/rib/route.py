"""A source, and a route of it: one object for all prefixes that came from one source with the same attributes.

A table of a million prefixes in two thousand attribute sets has two thousand routes; per prefix there is a reference.
What best path asks of a route is computed when the route is made, and never again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal
from weakref import WeakValueDictionary

from reflector.wire.attribute_block import AttributeBlock
from reflector.wire.communities import LLGR_STALE

Kind = Literal["client", "non-client", "ebgp"]
Key = bytes
"""What tells routes apart: a prefix as on the wire, or of an opaque family what stands for one."""

_path_numbers = count(1)


@dataclass(eq=False, slots=True)
class Source:
    """A peer as the table sees it. `router_id` and `address` are packed; equal only to itself."""

    name: str
    kind: Kind
    router_id: bytes
    address: bytes
    _routes: WeakValueDictionary[tuple[Any, ...], Route] = field(default_factory=WeakValueDictionary, repr=False)
    _path_ids: dict[bytes, bytes] = field(default_factory=dict, repr=False)

    def route(
        self,
        block: AttributeBlock,
        next_hop: bytes,
        path_id: bytes = b"",
        nlri: bytes = b"",
        received: AttributeBlock | None = None,
    ) -> Route:
        """The one route of this source with these attributes, as long as somebody has it."""
        key = (block, next_hop, path_id, nlri, received or block)
        found = self._routes.get(key)
        if found is None:
            found = self._routes[key] = Route(self, *key)
        return found

    def sent_path_id(self, path_id: bytes) -> bytes:
        """The path identifier (RFC 7911) under which others are told of what came with this one.

        Unique among all sources, and the same as long as the peer is known: what replaces a path replaces it for those
        that were told of it.
        """
        found = self._path_ids.get(path_id)
        if found is None:
            found = self._path_ids[path_id] = (next(_path_numbers) & 0xFFFFFFFF).to_bytes(4, "big")
        return found


class Route:
    """What one source says with one set of attributes.

    `received` are the attributes as they came, `block` what import policy made of them. `path_id` is the one it came
    with, empty without one. `nlri` is the whole NLRI in families where that is more than the key; empty elsewhere.
    `preference` are the steps before MED, `tie` those after it; smaller is better (RFC 4271, 9.1.2.2; RFC 4456, 9). A
    long-lived stale route is worse than any other (RFC 9494, 4.3).
    """

    __slots__ = (
        "__weakref__",
        "block",
        "med",
        "neighbour_as",
        "next_hop",
        "nlri",
        "path_id",
        "preference",
        "received",
        "source",
        "tie",
    )

    def __init__(
        self,
        source: Source,
        block: AttributeBlock,
        next_hop: bytes,
        path_id: bytes = b"",
        nlri: bytes = b"",
        received: AttributeBlock | None = None,
    ) -> None:
        self.source = source
        self.block = block
        self.next_hop = next_hop
        self.path_id = path_id
        self.nlri = nlri
        self.received = received or block
        local_pref = 100 if block.local_pref is None else block.local_pref
        stale = bool(block.communities) and LLGR_STALE in block.communities
        self.preference = (stale, -local_pref, block.as_path_length, block.origin)
        self.neighbour_as = block.neighbour_as
        self.med = block.med or 0
        self.tie = (
            source.kind != "ebgp",
            block.originator_id or source.router_id,
            block.cluster_list_length,
            len(source.address),
            source.address,
            path_id,
        )

    @property
    def sent_path_id(self) -> bytes:
        return self.source.sent_path_id(self.path_id)
