"""NLRI fields: prefixes against a plain reading of the RFC, opaque families by their length rules, keys of routes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import reflector.wire.nlri as wire_nlri
from reflector.wire.families import FAMILIES, FAMILY_BY_NAME, Family
from reflector.wire.nlri import MalformedNlri, prefix_text
from tests.unit.reflector.wire_messages import EVPN, V4, V6, VPN4, prefixes

BITS = {V4: 32, V6: 128, Family(1, 2): 32, Family(2, 2): 128}


def _plain(data: bytes, bits: int, *, path_ids: bool) -> list[bytes] | None:
    """The field read one byte at a time; None when it cannot be."""
    keys, rest = [], list(data)
    while rest:
        identifier = bytes(rest[:4]) if path_ids else b""
        rest = rest[len(identifier) :]
        if len(identifier) != 4 * path_ids or not rest or rest[0] > bits:
            return None
        length, size = rest[0], -(-rest[0] // 8)
        if len(rest) < 1 + size:
            return None
        number = int.from_bytes(bytes(rest[1 : 1 + size]), "big")
        spare = 8 * size - length
        keys.append(identifier + bytes((length,)) + (number >> spare << spare).to_bytes(size, "big"))
        rest = rest[1 + size :]
    return keys


def _split(family: Family, data: bytes, *, path_ids: bool = False) -> list[bytes] | None:
    row = FAMILIES[family]
    try:
        return (row.split_paths if path_ids else row.split)(data)
    except MalformedNlri:
        return None


@pytest.mark.parametrize("family", BITS, ids=str)
@given(data=st.data())
def test_prefixes_are_cut_as_the_rfc_says(family: Family, data: st.DataObject) -> None:
    """Random prefixes, random bytes, and runs of one length, which have a way of their own."""
    bits = BITS[family]
    one = data.draw(st.integers(0, bits))
    size = 1 + (one + 7) // 8
    same = st.binary(min_size=size - 1, max_size=size - 1).map(lambda host: bytes((one,)) + host)
    field = data.draw(
        st.lists(prefixes(bits), max_size=30).map(b"".join)
        | st.binary(max_size=120)
        | st.lists(same, min_size=20, max_size=40).map(b"".join)
    )
    for path_ids in (False, True):
        whole = b"".join(b"\0\0\0" + field[n : n + 9] for n in range(0, len(field), 9)) if path_ids else field
        assert _split(family, whole, path_ids=path_ids) == _plain(whole, bits, path_ids=path_ids)


@given(st.lists(st.tuples(st.binary(min_size=4, max_size=4), prefixes(32)), max_size=20))
def test_path_identifiers_stay_with_their_prefixes(pairs: list[tuple[bytes, bytes]]) -> None:
    keys = [identifier + prefix for identifier, prefix in pairs]
    assert _split(V4, b"".join(keys), path_ids=True) == keys


@pytest.mark.parametrize("count", [1, 5, 6, 1023, 1024, 1025, 5000])
@pytest.mark.parametrize(("family", "length"), [(V4, 0), (V4, 24), (V4, 26), (V4, 32), (V6, 122), (V6, 128)], ids=str)
def test_long_fields_of_equal_prefixes(family: Family, length: int, count: int) -> None:
    """Cut in a way of their own, in several turns."""
    size = (length + 7) // 8
    spare = 8 * size - length
    keys = [bytes((length,)) + (n << spare).to_bytes(size + 4, "big")[4:] for n in range(count)]
    assert _split(family, b"".join(keys)) == keys


def test_layouts_that_are_remembered_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A field of an extended message would make one of megabytes."""
    asked: list[int] = []
    layout = wire_nlri._layout

    def noting(size: int, count: int) -> Any:
        asked.append(count)
        return layout(size, count)

    monkeypatch.setattr(wire_nlri, "_layout", noting)
    assert _split(V4, bytes(60_000)) == [b"\0"] * 60_000
    assert max(asked) <= 1024


def test_host_bits_make_no_other_key() -> None:
    for count in (1, 30):
        assert _split(V4, bytes.fromhex("120affff") * count) == [bytes.fromhex("120affc0")] * count
    assert _split(V4, bytes.fromhex("00000007 120affff"), path_ids=True) == [bytes.fromhex("00000007120affc0")]


@pytest.mark.parametrize("field", ["21 0a00000000", "18 0a01", "20", "ff", "18 0a0102 20 0a"])
def test_damage(field: str) -> None:
    assert _split(V4, bytes.fromhex(field)) is None
    assert _split(V4, bytes.fromhex("00000001" + field), path_ids=True) is None


