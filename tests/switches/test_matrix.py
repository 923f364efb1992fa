"""The matrix has every pair, and for a platform every pair that it can say."""

from __future__ import annotations

from itertools import combinations, product

import pytest

from tests.switches.matrix import BASE, PARAMETERS, all_pairs, build, cases, is_said, pairs_of, rows, said_values
from tests.switches.platforms import releases


def test_every_pair_is_in_a_row() -> None:
    covered = set().union(*map(pairs_of, rows()))
    assert covered == all_pairs()
    assert len(rows()) < 60


def test_every_value_makes_a_difference() -> None:
    """To the plan, in some row; otherwise its pairs are of nothing."""
    for name, values in PARAMETERS.items():
        for value in values[1:]:
            changed = [row for row in rows() if row[name] == value]
            assert any(build(row, "frr") != build(row | {name: BASE[name]}, "frr") for row in changed), (name, value)


def test_rows_are_the_same_every_time() -> None:
    first = rows()
    rows.cache_clear()
    assert rows() == first


@pytest.mark.parametrize("platform", releases())
def test_every_pair_that_a_platform_takes_is_among_its_cases(platform: str) -> None:
    """Looked at for the values of a few parameters: each pair is a check of a whole plan."""
    said = said_values(platform)
    plans = set(map(repr, cases(platform).values()))
    assert len(plans) >= 30
    few = ("design", "transport", "neighbors", "ttlSecurity", "bfd")
    for one, other in combinations(few, 2):
        for a, b in product(said[one], said[other]):
            if is_said(BASE | {one: a, other: b}, platform):
                assert any(row_has(row, platform, {one: a, other: b}) for row in rows()), (one, a, other, b)


def row_has(row: dict[str, str], platform: str, wanted: dict[str, str]) -> bool:
    said = said_values(platform)
    fitting = {name: value if value in said[name] else BASE[name] for name, value in row.items()}
    return all(fitting[name] == value for name, value in wanted.items())
