"""Path attributes as ExaBGP prints them, decoded once for each distinct text.

A full table of 10,000 routes has some dozens of distinct attribute sets, so the text itself is the key of a
cache, and equal attributes are the same object.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache

from bgp_speaker.exabgp_json import int_of, text_of

_SEQUENCE, _SET = "as-sequence", "as-set"


@dataclass(frozen=True, slots=True)
class Attributes:
    """Path attributes of one UPDATE.

    `as_path` has all AS numbers in order, those of sets included, for loop checks; `as_path_length` counts a
    set as one (RFC 4271, 9.1.2.2); `as_sets` are the sets among them. ExaBGP prints the segments of a
    confederation as ordinary sequences: they are counted. Large communities are triples (RFC 8092).
    """

    origin: str = "igp"
    as_path: tuple[int, ...] = ()
    as_path_length: int = 0
    as_sets: tuple[tuple[int, ...], ...] = ()
    med: int | None = None
    local_preference: int | None = None
    communities: tuple[tuple[int, int], ...] = ()
    large_communities: tuple[tuple[int, int, int], ...] = ()
    originator_id: str | None = None
    cluster_list: tuple[str, ...] = ()


def attribute_text(line: bytes) -> bytes:
    """The attribute object as it stands in the line of an UPDATE that announces something.

    A quote inside a JSON string is escaped, so neither mark can be inside one.
    """
    start = line.find(b'"attribute": {')
    end = line.find(b', "announce": {', start)
    return line[start + len(b'"attribute": ') : end] if 0 <= start < end else b"{}"


@lru_cache(maxsize=16384)
def decode_attributes(text: bytes) -> Attributes:
    """The attributes in a JSON object. Raises ValueError, TypeError, LookupError or AttributeError."""
    found = json.loads(text)
    segments = [found["as-path"][key] for key in found["as-path"]] if "as-path" in found else []
    for segment in segments:
        if segment["element"] not in (_SEQUENCE, _SET):
            raise ValueError(f"unknown AS_PATH segment {segment['element']!r}")
    return Attributes(
        origin=text_of(found["origin"]),
        as_path=tuple(int_of(asn) for segment in segments for asn in segment["value"]),
        as_path_length=sum(1 if s["element"] == _SET else len(s["value"]) for s in segments),
        as_sets=tuple(tuple(s["value"]) for s in segments if s["element"] == _SET),
        med=int_of(found["med"]) if "med" in found else None,
        local_preference=int_of(found["local-preference"]) if "local-preference" in found else None,
        communities=tuple((int_of(a), int_of(b)) for a, b in found.get("community", ())),
        large_communities=tuple((int_of(a), int_of(b), int_of(c)) for a, b, c in found.get("large-community", ())),
        originator_id=text_of(found["originator-id"]) if "originator-id" in found else None,
        cluster_list=tuple(text_of(c) for c in found.get("cluster-list", ())),
    )
