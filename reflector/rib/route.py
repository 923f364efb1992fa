"""A source, and a route of it: one object for all prefixes that came from one source with the same attributes.

A table of a million prefixes in two thousand attribute sets has two thousand routes; per prefix there is a reference.
What best path asks of a route is computed when the route is made, and never again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

Kind = Literal["client", "non-client", "ebgp"]
Key = bytes
"""A prefix as on the wire: one byte of length and the bytes that it needs."""


class Block(Protocol):
    """What best path and policy read of a set of path attributes (`reflector.wire.attribute_block`)."""

    @property
    def origin(self) -> int: ...
    @property
    def as_path_length(self) -> int: ...
    @property
    def neighbour_as(self) -> int: ...
    @property
    def med(self) -> int | None: ...
    @property
    def local_pref(self) -> int | None: ...
    @property
    def originator_id(self) -> bytes | None: ...
    @property
    def cluster_list_length(self) -> int: ...


@dataclass(eq=False, slots=True)
class Source:
    """A peer as the table sees it. `router_id` and `address` are packed; equal only to itself."""

    name: str
    kind: Kind
    router_id: bytes
    address: bytes
    routes: dict[tuple[object, bytes, bytes | None], Route] = field(default_factory=dict, repr=False)

    def route(self, block: Block, next_hop: bytes, path_id: bytes | None = None) -> Route:
        """The one route of this source with these attributes."""
        key = (block, next_hop, path_id)
        found = self.routes.get(key)
        if found is None:
            found = self.routes[key] = Route(self, block, next_hop, path_id)
        return found


class Route:
    """What one source says with one set of attributes.

    `preference` are the steps before MED, `tie` those after it; smaller is better (RFC 4271, 9.1.2.2; RFC 4456, 9).
    """

    __slots__ = ("block", "med", "neighbour_as", "next_hop", "path_id", "preference", "source", "tie")

    def __init__(self, source: Source, block: Block, next_hop: bytes, path_id: bytes | None = None) -> None:
        self.source = source
        self.block = block
        self.next_hop = next_hop
        self.path_id = path_id
        local_pref = 100 if block.local_pref is None else block.local_pref
        self.preference = (-local_pref, block.as_path_length, block.origin)
        self.neighbour_as = block.neighbour_as
        self.med = block.med or 0
        identifier = block.originator_id or source.router_id
        self.tie = (
            source.kind != "ebgp",
            identifier,
            block.cluster_list_length,
            len(source.address),
            source.address,
            path_id or b"",
        )
