"""Next-hop groups: from any state of the kernel to any desired one, in an order that loses no packet."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgp_speaker import nexthop_groups
from bgp_speaker.kernel_route import Nexthop
from bgp_speaker.nexthop_groups import (
    CreateNexthop,
    DeleteObject,
    NexthopObjects,
    NexthopSet,
    SetGroup,
    Step,
    leftovers,
    missing_nexthops,
    plan_groups,
)

BASE = 1000
A, B, C, D = (Nexthop(bytes((10, 0, 0, n)), n) for n in range(4))


@dataclass
class Kernel:
    """The kernel's rules for next-hop objects, written down a second time, and the routes on them."""

    nexthops: dict[int, Nexthop]
    groups: dict[int, set[int]]
    routes: dict[str, int]

    def do(self, step: Step) -> None:
        match step:
            case CreateNexthop(id_, nexthop):
                assert id_ not in self.nexthops
                assert id_ not in self.groups
                self.nexthops[id_] = nexthop
            case SetGroup(id_, members, replace):
                assert (id_ in self.groups) == replace
                assert id_ not in self.nexthops
                assert members
                assert len(set(members)) == len(members)
                assert set(members) <= set(self.nexthops)
                self.groups[id_] = set(members)
            case DeleteObject(id_):
                self._delete(id_)

    def _delete(self, id_: int) -> None:
        if id_ in self.groups:
            del self.groups[id_]
            self.routes = {name: group for name, group in self.routes.items() if group != id_}
            return
        del self.nexthops[id_]
        for group in [g for g, members in self.groups.items() if id_ in members]:
            self.groups[group].discard(id_)
            if not self.groups[group]:
                self._delete(group)

    def reached(self, name: str) -> NexthopSet:
        members = self.groups.get(self.routes.get(name, 0), set())
        return frozenset(self.nexthops[member] for member in members)

    def objects(self) -> NexthopObjects:
        return NexthopObjects(dict(self.nexthops), {g: frozenset(m) for g, m in self.groups.items()})


def _kernel(groups: dict[int, set[Nexthop]], routes: dict[str, int]) -> Kernel:
    ids = {A: 1001, B: 1002, C: 1003, D: 1004}
    used = set().union(*groups.values()) if groups else set()
    return Kernel({ids[n]: n for n in used}, {g: {ids[n] for n in m} for g, m in groups.items()}, dict(routes))


@dataclass
class Reconciled:
    """What `_reconcile` did: steps before and after the routes, and which routes it wrote."""

    before: list[Step]
    written: list[str]
    after: list[Step]


def _reconcile(kernel: Kernel, desired: dict[str, NexthopSet]) -> Reconciled:
    """What KernelRoutes does, with the wanted sets watched after every single step."""
    kept = set(kernel.routes) & set(desired)
    allowed = {name: (kernel.reached(name), desired[name]) for name in kept}
    objects = kernel.objects()

    def do(step: Step) -> None:
        kernel.do(step)
        objects.apply(step)
        _assert_none_stranded(kernel, allowed)

    created = missing_nexthops(objects, [n for wanted in desired.values() for n in wanted], BASE)
    for creation in created:
        do(creation)
    usage = Counter((kernel.routes.get(name, 0), wanted) for name, wanted in desired.items())
    plan = plan_groups(objects, usage, BASE)
    for setting in plan.steps:
        do(setting)
    written = []
    for name, wanted in desired.items():
        target = plan.target[kernel.routes.get(name, 0), wanted]
        if kernel.routes.get(name) != target:
            assert target in kernel.groups
            kernel.routes[name] = target
            written.append(name)
            _assert_none_stranded(kernel, allowed)
    kernel.routes = {name: group for name, group in kernel.routes.items() if name in desired}
    deletions = leftovers(objects, set(kernel.routes.values()))
    for deletion in deletions:
        do(deletion)
    assert objects.nexthops == kernel.nexthops
    assert objects.groups == {g: frozenset(m) for g, m in kernel.groups.items()}
    return Reconciled([*created, *plan.steps], written, list(deletions))


def _assert_none_stranded(kernel: Kernel, allowed: dict[str, tuple[NexthopSet, NexthopSet]]) -> None:
    for name, sets in allowed.items():
        reached = kernel.reached(name)
        assert reached
        assert reached in sets, "neither the old next hops nor the new ones"


