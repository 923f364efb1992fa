"""RFC 7606, 3 c, for every attribute: wrong Optional or Transitive bits cost what a wrong value costs, and no more.

And the attributes whose form depends on what was negotiated, from speakers with AS numbers of two bytes.
"""

from __future__ import annotations

import pytest

from reflector.wire.attributes import ROWS
from reflector.wire.families import FAMILY_BY_NAME
from tests.unit.reflector.rfc7606_rules import GONE, KEPT, WITHDRAWN
from tests.unit.reflector.wire_messages import (
    AS_PATH,
    IPV6_NEXT_HOP,
    NEXT_HOP,
    ORIGIN,
    PREFIX,
    PREFIX6,
    V6,
    attribute,
    decoded,
    outcome,
    reach,
    update,
)

WELL_KNOWN, OPTIONAL, TRANSITIVE = 0x40, 0x80, 0xC0
KINDS = (0x00, WELL_KNOWN, OPTIONAL, TRANSITIVE)
VPN, VPN_ROUTE = FAMILY_BY_NAME["ipv4-vpn"], bytes.fromhex("70 000011 0000fde800000001 0a0000")

#: Code -> its own flags, a good value, and what wrong flags lead to from an iBGP and from an eBGP peer.
FLAGS: dict[int, tuple[int, str, str, str]] = {
    1: (WELL_KNOWN, "00", WITHDRAWN, WITHDRAWN),
    2: (WELL_KNOWN, "0201 0000fde8", WITHDRAWN, WITHDRAWN),
    3: (WELL_KNOWN, "0a000001", WITHDRAWN, WITHDRAWN),
    4: (OPTIONAL, "00000005", WITHDRAWN, WITHDRAWN),
    5: (WELL_KNOWN, "00000064", WITHDRAWN, GONE),
    6: (WELL_KNOWN, "", GONE, GONE),
    7: (TRANSITIVE, "0000fde8 0a000001", GONE, GONE),
    8: (TRANSITIVE, "fde80001", WITHDRAWN, WITHDRAWN),
    9: (OPTIONAL, "0a000001", WITHDRAWN, GONE),
    10: (OPTIONAL, "0a000001", WITHDRAWN, GONE),
    16: (TRANSITIVE, "0002fde800000001", WITHDRAWN, WITHDRAWN),
    17: (TRANSITIVE, "0201 0001fde8", GONE, GONE),
    18: (TRANSITIVE, "0001fde8 0a000001", GONE, GONE),
    22: (TRANSITIVE, "0006000000 0a000001", WITHDRAWN, WITHDRAWN),
    23: (TRANSITIVE, "0008 0004 01020304", WITHDRAWN, WITHDRAWN),
    24: (OPTIONAL, "00", WITHDRAWN, WITHDRAWN),
    25: (TRANSITIVE, "00" * 20, WITHDRAWN, WITHDRAWN),
    26: (OPTIONAL, "01 000b 0000000000000005", GONE, GONE),
    29: (OPTIONAL, "0400 0001 00", GONE, GONE),
    32: (TRANSITIVE, "00" * 12, WITHDRAWN, WITHDRAWN),
    35: (TRANSITIVE, "0000fde8", WITHDRAWN, WITHDRAWN),
    40: (TRANSITIVE, "01 0007 00000000000003", GONE, GONE),
    128: (TRANSITIVE, "0000fde8 40010100", WITHDRAWN, WITHDRAWN),
}
#: Attributes that an eBGP peer has no business to send: gone however good they are (7.5, 7.9, 7.10; RFC 7311, 3.2).
INTERNAL = {5, 9, 10, 26}
MANDATORY = {1: ORIGIN, 2: AS_PATH, 3: NEXT_HOP}


def with_flags(code: int, flags: int) -> bytes:
    """An UPDATE with that attribute, in place of the good one where it is mandatory."""
    others = b"".join(good for other, good in MANDATORY.items() if other != code)
    return update(others + attribute(code, bytes.fromhex(FLAGS[code][1]), flags), PREFIX)


def test_every_attribute_that_is_known_is_in_the_list() -> None:
    assert FLAGS.keys() == ROWS.keys()


