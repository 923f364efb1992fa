"""Our decoder against ExaBGP's on valid and on damaged UPDATEs of every supported attribute and family.

Where both keep an UPDATE they must say the same of it. Where they differ in what it costs, the difference must stand in
the table of reasons: ours goes by RFC 7606 where ExaBGP looks more or less closely.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from random import Random

import pytest
from exabgp.bgp.message.update.nlri import NLRI
from exabgp.protocol.family import AFI, SAFI

from reflector.wire import families as wire_families
from reflector.wire.as_path import SEQUENCE, Segments, decode_path
from reflector.wire.attributes import (
    AGGREGATOR,
    AS4_AGGREGATOR,
    AS4_PATH,
    AS_PATH,
    LINK_STATE,
    NEXT_HOP,
    ORIGIN,
    ROWS,
    Framing,
    walk,
)
from reflector.wire.errors import ResetSession
from reflector.wire.families import Family
from reflector.wire.negotiated import Negotiated
from reflector.wire.update import Update
from tests.unit.reflector.exabgp_decoder import Opinion, exabgp_opinion
from tests.unit.reflector.random_updates import FAMILIES, OPTIONAL, damaged, random_update
from tests.unit.reflector.wire_messages import decoded

OURS = tuple(FAMILIES)
PREFIXES = (1, 2, 4, 128)
WELL_KNOWN = (1, 2, 3, 5, 6)
#: Attributes that are sets to ExaBGP, which sorts them: code -> size of an element.
SETS = {8: 4, 16: 8, 25: 20, 32: 12}
BLOCKS = range(40)
PER_BLOCK = 250

#: (ours, ExaBGP's, what the two say, why). What stands in quotes is from `_remarks`.
REASONS = [
    ("reset", "withdrawn|gone|kept", "'5.2'", "RFC 7606, 5.2"),
    ("reset", "withdrawn", r"3/9 MP_(UN)?REACH_NLRI: [0-4] bytes", "no family can be read from it (5.3)"),
    ("reset", "withdrawn", "given twice", "3 g; ExaBGP does not count an empty one"),
    ("reset", "kept|withdrawn", "(labelled-unicast|vpn): an NLRI that does not fit", "ExaBGP takes it without a label"),
    (
        "kept|gone|withdrawn",
        "reset",
        "non-negotiated family|invalid flag|not enough data for the family",
        "passed over",
    ),
    ("kept|gone|withdrawn", "reset", "next-hop length|-vpn next-hop|distinguisher must be zero", "others are possible"),
    ("kept|gone|withdrawn", "reset", "Source Active|C-Multicast|MAC Address|IP len|IP field|EVPN NLRI", "opaque"),
    ("kept|gone|withdrawn", "reset", "BGP-LS|[Nn]ode (descriptor|type)|mup |sub-tlv|endpoint length", "opaque"),
    ("kept|gone|withdrawn", "reset", "label stack|invalid mask", "which of the bytes are labels"),
    ("gone|withdrawn", "reset", "AS4?_PATH|AS Path type|AS4_AGGREGATOR", "discarded (RFC 6793, 6)"),
    ("kept|gone|withdrawn", "reset", "AIGP", "a malformed AIGP is discarded (RFC 7311, 3)"),
    ("withdrawn", "reset", "CLUSTER_LIST|ORIGINATOR_ID|PMSI_TUNNEL", "7.9, 7.10; RFC 6514, 5"),
    ("withdrawn", "kept|gone", "missing", "ExaBGP does not ask for mandatory attributes (3 d)"),
    ("withdrawn", "kept|gone", r"ORIGIN: (origin )?\d", "any ORIGIN is good for it (7.1)"),
    ("withdrawn|gone", "kept|gone", r"PATH: AS 0", "RFC 7607"),
    ("withdrawn", "kept|gone", r"attribute \d+: unknown", "not optional, so one of the well-known: those are known"),
    ("withdrawn|gone", "kept|gone", ": with flags", "ExaBGP looks at the flags of few (3 c)"),
    (
        "withdrawn",
        "kept|gone",
        "ATTR_SET|TRAFFIC_ENGINEERING|TUNNEL_ENCAPSULATION|PMSI_TUNNEL|ONLY_TO_CUSTOMER",
        "unknown",
    ),
    ("gone", "kept", "given twice", "reported by us (3 g)"),
    ("kept|gone", "withdrawn", "'NEXT_HOP beside'", "beside MP_REACH_NLRI it is not looked at (RFC 4760, 3)"),
    ("kept|gone", "withdrawn", "'unused bits'", "only two of the flags can be wrong (3 c)"),
]


def our_opinion(body: bytes, *, four_octet: bool, path_ids: bool) -> tuple[Opinion, Update | None]:
    negotiated = Negotiated(
        families=OURS, four_octet=four_octet, add_path_receive=frozenset(OURS) if path_ids else frozenset()
    )
    try:
        update = decoded(body, four_octet=four_octet, negotiated=negotiated)
    except ResetSession as reset:
        return Opinion("reset", str(reset)), None
    worst = max((fault.strength for fault in update.faults), default=0)
    return Opinion(
        ("kept", "gone", "withdrawn")[worst],
        "; ".join(fault.text for fault in update.faults if fault.strength == worst),
        frozenset((family, key) for family, keys in update.withdrawn for key in keys),
        frozenset((family, key) for family, _, keys in update.announced for key in keys),
        frozenset(hop for _, next_hop, _ in update.announced for hop in _hops(next_hop)),
        {code: value for code, _, value in walk(update.block.raw)} if update.block else {},
        update.end_of_rib,
    ), update


def _hops(next_hop: bytes) -> list[bytes]:
    """Addresses without route distinguishers."""
    if len(next_hop) in (12, 24):
        return [next_hop[8:]]
    return [next_hop[start : start + 16] for start in range(0, len(next_hop), 16)]


def _remarks(body: bytes) -> list[str]:
    """What matters for a difference and is said by neither: `5.2`, `unused bits`, `NEXT_HOP beside`."""
    gone_end = 2 + int.from_bytes(body[:2], "big")
    nlri_start = gone_end + 2 + int.from_bytes(body[gone_end : gone_end + 2], "big")
    found: dict[int, tuple[int, bytes]] = {}
    try:
        for code, flags, value in walk(body[gone_end + 2 : nlri_start]):
            found.setdefault(code, (flags, value))
    except Framing:
        pass
    reach = found.get(14, (0, b""))[1]
    announces = len(body) > nlri_start or (len(reach) > 5 and len(reach) > 5 + reach[3])
    remarks = [] if announces else ["5.2"]
    if any(found.get(code, (0, b""))[0] & 0x2F for code in WELL_KNOWN):
        remarks.append("unused bits")
    if 14 in found and 3 in found and len(body) == nlri_start:
        remarks.append("NEXT_HOP beside")
    return remarks


def _plain(
    routes: Iterable[tuple[Family, bytes]], path_ids: bool, ours: bool, damage: bool
) -> set[tuple[Family, bytes]]:
    """Routes without what ExaBGP does to them. It packs the path identifiers of prefixes only, keeps host bits where we
    do not, marks all labels as the last, packs link-state NLRI without their head, and packs something else than came
    of flow rules, VPLS, MUP and link-state that are damaged.
    """
    found = set()
    for family, key in routes:
        if damage and (family.safi in (65, 85, 133, 134) or family.afi == 16388):
            continue
        identifier = key[:4] if path_ids and family.safi in PREFIXES else b""
        rest = key[4:] if ours and path_ids else key[len(identifier) :]
        if family.safi in PREFIXES:
            host = (1 << -rest[0] % 8) - 1
            rest = rest[:-1] + bytes((rest[-1] & ~host & 255,)) if rest[0] else rest
        if ours and family.afi == 16388:
            rest = rest[12:] if family.safi == 72 else rest[4:]
        if family.safi in (4, 128):
            rest = rest[:3] + bytes((rest[3] & 0xF0,)) + rest[4:]
        found.add((Family(16388, 71) if family.afi == 16388 else family, identifier + rest))
    return found


def _joined(segments: Segments) -> list[tuple[int, tuple[int, ...]]]:
    """Neighbouring sequences as one: ExaBGP joins some of them."""
    found: list[tuple[int, tuple[int, ...]]] = []
    for kind, asns in segments:
        if found and kind == found[-1][0] == SEQUENCE:
            found[-1] = (kind, found[-1][1] + asns)
        else:
            found.append((kind, asns))
    return found


def _comparable(values: dict[int, bytes], ours: dict[int, bytes]) -> dict[int, object]:
    """Attribute values without what is only a matter of form."""
    found: dict[int, object] = {}
    for code, value in values.items():
        if code in SETS:
            found[code] = sorted(value[n : n + SETS[code]] for n in range(0, len(value), SETS[code]))
        elif code == 2:
            found[code] = _joined(decode_path(value))
        else:
            found[code] = value
    found.setdefault(2, [])  # ExaBGP drops an empty path, and then does not look at AS4_PATH
    found.pop(17, None)
    found.pop(24, None)  # it does not pass on what it does not know
    aggregator = found.pop(18, None)  # ExaBGP leaves the true aggregator here
    if 7 in ours and aggregator is not None:
        found[7] = aggregator
    return found


def disagreement(body: bytes, *, four_octet: bool, path_ids: bool, damage: bool) -> str:
    """What the two do not agree on; empty when there is nothing, or a reason for it."""
    ours, update = our_opinion(body, four_octet=four_octet, path_ids=path_ids)
    theirs = exabgp_opinion(body, OURS, four_octet=four_octet, path_ids=path_ids)
    if ours.kind != theirs.kind:
        said = f"{_remarks(body)} | {ours.text} | {theirs.text}"
        if any(
            re.fullmatch(mine, ours.kind) and re.fullmatch(other, theirs.kind) and re.search(text, said)
            for mine, other, text, _ in REASONS
        ):
            return ""
        return f"ours: {ours.kind} {ours.text} | ExaBGP: {theirs.kind} {theirs.text}"
    if ours.kind != "kept" or update is None:
        return ""
    if ours.end_of_rib:
        return "" if ours.end_of_rib == theirs.end_of_rib else f"End-of-RIB of {theirs.end_of_rib}"
    for name in ("withdrawn", "announced"):
        mine, other = (_plain(getattr(o, name), path_ids, o is ours, damage) for o in (ours, theirs))
        if mine != other:
            return f"{name}: {mine} | {other}"
    if ours.next_hops != theirs.next_hops:
        return f"next hops: {ours.next_hops} | {theirs.next_hops}"
    mine_values, other_values = (_comparable(o.values, ours.values) for o in (ours, theirs))
    if damage:  # it drops well-known attributes with unused bits, reads some extended communities as another kind, and
        # keeps of the label in PMSI_TUNNEL only what is one
        for code in (16, 22, 25, *(WELL_KNOWN if "unused bits" in _remarks(body) else ())):
            mine_values.pop(code, None)
            other_values.pop(code, None)
    return f"{mine_values} | {other_values}" if ours.announced and mine_values != other_values else ""


def _disagreements(block: int, *, damage: bool) -> list[str]:
    found = []
    for number in range(PER_BLOCK):
        chance = Random(block * PER_BLOCK + number)
        four_octet, path_ids = chance.random() < 0.7, chance.random() < 0.2
        body = random_update(chance, four_octet=four_octet, path_ids=path_ids)
        if damage:
            body = damaged(chance, body)
        text = disagreement(body, four_octet=four_octet, path_ids=path_ids, damage=damage)
        if text:
            found.append(f"{body.hex()} {four_octet=} {path_ids=} {text}")
    return found


def test_every_attribute_and_every_family_is_among_them() -> None:
    """But those that ExaBGP does not know, and BGP-LS, which it does not pack."""
    always = {ORIGIN, AS_PATH, NEXT_HOP, AGGREGATOR, AS4_PATH, AS4_AGGREGATOR}
    assert set(ROWS) - always - set(OPTIONAL) == {LINK_STATE}
    known = {family for family in wire_families.FAMILIES if _exabgp_name(family) in NLRI.registered_nlri}
    assert known == set(FAMILIES)
    assert len(wire_families.FAMILIES) - len(known) == 5, "SR policy, multicast in VPNs, flow rules of layer 2"


def _exabgp_name(family: Family) -> str:
    return f"{AFI.create(family.afi)}/{SAFI.create(family.safi)}"


@pytest.mark.parametrize("block", BLOCKS)
def test_valid_updates_are_kept_and_say_the_same(block: int) -> None:
    assert _disagreements(block, damage=False) == []


@pytest.mark.parametrize("block", BLOCKS)
def test_damaged_updates(block: int) -> None:
    assert _disagreements(block, damage=True) == []
