"""OPEN: what is refused and with which code, capabilities good and bad, and what two OPENs make of a session."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from exabgp.protocol.family import AFI, SAFI
from hypothesis import given
from hypothesis import strategies as st

from reflector.wire.capabilities import AddPath, Capabilities, GracefulRestart, LongLived
from reflector.wire.errors import ResetSession
from reflector.wire.families import FAMILIES, FAMILY_BY_NAME, Family
from reflector.wire.negotiated import Negotiated, negotiate
from reflector.wire.open_message import OpenMessage, decode_open, without_host_name
from tests.unit.reflector.wire_messages import EVPN, V4, V6

ROUTER_ID = bytes((10, 0, 0, 1))
HEAD = "04 fde8 005a 0a000001"

REFUSED = {
    "a body that is too short": ("04 fde8 005a 0a0000", "1/2 001b"),
    "version 3": ("03 fde8 005a 0a000001 00", "2/1 0004"),
    "AS 0": ("04 0000 005a 0a000001 00", "2/2 0000"),
    "AS 0 in the capability": (f"04 5ba0{HEAD[7:]} 08 0206 4104 00000000", "2/2 5ba0"),
    "identifier 0": ("04 fde8 005a 00000000 00", "2/3 00000000"),
    "hold time 1": ("04 fde8 0001 0a000001 00", "2/6 0001"),
    "hold time 2": ("04 fde8 0002 0a000001 00", "2/6 0002"),
    "authentication, a parameter of old": (f"{HEAD} 04 0102 0000", "2/4 01"),
    "more parameters than there are bytes": (f"{HEAD} 05 0202 0200", "2/0 "),
    "fewer parameters than there are bytes": (f"{HEAD} 02 0202 0200", "2/0 "),
    "a parameter that does not fit": (f"{HEAD} 04 0203 0200", "2/0 "),
    "half a parameter": (f"{HEAD} 01 02", "2/0 "),
    "a capability that does not fit": (f"{HEAD} 04 0202 0201", "2/0 "),
    "half a capability": (f"{HEAD} 03 0201 02", "2/0 "),
    "extended parameters that do not fit": (f"{HEAD} ff ff 0006 02 0002 0200", "2/0 "),
    "half of extended parameters": (f"{HEAD} ff ff 00", "2/0 "),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    body, error = REFUSED[name]
    with pytest.raises(ResetSession) as reset:
        decode_open(bytes.fromhex(body))
    assert f"{reset.value.code}/{reset.value.subcode} {reset.value.data.hex()}" == error
    assert reset.value.reason


def test_hold_times_that_are_allowed() -> None:
    for hold_time in (0, 3, 65535):
        assert decode_open(OpenMessage(65000, hold_time, ROUTER_ID).encode()).hold_time == hold_time


def test_identifiers_are_any_number_but_zero() -> None:
    """RFC 6286: not an address."""
    for identifier in ("00000001", "e0000001", "ffffffff"):
        assert decode_open(bytes.fromhex(f"04 fde8 005a {identifier} 00")).router_id.hex() == identifier


def _capabilities(text: str) -> Capabilities:
    value = bytes.fromhex(text)
    parameter = bytes((2, len(value))) + value
    return decode_open(bytes.fromhex(HEAD) + bytes((len(parameter),)) + parameter).capabilities


@pytest.mark.parametrize(
    "text",
    [
        "0103 000100",
        "0105 0001000100",
        "0201 00",
        "0505 0001000100",
        "0601 00",
        "4001 00",
        "4003 007800",
        "4005 0078000101",
        "4103 00fde8",
        "4503 000101",
        "4601 00",
        "4706 00010180 0151",
        "4903 03 7272",
        "4904 01 72 03 72",
        "4903 01 ff 00",
    ],
)
def test_a_malformed_capability_is_kept_unread(text: str) -> None:
    code, value = bytes.fromhex(text)[0], bytes.fromhex(text)[2:]
    assert _capabilities(text) == Capabilities(unknown=((code, value),))


def test_capabilities_that_are_there_twice() -> None:
    found = _capabilities("0104 00010001 0104 00010001 4002 0078 4002 005a 0506 000100010002 0506 000200010001")
    assert found.multiprotocol == (V4,)
    assert found.graceful_restart == GracefulRestart(90)
    assert found.extended_next_hop == ((V4, 2), (V6, 1))


def test_add_path_directions_that_do_not_exist_are_passed_over() -> None:
    """RFC 7911, 4: so is a family that is given twice."""
    assert _capabilities("4510 00010104 00020103 00194600 00018001").add_path == {
        V6: AddPath.BOTH,
        Family(1, 128): AddPath.RECEIVE,
    }
    assert _capabilities("4508 00010101 00010102").add_path == {}


DIRECTIONS = (AddPath.RECEIVE, AddPath.SEND, AddPath.BOTH)
families = st.sampled_from(list(FAMILIES))
flags = st.booleans()
capabilities = st.builds(
    Capabilities,
    multiprotocol=st.lists(families, unique=True).map(tuple),
    route_refresh=flags,
    extended_next_hop=st.lists(st.tuples(families, st.sampled_from((1, 2))), unique=True, max_size=5).map(tuple),
    extended_message=flags,
    graceful_restart=st.none()
    | st.builds(GracefulRestart, st.integers(0, 4095), st.dictionaries(families, flags), flags, flags),
    four_octet_as=st.none() | st.integers(1, 0xFFFFFFFF),
    add_path=st.dictionaries(families, st.sampled_from(DIRECTIONS)),
    enhanced_route_refresh=flags,
    long_lived=st.dictionaries(families, st.builds(LongLived, st.integers(0, (1 << 24) - 1), flags)),
    host_name=st.none() | st.tuples(st.text("abü.", max_size=32), st.text("ab.", max_size=20)),
    unknown=st.lists(st.tuples(st.integers(200, 255), st.binary(max_size=80)), max_size=4).map(tuple),
)


@given(capabilities, st.integers(1, 65535), st.sampled_from((0, 3, 90, 65535)))
def test_capabilities_come_back_as_they_went(sent: Capabilities, asn: int, hold_time: int) -> None:
    message = OpenMessage(sent.four_octet_as or asn, hold_time, ROUTER_ID, sent)
    assert decode_open(message.encode()) == message


def test_the_longer_form_is_used_only_where_it_must_be() -> None:
    """RFC 9072, 2."""
    for size, longer in ((248, False), (250, False), (251, True)):
        capabilities = Capabilities(unknown=((200, bytes(size)),))
        body = OpenMessage(65000, 90, ROUTER_ID, capabilities).encode()
        assert (body[9:11] == b"\xff\xff") is longer
        assert decode_open(body).capabilities == capabilities


@given(st.binary(max_size=300))
def test_any_parameters_are_read_or_refused(junk: bytes) -> None:
    for head in (bytes((len(junk) % 256,)), b"\xff\xff" + len(junk).to_bytes(2, "big")):
        assert _code(bytes.fromhex(HEAD) + head + junk) in (None, 2)


@given(capabilities, st.booleans())
def test_an_open_without_its_host_name_says_all_the_rest(sent: Capabilities, one_each: bool) -> None:
    """In one parameter, or each capability in its own."""
    body = OpenMessage(65000, 90, ROUTER_ID, sent).encode()
    value = sent.encode()
    if one_each and len(value) < 80:
        tlvs, rest = [], value
        while rest:
            tlvs.append(rest[: 2 + rest[1]])
            rest = rest[2 + rest[1] :]
        parameters = b"".join(bytes((2, len(tlv))) + tlv for tlv in tlvs)
        body = body[:9] + bytes((len(parameters),)) + parameters
    shared, host_name = without_host_name(body)
    assert decode_open(shared) == replace(decode_open(body), capabilities=replace(sent, host_name=None))
    assert host_name == sent.host_name
    assert (shared == body) is (host_name is None)


@pytest.mark.parametrize(
    "text",
    [
        f"{HEAD} 0e 020c 4904 02 6161 00 4904 02 6262 00",
        f"{HEAD} 05 0203 4901 05",
        f"{HEAD} 04 0202 4908",
        f"{HEAD} 04 0102 4900",
        f"{HEAD} ff ff 49",
        "04 fde8 0049",
        f"{HEAD} 08 0206 4104 00004900",
    ],
)
def test_an_open_whose_host_name_is_not_clear_is_left_as_it_is(text: str) -> None:
    body = bytes.fromhex(text)
    assert without_host_name(body) == (body, None)


def _code(body: bytes) -> int | None:
    try:
        decode_open(body)
    except ResetSession as reset:
        return reset.code
    return None


def _negotiated(local: dict[str, Any], remote: dict[str, Any], holds: tuple[int, int] = (90, 90)) -> Negotiated:
    ends = [
        OpenMessage(65000, hold, ROUTER_ID, Capabilities(**given))
        for hold, given in zip(holds, (local, remote), strict=True)
    ]
    return negotiate(*ends)


def test_families_are_those_of_both_in_our_order() -> None:
    found = _negotiated({"multiprotocol": (V6, EVPN, V4)}, {"multiprotocol": (V4, V6)})
    assert found.families == (V6, V4)
    assert set(found.carried) == {V4.packed, V6.packed}


def test_without_the_capability_there_is_ipv4_unicast() -> None:
    assert _negotiated({"multiprotocol": (V6, V4)}, {}).families == (V4,)
    assert _negotiated({"multiprotocol": (V6,)}, {}).families == ()
    assert _negotiated({}, {"multiprotocol": (V6, V4)}).families == (V4,)


def test_hold_time_is_the_smaller() -> None:
    assert _negotiated({}, {}, (90, 30)).hold_time == 30
    assert _negotiated({}, {}, (90, 0)).hold_time == 0


@pytest.mark.parametrize(
    ("capability", "value", "field", "both", "ours", "theirs"),
    [
        ("four_octet_as", 65000, "four_octet", True, False, False),
        ("route_refresh", True, "route_refresh", True, False, False),
        ("enhanced_route_refresh", True, "enhanced_route_refresh", True, False, False),
        ("extended_message", True, "max_receive_length", 65535, 65535, 4096),
        ("extended_message", True, "max_send_length", 65535, 4096, 65535),
    ],
)
def test_what_one_side_cannot(
    capability: str, value: object, field: str, both: object, ours: object, theirs: object
) -> None:
    having: dict[str, Any] = {capability: value}
    assert getattr(_negotiated(having, having), field) == both
    assert getattr(_negotiated(having, {}), field) == ours
    assert getattr(_negotiated({}, having), field) == theirs


@pytest.mark.parametrize("ours", [None, *DIRECTIONS])
@pytest.mark.parametrize("theirs", [None, *DIRECTIONS])
def test_path_identifiers_go_where_both_ends_agree(ours: AddPath | None, theirs: AddPath | None) -> None:
    found = _negotiated(
        {"multiprotocol": (V4, V6), "add_path": {V4: ours} if ours else {}},
        {"multiprotocol": (V4, V6), "add_path": {V4: theirs} if theirs else {}},
    )
    receives = ours in (AddPath.RECEIVE, AddPath.BOTH) and theirs in (AddPath.SEND, AddPath.BOTH)
    sends = ours in (AddPath.SEND, AddPath.BOTH) and theirs in (AddPath.RECEIVE, AddPath.BOTH)
    assert found.add_path_receive == ({V4} if receives else set())
    assert found.add_path_send == ({V4} if sends else set())


def test_next_hops_of_the_other_family_are_those_of_both() -> None:
    ours, theirs = ((V4, 2), (EVPN, 2)), ((V4, 2), (V6, 1))
    assert _negotiated({"extended_next_hop": ours}, {"extended_next_hop": theirs}).extended_next_hop == {(V4, 2)}


def test_restart_of_the_peer() -> None:
    restart = GracefulRestart(120, {V4: True})
    long_lived = {V4: LongLived(3600), V6: LongLived(60)}
    theirs = {"graceful_restart": restart, "long_lived": long_lived}
    assert _negotiated({}, theirs).graceful_restart == restart
    assert _negotiated({}, theirs).long_lived == {V4: LongLived(3600)}
    assert _negotiated({}, {"long_lived": long_lived}).long_lived == {}, "RFC 9494, 4.2: not without the other"


#: ExaBGP's words for what it knows; the last three it does not know (IANA's numbers).
EXABGP_WORDS = {
    "labelled-unicast": "nlri-mpls",
    "mvpn": "mcast-vpn",
    "vpn": "mpls-vpn",
    "flowspec": "flow",
    "flowspec-vpn": "flow-vpn",
    "link-state": "bgp-ls",
    "link-state-vpn": "bgp-ls-vpn",
    "sr-policy": "unknown safi 73",
    "multicast-vpn": "unknown safi 129",
}


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_families_are_those_of_their_names(family: Family) -> None:
    afi, _, name = str(family).partition("-")
    if afi == "link":
        afi, name = "bgp-ls", str(family)
    assert str(AFI.create(family.afi)) == afi
    assert str(SAFI.create(family.safi)) == EXABGP_WORDS.get(name, name)


def test_families_have_names() -> None:
    assert FAMILY_BY_NAME["ipv4-unicast"] == V4
    assert str(EVPN) == "l2vpn-evpn"
    assert str(Family(1, 132)) == "afi 1 safi 132"
    assert len(FAMILY_BY_NAME) == len(FAMILIES)
