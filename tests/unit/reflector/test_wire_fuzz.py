"""No bytes make the codec raise anything but ResetSession, or take more than linear time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from random import Random
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflector.wire.attribute_cache import AttributeCache
from reflector.wire.attributes import encode_attribute
from reflector.wire.errors import ResetSession
from reflector.wire.framing import MAX_EXTENDED_LENGTH, UPDATE, Framer, encode_message
from reflector.wire.open_message import decode_open
from reflector.wire.packing import encode_updates
from reflector.wire.update import decode_update
from tests.fuzz.coverage import read_corpus
from tests.fuzz.wire_codec import fuzz_one
from tests.unit.reflector.random_updates import damaged, random_update
from tests.unit.reflector.rfc7606_rules import RULES
from tests.unit.reflector.wire_cases import MESSAGES
from tests.unit.reflector.wire_messages import (
    AS_PATH,
    EVERYTHING,
    IPV6_NEXT_HOP,
    NEXT_HOP,
    ORIGIN,
    V4,
    V6,
    attribute,
    reach,
    unreach,
    update,
)

#: What was negotiated (see `fuzz_one`): all families or few, AS numbers of four bytes or two, eBGP, path identifiers,
#: a session over loopback.
CHOICES = (4, 0, 12, 8, 20, 5, 6, 7, 36, 68)
CORPUS = [
    *(bytes((0,)) + message for message in MESSAGES),
    *(bytes((4 + message[18],)) + message[19:] for message in MESSAGES),
    *(bytes((6,)) + update(rule.attributes, rule.nlri) for rule in RULES.values()),
]


@pytest.mark.parametrize("choice", CHOICES)
def test_corpus(choice: int) -> None:
    for data in CORPUS:
        fuzz_one(bytes((choice,)) + data)


def test_corpus_of_the_fuzzer() -> None:
    """What reached a line that nothing before it did; each input names what was negotiated."""
    inputs = read_corpus()
    assert len(inputs) > 100
    for data in inputs:
        fuzz_one(data)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(CHOICES), st.integers(0, 9), st.binary(max_size=300))
def test_any_bytes(choice: int, kind: int, data: bytes) -> None:
    fuzz_one(bytes((choice, kind)) + data)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(CHOICES), st.sampled_from(CORPUS), st.integers(0, 5000), st.integers(0, 8), st.binary(max_size=8)
)
def test_any_damage(choice: int, data: bytes, place: int, taken: int, put: bytes) -> None:
    at = 1 + place % len(data)
    fuzz_one(bytes((choice,)) + data[:at] + put + data[at + taken :])


@pytest.mark.parametrize("block", range(8))
def test_damaged_updates(block: int) -> None:
    for seed in range(400 * block, 400 * (block + 1)):
        chance = Random(seed)
        choice = chance.choice(CHOICES)
        body = random_update(chance, four_octet=bool(choice & 4), path_ids=bool(choice & 16))
        fuzz_one(bytes((choice, 6)) + damaged(chance, body))


# Linear time: twice the bytes are at most twice the work


def _many(piece: bytes, size: int) -> bytes:
    return piece * (size // len(piece))


def _update_of(make: Callable[[int], bytes], *, four_octet: bool = True) -> Callable[[int], Callable[[], object]]:
    """A run of the decoder on an UPDATE that `make` makes of a size."""

    def build(size: int) -> Callable[[], object]:
        body = make(size)
        return lambda: _outcome(
            lambda: decode_update(body, EVERYTHING, AttributeCache(external=False, four_octet=four_octet))
        )

    return build


def _outcome(run: Callable[[], object]) -> object:
    try:
        return run()
    except ResetSession as reset:
        return str(reset)


def _stream(size: int) -> Callable[[], object]:
    data = encode_message(UPDATE, bytes(size))

    def run() -> object:
        framer = Framer(MAX_EXTENDED_LENGTH)
        return [message for n in range(len(data)) for message in framer.feed(data[n : n + 1])]

    return run


def _packing(size: int) -> Callable[[], object]:
    keys = [b"\x20" + n.to_bytes(4, "big") for n in range(size // 4)]
    groups = [
        (NEXT_HOP[3:], ORIGIN + AS_PATH, keys),
        (NEXT_HOP[3:], ORIGIN + AS_PATH + attribute(99, bytes(4030), 0xE0), keys),
    ]
    return lambda: encode_updates(V4, keys, groups)


def _long_path(size: int, kind: int = 2) -> bytes:
    return _many(bytes((kind, 1, 0, 0, 0, 1)), size)


BASE = ORIGIN + AS_PATH + NEXT_HOP
INPUTS: dict[str, Callable[[int], Callable[[], object]]] = {
    "prefixes of no bits": _update_of(lambda n: update(BASE, bytes(n))),
    "prefixes of one length": _update_of(lambda n: update(BASE, _many(b"\x19\x0a\0\0\0", n))),
    "prefixes of two lengths, with host bits": _update_of(
        lambda n: update(BASE, _many(b"\x19\x0a\0\0\1\x12\x0a\0\1", n))
    ),
    "a prefix that does not fit behind many": _update_of(lambda n: update(BASE, bytes(n) + b"\x18")),
    "attributes of no bytes": _update_of(lambda n: update(_many(b"\xc0\x63\0", n), b"\0")),
    "unknown attributes": _update_of(lambda n: update(BASE + b"".join(_unknown(n)), b"\0")),
    "next hops": _update_of(lambda n: update(BASE + _many(NEXT_HOP, n), b"\0")),
    "next hops with others between": _update_of(lambda n: update(BASE + _many(NEXT_HOP + b"\xc0\x63\1a", n), b"\0")),
    "communities": _update_of(lambda n: update(BASE + attribute(8, _many(b"abcd", n), 0xC0), b"\0")),
    "large communities": _update_of(lambda n: update(BASE + attribute(32, _many(bytes(12), n), 0xC0), b"\0")),
    "clusters": _update_of(lambda n: update(BASE + attribute(10, _many(b"abcd", n), 0x80), b"\0")),
    "segments": _update_of(lambda n: update(ORIGIN + NEXT_HOP + attribute(2, _long_path(n)), b"\0")),
    "segments, and those of AS4_PATH": _update_of(
        lambda n: update(
            ORIGIN + NEXT_HOP + attribute(2, _many(b"\2\1\0\1", n // 2)) + attribute(17, _long_path(n // 2), 0xC0),
            b"\0",
        ),
        four_octet=False,
    ),
    "TLVs": _update_of(lambda n: update(BASE + attribute(23, _many(bytes(4), n), 0xC0), b"\0")),
    "attributes within ATTR_SET": _update_of(
        lambda n: update(BASE + attribute(128, _many(b"\xc0\x63\0\0", n), 0xC0), b"\0")
    ),
    "IPv6": _update_of(lambda n: update(ORIGIN + AS_PATH + reach(V6, IPV6_NEXT_HOP, _many(b"\x10\xfd\0\x08\xfd", n)))),
    "IPv6 withdrawn": _update_of(lambda n: update(unreach(V6, bytes(n)))),
    "a stream byte by byte": _stream,
    "many prefixes to be packed": _packing,
}


def _unknown(size: int) -> list[bytes]:
    """All codes there are, again and again."""
    return [encode_attribute(40 + n % 200, 0xC0, b"a") for n in range(size // 4)]


def _lines(run: Callable[[], object]) -> int:
    """How many lines of Python are run: exact, whatever else the machine does."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return count


