"""Addresses of load balancers: what a Service asks for, what follows, and what the rest of IPAM makes of its blocks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from ipam.allocator import Allocator
from ipam.block import node_of
from ipam.block_order import affinity_name
from ipam.claims import affinities_of, confirmed_blocks
from ipam.collector import Collector
from ipam.documents import block_of, read_block, read_rules
from ipam.errors import AddressTaken, BadAnnotation, NoPool, NotInAPool, PoolExhausted, PoolNotUsable
from ipam.leftovers import Reading, leftovers
from ipam.load_balancers import Claim, Decision, claims_of, decide, outcome, wanted_by
from ipam.new_blocks import ensure_blocks
from ipam.owners import LOAD_BALANCERS, affinity_of, claimant, is_node, owner_in, shown
from ipam.requests import Declared, Request
from ipam.service_addresses import ServiceAddresses
from ipam.service_wishes import CLASS, Wish, handle_of, service_of, wish_of
from peering.compile import plan
from peering.resource import Resource, parse_resource
from peering.resources.ipam import BlockAffinitySpec
from peering.resources.services import ServiceSpec
from peering.snapshot import Snapshot
from peering.store.protocol import Stored, StoreError
from peering.store.resources import load, put
from peering.store.sqlite import SqliteStore
from tests.unit.declarations import configuration
from tests.unit.samples import dual_tor
from underlay import ipam_check, ipam_release, ipam_view

POOLS: dict[str, dict[str, Any]] = {
    "public": {"cidr": "198.51.100.0/29", "blockSize": 30, "allowedUses": ["LoadBalancer"]},
    "public-v6": {"cidr": "2001:db8::/122", "allowedUses": ["LoadBalancer"]},
    "named": {"cidr": "203.0.113.0/30", "blockSize": 30, "allowedUses": ["LoadBalancer"], "assignmentMode": "Manual"},
    "pods": {"cidr": "10.0.0.0/26", "blockSize": 28},
}


def ours(kind: str, name: str, **spec: Any) -> Resource:
    document = {"apiVersion": "underlay.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    found = parse_resource(document)
    assert isinstance(found, Resource), found
    return found


def service(name: str = "web", annotations: dict[str, Any] | None = None, **spec: Any) -> Resource:
    """With the annotations of Calico, as JSON unless they are texts."""
    written = {
        f"projectcalico.org/{key}": value if isinstance(value, str) else json.dumps(value)
        for key, value in (annotations or {}).items()
    }
    document = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "shop", "annotations": written},
        "spec": {"type": "LoadBalancer", "loadBalancerClass": CLASS, "ipFamilies": ["IPv4"], **spec},
    }
    found = parse_resource(document)
    assert isinstance(found, Resource), found
    return found


DECLARED = Declared.for_load_balancers([ours("IPPool", name, **spec) for name, spec in POOLS.items()])
BOTH: dict[str, Any] = {"ipFamilies": ["IPv6", "IPv4"], "ipFamilyPolicy": "PreferDualStack"}


# Owners


def test_owners_are_named_as_calico_names_them() -> None:
    for owner, said in (("node-1", "host:node-1"), (LOAD_BALANCERS, "virtual:load-balancer"), ("", "")):
        assert (affinity_of(owner), owner_in(said)) == (said, owner)
    assert owner_in("virtual:something-else") == ""
    assert [is_node(one) for one in ("node-1", LOAD_BALANCERS, "")] == [True, False, False]
    assert (shown("node-1"), shown(LOAD_BALANCERS)) == ("Node/node-1", "the load balancer")


def test_a_node_called_as_the_load_balancer_is_another_owner() -> None:
    names = {affinity_name(owner, "10.0.0.0/28") for owner in ("load-balancer", LOAD_BALANCERS)}
    assert names == {"load-balancer-10-0-0-0-28", "load-balancer-10-0-0-0-28-virtual"}
    kinds = ("host", "virtual", "borrower")
    found = [claimant(BlockAffinitySpec(node="load-balancer", cidr="10.0.0.0/28", type=kind)) for kind in kinds]
    assert found == ["load-balancer", LOAD_BALANCERS, ""]


def test_handles_of_two_services_are_never_the_same() -> None:
    assert handle_of("a-b.c") != handle_of("a.b-c")
    assert service_of(handle_of("shop.web")) == "shop.web"
    assert service_of("k8s-pod-network.abc") == ""


# What is asked for


@pytest.mark.parametrize(
    ("spec", "versions", "needs_all"),
    [
        ({"ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}, (4,), False),
        (BOTH, (6, 4), False),
        ({"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack"}, (4, 6), True),
        ({"ipFamilies": None, "clusterIPs": ["fd00::1"]}, (6,), False),
        ({"ipFamilies": None}, (4,), False),
    ],
)
def test_an_address_of_each_family(spec: dict[str, Any], versions: tuple[int, ...], needs_all: bool) -> None:
    wish = wish_of(service(**spec), DECLARED)
    assert (wish.versions, wish.needs_all, dict(wish.addresses), dict(wish.pools)) == (versions, needs_all, {}, {})


def test_the_annotation_names_all_addresses_and_the_field_one_of_them() -> None:
    wish = wish_of(
        service(annotations={"loadBalancerIPs": ["2001:DB8::7"]}, loadBalancerIP="198.51.100.1", **BOTH), DECLARED
    )
    assert (wish.versions, wish.addresses) == ((6,), {6: "2001:db8::7"})
    wish = wish_of(service(loadBalancerIP="198.51.100.1", **BOTH), DECLARED)
    assert (wish.versions, wish.addresses) == ((6, 4), {4: "198.51.100.1"})


def test_pools_are_named_or_given_by_their_cidr() -> None:
    wish = wish_of(service(annotations={"ipv4pools": ["203.0.113.0/30", "public"], "ipv6pools": ["other"]}), DECLARED)
    assert wish.pools == {4: ("named", "public"), 6: ("other",)}


def test_our_own_annotation_goes_before_calicos() -> None:
    found = service(annotations={"ipv4pools": ["public"]})
    both = Resource(found.kind, found.name, found.spec, {}, {**found.annotations, "underlay.io/ipv4pools": '["named"]'})
    assert wish_of(both, DECLARED).pools == {4: ("named",)}


@pytest.mark.parametrize(
    ("annotations", "spec", "said"),
    [
        ({"loadBalancerIPs": "198.51.100.1"}, {}, "no list of texts"),
        ({"ipv4pools": {"public": 1}}, {}, "no list of texts"),
        ({"ipv6pools": [1]}, {}, "no list of texts"),
        ({"loadBalancerIPs": ["web.example"]}, {}, "no IP address"),
        ({}, {"loadBalancerIP": "web.example"}, "no IP address"),
        ({"loadBalancerIPs": ["198.51.100.1", "198.51.100.2"]}, {}, "one IPv4 address"),
        ({"loadBalancerIPs": ["2001:db8::1"]}, {}, "has no IPv6"),
    ],
)
def test_what_cannot_be_meant_is_told(annotations: dict[str, Any], spec: dict[str, Any], said: str) -> None:
    with pytest.raises(BadAnnotation, match=said):
        wish_of(service(annotations=annotations, **spec), DECLARED)


def test_odd_fields_of_a_service_are_read_over() -> None:
    spec = service(ipFamilies=["IPv4", "IPv9", 4], ipFamilyPolicy="Some", loadBalancerIP="a\nb").spec
    assert isinstance(spec, ServiceSpec)
    assert (spec.ip_families, spec.ip_family_policy, spec.load_balancer_ip) == (("IPv4",), "SingleStack", None)


# What follows


def claim(address: str, sequence: int = 1, of: str = "shop.web") -> Claim:
    return Claim(of, address, "block", sequence)


def wish(versions: tuple[int, ...] = (4,), **more: Any) -> Wish:
    return Wish("shop.web", versions, **more)


def asked(decision: Decision) -> list[tuple[int, int, tuple[str, ...]]]:
    return [(ask.request.ipv4, ask.request.ipv6, ask.request.addresses) for ask in decision.asks]


def test_what_is_held_is_kept_and_what_is_missing_asked_for() -> None:
    found = decide(wish((4, 6)), [claim("198.51.100.1")], ("198.51.100.1",), DECLARED)
    assert ([one.address for one in found.kept], found.old, asked(found)) == (["198.51.100.1"], (), [(0, 1, ())])


def test_families_are_asked_for_together_only_where_both_are_needed() -> None:
    assert asked(decide(wish((4, 6)), [], (), DECLARED)) == [(1, 0, ()), (0, 1, ())]
    assert asked(decide(wish((4, 6), needs_all=True), [], (), DECLARED)) == [(1, 1, ())]


@pytest.mark.parametrize(
    ("more", "address", "stays"),
    [
        ({}, "198.51.100.1", True),
        ({}, "203.0.113.1", False),
        ({}, "192.0.2.1", True),
        ({}, "2001:db8::1", False),
        ({"pools": {4: ("named",)}}, "203.0.113.1", True),
        ({"pools": {4: ("named",)}}, "198.51.100.1", False),
        ({"addresses": {4: "203.0.113.1"}}, "203.0.113.1", True),
        ({"addresses": {4: "203.0.113.1"}}, "203.0.113.2", False),
    ],
)
def test_an_address_stays_while_the_wish_allows_it(more: dict[str, Any], address: str, stays: bool) -> None:
    """One whose pool is gone stays, one of a pool that has to be named goes."""
    found = decide(wish(**more), [claim(address)], (address,), DECLARED)
    assert [one.address for one in found.kept] == [address] * stays
    assert [one.address for one in found.old] == [address] * (not stays)


def test_the_address_that_is_told_wins_over_another_that_is_held() -> None:
    two = [claim("198.51.100.1", 1), claim("198.51.100.2", 2)]
    found = decide(wish(), two, ("198.51.100.2",), DECLARED)
    assert outcome(found, [], {}).told == ("198.51.100.2",)
    assert [one.address for one in outcome(found, [], {}).released] == ["198.51.100.1"]


def test_an_old_address_is_kept_until_there_is_a_new_one() -> None:
    found = decide(wish(addresses={4: "198.51.100.2"}), [claim("198.51.100.1")], ("198.51.100.1",), DECLARED)
    assert asked(found) == [(2, 0, ("198.51.100.2",))]
    assert outcome(found, [], {}) == outcome(found, [], {"198.51.100.1": "shop.web"})
    assert (outcome(found, [], {}).told, outcome(found, [], {}).released) == (("198.51.100.1",), ())
    after = outcome(found, [claim("198.51.100.2", 2)], {})
    assert (after.told, [one.address for one in after.released]) == (("198.51.100.2",), ["198.51.100.1"])


def test_an_old_address_goes_at_once_to_who_asks_for_it_by_itself() -> None:
    other = Wish("shop.api", (4,), addresses={4: "198.51.100.1"})
    mine = wish(addresses={4: "198.51.100.2"})
    found = decide(mine, [claim("198.51.100.1")], ("198.51.100.1",), DECLARED)
    after = outcome(found, [], wanted_by([mine, other]))
    assert (after.told, [one.address for one in after.released]) == ((), ["198.51.100.1"])


def test_a_family_that_is_wanted_no_more_is_released() -> None:
    told = "198.51.100.1", "2001:db8::1"
    found = decide(wish((6,)), [claim(one) for one in told], told, DECLARED)
    after = outcome(found, [], {})
    assert (after.told, [one.address for one in after.released]) == (("2001:db8::1",), ["198.51.100.1"])


def test_the_preferred_family_is_told_first() -> None:
    got = [claim("198.51.100.1"), claim("2001:db8::1")]
    for versions in ((4, 6), (6, 4)):
        told = outcome(decide(wish(versions), [], (), DECLARED), got, {}).told
        assert [":" in one for one in told] == [one == 6 for one in versions]


def test_what_was_told_and_is_not_held_is_asked_for_again() -> None:
    def first(told: str, **more: Any) -> tuple[str, ...]:
        (ask,) = decide(wish(), [], (told,), DECLARED, **more).asks
        assert ask.otherwise is None or ask.otherwise.addresses == ()
        return ask.request.addresses

    assert first("198.51.100.3") == ("198.51.100.3",)
    assert first("198.51.100.3", held={"198.51.100.3"}) == (), "it is another's"
    assert first("192.0.2.9") == (), "it is in no pool"
    assert first("203.0.113.1") == (), "its pool has to be named"


def test_what_is_held_and_was_never_told_is_asked_for_once_more() -> None:
    """What blocks say may be old: by now it may be another's."""
    found = decide(wish((4, 6)), [claim("198.51.100.1"), claim("2001:db8::1")], ("2001:db8::1",), DECLARED)
    assert asked(found) == [(1, 0, ("198.51.100.1",))]
    assert [ask.otherwise.addresses for ask in found.asks if ask.otherwise] == [()]
    assert outcome(found, [], {}).told == ("2001:db8::1",)


