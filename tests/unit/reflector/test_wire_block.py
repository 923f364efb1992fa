"""Blocks of attributes: what is read, which are the same, and what they become on the way out."""

from __future__ import annotations

import gc
from operator import itemgetter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector.wire.as_path import Segments, encode_path, prepend, replace_as
from reflector.wire.attribute_block import AttributeBlock
from reflector.wire.attribute_cache import AttributeCache
from reflector.wire.attribute_reader import take_apart
from reflector.wire.attributes import ROWS, walk
from reflector.wire.update import decode_update
from tests.unit.reflector.wire_messages import (
    AS_PATH,
    EVERYTHING,
    IPV6_NEXT_HOP,
    LOCAL_PREF,
    NEXT_HOP,
    ORIGIN,
    PREFIX,
    PREFIX6,
    V6,
    attribute,
    reach,
    update,
)

CLIENT, OTHER, CLUSTER = bytes((10, 0, 0, 9)), bytes((10, 0, 0, 8)), bytes((10, 255, 0, 1))
MED = attribute(4, bytes.fromhex("00000007"), 0x80)
COMMUNITIES = attribute(8, bytes.fromhex("fde80001 ffffff01"), 0xC0)
ALL = [
    ORIGIN,
    attribute(2, bytes.fromhex("0202 0000fde8 00011170 0102 00000001 00000002")),
    MED,
    LOCAL_PREF,
    attribute(6, b""),
    attribute(7, bytes.fromhex("00011170 0a000001"), 0xC0),
    COMMUNITIES,
    attribute(9, OTHER, 0x80),
    attribute(10, CLUSTER + OTHER, 0x80),
    attribute(16, bytes.fromhex("0002fde800000001"), 0xC0),
    attribute(26, bytes.fromhex("01000b0000000000000005"), 0x80),
    attribute(32, bytes.fromhex("0000000100000002 00000003"), 0xC0),
    attribute(35, bytes.fromhex("0000fde8"), 0xC0),
    attribute(99, b"opaque", 0xE0),
]


def block_of(attributes: bytes, cache: AttributeCache | None = None) -> AttributeBlock:
    """The block in an UPDATE that announces a prefix."""
    cache = cache or AttributeCache(external=False)
    found = cache.find(take_apart(attributes).rest)
    assert found.block is not None, found
    return found.block


def parts(raw: bytes) -> dict[int, tuple[int, bytes]]:
    """Code -> (flags, value); the order is checked on the way."""
    codes = [code for code, _, _ in walk(raw)]
    assert codes == sorted(set(codes))
    return {code: (flags, value) for code, flags, value in walk(raw)}


def test_what_is_read() -> None:
    block = block_of(b"".join(ALL))
    assert block.raw == b"".join(ALL)
    assert block.origin == 0
    assert block.segments == ((2, (65000, 70000)), (1, (1, 2)))
    assert block.as_path == (65000, 70000, 1, 2)
    assert block.as_path_length == 3, "a set counts as one"
    assert block.neighbour_as == 65000
    assert (block.med, block.local_pref) == (7, 100)
    assert block.atomic_aggregate
    assert block.aggregator == (70000, bytes((10, 0, 0, 1)))
    assert block.communities == (0xFDE80001, 0xFFFFFF01)
    assert (block.originator_id, block.cluster_list) == (OTHER, (CLUSTER, OTHER))
    assert block.cluster_list_length == 2
    assert block.extended_communities == (bytes.fromhex("0002fde800000001"),)
    assert block.large_communities == ((1, 2, 3),)
    assert block.attribute(26) == bytes.fromhex("01000b0000000000000005")
    assert block.attribute(40) is None


def test_what_is_read_where_there_is_little() -> None:
    block = block_of(ORIGIN + attribute(2, b""))
    assert (block.segments, block.as_path, block.as_path_length, block.neighbour_as) == ((), (), 0, 0)
    assert (block.med, block.local_pref, block.originator_id, block.aggregator) == (None, None, None, None)
    assert (block.communities, block.cluster_list, block.large_communities) == ((), (), ())
    assert not block.atomic_aggregate


def test_confederations_do_not_count() -> None:
    """RFC 5065, 5.3; the neighbouring AS is the first outside."""
    block = block_of(ORIGIN + attribute(2, bytes.fromhex("0302 00000001 00000002 0201 0000fde8")))
    assert (block.as_path, block.as_path_length, block.neighbour_as) == ((1, 2, 65000), 1, 65000)


