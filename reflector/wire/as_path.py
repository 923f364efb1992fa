"""AS paths (RFC 4271, 4.3 b and 5.1.2), in four-byte AS numbers, and their travel through older speakers (RFC 6793).

A path is a tuple of segments, a segment a kind and its AS numbers. Speakers that know only two-byte AS numbers put
AS_TRANS where one does not fit and carry the true path beside it, in AS4_PATH: `merge` brings the two together again,
`narrow` takes them apart. Confederations (RFC 5065) are carried, not taken part in.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from reflector.wire.errors import Malformed, UpdateError

Segment = tuple[int, tuple[int, ...]]
Segments = tuple[Segment, ...]

SET, SEQUENCE, CONFED_SEQUENCE, CONFED_SET = 1, 2, 3, 4
AS_TRANS = 23456
_CONFED = (CONFED_SEQUENCE, CONFED_SET)
_MAX_SEGMENT = 255
_WIDTHS = {2: "H", 4: "I"}


def decode_path(value: bytes, width: int = 4) -> Segments:
    """Segments of a path whose AS numbers have `width` bytes. Raises Malformed (RFC 7606, 7.2; RFC 7607 for AS 0)."""
    segments = []
    position, size, letter = 0, len(value), _WIDTHS[width]
    while position < size:
        kind = value[position]
        count = value[position + 1] if position + 1 < size else 0
        end = position + 2 + count * width
        if not count or end > size or not SET <= kind <= CONFED_SET:
            raise Malformed(UpdateError.MALFORMED_AS_PATH, _damage(kind, count))
        asns = struct.unpack_from(f"!{count}{letter}", value, position + 2)
        if 0 in asns:
            raise Malformed(UpdateError.MALFORMED_AS_PATH, "AS 0 in the path")
        segments.append((kind, asns))
        position = end
    return tuple(segments)


def _damage(kind: int, count: int) -> str:
    if not SET <= kind <= CONFED_SET:
        return f"a path segment of type {kind}"
    return f"a path segment of {count} AS numbers that does not fit" if count else "a path segment without AS numbers"


def encode_path(segments: Iterable[Segment], width: int = 4) -> bytes:
    """The inverse of `decode_path`; AS_TRANS stands for what does not fit, and longer segments are split at 255."""
    most = (1 << 8 * width) - 1
    parts = []
    for kind, asns in segments:
        for start in range(0, len(asns), _MAX_SEGMENT):
            piece = asns[start : start + _MAX_SEGMENT]
            fitting = piece if max(piece) <= most else [asn if asn <= most else AS_TRANS for asn in piece]
            parts.append(struct.pack(f"!BB{len(piece)}{_WIDTHS[width]}", kind, len(piece), *fitting))
    return b"".join(parts)


def path_length(segments: Segments) -> int:
    """As the decision process counts: a set is one, a confederation nothing (RFC 4271, 9.1.2.2; RFC 5065, 5.3)."""
    if len(segments) == 1 and segments[0][0] == SEQUENCE:
        return len(segments[0][1])
    return sum(len(asns) if kind == SEQUENCE else kind == SET for kind, asns in segments)


def flat(segments: Segments) -> tuple[int, ...]:
    """All AS numbers in their order, for loop checks."""
    if len(segments) == 1:
        return segments[0][1]
    return tuple(asn for _, asns in segments for asn in asns)


def neighbour_as(segments: Segments) -> int:
    """The AS the path came in from; 0 for one that began inside our own."""
    for kind, asns in segments:
        if kind not in _CONFED:
            return asns[0]
    return 0


def has_confederation(segments: Segments) -> bool:
    return any(kind in _CONFED for kind, _ in segments)


def prepend(segments: Segments, asns: Sequence[int]) -> Segments:
    """The path with `asns` before it (RFC 4271, 5.1.2)."""
    return _joined(((SEQUENCE, tuple(asns)),), segments) if asns else segments


def replace_as(segments: Segments, old: int, new: int) -> Segments:
    """The path with another AS in place of one, wherever it stands (AS override)."""
    return tuple((kind, tuple(new if asn == old else asn for asn in asns)) for kind, asns in segments)


def _joined(first: Segments, second: Segments) -> Segments:
    """One path behind the other; two sequences that meet and fit become one."""
    if first and second and first[-1][0] == second[0][0] == SEQUENCE:
        meeting = first[-1][1] + second[0][1]
        if len(meeting) <= _MAX_SEGMENT:
            return (*first[:-1], (SEQUENCE, meeting), *second[1:])
    return first + second


def merge(path: Segments, as4_path: Segments) -> Segments:
    """The true path from AS_PATH and AS4_PATH of an older speaker (RFC 6793, 4.2.3)."""
    true_end = without_confederations(as4_path)
    missing = path_length(path) - path_length(true_end)
    if missing < 0 or not true_end:
        return path
    lead: list[Segment] = []
    for kind, asns in path:
        if kind in _CONFED:
            lead.append((kind, asns))
        elif not missing:
            break
        elif kind == SET:
            lead.append((kind, asns))
            missing -= 1
        else:
            lead.append((kind, asns[:missing]))
            missing -= len(lead[-1][1])
            if len(lead[-1][1]) < len(asns):
                break
    return _joined(tuple(lead), true_end)


def narrow(path: Segments) -> tuple[bytes, bytes]:
    """The values of AS_PATH and AS4_PATH for an older speaker; the second is empty when none is needed."""
    outside = without_confederations(path)
    needed = any(asn > 0xFFFF for asn in flat(outside))
    return encode_path(path, 2), encode_path(outside) if needed else b""


def without_confederations(path: Segments) -> Segments:
    """An AS4_PATH has no segments of confederations, and what comes with some loses them (RFC 6793, 3 and 6)."""
    return tuple(segment for segment in path if segment[0] not in _CONFED)
