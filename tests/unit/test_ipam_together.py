"""Requests that are served together: as many writes as blocks, and in any order with others no rule breaks."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from ipam.allocator import Given
from ipam.claims import claim, release_block
from ipam.documents import read_declared
from ipam.errors import PoolExhausted
from ipam.requests import Declared, Request
from peering.store.protocol import Document, Stored, StoreError
from tests.unit.ipam_world import Running, SteppedStore, declare
from tests.unit.test_ipam_interleavings import ORDERS, Order, Scene, Story, Work, lengths, orders, play

HANDLES = ("pod-1", "pod-2", "pod-3")


def declared(scene: Scene) -> Declared:
    found = scene.done(read_declared(scene.store, "a"))
    assert isinstance(found, Declared)
    return found


def crowd(scene: Scene, node: str = "a", handles: tuple[str, ...] = HANDLES) -> Work:
    return scene.allocators[node].allocate_all([Request(one) for one in handles], declared(scene))


def with_a_block(scene: Scene, node: str = "a") -> Scene:
    """The node knows a block of its own."""
    scene.done(scene.allocate(node, "first"))
    scene.done(scene.allocators[node].release("first"))
    return scene


def two_crowds_of_the_same(scene: Scene) -> list[Work]:
    with_a_block(scene)
    scene.allocators["b"] = type(scene.allocators["a"])(scene.store, "a", lambda: 1_000_000.0)
    scene.done(scene.allocators["b"].allocate(Request("known")))
    scene.done(scene.allocators["b"].release("known"))
    return [crowd(scene), crowd(scene, "b")]


def crowd_against_one_of_them(scene: Scene) -> list[Work]:
    with_a_block(scene)
    scene.allocators["b"] = type(scene.allocators["a"])(scene.store, "a", lambda: 1_000_000.0)
    return [crowd(scene), scene.allocate("b", "pod-2")]


def crowd_against_the_release_of_one(scene: Scene) -> list[Work]:
    with_a_block(scene)
    return [crowd(scene), scene.allocators["c"].release("pod-2")]


def crowd_against_a_borrower(scene: Scene) -> list[Work]:
    with_a_block(scene)
    with_a_block(scene, "b")
    return [crowd(scene), scene.sticky("b", "pod-9", "10.0.0.1")]


def crowd_against_the_collector(scene: Scene) -> list[Work]:
    with_a_block(scene)
    return [crowd(scene), scene.collect_twice()]


STORIES: tuple[Story, ...] = (
    two_crowds_of_the_same,
    crowd_against_one_of_them,
    crowd_against_the_release_of_one,
    crowd_against_a_borrower,
    crowd_against_the_collector,
)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_no_order_breaks_a_rule(story: Story) -> None:
    told = list(orders(lengths(story)))
    if len(told) > ORDERS:
        told = random.Random(story.__name__).sample(told, ORDERS)
    for order in told:
        scene = play(story, order)
        check_end(story, scene, order)


def check_end(story: Story, scene: Scene, order: Order) -> None:
    for handle in HANDLES:
        assert scene.held_by(handle) <= 1, f"{handle} got two: {order}"
    if not order.dies and story is not crowd_against_the_release_of_one:
        assert [scene.held_by(handle) for handle in HANDLES] == [1, 1, 1], order
    if order.dies and story is not crowd_against_the_release_of_one:
        fresh = type(scene.allocators["a"])(scene.store, "a", lambda: 1_000_000.0)
        answers = scene.done(fresh.allocate_all([Request(one) for one in HANDLES], declared(scene)))
        assert all(isinstance(one, list) for one in answers), order
        assert [scene.held_by(handle) for handle in HANDLES] == [1, 1, 1], order


class CountingStore(SteppedStore):
    """Counts writes by kind, and fails where it is told to: before or after the write has taken effect."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []
        self.fail: Callable[[str], bool] = lambda kind: False
        self.takes_effect = False
        self.is_v6 = self.written_v6 = False

    async def create(self, kind: str, name: str, document: Document) -> Stored:
        return await self._counted(kind, super().create(kind, name, document))

    async def update(self, kind: str, name: str, document: Document, version: int | None = None) -> Stored:
        self.is_v6 = name.startswith("fd00")
        self.written_v6 |= self.is_v6
        return await self._counted(kind, super().update(kind, name, document, version))

    async def _counted(self, kind: str, write: Any) -> Stored:
        self.writes.append(kind)
        if self.fail(kind):
            if self.takes_effect:
                await write
            else:
                write.close()
            raise StoreError("the store is away")
        stored: Stored = await write
        return stored


def counting(cidr: str = "10.0.0.0/24", size: int = 26) -> tuple[Scene, CountingStore]:
    scene = Scene()
    store = CountingStore()
    scene.store = store
    scene.rules = type(scene.rules)(store)
    declare(store, "IPPool", "pods", cidr=cidr, blockSize=size)
    declare(store, "Node", "a")
    scene.allocators = {"a": type(scene.allocators["a"])(store, "a", lambda: 1_000_000.0)}
    return scene, store