def test_who_needs_both_families_is_told_both_or_what_it_was_told_before() -> None:
    one = claim("198.51.100.1")
    for told in ((), ("198.51.100.1",)):
        found = decide(wish((4, 6), needs_all=True), [one], told, DECLARED)
        assert outcome(found, [one], {}).told == told
        assert len(outcome(found, [one, claim("2001:db8::1")], {}).told) == 2


def test_only_gifts_of_load_balancers_are_claims_of_services() -> None:
    block = {"ordinal": 1, "sequence": 5}
    held = [
        {**block, "handle": "lb.shop.web", "node": LOAD_BALANCERS},
        {**block, "ordinal": 2, "handle": "lb.shop.web", "node": "node-1"},
        {**block, "ordinal": 3, "handle": "net.abc", "node": LOAD_BALANCERS},
    ]
    spec = block_of(ours("IPAMBlock", "b", cidr="198.51.100.0/30", allocations=held))
    assert claims_of([spec]) == {"shop.web": [Claim("shop.web", "198.51.100.1", "198.51.100.0/30", 5)]}


# What follows for the fabric


def test_a_pool_of_services_is_accepted_by_its_range_and_no_blocks_of_it_are() -> None:
    pool = ours("IPPool", "public", cidr="198.51.100.0/24", allowedUses=["LoadBalancer"])
    told = configuration(serviceLoadBalancerIPs=[{"cidr": "198.51.100.0/24"}])
    others = [one for one in dual_tor() if one.kind != "BGPConfiguration"]
    for declared, accepted in (([pool, told], {24, 32}), ([pool], set[int]())):
        found = plan(Snapshot([*others, *declared]))
        switch = found.switches["tor-1a"]
        for rules in (switch.accept, switch.announce):
            lengths = {(one.min_length, one.max_length) for one in rules if one.cidr == pool_cidr(pool)}
            assert lengths == {(length, length) for length in accepted}
        assert [one for one in (*switch.send, *found.speakers["node-1"].imports) if one.cidr == pool_cidr(pool)] == []
        assert "pool-overlap" not in {one.code for one in found.problems}


