"""The allocator and the collector by the rules that an admin declares, one request after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ipam.allocator import Allocator, Given
from ipam.claims import claim
from ipam.collector import Collector
from ipam.errors import (
    AddressReserved,
    AddressTaken,
    IpamError,
    NoBlocksLeft,
    NoPool,
    NotInAPool,
    PoolExhausted,
    PoolNotUsable,
    StoreBusy,
    Unreadable,
)
from ipam.handles import handle_name
from ipam.leftovers import Leftover, Reading, leftovers
from ipam.requests import Declared, Request
from peering.resource import is_name
from peering.resources.ipam import Allocation, IPAMBlockSpec
from peering.store.protocol import Document, Stored, StoreError
from peering.store.resources import to_resource
from tests.unit.ipam_world import Rules, Running, SteppedStore, declare


class Cluster:
    """A store with nodes a, b and c, an allocator for each, and a clock."""

    def __init__(self, store: SteppedStore | None = None, **configuration: Any) -> None:
        self.store = store or SteppedStore()
        self.rules = Rules(self.store)
        self.now = 1_000_000.0
        for node in "abc":
            declare(self.store, "Node", node)
        if configuration:
            declare(self.store, "IPAMConfiguration", "default", **configuration)
        self.allocators = {node: Allocator(self.store, node, lambda: self.now) for node in "abc"}

    def pool(self, name: str = "pods", cidr: str = "10.0.0.0/29", size: int = 30, **spec: Any) -> None:
        declare(self.store, "IPPool", name, cidr=cidr, blockSize=size, **spec)

    def do(self, work: Any) -> Any:
        running = Running(work).finish()
        self.rules.check()
        if running.error is not None:
            raise running.error
        return running.answer

    def give(self, node: str, handle: str, **request: Any) -> list[str]:
        return [one.address for one in self.given(node, handle, **request)]

    def given(self, node: str, handle: str, **request: Any) -> list[Given]:
        found: list[Given] = self.do(self.allocators[node].allocate(Request(handle, **request)))
        return found

    def release(self, node: str, handle: str) -> list[str]:
        found: list[str] = self.do(self.allocators[node].release(handle))
        return found

    def fill(self, node: str, count: int, name: str = "fill") -> list[str]:
        return [self.give(node, f"{name}-{node}-{i}")[0] for i in range(count)]

    def owners(self) -> dict[str, str]:
        specs = [one.document["spec"] for one in self.store.all("IPAMBlock")]
        return {spec["cidr"]: spec.get("affinity", "") for spec in specs}

    def handles(self) -> set[str]:
        return {one.document["spec"]["handle"] for one in self.store.all("IPAMHandle")}


def test_a_request_that_is_repeated_gets_the_same_from_any_process() -> None:
    cluster = Cluster()
    cluster.pool()
    cluster.pool("six", "fd00::/125", 126)
    first = cluster.given("a", "pod", ipv4=2, ipv6=1)
    assert cluster.given("a", "pod", ipv4=2, ipv6=1) == first
    assert cluster.do(Allocator(cluster.store, "a").allocate(Request("pod", 2, 1))) == first
    assert [one.host_prefix.rpartition("/")[2] for one in first] == ["32", "32", "128"]
    assert cluster.release("b", "pod") == [one.address for one in first]
    assert cluster.release("b", "pod") == []
    assert cluster.handles() == set()


def test_a_handle_that_another_process_released_comes_back() -> None:
    """The copy of the block still shows the address as the handle's."""
    cluster = Cluster()
    cluster.pool()
    cluster.give("a", "pod")
    cluster.release("b", "pod")
    assert len(cluster.give("a", "pod")) == 1


