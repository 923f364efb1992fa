"""What malformed UPDATEs cost, rule by rule of RFC 7606 and attribute by attribute of the RFCs after it.

Each row names the outcome from an iBGP and from an eBGP peer: kept, gone (the attribute, with the route left in place),
withdrawn, or the reset with its code.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from reflector.wire.attribute_cache import AttributeCache
from reflector.wire.errors import ResetSession
from reflector.wire.negotiated import Negotiated
from reflector.wire.update import decode_update
from tests.unit.reflector.wire_messages import (
    AS_PATH,
    EVERYTHING,
    EVPN,
    IPV6_NEXT_HOP,
    LOCAL_PREF,
    NEXT_HOP,
    ORIGIN,
    OTHER_PREFIX,
    PREFIX,
    PREFIX6,
    V4,
    V6,
    VPN4,
    attribute,
    decoded,
    outcome,
    reach,
    unreach,
    update,
)

KEPT, GONE, WITHDRAWN = "kept", "gone", "withdrawn"
BASE = ORIGIN + AS_PATH + NEXT_HOP
MP_BASE = ORIGIN + AS_PATH
LINK_LOCAL = b"\xfe\x80" + bytes(14)
COMMUNITY = attribute(8, bytes.fromhex("fde80001"), 0xC0)


class Rule(NamedTuple):
    """An attribute list in an UPDATE that announces a prefix, and what it leads to."""

    name: str
    attributes: bytes
    ibgp: str
    ebgp: str
    nlri: bytes = PREFIX


def _origin(value: str, flags: int = 0x40) -> bytes:
    return attribute(1, bytes.fromhex(value), flags) + AS_PATH + NEXT_HOP


def _path(value: str, flags: int = 0x40) -> bytes:
    return ORIGIN + attribute(2, bytes.fromhex(value), flags) + NEXT_HOP


def _next_hop(value: str, flags: int = 0x40) -> bytes:
    return ORIGIN + AS_PATH + attribute(3, bytes.fromhex(value), flags)


def _plus(code: int, value: str, flags: int) -> bytes:
    return BASE + attribute(code, bytes.fromhex(value), flags)


def _same(name: str, attributes: bytes, found: str, nlri: bytes = PREFIX) -> Rule:
    return Rule(name, attributes, found, found, nlri)


SECTION_7 = [
    _same("nothing wrong", BASE, KEPT),
    # 7.1
    _same("ORIGIN of no bytes", _origin(""), WITHDRAWN),
    _same("ORIGIN of 2 bytes", _origin("0000"), WITHDRAWN),
    _same("ORIGIN 3", _origin("03"), WITHDRAWN),
    _same("ORIGIN 2", _origin("02"), KEPT),
    _same("ORIGIN optional", _origin("00", 0xC0), WITHDRAWN),
    _same("ORIGIN not transitive", _origin("00", 0x00), WITHDRAWN),
    # 7.2
    _same("AS_PATH empty", _path(""), KEPT),
    _same("AS_PATH with a set", _path("0101 0000fde8 0202 0000fde9 0000fdea"), KEPT),
    _same("AS_PATH segment type 0", _path("0001 0000fde8"), WITHDRAWN),
    _same("AS_PATH segment type 5", _path("0501 0000fde8"), WITHDRAWN),
    _same("AS_PATH segment longer than the attribute", _path("0202 0000fde8"), WITHDRAWN),
    _same("AS_PATH with a byte behind the last segment", _path("0201 0000fde8 02"), WITHDRAWN),
    _same("AS_PATH segment of no AS", _path("0200"), WITHDRAWN),
    _same("AS_PATH of two-byte AS numbers", _path("0201 fde8"), WITHDRAWN),
    _same("AS_PATH with AS 0 (RFC 7607)", _path("0202 0000fde8 00000000"), WITHDRAWN),
    _same("AS_PATH optional", _path("0201 0000fde8", 0xC0), WITHDRAWN),
    Rule("AS_PATH with a confederation (RFC 5065)", _path("0301 0000fde8"), KEPT, WITHDRAWN),
    # 7.3
    _same("NEXT_HOP of 3 bytes", _next_hop("0a0000"), WITHDRAWN),
    _same("NEXT_HOP of no bytes", _next_hop(""), WITHDRAWN),
    _same("NEXT_HOP of 16 bytes", _next_hop("fd" + "00" * 15), WITHDRAWN),
    _same("NEXT_HOP optional", _next_hop("0a000001", 0xC0), WITHDRAWN),
    _same("NEXT_HOP 0.0.0.0", _next_hop("00000000"), WITHDRAWN),
    _same("NEXT_HOP 127.0.0.1", _next_hop("7f000001"), WITHDRAWN),
    _same("NEXT_HOP multicast", _next_hop("e0000001"), WITHDRAWN),
    _same("NEXT_HOP 255.255.255.255", _next_hop("ffffffff"), WITHDRAWN),
    # 7.4
    _same("MULTI_EXIT_DISC", _plus(4, "00000005", 0x80), KEPT),
    _same("MULTI_EXIT_DISC of no bytes", _plus(4, "", 0x80), WITHDRAWN),
    _same("MULTI_EXIT_DISC of 5 bytes", _plus(4, "0000000005", 0x80), WITHDRAWN),
    _same("MULTI_EXIT_DISC transitive", _plus(4, "00000005", 0xC0), WITHDRAWN),
    _same("MULTI_EXIT_DISC well-known", _plus(4, "00000005", 0x40), WITHDRAWN),
    # 7.5
    Rule("LOCAL_PREF", _plus(5, "00000064", 0x40), KEPT, GONE),
    Rule("LOCAL_PREF of 3 bytes", _plus(5, "000064", 0x40), WITHDRAWN, GONE),
    Rule("LOCAL_PREF optional", _plus(5, "00000064", 0xC0), WITHDRAWN, GONE),
    # 7.6
    _same("ATOMIC_AGGREGATE", _plus(6, "", 0x40), KEPT),
    _same("ATOMIC_AGGREGATE of 1 byte", _plus(6, "00", 0x40), GONE),
    _same("ATOMIC_AGGREGATE optional (3 f)", _plus(6, "", 0xC0), GONE),
    # 7.7
    _same("AGGREGATOR", _plus(7, "0000fde8 0a000001", 0xC0), KEPT),
    _same("AGGREGATOR of 6 bytes", _plus(7, "fde8 0a000001", 0xC0), GONE),
    _same("AGGREGATOR of no bytes", _plus(7, "", 0xC0), GONE),
    _same("AGGREGATOR AS 0 (RFC 7607)", _plus(7, "00000000 0a000001", 0xC0), GONE),
    _same("AGGREGATOR well-known (3 f)", _plus(7, "0000fde8 0a000001", 0x40), GONE),
    # 7.8
    _same("COMMUNITIES", _plus(8, "fde80001 fde80002", 0xC0), KEPT),
    _same("COMMUNITIES of no bytes", _plus(8, "", 0xC0), WITHDRAWN),
    _same("COMMUNITIES of 5 bytes", _plus(8, "fde8000100", 0xC0), WITHDRAWN),
    _same("COMMUNITIES not transitive", _plus(8, "fde80001", 0x80), WITHDRAWN),
    # 7.9
    Rule("ORIGINATOR_ID", _plus(9, "0a000001", 0x80), KEPT, GONE),
    Rule("ORIGINATOR_ID of 5 bytes", _plus(9, "0a00000100", 0x80), WITHDRAWN, GONE),
    Rule("ORIGINATOR_ID transitive", _plus(9, "0a000001", 0xC0), WITHDRAWN, GONE),
    # 7.10
    Rule("CLUSTER_LIST", _plus(10, "0a000001 0a000002", 0x80), KEPT, GONE),
    Rule("CLUSTER_LIST of no bytes", _plus(10, "", 0x80), WITHDRAWN, GONE),
    Rule("CLUSTER_LIST of 6 bytes", _plus(10, "0a0000010a00", 0x80), WITHDRAWN, GONE),
    Rule("CLUSTER_LIST well-known", _plus(10, "0a000001", 0x40), WITHDRAWN, GONE),
    # 7.13
    _same("TRAFFIC_ENGINEERING", _plus(24, "00", 0x80), KEPT),
    _same("TRAFFIC_ENGINEERING of no bytes", _plus(24, "", 0x80), WITHDRAWN),
    # 7.14
    _same("EXTENDED_COMMUNITIES", _plus(16, "0002fde800000001", 0xC0), KEPT),
    _same("EXTENDED_COMMUNITIES of no bytes", _plus(16, "", 0xC0), WITHDRAWN),
    _same("EXTENDED_COMMUNITIES of 12 bytes", _plus(16, "00" * 12, 0xC0), WITHDRAWN),
    # 7.15
    _same("IPV6_EXTENDED_COMMUNITIES", _plus(25, "00" * 20, 0xC0), KEPT),
    _same("IPV6_EXTENDED_COMMUNITIES of no bytes", _plus(25, "", 0xC0), WITHDRAWN),
    _same("IPV6_EXTENDED_COMMUNITIES of 30 bytes", _plus(25, "00" * 30, 0xC0), WITHDRAWN),
    # 7.16
    _same("ATTR_SET", _plus(128, "0000fde8 400101 00", 0xC0), KEPT),
    _same("ATTR_SET without attributes", _plus(128, "0000fde8", 0xC0), KEPT),
    _same("ATTR_SET of 3 bytes", _plus(128, "0000fd", 0xC0), WITHDRAWN),
    _same("ATTR_SET of broken attributes", _plus(128, "0000fde8 400105 00", 0xC0), WITHDRAWN),
    _same("ATTR_SET with NLRI", _plus(128, "0000fde8 800f03 000101", 0xC0), WITHDRAWN),
]

EXTENSIONS = [
    # RFC 8092
    _same("LARGE_COMMUNITY", _plus(32, "00" * 12, 0xC0), KEPT),
    _same("LARGE_COMMUNITY of no bytes", _plus(32, "", 0xC0), WITHDRAWN),
    _same("LARGE_COMMUNITY of 8 bytes", _plus(32, "00" * 8, 0xC0), WITHDRAWN),
    _same("LARGE_COMMUNITY not transitive", _plus(32, "00" * 12, 0x80), WITHDRAWN),
    # RFC 7311: not over eBGP
    Rule("AIGP", _plus(26, "01 000b 0000000000000005", 0x80), KEPT, GONE),
    Rule("AIGP with a TLV of another type", _plus(26, "07 0004 ff 01 000b 0000000000000005", 0x80), KEPT, GONE),
    Rule("AIGP of no bytes", _plus(26, "", 0x80), GONE, GONE),
    Rule("AIGP TLV that does not fit", _plus(26, "07 0009 ff", 0x80), GONE, GONE),
    Rule("AIGP TLV shorter than its head", _plus(26, "07 0002", 0x80), GONE, GONE),
    Rule("AIGP metric of 12 bytes", _plus(26, "01 000c 000000000000000500", 0x80), GONE, GONE),
    Rule("AIGP transitive", _plus(26, "01 000b 0000000000000005", 0xC0), GONE, GONE),
    # RFC 9234
    _same("ONLY_TO_CUSTOMER", _plus(35, "0000fde8", 0xC0), KEPT),
    _same("ONLY_TO_CUSTOMER of 3 bytes", _plus(35, "00fde8", 0xC0), WITHDRAWN),
    _same("ONLY_TO_CUSTOMER well-known", _plus(35, "0000fde8", 0x40), WITHDRAWN),
    # RFC 9012
    _same("TUNNEL_ENCAPSULATION", _plus(23, "0008 0004 01020304", 0xC0), KEPT),
    _same("TUNNEL_ENCAPSULATION of no bytes", _plus(23, "", 0xC0), WITHDRAWN),
    _same("TUNNEL_ENCAPSULATION that does not fit", _plus(23, "0008 0005 01020304", 0xC0), WITHDRAWN),
    # RFC 6514
    _same("PMSI_TUNNEL", _plus(22, "00 06 000000 0a000001", 0xC0), KEPT),
    _same("PMSI_TUNNEL of 4 bytes", _plus(22, "00060000", 0xC0), WITHDRAWN),
    # RFC 8669
    _same("PREFIX_SID", _plus(40, "01 0007 00000000000003", 0xC0), KEPT),
    _same("PREFIX_SID of no bytes", _plus(40, "", 0xC0), GONE),
    _same("PREFIX_SID that does not fit", _plus(40, "01 0008 00000000000003", 0xC0), GONE),
    _same("PREFIX_SID not transitive", _plus(40, "01 0007 00000000000003", 0x80), GONE),
    # RFC 9552
    _same("BGP-LS", _plus(29, "0400 0001 00", 0x80), KEPT),
    _same("BGP-LS that does not fit", _plus(29, "0400 0002 00", 0x80), GONE),
    # RFC 6793, 4.1 and 6: between speakers of four bytes it is passed over
    _same("AS4_PATH from a new speaker", _plus(17, "0201 0001fde8", 0xC0), KEPT),
    _same("AS4_PATH from a new speaker, broken", _plus(17, "0201", 0xC0), GONE),
    _same("AS4_AGGREGATOR from a new speaker", _plus(18, "0001fde8 0a000001", 0xC0), KEPT),
    # RFC 4271, 5: unknown ones
    _same("unknown, optional and transitive", _plus(99, "0102", 0xC0), KEPT),
    _same("unknown, optional", _plus(99, "0102", 0x80), KEPT),
    _same("unknown, of no bytes", _plus(99, "", 0xC0), KEPT),
    _same("unknown, well-known", _plus(99, "0102", 0x40), WITHDRAWN),
]

GENERAL = [
    # 3 c: only the Optional and Transitive bits can be wrong
    _same("Partial and unused bits of a well-known attribute", _origin("00", 0x6F), KEPT),
    _same("Partial and unused bits of an optional attribute", _plus(4, "00000005", 0xAF), KEPT),
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
    _same("two faults, the stronger counts", _plus(6, "00", 0x40) + attribute(8, b"", 0xC0), WITHDRAWN),
    _same("two faults, the other way round", _plus(8, "", 0xC0) + attribute(6, b"\0", 0x40), WITHDRAWN),
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
    _same("NEXT_HOP beside is not looked at", _next_hop("e00000") + reach(V6, IPV6_NEXT_HOP, PREFIX6), KEPT, b""),
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
    # 5.3
    _same("MP_REACH_NLRI of 4 bytes", MP_BASE + attribute(14, V6.packed + b"\0", 0x80), "reset 3/9", b""),
    _same("MP_REACH_NLRI of 2 bytes", MP_BASE + attribute(14, b"\0\2", 0x80), "reset 3/9", b""),
    _same("MP_REACH_NLRI transitive", MP_BASE + reach(V6, IPV6_NEXT_HOP, PREFIX6, flags=0xC0), "reset 3/9", b""),
    _same("MP_REACH_NLRI well-known", MP_BASE + reach(V6, IPV6_NEXT_HOP, PREFIX6, flags=0x40), "reset 3/9", b""),
    _same("prefix length 129", MP_BASE + reach(V6, IPV6_NEXT_HOP, b"\x81" + bytes(17)), "reset 3/9", b""),
    _same("a prefix longer than MP_REACH_NLRI", MP_BASE + reach(V6, IPV6_NEXT_HOP, PREFIX6[:-1]), "reset 3/9", b""),
    _same("EVPN that does not fit", MP_BASE + reach(EVPN, bytes(4), b"\2\x21\0"), "reset 3/9", b""),
    _same("reset before withdrawal", MP_BASE + b"\xc0\x08\0" + reach(V6, bytes(15), PREFIX6), "reset 3/9", b""),
    # 7.12
    _same("MP_UNREACH_NLRI", unreach(V6, PREFIX6), KEPT, b""),
    _same("MP_UNREACH_NLRI of 2 bytes", attribute(15, b"\0\2", 0x80), "reset 3/9", b""),
    _same("MP_UNREACH_NLRI transitive", unreach(V6, PREFIX6, flags=0xC0), "reset 3/9", b""),
    _same("a prefix longer than MP_UNREACH_NLRI", unreach(V6, PREFIX6[:-1]), "reset 3/9", b""),
    # 3 g
    _same("MP_REACH_NLRI twice", MP_BASE + 2 * reach(V6, IPV6_NEXT_HOP, PREFIX6), "reset 3/1", b""),
    _same("MP_UNREACH_NLRI twice", unreach(V6, PREFIX6) + unreach(V4, PREFIX), "reset 3/1", b""),
    # 5.1: not allowed to senders, understood from them
    _same("all kinds at once", BASE + reach(V6, IPV6_NEXT_HOP, PREFIX6) + unreach(EVPN, b"\3\0"), KEPT, PREFIX),
]

#: 5.2: attributes that are for nothing.
WITHOUT_NLRI = [
    _same("good attributes", BASE, KEPT, b""),
    _same("no ORIGIN", AS_PATH, KEPT, b""),
    _same("MP_REACH_NLRI without NLRI", MP_BASE + reach(V6, IPV6_NEXT_HOP, b""), KEPT, b""),
    _same("NEXT_HOP 0.0.0.0: not malformed", _next_hop("00000000"), KEPT, b""),
    _same("ATOMIC_AGGREGATE of 1 byte", _plus(6, "00", 0x40), GONE, b""),
    Rule("LOCAL_PREF of 3 bytes", _plus(5, "000064", 0x40), "reset 3/5", GONE, b""),
    _same("ORIGIN 3", _origin("03"), "reset 3/6", b""),
    _same("ORIGIN optional", _origin("00", 0xC0), "reset 3/4", b""),
    _same("AS_PATH segment type 5", _path("0501 0000fde8"), "reset 3/11", b""),
    _same("NEXT_HOP of 3 bytes", _next_hop("0a0000"), "reset 3/5", b""),
    _same("COMMUNITIES of no bytes", _plus(8, "", 0xC0), "reset 3/9", b""),
    _same("unknown, well-known", _plus(99, "0102", 0x40), "reset 3/2", b""),
    _same("one byte behind the last attribute", BASE + b"\xc0", "reset 3/1", b""),
    _same("MP_UNREACH_NLRI and COMMUNITIES of no bytes", unreach(V6, PREFIX6) + b"\xc0\x08\0", "reset 3/9", b""),
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


def test_no_rule_hides_another() -> None:
    assert len(RULES) == len(SECTION_7 + EXTENSIONS + GENERAL + MULTIPROTOCOL + WITHOUT_NLRI)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("external", [False, True], ids=["iBGP", "eBGP"])
def test_outcome(name: str, external: bool) -> None:
    rule = RULES[name]
    assert outcome(update(rule.attributes, rule.nlri), external=external) == (rule.ebgp if external else rule.ibgp)


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if GONE in (rule.ibgp, rule.ebgp) and rule.nlri])
def test_only_the_attribute_is_gone(name: str) -> None:
    rule = RULES[name]
    for external, expected in ((False, rule.ibgp), (True, rule.ebgp)):
        if expected == GONE:
            found = decoded(update(rule.attributes + COMMUNITY, rule.nlri), external=external)
            assert found.block is not None
            assert found.announced == [(V4, NEXT_HOP[3:], [PREFIX])]
            kept = {found.block.raw[:13], found.block.raw[13:]}
            assert kept <= {ORIGIN + AS_PATH, COMMUNITY, attribute(99, b"1", 0xE0)} | {
                COMMUNITY + attribute(99, b"1", 0xE0)
            }


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if WITHDRAWN in (rule.ibgp, rule.ebgp)])
def test_what_was_announced_is_withdrawn(name: str) -> None:
    """Together with what the UPDATE withdraws itself, and nothing is lost of a second family."""
    rule = RULES[name]
    for external, expected in ((False, rule.ibgp), (True, rule.ebgp)):
        if expected == WITHDRAWN:
            body = update(rule.attributes, rule.nlri, withdrawn=OTHER_PREFIX)
            found = decoded(body, external=external)
            gone = [PREFIX6] if b"\x80\x0e" in rule.attributes and V6.packed in rule.attributes else [PREFIX]
            assert [keys for _, keys in found.withdrawn] == [[OTHER_PREFIX], gone]


@pytest.mark.parametrize(
    "fields", ["", "00", "0000 00", "0003 18 0a 0000", "0000 0005 40010100", "ffff 0000", "0000 ffff"]
)
def test_fields_longer_than_the_update(fields: str) -> None:
    with pytest.raises(ResetSession) as reset:
        decoded(bytes.fromhex(fields))
    assert (reset.value.code, reset.value.subcode) == (3, 1)


@pytest.mark.parametrize("withdrawn", ["21 0a00000000", "18 0a01", "18"])
def test_withdrawn_routes_are_checked_as_announced_ones(withdrawn: str) -> None:
    """3 i."""
    for attributes, nlri in ((b"", b""), (BASE, PREFIX)):
        with pytest.raises(ResetSession) as reset:
            decoded(update(attributes, nlri, bytes.fromhex(withdrawn)))
        assert (reset.value.code, reset.value.subcode) == (3, 10)


def test_the_reset_says_which_attribute() -> None:
    broken = reach(V6, bytes(15), PREFIX6)
    with pytest.raises(ResetSession) as reset:
        decoded(update(MP_BASE + broken))
    assert reset.value.data == broken
    with pytest.raises(ResetSession) as reset:
        decoded(update(_origin("03")))
    assert reset.value.data == attribute(1, b"\3")


def test_faults_say_what_is_wrong() -> None:
    found = decoded(update(_plus(8, "0102", 0xC0) + attribute(6, b"\0", 0x40), PREFIX))
    assert [fault.text for fault in found.faults] == [
        "COMMUNITIES: 2 bytes are no multiple of 4 above 0",
        "ATOMIC_AGGREGATE: 1 bytes instead of 0",
    ]
    found = decoded(update(BASE + b"\xc0\x08\x05abcd", PREFIX))
    assert [fault.text for fault in found.faults] == ["attribute 8 is longer than the field it is in"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("0501 0000fde8", "a path segment of type 5"),
        ("0200", "a path segment without AS numbers"),
        ("0202 0000fde8", "a path segment of 2 AS numbers that does not fit"),
        ("0201 00000000", "AS 0 in the path"),
    ],
)
def test_faults_of_a_path(path: str, text: str) -> None:
    assert [fault.text for fault in decoded(update(_path(path), PREFIX)).faults] == [f"AS_PATH: {text}"]


@pytest.mark.parametrize(
    ("nlri", "text"),
    [
        ("21 0a00000000", "a prefix length of 33, of at most 32"),
        ("18 0a01", "a prefix that is longer than its field"),
    ],
)
def test_reasons_of_broken_prefixes(nlri: str, text: str) -> None:
    with pytest.raises(ResetSession, match=text):
        decoded(update(BASE, bytes.fromhex(nlri)))


OWN = frozenset((bytes((10, 0, 0, 1)), IPV6_NEXT_HOP))


@pytest.mark.parametrize(
    "body",
    [
        update(BASE, PREFIX),
        update(MP_BASE + reach(V6, IPV6_NEXT_HOP, PREFIX6)),
        update(MP_BASE + reach(V6, IPV6_NEXT_HOP + LINK_LOCAL, PREFIX6)),
        update(MP_BASE + reach(V4, NEXT_HOP[3:], PREFIX)),
    ],
)
def test_our_own_address_is_no_next_hop(body: bytes) -> None:
    """RFC 4271, 6.3; also when the same attributes are good in another session."""
    cache = AttributeCache(external=False)
    for own, routes in ((frozenset[bytes](), 1), (OWN, 0), (frozenset[bytes](), 1), (OWN, 0)):
        found = decode_update(body, EVERYTHING, cache, own)
        assert len(found.announced) == routes
        assert len(found.withdrawn) == 1 - routes


def test_next_hops_of_the_other_family_once_negotiated() -> None:
    """RFC 8950."""
    both = Negotiated(families=(V4, V6), extended_next_hop=frozenset(((V4, 2), (V6, 1))))
    for family, next_hop, prefix in ((V4, IPV6_NEXT_HOP, PREFIX), (V6, NEXT_HOP[3:], PREFIX6)):
        found = decoded(update(MP_BASE + reach(family, next_hop, prefix)), negotiated=both)
        assert found.announced == [(family, next_hop, [prefix])]


#: Parts of UPDATEs that a session without their family has no way to read.
FOREIGN = {
    "MP_REACH_NLRI": MP_BASE + reach(EVPN, bytes(4), b"\3\0"),
    "MP_REACH_NLRI that is broken": MP_BASE + reach(EVPN, bytes(9), b"\3\4"),
    "MP_REACH_NLRI with wrong flags": MP_BASE + reach(EVPN, bytes(4), b"\3\0", flags=0x40),
    "MP_REACH_NLRI whose next hop does not fit": MP_BASE + attribute(14, EVPN.packed + b"\x10" + bytes(3), 0x80),
    "MP_REACH_NLRI without attributes": reach(EVPN, bytes(4), b"\3\0"),
    "MP_REACH_NLRI with a malformed attribute": MP_BASE + reach(EVPN, bytes(4), b"\3\0") + b"\xc0\x08\0",
    "MP_UNREACH_NLRI": unreach(EVPN, b"\3\0"),
    "MP_UNREACH_NLRI that is broken": unreach(EVPN, b"\3\4"),
    "MP_UNREACH_NLRI with wrong flags": unreach(EVPN, b"\3\0", flags=0x40),
    "End-of-RIB": unreach(EVPN, b""),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_families_that_were_not_negotiated_are_passed_over(name: str) -> None:
    for negotiated in (Negotiated(families=(V4,)), Negotiated(families=())):
        found = decoded(update(FOREIGN[name]), negotiated=negotiated)
        assert (found.withdrawn, found.announced, found.end_of_rib) == ([], [], None)
        assert "l2vpn-evpn: not negotiated" in [fault.text for fault in found.faults]


def test_ipv4_that_was_not_negotiated_is_passed_over() -> None:
    without = Negotiated(families=(V6,))
    for nlri in (PREFIX, b"\xff"):
        found = decoded(update(BASE, nlri, withdrawn=nlri), negotiated=without)
        assert (found.withdrawn, found.announced) == ([], [])
        assert {fault.text for fault in found.faults} == {"ipv4-unicast: not negotiated"}
    both = decoded(update(BASE + reach(V6, IPV6_NEXT_HOP, PREFIX6), PREFIX), negotiated=without)
    assert both.announced == [(V6, IPV6_NEXT_HOP, [PREFIX6])]


def test_a_session_without_ipv4_does_not_learn_from_one_with_it() -> None:
    """The cache is shared."""
    cache = AttributeCache(external=False)
    assert len(decode_update(update(BASE, PREFIX), EVERYTHING, cache).announced) == 1
    assert decode_update(update(BASE, PREFIX), Negotiated(families=(V6,)), cache).announced == []
    assert len(decode_update(update(BASE, PREFIX), EVERYTHING, cache).announced) == 1


def test_ends_of_rib() -> None:
    """RFC 4724, 2; with the extended length, as some speakers send it."""
    assert decoded(update()).end_of_rib == V4
    assert decoded(update(unreach(V6, b""))).end_of_rib == V6
    assert decoded(update(attribute(15, V6.packed, 0x80, extended=True))).end_of_rib == V6
    assert decoded(update(), negotiated=Negotiated(families=(V6,))).end_of_rib is None
    for other in (
        update(withdrawn=PREFIX),
        update(unreach(V6, PREFIX6)),
        update(BASE),
        update(unreach(V6, b"") + LOCAL_PREF),
    ):
        assert decoded(other).end_of_rib is None
