"""Functions of the prefix with few values, on lists of prefixes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector.policy.prefix_intervals import PrefixIntervals
from reflector.rib.route import Key
from tests.unit.reflector.policy_samples import keys, wire

#: Length -> where the value changes, in sixteenths of all addresses.
Borders = dict[int, list[int]]


def intervals(borders: Borders, bits: int = 32) -> PrefixIntervals[int]:
    """The value is how many borders there are up to the prefix, of two neighbouring values each twice."""

    def steps(length: int) -> Iterator[tuple[int, int]]:
        yield 0, 0
        for count, border in enumerate(borders.get(length, []), start=1):
            yield border << (bits - 4), count // 2

    return PrefixIntervals(bits, steps)


def naive(borders: Borders, key: Key) -> int:
    top = key[1] >> 4 if len(key) > 1 else 0
    return bisect_right(borders.get(key[0], []), top) // 2


#: Prefixes of four lengths; of the same sixteenth there are several.
KEYS = st.builds(
    lambda length, top, rest: bytes((length, top << 4 | rest, 0, 0, 0)[: 1 + (length + 7) // 8]),
    st.sampled_from([8, 12, 24, 32]),
    st.integers(0, 15),
    st.integers(0, 3),
)
BORDERS = st.dictionaries(
    st.sampled_from([8, 12, 24, 32]), st.sets(st.integers(1, 15), max_size=8).map(lambda found: sorted(found))
)


@given(BORDERS, st.lists(KEYS, max_size=30))
def test_every_prefix_is_with_its_value(borders: Borders, given_keys: list[Key]) -> None:
    found = intervals(borders).partition(given_keys)
    assert len({value for value, _ in found}) == len(found), "each value once"
    assert sorted(key for _, some in found for key in some) == sorted(given_keys)
    for value, some in found:
        assert some
        assert [naive(borders, key) for key in some] == [value] * len(some)


@given(BORDERS, KEYS)
def test_one_prefix(borders: Borders, key: Key) -> None:
    assert intervals(borders).at(key) == naive(borders, key)


@pytest.mark.parametrize(
    ("prefixes", "whole"),
    [
        ("16.0.0.0/8 31.0.0.0/8 20.0.0.0/8", True),
        ("16.0.0.0/8 48.0.0.0/8", False),
        ("16.0.0.0/8 15.0.0.0/8", True),
        ("31.0.0.0/8 48.0.0.0/8 32.0.0.0/8", False),
        ("10.0.0.0/8 10.0.0.0/24", False),
    ],
)
def test_a_list_with_one_value_and_one_length_is_not_copied(prefixes: str, whole: bool) -> None:
    given_keys = keys(*prefixes.split())
    found = intervals({8: [1, 2, 3]}).partition(given_keys)
    assert (found[0][1] is given_keys) is whole


def test_borders_of_a_length_are_computed_once_and_when_needed() -> None:
    asked: list[int] = []

    def steps(length: int) -> Iterator[tuple[int, str]]:
        asked.append(length)
        return iter([(0, "all")])

    found: PrefixIntervals[str] = PrefixIntervals(32, steps)
    assert not asked
    for _ in range(2):
        assert found.partition(keys("10.0.0.0/8", "11.0.0.0/8")) == [("all", keys("10.0.0.0/8", "11.0.0.0/8"))]
        assert found.at(wire("10.0.0.0/24")) == "all"
    assert sorted(asked) == [8, 24]


def test_no_prefixes() -> None:
    assert intervals({}).partition([]) == []
