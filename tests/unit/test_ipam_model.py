"""IPAM against a model: several nodes, any order of store operations, crashes between any two, clocks that jump.

`UNDERLAY_MODEL_EXAMPLES=2000` looks deeper than the suite does.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ipam.allocator import Allocator, Given
from ipam.block import node_of
from ipam.block_order import address_at
from ipam.claims import release_block
from ipam.collector import Collector
from ipam.documents import read_declared
from ipam.errors import IpamError, StoreBusy
from ipam.new_blocks import ensure_blocks
from ipam.requests import Request
from peering.resource import Resource, parse_resource
from peering.resources.ipam import BlockAffinitySpec, IPAMBlockSpec, IPAMHandleSpec
from tests.unit.ipam_world import Rules, Running, SteppedStore, declare

EXAMPLES = int(os.environ.get("UNDERLAY_MODEL_EXAMPLES", "80"))
STEPS = int(os.environ.get("UNDERLAY_MODEL_STEPS", "50"))
NODES = ("a", "b", "c")
PROCESSES = 5
HANDLES = tuple(f"pod-{i}" for i in range(6))
GRACE, LEAK_GRACE = 10.0, 20.0
#: How far somebody goes before the next rule: into the middle of something, or to its end.
AT_FIRST = st.sampled_from((1, 3, 6, 9, 13, 18, 1000, 1000))

POOLS = {
    "v4": {"cidr": "10.0.0.0/28", "blockSize": 30},
    "v6": {"cidr": "fd00::/125", "blockSize": 127},
}
#: Small blocks, so that nodes run out of them, borrow, and take from each other.


class Process:
    """One agent of a node: what it remembers, and what it is doing. Two of them may be of the same node."""

    def __init__(self, world: World, node: str) -> None:
        self.node = node
        self.allocator = Allocator(world.store, node, lambda: world.clock)
        self.running: Running | None = None
        self.requests: tuple[Request, ...] = ()


class World(RuleBasedStateMachine):
    """The rules start work, let one process go one step, kill it; the invariants hold at every moment between."""

    def __init__(self) -> None:
        super().__init__()
        self.store = SteppedStore()
        self.rules_of_store = Rules(self.store)
        self.clock = 1_000_000.0
        self.monotonic = 0.0
        self.given: dict[str, list[Given]] = {}
        self.collector: Collector | None = None
        self.collecting: Running | None = None
        self.gone: set[str] = set()

    @initialize(strict=st.booleans(), cooldown=st.sampled_from((0, 30)), most=st.sampled_from((0, 2)))
    def declare(self, strict: bool, cooldown: int, most: int) -> None:
        for name, spec in POOLS.items():
            declare(self.store, "IPPool", name, **spec)
        for node in NODES:
            declare(self.store, "Node", node)
        cap = {"maxBlocksPerHost": most} if strict else {}
        declare(self.store, "IPAMConfiguration", "default", strictAffinity=strict, ipCooldownSeconds=cooldown, **cap)
        self.processes = [Process(self, NODES[i % len(NODES)]) for i in range(PROCESSES)]
        self.collector = self._new_collector()

    # What processes begin

    @rule(
        who=st.integers(0, PROCESSES - 1),
        steps=AT_FIRST,
        handle=st.sampled_from(HANDLES),
        families=st.sampled_from(((1, 0), (1, 1), (2, 0), (0, 1))),
        sticky=st.none() | st.integers(0, 15),
    )
    def allocate(self, who: int, steps: int, handle: str, families: tuple[int, int], sticky: int | None) -> None:
        process = self.processes[who]
        if process.running is None:
            addresses = () if sticky is None else (f"10.0.0.{sticky}",)
            request = Request(handle, *families, "default", handle, addresses=addresses)
            process.requests = (request,)
            process.running = Running(self._allocate(process, request))
        self.go_on_with(who, steps)

    @rule(
        who=st.integers(0, PROCESSES - 1),
        steps=AT_FIRST,
        wishes=st.lists(
            st.tuples(
                st.sampled_from(HANDLES),
                st.sampled_from(((1, 0), (1, 0), (1, 1), (2, 1))),
                st.sampled_from((None, None, None, 3, 9)),
            ),
            min_size=2,
            max_size=5,
        ),
    )
    def allocate_together(self, who: int, steps: int, wishes: list[tuple[str, tuple[int, int], int | None]]) -> None:
        """A crowd, in which one handle may stand twice."""
        process = self.processes[who]
        if process.running is None:
            process.requests = tuple(
                Request(handle, *families, "default", handle, addresses=() if sticky is None else (f"10.0.0.{sticky}",))
                for handle, families, sticky in wishes
            )
            process.running = Running(self._allocate_together(process))
        self.go_on_with(who, steps)

    @rule(who=st.integers(0, PROCESSES - 1), steps=AT_FIRST, handle=st.sampled_from(HANDLES))
    def release(self, who: int, steps: int, handle: str) -> None:
        process = self.processes[who]
        if process.running is None:
            process.requests = ()
            process.running = Running(process.allocator.release(handle))
        self.go_on_with(who, steps)

    @rule(who=st.integers(0, PROCESSES - 1), steps=AT_FIRST, handle=st.sampled_from(HANDLES))
    def release_an_address(self, who: int, steps: int, handle: str) -> None:
        """Of what a request was told; it may be long out of date."""
        process = self.processes[who]
        if process.running is None and self.given.get(handle):
            process.requests = ()
            process.running = Running(self._release_stale(process, self.given[handle][0]))
        self.go_on_with(who, steps)

    @rule(who=st.integers(0, PROCESSES - 1), steps=AT_FIRST, give_up=st.integers(0, 3))
    def claim_or_release_a_block(self, who: int, steps: int, give_up: int) -> None:
        process = self.processes[who]
        if process.running is None:
            process.requests = ()
            own = [one.cidr for one in self._affinities() if one.node == process.node]
            if give_up < len(own):
                process.running = Running(release_block(self.store, process.node, own[give_up]))
            else:
                node, pools = self._resource("Node", process.node), self._pools()
                process.running = Running(ensure_blocks(self.store, node, pools, self.clock))
        self.go_on_with(who, steps)

    @rule(steps=AT_FIRST)
    def collect(self, steps: int) -> None:
        if self.collecting is None and self.collector is not None:
            self.collecting = Running(self.collector.collect(self.monotonic))
        self.go_on_with(PROCESSES, steps)

    # Who goes on, and who dies

    @rule(who=st.integers(0, PROCESSES), steps=AT_FIRST)
    def go_on(self, who: int, steps: int) -> None:
        self.go_on_with(who, steps)

    def go_on_with(self, who: int, steps: int) -> None:
        for _ in range(steps):
            running = self._running(who)
            if running is not None and not running.done:
                running.step()
                self.check()
        self._reap(who)

    @rule(who=st.integers(0, PROCESSES))
    def crash(self, who: int) -> None:
        """Wherever it is: before an operation took effect, or after it and before it heard of it."""
        running = self._running(who)
        if running is not None:
            running.kill()
        self._start_anew(who)

    # The world

    @rule(wall=st.sampled_from((1, 30, 70, 100_000, -100_000)), elapsed=st.sampled_from((0, 1, 11, 21)))
    def time_passes(self, wall: int, elapsed: int) -> None:
        self.clock += wall
        self.monotonic += elapsed

    @rule(handle=st.sampled_from(HANDLES))
    def pod_ends(self, handle: str) -> None:
        self.gone ^= {handle}

    @rule(node=st.sampled_from(NODES))
    def node_goes_or_comes(self, node: str) -> None:
        if ("Node", node) in self.store.objects and len(self.store.all("Node")) > 1:
            del self.store.objects["Node", node]
        else:
            declare(self.store, "Node", node)

    # What holds at every moment

    @invariant()
    def check(self) -> None:
        self.rules_of_store.check()

    # What holds at the end

    def teardown(self) -> None:
        if self.collector is not None:
            self._recover()
            self._nothing_is_lost()

    def _recover(self) -> None:
        """Everybody dies, every node starts anew; the pods that are left are released or found gone."""
        for who in range(PROCESSES + 1):
            self.crash(who)
        for node in NODES:
            declare(self.store, "Node", node)
        kept = set(HANDLES[:3])
        self.gone = set(HANDLES) - kept
        for process in self.processes:
            self._to_end(ensure_blocks, self.store, self._resource("Node", process.node), self._pools(), self.clock)
        self._collect_all()
        held = {a.handle for spec in self._blocks() for a in spec.allocations}
        assert held <= kept, f"leaked for good: {held - kept}"
        assert self._borrowed() <= self._listed(), "borrowed, and never announced"
        for handle in kept:
            Running(self.processes[0].allocator.release(handle)).finish()
        self._collect_all()
        self.check()

    def _collect_all(self) -> None:
        assert self.collector is not None
        for _ in range(8):
            self.clock += 3600
            self.monotonic += LEAK_GRACE + 1
            running = Running(self.collector.collect(self.monotonic)).finish()
            assert running.error is None, running.error

    def _nothing_is_lost(self) -> None:
        """Nothing is held, nothing is promised, every claim has its end, and all addresses can be given."""
        blocks = self._blocks()
        assert [a for spec in blocks for a in spec.allocations] == []
        assert self._handles() == []
        assert [one for one in self._of_blocks() if one.type == "borrower"] == []
        confirmed = {(one.node, one.cidr) for one in self._affinities() if one.state == "confirmed"}
        assert len(confirmed) == len(self._affinities()), "a claim that nobody finished"
        assert {(node_of(spec), spec.cidr) for spec in blocks} == confirmed, "blocks that nobody owns"
        of_pool = Counter((node, ":" in cidr) for node, cidr in confirmed)
        assert set(of_pool.values()) <= {1}, "a node keeps more than its last block"
        declare(self.store, "IPAMConfiguration", "default")
        taken: list[str] = []
        for number in range(16):
            running = Running(self.processes[0].allocator.allocate(Request(f"all-{number}"))).finish()
            assert running.error is None, running.error
            taken += [one.address for one in running.answer]
        assert sorted(taken) == sorted(f"10.0.0.{i}" for i in range(16)), "an address is lost for good"

    # Inside

    async def _allocate(self, process: Process, request: Request) -> list[list[Given]]:
        return [await process.allocator.allocate(request)]

    async def _allocate_together(self, process: Process) -> list[list[Given] | Exception]:
        declared = await read_declared(self.store, process.node)
        return await process.allocator.allocate_all(process.requests, declared)

    async def _release_stale(self, process: Process, given: Given) -> None:
        """Whoever has the address now by another gift keeps it."""
        await process.allocator.release_address(given)

    def _running(self, who: int) -> Running | None:
        return self.collecting if who == PROCESSES else self.processes[who].running

    def _reap(self, who: int) -> None:
        running = self._running(who)
        if running is None or not running.done:
            return
        self._is_no_surprise(running.error)
        if who == PROCESSES:
            self.collecting = None
            return
        process = self.processes[who]
        process.running = None
        if process.requests and running.error is None:
            for request, answer in zip(process.requests, running.answer, strict=True):
                if isinstance(answer, Exception):
                    self._is_no_surprise(answer)
                else:
                    self._check_answer(request, answer)
                    self._check_listed(process.node, answer)
                    self.given[request.handle] = answer

    def _is_no_surprise(self, error: Exception | None) -> None:
        assert error is None or isinstance(error, IpamError), repr(error)
        assert not isinstance(error, StoreBusy)

    def _check_answer(self, request: Request, answer: list[Given]) -> None:
        addresses = {one.address for one in answer}
        assert set(request.addresses) <= addresses
        for version in (4, 6):
            of_version = [one for one in addresses if (":" in one) is (version == 6)]
            assert len(of_version) >= request.count(version)

    def _check_listed(self, node: str, answer: list[Given]) -> None:
        """Who has an answer can announce it, while nobody is about to free it."""
        if all(self._running(who) is None for who in range(PROCESSES + 1)):
            told = {(node, one.address) for one in answer}
            assert told & self._borrowed() <= self._listed(), "told, and not announced"

    def _start_anew(self, who: int) -> None:
        if who == PROCESSES:
            self.collecting, self.collector = None, self._new_collector()
        else:
            self.processes[who] = Process(self, self.processes[who].node)

    def _new_collector(self) -> Collector:
        return Collector(self.store, GRACE, LEAK_GRACE, lambda a: a.pod in self.gone, lambda: self.clock)

    def _to_end(self, function: Any, *args: Any) -> None:
        running = Running(function(*args)).finish()
        assert running.error is None or isinstance(running.error, IpamError), repr(running.error)

    def _resource(self, kind: str, name: str) -> Resource:
        document = {"apiVersion": "underlay.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": {}}
        found = parse_resource(document)
        assert isinstance(found, Resource)
        return found

    def _pools(self) -> list[Resource]:
        return list(self._read("IPPool"))

    def _read(self, kind: str) -> Iterator[Resource]:
        for stored in self.store.all(kind):
            found = parse_resource(stored.document, "model", stored.version)
            assert isinstance(found, Resource), found
            yield found

    def _blocks(self) -> list[IPAMBlockSpec]:
        return [cast(IPAMBlockSpec, one.spec) for one in self._read("IPAMBlock")]

    def _affinities(self) -> list[BlockAffinitySpec]:
        return [one for one in self._of_blocks() if one.type == "host"]

    def _listed(self) -> set[tuple[str, str]]:
        """(node, address) of what nodes have borrowed, as far as it can be announced."""
        return {(one.node, a.address) for one in self._of_blocks() for a in one.addresses}

    def _borrowed(self) -> set[tuple[str, str]]:
        """(node, address) of what nodes have in blocks that are not their own."""
        held = ((spec, a) for spec in self._blocks() for a in spec.allocations if a.node != node_of(spec))
        return {(a.node, address_at(spec.cidr, a.ordinal)) for spec, a in held}

    def _of_blocks(self) -> list[BlockAffinitySpec]:
        return [cast(BlockAffinitySpec, one.spec) for one in self._read("BlockAffinity")]

    def _handles(self) -> list[IPAMHandleSpec]:
        return [cast(IPAMHandleSpec, one.spec) for one in self._read("IPAMHandle")]


World.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestWorld = World.TestCase