def test_own_blocks_then_a_new_one_then_those_of_others() -> None:
    cluster = Cluster()
    cluster.pool(cidr="10.0.0.0/28")
    cluster.fill("b", 1)
    (of_b,) = cluster.owners()
    mine = cluster.fill("a", 12)
    assert not {one for one in mine if cluster_block(one) == of_b}
    assert list(cluster.owners().values()).count("host:a") == 3
    assert cluster_block(cluster.fill("a", 1, "more")[0]) == of_b
    assert cluster.fill("a", 2, "last")
    with pytest.raises(PoolExhausted, match=r"10\.0\.0\.0/28: add a pool, or wait"):
        cluster.give("a", "too-many")
    assert "too-many" not in cluster.handles()


def cluster_block(address: str) -> str:
    return f"10.0.0.{int(address.rsplit('.', 1)[1]) // 4 * 4}/30"


@pytest.mark.parametrize(
    ("configuration", "error", "said"),
    [
        ({"strictAffinity": True}, PoolExhausted, "allow nodes to borrow"),
        ({"strictAffinity": True, "maxBlocksPerHost": 1}, NoBlocksLeft, "Node/a has all 1 blocks of IPv4"),
        ({"strictAffinity": True, "autoAllocateBlocks": False}, PoolExhausted, "autoAllocateBlocks is off"),
    ],
)
def test_who_may_not_borrow(configuration: Document, error: type[IpamError], said: str) -> None:
    cluster = Cluster(**configuration)
    cluster.pool()
    cluster.do(claim(cluster.store, "b", "10.0.0.0/30", 0))
    cluster.do(claim(cluster.store, "a", "10.0.0.4/30", 0))
    assert sorted(cluster.fill("a", 4)) == [f"10.0.0.{i}" for i in range(4, 8)]
    with pytest.raises(error, match=said):
        cluster.give("a", "one-more")


def test_nodes_that_claim_no_blocks_use_those_they_have() -> None:
    cluster = Cluster(strictAffinity=True, autoAllocateBlocks=False)
    cluster.pool()
    cluster.do(claim(cluster.store, "a", "10.0.0.4/30", 0))
    cluster.fill("a", 4)
    with pytest.raises(PoolExhausted, match="autoAllocateBlocks is off"):
        cluster.give("a", "one-more")
    with pytest.raises(PoolExhausted, match=r"nobody has block 10\.0\.0\.0/30"):
        cluster.give("a", "one-more", addresses=("10.0.0.1",))
    assert list(cluster.owners()) == ["10.0.0.4/30"]


def test_at_the_cap_of_twenty_blocks_a_node_does_not_borrow() -> None:
    cluster = Cluster()
    cluster.pool(cidr="10.0.0.0/26", size=32)
    cluster.fill("a", 20)
    with pytest.raises(NoBlocksLeft, match="all 20 blocks"):
        cluster.give("a", "one-more")


def test_both_families_or_none() -> None:
    cluster = Cluster()
    cluster.pool()
    cluster.pool("six", "fd00::/127", 127)
    cluster.give("b", "x", ipv4=0, ipv6=2)
    with pytest.raises(PoolExhausted, match="IPv6"):
        cluster.give("a", "pod", ipv6=1)
    assert cluster.handles() == {"x"}
    held = cluster.give("a", "pod")
    with pytest.raises(PoolExhausted, match="IPv6"):
        cluster.give("a", "pod", ipv4=2, ipv6=1)
    assert cluster.give("a", "pod") == held, "what it held before stays"


def test_an_empty_block_of_another_is_taken_after_a_minute_but_not_its_last() -> None:
    cluster = Cluster(strictAffinity=True)
    cluster.pool()
    cluster.fill("a", 5)
    for i in range(5):
        cluster.release("a", f"fill-a-{i}")
    with pytest.raises(PoolExhausted):
        cluster.give("b", "pod")
    cluster.now += 61
    assert cluster.give("b", "pod")
    assert sorted(cluster.owners().values()) == ["host:a", "host:b"]
    cluster.now += 61
    with pytest.raises(PoolExhausted):
        cluster.give("c", "pod-c")
    assert cluster.give("a", "pod-a")