@pytest.mark.parametrize("external", [False, True], ids=["iBGP", "eBGP"])
@pytest.mark.parametrize("code", FLAGS)
def test_wrong_flags_cost_what_a_wrong_value_costs(code: int, external: bool) -> None:
    right, _, ibgp, ebgp = FLAGS[code]
    for flags in KINDS:
        found = outcome(with_flags(code, flags), external=external)
        if flags == right:
            assert found == (GONE if external and code in INTERNAL else KEPT)
        else:
            assert found == (ebgp if external else ibgp), hex(flags)


@pytest.mark.parametrize("code", FLAGS)
def test_the_other_bits_are_never_wrong(code: int) -> None:
    """Partial on what is not transitive, and the four that mean nothing."""
    for extra in (0x20, 0x0F, 0x2F):
        assert outcome(with_flags(code, FLAGS[code][0] | extra)) == KEPT


@pytest.mark.parametrize("code", [code for code in FLAGS if code not in MANDATORY])
def test_it_costs_the_same_in_families_that_are_announced_elsewhere(code: int) -> None:
    """IPv6 and VPN routes are in MP_REACH_NLRI; they are withdrawn, or lose the attribute, like IPv4's."""
    _, value, ibgp, _ = FLAGS[code]
    for routes in (reach(V6, IPV6_NEXT_HOP, PREFIX6), reach(VPN, bytes(12), VPN_ROUTE)):
        wrong = attribute(code, bytes.fromhex(value), 0x00)
        assert outcome(update(ORIGIN + AS_PATH + wrong + routes)) == ibgp


NARROW_PATH = attribute(2, bytes.fromhex("0202 fde8 5ba0"))
AS4_PATH = attribute(17, bytes.fromhex("0202 0000fde8 00011170"), TRANSITIVE)
NARROW = [
    ("AS_PATH", NARROW_PATH, KEPT),
    ("AS_PATH of four-byte AS numbers", AS_PATH, WITHDRAWN),
    ("AS_PATH of half an AS number", attribute(2, bytes.fromhex("0202 fde8 5b")), WITHDRAWN),
    ("AS_PATH with AS 0", attribute(2, bytes.fromhex("0202 fde8 0000")), WITHDRAWN),
    ("AS4_PATH", NARROW_PATH + AS4_PATH, KEPT),
    ("AS4_PATH that does not fit", NARROW_PATH + attribute(17, bytes.fromhex("0202 0000fde8"), TRANSITIVE), GONE),
    ("AS4_PATH of no bytes", NARROW_PATH + attribute(17, b"", TRANSITIVE), GONE),
    ("AS4_PATH well-known", NARROW_PATH + attribute(17, AS4_PATH[3:], WELL_KNOWN), GONE),
    ("AGGREGATOR", NARROW_PATH + attribute(7, bytes.fromhex("fde8 0a000001"), TRANSITIVE), KEPT),
    ("AGGREGATOR of 8 bytes", NARROW_PATH + attribute(7, bytes.fromhex("0000fde8 0a000001"), TRANSITIVE), GONE),
    ("AGGREGATOR AS 0", NARROW_PATH + attribute(7, bytes.fromhex("0000 0a000001"), TRANSITIVE), GONE),
    ("AS4_AGGREGATOR of 6 bytes", NARROW_PATH + attribute(18, bytes.fromhex("fde8 0a000001"), TRANSITIVE), GONE),
    ("AS4_AGGREGATOR AS 0", NARROW_PATH + attribute(18, bytes(4) + NEXT_HOP[3:], TRANSITIVE), GONE),
]


@pytest.mark.parametrize("external", [False, True], ids=["iBGP", "eBGP"])
@pytest.mark.parametrize(("name", "attributes", "expected"), NARROW, ids=[row[0] for row in NARROW])
def test_older_speakers(name: str, attributes: bytes, expected: str, external: bool) -> None:
    """RFC 6793, 6: what is wrong with the true numbers beside is no reason to lose the route."""
    body = update(ORIGIN + NEXT_HOP + attributes, PREFIX)
    assert outcome(body, external=external, four_octet=False) == expected


def test_without_the_true_path_the_old_one_is_used() -> None:
    broken = attribute(17, bytes.fromhex("0202 0000fde8"), TRANSITIVE)
    for as4_path, path in ((AS4_PATH, (65000, 70000)), (broken, (65000, 23456))):
        found = decoded(update(ORIGIN + NEXT_HOP + NARROW_PATH + as4_path, PREFIX), four_octet=False)
        assert found.block is not None
        assert found.block.as_path == path
