"""Addresses in blocks of other nodes: what is listed for the speakers, when, and at what cost."""

from __future__ import annotations

from typing import Any

import pytest

from ipam.allocator import Allocator
from ipam.block_order import borrower_name
from ipam.claims import claim, confirmed_blocks, release_block
from ipam.collector import Collector
from ipam.errors import AddressTaken
from ipam.requests import Declared, Request
from peering.store.protocol import Document, Stored, StoreError
from peering.store.resources import to_resource
from tests.unit.ipam_world import SteppedStore, declare
from tests.unit.test_ipam_allocator import Cluster, CountingStore

BLOCK = "10.0.0.0/30"
LIST = ("BlockAffinity", borrower_name("b", BLOCK))


def cluster_of(store: SteppedStore | None = None, **configuration: Any) -> Cluster:
    """Node a owns the first of two blocks; b is to borrow from it."""
    cluster = Cluster(store, **configuration)
    cluster.pool()
    cluster.do(claim(cluster.store, "a", BLOCK, 0))
    return cluster


def listed(cluster: Cluster) -> dict[str, list[str]]:
    """Node -> what its speaker announces by itself."""
    specs = [one.document["spec"] for one in cluster.store.all("BlockAffinity")]
    borrowers = [spec for spec in specs if spec.get("type") == "borrower"]
    return {spec["node"]: [a["address"] for a in spec.get("addresses", ())] for spec in borrowers}


def test_what_is_borrowed_is_listed_until_it_is_released() -> None:
    cluster = cluster_of()
    cluster.give("b", "pod-1", addresses=("10.0.0.2",))
    cluster.give("b", "pod-2", addresses=("10.0.0.1",))
    cluster.give("b", "pod-3")
    cluster.give("a", "pod-4")
    assert listed(cluster) == {"b": ["10.0.0.1", "10.0.0.2"]}
    cluster.release("c", "pod-2")
    assert listed(cluster) == {"b": ["10.0.0.2"]}
    (given,) = cluster.given("b", "pod-1", addresses=("10.0.0.2",))
    assert cluster.do(cluster.allocators["c"].release_address(given))
    assert listed(cluster) == {}
    assert cluster.do(confirmed_blocks(cluster.store, "b")) == ["10.0.0.4/30"], "a list is no claim"


def test_a_node_without_room_borrows_and_others_do_not_share_its_list() -> None:
    cluster = cluster_of()
    cluster.fill("c", 4)
    assert cluster.owners() == {BLOCK: "host:a", "10.0.0.4/30": "host:c"}
    one, other = cluster.give("b", "pod")[0], cluster.give("c", "pod-c")[0]
    assert listed(cluster) == {"b": [one], "c": [other]}


def test_a_pod_that_asks_for_an_address_of_another_nodes_block() -> None:
    strict = cluster_of(strictAffinity=True)
    with pytest.raises(AddressTaken, match="of host:a, not of b"):
        strict.give("b", "pod", addresses=("10.0.0.1",))
    assert (listed(strict), strict.handles()) == ({}, set())


def counted() -> tuple[Cluster, CountingStore, Declared]:
    store = CountingStore()
    cluster = cluster_of(store)
    pools = [found for found in map(to_resource, store.all("IPPool")) if not isinstance(found, list)]
    store.asked.clear()
    return cluster, store, Declared.of("b", {}, pools)


def test_to_borrow_is_three_operations_more_and_only_that() -> None:
    """The address of its own block is the measure: the same request, and no list is looked at."""
    cluster, store, declared = counted()
    cluster.do(claim(store, "b", "10.0.0.4/30", 0))
    store.asked.clear()
    of_lists: dict[str, list[str]] = {}
    others: list[list[str]] = []

    def count(what: str) -> None:
        of_lists[what] = [one for one in store.asked if "BlockAffinity" in one]
        others.append([one for one in store.asked if "BlockAffinity" not in one])
        store.asked.clear()

    addresses = {"own": "10.0.0.5", "first": "10.0.0.1", "next": "10.0.0.2"}
    for what, address in addresses.items():
        cluster.do(cluster.allocators["b"].allocate(Request(what, addresses=(address,)), declared))
        count(what)
    read, made, written = "get BlockAffinity", "create BlockAffinity", "update BlockAffinity"
    assert of_lists == {"own": [], "first": [read, made, written], "next": [read, written]}
    assert others[0] == others[1] == others[2]
    others.clear()
    for what in addresses:
        cluster.release("b", what)
        count(what)
    assert of_lists == {"own": [], "first": [read, written], "next": [read, "delete BlockAffinity"]}
    assert others[0] == others[1] == others[2]


class Dying(SteppedStore):
    """The store goes away with the first write of a kind, after it took effect or before."""

    dies_at = ""

    async def update(self, kind: str, name: str, document: Document, version: int | None = None) -> Stored:
        if kind == self.dies_at:
            raise StoreError("away")
        return await super().update(kind, name, document, version)