def pool_cidr(pool: Resource) -> str:
    return str(pool.to_document()["spec"]["cidr"])


# In the store


def on_store(folder: Path, story: Callable[[SqliteStore], Awaitable[None]]) -> None:
    async def told() -> None:
        store = SqliteStore(folder / "store.db")
        try:
            await story(store)
        finally:
            await store.close()

    asyncio.run(told())


async def declare(store: SqliteStore, **pools: dict[str, Any]) -> None:
    for node in ("node-1", "node-2"):
        await put(store, ours("Node", node))
    for name, spec in (pools or POOLS).items():
        await put(store, ours("IPPool", name, **spec))


async def allocate(store: SqliteStore, name: str, **more: Any) -> list[str]:
    declared = Declared.for_load_balancers(await read_rules(store))
    allocator = Allocator(store, LOAD_BALANCERS)
    return [one.address for one in await allocator.allocate(Request(handle_of(name), **more), declared)]


def test_services_get_addresses_of_their_pools_and_pods_never_do(tmp_path: Path) -> None:
    async def story(store: SqliteStore) -> None:
        await declare(store)
        pools = [one for one in await read_rules(store) if one.kind == "IPPool"]
        (block,) = await ensure_blocks(store, ours("Node", "node-1"), pools)
        assert block.startswith("10.0.0.")
        found = await allocate(store, "shop.web", ipv6=1)
        assert [one.rpartition(".")[0] or one[:9] for one in found] == ["198.51.100", "2001:db8:"]
        pods = Allocator(store, "node-1")
        for pool in ("public", "named"):
            with pytest.raises(PoolNotUsable, match="is for LoadBalancer, not for pods"):
                await pods.allocate(Request("pod", ipv4_pools=(pool,)))
        with pytest.raises(NotInAPool, match="not for pods"):
            await pods.allocate(Request("pod", addresses=("198.51.100.7",)))
        for number in range(4 * 16):
            (given,) = await pods.allocate(Request(f"pod-{number}"))
            assert given.address.startswith("10.0.0.")
        with pytest.raises(PoolExhausted):
            await pods.allocate(Request("one-more"))
        with pytest.raises(PoolNotUsable, match="is for Tunnel, Workload, not for Services"):
            await allocate(store, "shop.api", ipv4_pools=("pods",))

    on_store(tmp_path, story)


