"""Prefixes and next hops as people read them."""

from __future__ import annotations

from peering.prefixes import format_address, pack_prefix
from reflector.rib.route import Key
from reflector.wire.families import FAMILIES, Family
from reflector.wire.nlri import prefix_text

_BITS = {1: 32, 2: 128}


def format_key(family: Family, key: Key) -> str:
    """`10.1.2.0/24`; of an opaque family the bytes in hexadecimal."""
    return key.hex() if FAMILIES[family].opaque else prefix_text(key, _BITS[family.afi])


def format_next_hop(next_hop: bytes) -> str:
    """An address, the global one of two; with a route distinguisher or none at all, the bytes in hexadecimal."""
    if len(next_hop) in (4, 16):
        return format_address(next_hop)
    return format_address(next_hop[:16]) if len(next_hop) == 32 else next_hop.hex()


def key_of(text: str) -> tuple[Family, Key]:
    """`10.1.2.0/24` -> (family, key). Raises ValueError."""
    packed = pack_prefix(text)
    family = Family(1 if len(packed) == 5 else 2, 1)
    return family, packed[: 1 + (packed[0] + 7) // 8]