def test_canonical_form() -> None:
    """By type code, lengths as short as they can be, no bits that mean nothing; unknown ones marked as partial."""
    attributes = (
        attribute(99, b"x", 0xC0)
        + attribute(8, bytes.fromhex("fde80001"), 0xCF, extended=True)
        + attribute(4, bytes.fromhex("00000007"), 0xA0)
        + AS_PATH
        + attribute(32, bytes.fromhex("000000010000000200000003") * 2, 0xE0)
        + attribute(98, b"optional, not transitive", 0x80)
        + attribute(1, b"\0", 0x60)
    )
    assert block_of(attributes).raw == (
        ORIGIN
        + AS_PATH
        + MED
        + attribute(8, bytes.fromhex("fde80001"), 0xC0)
        + attribute(32, bytes.fromhex("000000010000000200000003"), 0xE0)
        + attribute(99, b"x", 0xE0)
    )


@pytest.mark.parametrize("flags", [0x60, 0x50, 0x4F, 0x40])
def test_bits_that_mean_nothing_are_gone(flags: int) -> None:
    """Also where they are all that is not in canonical form, and from the second time on."""
    for _ in range(2):
        assert block_of(attribute(1, b"\0", flags, extended=bool(flags & 0x10)) + AS_PATH).raw == ORIGIN + AS_PATH


@pytest.mark.parametrize(("size", "head"), [(255, "e063ff"), (256, "f0630100"), (65000, "f063fde8")])
def test_the_length_has_two_bytes_where_it_must(size: int, head: str) -> None:
    for extended in (False, True):
        block = block_of(attribute(99, bytes(size), 0xC0, extended=extended) + ORIGIN + AS_PATH)
        assert block.raw == ORIGIN + AS_PATH + bytes.fromhex(head) + bytes(size)


def test_the_same_attributes_are_the_same_block() -> None:
    cache = AttributeCache(external=False)
    first = block_of(ORIGIN + AS_PATH + NEXT_HOP + MED, cache)
    assert block_of(ORIGIN + AS_PATH + NEXT_HOP + MED, cache) is first
    assert block_of(ORIGIN + AS_PATH + attribute(3, bytes(4)) + MED, cache) is first, "another next hop"
    assert block_of(MED + AS_PATH + ORIGIN, cache) is first, "another order"
    assert block_of(ORIGIN + AS_PATH + MED + reach(V6, IPV6_NEXT_HOP, PREFIX6), cache) is first, "another family"
    assert block_of(ORIGIN + AS_PATH, cache) is not first


def test_a_cache_forgets_and_blocks_stay_the_same() -> None:
    cache = AttributeCache(external=False, remembered_bytes=20_000)
    first = block_of(ORIGIN + AS_PATH, cache)
    for number in range(1000):
        block_of(ORIGIN + AS_PATH + attribute(4, number.to_bytes(4, "big"), 0x80), cache)
        cache.remember(18, number.to_bytes(4, "big"), first, ())
        assert sum(map(len, (*cache.known, *(rest for _, rest in cache.usable)))) <= 20_000
        assert len(cache.known) + len(cache.usable) < 100
    assert ORIGIN + AS_PATH not in cache.known
    assert block_of(ORIGIN + AS_PATH, cache) is first
    del first
    cache.known.clear()
    cache.usable.clear()
    gc.collect()
    assert len(cache._blocks) == 0, "blocks that nobody uses are gone"


def test_attributes_of_sets_are_remembered_one_by_one_and_not_for_ever() -> None:
    """What was read before is the same object; a peer that invents attributes costs no memory for each."""
    cache = AttributeCache(external=False)
    first, second = (block_of(ORIGIN + AS_PATH + attribute(4, bytes((0, 0, 0, n)), 0x80), cache) for n in (1, 2))
    assert first.segments is second.segments
    for number in range(6000):
        block_of(ORIGIN + AS_PATH + attribute(4, number.to_bytes(4, "big"), 0x80), cache)
        block_of(ORIGIN + AS_PATH + attribute(99, number.to_bytes(100, "big"), 0xC0), cache)
    remembered = cache._reader._known
    assert len(remembered) <= 4096
    assert max(map(len, remembered)) <= 64


# Reflection, RFC 4456, 8


def test_reflected_for_the_first_time() -> None:
    block = block_of(ORIGIN + AS_PATH + MED + COMMUNITIES + attribute(16, bytes(8), 0xC0))
    expected = (
        ORIGIN
        + AS_PATH
        + MED
        + COMMUNITIES
        + attribute(9, CLIENT, 0x80)
        + attribute(10, CLUSTER, 0x80)
        + attribute(16, bytes(8), 0xC0)
    )
    assert block.reflected(CLIENT, CLUSTER) == expected
    assert block.reflected(CLIENT, CLUSTER) is block.reflected(CLIENT, CLUSTER)
    assert block.reflected(OTHER, CLUSTER) != expected