def test_pods_do_not_borrow_from_the_blocks_of_services(tmp_path: Path) -> None:
    """Of a pool that was made one for pods while Services have addresses of it."""

    async def story(store: SqliteStore) -> None:
        await declare(store, public={"cidr": "198.51.100.0/30", "blockSize": 30, "allowedUses": ["LoadBalancer"]})
        await allocate(store, "shop.web")
        await put(store, ours("IPPool", "public", cidr="198.51.100.0/30", blockSize=30))
        pods = Allocator(store, "node-1")
        with pytest.raises(PoolExhausted):
            await pods.allocate(Request("pod"))
        with pytest.raises(AddressTaken, match="virtual:load-balancer"):
            await pods.allocate(Request("pod", addresses=("198.51.100.3",)))

    on_store(tmp_path, story)


def test_services_have_neither_the_caps_nor_the_affinity_of_nodes(tmp_path: Path) -> None:
    async def story(store: SqliteStore) -> None:
        await declare(store)
        limits = {"strictAffinity": True, "autoAllocateBlocks": False, "maxBlocksPerHost": 1}
        await put(store, ours("IPAMConfiguration", "default", **limits))
        found = {(await allocate(store, f"shop.web-{number}"))[0] for number in range(8)}
        assert len(found) == 8
        with pytest.raises(PoolExhausted, match=r"for the load balancer in .* add a pool with allowedUses"):
            await allocate(store, "shop.web-8")
        await put(store, ours("IPPool", "public", **POOLS["public"], disabled=True))
        with pytest.raises(NoPool, match=r"the load balancer and namespace shop: make one with allowedUses: \[Loa"):
            await allocate(store, "shop.web-8", namespace="shop")

    on_store(tmp_path, story)