def test_an_address_by_its_name() -> None:
    cluster = Cluster()
    cluster.pool()
    cluster.pool("six", "fd00::/125", 126)
    declare(cluster.store, "IPReservation", "r", reservedCIDRs=["10.0.0.6/31"])
    assert cluster.give("a", "db", addresses=("10.0.0.5",), ipv6=1, namespace="prod", pod="db-0")[0] == "10.0.0.5"
    assert cluster.give("a", "db", addresses=("10.0.0.5",)) == ["10.0.0.5"]
    for node in "ab":
        with pytest.raises(AddressTaken, match=r"10\.0\.0\.5 is held by db, pod prod/db-0 on Node/a"):
            cluster.give(node, "other", addresses=("10.0.0.5",), ipv6=1)
    with pytest.raises(AddressReserved, match="IPReservation"):
        cluster.give("a", "other", addresses=("10.0.0.6",))
    with pytest.raises(NotInAPool, match="in no IPPool"):
        cluster.give("a", "other", addresses=("10.9.0.6",))
    assert cluster.handles() == {"db"}
    assert cluster.give("b", "other", addresses=("10.0.0.4",)) == ["10.0.0.4"]
    assert {*cluster.fill("a", 4)} & {"10.0.0.6", "10.0.0.7"} == set()


def test_an_address_in_the_block_of_another_when_affinity_is_strict() -> None:
    cluster = Cluster(strictAffinity=True)
    cluster.pool()
    cluster.do(claim(cluster.store, "b", "10.0.0.4/30", 0))
    with pytest.raises(AddressTaken, match="of host:b, not of a"):
        cluster.give("a", "pod", addresses=("10.0.0.5",))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"disabled": True}, "is disabled"),
        ({"nodeSelector": "has(gpu)"}, "does not select Node/a"),
        ({"namespaceSelector": "team == 'x'"}, "does not select the pod's namespace"),
        ({"allowedUses": ["Tunnel"]}, "not for pods"),
    ],
)
def test_pools_that_are_not_for_a_pod(spec: Document, said: str) -> None:
    cluster = Cluster()
    cluster.pool(**spec)
    with pytest.raises(NoPool):
        cluster.give("a", "pod")
    with pytest.raises(PoolNotUsable, match=said):
        cluster.give("a", "pod", ipv4_pools=("pods",))
    with pytest.raises(NotInAPool, match=said):
        cluster.give("a", "pod", addresses=("10.0.0.1",))
    assert cluster.owners() == {}
    assert cluster.handles() == set()


def test_pools_by_name_and_by_selectors() -> None:
    cluster = Cluster()
    cluster.pool("manual", "10.1.0.0/29", assignmentMode="Manual")
    cluster.pool("team", "10.2.0.0/29", namespaceSelector="team == 'x'")
    with pytest.raises(NoPool, match="Node/a and namespace default"):
        cluster.give("a", "pod-1", namespace="default")
    assert cluster.give("a", "pod-2", ipv4_pools=("manual",))[0].startswith("10.1.")
    assert cluster.give("a", "pod-3", namespace_labels={"team": "x"})[0].startswith("10.2.")
    with pytest.raises(PoolNotUsable, match="no IPPool/none of IPv4"):
        cluster.give("a", "pod-4", ipv4_pools=("none",))


def test_a_released_address_waits_for_its_cooldown() -> None:
    cluster = Cluster(ipCooldownSeconds=30)
    cluster.pool(cidr="10.0.0.0/30")
    cluster.fill("a", 4)
    cluster.release("a", "fill-a-2")
    cluster.now += 29
    with pytest.raises(PoolExhausted):
        cluster.give("a", "pod")
    cluster.now += 1
    assert cluster.give("a", "pod")


