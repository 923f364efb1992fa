"""One distinct set of path attributes, and what it becomes on its way out.

A block holds all attributes of a route but its next hop and its NLRI, so that routes of a thousand clients that differ
in nothing else share one. It is immutable, equal only to itself, and made by an `AttributeCache`, where equal bytes
give the same block. What is asked for often, the reflected bytes and rewritten blocks, is kept with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict, Unpack

from reflector.wire.as_path import AS_TRANS, Segments, flat, narrow, neighbour_as, path_length
from reflector.wire.attributes import (
    AGGREGATOR,
    AS4_AGGREGATOR,
    AS4_PATH,
    AS_PATH,
    ATOMIC_AGGREGATE,
    CLUSTER_LIST,
    COMMUNITIES,
    EXTENDED_COMMUNITIES,
    LARGE_COMMUNITIES,
    LOCAL_PREF,
    MULTI_EXIT_DISC,
    OPTIONAL,
    ORIGIN,
    ORIGINATOR_ID,
    ROWS,
    TRANSITIVE,
    Aggregator,
    encode_attribute,
    index_of,
    walk,
)

#: Code -> (flags, decoded value); the value of an attribute that is not known is its bytes.
Decoded = Mapping[int, tuple[int, Any]]

_CODE_BY_NAME = {row.name: code for code, row in ROWS.items()}
#: (flags, value) of an attribute that is not there, and of a list that is not there.
_NOTHING: tuple[int, Any] = (0, None)
_NONE_OF_THEM: tuple[int, Any] = (0, ())
#: Reflected forms of one block, one for each client that has its attributes: beyond so many they are forgotten. Clients
#: come and go, and a block may outlive them all.
_MOST_REFLECTED = 1 << 15


class Changes(TypedDict, total=False):
    """What `AttributeBlock.rewritten` can change; None takes an attribute out."""

    origin: int
    as_path: Segments
    med: int | None
    local_pref: int | None
    atomic_aggregate: bool | None
    aggregator: Aggregator | None
    communities: tuple[int, ...] | None
    originator_id: bytes | None
    cluster_list: tuple[bytes, ...] | None
    extended_communities: tuple[bytes, ...] | None
    large_communities: tuple[tuple[int, int, int], ...] | None
    aigp: bytes | None
    only_to_customer: int | None


class AttributeBlock:
    """A set of path attributes. `raw` are its bytes in canonical form: by type code, AS numbers of four bytes.

    `segments` is the AS path, `as_path` all its AS numbers in order, `neighbour_as` the AS it came in from (0: our
    own), `as_path_length` what the decision process counts. Communities are 32-bit numbers, large ones triples,
    extended ones 8 bytes; identifiers are 4 bytes.
    """

    __slots__ = (
        "__weakref__",
        "_narrow",
        "_reflected",
        "_rewritten",
        "aggregator",
        "as_path",
        "as_path_length",
        "atomic_aggregate",
        "cluster_list",
        "cluster_list_length",
        "communities",
        "extended_communities",
        "large_communities",
        "local_pref",
        "med",
        "neighbour_as",
        "origin",
        "originator_id",
        "raw",
        "segments",
    )

    def __init__(self, raw: bytes, decoded: Decoded) -> None:
        value = decoded.get
        self.raw = raw
        self.origin: int = decoded[ORIGIN][1]
        self.segments: Segments = decoded[AS_PATH][1]
        self.as_path = flat(self.segments)
        self.as_path_length = path_length(self.segments)
        self.neighbour_as = neighbour_as(self.segments)
        self.med: int | None = value(MULTI_EXIT_DISC, _NOTHING)[1]
        self.local_pref: int | None = value(LOCAL_PREF, _NOTHING)[1]
        self.atomic_aggregate: bool = ATOMIC_AGGREGATE in decoded
        self.aggregator: Aggregator | None = value(AGGREGATOR, _NOTHING)[1]
        self.communities: tuple[int, ...] = value(COMMUNITIES, _NONE_OF_THEM)[1]
        self.originator_id: bytes | None = value(ORIGINATOR_ID, _NOTHING)[1]
        self.cluster_list: tuple[bytes, ...] = value(CLUSTER_LIST, _NONE_OF_THEM)[1]
        self.cluster_list_length = len(self.cluster_list)
        self.extended_communities: tuple[bytes, ...] = value(EXTENDED_COMMUNITIES, _NONE_OF_THEM)[1]
        self.large_communities: tuple[tuple[int, int, int], ...] = value(LARGE_COMMUNITIES, _NONE_OF_THEM)[1]
        self._narrow: bytes | None = None
        self._reflected: dict[tuple[bytes, bytes, bool], bytes] | None = None
        self._rewritten: dict[tuple[tuple[str, Any], ...], AttributeBlock] | None = None

    def attribute(self, code: int) -> bytes | None:
        """The value of the attribute of this type code; None when there is none."""
        return next((value for found, _, value in walk(self.raw) if found == code), None)

    def encoded(self, *, four_octet: bool = True) -> bytes:
        """The attributes for a peer, without next hop; for one that knows two-byte AS numbers only, see RFC 6793."""
        if four_octet:
            return self.raw
        if self._narrow is None:
            self._narrow = _narrowed(self.raw)
        return self._narrow

    def reflected(self, originator_id: bytes, cluster_id: bytes, *, four_octet: bool = True) -> bytes:
        """The attributes as a reflector sends them (RFC 4456, 8), without next hop.

        `originator_id` is the identifier of the client it came from, used if there is none yet; `cluster_id` goes
        before the others. Computed once.
        """
        key = (self.originator_id or originator_id, cluster_id, four_octet)
        known = self._reflected
        if known is None or len(known) >= _MOST_REFLECTED:
            known = self._reflected = {}
        found = known.get(key)
        if found is None:
            found = known[key] = self._reflect(*key)
        return found

    def _reflect(self, originator_id: bytes, cluster_id: bytes, four_octet: bool) -> bytes:
        raw = self.encoded(four_octet=four_octet)
        start, stop = index_of(raw, ORIGINATOR_ID), index_of(raw, CLUSTER_LIST + 1)
        clusters = b"".join((cluster_id, *self.cluster_list))
        own = encode_attribute(ORIGINATOR_ID, OPTIONAL, originator_id)
        return b"".join((raw[:start], own, encode_attribute(CLUSTER_LIST, OPTIONAL, clusters), raw[stop:]))

    def rewritten(self, **changes: Unpack[Changes]) -> AttributeBlock:
        """This block with other values of some attributes; the same block for the same changes.

        `rewritten(local_pref=None, med=5, as_path=prepend(block.segments, [64512]))`. ORIGIN and AS_PATH cannot be
        taken out. Raises KeyError for an unknown name.
        """
        key = tuple(sorted(changes.items()))
        if self._rewritten is None:
            self._rewritten = {}
        found = self._rewritten.get(key)
        if found is None:
            found = self._rewritten[key] = self._rewrite(changes)
        return found

    def _rewrite(self, changes: Mapping[str, Any]) -> AttributeBlock:
        decoded = {code: (flags, _decode(code, value)) for code, flags, value in walk(self.raw)}
        for name, value in changes.items():
            code = _CODE_BY_NAME[name]
            if value is None or value is False or (value == () and code != AS_PATH):
                decoded.pop(code, None)
            else:
                decoded[code] = (ROWS[code].flags, value)
        return AttributeBlock(encode_attributes(decoded), decoded)


def encode_attributes(decoded: Decoded) -> bytes:
    """The canonical bytes: one attribute after the other by type code."""
    return b"".join(
        encode_attribute(code, flags, ROWS[code].encode(value) if code in ROWS else value)
        for code, (flags, value) in sorted(decoded.items())
    )


def _decode(code: int, value: bytes) -> Any:
    row = ROWS.get(code)
    return row.decode(value) if row else value


def _narrowed(raw: bytes) -> bytes:
    """Canonical attributes for a peer with two-byte AS numbers: AS_TRANS, the true ones beside (RFC 6793, 4.2.2)."""
    found: dict[int, tuple[int, bytes]] = {code: (flags, value) for code, flags, value in walk(raw)}
    if AS_PATH in found:
        value, as4 = narrow(_decode(AS_PATH, found[AS_PATH][1]))
        found[AS_PATH] = (found[AS_PATH][0], value)
        if as4:
            found[AS4_PATH] = (OPTIONAL | TRANSITIVE, as4)
    if AGGREGATOR in found:
        flags, value = found[AGGREGATOR]
        asn = int.from_bytes(value[:4], "big")
        if asn > 0xFFFF:
            found[AS4_AGGREGATOR] = (OPTIONAL | TRANSITIVE, value)
        found[AGGREGATOR] = (flags, (asn if asn <= 0xFFFF else AS_TRANS).to_bytes(2, "big") + value[4:])
    return _joined((code, *found[code]) for code in sorted(found))


def _joined(attributes: Iterable[tuple[int, int, bytes]]) -> bytes:
    return b"".join(encode_attribute(*attribute) for attribute in attributes)
