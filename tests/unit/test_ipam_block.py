"""The algebra of a block: what is given, held and released, in any order of it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ipam.block import (
    Holder,
    Limits,
    free_ordinals,
    give,
    is_cooling,
    is_idle,
    is_reserved,
    new_block,
    reserved_ordinals,
    take_back,
    user_of,
    without_owner,
)
from ipam.moments import is_recent, moment_text
from peering.resources.ipam import Allocation, IPAMBlockSpec

SIZE = 8
BLOCK = "10.0.0.8/29"
STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, SIZE), st.integers(0, 40)), max_size=40)


def fresh() -> IPAMBlockSpec:
    return new_block(BLOCK, "a", 0)


def free(spec: IPAMBlockSpec, now: float = 0, **limits: object) -> list[int]:
    return list(free_ordinals(spec, Limits(**limits), now))  # type: ignore[arg-type]


@settings(max_examples=200)
@given(STEPS, st.sampled_from((0, 30)))
def test_the_next_address_is_the_one_that_was_unused_for_longest(
    steps: list[tuple[bool, int, int]], cooldown: int
) -> None:
    """Held against a list of (released at, ordinal), with which nothing can go wrong."""
    spec, now = fresh(), 1000.0
    waiting: list[tuple[float, int]] = [(float("-inf"), i) for i in range(SIZE)]
    held: list[int] = []
    for sequence, (giving, which, elapsed) in enumerate(steps):
        now += elapsed
        ready = [ordinal for at, ordinal in waiting if now - at >= cooldown]
        assert free(spec, now, cooldown=cooldown) == ready
        if giving and ready:
            spec = give(spec, ready[:1], Holder(f"pod-{ready[0]}", "a"), sequence, now)
            waiting = [one for one in waiting if one[1] != ready[0]]
            held.append(ready[0])
        elif not giving and which < len(held):
            ordinal = held.pop(which)
            spec = take_back(spec, lambda a, gone=ordinal: a.ordinal == gone, now)  # type: ignore[misc]
            waiting.append((now, ordinal))
        assert [a.ordinal for a in spec.allocations if a.handle != f"pod-{a.ordinal}"] == []
        assert sorted(a.ordinal for a in spec.allocations) == sorted(held)
        assert IPAMBlockSpec.model_validate(spec.model_dump(by_alias=True)) == spec
        assert bool(spec.empty_since) is not bool(held)


def test_nothing_to_take_back_is_the_same_block() -> None:
    spec = give(fresh(), [3], Holder("pod", "a"), 7, 0)
    assert take_back(spec, lambda a: a.sequence == 6, 0) is spec
    assert take_back(spec, lambda a: a.sequence == 7, 0).allocations == ()


def test_reserved_addresses_are_not_given() -> None:
    assert free(fresh(), reserved=("10.0.0.8/30", "10.0.0.13/32", "fd00::/8")) == [4, 6, 7]
    assert reserved_ordinals("fd00::10/126", ("fd00::12/127", "10.0.0.0/8")) == {2, 3}
    assert is_reserved(BLOCK, ("10.0.0.0/24",))
    assert is_reserved(BLOCK, ("10.0.0.8/30", "10.0.0.12/30"))
    assert not is_reserved(BLOCK, ("10.0.0.8/30",))


def test_a_clock_that_was_set_back_keeps_no_address_for_ever() -> None:
    spec = take_back(give(fresh(), range(SIZE), Holder("pod", "a"), 1, 0), lambda a: True, 100_000)
    assert free(spec, 100_010, cooldown=30) == []
    assert is_cooling(spec, 100_010, 30)
    assert len(free(spec, 0, cooldown=30)) == SIZE
    assert not is_idle(spec, 100_010, 60)
    assert is_idle(spec, 100_060, 60)
    assert is_idle(spec, 0, 60)


def test_a_block_that_does_not_say_since_when_it_is_empty_has_been_for_long() -> None:
    assert is_idle(IPAMBlockSpec(cidr=BLOCK), 0, 60)
    used = IPAMBlockSpec(cidr=BLOCK, allocations=(Allocation(ordinal=1, handle="x"),))
    assert not is_idle(used, 0, 0)


def test_an_owner_that_lets_go_leaves_its_name_on_its_addresses() -> None:
    """Those that older versions gave say no node: they were the owner's."""
    old = IPAMBlockSpec(cidr=BLOCK, affinity="host:a", allocations=(Allocation(ordinal=1, handle="x"),))
    block = give(old, [2], Holder("y", "b"), 5, 0)
    assert [user_of(block, a) for a in block.allocations] == ["a", "b"]
    left = without_owner(block)
    assert (left.affinity, [user_of(left, a) for a in left.allocations]) == ("", ["a", "b"])


@given(st.integers(0, 4_000_000_000), st.integers(-100, 100), st.integers(0, 90))
def test_moments_are_read_back(unix: int, off: int, span: int) -> None:
    assert is_recent(moment_text(unix), unix + off, span) is (abs(off) < span)
    assert not is_recent("", unix, span)
