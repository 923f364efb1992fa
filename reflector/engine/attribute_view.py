"""Path attributes for people and scripts: what JSON can hold, with the names that network engineers use. Pure."""

from __future__ import annotations

from typing import Any

from peering.prefixes import format_address
from reflector.wire import communities
from reflector.wire.as_path import CONFED_SEQUENCE, CONFED_SET, SEQUENCE, SET, Segments
from reflector.wire.attribute_block import AttributeBlock
from reflector.wire.attributes import ROWS, walk

Json = dict[str, Any]

_ORIGINS = ("igp", "egp", "incomplete")
_BRACKETS = {SEQUENCE: ("", ""), SET: ("{", "}"), CONFED_SEQUENCE: ("(", ")"), CONFED_SET: ("[", "]")}
_WELL_KNOWN = {
    value: name.lower().replace("_", "-") for name, value in vars(communities).items() if isinstance(value, int)
}
#: Fields of `AttributeBlock` that have names of their own below.
_NAMED = frozenset(
    (
        "origin",
        "as_path",
        "next_hop",
        "med",
        "local_pref",
        "atomic_aggregate",
        "aggregator",
        "communities",
        "originator_id",
        "cluster_list",
        "extended_communities",
        "large_communities",
    )
)


def attributes_view(block: AttributeBlock) -> Json:
    """All attributes but the next hop.

    `med`, `localPreference` and `originatorID` are null where there is none. What JSON has no form for is in
    hexadecimal: extended communities, and in `others`, by name, what a reflector only passes on.
    """
    view: Json = {
        "origin": _ORIGINS[block.origin],
        "asPath": path_text(block.segments),
        "med": block.med,
        "localPreference": block.local_pref,
        "communities": [community_text(value) for value in block.communities],
        "largeCommunities": [":".join(map(str, value)) for value in block.large_communities],
        "originatorID": None if block.originator_id is None else format_address(block.originator_id),
        "clusterList": [format_address(value) for value in block.cluster_list],
    }
    if block.extended_communities:
        view["extendedCommunities"] = [value.hex() for value in block.extended_communities]
    if block.atomic_aggregate:
        view["atomicAggregate"] = True
    if block.aggregator is not None:
        view["aggregator"] = f"AS{block.aggregator[0]} {format_address(block.aggregator[1])}"
    others = _others(block)
    if others:
        view["others"] = others
    return view


def block_of(raw: bytes) -> AttributeBlock:
    """The block of canonical attributes, with AS numbers of four bytes."""
    decoded = {c: (flags, ROWS[c].decode(value) if c in ROWS else value) for c, flags, value in walk(raw)}
    return AttributeBlock(raw, decoded)


def path_text(segments: Segments) -> str:
    """`65001 65002 {65003 65004}`; confederations in (round) or, sets of theirs, [square] brackets."""
    parts = []
    for kind, asns in segments:
        opening, closing = _BRACKETS[kind]
        parts.append(f"{opening}{' '.join(map(str, asns))}{closing}")
    return " ".join(parts)


def community_text(value: int) -> str:
    """`64512:100`, or the name of one that everybody knows."""
    return _WELL_KNOWN.get(value) or f"{value >> 16}:{value & 0xFFFF}"


def _others(block: AttributeBlock) -> dict[str, str]:
    found = {}
    for code, _, value in walk(block.raw):
        row = ROWS.get(code)
        if row is None or row.name not in _NAMED:
            found[row.title if row else str(code)] = value.hex()
    return found
