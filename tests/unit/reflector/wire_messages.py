"""UPDATEs put together from parts, valid or not, and the random parts that property tests draw."""

from __future__ import annotations

import random
from collections.abc import Iterator

from hypothesis import strategies as st

from reflector.wire.attribute_cache import AttributeCache
from reflector.wire.errors import ResetSession
from reflector.wire.families import FAMILIES, Family
from reflector.wire.negotiated import Negotiated
from reflector.wire.update import Update, decode_update

V4, V6, VPN4, EVPN = Family(1, 1), Family(2, 1), Family(1, 128), Family(25, 70)
#: All families, AS numbers of four bytes.
EVERYTHING = Negotiated(families=tuple(FAMILIES))

ORIGIN = bytes.fromhex("400101 00")
AS_PATH = bytes.fromhex("400206 02 01 0000fde8")
NEXT_HOP = bytes.fromhex("400304 0a000001")
LOCAL_PREF = bytes.fromhex("400504 00000064")
IPV6_NEXT_HOP = bytes.fromhex("fd000000000000000000000000000001")

PREFIX = bytes.fromhex("18 0a0102")
OTHER_PREFIX = bytes.fromhex("18 0a0103")
PREFIX6 = bytes.fromhex("40 fd00000100000001")


def attribute(code: int, value: bytes, flags: int = 0x40, *, extended: bool = False) -> bytes:
    """An attribute with whatever flags; the extended length where it must be or is wanted."""
    if extended or len(value) > 255:
        return bytes((flags | 0x10, code)) + len(value).to_bytes(2, "big") + value
    return bytes((flags, code, len(value))) + value


def update(attributes: bytes = b"", nlri: bytes = b"", withdrawn: bytes = b"") -> bytes:
    """The body of an UPDATE."""
    return len(withdrawn).to_bytes(2, "big") + withdrawn + len(attributes).to_bytes(2, "big") + attributes + nlri


def reach(family: Family, next_hop: bytes, nlri: bytes, flags: int = 0x80, reserved: int = 0) -> bytes:
    """MP_REACH_NLRI."""
    value = family.packed + bytes((len(next_hop),)) + next_hop + bytes((reserved,)) + nlri
    return attribute(14, value, flags)


def unreach(family: Family, nlri: bytes, flags: int = 0x80) -> bytes:
    """MP_UNREACH_NLRI."""
    return attribute(15, family.packed + nlri, flags)


def decoded(
    body: bytes, *, external: bool = False, four_octet: bool = True, negotiated: Negotiated = EVERYTHING
) -> Update:
    """Decoded with a new cache, twice: the second time from the cache, which must make no difference."""
    cache = AttributeCache(external=external, four_octet=four_octet)
    first = decode_update(body, negotiated, cache)
    assert decode_update(body, negotiated, cache) == first
    return first


def outcome(body: bytes, *, external: bool = False, four_octet: bool = True) -> str:
    """What an UPDATE leads to in one word: kept, gone (an attribute), withdrawn, or the reset with its code."""
    try:
        found = decoded(body, external=external, four_octet=four_octet)
    except ResetSession as reset:
        return f"reset {reset.code}/{reset.subcode}"
    if not found.faults:
        return "kept"
    if max(fault.strength for fault in found.faults) == 1:
        return "gone"
    assert found.announced == []
    assert found.block is None
    return "withdrawn"


def pieces(data: bytes, seed: int) -> Iterator[bytes]:
    """The data in random cuts; seed 0 whole, seed 1 byte by byte."""
    if seed < 2:
        size = len(data) if seed == 0 else 1
        yield from (data[n : n + size] for n in range(0, len(data), max(size, 1)))
        return
    chance = random.Random(seed)
    while data:
        size = chance.choice((1, 2, 18, 19, 20, 40, 1000))
        yield data[:size]
        data = data[size:]


def prefixes(bits: int) -> st.SearchStrategy[bytes]:
    """A prefix as on the wire, host bits zero."""

    def packed(length: int, address: int) -> bytes:
        kept = address >> (bits - length) << (bits - length) if length else 0
        return bytes((length,)) + kept.to_bytes(bits // 8, "big")[: (length + 7) // 8]

    return st.builds(packed, st.integers(0, bits), st.integers(0, (1 << bits) - 1))
