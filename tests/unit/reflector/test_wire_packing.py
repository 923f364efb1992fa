"""UPDATEs made from routes: they say what was asked for, in as few messages as fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector.wire.attribute_cache import AttributeCache
from reflector.wire.families import Family
from reflector.wire.framing import Framer
from reflector.wire.negotiated import Negotiated
from reflector.wire.packing import Announcement, encode_end_of_rib, encode_updates
from reflector.wire.update import Update, decode_update
from tests.unit.reflector.wire_messages import (
    AS_PATH,
    EVERYTHING,
    EVPN,
    IPV6_NEXT_HOP,
    ORIGIN,
    V4,
    V6,
    VPN4,
    attribute,
    prefixes,
    update,
)

ATTRIBUTES = ORIGIN + AS_PATH + attribute(5, bytes.fromhex("00000064"))
NEXT_HOPS = {
    V4: bytes((10, 0, 0, 1)),
    V6: IPV6_NEXT_HOP,
    VPN4: bytes(8) + bytes((10, 0, 0, 1)),
    EVPN: bytes((10, 0, 0, 1)),
}


def _read(messages: list[bytes], negotiated: Negotiated = EVERYTHING, max_length: int = 4096) -> list[Update]:
    """Each message by itself, through a framer of that length."""
    cache = AttributeCache(external=False)
    bodies = [body for message in messages for _, body in Framer(max_length).feed(message)]
    assert len(bodies) == len(messages)
    return [decode_update(body, negotiated, cache) for body in bodies]


def _keys(family: Family, count: int) -> list[bytes]:
    """So many NLRI of a family, of several lengths."""
    if family == V4:
        return [
            bytes((24, 10, n >> 8, n & 255)) if n % 3 else bytes((32, 10, n >> 8, n & 255, 1)) for n in range(count)
        ]
    if family == V6:
        return [
            b"\x40\xfd" + n.to_bytes(7, "big") if n % 3 else b"\x80\xfd" + n.to_bytes(15, "big") for n in range(count)
        ]
    if family == VPN4:
        return [bytes.fromhex("70000011 0000fde800000001") + n.to_bytes(3, "big") for n in range(count)]
    return [bytes.fromhex("0309") + n.to_bytes(9, "big") for n in range(count)]


@pytest.mark.parametrize("family", NEXT_HOPS, ids=str)
@pytest.mark.parametrize("max_length", [4096, 65535, 200])
@pytest.mark.parametrize("count", [1, 5, 4000])
def test_messages_are_full_and_none_is_too_long(family: Family, max_length: int, count: int) -> None:
    keys = _keys(family, count)
    messages = encode_updates(family, keys, [(NEXT_HOPS[family], ATTRIBUTES, keys)], max_length)
    found = _read(messages, max_length=max_length)
    assert [key for update_ in found for _, keys_ in update_.withdrawn for key in keys_] == keys
    assert [key for update_ in found for _, _, keys_ in update_.announced for key in keys_] == keys
    assert all(bool(u.withdrawn) != bool(u.announced) for u in found), "one kind of thing in each (RFC 7606, 5.1)"
    kinds = [bool(u.withdrawn) for u in found]
    assert kinds == sorted(kinds, reverse=True), "withdrawals first"
    longest = max(map(len, keys))
    for kind in (True, False):
        sizes = [len(message) for message, is_gone in zip(messages, kinds, strict=True) if is_gone is kind]
        assert all(size <= max_length for size in sizes)
        assert all(size > max_length - longest - 1 for size in sizes[:-1]), "the next NLRI would not have fitted"


def test_bytes_of_messages() -> None:
    """Against the RFCs' layout, written out."""
    marker = b"\xff" * 16
    v4, v6 = bytes.fromhex("180a0102"), bytes.fromhex("40fd00000100000001")
    own = bytes.fromhex("400304 0a000001")
    local_pref = ATTRIBUTES[-7:]
    assert encode_updates(V4, [v4], [(NEXT_HOPS[V4], ATTRIBUTES, [v4])]) == [
        marker + bytes.fromhex("001b02 0004") + v4 + b"\0\0",
        marker + bytes.fromhex("003602 0000 001b") + ORIGIN + AS_PATH + own + local_pref + v4,
    ]
    assert encode_updates(V6, [v6], [(IPV6_NEXT_HOP, ATTRIBUTES, [v6])]) == [
        marker + bytes.fromhex("002602 0000 000f 800f0c 000201") + v6,
        marker + bytes.fromhex("004c02 0000 0035 800e1e 000201 10") + IPV6_NEXT_HOP + b"\0" + v6 + ATTRIBUTES,
    ]


def test_next_hop_goes_behind_as_path_however_long() -> None:
    path = attribute(2, b"\x02\x50" + bytes(range(1, 161)) * 2)
    (message,) = encode_updates(V4, (), [(NEXT_HOPS[V4], ORIGIN + path, [b"\0"])])
    assert message[23:] == ORIGIN + path + bytes.fromhex("400304 0a000001") + b"\0"
    (message,) = encode_updates(V4, (), [(NEXT_HOPS[V4], ORIGIN + AS_PATH, [b"\0"])])
    assert message[23:] == ORIGIN + AS_PATH + bytes.fromhex("400304 0a000001") + b"\0"


