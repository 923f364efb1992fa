"""Malformed UPDATEs: each rule of RFC 7606 and of the RFCs after it, from iBGP and from eBGP peers."""

from __future__ import annotations

import pytest

from reflector.wire.attribute_cache import AttributeCache
from reflector.wire.attributes import ROWS
from reflector.wire.errors import ResetSession
from reflector.wire.negotiated import Negotiated
from reflector.wire.update import decode_update
from tests.unit.reflector.rfc7606_rules import (
    BASE,
    COMMUNITY,
    EVPN_ROUTE,
    EXTENSIONS,
    GENERAL,
    GONE,
    KEPT,
    LINK_LOCAL,
    MP_BASE,
    MULTIPROTOCOL,
    RULES,
    SECTION_7,
    WITHDRAWN,
    WITHOUT_NLRI,
    with_attribute,
    with_origin,
    with_path,
)
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
    attribute,
    decoded,
    outcome,
    reach,
    unreach,
    update,
)


def test_no_rule_hides_another() -> None:
    assert len(RULES) == len(SECTION_7 + EXTENSIONS + GENERAL + MULTIPROTOCOL + WITHOUT_NLRI)


@pytest.mark.parametrize("title", [row.title for row in ROWS.values()])
def test_every_attribute_has_its_rules(title: str) -> None:
    """One that is right, and at least one that is not."""
    outcomes = {rule.ibgp for rule in RULES.values() if rule.name.startswith(title) and rule.nlri}
    assert KEPT in outcomes
    assert outcomes & {GONE, WITHDRAWN}


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
            said = {key for key in (PREFIX, PREFIX6, EVPN_ROUTE) if key in rule.attributes + rule.nlri}
            assert [key for _, keys in found.withdrawn for key in keys] == [OTHER_PREFIX, *sorted(said)]


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
        decoded(update(with_origin("03")))
    assert reset.value.data == attribute(1, b"\3")


def test_faults_say_what_is_wrong() -> None:
    found = decoded(update(with_attribute(8, "0102", 0xC0) + attribute(6, b"\0", 0x40), PREFIX))
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
    assert [fault.text for fault in decoded(update(with_path(path), PREFIX)).faults] == [f"AS_PATH: {text}"]


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
    "MP_REACH_NLRI": MP_BASE + reach(EVPN, bytes(4), EVPN_ROUTE),
    "MP_REACH_NLRI that is broken": MP_BASE + reach(EVPN, bytes(9), b"\3\4"),
    "MP_REACH_NLRI with wrong flags": MP_BASE + reach(EVPN, bytes(4), EVPN_ROUTE, flags=0x40),
    "MP_REACH_NLRI whose next hop does not fit": MP_BASE + attribute(14, EVPN.packed + b"\x10" + bytes(3), 0x80),
    "MP_REACH_NLRI without attributes": reach(EVPN, bytes(4), EVPN_ROUTE),
    "MP_REACH_NLRI with a malformed attribute": MP_BASE + reach(EVPN, bytes(4), EVPN_ROUTE) + b"\xc0\x08\0",
    "MP_UNREACH_NLRI": unreach(EVPN, EVPN_ROUTE),
    "MP_UNREACH_NLRI that is broken": unreach(EVPN, b"\3\4"),
    "MP_UNREACH_NLRI with wrong flags": unreach(EVPN, EVPN_ROUTE, flags=0x40),
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
    for nlri, withdrawn in ((PREFIX, b""), (b"", PREFIX)):
        alone = decoded(update(BASE if nlri else b"", nlri, withdrawn), negotiated=without)
        assert [fault.text for fault in alone.faults] == ["ipv4-unicast: not negotiated"]
    both = decoded(update(BASE + reach(V6, IPV6_NEXT_HOP, PREFIX6), PREFIX), negotiated=without)
    assert both.announced == [(V6, IPV6_NEXT_HOP, [PREFIX6])]


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
