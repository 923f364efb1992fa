"""Blocks, prefixes and filters for tests of policy, in readable form."""

from __future__ import annotations

from typing import Any

from peering.prefixes import pack_prefix
from peering.resources.bgp_filter import BGPFilterSpec
from peering.route_filter import Named
from reflector.rib.route import Key, Kind, Route, Source
from reflector.wire.as_path import SEQUENCE
from reflector.wire.attribute_block import AttributeBlock, encode_attributes
from reflector.wire.attributes import ROWS, walk

LOCAL, PEER, OTHER = 64512, 65001, 65002
ROUTER, CLUSTER = bytes((10, 0, 0, 1)), bytes((10, 255, 0, 1))
NEXT_HOP = bytes((10, 0, 0, 9))
ACCEPT: dict[str, Any] = {"action": "Accept"}
REJECT: dict[str, Any] = {"action": "Reject"}

_CODES = {row.name: code for code, row in ROWS.items()}


def block(*path: int, **values: Any) -> AttributeBlock:
    """A block with this AS path as one sequence; other attributes by their names in `AttributeBlock.rewritten`."""
    found: dict[str, Any] = {"origin": 0, "as_path": ((SEQUENCE, path),) if path else (), **values}
    decoded = {_CODES[name]: (ROWS[_CODES[name]].flags, value) for name, value in found.items() if value is not None}
    return AttributeBlock(encode_attributes(decoded), decoded)


def read(raw: bytes) -> dict[str, Any]:
    """Encoded attributes by name, values decoded."""
    return {ROWS[code].name: ROWS[code].decode(value) for code, _, value in walk(raw)}


def values(one: AttributeBlock) -> dict[str, Any]:
    """What a block holds."""
    return read(one.raw)


def wire(prefix: str) -> Key:
    """`"10.1.0.0/16"` -> the key on the wire."""
    packed = pack_prefix(prefix)
    return packed[: 1 + (packed[0] + 7) // 8]


def keys(*prefixes: str) -> list[Key]:
    return [wire(prefix) for prefix in prefixes]


def filters(field: str, *rules: dict[str, Any], name: str = "f") -> Named:
    """One BGPFilter with these rules in `importV4` or another list."""
    return ((name, BGPFilterSpec.model_validate({field: list(rules)})),)


def source(kind: Kind = "client", router_id: bytes = bytes((10, 0, 0, 9))) -> Source:
    return Source("peer", kind, router_id, router_id)


def route(one: AttributeBlock, kind: Kind = "client", next_hop: bytes = NEXT_HOP) -> Route:
    """A route from a source of its own."""
    return Route(source(kind), one, next_hop)