def _assert_clean(kernel: Kernel, desired: dict[str, NexthopSet]) -> None:
    assert {name: kernel.reached(name) for name in kernel.routes} == desired
    assert set(kernel.groups) == set(kernel.routes.values())
    assert set(kernel.nexthops) == set().union(*kernel.groups.values())


_SETS = st.frozensets(st.sampled_from([A, B, C, D]), min_size=1)
_NAMES = st.sampled_from("abcdefgh")


@st.composite
def _kernels(draw: st.DrawFn) -> Kernel:
    """Any state, also ones that we would not make: doubled objects, doubled groups, unused ones."""
    nexthops = draw(st.dictionaries(st.integers(1000, 1007), st.sampled_from([A, B, C, D]), min_size=1))
    members = st.sets(st.sampled_from(sorted(nexthops)), min_size=1)
    groups = draw(st.dictionaries(st.integers(1008, 1013), members))
    routes = draw(st.dictionaries(_NAMES, st.sampled_from(sorted(groups)))) if groups else {}
    return Kernel(nexthops, groups, routes)


@settings(max_examples=400, deadline=None)
@given(kernel=_kernels(), desired=st.lists(st.dictionaries(_NAMES, _SETS), min_size=1, max_size=4))
@pytest.mark.parametrize("merge_below", [1, 3])
def test_any_state_reaches_any_other(merge_below: int, kernel: Kernel, desired: list[dict[str, NexthopSet]]) -> None:
    kernel = Kernel(dict(kernel.nexthops), {g: set(m) for g, m in kernel.groups.items()}, dict(kernel.routes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nexthop_groups, "MERGE_BELOW", merge_below)
        for wanted in desired:
            _reconcile(kernel, wanted)
            _assert_clean(kernel, wanted)
            again = _reconcile(kernel, wanted)
            assert (again.before, again.written, again.after) == ([], [], [])


def test_one_message_when_all_routes_lose_a_nexthop() -> None:
    kernel = _kernel({1010: {A, B}}, {f"r{n}": 1010 for n in range(10)})
    done = _reconcile(kernel, {f"r{n}": frozenset({B}) for n in range(10)})
    assert done == Reconciled([SetGroup(1010, (1002,), True)], [], [DeleteObject(1001)])


def test_grows_back_in_place() -> None:
    kernel = _kernel({1010: {B}}, {f"r{n}": 1010 for n in range(10)})
    done = _reconcile(kernel, {f"r{n}": frozenset({A, B}) for n in range(10)})
    assert done.before == [CreateNexthop(1000, A), SetGroup(1010, (1000, 1002), True)]
    assert (done.written, done.after) == ([], [])


def test_only_the_route_that_parts_is_written() -> None:
    kernel = _kernel({1010: {A, B}}, {f"r{n}": 1010 for n in range(10)})
    desired = {f"r{n}": frozenset({A, B}) for n in range(10)} | {"r3": frozenset({A})}
    assert _reconcile(kernel, desired).written == ["r3"]


def test_large_group_is_kept_beside_an_equal_one_small_group_joins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nexthop_groups, "MERGE_BELOW", 5)
    routes = {f"many{n}": 1010 for n in range(6)} | {"few": 1011} | {"there": 1012}
    kernel = _kernel({1010: {A, B}, 1011: {A, C}, 1012: {B}}, routes)
    done = _reconcile(kernel, dict.fromkeys(routes, frozenset({B})))
    assert done.written == ["few"]
    assert kernel.routes["many0"] == 1010


def test_foreign_ids_are_left_out() -> None:
    objects = NexthopObjects(foreign=frozenset({1000, 1002}))
    assert missing_nexthops(objects, [A, B], BASE) == (CreateNexthop(1001, A), CreateNexthop(1003, B))


def test_group_about_to_be_replaced_is_not_given_to_those_who_want_what_it_holds() -> None:
    kernel = _kernel({1010: {A}}, {"old": 1010})
    desired = {"old": frozenset({A, B}), "new": frozenset({A})}
    _reconcile(kernel, desired)
    _assert_clean(kernel, desired)


def test_member_that_is_not_ours_makes_a_group_unfit() -> None:
    objects = NexthopObjects({1001: A}, {1010: frozenset({1001, 7})})
    plan = plan_groups(objects, {(1010, frozenset({A})): 3}, BASE)
    assert plan.steps == (SetGroup(1010, (1001,), True),)