@pytest.mark.parametrize("field", ["81" + "00" * 17, "40 fd0000000000", "80" + "00" * 15])
def test_damage_ipv6(field: str) -> None:
    assert _split(V6, bytes.fromhex(field)) is None


#: Some NLRI of each opaque family, one after the other in one field: (family name, NLRI).
OPAQUE = {
    "ipv4-labelled-unicast": ["30 000011 0a0102", "18 800000", "38 000021 0a010203"],
    "ipv6-labelled-unicast": ["58 000011 fd00000000000001"],
    "ipv4-vpn": ["70 03e810 0000fde800000001 0a0000", "58 800000 0000fde800000001"],
    "ipv6-vpn": ["98 039e10 00000c8f22c6db3d fd000000 00000000"],
    "ipv4-multicast-vpn": ["70 03e811 0000fde800000001 0a0000"],
    "ipv4-flowspec": ["05 01180a0102", "00", "f0f1" + "03" * 241, "f1f2" + "03" * 498],
    "ipv6-flowspec-vpn": ["0b 0000fde800000001 038106"],
    "l2vpn-vpls": ["0011 0001c0a8c901007b000500010008029ce1", "0000"],
    "l2vpn-evpn": ["0111 0000000000000001aabbccddeeff001122", "0300", "ff02 abcd"],
    "ipv4-mvpn": ["0604 01020304", "0700"],
    "ipv4-mup": ["01 0001 03 0a0b0c", "01 0002 00"],
    "ipv4-sr-policy": ["60 000000010000006401020304"],
    "link-state": ["0001 0003 aabbcc", "0002 0000"],
}


@pytest.mark.parametrize("name", OPAQUE)
@pytest.mark.parametrize("path_ids", [False, True])
def test_opaque_nlri_are_cut_and_kept(name: str, path_ids: bool) -> None:
    """Whole, and one byte short: no rule reads on behind the end."""
    family = next(family for family, row in FAMILIES.items() if row.name == name)
    identifier = bytes((0, 0, 1, 200)) if path_ids else b""
    nlri = [identifier + bytes.fromhex(text) for text in OPAQUE[name]]
    whole = b"".join(nlri) * 3
    assert _split(family, whole, path_ids=path_ids) == nlri * 3
    starts = {sum(map(len, (nlri * 3)[:n])) for n in range(len(nlri) * 3)}
    for end in range(len(whole)):
        assert (_split(family, whole[:end], path_ids=path_ids) is None) == (end not in starts), end


@pytest.mark.parametrize(("name", "field"), [("ipv4-labelled-unicast", "17 000011"), ("ipv4-vpn", "57" + "00" * 11)])
def test_too_short_for_a_label_or_a_distinguisher(name: str, field: str) -> None:
    family = next(family for family, row in FAMILIES.items() if row.name == name)
    assert _split(family, bytes.fromhex(field)) is None


#: Label stacks as in RFC 3107: more labels than one, where the length is too much for one.
STACKS = [
    ("ipv4-labelled-unicast", "50 000010 000021 0a010203", "200a010203"),
    ("ipv4-labelled-unicast", "68 000010 000020 000031 0a010203", "200a010203"),
    ("ipv4-labelled-unicast", "4f 000010 000021 0a0102ff", "1f0a0102fe"),
    ("ipv6-labelled-unicast", "b0 000010 000021" + "fd" * 16, "80" + "fd" * 16),
    ("ipv4-vpn", "90 000010 000021 0000fde800000001 0a010203", "600000fde8000000010a010203"),
    ("ipv6-vpn", "f0 000010 000021 0000fde800000001" + "fd" * 16, "c00000fde800000001" + "fd" * 16),
    # One label, marked or not, is one label as long as the rest is a prefix.
    ("ipv4-labelled-unicast", "38 000020 0a010203", "200a010203"),
    ("ipv4-labelled-unicast", "30 000010 000021", "18000021"),
]