def test_ipv4_over_ipv6() -> None:
    """RFC 8950: the next hop decides where the prefixes go."""
    keys = _keys(V4, 3)
    (message,) = encode_updates(V4, (), [(IPV6_NEXT_HOP, ATTRIBUTES, keys)])
    both = Negotiated(families=(V4,), extended_next_hop=frozenset(((V4, 2),)))
    assert _read([message], both)[0].announced == [(V4, IPV6_NEXT_HOP, keys)]


def test_groups_stay_apart_and_nothing_makes_nothing() -> None:
    keys = _keys(V4, 4)
    groups: list[Announcement] = [
        (NEXT_HOPS[V4], ATTRIBUTES, keys[:1]),
        (NEXT_HOPS[V4], ORIGIN + AS_PATH, iter(keys[1:])),
        (NEXT_HOPS[V4], ATTRIBUTES, ()),
    ]
    found = _read(encode_updates(V4, iter(()), iter(groups)))
    assert [u.announced[0][2] for u in found] == [keys[:1], keys[1:]]
    assert encode_updates(V4, (), ()) == []
    assert encode_updates(V6, (), ()) == []


def test_path_identifiers_go_along() -> None:
    keys = [bytes.fromhex("00000001 180a0102"), bytes.fromhex("00000002 180a0102")]
    both = Negotiated(families=(V4, V6), add_path_receive=frozenset((V4,)))
    found = _read(encode_updates(V4, keys, [(NEXT_HOPS[V4], ATTRIBUTES, keys)]), both)
    assert [u.withdrawn for u in found] == [[(V4, keys)], []]
    assert found[1].announced[0][2] == keys


@pytest.mark.parametrize("family", [V4, V6], ids=str)
def test_what_is_too_long_for_the_peer_is_withdrawn(family: Family) -> None:
    """Attributes of an extended message, for a peer that cannot have one: exactly from where they no longer fit."""
    key = _keys(family, 2)[1]
    head = 7 if family == V4 else 3 + 4 + len(IPV6_NEXT_HOP) + 3 - 1
    fits = 4096 - 23 - len(ORIGIN + AS_PATH) - head - len(key) - 4
    announced: list[int] = []
    withdrawn: list[int] = []
    for size in range(fits - 3, fits + 4):
        attributes = ORIGIN + AS_PATH + attribute(99, bytes(size), 0xE0)
        (message,) = encode_updates(family, (), [(NEXT_HOPS[family], attributes, [key])])
        assert len(message) <= 4096
        (found,) = _read([message])
        (announced if found.announced else withdrawn).append(size)
        assert (found.announced or found.withdrawn)[0][-1] == [key]
        (extended,) = encode_updates(family, (), [(NEXT_HOPS[family], attributes, [key])], 65535)
        assert _read([extended], max_length=65535)[0].announced
    assert max(announced) < min(withdrawn)
    assert max(announced) >= fits - 1, "nothing that fits is withdrawn, one byte of an attribute's head apart"


def test_only_the_longest_of_a_group_are_withdrawn() -> None:
    short, long = b"\0", bytes.fromhex("200a000001")
    attributes = ORIGIN + AS_PATH + attribute(99, bytes(4096 - 23 - len(ORIGIN + AS_PATH) - 7 - 4 - 3), 0xE0)
    found = _read(encode_updates(V4, [], [(NEXT_HOPS[V4], attributes, [long, short, long, short])]))
    assert [(u.withdrawn, [keys for _, _, keys in u.announced]) for u in found] == [
        ([(V4, [long, long])], []),
        ([], [[short]]),
        ([], [[short]]),
    ]


@given(
    st.lists(prefixes(32), max_size=40),
    st.lists(st.tuples(st.binary(min_size=1, max_size=300), st.lists(prefixes(32), max_size=40)), max_size=5),
    st.integers(400, 4096),
)
def test_what_is_encoded_is_what_is_decoded(
    gone: list[bytes], groups: list[tuple[bytes, list[bytes]]], max_length: int
) -> None:
    announced = [(NEXT_HOPS[V4], ORIGIN + AS_PATH + attribute(99, value, 0xE0), keys) for value, keys in groups if keys]
    found = _read(encode_updates(V4, gone, announced, max_length))
    assert [key for u in found for _, keys in u.withdrawn for key in keys] == gone
    said: list[tuple[bytes, list[bytes]]] = []
    for u in found:
        for _, next_hop, keys in u.announced:
            assert u.block is not None
            assert next_hop == NEXT_HOPS[V4]
            if said and said[-1][0] == u.block.raw:
                said[-1][1].extend(keys)
            else:
                said.append((u.block.raw, list(keys)))
    wanted: list[tuple[bytes, list[bytes]]] = []
    for _, attributes, keys in announced:
        if wanted and wanted[-1][0] == attributes:
            wanted[-1][1].extend(keys)
        else:
            wanted.append((attributes, list(keys)))
    assert said == wanted


def test_ends_of_rib() -> None:
    assert encode_end_of_rib(V4)[19:] == update()
    assert encode_end_of_rib(EVPN)[19:] == update(bytes.fromhex("800f03 001946"))
