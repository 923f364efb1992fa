"""Each step of best path decides when all before it are equal, and is named as the reason, in any order of arrival."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from reflector.engine.path_choice import MED, ONLY_PATH, STEPS_AFTER_MED, STEPS_BEFORE_MED, choose_path
from reflector.rib.route import Kind, Route, Source
from reflector.rib.selection import best, ranked
from reflector.wire.as_path import SEQUENCE, SET
from reflector.wire.communities import LLGR_STALE
from tests.unit.reflector.policy_samples import NEXT_HOP, block


def path(
    name: str,
    *as_path: int,
    kind: Kind = "client",
    router_id: int = 5,
    address: bytes = bytes((10, 0, 0, 5)),
    path_id: bytes = b"",
    **attributes: Any,
) -> Route:
    """Of a peer of its own, all equal but for what is said."""
    source = Source(name, kind, bytes((10, 9, 0, router_id)), address)
    return source.route(block(*as_path, **attributes), NEXT_HOP, path_id)


def identifier(number: int) -> bytes:
    return bytes((10, 9, 0, number))


#: (step, the better, the worse): the worse is better in every step behind this one.
STEPS: list[tuple[str, Route, Route]] = [
    (
        "long-lived stale",
        path("a", 1, 2, local_pref=50, origin=2),
        path("b", local_pref=200, origin=0, communities=(LLGR_STALE,)),
    ),
    ("local preference", path("a", 1, 2, local_pref=200, origin=2), path("b", 1, local_pref=199, origin=0)),
    ("local preference", path("a", 1, 2), path("b", 1, local_pref=99)),
    ("AS path length", path("a", 1, origin=2, med=9), path("b", 1, 2, origin=0, med=0)),
    (
        "AS path length",
        path("a", as_path=((SET, (1, 2, 3)),), origin=2),
        path("b", as_path=((SEQUENCE, (1,)), (SET, (2,)))),
    ),
    ("origin", path("a", 1, origin=0, med=9), path("b", 1, origin=1, med=0)),
    ("origin", path("a", 1, origin=1, med=9), path("b", 1, origin=2, med=0)),
    (MED, path("a", 1, med=4), path("b", 1, med=5, kind="ebgp")),
    (MED, path("a", 1), path("b", 1, med=1, kind="ebgp")),
    ("eBGP over iBGP", path("a", 1, kind="ebgp", router_id=9), path("b", 1, router_id=1)),
    ("router ID", path("a", 1, router_id=4, cluster_list=(bytes(4),)), path("b", 1, router_id=5)),
    (
        "router ID",
        path("a", 1, router_id=9, originator_id=identifier(3), cluster_list=(bytes(4),)),
        path("b", 1, router_id=4),
    ),
    (
        "cluster list length",
        path("a", 1, originator_id=identifier(3), cluster_list=(bytes(4),), address=bytes((10, 0, 0, 9))),
        path("b", 1, originator_id=identifier(3), cluster_list=(bytes(4), bytes(4)), address=bytes((10, 0, 0, 1))),
    ),
    ("peer address", path("a", 1, address=bytes((10, 0, 0, 4))), path("b", 1, address=bytes((10, 0, 0, 5)))),
    ("peer address", path("a", 1, address=bytes((200, 0, 0, 4))), path("b", 1, address=bytes((32, 1)) + bytes(14))),
]


@pytest.mark.parametrize(("step", "better", "worse"), STEPS)
def test_a_step_decides_and_is_the_reason(step: str, better: Route, worse: Route) -> None:
    for order in ([better, worse], [worse, better]):
        choice = choose_path(order)
        assert (choice.best, choice.reason, choice.lost) == (better, step, {worse: step})
        assert best(order) is better
        assert ranked(order) == (better, worse)


def test_of_one_peer_the_lowest_path_identifier_decides() -> None:
    """RFC 7911: it sends several that are equal in all else."""
    source = Source("a", "client", identifier(1), identifier(1))
    low, high = (source.route(block(1), NEXT_HOP, bytes((0, 0, 0, n))) for n in (1, 2))
    for order in ([low, high], [high, low]):
        choice = choose_path(order)
        assert (choice.best, choice.reason, choice.lost) == (low, "path identifier", {high: "path identifier"})
        assert ranked(order) == (low, high)


def test_every_step_is_in_the_list() -> None:
    named = [name for name, _ in STEPS_BEFORE_MED] + [MED] + [name for name, _ in STEPS_AFTER_MED]
    assert named == [*dict.fromkeys(step for step, _, _ in STEPS), "path identifier"]


def test_one_path_needs_no_reason() -> None:
    only = path("a", 1)
    assert (choose_path([only]).best, choose_path([only]).reason, choose_path([only]).lost) == (only, ONLY_PATH, {})


def test_a_med_counts_within_one_neighbouring_as_only() -> None:
    """RFC 4271, 9.1.2.2 c. The winner is the same however the paths came, and each loser has the step it lost by."""
    low, high = path("a", 1, med=5, router_id=9), path("b", 1, med=10, router_id=1)
    other = path("c", 2, med=99, router_id=5)
    for order in permutations([low, high, other]):
        choice = choose_path(list(order))
        assert (choice.best, choice.reason) == (other, "router ID")
        assert choice.lost == {high: MED, low: "router ID"}
        assert best(order) is other
        assert ranked(order) == (other, low, high)


def test_the_reason_is_the_last_step_that_took_a_path_out() -> None:
    best_one = path("a", 1, local_pref=200, router_id=1)
    losers = {
        path("b", 1, local_pref=100): "local preference",
        path("c", 1, 2, local_pref=200): "AS path length",
        path("d", 1, local_pref=200, router_id=2): "router ID",
    }
    choice = choose_path([*losers, best_one])
    assert (choice.best, choice.reason, choice.lost) == (best_one, "router ID", losers)