def _seconds(run: Callable[[], object]) -> float:
    def once() -> float:
        begun = time.process_time()
        run()
        return time.process_time() - begun

    return min(once() for _ in range(3))


@pytest.mark.parametrize("name", INPUTS)
def test_work_grows_with_the_input_and_no_faster(name: str) -> None:
    """In lines of Python exactly; and what the lines do, in seconds, is far from growing with the square."""
    small, large = (INPUTS[name](size) for size in (8000, 16000))
    assert _lines(large) <= 2.1 * _lines(small) + 200
    quarter, whole = (INPUTS[name](size) for size in (15000, 60000))
    assert _seconds(whole) <= 9 * _seconds(quarter) + 0.01


def test_the_measure_notices_what_is_not_linear() -> None:
    def quadratic(size: int) -> Callable[[], object]:
        def run() -> object:
            data = b""
            for n in range(size // 8):
                data = bytes((n & 255,)) + data
                for _ in range(n // 64):
                    pass
            return data

        return run

    assert _lines(quadratic(16000)) > 2.1 * _lines(quadratic(8000)) + 200


def test_an_open_with_many_capabilities() -> None:
    def build(size: int) -> Callable[[], object]:
        capabilities = _many(b"\xc8\0", size)
        body = bytes.fromhex("04fde8005a0a000001ffff") + (len(capabilities) + 3).to_bytes(2, "big")
        body += b"\2" + len(capabilities).to_bytes(2, "big") + capabilities
        return lambda: decode_open(body)

    assert _lines(build(4000)) <= 2.1 * _lines(build(2000)) + 200


def test_what_is_wrong_a_thousand_times_is_told_a_few_times() -> None:
    """Or one UPDATE would be megabytes of memory in the cache."""
    attributes = BASE + 5000 * attribute(99, b"", 0xC0) + attribute(8, b"", 0xC0)
    found = decode_update(update(attributes, b"\0"), EVERYTHING, AttributeCache(external=False))
    assert len(found.faults) <= 8
    assert found.announced == []
