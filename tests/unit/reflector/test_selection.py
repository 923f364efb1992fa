"""The reflector's order of paths is that of `peering/bestpath.py`, which says each step by name."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from peering.bestpath import Path, choose
from reflector.rib.route import Route, Source
from reflector.rib.selection import best, ranked
from reflector.wire.communities import LLGR_STALE, NO_LLGR
from tests.unit.reflector.log_fabric import Block

BLOCK = st.builds(
    Block,
    local_pref=st.sampled_from([None, 100, 200]),
    as_path_length=st.integers(0, 2),
    neighbour_as=st.integers(0, 2),
    med=st.sampled_from([None, 0, 5, 9]),
    origin=st.integers(0, 2),
    originator_id=st.sampled_from([None, bytes(4), bytes([9, 9, 9, 9])]),
    cluster_list_length=st.integers(0, 2),
    communities=st.sampled_from([(), (NO_LLGR,), (NO_LLGR, LLGR_STALE)]),
)


def routes(blocks: list[Block]) -> list[Route]:
    """Each from a source of its own; every third is eBGP."""
    found = []
    for number, block in enumerate(blocks):
        source = Source(str(number), "client" if number % 3 else "ebgp", bytes([number % 2] * 4), bytes([number] * 4))
        found.append(source.route(block, bytes([number] * 4)))  # type: ignore[arg-type]
    return found


def path(route: Route) -> Path:
    block = route.block
    return Path(
        peer=route.source.address,
        next_hop=route.next_hop,
        ebgp=route.source.kind == "ebgp",
        as_path=(block.neighbour_as,) if block.neighbour_as else (),
        as_path_length=block.as_path_length,
        local_preference=100 if block.local_pref is None else block.local_pref,
        origin=block.origin,
        med=block.med or 0,
        router_id=int.from_bytes(block.originator_id or route.source.router_id),
        cluster_list_length=block.cluster_list_length,
        stale=LLGR_STALE in block.communities,
    )


@settings(max_examples=1000)
@given(st.lists(BLOCK, min_size=1, max_size=6))
def test_the_best_is_the_best_of_the_named_steps(blocks: list[Block]) -> None:
    found = routes(blocks)
    choice = choose(map(path, found))
    assert choice is not None
    assert path(best(found)) == choice.best


@given(st.lists(BLOCK, min_size=1, max_size=6), st.randoms())
def test_the_order_is_the_same_however_the_paths_came(blocks: list[Block], chance: object) -> None:
    found = routes(blocks)
    shuffled = list(found)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert ranked(found) == ranked(shuffled)
    assert ranked(found)[0] is best(found)
