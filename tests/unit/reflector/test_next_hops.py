"""Which next hops are passed on to whom (RFC 2545, 3; RFC 8950, 3): by length, family, and what was agreed on."""

from __future__ import annotations

import pytest

from reflector.policy.next_hops import passed_on, sendable_lengths
from reflector.wire.families import FAMILIES, FAMILY_BY_NAME

GLOBAL = bytes.fromhex("fd000000000000000000000000000001")
LINK_LOCAL = bytes.fromhex("fe800000000000000000000000000009")
LAST_LINK_LOCAL = bytes.fromhex("febf0000000000000000000000000009")
SITE_LOCAL = bytes.fromhex("fec00000000000000000000000000009")
UNIQUE_LOCAL = bytes.fromhex("fc800000000000000000000000000009")
IPV6 = ("ipv6-unicast", "ipv6-multicast")


@pytest.mark.parametrize("name", [*IPV6, "ipv4-unicast"])
@pytest.mark.parametrize(
    ("came", "goes"),
    [
        (GLOBAL, GLOBAL),
        (GLOBAL + LINK_LOCAL, GLOBAL),
        (SITE_LOCAL + LINK_LOCAL, SITE_LOCAL),
        (UNIQUE_LOCAL + LINK_LOCAL, UNIQUE_LOCAL),
        (bytes(16) + LINK_LOCAL, bytes(16) + LINK_LOCAL),
        (LINK_LOCAL + LINK_LOCAL, LINK_LOCAL + LINK_LOCAL),
        (LAST_LINK_LOCAL + LINK_LOCAL, LAST_LINK_LOCAL + LINK_LOCAL),
        (LINK_LOCAL, LINK_LOCAL),
    ],
)
def test_a_link_local_address_stays_behind_where_there_is_another(name: str, came: bytes, goes: bytes) -> None:
    assert passed_on(came, FAMILY_BY_NAME[name]) == goes


@pytest.mark.parametrize("name", [name for name, family in FAMILY_BY_NAME.items() if FAMILIES[family].opaque])
def test_opaque_families_keep_every_byte(name: str) -> None:
    for came in (GLOBAL + LINK_LOCAL, bytes(8) + GLOBAL + bytes(8) + LINK_LOCAL, bytes(8) + bytes(4), b""):
        assert passed_on(came, FAMILY_BY_NAME[name]) == came


#: Lengths without and with RFC 8950.
LENGTHS = [
    ("ipv4-unicast", {4}, {4, 16, 32}),
    ("ipv4-multicast", {4}, {4, 16, 32}),
    ("ipv4-labelled-unicast", {4}, {4, 16, 32}),
    ("ipv4-vpn", {12}, {12, 24, 48}),
    ("ipv4-multicast-vpn", {12}, {12, 24, 48}),
    ("ipv6-unicast", {16, 32}, {16, 32}),
    ("ipv6-multicast", {16, 32}, {16, 32}),
    ("ipv6-labelled-unicast", {4, 16, 32}, {4, 16, 32}),
    ("ipv6-vpn", {12, 24, 48}, {12, 24, 48}),
    ("l2vpn-evpn", {4, 16, 32}, {4, 16, 32}),
    ("ipv4-flowspec", {0, 4, 12, 16, 24, 32}, {0, 4, 12, 16, 24, 32}),
]


@pytest.mark.parametrize(("name", "without", "extended"), LENGTHS, ids=[row[0] for row in LENGTHS])
def test_lengths_that_a_peer_understands(name: str, without: set[int], extended: set[int]) -> None:
    """An IPv6 next hop has to be agreed on for IPv4 prefixes; others have always had both."""
    assert sendable_lengths(FAMILY_BY_NAME[name], extended=False) == without
    assert sendable_lengths(FAMILY_BY_NAME[name], extended=True) == extended
