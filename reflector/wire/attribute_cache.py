"""Attribute bytes as they came -> the block they mean, or what is wrong with them. The same bytes are read once.

A cache belongs to one kind of session: eBGP or iBGP, AS numbers of four bytes or of two. All sessions of that kind
share it. It forgets everything when it has grown too large, which costs reading again and nothing else: blocks that are
in use are found again by their canonical bytes, so that a route never changes its block without changing.
"""

from __future__ import annotations

from typing import NamedTuple
from weakref import WeakValueDictionary

from reflector.wire.attribute_block import AttributeBlock, encode_attributes
from reflector.wire.attribute_reader import AttributeReader
from reflector.wire.errors import Fault

#: Bytes of attributes that are remembered before everything is forgotten.
REMEMBERED_BYTES = 8 << 20
#: What an entry costs beside its bytes.
_ENTRY_BYTES = 256


class Attributes(NamedTuple):
    """What attributes say. `block` is None when routes cannot be used with them.

    `missing` is the absence of a mandatory one, which matters only where there are routes.
    """

    block: AttributeBlock | None
    faults: tuple[Fault, ...] = ()
    missing: Fault | None = None


class AttributeCache:
    """`external`: the sessions are eBGP. `four_octet`: what was negotiated (RFC 6793). `loopback`: they run over
    loopback addresses (127.0.0.0/8, ::1), and only there such a next hop is one.

    `known` has attributes without what `take_apart` takes out. `usable` is the shortest way for an UPDATE of IPv4
    unicast prefixes: where NEXT_HOP is, and all other attributes -> what they mean, if routes can be used with them.
    """

    def __init__(
        self,
        *,
        external: bool,
        four_octet: bool = True,
        loopback: bool = False,
        remembered_bytes: int = REMEMBERED_BYTES,
    ) -> None:
        self.external = external
        self.four_octet = four_octet
        self.loopback = loopback
        self._reader = AttributeReader(external=external, four_octet=four_octet)
        self.usable: dict[tuple[int, bytes], tuple[AttributeBlock, tuple[Fault, ...]]] = {}
        self.known: dict[bytes, Attributes] = {}
        self._blocks: WeakValueDictionary[bytes, AttributeBlock] = WeakValueDictionary()
        self._limit = remembered_bytes
        self._size = 0

    def find(self, rest: bytes) -> Attributes:
        """What these attributes mean; `rest` is that of `take_apart`."""
        found = self.known.get(rest)
        if found is None:
            found = self._read(rest)
            self._make_room(rest)
            self.known[rest] = found
        return found

    def remember(self, next_hop_at: int, rest: bytes, block: AttributeBlock, faults: tuple[Fault, ...]) -> None:
        """An UPDATE of IPv4 unicast prefixes whose NEXT_HOP begins there can be used with these other attributes."""
        self._make_room(rest)
        self.usable[next_hop_at, rest] = (block, faults)

    def _make_room(self, raw: bytes) -> None:
        self._size += len(raw) + _ENTRY_BYTES
        if self._size > self._limit:
            self.known.clear()
            self.usable.clear()
            self._size = len(raw) + _ENTRY_BYTES

    def _read(self, rest: bytes) -> Attributes:
        reading = self._reader.read(rest)
        if not reading.usable:
            return Attributes(None, reading.faults, reading.missing)
        raw = rest if reading.canonical else encode_attributes(reading.decoded)
        block = self._blocks.get(raw)
        if block is None:
            block = self._blocks[raw] = AttributeBlock(raw, reading.decoded)
        return Attributes(block, reading.faults)