@pytest.mark.parametrize(("name", "nlri", "key"), STACKS)
def test_labels_are_told_from_the_prefix_by_the_length(name: str, nlri: str, key: str) -> None:
    family = FAMILY_BY_NAME[name]
    row = FAMILIES[family]
    assert _split(family, bytes.fromhex(nlri) * 2) == [bytes.fromhex(nlri)] * 2
    assert row.route_key is not None
    assert row.route_key(bytes.fromhex(nlri)).hex() == key


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        (f"ipv{v}-{n}", b + d + 24)
        for v, b in ((4, 32), (6, 128))
        for n, d in (("labelled-unicast", 0), ("vpn", 64), ("multicast-vpn", 64))
    ],
)
def test_a_labelled_prefix_is_no_longer_than_an_address(name: str, bits: int) -> None:
    family = FAMILY_BY_NAME[name]
    for length, fits in ((bits, True), (bits + 1, False), (bits + 8, False)):
        nlri = bytes((length,)) + b"\0\0\1" + bytes((length + 7) // 8 - 3)
        assert (_split(family, nlri) == [nlri]) is fits


@pytest.mark.parametrize(
    ("nlri", "key"),
    [
        (
            "0119 1111111111111111 00112233445566778899 00000007 000651",
            "01 1111111111111111 00112233445566778899 00000007",
        ),
        (
            "0225 1111111111111111 00112233445566778899 00000007 30 aabbccddeeff 20 0a000001 000651",
            "02 1111111111111111 00000007 30 aabbccddeeff 20 0a000001",
        ),
        (
            "0522 1111111111111111 00112233445566778899 00000007 18 0a010200 0b000001 000651",
            "05 1111111111111111 00000007 18 0a010200",
        ),
        (
            "053a 1111111111111111 00112233445566778899 00000007 40" + "fd" * 16 + "fe" * 16 + "000651",
            "05 1111111111111111 00000007 40" + "fd" * 16,
        ),
        ("0922" + "11" * 34, "0922" + "11" * 34),
        ("0219" + "11" * 25, "0219" + "11" * 25),
    ],
    ids=["segment", "MAC", "IPv4 prefix", "IPv6 prefix", "a type that is not known", "too short for a MAC"],
)
def test_keys_of_evpn(nlri: str, key: str) -> None:
    route_key = FAMILIES[EVPN].route_key
    assert route_key is not None
    assert route_key(bytes.fromhex(nlri)) == bytes.fromhex(key)


@pytest.mark.parametrize(
    ("family", "one", "other"),
    [
        (VPN4, "70 03e811 0000fde800000001 0a0001", "70 800000 0000fde800000001 0a0001"),
        (VPN4, "6d 03e811 0000fde800000001 0a0007", "6d 03e811 0000fde800000001 0a0000"),
        (Family(1, 4), "30 000011 0a0102", "30 800000 0a0102"),
        (
            EVPN,
            "0221 0000000000000001 00112233445566778899 00000007 30 aabbccddeeff 00 000651",
            "0221 0000000000000001 99999999999999999999 00000007 30 aabbccddeeff 00 111111",
        ),
        (
            EVPN,
            "0119 0000000000000001 00112233445566778899 00000007 000651",
            "0119 0000000000000001 00112233445566778899 00000007 999999",
        ),
        (
            EVPN,
            "0522 0000000000000001 00112233445566778899 00000007 18 0a010200 0a000001 000651",
            "0522 0000000000000001 99999999999999999999 00000007 18 0a010200 0a000002 000652",
        ),
    ],
    ids=lambda value: str(value)[:12],
)
def test_what_is_no_part_of_a_route_makes_no_other_key(family: Family, one: str, other: str) -> None:
    key = FAMILIES[family].route_key
    assert key is not None
    assert key(bytes.fromhex(one)) == key(bytes.fromhex(other))


@pytest.mark.parametrize(
    ("family", "one", "other"),
    [
        (VPN4, "70 03e811 0000fde800000001 0a0001", "70 03e811 0000fde800000002 0a0001"),
        (VPN4, "70 03e811 0000fde800000001 0a0001", "6f 03e811 0000fde800000001 0a0001"),
        (
            EVPN,
            "0221 0000000000000001 00112233445566778899 00000007 30 aabbccddeeff 00 000651",
            "0225 0000000000000001 00112233445566778899 00000007 30 aabbccddeeff 20 0a000001 000651",
        ),
        (
            EVPN,
            "0119 0000000000000001 00112233445566778899 00000007 000651",
            "0119 0000000000000001 99112233445566778899 00000007 000651",
        ),
        (
            EVPN,
            "0522 0000000000000001 00112233445566778899 00000007 18 0a010200 0a000001 000651",
            "0522 0000000000000001 00112233445566778899 00000007 17 0a010200 0a000001 000651",
        ),
        (EVPN, "0311 0000000000000001 00000007 20 0a000001", "0311 0000000000000001 00000007 20 0a000002"),
        (EVPN, "0102 aaaa", "0102 bbbb"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_what_tells_routes_apart_makes_another_key(family: Family, one: str, other: str) -> None:
    key = FAMILIES[family].route_key
    assert key is not None
    assert key(bytes.fromhex(one)) != key(bytes.fromhex(other))


def test_prefixes_as_text() -> None:
    assert prefix_text(bytes.fromhex("180a0102"), 32) == "10.1.2.0/24"
    assert prefix_text(b"\0", 32) == "0.0.0.0/0"
    assert prefix_text(bytes.fromhex("40fd00000100000001"), 128) == "fd00:1:0:1::/64"