@pytest.mark.parametrize("keeps_doubtful", [True, False])
def test_what_a_failing_store_may_have_given_stays_with_the_handle(keeps_doubtful: bool, tmp_path: Path) -> None:
    """Another controller may have told it. Of a pod nobody else asks, so its request takes it back."""

    async def story(store: SqliteStore) -> None:
        await declare(store)
        update, failed = store.update, list[str]()

        async def late(kind: str, *arguments: Any) -> Stored:
            stored = await update(kind, *arguments)
            if kind == "IPAMBlock" and not failed:
                failed.append(kind)
                raise StoreError("the answer was lost")
            return stored

        store.update = late  # type: ignore[assignment,method-assign]
        declared = Declared.for_load_balancers(await read_rules(store))
        allocator = Allocator(store, LOAD_BALANCERS, keeps_doubtful=keeps_doubtful)
        with pytest.raises(StoreError):
            await allocator.allocate(Request(handle_of("shop.web")), declared)
        blocks = [block_of(one) for one in (await load(store, ["IPAMBlock"]))[0]]
        assert len(claims_of(blocks).get("shop.web", ())) == keeps_doubtful

    on_store(tmp_path, story)


def test_a_controller_keeps_what_is_in_doubt(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    assert ServiceAddresses(store, print)._allocator._keeps_doubtful
    asyncio.run(store.close())


def test_nothing_of_services_is_left_over(tmp_path: Path) -> None:
    """The collector frees nothing of what they hold, and no check nor release takes it for a leak."""

    async def story(store: SqliteStore) -> None:
        await declare(store)
        (address,) = await allocate(store, "shop.web")
        (cidr,) = await confirmed_blocks(store, LOAD_BALANCERS)
        (affinity,) = await affinities_of(store, LOAD_BALANCERS)
        assert affinity.to_document()["spec"] == {
            "node": "load-balancer", "type": "virtual", "cidr": cidr, "state": "confirmed",
        }  # fmt: skip
        resources, _, _ = await load(store, ipam_check.KINDS)
        assert leftovers(Reading.of(resources, 1e9), lambda a: True) == []
        range_ = ipam_check.Announced("node-1", "198.51.100.0/29", "tor-1")
        one = ipam_check.Announced("node-2", f"{address}/32", "tor-1")
        assert ipam_check.judge(resources, [range_, one], 1e9) == ()
        (holding,) = await ipam_release.holdings(store, lambda given, handle: given.address == address)
        assert holding.lives
        assert holding.line.endswith("is held by lb.shop.web")
        rows = ipam_view.table_rows(ipam_view.block_rows((await load(store, ["IPAMBlock", "BlockAffinity"]))[0]))
        assert rows[0][:4] == (cidr, "virtual:load-balancer", "confirmed", "1/4")
        assert (rows[1][1], rows[1][4], rows[1][6]) == ("", address, "lb.shop.web")
        collector = Collector(store, 1.0, 1.0, gone=lambda a: True, clock=lambda: 1e9)
        for now in range(0, 100, 10):
            assert await collector.collect(float(now)) == []

    on_store(tmp_path, story)


@pytest.mark.parametrize(("allocated", "claimed"), list(product((True, False), repeat=2)))
def test_blocks_of_services_are_tidied_as_those_of_nodes(allocated: bool, claimed: bool, tmp_path: Path) -> None:
    """A claim that is missing is made again; an empty block without a pool goes."""

    async def story(store: SqliteStore) -> None:
        await declare(store)
        await allocate(store, "shop.web")
        (cidr,) = await confirmed_blocks(store, LOAD_BALANCERS)
        if not allocated:
            await Allocator(store, LOAD_BALANCERS).release(handle_of("shop.web"))
            await store.delete("IPPool", "public")
        if not claimed:
            await store.delete("BlockAffinity", affinity_name(LOAD_BALANCERS, cidr))
        collector = Collector(store, 1.0, 1.0, clock=lambda: 4e9)
        for now in range(0, 100, 10):
            await collector.collect(float(now))
        block = await read_block(store, cidr)
        if allocated:
            assert block is not None
            assert node_of(block_of(block)) == LOAD_BALANCERS
            assert len(block_of(block).allocations) == 1
        else:
            assert block is None
        assert await confirmed_blocks(store, LOAD_BALANCERS) == [cidr] * allocated

    on_store(tmp_path, story)