def test_an_address_that_cannot_be_listed_is_given_back() -> None:
    store = Dying()
    cluster = cluster_of(store)
    store.dies_at = "BlockAffinity"
    with pytest.raises(StoreError):
        cluster.give("b", "pod", addresses=("10.0.0.1",))
    store.dies_at = ""
    assert cluster.handles() == set()
    assert listed(cluster) == {}


def forget(cluster: Cluster, *gifts: Document) -> None:
    """As if the process had died before it listed the address."""
    stored = cluster.store.objects[LIST]
    spec = {**stored.document["spec"], "addresses": list(gifts)}
    cluster.store.put(*LIST, {**stored.document, "spec": spec})


def test_who_asks_again_finds_it_listed() -> None:
    cluster = cluster_of()
    cluster.give("b", "pod", addresses=("10.0.0.1",))
    forget(cluster)
    assert cluster.do(Allocator(cluster.store, "b").allocate(Request("pod"))) != []
    assert listed(cluster) == {"b": ["10.0.0.1"]}


def collect(cluster: Cluster) -> list[str]:
    collector = Collector(cluster.store, grace=10, clock=lambda: cluster.now)
    assert cluster.do(collector.collect(0)) == []
    return [one.said for one in cluster.do(collector.collect(11))]


def test_the_collector_lists_what_is_missing_and_takes_off_what_nobody_has() -> None:
    cluster = cluster_of()
    cluster.give("b", "pod-1", addresses=("10.0.0.1",))
    forget(cluster)
    assert collect(cluster) == [
        "Node/b had more addresses of block 10.0.0.0/30 listed than it has borrowed",
        "Node/b has addresses in block 10.0.0.0/30 that were not listed: 1 are now",
    ]
    assert listed(cluster) == {"b": ["10.0.0.1"]}
    assert collect(cluster) == []
    (held,) = cluster.store.objects[LIST].document["spec"]["addresses"]
    block = cluster.store.objects["IPAMBlock", "10-0-0-0-30"]
    cluster.store.put(*LIST, {**cluster.store.objects[LIST].document, "spec": {
        "node": "b", "cidr": BLOCK, "type": "borrower", "addresses": [held, {"address": "10.0.0.3", "sequence": 9}],
    }})  # fmt: skip
    collector = Collector(cluster.store, grace=0, clock=lambda: cluster.now)
    for now in (0, 1):
        running = collector.collect(now)
        cluster.rules = type(cluster.rules)(SteppedStore())  # the list is wrong, and rules say so
        cluster.do(running)
    assert listed(cluster) == {"b": ["10.0.0.1"]}
    assert cluster.store.objects["IPAMBlock", "10-0-0-0-30"] == block


def test_an_empty_list_that_a_crash_left_goes() -> None:
    cluster = cluster_of()
    declare(cluster.store, *LIST, node="b", cidr=BLOCK, type="borrower")
    assert collect(cluster) == ["Node/b had more addresses of block 10.0.0.0/30 listed than it has borrowed"]
    assert listed(cluster) == {}


def test_what_a_node_keeps_in_a_block_that_lost_its_owner_is_listed() -> None:
    """At once when the pod's request is repeated, else by the collector; and nothing of a node that is gone."""
    cluster = cluster_of()
    cluster.give("a", "pod-1", addresses=("10.0.0.1",))
    cluster.give("b", "pod-2", addresses=("10.0.0.2",))
    cluster.do(release_block(cluster.store, "a", BLOCK))
    assert listed(cluster) == {"b": ["10.0.0.2"]}
    cluster.give("a", "pod-1", addresses=("10.0.0.1",))
    assert listed(cluster) == {"a": ["10.0.0.1"], "b": ["10.0.0.2"]}
    del cluster.store.objects["BlockAffinity", borrower_name("a", BLOCK)]
    collect(cluster)
    assert listed(cluster) == {"a": ["10.0.0.1"], "b": ["10.0.0.2"]}
    del cluster.store.objects["BlockAffinity", borrower_name("a", BLOCK)]
    del cluster.store.objects["Node", "a"]
    collect(cluster)
    assert listed(cluster) == {"b": ["10.0.0.2"]}


def test_a_block_that_comes_to_its_borrower_keeps_the_list_until_the_address_is_free() -> None:
    cluster = cluster_of()
    cluster.give("b", "pod", addresses=("10.0.0.1",))
    cluster.do(release_block(cluster.store, "a", BLOCK))
    cluster.do(claim(cluster.store, "b", BLOCK, 0))
    assert listed(cluster) == {"b": ["10.0.0.1"]}
    cluster.release("b", "pod")
    assert listed(cluster) == {}
