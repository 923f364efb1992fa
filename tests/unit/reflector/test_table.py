"""The table against one that keeps everything and works it out anew each time; prefixes come few and many at a time."""

from __future__ import annotations

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from reflector.rib.route import Key, Route, Source
from reflector.rib.table import AdjRibIn, Table, all_of
from tests.unit.reflector.policy_samples import block

KEYS = [bytes((24, 10, number, 0)) for number in range(64)]
NEXT_HOP = bytes((10, 0, 0, 1))
SOURCES = 3
#: (source, how its route differs or None to withdraw, first prefix, how many)
STEPS = st.lists(
    st.tuples(
        st.integers(0, SOURCES - 1),
        st.none() | st.integers(0, 2),
        st.integers(0, len(KEYS) - 1),
        st.sampled_from((1, 3, 15, 16, 40, 64)),
    ),
    max_size=6,
)


def source(number: int) -> Source:
    return Source(f"node-{number}", "client", bytes((10, 0, 0, number)), bytes((10, 0, 1, number)))


@given(batches=st.lists(STEPS, max_size=5))
def test_paths_and_changes_are_those_of_a_table_that_forgets_nothing(
    batches: list[list[tuple[int, int | None, int, int]]],
) -> None:
    table, adjs = Table(), [AdjRibIn(source(number)) for number in range(SOURCES)]
    blocks = [block(med=med) for med in range(3)]
    said: list[dict[Key, Route]] = [{} for _ in adjs]
    for steps in batches:
        before = {key: paths_of(said, key) for key in KEYS}
        touched: set[Key] = set()
        for who, med, first, count in steps:
            keys = list(islice(KEYS, first, first + count))
            if med is None:
                table.withdraw(adjs[who], keys)
                touched |= set(keys) & said[who].keys()
                said[who] = {key: route for key, route in said[who].items() if key not in keys}
            else:
                route = adjs[who].source.route(blocks[med], NEXT_HOP)
                touched |= {key for key in keys if said[who].get(key) is not route}
                table.announce(adjs[who], keys, route)
                said[who] |= dict.fromkeys(keys, route)
        changes = table.take_changes()
        told = list(changes.items())
        assert len(told) == len(changes) == len(set(changes.prefixes())), "each prefix once"
        assert set(changes.prefixes()) <= touched
        assert {key: set(all_of(paths)) for key, paths in told} == {key: before[key] for key in changes.prefixes()}
        for key in KEYS:
            assert set(all_of(table.paths.get(key))) == paths_of(said, key)
            assert key in changes.prefixes() or paths_of(said, key) == before[key]
        assert [adj.routes for adj in adjs] == said


def paths_of(said: list[dict[Key, Route]], key: Key) -> set[Route]:
    return {routes[key] for routes in said if key in routes}
