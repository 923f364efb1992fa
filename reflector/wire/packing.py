"""UPDATEs made from routes: as few as possible, each for one kind of thing (RFC 7606, 5.1).

IPv4 unicast goes into the UPDATE's own fields, unless its next hop is an IPv6 address (RFC 8950); everything else into
MP_REACH_NLRI and MP_UNREACH_NLRI, which come first among the attributes.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from reflector.wire.attributes import (
    MP_REACH_NLRI,
    MP_UNREACH_NLRI,
    NEXT_HOP,
    OPTIONAL,
    TRANSITIVE,
    encode_attribute,
    index_of,
)
from reflector.wire.families import IPV4_UNICAST, Family
from reflector.wire.framing import MARKER, MAX_LENGTH, UPDATE
from reflector.wire.nlri import Key

#: Marker, length, type, length of the withdrawn routes; then those, the length of the attributes, those, and NLRI.
_HEAD = struct.Struct("!16sHBH")
_LENGTH = struct.Struct("!H")
#: An UPDATE without anything in it, and the head of an attribute of any length.
_EMPTY, _ATTRIBUTE_HEAD = 23, 4

Announcement = tuple[bytes, bytes, Iterable[Key]]
"""(next hop, attributes without next hop in canonical form, NLRI)."""


def encode_updates(
    family: Family, withdrawn: Iterable[Key], announced: Iterable[Announcement], max_length: int = MAX_LENGTH
) -> list[bytes]:
    """Whole messages: withdrawals first, then each group of announcements, each message as full as it can be.

    Keys are as `decode_update` gives them, with path identifiers where the receiver negotiated them. What has so many
    attributes that not one NLRI fits beside them is withdrawn instead: the receiver may have an older route (RFC 8654,
    4, says the same of messages that are too long for a peer).
    """
    messages: list[bytes] = []
    unsendable: list[Key] = []
    for next_hop, attributes, keys in announced:
        if family == IPV4_UNICAST and len(next_hop) == 4:
            own = _with_next_hop(attributes, next_hop)
            for field in _fields(keys, max_length - _EMPTY - len(own), unsendable):
                messages.append(_message(b"", own, field))
            continue
        head = family.packed + bytes((len(next_hop),)) + next_hop + b"\0"
        room = max_length - _EMPTY - _ATTRIBUTE_HEAD - len(head) - len(attributes)
        for field in _fields(keys, room, unsendable):
            messages.append(_message(b"", encode_attribute(MP_REACH_NLRI, OPTIONAL, head + field) + attributes))
    return [*_withdrawals(family, [*withdrawn, *unsendable], max_length), *messages]


def encode_end_of_rib(family: Family) -> bytes:
    """The message that all routes of a family were sent (RFC 4724, 2)."""
    if family == IPV4_UNICAST:
        return _message(b"", b"")
    return _message(b"", encode_attribute(MP_UNREACH_NLRI, OPTIONAL, family.packed))


def _withdrawals(family: Family, keys: Sequence[Key], max_length: int) -> Iterator[bytes]:
    lost: list[Key] = []
    if family == IPV4_UNICAST:
        for field in _fields(keys, max_length - _EMPTY, lost):
            yield _message(field, b"")
        return
    head = family.packed
    for field in _fields(keys, max_length - _EMPTY - _ATTRIBUTE_HEAD - len(head), lost):
        yield _message(b"", encode_attribute(MP_UNREACH_NLRI, OPTIONAL, head + field))


def _fields(keys: Iterable[Key], room: int, unsendable: list[Key]) -> Iterator[bytes]:
    """The keys one behind the other in fields of at most `room` bytes; those that need more go to `unsendable`."""
    listed = keys if isinstance(keys, list) else list(keys)
    whole = b"".join(listed)
    if 0 < len(whole) <= room:
        yield whole
        return
    ends = list(accumulate(map(len, listed)))
    index = start = 0
    while index < len(listed):
        stop = bisect_right(ends, start + room, index)
        if stop == index:
            unsendable.append(listed[index])
            stop += 1
        else:
            yield whole[start : ends[stop - 1]]
        index, start = stop, ends[stop - 1]


def _message(withdrawn: bytes, attributes: bytes, nlri: bytes = b"") -> bytes:
    length = _EMPTY + len(withdrawn) + len(attributes) + len(nlri)
    head = _HEAD.pack(MARKER, length, UPDATE, len(withdrawn))
    return b"".join((head, withdrawn, _LENGTH.pack(len(attributes)), attributes, nlri))


def _with_next_hop(attributes: bytes, next_hop: bytes) -> bytes:
    """NEXT_HOP in its place among the attributes."""
    position = index_of(attributes, NEXT_HOP)
    return attributes[:position] + encode_attribute(NEXT_HOP, TRANSITIVE, next_hop) + attributes[position:]