def test_reflected_again_keeps_the_originator() -> None:
    block = block_of(b"".join(ALL))
    found = parts(block.reflected(CLIENT, b"abcd"))
    assert found[9] == (0x80, OTHER)
    assert found[10] == (0x80, b"abcd" + CLUSTER + OTHER)
    assert block.reflected(CLIENT, b"abcd") is block.reflected(CLUSTER, b"abcd")


def test_reflected_with_a_long_cluster_list() -> None:
    clusters = bytes(range(252))
    block = block_of(ORIGIN + AS_PATH + attribute(10, clusters, 0x80))
    assert parts(block.reflected(CLIENT, CLUSTER))[10] == (0x90, CLUSTER + clusters)


@given(st.lists(st.sampled_from(ALL[2:]), unique=True), st.booleans())
def test_reflection_touches_nothing_else(chosen: list[bytes], four_octet: bool) -> None:
    block = block_of(b"".join((*ALL[:2], *chosen)))
    before = parts(block.encoded(four_octet=four_octet))
    after = parts(block.reflected(CLIENT, CLUSTER, four_octet=four_octet))
    assert after[9][1] == before.get(9, (0, CLIENT))[1]
    assert after[10][1] == CLUSTER + before.get(10, (0, b""))[1]
    assert {code: part for code, part in after.items() if code not in (9, 10)} == {
        code: part for code, part in before.items() if code not in (9, 10)
    }


def test_reflected_forms_of_clients_that_came_and_went_are_forgotten() -> None:
    block = block_of(ORIGIN + AS_PATH)
    first = block.reflected(CLIENT, CLUSTER)
    for number in range(40_000):
        block.reflected(number.to_bytes(4, "big"), CLUSTER)
    assert len(block._reflected or ()) <= 1 << 15
    assert block.reflected(CLIENT, CLUSTER) == first


# Policy


def test_rewritten_for_ebgp() -> None:
    block = block_of(b"".join(ALL))
    sent = block.rewritten(
        as_path=prepend(block.segments, [64512, 64512]),
        local_pref=None,
        med=None,
        originator_id=None,
        cluster_list=None,
        aigp=None,
    )
    assert sent.segments == ((2, (64512, 64512, 65000, 70000)), (1, (1, 2)))
    assert (sent.local_pref, sent.med, sent.originator_id, sent.cluster_list) == (None, None, None, ())
    left = {code for code, _, _ in walk(block.raw)} - {4, 5, 9, 10, 26}
    assert set(parts(sent.raw)) == left
    assert {c: p for c, p in parts(sent.raw).items() if c != 2} == {c: parts(block.raw)[c] for c in left if c != 2}


CHANGES: list[dict[str, Any]] = [
    {"med": 0},
    {"local_pref": 0xFFFFFFFF},
    {"origin": 2},
    {"as_path": ()},
    {"as_path": ((2, (1, 2, 3)),)},
    {"communities": (1, 2, 3)},
    {"large_communities": ((1, 2, 3), (4, 5, 6))},
    {"extended_communities": (bytes(8),)},
    {"atomic_aggregate": True},
    {"aggregator": (70000, bytes(4))},
    {"originator_id": CLIENT, "cluster_list": (CLUSTER,)},
]


@pytest.mark.parametrize("changes", CHANGES, ids=lambda c: next(iter(c)))
def test_rewritten_says_what_was_asked_for(changes: dict[str, Any]) -> None:
    for attributes in (ORIGIN + AS_PATH, b"".join(ALL)):
        block = block_of(attributes)
        found = block.rewritten(**changes)
        assert block_of(found.raw).raw == found.raw, "what it says can be read"
        for name, value in changes.items():
            assert getattr(found, "segments" if name == "as_path" else name) == value
        assert block.rewritten(**changes) is found
        assert block.raw == attributes, "the old one is as it was"


def test_rewritten_takes_out_what_is_none_or_empty() -> None:
    block = block_of(b"".join(ALL))
    gone = block.rewritten(
        med=None, atomic_aggregate=False, aggregator=None, communities=(), large_communities=None, only_to_customer=None
    )
    assert set(parts(block.raw)) - set(parts(gone.raw)) == {4, 6, 7, 8, 32, 35}


def test_a_change_that_does_not_exist() -> None:
    with pytest.raises(KeyError):
        block_of(ORIGIN + AS_PATH).rewritten(colour=1)  # type: ignore[call-arg]


