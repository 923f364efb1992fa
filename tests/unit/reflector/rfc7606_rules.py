"""What malformed UPDATEs cost, rule by rule of RFC 7606 and attribute by attribute of the RFCs after it.

Each row names the outcome from an iBGP and from an eBGP peer: kept, gone (the attribute, with the route left in place),
withdrawn, or the reset with its code.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.unit.reflector.wire_messages import (
    AS_PATH,
    EVPN,
    IPV6_NEXT_HOP,
    NEXT_HOP,
    ORIGIN,
    PREFIX,
    PREFIX6,
    V4,
    V6,
    VPN4,
    attribute,
    reach,
    unreach,
)

KEPT, GONE, WITHDRAWN = "kept", "gone", "withdrawn"
BASE = ORIGIN + AS_PATH + NEXT_HOP
MP_BASE = ORIGIN + AS_PATH
LINK_LOCAL = b"\xfe\x80" + bytes(14)
EVPN_ROUTE = b"\3\2\xab\xcd"
COMMUNITY = attribute(8, bytes.fromhex("fde80001"), 0xC0)


class Rule(NamedTuple):
    """An attribute list in an UPDATE that announces a prefix, and what it leads to."""

    name: str
    attributes: bytes
    ibgp: str
    ebgp: str
    nlri: bytes = PREFIX


def with_origin(value: str, flags: int = 0x40) -> bytes:
    return attribute(1, bytes.fromhex(value), flags) + AS_PATH + NEXT_HOP


def with_path(value: str, flags: int = 0x40) -> bytes:
    return ORIGIN + attribute(2, bytes.fromhex(value), flags) + NEXT_HOP


def with_next_hop(value: str, flags: int = 0x40) -> bytes:
    return ORIGIN + AS_PATH + attribute(3, bytes.fromhex(value), flags)


def with_attribute(code: int, value: str, flags: int) -> bytes:
    return BASE + attribute(code, bytes.fromhex(value), flags)


def _same(name: str, attributes: bytes, found: str, nlri: bytes = PREFIX) -> Rule:
    return Rule(name, attributes, found, found, nlri)


SECTION_7 = [
    _same("nothing wrong", BASE, KEPT),
    # 7.1
    _same("ORIGIN of no bytes", with_origin(""), WITHDRAWN),
    _same("ORIGIN of 2 bytes", with_origin("0000"), WITHDRAWN),
    _same("ORIGIN 3", with_origin("03"), WITHDRAWN),
    _same("ORIGIN 2", with_origin("02"), KEPT),
    _same("ORIGIN optional", with_origin("00", 0xC0), WITHDRAWN),
    _same("ORIGIN not transitive", with_origin("00", 0x00), WITHDRAWN),
    # 7.2
    _same("AS_PATH empty", with_path(""), KEPT),
    _same("AS_PATH with a set", with_path("0101 0000fde8 0202 0000fde9 0000fdea"), KEPT),
    _same("AS_PATH segment type 0", with_path("0001 0000fde8"), WITHDRAWN),
    _same("AS_PATH segment type 5", with_path("0501 0000fde8"), WITHDRAWN),
    _same("AS_PATH segment longer than the attribute", with_path("0202 0000fde8"), WITHDRAWN),
    _same("AS_PATH with a byte behind the last segment", with_path("0201 0000fde8 02"), WITHDRAWN),
    _same("AS_PATH segment of no AS", with_path("0200"), WITHDRAWN),
    _same("AS_PATH of two-byte AS numbers", with_path("0201 fde8"), WITHDRAWN),
    _same("AS_PATH with AS 0 (RFC 7607)", with_path("0202 0000fde8 00000000"), WITHDRAWN),
    _same("AS_PATH optional", with_path("0201 0000fde8", 0xC0), WITHDRAWN),
    Rule("AS_PATH with a confederation (RFC 5065)", with_path("0301 0000fde8"), KEPT, WITHDRAWN),
    # 7.3
    _same("NEXT_HOP", with_next_hop("0a000001"), KEPT),
    _same("NEXT_HOP of 3 bytes", with_next_hop("0a0000"), WITHDRAWN),
    _same("NEXT_HOP of no bytes", with_next_hop(""), WITHDRAWN),
    _same("NEXT_HOP of 16 bytes", with_next_hop("fd" + "00" * 15), WITHDRAWN),
    _same("NEXT_HOP optional", with_next_hop("0a000001", 0xC0), WITHDRAWN),
    _same("NEXT_HOP 0.0.0.0", with_next_hop("00000000"), WITHDRAWN),
    _same("NEXT_HOP 127.0.0.1", with_next_hop("7f000001"), WITHDRAWN),
    _same("NEXT_HOP multicast", with_next_hop("e0000001"), WITHDRAWN),
    _same("NEXT_HOP 255.255.255.255", with_next_hop("ffffffff"), WITHDRAWN),
    # 7.4
    _same("MULTI_EXIT_DISC", with_attribute(4, "00000005", 0x80), KEPT),
    _same("MULTI_EXIT_DISC of no bytes", with_attribute(4, "", 0x80), WITHDRAWN),
    _same("MULTI_EXIT_DISC of 5 bytes", with_attribute(4, "0000000005", 0x80), WITHDRAWN),
    _same("MULTI_EXIT_DISC transitive", with_attribute(4, "00000005", 0xC0), WITHDRAWN),
    _same("MULTI_EXIT_DISC well-known", with_attribute(4, "00000005", 0x40), WITHDRAWN),
    # 7.5
    Rule("LOCAL_PREF", with_attribute(5, "00000064", 0x40), KEPT, GONE),
    Rule("LOCAL_PREF of 3 bytes", with_attribute(5, "000064", 0x40), WITHDRAWN, GONE),
    Rule("LOCAL_PREF optional", with_attribute(5, "00000064", 0xC0), WITHDRAWN, GONE),
    # 7.6
    _same("ATOMIC_AGGREGATE", with_attribute(6, "", 0x40), KEPT),
    _same("ATOMIC_AGGREGATE of 1 byte", with_attribute(6, "00", 0x40), GONE),
    _same("ATOMIC_AGGREGATE optional (3 f)", with_attribute(6, "", 0xC0), GONE),
    # 7.7
    _same("AGGREGATOR", with_attribute(7, "0000fde8 0a000001", 0xC0), KEPT),
    _same("AGGREGATOR of 6 bytes", with_attribute(7, "fde8 0a000001", 0xC0), GONE),
    _same("AGGREGATOR of no bytes", with_attribute(7, "", 0xC0), GONE),
    _same("AGGREGATOR AS 0 (RFC 7607)", with_attribute(7, "00000000 0a000001", 0xC0), GONE),
    _same("AGGREGATOR well-known (3 f)", with_attribute(7, "0000fde8 0a000001", 0x40), GONE),
    # 7.8
    _same("COMMUNITIES", with_attribute(8, "fde80001 fde80002", 0xC0), KEPT),
    _same("COMMUNITIES of no bytes", with_attribute(8, "", 0xC0), WITHDRAWN),
    _same("COMMUNITIES of 5 bytes", with_attribute(8, "fde8000100", 0xC0), WITHDRAWN),
    _same("COMMUNITIES not transitive", with_attribute(8, "fde80001", 0x80), WITHDRAWN),
    # 7.9
    Rule("ORIGINATOR_ID", with_attribute(9, "0a000001", 0x80), KEPT, GONE),
    Rule("ORIGINATOR_ID of 5 bytes", with_attribute(9, "0a00000100", 0x80), WITHDRAWN, GONE),
    Rule("ORIGINATOR_ID transitive", with_attribute(9, "0a000001", 0xC0), WITHDRAWN, GONE),
    # 7.10
    Rule("CLUSTER_LIST", with_attribute(10, "0a000001 0a000002", 0x80), KEPT, GONE),
    Rule("CLUSTER_LIST of no bytes", with_attribute(10, "", 0x80), WITHDRAWN, GONE),
    Rule("CLUSTER_LIST of 6 bytes", with_attribute(10, "0a0000010a00", 0x80), WITHDRAWN, GONE),
    Rule("CLUSTER_LIST well-known", with_attribute(10, "0a000001", 0x40), WITHDRAWN, GONE),
    # 7.13
    _same("TRAFFIC_ENGINEERING", with_attribute(24, "00", 0x80), KEPT),
    _same("TRAFFIC_ENGINEERING of no bytes", with_attribute(24, "", 0x80), WITHDRAWN),
    # 7.14
    _same("EXTENDED_COMMUNITIES", with_attribute(16, "0002fde800000001", 0xC0), KEPT),
    _same("EXTENDED_COMMUNITIES of no bytes", with_attribute(16, "", 0xC0), WITHDRAWN),
    _same("EXTENDED_COMMUNITIES of 12 bytes", with_attribute(16, "00" * 12, 0xC0), WITHDRAWN),
    # 7.15
    _same("IPV6_EXTENDED_COMMUNITIES", with_attribute(25, "00" * 20, 0xC0), KEPT),
    _same("IPV6_EXTENDED_COMMUNITIES of no bytes", with_attribute(25, "", 0xC0), WITHDRAWN),
    _same("IPV6_EXTENDED_COMMUNITIES of 30 bytes", with_attribute(25, "00" * 30, 0xC0), WITHDRAWN),
    # 7.16
    _same("ATTR_SET", with_attribute(128, "0000fde8 400101 00", 0xC0), KEPT),
    _same("ATTR_SET without attributes", with_attribute(128, "0000fde8", 0xC0), KEPT),
    _same("ATTR_SET of 3 bytes", with_attribute(128, "0000fd", 0xC0), WITHDRAWN),
    _same("ATTR_SET of broken attributes", with_attribute(128, "0000fde8 400105 00", 0xC0), WITHDRAWN),
    _same("ATTR_SET with NLRI", with_attribute(128, "0000fde8 800f03 000101", 0xC0), WITHDRAWN),
]

EXTENSIONS = [
    # RFC 8092
    _same("LARGE_COMMUNITY", with_attribute(32, "00" * 12, 0xC0), KEPT),
    _same("LARGE_COMMUNITY of no bytes", with_attribute(32, "", 0xC0), WITHDRAWN),
    _same("LARGE_COMMUNITY of 8 bytes", with_attribute(32, "00" * 8, 0xC0), WITHDRAWN),
    _same("LARGE_COMMUNITY not transitive", with_attribute(32, "00" * 12, 0x80), WITHDRAWN),
    # RFC 7311: not over eBGP
    Rule("AIGP", with_attribute(26, "01 000b 0000000000000005", 0x80), KEPT, GONE),
    Rule(
        "AIGP with a TLV of another type", with_attribute(26, "07 0004 ff 01 000b 0000000000000005", 0x80), KEPT, GONE
    ),
    Rule("AIGP of no bytes", with_attribute(26, "", 0x80), GONE, GONE),
    Rule("AIGP TLV that does not fit", with_attribute(26, "07 0009 ff", 0x80), GONE, GONE),
    Rule("AIGP TLV shorter than its head", with_attribute(26, "07 0002", 0x80), GONE, GONE),
    Rule("AIGP metric of 12 bytes", with_attribute(26, "01 000c 000000000000000500", 0x80), GONE, GONE),
    Rule("AIGP transitive", with_attribute(26, "01 000b 0000000000000005", 0xC0), GONE, GONE),
    # RFC 9234
    _same("ONLY_TO_CUSTOMER", with_attribute(35, "0000fde8", 0xC0), KEPT),
    _same("ONLY_TO_CUSTOMER of 3 bytes", with_attribute(35, "00fde8", 0xC0), WITHDRAWN),
    _same("ONLY_TO_CUSTOMER well-known", with_attribute(35, "0000fde8", 0x40), WITHDRAWN),
    # RFC 9012
    _same("TUNNEL_ENCAPSULATION", with_attribute(23, "0008 0004 01020304", 0xC0), KEPT),
    _same("TUNNEL_ENCAPSULATION of no bytes", with_attribute(23, "", 0xC0), WITHDRAWN),
    _same("TUNNEL_ENCAPSULATION that does not fit", with_attribute(23, "0008 0005 01020304", 0xC0), WITHDRAWN),
    # RFC 6514
    _same("PMSI_TUNNEL", with_attribute(22, "00 06 000000 0a000001", 0xC0), KEPT),
    _same("PMSI_TUNNEL of 4 bytes", with_attribute(22, "00060000", 0xC0), WITHDRAWN),
    # RFC 8669
    _same("PREFIX_SID", with_attribute(40, "01 0007 00000000000003", 0xC0), KEPT),
    _same("PREFIX_SID of no bytes", with_attribute(40, "", 0xC0), GONE),
    _same("PREFIX_SID that does not fit", with_attribute(40, "01 0008 00000000000003", 0xC0), GONE),
    _same("PREFIX_SID not transitive", with_attribute(40, "01 0007 00000000000003", 0x80), GONE),
    # RFC 9552
    _same("BGP-LS", with_attribute(29, "0400 0001 00", 0x80), KEPT),
    _same("BGP-LS that does not fit", with_attribute(29, "0400 0002 00", 0x80), GONE),
    # RFC 6793, 4.1 and 6: between speakers of four bytes it is passed over
    _same("AS4_PATH from a new speaker", with_attribute(17, "0201 0001fde8", 0xC0), KEPT),
    _same("AS4_PATH from a new speaker, broken", with_attribute(17, "0201", 0xC0), GONE),
    _same("AS4_AGGREGATOR from a new speaker", with_attribute(18, "0001fde8 0a000001", 0xC0), KEPT),
    _same("AS4_AGGREGATOR from a new speaker, of 6 bytes", with_attribute(18, "fde8 0a000001", 0xC0), GONE),
    # RFC 4271, 5: unknown ones
    _same("unknown, optional and transitive", with_attribute(99, "0102", 0xC0), KEPT),
    _same("unknown, optional", with_attribute(99, "0102", 0x80), KEPT),
    _same("unknown, of no bytes", with_attribute(99, "", 0xC0), KEPT),
    _same("unknown, well-known", with_attribute(99, "0102", 0x40), WITHDRAWN),
]

GENERAL = [
    # 3 c: only the Optional and Transitive bits can be wrong
    _same("Partial and unused bits of a well-known attribute", with_origin("00", 0x6F), KEPT),
    _same("Partial and unused bits of an optional attribute", with_attribute(4, "00000005", 0xAF), KEPT),
    _same("a short attribute with the extended length", BASE + attribute(8, b"abcd", 0xC0, extended=True), KEPT),
    # 3 d
    _same("no attributes", b"", WITHDRAWN),
    _same("no ORIGIN", AS_PATH + NEXT_HOP, WITHDRAWN),
    _same("no AS_PATH", ORIGIN + NEXT_HOP, WITHDRAWN),
    _same("no NEXT_HOP", ORIGIN + AS_PATH, WITHDRAWN),
    _same("no LOCAL_PREF", BASE, KEPT),
    # 3 g
    _same("ORIGIN twice", BASE + attribute(1, b"\x02"), GONE),
    _same("ORIGIN twice, the second malformed", BASE + attribute(1, b"\x09"), GONE),
    _same("NEXT_HOP twice", BASE + attribute(3, b"\0\0\0\0"), GONE),
    _same("unknown twice", BASE + attribute(99, b"1", 0xC0) + attribute(99, b"2", 0xC0), GONE),
    # 3 h
    _same("two faults, the stronger counts", with_attribute(6, "00", 0x40) + attribute(8, b"", 0xC0), WITHDRAWN),
    _same("two faults, the other way round", with_attribute(8, "", 0xC0) + attribute(6, b"\0", 0x40), WITHDRAWN),
    # 4
    _same("the last attribute longer than the field", BASE + b"\xc0\x08\x05abcd", WITHDRAWN),
    _same("one byte behind the last attribute", BASE + b"\xc0", WITHDRAWN),
    _same("two bytes behind the last attribute", BASE + b"\xc0\x08", WITHDRAWN),
    _same("half an extended length behind the last attribute", BASE + b"\xd0\x08\x00", WITHDRAWN),
    _same("attributes in another order", NEXT_HOP + AS_PATH + ORIGIN, KEPT),
    # 3 j, 5.3 of the UPDATE's own field
    _same("prefix length 33", BASE, "reset 3/10", bytes.fromhex("210a00000000")),
    _same("a prefix longer than the field", BASE, "reset 3/10", PREFIX + b"\x18\x0a"),
]

MULTIPROTOCOL = [
    _same("IPv6", MP_BASE + reach(V6, IPV6_NEXT_HOP, PREFIX6), KEPT, b""),
    _same(
        "IPv6 with a link-local next hop",
        MP_BASE + reach(V6, IPV6_NEXT_HOP + LINK_LOCAL, PREFIX6),
        KEPT,
        b"",
    ),
    _same("reserved byte", MP_BASE + reach(V6, IPV6_NEXT_HOP, PREFIX6, reserved=7), KEPT, b""),
    _same("both IPv4 and IPv6", BASE + reach(V6, IPV6_NEXT_HOP, PREFIX6), KEPT, PREFIX),
    _same("NEXT_HOP beside is not looked at", with_next_hop("e00000") + reach(V6, IPV6_NEXT_HOP, PREFIX6), KEPT, b""),
    _same("IPv4 with its own next hop", MP_BASE + reach(V4, NEXT_HOP[3:], PREFIX), KEPT, b""),
    _same("no ORIGIN", AS_PATH + reach(V6, IPV6_NEXT_HOP, PREFIX6), WITHDRAWN, b""),
    _same("malformed COMMUNITIES", MP_BASE + reach(V6, IPV6_NEXT_HOP, PREFIX6) + b"\xc0\x08\0", WITHDRAWN, b""),
    # next hops that cannot be
    _same(
        "next hop ::1 and a link-local one",
        MP_BASE + reach(V6, bytes(15) + b"\1" + LINK_LOCAL, PREFIX6),
        WITHDRAWN,
        b"",
    ),
    _same("next hop :: twice", MP_BASE + reach(V6, bytes(32), PREFIX6), WITHDRAWN, b""),
    _same("next hop of an IPv4 address", MP_BASE + reach(V6, bytes(10) + b"\xff\xff\x0a\0\0\1", PREFIX6), KEPT, b""),
    _same("next hop ::", MP_BASE + reach(V6, bytes(16), PREFIX6), WITHDRAWN, b""),
    _same("next hop ::1", MP_BASE + reach(V6, bytes(15) + b"\1", PREFIX6), WITHDRAWN, b""),
    _same("next hop :: and a link-local one", MP_BASE + reach(V6, bytes(16) + LINK_LOCAL, PREFIX6), KEPT, b""),
    _same("next hop multicast", MP_BASE + reach(V6, b"\xff" + bytes(15), PREFIX6), WITHDRAWN, b""),
    _same("next hop 0.0.0.0 in MP_REACH_NLRI", MP_BASE + reach(V4, bytes(4), PREFIX), WITHDRAWN, b""),
    _same("IPv4 over IPv6, not negotiated", MP_BASE + reach(V4, IPV6_NEXT_HOP, PREFIX), WITHDRAWN, b""),
    _same("IPv6 over IPv4, not negotiated", MP_BASE + reach(V6, NEXT_HOP[3:], PREFIX6), WITHDRAWN, b""),
    # 7.11
    _same("next hop of 15 bytes", MP_BASE + reach(V6, bytes(15), PREFIX6), "reset 3/9", b""),
    _same("next hop of no bytes", MP_BASE + reach(V6, b"", PREFIX6), "reset 3/9", b""),
    _same("VPN next hop without distinguisher", MP_BASE + reach(VPN4, bytes(4), b""), "reset 3/9", b""),
    _same(
        "next hop longer than the attribute",
        MP_BASE + attribute(14, V6.packed + b"\x10" + bytes(9), 0x80),
        "reset 3/9",
        b"",
    ),
    _same(
        "next hop longer than the attribute, in which another would fit",
        MP_BASE + attribute(14, V6.packed + b"\x20" + IPV6_NEXT_HOP, 0x80),
        "reset 3/9",
        b"",
    ),
    _same(
        "no reserved byte behind the next hop",
        MP_BASE + attribute(14, V6.packed + b"\x10" + IPV6_NEXT_HOP, 0x80),
        "reset 3/9",
        b"",
    ),
    # 5.3
    _same("MP_REACH_NLRI of 4 bytes", MP_BASE + attribute(14, V6.packed + b"\0", 0x80), "reset 3/9", b""),
    _same("MP_REACH_NLRI of 2 bytes", MP_BASE + attribute(14, b"\0\2", 0x80), "reset 3/9", b""),
    _same("MP_REACH_NLRI transitive (3 c)", MP_BASE + reach(V6, IPV6_NEXT_HOP, PREFIX6, flags=0xC0), WITHDRAWN, b""),
    _same("MP_REACH_NLRI well-known (3 c)", MP_BASE + reach(V6, IPV6_NEXT_HOP, PREFIX6, flags=0x40), WITHDRAWN, b""),
    _same("MP_REACH_NLRI partial", MP_BASE + reach(V6, IPV6_NEXT_HOP, PREFIX6, flags=0xAF), KEPT, b""),
    _same(
        "MP_REACH_NLRI transitive, and a next hop of 15 bytes",
        MP_BASE + reach(V6, bytes(15), PREFIX6, flags=0xC0),
        "reset 3/9",
        b"",
    ),
    _same("prefix length 129", MP_BASE + reach(V6, IPV6_NEXT_HOP, b"\x81" + bytes(17)), "reset 3/9", b""),
    _same("a prefix longer than MP_REACH_NLRI", MP_BASE + reach(V6, IPV6_NEXT_HOP, PREFIX6[:-1]), "reset 3/9", b""),
    _same("EVPN that does not fit", MP_BASE + reach(EVPN, bytes(4), b"\2\x21\0"), "reset 3/9", b""),
    _same("reset before withdrawal", MP_BASE + b"\xc0\x08\0" + reach(V6, bytes(15), PREFIX6), "reset 3/9", b""),
    # 7.12
    _same("MP_UNREACH_NLRI", unreach(V6, PREFIX6), KEPT, b""),
    _same("MP_UNREACH_NLRI of 2 bytes", attribute(15, b"\0\2", 0x80), "reset 3/9", b""),
    _same("MP_UNREACH_NLRI transitive (3 c)", unreach(V6, PREFIX6, flags=0xC0), WITHDRAWN, b""),
    _same("MP_UNREACH_NLRI well-known (3 c)", unreach(V6, PREFIX6, flags=0x40), WITHDRAWN, b""),
    _same("MP_UNREACH_NLRI transitive beside routes", BASE + unreach(EVPN, EVPN_ROUTE, flags=0xC0), WITHDRAWN),
    _same("a prefix longer than MP_UNREACH_NLRI", unreach(V6, PREFIX6[:-1]), "reset 3/9", b""),
    # 3 g
    _same("MP_REACH_NLRI twice", MP_BASE + 2 * reach(V6, IPV6_NEXT_HOP, PREFIX6), "reset 3/1", b""),
    _same("MP_UNREACH_NLRI twice", unreach(V6, PREFIX6) + unreach(V4, PREFIX), "reset 3/1", b""),
    # 5.1: not allowed to senders, understood from them
    _same("all kinds at once", BASE + reach(V6, IPV6_NEXT_HOP, PREFIX6) + unreach(EVPN, EVPN_ROUTE), KEPT, PREFIX),
]

#: 5.2: attributes that are for nothing.
WITHOUT_NLRI = [
    _same("good attributes", BASE, KEPT, b""),
    _same("no ORIGIN", AS_PATH, KEPT, b""),
    _same("MP_REACH_NLRI without NLRI", MP_BASE + reach(V6, IPV6_NEXT_HOP, b""), KEPT, b""),
    _same("NEXT_HOP 0.0.0.0: not malformed", with_next_hop("00000000"), KEPT, b""),
    _same("ATOMIC_AGGREGATE of 1 byte", with_attribute(6, "00", 0x40), GONE, b""),
    Rule("LOCAL_PREF of 3 bytes", with_attribute(5, "000064", 0x40), "reset 3/5", GONE, b""),
    _same("ORIGIN 3", with_origin("03"), "reset 3/6", b""),
    _same("ORIGIN optional", with_origin("00", 0xC0), "reset 3/4", b""),
    _same("AS_PATH segment type 5", with_path("0501 0000fde8"), "reset 3/11", b""),
    _same("NEXT_HOP of 3 bytes", with_next_hop("0a0000"), "reset 3/5", b""),
    _same("COMMUNITIES of no bytes", with_attribute(8, "", 0xC0), "reset 3/9", b""),
    _same("unknown, well-known", with_attribute(99, "0102", 0x40), "reset 3/2", b""),
    _same("one byte behind the last attribute", BASE + b"\xc0", "reset 3/1", b""),
    _same("MP_UNREACH_NLRI and COMMUNITIES of no bytes", unreach(V6, PREFIX6) + b"\xc0\x08\0", "reset 3/9", b""),
    _same(
        "MP_UNREACH_NLRI transitive, and other attributes",
        BASE + unreach(V6, PREFIX6, flags=0xC0),
        "reset 3/4",
        b"",
    ),
    _same("MP_REACH_NLRI transitive, without NLRI", reach(V6, IPV6_NEXT_HOP, b"", flags=0xC0), "reset 3/4", b""),
    _same(
        "MP_REACH_NLRI that announces nothing",
        MP_BASE + reach(V6, IPV6_NEXT_HOP, b"") + b"\xc0\x08\0",
        "reset 3/9",
        b"",
    ),
]

RULES = {
    f"{group}: {rule.name}": rule
    for group, rules in (
        ("7", SECTION_7),
        ("extension", EXTENSIONS),
        ("general", GENERAL),
        ("multiprotocol", MULTIPROTOCOL),
        ("5.2", WITHOUT_NLRI),
    )
    for rule in rules
}
