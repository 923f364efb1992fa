"""Attribute bytes taken apart and read, with what RFC 7606 says about those that are wrong. No memory: see the cache.

An UPDATE's attributes are first divided into what belongs to the route alone (next hop, NLRI) and the rest, which many
routes share. The rest is read by the rows of attributes.py, in the variant that the kind of session asks for: what an
eBGP peer may not send, and where AS numbers have two bytes.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from typing import Any, NamedTuple

from reflector.wire.as_path import AS_TRANS, Segments, decode_path, has_confederation, merge
from reflector.wire.attributes import (
    AGGREGATOR,
    AS4_AGGREGATOR,
    AS4_PATH,
    AS_PATH,
    EXTENDED_LENGTH,
    LARGE_COMMUNITIES,
    MP_REACH_NLRI,
    MP_UNREACH_NLRI,
    NEXT_HOP,
    OPTIONAL,
    ORIGIN,
    PARTIAL,
    ROWS,
    TRANSITIVE,
    AttributeRow,
    cut,
    decode_aggregator,
    encode_attribute,
    parted,
)
from reflector.wire.errors import ErrorCode, Fault, Malformed, ResetSession, Strength, UpdateError
from reflector.wire.next_hop import next_hop_damage

#: An UPDATE may have thousands of attributes that are wrong; so many are told, and the strongest is among them.
_MOST_FAULTS = 8
_KIND_BITS = OPTIONAL | TRANSITIVE
#: Sets of attributes differ in one or two of them: so many attributes, of up to so many bytes, are remembered singly.
_REMEMBERED, _SHORT = 4096, 64
#: What an attribute means ((flags, decoded value), a Fault, or None for one to be dropped), and whether its bytes have
#: the form in which they are sent.
_Outcome = tuple[Any, bool]
#: Attributes whose bytes may not be what they came as.
_CHANGED = frozenset((AS4_PATH, AS4_AGGREGATOR, LARGE_COMMUNITIES))
_TAKEN_OUT = frozenset((NEXT_HOP, MP_REACH_NLRI, MP_UNREACH_NLRI))


class Parts(NamedTuple):
    """Attributes of an UPDATE taken apart: (flags, value) of what is not part of a block, and the rest as it was.

    `repeated`: there was more than one NEXT_HOP, of which the first is here (RFC 7606, 3 g). `next_hop_at` is where it
    began.
    """

    rest: bytes
    next_hop: tuple[int, bytes] | None
    reach: tuple[int, bytes] | None
    unreach: tuple[int, bytes] | None
    repeated: bool = False
    next_hop_at: int = -1

    @property
    def next_hop_alone(self) -> bool:
        """Whether one NEXT_HOP is all that was taken out."""
        return self.next_hop is not None and self.reach is None and self.unreach is None and not self.repeated


def take_apart(raw: bytes, known: Container[bytes] = ()) -> Parts:
    """Takes NEXT_HOP, MP_REACH_NLRI and MP_UNREACH_NLRI out, as far as the attributes can be told apart.

    What is in `known` holds none of them, so the search ends as soon as the rest is. Raises ResetSession when one of
    the latter two is there twice (RFC 7606, 3 g).
    """
    found: dict[int, tuple[int, bytes]] = {}
    pieces: list[bytes] = []
    position = kept = 0
    size, next_hop_at = len(raw), -1
    rest, repeated = raw, False
    while position + 3 <= size:
        flags, code, start = raw[position], raw[position + 1], position + 3
        end = start + raw[position + 2]
        if flags & EXTENDED_LENGTH:
            start += 1
            end = start + (raw[position + 2] << 8 | raw[position + 3]) if start <= size else size + 1
        if end > size:
            break
        if code in _TAKEN_OUT:
            pieces.append(raw[kept:position])
            kept = end
            if code not in found:
                found[code] = (flags, raw[start:end])
                if code == NEXT_HOP:
                    next_hop_at = position
                rest = b"".join((*pieces, raw[end:]))
                if rest in known:
                    break
            elif code == NEXT_HOP:
                repeated = True
            else:
                raise ResetSession(
                    ErrorCode.UPDATE_MESSAGE,
                    UpdateError.MALFORMED_ATTRIBUTE_LIST,
                    reason=f"attribute {code} given twice",
                )
        position = end
    if repeated:
        rest = b"".join((*pieces, raw[kept:]))
    reach, unreach = found.get(MP_REACH_NLRI), found.get(MP_UNREACH_NLRI)
    return Parts(rest, found.get(NEXT_HOP), reach, unreach, repeated, next_hop_at)


def read_next_hop(attribute: tuple[int, bytes] | None, *, loopback: bool = False) -> bytes | Fault:
    """The next hop in a NEXT_HOP attribute, or what is wrong with it (RFC 7606, 7.3; RFC 4271, 6.3)."""
    if attribute is None:
        return _missing(NEXT_HOP)
    flags, value = attribute
    row = ROWS[NEXT_HOP]
    if flags & _KIND_BITS != row.flags:
        return _wrong_flags(row, NEXT_HOP, flags, value)
    try:
        next_hop: bytes = row.decode(value)
    except Malformed as malformed:
        return _fault(row.malformed, NEXT_HOP, flags, value, str(malformed), malformed.subcode)
    damage = next_hop_damage(next_hop, loopback=loopback)
    return _fault(row.malformed, NEXT_HOP, flags, value, damage, UpdateError.INVALID_NEXT_HOP) if damage else next_hop


class Reading(NamedTuple):
    """Attributes that were read: code -> (flags, decoded value), those that are not known with their bytes as value.

    `canonical`: the bytes were in the order and form that they are sent in. `missing` is the absence of a mandatory
    attribute, which matters only where there are routes.
    """

    decoded: dict[int, tuple[int, Any]]
    canonical: bool
    faults: tuple[Fault, ...]
    missing: Fault | None

    @property
    def usable(self) -> bool:
        """Whether routes can be used with these attributes."""
        if self.missing is not None or not self.faults:
            return self.missing is None
        return not any(fault.strength is Strength.WITHDRAW for fault in self.faults)


class AttributeReader:
    """For one kind of session. `external`: eBGP; `four_octet`: what was negotiated (RFC 6793)."""

    def __init__(self, *, external: bool, four_octet: bool) -> None:
        self._four_octet = four_octet
        self._rows = _rows(external=external, four_octet=four_octet)
        self._refused = frozenset(code for code, row in ROWS.items() if row.internal and external)
        self._known: dict[bytes, _Outcome] = {}

    def read(self, rest: bytes) -> Reading:
        """`rest` is that of `take_apart`."""
        decoded: dict[int, tuple[int, Any]] = {}
        faults: list[Fault] = []
        seen: set[int] = set()
        canonical, last = self._four_octet, 0
        attributes, damage = cut(rest)
        for attribute in attributes:
            code = attribute[1]
            meaning, form = self._known.get(attribute) or self._outcome(attribute)
            if code in seen:
                meaning = _twice(*parted(attribute))
            seen.add(code)
            if meaning.__class__ is tuple:
                decoded[code] = meaning
                canonical = canonical and form and code > last
                last = code
            else:
                canonical = False
                if meaning is not None:
                    _tell(faults, meaning)
        if damage:
            _tell(faults, Fault(Strength.WITHDRAW, damage, UpdateError.MALFORMED_ATTRIBUTE_LIST))
        self._four_octets(decoded)
        missing = None
        if ORIGIN not in seen or AS_PATH not in seen:
            missing = _missing(AS_PATH if ORIGIN in seen else ORIGIN)
        return Reading(decoded, canonical, tuple(faults), missing)

    def _outcome(self, attribute: bytes) -> _Outcome:
        """Reads an attribute, and remembers a short one."""
        code, flags, value = parted(attribute)
        meaning = self._attribute(code, flags, value)
        form = False
        if meaning.__class__ is tuple and code not in _CHANGED:
            form = flags == (meaning[0] | EXTENDED_LENGTH if len(value) > 255 else meaning[0])
        if len(attribute) <= _SHORT:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[attribute] = (meaning, form)
        return meaning, form

    def _attribute(self, code: int, flags: int, value: bytes) -> Any:
        """(flags, decoded value), a Fault, or None when the attribute is to be dropped without a word."""
        row = self._rows.get(code)
        if row is None:
            return _unknown(code, flags, value)
        if code in self._refused:
            return _fault(Strength.DISCARD, code, flags, value, "from an eBGP peer")
        if flags & _KIND_BITS != row.flags:
            return _wrong_flags(row, code, flags, value)
        try:
            return (row.flags | flags & PARTIAL if row.flags == _KIND_BITS else row.flags, row.decode(value))
        except Malformed as malformed:
            return _fault(row.malformed, code, flags, value, str(malformed), malformed.subcode)

    def _four_octets(self, decoded: dict[int, tuple[int, Any]]) -> None:
        """Takes AS4_PATH and AS4_AGGREGATOR out: from an older speaker into the true ones (RFC 6793, 4.2.3)."""
        as4_path = decoded.pop(AS4_PATH, None)
        as4_aggregator = decoded.pop(AS4_AGGREGATOR, None)
        if self._four_octet:
            return
        aggregator = decoded.get(AGGREGATOR)
        if aggregator and as4_aggregator:
            if aggregator[1][0] != AS_TRANS:
                return
            decoded[AGGREGATOR] = (aggregator[0], as4_aggregator[1])
        if as4_path and AS_PATH in decoded:
            flags, path = decoded[AS_PATH]
            decoded[AS_PATH] = (flags, merge(path, as4_path[1]))


def _rows(*, external: bool, four_octet: bool) -> dict[int, AttributeRow]:
    """The table of attributes as this kind of session reads it."""
    width = 4 if four_octet else 2

    def path(value: bytes) -> Segments:
        found = decode_path(value, width)
        if external and has_confederation(found):
            raise Malformed(UpdateError.MALFORMED_AS_PATH, "a confederation's segment from an eBGP peer")
        return found

    def as4_path(value: bytes) -> Segments:
        found = decode_path(value)
        if not found:
            raise Malformed(UpdateError.OPTIONAL_ATTRIBUTE, "no segment")
        return found

    return ROWS | {
        AS_PATH: replace(ROWS[AS_PATH], decode=path),
        AGGREGATOR: replace(ROWS[AGGREGATOR], decode=lambda value: decode_aggregator(value, width)),
        AS4_PATH: replace(ROWS[AS4_PATH], decode=as4_path),
    }


def _tell(faults: list[Fault], fault: Fault) -> None:
    if len(faults) < _MOST_FAULTS:
        faults.append(fault)
    elif fault.strength > max(told.strength for told in faults):
        faults[-1] = fault


def _unknown(code: int, flags: int, value: bytes) -> tuple[int, bytes] | Fault | None:
    """All well-known attributes are known; so one that is not known and not optional has wrong flags."""
    if not flags & OPTIONAL:
        text = f"unknown, with flags {flags:#04x}"
        return _fault(Strength.WITHDRAW, code, flags, value, text, UpdateError.UNRECOGNIZED_WELL_KNOWN)
    if not flags & TRANSITIVE:
        return None
    return _KIND_BITS | PARTIAL, value


def _twice(code: int, flags: int, value: bytes) -> Fault:
    return _fault(Strength.DISCARD, code, flags, value, "given twice")


def _wrong_flags(row: AttributeRow, code: int, flags: int, value: bytes) -> Fault:
    return _fault(row.malformed, code, flags, value, f"with flags {flags:#04x}", UpdateError.ATTRIBUTE_FLAGS)


def _fault(
    strength: Strength,
    code: int,
    flags: int,
    value: bytes,
    text: str,
    subcode: UpdateError = UpdateError.OPTIONAL_ATTRIBUTE,
) -> Fault:
    title = ROWS[code].title if code in ROWS else f"attribute {code}"
    return Fault(strength, f"{title}: {text}", subcode, encode_attribute(code, flags, value))


def _missing(code: int) -> Fault:
    text = f"{ROWS[code].title}: missing"
    return Fault(Strength.WITHDRAW, text, UpdateError.MISSING_WELL_KNOWN, bytes((code,)))
