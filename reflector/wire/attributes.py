"""Path attributes: one table row each, with what it costs when one is malformed (RFC 7606, 7 and the RFC of each).

A row decodes a value or raises `Malformed`, and encodes it again; encoding what was decoded gives the canonical bytes.
Attributes that mean nothing to a reflector are opaque: their framing is checked where their RFC says that a damaged one
must not travel on, and their bytes are kept. MP_REACH_NLRI and MP_UNREACH_NLRI are no rows: they hold the NLRI,
see update.py. AS_PATH and AGGREGATOR have four-byte AS numbers here; attribute_reader.py knows the other form.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from reflector.wire.as_path import decode_path, encode_path
from reflector.wire.errors import Malformed, Strength, UpdateError

OPTIONAL, TRANSITIVE, PARTIAL, EXTENDED_LENGTH = 0x80, 0x40, 0x20, 0x10
_WELL_KNOWN = TRANSITIVE
_OPTIONAL_TRANSITIVE = OPTIONAL | TRANSITIVE

ORIGIN, AS_PATH, NEXT_HOP, MULTI_EXIT_DISC, LOCAL_PREF, ATOMIC_AGGREGATE, AGGREGATOR = range(1, 8)
COMMUNITIES, ORIGINATOR_ID, CLUSTER_LIST = 8, 9, 10
MP_REACH_NLRI, MP_UNREACH_NLRI, EXTENDED_COMMUNITIES, AS4_PATH, AS4_AGGREGATOR = 14, 15, 16, 17, 18
PMSI_TUNNEL, TUNNEL_ENCAPSULATION, TRAFFIC_ENGINEERING, IPV6_EXTENDED_COMMUNITIES, AIGP = 22, 23, 24, 25, 26
LINK_STATE, LARGE_COMMUNITIES, ONLY_TO_CUSTOMER, PREFIX_SID, ATTR_SET = 29, 32, 35, 40, 128

Aggregator = tuple[int, bytes]
Attribute = tuple[int, int, bytes]
"""(code, flags, value)."""


class Framing(ValueError):
    """Attributes whose lengths do not fit the field they are in (RFC 7606, 4)."""


def encode_attribute(code: int, flags: int, value: bytes) -> bytes:
    """One attribute; the length has two bytes where it must."""
    size = len(value)
    if size > 255:
        return bytes((flags | EXTENDED_LENGTH, code, size >> 8, size & 255)) + value
    return bytes((flags & ~EXTENDED_LENGTH, code, size)) + value


def cut(raw: bytes) -> tuple[list[bytes], str]:
    """The attributes of a field, each with its head, and what is wrong behind the last whole one (RFC 7606, 4)."""
    found: list[bytes] = []
    position, size = 0, len(raw)
    while position + 3 <= size:
        end = position + 3 + raw[position + 2]
        if raw[position] & EXTENDED_LENGTH:
            if position + 4 > size:
                break
            end = position + 4 + (raw[position + 2] << 8 | raw[position + 3])
        if end > size:
            return found, f"attribute {raw[position + 1]} is longer than the field it is in"
        found.append(raw[position:end])
        position = end
    return found, f"{size - position} bytes behind the last attribute" if position < size else ""


def parted(attribute: bytes) -> Attribute:
    """One whole attribute as code, flags and value."""
    return attribute[1], attribute[0], attribute[4 if attribute[0] & EXTENDED_LENGTH else 3 :]


def walk(raw: bytes) -> Iterator[Attribute]:
    """The attributes of a field in their order. Raises Framing behind the last whole one."""
    found, damage = cut(raw)
    yield from map(parted, found)
    if damage:
        raise Framing(damage)


def index_of(raw: bytes, code: int) -> int:
    """Where the first attribute of this type code or a higher one begins in canonical attributes."""
    position = 0
    while position < len(raw) and raw[position + 1] < code:
        if raw[position] & EXTENDED_LENGTH:
            position += 4 + (raw[position + 2] << 8 | raw[position + 3])
        else:
            position += 3 + raw[position + 2]
    return position


@dataclass(frozen=True, slots=True)
class AttributeRow:
    """A path attribute that is known.

    `name` is its keyword in `AttributeBlock.rewritten`, `title` the RFC's name. `flags` are its Optional and Transitive
    bits; `malformed` is what wrong flags and wrong values cost. `internal` ones are discarded when an eBGP peer sends
    them (RFC 7606, 7.5, 7.9, 7.10; RFC 7311, 3.2).
    """

    name: str
    title: str
    flags: int
    malformed: Strength
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]
    internal: bool = False


def _sized(value: bytes, size: int) -> bytes:
    if len(value) != size:
        raise Malformed(UpdateError.ATTRIBUTE_LENGTH, f"{len(value)} bytes instead of {size}")
    return value


def _multiple(value: bytes, size: int) -> int:
    """How many of `size` bytes there are, at least one."""
    count, rest = divmod(len(value), size)
    if rest or not count:
        raise Malformed(UpdateError.OPTIONAL_ATTRIBUTE, f"{len(value)} bytes are no multiple of {size} above 0")
    return count


def _same(value: bytes) -> bytes:
    return value


def _decode_origin(value: bytes) -> int:
    if _sized(value, 1)[0] > 2:
        raise Malformed(UpdateError.INVALID_ORIGIN, f"origin {value[0]}")
    return value[0]


def _encode_origin(origin: int) -> bytes:
    return bytes((origin,))


def _decode_number(value: bytes) -> int:
    return int.from_bytes(_sized(value, 4), "big")


def _encode_number(number: int) -> bytes:
    return number.to_bytes(4, "big")


def _decode_presence(value: bytes) -> bool:
    return _sized(value, 0) == b""


def _encode_presence(_: bool) -> bytes:
    return b""


def decode_aggregator(value: bytes, width: int = 4) -> Aggregator:
    """(AS number, identifier). Raises Malformed (RFC 7606, 7.7; RFC 7607 for AS 0)."""
    _sized(value, width + 4)
    asn = int.from_bytes(value[:width], "big")
    if not asn:
        raise Malformed(UpdateError.OPTIONAL_ATTRIBUTE, "aggregated by AS 0")
    return asn, value[width:]


def _encode_aggregator(aggregator: Aggregator) -> bytes:
    return aggregator[0].to_bytes(4, "big") + aggregator[1]


def _decode_communities(value: bytes) -> tuple[int, ...]:
    return struct.unpack(f"!{_multiple(value, 4)}I", value)


def _encode_communities(communities: tuple[int, ...]) -> bytes:
    return struct.pack(f"!{len(communities)}I", *communities)


def _decode_large(value: bytes) -> tuple[tuple[int, int, int], ...]:
    """One that is there twice is taken once (RFC 8092, 4)."""
    numbers = struct.unpack(f"!{3 * _multiple(value, 12)}I", value)
    return tuple(dict.fromkeys(zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True)))


def _encode_large(communities: tuple[tuple[int, int, int], ...]) -> bytes:
    return b"".join(struct.pack("!III", *community) for community in communities)


def _decode_identifier(value: bytes) -> bytes:
    return _sized(value, 4)


def _list_of(size: int) -> Callable[[bytes], tuple[bytes, ...]]:
    def decode(value: bytes) -> tuple[bytes, ...]:
        return tuple(value[n * size : n * size + size] for n in range(_multiple(value, size)))

    return decode


def _at_least(least: int) -> Callable[[bytes], bytes]:
    def decode(value: bytes) -> bytes:
        if len(value) < least:
            raise Malformed(UpdateError.ATTRIBUTE_LENGTH, f"{len(value)} bytes, of at least {least}")
        return value

    return decode


def _of_tlvs(type_size: int, length_size: int) -> Callable[[bytes], bytes]:
    """At least one type, length, value, and nothing but such."""
    head = type_size + length_size

    def decode(value: bytes) -> bytes:
        position = 0
        while position < len(value) or not value:
            length = int.from_bytes(value[position + type_size : position + head], "big")
            position += head + length
            if position > len(value):
                raise Malformed(UpdateError.OPTIONAL_ATTRIBUTE, "a TLV that does not fit")
        return value

    return decode


_AIGP_TLV, _AIGP_LENGTH = 1, 11


def _decode_aigp(value: bytes) -> bytes:
    """TLVs whose length counts their type and length too; that of the metric is always 11 (RFC 7311, 3)."""
    position = 0
    while position < len(value) or not value:
        length = int.from_bytes(value[position + 1 : position + 3], "big")
        if length < 3 or position + length > len(value):
            raise Malformed(UpdateError.OPTIONAL_ATTRIBUTE, "a TLV that does not fit")
        if value[position] == _AIGP_TLV and length != _AIGP_LENGTH:
            raise Malformed(UpdateError.OPTIONAL_ATTRIBUTE, f"a metric of {length} bytes")
        position += length
    return value


def _decode_attr_set(value: bytes) -> bytes:
    """An AS number and attributes of another network, none of which may hold NLRI (RFC 6368, 5)."""
    _at_least(4)(value)
    try:
        codes = [code for code, _, _ in walk(value[4:])]
    except Framing as broken:
        raise Malformed(UpdateError.OPTIONAL_ATTRIBUTE, str(broken)) from None
    if MP_REACH_NLRI in codes or MP_UNREACH_NLRI in codes:
        raise Malformed(UpdateError.OPTIONAL_ATTRIBUTE, "NLRI among the attributes of another network")
    return value


_DISCARD, _WITHDRAW = Strength.DISCARD, Strength.WITHDRAW
_OPAQUE = _at_least(1)
_NON_TRANSITIVE = OPTIONAL

ROWS: dict[int, AttributeRow] = {
    ORIGIN: AttributeRow("origin", "ORIGIN", _WELL_KNOWN, _WITHDRAW, _decode_origin, _encode_origin),
    AS_PATH: AttributeRow("as_path", "AS_PATH", _WELL_KNOWN, _WITHDRAW, decode_path, encode_path),
    NEXT_HOP: AttributeRow("next_hop", "NEXT_HOP", _WELL_KNOWN, _WITHDRAW, _decode_identifier, _same),
    MULTI_EXIT_DISC: AttributeRow("med", "MULTI_EXIT_DISC", _NON_TRANSITIVE, _WITHDRAW, _decode_number, _encode_number),
    LOCAL_PREF: AttributeRow(
        "local_pref", "LOCAL_PREF", _WELL_KNOWN, _WITHDRAW, _decode_number, _encode_number, internal=True
    ),
    ATOMIC_AGGREGATE: AttributeRow(
        "atomic_aggregate", "ATOMIC_AGGREGATE", _WELL_KNOWN, _DISCARD, _decode_presence, _encode_presence
    ),
    AGGREGATOR: AttributeRow(
        "aggregator", "AGGREGATOR", _OPTIONAL_TRANSITIVE, _DISCARD, decode_aggregator, _encode_aggregator
    ),
    COMMUNITIES: AttributeRow(
        "communities", "COMMUNITIES", _OPTIONAL_TRANSITIVE, _WITHDRAW, _decode_communities, _encode_communities
    ),
    ORIGINATOR_ID: AttributeRow(
        "originator_id", "ORIGINATOR_ID", _NON_TRANSITIVE, _WITHDRAW, _decode_identifier, _same, internal=True
    ),
    CLUSTER_LIST: AttributeRow(
        "cluster_list", "CLUSTER_LIST", _NON_TRANSITIVE, _WITHDRAW, _list_of(4), b"".join, internal=True
    ),
    EXTENDED_COMMUNITIES: AttributeRow(
        "extended_communities", "EXTENDED_COMMUNITIES", _OPTIONAL_TRANSITIVE, _WITHDRAW, _list_of(8), b"".join
    ),
    AS4_PATH: AttributeRow("as4_path", "AS4_PATH", _OPTIONAL_TRANSITIVE, _DISCARD, decode_path, encode_path),
    AS4_AGGREGATOR: AttributeRow(
        "as4_aggregator", "AS4_AGGREGATOR", _OPTIONAL_TRANSITIVE, _DISCARD, decode_aggregator, _encode_aggregator
    ),
    PMSI_TUNNEL: AttributeRow("pmsi_tunnel", "PMSI_TUNNEL", _OPTIONAL_TRANSITIVE, _WITHDRAW, _at_least(5), _same),
    TUNNEL_ENCAPSULATION: AttributeRow(
        "tunnel_encapsulation", "TUNNEL_ENCAPSULATION", _OPTIONAL_TRANSITIVE, _WITHDRAW, _of_tlvs(2, 2), _same
    ),
    TRAFFIC_ENGINEERING: AttributeRow(
        "traffic_engineering", "TRAFFIC_ENGINEERING", _NON_TRANSITIVE, _WITHDRAW, _OPAQUE, _same
    ),
    IPV6_EXTENDED_COMMUNITIES: AttributeRow(
        "ipv6_extended_communities",
        "IPV6_EXTENDED_COMMUNITIES",
        _OPTIONAL_TRANSITIVE,
        _WITHDRAW,
        _list_of(20),
        b"".join,
    ),
    AIGP: AttributeRow("aigp", "AIGP", _NON_TRANSITIVE, _DISCARD, _decode_aigp, _same, internal=True),
    LINK_STATE: AttributeRow("link_state", "BGP-LS", _NON_TRANSITIVE, _DISCARD, _of_tlvs(2, 2), _same),
    LARGE_COMMUNITIES: AttributeRow(
        "large_communities", "LARGE_COMMUNITY", _OPTIONAL_TRANSITIVE, _WITHDRAW, _decode_large, _encode_large
    ),
    ONLY_TO_CUSTOMER: AttributeRow(
        "only_to_customer", "ONLY_TO_CUSTOMER", _OPTIONAL_TRANSITIVE, _WITHDRAW, _decode_number, _encode_number
    ),
    PREFIX_SID: AttributeRow("prefix_sid", "PREFIX_SID", _OPTIONAL_TRANSITIVE, _DISCARD, _of_tlvs(1, 2), _same),
    ATTR_SET: AttributeRow("attr_set", "ATTR_SET", _OPTIONAL_TRANSITIVE, _WITHDRAW, _decode_attr_set, _same),
}