def test_a_release_of_an_old_gift_frees_nothing() -> None:
    cluster = Cluster()
    cluster.pool()
    (old,) = cluster.given("a", "pod", addresses=("10.0.0.1",))
    cluster.release("a", "pod")
    (new,) = cluster.given("a", "pod", addresses=("10.0.0.1",))
    assert not cluster.do(cluster.allocators["b"].release_address(old))
    assert cluster.give("a", "pod") == ["10.0.0.1"]
    assert cluster.do(cluster.allocators["b"].release_address(new))
    assert cluster.handles() == set()


class CountingStore(SteppedStore):
    """Notes what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def get(self, kind: str, name: str) -> Stored:
        self.asked.append(f"get {kind}")
        return await super().get(kind, name)

    async def snapshot(self, kinds: Any) -> Any:
        self.asked.append("list")
        return await super().snapshot(kinds)

    async def create(self, kind: str, name: str, document: Document) -> Stored:
        self.asked.append(f"create {kind}")
        return await super().create(kind, name, document)

    async def update(self, kind: str, name: str, document: Document, version: int | None = None) -> Stored:
        self.asked.append(f"update {kind}")
        return await super().update(kind, name, document, version)

    async def delete(self, kind: str, name: str, version: int | None = None) -> None:
        self.asked.append(f"delete {kind}")
        await super().delete(kind, name, version)


def test_most_requests_are_two_operations() -> None:
    store = CountingStore()
    cluster = Cluster(store)
    cluster.pool(cidr="10.0.0.0/26", size=26)
    declared = Declared.of("a", {}, _pools(store))
    cluster.give("a", "first")
    store.asked.clear()
    cluster.do(cluster.allocators["a"].allocate(Request("second"), declared))
    assert store.asked == ["create IPAMHandle", "update IPAMBlock"]
    store.asked.clear()
    cluster.release("a", "second")
    assert store.asked == ["update IPAMBlock", "delete IPAMHandle"]
    store.asked.clear()
    cluster.release("a", "second")
    assert store.asked == ["get IPAMHandle"]


def test_release_looks_again_when_the_handle_has_changed_since() -> None:
    """Another process gave it more, or has released it and given it anew."""
    cluster = Cluster()
    cluster.pool(cidr="10.0.0.0/28")
    cluster.give("a", "first")
    cluster.give("a", "pod")
    cluster.give("a", "third", ipv4=2)
    more = cluster.given("b", "pod", ipv4=2)
    assert len({one.block for one in more}) == 2
    assert sorted(cluster.release("a", "pod")) == sorted(one.address for one in more)
    assert cluster.handles() == {"first", "third"}
    cluster.give("a", "pod")
    cluster.release("b", "pod")
    anew = cluster.give("b", "pod")
    assert cluster.release("a", "pod") == anew
    assert cluster.handles() == {"first", "third"}


def _pools(store: SteppedStore) -> list[Any]:
    return [to_resource(one) for one in store.all("IPPool")]


class FailingStore(SteppedStore):
    """Does the write and then says that it failed, or loses every write of a block."""

    after: Callable[[str], bool] = staticmethod(lambda kind: False)
    busy = False

    async def update(self, kind: str, name: str, document: Document, version: int | None = None) -> Stored:
        if self.busy and kind == "IPAMBlock":
            self.put(kind, name, {**self.objects[kind, name].document, "metadata": {"name": name}})
        stored = await super().update(kind, name, document, version)
        if self.after(kind):
            self.after = lambda kind: False
            raise StoreError("time-out after the commit")
        return stored


def test_a_write_that_took_effect_and_failed_is_found_or_taken_back() -> None:
    """Found where the request goes on, taken back where it does not."""
    store = FailingStore()
    cluster = Cluster(store)
    cluster.pool()
    store.after = lambda kind: kind == "IPAMBlock"
    with pytest.raises(StoreError, match="time-out"):
        cluster.give("a", "pod")
    assert cluster.handles() == set()
    cluster.give("a", "first")
    store.after = lambda kind: kind == "IPAMBlock"
    assert cluster.give("a", "pod") == cluster.give("a", "pod")
    assert cluster.handles() == {"first", "pod"}


def test_a_block_that_always_changes_is_given_up_after_a_hundred_times() -> None:
    store = FailingStore()
    cluster = Cluster(store)
    cluster.pool()
    cluster.give("a", "first")
    store.busy = True
    with pytest.raises(StoreBusy, match="was changed by others 100 times in a row: try again"):
        cluster.give("a", "pod")


def test_a_reservation_that_cannot_be_read_stops_all() -> None:
    cluster = Cluster()
    cluster.pool()
    declare(cluster.store, "IPReservation", "r", reservedCIDRs=["10.0.0.6/31"], newer=True)
    with pytest.raises(Unreadable, match="no address is given while IPReservation/r cannot be read"):
        cluster.give("a", "pod")


def test_names_of_handles() -> None:
    assert handle_name("k8s-pod-network.0f3a") == "k8s-pod-network.0f3a"
    odd = [handle_name(text) for text in ("A_b", "a b", "sha256-x", "x" * 300)]
    assert len(set(odd)) == 4
    assert all(is_name(name) and name.startswith("sha256-") for name in odd)


# The collector


def collected(cluster: Cluster, collector: Collector, *moments: float) -> list[str]:
    return [freed.leftover.what for now in moments for freed in cluster.do(collector.collect(now))]


def leaking(cluster: Cluster, *gone: str) -> Collector:
    def is_gone(allocation: Allocation) -> bool:
        return allocation.pod in gone

    return Collector(cluster.store, 10, 100, is_gone, lambda: cluster.now)


def test_a_leak_is_freed_after_two_observations_and_its_grace() -> None:
    cluster = Cluster()
    cluster.pool()
    cluster.give("a", "h", pod="p")
    collector = leaking(cluster, "p")
    assert collected(cluster, collector, 0, 50, 99) == []
    assert collected(cluster, leaking(cluster, "p"), 1000) == [], "one observation is none"
    assert collected(cluster, collector, 100) == ["leak"]
    assert cluster.handles() == set()


def test_an_address_that_was_given_anew_is_no_leak() -> None:
    cluster = Cluster()
    cluster.pool()
    cluster.give("a", "h", pod="p", addresses=("10.0.0.1",))
    collector = leaking(cluster, "p")
    assert collected(cluster, collector, 0) == []
    cluster.release("a", "h")
    cluster.give("a", "h", pod="p", addresses=("10.0.0.1",))
    assert collected(cluster, collector, 150) == [], "another gift, so its grace begins"


def test_all_addresses_of_a_handle_leak_or_none() -> None:
    cluster = Cluster()
    cluster.pool()
    cluster.give("a", "h", pod="p")
    cluster.give("b", "h", ipv4=2, pod="q")
    assert collected(cluster, leaking(cluster, "p"), 0, 200, 400) == []
    assert collected(cluster, leaking(cluster, "p", "q"), 0, 200) == ["leak"]


def test_one_address_that_is_alive_keeps_the_others_of_its_handle() -> None:
    """As the reading finds it; and if the other address comes after the reading, as the release finds it."""
    used = IPAMBlockSpec(
        cidr="10.0.0.0/30",
        affinity="host:a",
        allocations=(
            Allocation(ordinal=0, handle="h", sequence=1, pod="gone"),
            Allocation(ordinal=1, handle="h", sequence=2, pod="alive"),
            Allocation(ordinal=2, handle="i", sequence=3, pod="gone"),
        ),
    )
    reading = Reading(0, {"a"}, blocks={used.cidr: used})
    leaks = [one for one in leftovers(reading, lambda a: a.pod == "gone") if one.what == "leak"]
    assert leaks == [Leftover("leak", handle="i", gifts=frozenset({("10.0.0.0/30", 2, 3)}))]

    cluster = Cluster()
    cluster.pool()
    cluster.give("a", "h", pod="p")
    collector = leaking(cluster, "p")
    assert collected(cluster, collector, 0) == []
    under_way = Running(collector.collect(200))
    under_way.step()
    cluster.give("b", "h", ipv4=2, pod="q")
    assert under_way.finish().answer == []
    assert len(cluster.give("b", "h", ipv4=2)) == 2


def test_a_reading_without_nodes_or_with_something_unreadable_frees_nothing() -> None:
    cluster = Cluster()
    cluster.pool()
    cluster.give("a", "h", pod="p")
    collector = leaking(cluster, "p")
    nodes = {key: one for key, one in cluster.store.objects.items() if key[0] == "Node"}
    for key in nodes:
        del cluster.store.objects[key]
    assert collected(cluster, collector, 0, 1000, 2000) == []
    cluster.store.objects.update(nodes)
    declare(cluster.store, "Node", "newer", unknownField=1)
    assert collected(cluster, collector, 3000, 4000, 5000) == []
    assert cluster.handles() == {"h"}


def test_the_pods_of_a_node_that_is_gone_keep_their_addresses_for_the_grace_of_leaks() -> None:
    cluster = Cluster()
    cluster.pool()
    (address,) = cluster.give("a", "h")
    del cluster.store.objects["Node", "a"]
    collector = leaking(cluster)
    assert collected(cluster, collector, 0, 11) == ["block-of-no-node"]
    assert cluster.owners() == {cluster_block(address): ""}
    assert cluster.release("b", "none") == []
    assert collected(cluster, collector, 99) == []
    assert collected(cluster, collector, 101, 102, 113) == ["leak", "block-of-nobody"]
    assert cluster.owners() == {}


@pytest.mark.parametrize(("kept", "owner"), [(1, "host:a"), (0, "")])
def test_a_block_whose_claim_somebody_deleted_stays_with_the_node_that_keeps_addresses_of_it(
    kept: int, owner: str
) -> None:
    cluster = Cluster()
    cluster.pool()
    (address,) = cluster.give("a", "h")
    objects = cluster.store.objects
    (block,) = [one for key, one in objects.items() if key[0] == "IPAMBlock"]
    block.document["spec"]["kept"] = kept
    (claim,) = [key for key in objects if key[0] == "BlockAffinity"]
    before = objects.pop(claim)
    assert collected(cluster, Collector(cluster.store, 10, clock=lambda: cluster.now), 0, 11) == ["block-of-nobody"]
    assert cluster.owners() == {cluster_block(address): owner}
    assert (claim in objects) == bool(owner)
    if owner:
        assert objects[claim].document["spec"] == before.document["spec"]


def test_a_spare_block_goes_and_the_last_of_each_pool_stays() -> None:
    cluster = Cluster()
    cluster.pool()
    cluster.pool("six", "fd00::/125", 126)
    cluster.give("a", "six", ipv4=0, ipv6=1)
    cluster.fill("a", 5)
    for handle in ("six", *(f"fill-a-{i}" for i in range(5))):
        cluster.release("a", handle)
    collector = leaking(cluster)
    assert collected(cluster, collector, 0, 20) == [], "empty for less than a minute"
    cluster.now += 61
    assert collected(cluster, collector, 40, 60, 80) == ["spare-block"]
    assert len(cluster.owners()) == 2


def test_an_address_of_an_older_version_gets_its_handle() -> None:
    cluster = Cluster()
    cluster.pool()
    cluster.do(claim(cluster.store, "a", "10.0.0.0/30", 0))
    document = {"cidr": "10.0.0.0/30", "affinity": "host:a", "allocations": [{"ordinal": 1, "handle": "old"}]}
    declare(cluster.store, "IPAMBlock", "10-0-0-0-30", **document)
    running = [Running(collector_run).finish() for collector_run in _twice(leaking(cluster))]
    assert [one.error for one in running] == [None, None]
    assert cluster.release("b", "old") == ["10.0.0.1"]


def _twice(collector: Collector) -> list[Any]:
    return [collector.collect(0), collector.collect(20)]
