"""Best path: each step decides what it is named for, and arrival order never does."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peering.bestpath import Path, choose
from peering.prefixes import pack_address


def path(peer: str = "10.0.0.1", **fields: object) -> Path:
    as_path = fields.pop("as_path", (65001,))
    assert isinstance(as_path, tuple)
    defaults: dict[str, object] = {
        "peer": pack_address(peer),
        "next_hop": pack_address(peer),
        "ebgp": True,
        "as_path": as_path,
        "as_path_length": len(as_path),
    }
    return Path(**(defaults | fields))  # type: ignore[arg-type]


STEPS = [
    ("long-lived stale", path(as_path=(1, 2)), path("10.0.0.2", local_preference=200, stale=True)),
    ("local preference", path(local_preference=200), path("10.0.0.2", local_preference=100)),
    ("AS path length", path(as_path=(1,)), path("10.0.0.2", as_path=(1, 2))),
    ("origin", path(origin=0), path("10.0.0.2", origin=2)),
    ("MED", path(med=5), path("10.0.0.2", med=10)),
    ("eBGP over iBGP", path(ebgp=True), path("10.0.0.2", ebgp=False)),
    ("router ID", path(router_id=1), path("10.0.0.2", router_id=2)),
    ("cluster list length", path(), path("10.0.0.2", cluster_list_length=1)),
    ("peer address", path("10.0.0.1"), path("10.0.0.2")),
]


@pytest.mark.parametrize(("reason", "winner", "loser"), STEPS)
def test_each_step_decides_and_is_named(reason: str, winner: Path, loser: Path) -> None:
    for order in ([winner, loser], [loser, winner]):
        choice = choose(order)
        assert choice is not None
        assert (choice.best, choice.reason) == (winner, reason)


def test_med_is_compared_within_one_neighbouring_as_only() -> None:
    other_as = path("10.0.0.9", as_path=(2,), med=1, router_id=9)
    assert choose([path(med=50, router_id=1), other_as]).best.med == 50  # type: ignore[union-attr]


def test_the_classic_med_trap_has_one_winner_in_every_order() -> None:
    paths = [
        path("10.0.0.1", as_path=(1,), med=5, router_id=9),
        path("10.0.0.2", as_path=(2,), med=0, router_id=5),
        path("10.0.0.3", as_path=(1,), med=10, router_id=1),
    ]
    winners = {choose(order).best.peer for order in permutations(paths)}  # type: ignore[union-attr]
    assert winners == {pack_address("10.0.0.2")}


def test_multipath_takes_all_that_tie_through_different_as() -> None:
    choice = choose([path("10.0.0.1", as_path=(1,)), path("10.0.0.2", as_path=(2,)), path("10.0.0.3", as_path=(3, 4))])
    assert choice is not None
    assert {p.next_hop for p in choice.multipath} == {pack_address("10.0.0.1"), pack_address("10.0.0.2")}


def test_multipath_never_mixes_ebgp_and_ibgp_and_is_bounded() -> None:
    choice = choose([path("10.0.0.1"), path("10.0.0.2", ebgp=False)])
    assert choice is not None
    assert len(choice.multipath) == 1
    many = choose([path(f"10.0.0.{i}") for i in range(1, 33)], max_paths=4)
    assert many is not None
    assert len(many.multipath) == 4


def test_no_path_no_choice() -> None:
    assert choose([]) is None


PATHS = st.builds(
    path,
    peer=st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
    as_path=st.lists(st.integers(1, 3), max_size=3).map(tuple),
    local_preference=st.integers(1, 2),
    med=st.integers(0, 2),
    ebgp=st.booleans(),
    router_id=st.integers(0, 2),
)


@given(st.lists(PATHS, min_size=1, max_size=5), st.randoms())
def test_the_choice_does_not_depend_on_the_order(paths: list[Path], random: object) -> None:
    shuffled = list(paths)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert choose(paths) == choose(shuffled)