SEQUENCE = 2


def test_prepending() -> None:
    assert prepend((), [1, 2]) == ((SEQUENCE, (1, 2)),)
    assert prepend(((SEQUENCE, (3,)),), [1, 2]) == ((SEQUENCE, (1, 2, 3)),)
    assert prepend(((1, (3, 4)),), [1]) == ((SEQUENCE, (1,)), (1, (3, 4)))
    assert prepend(((SEQUENCE, (3,)),), []) == ((SEQUENCE, (3,)),)
    full: Segments = ((SEQUENCE, tuple(range(1, 256))),)
    assert prepend(full, [9]) == ((SEQUENCE, (9,)), *full), "a segment has at most 255"


def test_long_paths_are_split() -> None:
    asns = tuple(range(1, 601))
    block = block_of(ORIGIN + AS_PATH).rewritten(as_path=((SEQUENCE, asns),))
    assert block_of(block.raw).as_path == asns
    assert [len(found) for _, found in block_of(block.raw).segments] == [255, 255, 90]


def test_as_override() -> None:
    path: Segments = ((SEQUENCE, (65000, 1, 65000)), (1, (65000, 2)))
    assert replace_as(path, 65000, 64512) == ((SEQUENCE, (64512, 1, 64512)), (1, (64512, 2)))


# Peers with two-byte AS numbers, RFC 6793

OLD = AttributeCache(external=False, four_octet=False)
TRANS = 23456


def _old(path: Segments, as4: Segments | None = None, *more: bytes) -> AttributeBlock:
    attributes = ORIGIN + attribute(2, encode_path(path, 2))
    if as4 is not None:
        attributes += attribute(17, encode_path(as4), 0xC0)
    return block_of(b"".join((attributes, *more)), OLD)


@pytest.mark.parametrize(
    ("path", "as4", "true"),
    [
        (((2, (100, 200)),), None, ((2, (100, 200)),)),
        (((2, (TRANS,)),), None, ((2, (TRANS,)),)),
        (((2, (100, TRANS, 200)),), ((2, (70000, 200)),), ((2, (100, 70000, 200)),)),
        (((2, (TRANS, TRANS)),), ((2, (70000, 70001)),), ((2, (70000, 70001)),)),
        (((2, (TRANS,)),), ((2, (70000, 70001)),), ((2, (TRANS,)),)),
        (((2, (1, 2)), (1, (TRANS, 3))), ((1, (70000, 3)),), ((2, (1, 2)), (1, (70000, 3)))),
        (((1, (8, 9)), (2, (TRANS, 4))), ((2, (70000, 4)),), ((1, (8, 9)), (2, (70000, 4)))),
        (((3, (64512,)), (2, (TRANS, 4))), ((2, (70000, 4)),), ((3, (64512,)), (2, (70000, 4)))),
        (((2, (5,)), (4, (64512,)), (2, (TRANS,))), ((2, (70000,)),), ((2, (5,)), (4, (64512,)), (2, (70000,)))),
        (((2, (TRANS, 4)),), ((3, (64512,)), (2, (70000, 4))), ((2, (70000, 4)),)),
        (((2, (TRANS, 4)),), ((3, (64512,)),), ((2, (TRANS, 4)),)),
        (((2, (1, TRANS)), (2, (7,))), ((2, (70000,)), (2, (7,))), ((2, (1, 70000)), (2, (7,)))),
    ],
)
def test_the_true_path_from_an_old_speaker(path: Segments, as4: Segments | None, true: Segments) -> None:
    block = _old(path, as4)
    assert block.segments == true
    assert set(parts(block.raw)) == {1, 2}
    assert parts(block.raw)[2][1] == encode_path(true)


AGGREGATOR_2 = attribute(7, TRANS.to_bytes(2, "big") + CLIENT, 0xC0)
AS4_AGGREGATOR = attribute(18, (70000).to_bytes(4, "big") + OTHER, 0xC0)


def test_the_true_aggregator_from_an_old_speaker() -> None:
    path, as4 = ((SEQUENCE, (TRANS,)),), ((SEQUENCE, (70000,)),)
    assert _old(path, as4, AGGREGATOR_2, AS4_AGGREGATOR).aggregator == (70000, OTHER)
    assert _old(path, None, AGGREGATOR_2).aggregator == (TRANS, CLIENT)
    assert _old(path, as4, AS4_AGGREGATOR).aggregator is None


