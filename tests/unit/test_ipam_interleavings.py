"""Every way in which two or three that do something at once can get between each other, with few changes of turn.

The state machine of test_ipam_model.py goes anywhere; here a few stories are told in their orders, and who is
interrupted may die there as well. The suite tells so many of them; `UNDERLAY_MODEL_ORDERS=100000` tells all.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import pytest

from ipam.allocator import Allocator
from ipam.claims import claim, finish, release_block
from ipam.collector import Collector
from ipam.requests import Request
from tests.unit.ipam_world import Rules, Running, SteppedStore, declare

ORDERS = int(os.environ.get("UNDERLAY_MODEL_ORDERS", "400"))
TURNS = 3
BLOCK = "10.0.0.0/30"
NOW = 1_000_000.0
Work = Coroutine[Any, Any, Any]


def now() -> float:
    return NOW


class Scene:
    """One pool of two blocks, and nodes with an allocator each, which know their blocks from before."""

    def __init__(self) -> None:
        self.store = SteppedStore()
        self.rules = Rules(self.store)
        declare(self.store, "IPPool", "pods", cidr="10.0.0.0/29", blockSize=30)
        for node in "abc":
            declare(self.store, "Node", node)
        self.allocators = {node: Allocator(self.store, node, now) for node in "abc"}

    def done(self, work: Work) -> Any:
        """What the work answers when nobody is in its way."""
        running = Running(work).finish()
        assert running.error is None, running.error
        return running.answer

    def allocate(self, node: str, handle: str) -> Work:
        return self.allocators[node].allocate(Request(handle, addresses=()))

    def sticky(self, node: str, handle: str, address: str) -> Work:
        return self.allocators[node].allocate(Request(handle, addresses=(address,)))

    async def collect_twice(self, **how: Any) -> None:
        collector = Collector(self.store, 1, 1, clock=now, **how)
        await collector.collect(0)
        await collector.collect(5)

    def held_by(self, handle: str) -> int:
        return len(self.gifts_of(handle))

    def gifts_of(self, handle: str) -> set[int]:
        """The sequences of what the handle holds."""
        blocks = [one.document["spec"] for one in self.store.all("IPAMBlock")]
        return {a["sequence"] for spec in blocks for a in spec.get("allocations", ()) if a["handle"] == handle}

    def listed(self) -> set[int]:
        """The sequences of what borrowers can announce."""
        specs = [one.document["spec"] for one in self.store.all("BlockAffinity")]
        return {a["sequence"] for spec in specs for a in spec.get("addresses", ())}

    def forget_lists(self) -> None:
        """As if who made them had died before."""
        for one in self.store.all("BlockAffinity"):
            if one.document["spec"].get("type") == "borrower":
                del self.store.objects["BlockAffinity", one.name]


Story = Callable[[Scene], list[Work]]


def claim_against_release(scene: Scene) -> list[Work]:
    scene.done(claim(scene.store, "a", BLOCK, NOW))
    return [claim(scene.store, "a", BLOCK, NOW), release_block(scene.store, "a", BLOCK)]


def unfinished_claim_against_release(scene: Scene) -> list[Work]:
    """The claim of a process that died is finished by the next while the collector releases the block."""
    scene.done(claim(scene.store, "a", BLOCK, NOW))
    affinity = scene.store.all("BlockAffinity")[0]
    pending = {**affinity.document, "spec": {**affinity.document["spec"], "state": "pending"}}
    scene.store.put("BlockAffinity", affinity.name, pending)
    return [
        claim(scene.store, "a", BLOCK, NOW),
        release_block(scene.store, "a", BLOCK),
        claim(scene.store, "b", BLOCK, NOW),
    ]


def two_claims_and_a_release(scene: Scene) -> list[Work]:
    return [
        claim(scene.store, "a", BLOCK, NOW),
        claim(scene.store, "b", BLOCK, NOW),
        release_block(scene.store, "a", BLOCK),
    ]


def two_releases_and_a_claim(scene: Scene) -> list[Work]:
    scene.done(claim(scene.store, "a", BLOCK, NOW))
    scene.done(scene.sticky("a", "pod-1", "10.0.0.1"))
    return [
        release_block(scene.store, "a", BLOCK, still=lambda spec: not spec.allocations),
        release_block(scene.store, "a", BLOCK),
        claim(scene.store, "b", BLOCK, NOW),
    ]


def reclaim_against_allocation(scene: Scene) -> list[Work]:
    """Another node takes the block for empty, while its owner gives an address of it."""
    scene.done(scene.sticky("a", "pod-1", "10.0.0.1"))
    scene.done(scene.allocators["a"].release("pod-1"))

    async def reclaim() -> None:
        if await release_block(scene.store, "a", BLOCK, still=lambda spec: not spec.allocations):
            await claim(scene.store, "b", BLOCK, NOW)

    return [scene.allocate("a", "pod-2"), reclaim(), finish(scene.store, "a", NOW)]


def allocation_against_release(scene: Scene) -> list[Work]:
    scene.done(claim(scene.store, "a", BLOCK, NOW))
    scene.done(scene.allocate("a", "pod-0"))
    return [scene.allocate("a", "pod-1"), scene.allocators["b"].release("pod-1")]


def allocation_that_is_late_against_release(scene: Scene) -> list[Work]:
    """The block changes under the allocation, so that it has to try again, while its handle is released."""
    scene.done(scene.allocate("a", "pod-0"))
    scene.done(scene.allocators["c"].release("pod-0"))
    return [scene.allocate("a", "pod-1"), scene.allocators["b"].release("pod-1")]


def allocation_against_settling(scene: Scene) -> list[Work]:
    """The collector finds a promise that is too large, and a request for the same handle comes."""
    scene.done(scene.allocate("a", "pod-0"))
    document = {"handle": "pod-1", "blocks": [BLOCK, "10.0.0.4/30"]}
    declare(scene.store, "IPAMHandle", "pod-1", **document)
    return [scene.allocate("a", "pod-1"), scene.collect_twice()]


def two_allocations_for_one_handle(scene: Scene) -> list[Work]:
    scene.done(scene.allocate("a", "pod-0"))
    other = Allocator(scene.store, "a", now)
    return [scene.allocate("a", "pod-1"), other.allocate(Request("pod-1"))]


def two_for_one_address(scene: Scene) -> list[Work]:
    return [scene.sticky("a", "pod-1", "10.0.0.2"), scene.sticky("b", "pod-2", "10.0.0.2")]


def stale_release_against_the_next_gift(scene: Scene) -> list[Work]:
    (given,) = scene.done(scene.sticky("a", "pod-1", "10.0.0.1"))
    scene.done(scene.allocators["a"].release("pod-1"))
    return [scene.sticky("a", "pod-2", "10.0.0.1"), scene.allocators["b"].release_address(given)]


def leak_against_the_next_gift(scene: Scene) -> list[Work]:
    scene.done(scene.sticky("a", "pod-1", "10.0.0.1"))

    async def again() -> None:
        await scene.allocators["a"].release("pod-1")
        await scene.sticky("a", "pod-2", "10.0.0.1")

    return [again(), scene.collect_twice(gone=lambda a: a.handle == "pod-1")]


# What is borrowed


def borrowing_against_release(scene: Scene) -> list[Work]:
    scene.done(claim(scene.store, "a", BLOCK, NOW))
    return [scene.sticky("b", "pod-1", "10.0.0.1"), scene.allocators["c"].release("pod-1")]


def two_that_borrow_for_one_node(scene: Scene) -> list[Work]:
    """One address is released meanwhile, so that the list may end while the other is put on it."""
    scene.done(claim(scene.store, "a", BLOCK, NOW))
    scene.done(scene.sticky("b", "pod-1", "10.0.0.1"))
    other = Allocator(scene.store, "b", now)
    return [
        scene.sticky("b", "pod-2", "10.0.0.2"),
        other.allocate(Request("pod-3", addresses=("10.0.0.3",))),
        scene.allocators["c"].release("pod-1"),
    ]


def borrowed_and_asked_for_again(scene: Scene) -> list[Work]:
    """The first to ask has died before it could list the address."""
    scene.done(claim(scene.store, "a", BLOCK, NOW))
    scene.done(scene.sticky("b", "pod-1", "10.0.0.1"))
    scene.forget_lists()
    return [scene.sticky("b", "pod-1", "10.0.0.1"), scene.allocators["c"].release("pod-1")]


def borrowed_and_found_by_the_collector(scene: Scene) -> list[Work]:
    scene.done(claim(scene.store, "a", BLOCK, NOW))
    scene.done(scene.sticky("b", "pod-1", "10.0.0.1"))
    scene.forget_lists()
    return [scene.collect_twice(), scene.allocators["c"].release("pod-1")]


def borrowed_anew_against_an_old_copy(scene: Scene) -> list[Work]:
    """Who releases pod-1 with a copy that is old must leave the gift after it on the list."""
    scene.done(claim(scene.store, "a", BLOCK, NOW))
    scene.done(scene.sticky("b", "pod-1", "10.0.0.1"))

    async def again() -> None:
        await Allocator(scene.store, "b", now).release("pod-1")
        await Allocator(scene.store, "b", now).allocate(Request("pod-2", addresses=("10.0.0.1",)))

    return [scene.allocators["b"].release("pod-1"), again()]


def lender_gives_up_the_block(scene: Scene) -> list[Work]:
    """The owner keeps an address in the block that it loses, and the borrower comes to own it."""
    scene.done(scene.sticky("a", "pod-0", "10.0.0.0"))
    scene.done(scene.sticky("b", "pod-1", "10.0.0.1"))

    async def give_up() -> None:
        await release_block(scene.store, "a", BLOCK)
        await claim(scene.store, "b", BLOCK, NOW)

    async def end() -> None:
        await scene.allocators["b"].release("pod-1")
        await scene.allocators["a"].release("pod-0")

    return [give_up(), end(), scene.collect_twice()]


STORIES: tuple[Story, ...] = (
    claim_against_release,
    unfinished_claim_against_release,
    two_claims_and_a_release,
    two_releases_and_a_claim,
    reclaim_against_allocation,
    allocation_against_release,
    allocation_that_is_late_against_release,
    allocation_against_settling,
    two_allocations_for_one_handle,
    two_for_one_address,
    stale_release_against_the_next_gift,
    leak_against_the_next_gift,
    borrowing_against_release,
    two_that_borrow_for_one_node,
    borrowed_and_asked_for_again,
    borrowed_and_found_by_the_collector,
    borrowed_anew_against_an_old_copy,
    lender_gives_up_the_block,
)


@dataclass(frozen=True)
class Order:
    """Who goes how many steps, one after the other. Then all go to their end, in their order or the other way round.

    `dies`: who was first to be interrupted never goes on.
    """

    turns: tuple[tuple[int, int], ...]
    forward: bool = True
    dies: bool = False


#: Orders in which something was wrong once.
ONCE_FOUND: dict[Story, list[Order]] = {two_allocations_for_one_handle: [Order(((0, 4), (1, 4)))]}


def lengths(story: Story) -> list[int]:
    """How many steps each needs when it is alone after those before it, and a few for what it has to do again."""
    scene = Scene()
    found = []
    for work in story(scene):
        running, steps = Running(work), 0
        while not running.done:
            running.step()
            steps += 1
        found.append(steps)
    return found


def orders(found: list[int]) -> Iterator[Order]:
    """All with at most TURNS - 1 changes of turn; in a second run the first to be interrupted dies there."""
    most = max(found) + 4
    for count in range(2, TURNS + 1):
        for who in product(range(len(found)), repeat=count - 1):
            if any(a == b for a, b in pairwise(who)):
                continue
            for steps in product(range(1, most), repeat=count - 1):
                turns = tuple(zip(who, steps, strict=True))
                yield from (Order(turns, forward, dies) for forward in (True, False) for dies in (True, False))


def play(story: Story, order: Order) -> Scene:
    """One order of one story. The rules hold after each step."""
    scene = Scene()
    works = [Running(work) for work in story(scene)]
    scene.rules.check()
    for who, steps in order.turns:
        for _ in range(steps):
            works[who].step()
            scene.rules.check()
    if order.dies:
        works[order.turns[0][0]].kill()
    for running in works if order.forward else reversed(works):
        while not running.done:
            running.step()
            scene.rules.check()
    return scene


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_no_order_breaks_a_rule(story: Story) -> None:
    told = list(orders(lengths(story)))
    if len(told) > ORDERS:
        told = random.Random(story.__name__).sample(told, ORDERS)
    for order in (*ONCE_FOUND.get(story, ()), *told):
        check_end(story, play(story, order), order)


def check_end(story: Story, scene: Scene, order: Order) -> None:
    if story is two_allocations_for_one_handle:
        assert scene.held_by("pod-1") == 1, f"one request twice is one: {order}"
    if story is two_releases_and_a_claim:
        assert scene.held_by("pod-1") == 1, f"an address went with its block: {order}"
    if story is reclaim_against_allocation and not order.dies:
        assert scene.held_by("pod-2") == 1, f"an address went with its block: {order}"
    if story is two_that_borrow_for_one_node and not order.dies:
        assert scene.listed() == scene.gifts_of("pod-2") | scene.gifts_of("pod-3"), f"not announced: {order}"
    if story is borrowed_anew_against_an_old_copy and not order.dies:
        assert scene.listed() == scene.gifts_of("pod-2") != set(), f"an old copy took it off: {order}"
    if story in (stale_release_against_the_next_gift, leak_against_the_next_gift) and not order.dies:
        assert scene.held_by("pod-2") == 1, f"a stale release took it: {order}"
