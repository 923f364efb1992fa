"""NLRI fields cut into single NLRI: the bytes as on the wire are the keys of all tables.

A prefix is one byte of length and as many bytes as it needs, host bits zero (RFC 4271, 4.3), so that a route has one
key however a peer wrote it. With path identifiers (RFC 7911) a key is the four bytes of the identifier and then the
same. Opaque NLRI are cut by a rule that says where the one at an index ends, and are not changed.

Where a field is broken the rules return an end behind the end of the field: one comparison after the loop finds all
kinds of damage. RFC 7606, 5.3 asks no more: a route whose prefix cannot be located can neither be used nor withdrawn.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import lru_cache

from peering.prefixes import format_prefix

Key = bytes
Splitter = Callable[[bytes], list[Key]]
#: (field, index of an NLRI) -> index behind it; behind the field when it is broken or does not fit.
EndRule = Callable[[bytes, int], int]

_PATH_ID = 4
_BEYOND = 1 << 20  # no field is as long
_LABEL, _LABEL_BITS, _BOTTOM_OF_STACK = 3, 24, 1

#: By bits over the last whole byte: the host bits of a prefix's last byte.
_HOST_BITS = (0, 0x7F, 0x3F, 0x1F, 0x0F, 0x07, 0x03, 0x01)
#: From so many prefixes on it pays to see whether all of a field are equally long.
_MANY = 6
#: Layouts of up to so many prefixes are remembered; longer fields are cut in several turns.
_MOST_AT_ONCE = 1024
#: By `length & 7`: the bytes that have no host bits.
_CLEAN = tuple(bytes(byte for byte in range(256) if not byte & host) for host in _HOST_BITS)


class MalformedNlri(ValueError):
    """An NLRI field that cannot be cut."""


def prefix_splitters(bits: int) -> tuple[Splitter, Splitter]:
    """How fields of prefixes of up to `bits` bits are cut, without and with path identifiers."""
    sizes = tuple(1 + (length + 7) // 8 if length <= bits else _BEYOND for length in range(256))

    def split(data: bytes) -> list[Key]:
        end = len(data)
        if end and end >= _MANY * sizes[data[0]]:
            keys = _equally_long(data, sizes[data[0]])
            if keys is not None:
                return keys
        keys, position = [], 0
        while position < end:
            length = data[position]
            start, position = position, position + sizes[length]
            key = data[start:position]
            if length & 7 and key[-1] & _HOST_BITS[length & 7]:
                key = _without_host_bits(key)
            keys.append(key)
        if position != end:
            raise MalformedNlri(_prefix_damage(keys[-1], bits))
        return keys

    def split_paths(data: bytes) -> list[Key]:
        keys, position, end = [], 0, len(data)
        while position < end:
            start = position
            position += _PATH_ID
            if position >= end:
                raise MalformedNlri("a path identifier without a prefix")
            length = data[position]
            position += sizes[length]
            key = data[start:position]
            if length & 7 and key[-1] & _HOST_BITS[length & 7]:
                key = key[:_PATH_ID] + _without_host_bits(key[_PATH_ID:])
            keys.append(key)
        if position != end:
            raise MalformedNlri(_prefix_damage(keys[-1][_PATH_ID:], bits))
        return keys

    return split, split_paths


def splitters(end_of: EndRule) -> tuple[Splitter, Splitter]:
    """How fields of opaque NLRI are cut, without and with path identifiers."""

    def split(data: bytes) -> list[Key]:
        return list(_cut(data, end_of, 0))

    def split_paths(data: bytes) -> list[Key]:
        return list(_cut(data, end_of, _PATH_ID))

    return split, split_paths


def _cut(data: bytes, end_of: EndRule, skip: int) -> Iterator[Key]:
    position, size = 0, len(data)
    while position < size:
        end = end_of(data, position + skip) if position + skip < size else _BEYOND
        if end > size:
            raise MalformedNlri(f"an NLRI that does not fit its field, at byte {position}")
        yield data[position:end]
        position = end


def _equally_long(data: bytes, size: int) -> list[Key] | None:
    """The prefixes of a field in which all have the length of the first and no host bits; None for another."""
    count, rest = divmod(len(data), size)
    length = data[0]
    if rest or data[::size].count(length) != count:
        return None
    if length & 7 and data[size - 1 :: size].translate(None, _CLEAN[length & 7]):
        return None
    return _pieces(data, size, count)


def _pieces(data: bytes, size: int, count: int) -> list[Key]:
    """The data in `count` pieces of `size` bytes; several times as fast as slicing."""
    if count <= _MOST_AT_ONCE:
        return list(_layout(size, count).unpack(data))
    step = _MOST_AT_ONCE * size
    turns = (data[start : start + step] for start in range(0, len(data), step))
    return [key for turn in turns for key in _layout(size, len(turn) // size).unpack(turn)]


@lru_cache(128)
def _layout(size: int, count: int) -> struct.Struct:
    return struct.Struct(f"{size}s" * count)


def _without_host_bits(key: Key) -> Key:
    return key[:-1] + bytes((key[-1] & ~_HOST_BITS[key[0] & 7],))


def _prefix_damage(key: Key, bits: int) -> str:
    if key and key[0] > bits:
        return f"a prefix length of {key[0]}, of at most {bits}"
    return "a prefix that is longer than its field"


# Where an opaque NLRI ends


def end_by_bits(data: bytes, start: int) -> int:
    """A length in bits, then the bytes (SR policy, RFC 9830)."""
    return start + 1 + (data[start] + 7) // 8


def labelled(address: int, distinguisher: int = 0) -> tuple[EndRule, Callable[[Key], Key]]:
    """A length in bits, a label, a route distinguisher if there is one, a prefix (RFC 8277, 2.2; RFC 4364, 4.3.4).

    `address` and `distinguisher` are in bits. Returns the end rule and what tells routes apart: the NLRI without
    labels, since a withdrawal need not name them (RFC 8277, 2.4). There is one label; where the length is too much for
    that, there is a stack of them, as in RFC 3107, whose last one is marked.
    """

    def labels(nlri: bytes) -> int:
        """How many labels are at the start of this; 0 when what is behind them is no prefix."""
        count, rest = 1, nlri[0] - _LABEL_BITS - distinguisher
        while rest > address and not nlri[_LABEL * count] & _BOTTOM_OF_STACK:
            count, rest = count + 1, rest - _LABEL_BITS
        return count if 0 <= rest <= address else 0

    def end_of(data: bytes, start: int) -> int:
        end = end_by_bits(data, start)
        return end if end <= len(data) and labels(data[start:end]) else _BEYOND

    def without_labels(nlri: Key) -> Key:
        count = labels(nlri)
        key = bytes((nlri[0] - _LABEL_BITS * count,)) + nlri[1 + _LABEL * count :]
        return _without_host_bits(key) if key[0] & 7 else key

    return end_of, without_labels


def end_of_flowspec(data: bytes, start: int) -> int:
    """A length in bytes, of two bytes from 240 on (RFC 8955, 4.1)."""
    length = data[start]
    if length < 0xF0:
        return start + 1 + length
    return start + 2 + ((length & 0x0F) << 8 | data[start + 1]) if start + 1 < len(data) else _BEYOND


def end_of_typed(data: bytes, start: int) -> int:
    """A type, a length in bytes (EVPN, RFC 7432, 7; MVPN, RFC 6514, 4)."""
    return start + 2 + data[start + 1] if start + 1 < len(data) else _BEYOND


def end_of_mup(data: bytes, start: int) -> int:
    """An architecture, a type of two bytes, a length in bytes (draft-mpmz-bess-mup-safi)."""
    return start + 4 + data[start + 3] if start + 3 < len(data) else _BEYOND


def end_of_vpls(data: bytes, start: int) -> int:
    """A length of two bytes (RFC 4761, 3.2.2)."""
    return start + 2 + (data[start] << 8 | data[start + 1]) if start + 1 < len(data) else _BEYOND


def end_of_link_state(data: bytes, start: int) -> int:
    """A type and a length of two bytes each (RFC 9552, 5.2)."""
    return start + 4 + (data[start + 2] << 8 | data[start + 3]) if start + 3 < len(data) else _BEYOND


def evpn_key(nlri: Key) -> Key:
    """An EVPN route without what is an attribute of it: labels, the segment of a MAC, the gateway of a prefix.

    RFC 7432, 7.1 and 7.2; RFC 9136, 3.1. Of other types the whole NLRI is the key.
    """
    kind, value = nlri[0], nlri[2:]
    if kind == 1 and len(value) == 25:
        return nlri[:1] + value[:22]
    if kind == 2 and len(value) >= 33:
        address = 30 + value[29] // 8
        return nlri[:1] + value[:8] + value[18:address]
    if kind == 5 and len(value) in (34, 58):
        return nlri[:1] + value[:8] + value[18 : 23 + (4 if len(value) == 34 else 16)]
    return nlri


def prefix_text(key: Key, bits: int) -> str:
    """`b"\\x18\\x0a\\x01\\x02"`, 32 -> `"10.1.2.0/24"`. For keys of prefixes, without path identifier."""
    return format_prefix(key.ljust(1 + bits // 8, b"\0"))