def test_an_aggregator_that_is_not_as_trans_makes_both_void() -> None:
    """RFC 6793, 4.2.3: somebody old has aggregated since."""
    path, as4 = ((SEQUENCE, (TRANS,)),), ((SEQUENCE, (70000,)),)
    block = _old(path, as4, attribute(7, bytes.fromhex("0064") + CLIENT, 0xC0), AS4_AGGREGATOR)
    assert block.aggregator == (100, CLIENT)
    assert block.segments == path


@pytest.mark.parametrize("value", ["", "02", "0200", "0202 00011170", "0501 00011170", "0201 00000000"])
def test_a_malformed_as4_path_is_gone(value: str) -> None:
    """RFC 6793, 6."""
    broken = attribute(17, bytes.fromhex(value), 0xC0)
    found = OLD.find(ORIGIN + attribute(2, encode_path(((SEQUENCE, (TRANS,)),), 2)) + broken)
    assert found.block is not None
    assert found.block.segments == ((SEQUENCE, (TRANS,)),)
    assert [fault.strength for fault in found.faults] == [1]


def test_sent_to_an_old_speaker() -> None:
    block = block_of(b"".join(ALL))
    sent = parts(block.encoded(four_octet=False))
    assert sent[2] == (0x40, encode_path(((2, (65000, TRANS)), (1, (1, 2))), 2))
    assert sent[17] == (0xC0, encode_path(block.segments))
    assert sent[7] == (0xC0, TRANS.to_bytes(2, "big") + bytes((10, 0, 0, 1)))
    assert sent[18] == (0xC0, (70000).to_bytes(4, "big") + bytes((10, 0, 0, 1)))
    assert block.encoded(four_octet=False) is block.encoded(four_octet=False)


def test_sent_to_an_old_speaker_where_all_numbers_fit() -> None:
    block = block_of(ORIGIN + AS_PATH + attribute(7, bytes.fromhex("0000fde8") + CLIENT, 0xC0))
    assert block.encoded(four_octet=False) == (
        ORIGIN + attribute(2, bytes.fromhex("0201fde8")) + attribute(7, bytes.fromhex("fde8") + CLIENT, 0xC0)
    )


def test_a_confederation_does_not_go_into_as4_path() -> None:
    block = block_of(ORIGIN + attribute(2, encode_path(((3, (70000,)), (2, (70001,))))))
    sent = parts(block.encoded(four_octet=False))
    assert sent[17][1] == encode_path(((2, (70001,)),))
    within = block_of(ORIGIN + attribute(2, encode_path(((3, (70000,)),))))
    assert 17 not in parts(within.encoded(four_octet=False))


asns = st.integers(1, 0xFFFFFFFF) | st.integers(1, 0xFFFF)
paths = st.lists(st.tuples(st.sampled_from((1, 2)), st.lists(asns, min_size=1, max_size=6).map(tuple)), max_size=4)


@given(paths.map(tuple), st.none() | st.tuples(asns, st.just(CLIENT)), st.lists(st.sampled_from(ALL[6:]), unique=True))
def test_an_old_speaker_passes_on_what_it_was_sent(path: Segments, aggregator: Any, more: list[bytes]) -> None:
    """Sent to an old speaker and back from it: nothing is lost."""
    block = block_of(b"".join((ORIGIN, AS_PATH, *more))).rewritten(as_path=path, aggregator=aggregator)
    assert block_of(block.encoded(four_octet=False), OLD).raw == block.raw


@given(st.lists(st.sampled_from(ALL[2:]), unique=True), st.randoms(use_true_random=False))
def test_bytes_of_a_block_are_those_of_its_values(chosen: list[bytes], chance: Any) -> None:
    """Whatever order they came in; so the short way for attributes in canonical form changes nothing."""
    attributes = [*ALL[:2], *chosen]
    chance.shuffle(attributes)
    block = block_of(b"".join(attributes))
    ordered: list[bytes] = sorted(attributes, key=itemgetter(1))
    assert block.raw == b"".join(ordered)
    again = {code: ROWS[code].encode(ROWS[code].decode(v)) if code in ROWS else v for code, _, v in walk(block.raw)}
    assert again == {code: value for code, _, value in walk(block.raw)}


def test_a_block_of_one_family_serves_another() -> None:
    cache = AttributeCache(external=False)
    first = decode_update(update(ORIGIN + AS_PATH + NEXT_HOP, PREFIX), EVERYTHING, cache)
    second = decode_update(update(ORIGIN + AS_PATH + reach(V6, IPV6_NEXT_HOP, PREFIX6)), EVERYTHING, cache)
    assert first.block is second.block is not None
    assert second.block.raw == ORIGIN + AS_PATH