def test_one_write_of_each_block() -> None:
    scene, store = counting()
    with_a_block(scene)
    store.writes.clear()
    answers = scene.done(crowd(scene, handles=tuple(f"pod-{n}" for n in range(60))))
    assert len({one.address for answer in answers for one in answer}) == 60
    assert (store.writes.count("IPAMBlock"), store.writes.count("IPAMHandle")) == (1, 60)
    scene.rules.check()


def test_answers_are_the_requests_in_their_order() -> None:
    scene, store = counting()
    handles = tuple(f"pod-{n}" for n in range(150))
    answers = scene.done(crowd(scene, handles=(*handles, "pod-7")))
    assert store.writes.count("IPAMBlock") <= 3 + 3 + 3, "each block is made, given from by its first, by the crowd"
    for handle, (given,) in zip((*handles, "pod-7"), answers, strict=True):
        assert isinstance(given, Given)
        assert scene.done(scene.allocate("a", handle)) == [given]
    assert answers[7] == answers[-1]
    scene.rules.check()


def test_who_finds_no_room_is_told_and_the_others_have_theirs() -> None:
    scene, _ = counting("10.0.0.0/30", 30)
    answers = scene.done(crowd(scene, handles=tuple(f"pod-{n}" for n in range(6))))
    assert [isinstance(one, PoolExhausted) for one in answers] == [False] * 4 + [True] * 2
    assert [scene.held_by(f"pod-{n}") for n in range(6)] == [1, 1, 1, 1, 0, 0]
    assert len(scene.store.all("IPAMHandle")) == 4
    scene.rules.check()


def test_block_that_went_to_another_node_is_left_alone() -> None:
    scene = with_a_block(Scene())
    (block,) = (one.document["spec"]["cidr"] for one in scene.store.all("IPAMBlock"))
    scene.done(release_block(scene.store, "a", block))
    scene.done(claim(scene.store, "b", block, 1_000_000.0))
    scene.done(scene.sticky("b", "pod-9", block.replace("/30", "")))
    scene.done(scene.allocators["a"].release_address(Given(block.replace("/30", ""), block, 0)))  # reads the block
    answers = scene.done(crowd(scene))
    assert [one.block != block for answer in answers for one in answer] == [True] * 3


def dual_stack() -> tuple[Scene, CountingStore]:
    scene, store = counting()
    declare(store, "IPPool", "pods-v6", cidr="fd00::/112", blockSize=122)
    scene.done(scene.allocators["a"].allocate(Request("first", ipv6=1)))
    return scene, store


def test_named_address_is_not_forgotten() -> None:
    scene, _ = dual_stack()
    request = Request("pod-1", ipv6=1, addresses=("10.0.0.77",))
    (given,) = scene.done(scene.allocators["a"].allocate_all([request], declared(scene)))
    assert [one.address.startswith("fd00:") for one in given] == [False, True]
    assert given[0].address == "10.0.0.77"


def test_family_that_was_written_is_given_back_when_the_other_fails() -> None:
    scene, store = dual_stack()
    failures = iter([True, True])  # the crowd's write, and the one of the request's own way
    store.fail = lambda kind: kind == "IPAMBlock" and not store.is_v6 and next(failures, False)
    (answer,) = scene.done(scene.allocators["a"].allocate_all([Request("pod-1", ipv6=1)], declared(scene)))
    assert isinstance(answer, StoreError)
    assert (store.written_v6, scene.held_by("pod-1")) == (True, 0)
    scene.rules.check()


def test_family_that_was_written_unheard_is_given_back_when_the_other_fails() -> None:
    """IPv4 takes effect and fails nevertheless; IPv6 fails, and fails once more on the request's own way."""
    scene, store = dual_stack()
    effects = iter([True, False, False])

    def fails(kind: str) -> bool:
        effect = next(effects, None) if kind == "IPAMBlock" else None
        store.takes_effect = bool(effect)
        return effect is not None

    store.fail = fails
    (answer,) = scene.done(scene.allocators["a"].allocate_all([Request("pod-1", ipv6=1)], declared(scene)))
    assert isinstance(answer, StoreError)
    assert scene.held_by("pod-1") == 0
    assert {one.name for one in store.all("IPAMHandle")} == {"first"}
    scene.rules.check()


@pytest.mark.parametrize("takes_effect", [False, True])
@pytest.mark.parametrize("kind", ["IPAMHandle", "IPAMBlock"])
def test_write_that_fails_leaves_nothing(kind: str, takes_effect: bool) -> None:
    """The first write of that kind fails, and the next one of a request's own way; then the store is well again."""
    scene, store = counting()
    with_a_block(scene)
    failures = iter([True, True, True, True])
    store.takes_effect = takes_effect
    store.fail = lambda of: of == kind and next(failures, False)
    answers = scene.done(crowd(scene))
    store.fail = lambda of: False
    for handle, answer in zip(HANDLES, answers, strict=True):
        assert scene.held_by(handle) == (1 if isinstance(answer, list) else 0), (handle, answer)
    scene.rules.check()
    again = scene.done(crowd(scene))
    assert len({one.address for answer in again for one in answer}) == 3


def test_it_is_driven_to_its_end_step_by_step() -> None:
    scene, _ = counting()
    running = Running(crowd(scene))
    while not running.done:
        running.step()
        scene.rules.check()
    assert len({one.address for answer in running.answer for one in answer}) == 3
