"""Every setting of IPPool, IPReservation and IPAMConfiguration, and what it does to blocks and addresses."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from ipam.errors import NoBlocksLeft, NoPool, PoolExhausted, PoolNotUsable
from ipam.new_blocks import ensure_blocks
from peering.resource import Resource
from peering.store.protocol import Document
from peering.store.resources import to_resource
from tests.unit.ipam_world import declare
from tests.unit.test_ipam_allocator import Cluster

FOUR, SIX = "10.0.0.0/16", "fd00::/64"


def declared(cluster: Cluster, kind: str) -> list[Resource]:
    found = [to_resource(one) for one in cluster.store.all(kind)]
    assert all(isinstance(one, Resource) for one in found), found
    return [one for one in found if isinstance(one, Resource)]


def started(cluster: Cluster, node: str) -> list[str]:
    """The blocks of the node once its speaker has started."""
    (resource,) = (one for one in declared(cluster, "Node") if one.name == node)
    found: list[str] = cluster.do(ensure_blocks(cluster.store, resource, declared(cluster, "IPPool"), cluster.now))
    return found


def label(cluster: Cluster, node: str, **labels: str) -> None:
    document = {"apiVersion": "underlay.io/v1alpha1", "kind": "Node", "metadata": {"name": node, "labels": labels}}
    cluster.store.put("Node", node, {**document, "spec": {}})


def lengths(blocks: list[str]) -> dict[int, int]:
    networks = map(ipaddress.ip_network, blocks)
    return {network.version: network.prefixlen for network in networks}


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [(({}, {}), {4: 26, 6: 122}), (({"blockSize": 28}, {"blockSize": 124}), {4: 28, 6: 124})],
)
def test_size_of_blocks(sizes: tuple[Document, Document], expected: dict[int, int]) -> None:
    cluster = Cluster()
    declare(cluster.store, "IPPool", "four", cidr=FOUR, **sizes[0])
    declare(cluster.store, "IPPool", "six", cidr=SIX, **sizes[1])
    assert lengths(started(cluster, "a")) == expected
    four, six = cluster.give("b", "pod", ipv6=1)
    assert (four.startswith("10.0."), six.startswith("fd00::")) == (True, True)
    assert lengths([cidr for cidr, owner in cluster.owners().items() if owner == "host:b"]) == expected


def test_pools_of_nodes() -> None:
    cluster = Cluster()
    for rack in "xy":
        declare(cluster.store, "IPPool", rack, cidr=f"10.{ord(rack)}.0.0/16", nodeSelector=f"rack == '{rack}'")
    label(cluster, "a", rack="x")
    label(cluster, "b", rack="y")
    assert [block[:7] for block in started(cluster, "a")] == ["10.120."]
    assert cluster.give("a", "pod-a")[0].startswith("10.120.")
    assert cluster.give("b", "pod-b")[0].startswith("10.121.")
    assert started(cluster, "c") == []
    with pytest.raises(NoPool, match="Node/c"):
        cluster.give("c", "pod-c")


def test_node_that_left_a_pool_keeps_what_it_gave_and_gives_no_more() -> None:
    cluster = Cluster()
    declare(cluster.store, "IPPool", "x", cidr=FOUR, nodeSelector="rack == 'x'")
    label(cluster, "a", rack="x")
    before = cluster.give("a", "pod")
    label(cluster, "a", rack="y")
    assert cluster.give("a", "pod") == before
    with pytest.raises(NoPool):
        cluster.give("a", "other")
    assert cluster.release("a", "pod") == before


def test_disabled_pool_keeps_what_it_gave_and_gives_no_more() -> None:
    cluster = Cluster()
    cluster.pool()
    before, owners = cluster.give("a", "pod"), cluster.owners()
    cluster.pool(disabled=True)
    assert cluster.give("a", "pod") == before
    with pytest.raises(NoPool):
        cluster.give("a", "other")
    assert started(cluster, "b") == []
    assert cluster.owners() == owners
    assert cluster.release("a", "pod") == before


@pytest.mark.parametrize("uses", [["LoadBalancer"], ["Tunnel"]])
def test_pools_that_are_not_for_pods_give_no_block_and_no_address(uses: list[str]) -> None:
    cluster = Cluster()
    cluster.pool(allowedUses=uses)
    assert started(cluster, "a") == []
    with pytest.raises(NoPool):
        cluster.give("a", "pod")
    with pytest.raises(PoolNotUsable, match=f"is for {uses[0]}, not for pods"):
        cluster.give("a", "pod", ipv4_pools=("pods",))
    cluster.pool(allowedUses=["Workload"])
    assert cluster.give("a", "pod")


def test_manual_pool_waits_until_it_is_named() -> None:
    cluster = Cluster()
    cluster.pool("manual", "10.1.0.0/29", assignmentMode="Manual")
    cluster.pool("usual", "10.2.0.0/29")
    assert [block[:5] for block in started(cluster, "a")] == ["10.2."]
    assert cluster.give("a", "pod-1", ipv4=5)[4].startswith("10.2.")
    assert cluster.give("a", "pod-2", ipv4=3)[2].startswith("10.2.")
    with pytest.raises(PoolExhausted, match=r"10\.2\.0\.0/29:"):
        cluster.give("a", "pod-3")
    assert cluster.give("a", "pod-3", ipv4_pools=("manual",))[0].startswith("10.1.")
    assert cluster.give("a", "pod-4", addresses=("10.1.0.7",)) == ["10.1.0.7"]


def test_pools_of_namespaces_have_blocks_from_the_start() -> None:
    cluster = Cluster()
    cluster.pool(namespaceSelector="kubernetes.io/metadata.name == 'shop'")
    assert len(started(cluster, "a")) == 1
    shop = {"kubernetes.io/metadata.name": "shop"}
    assert cluster.give("a", "pod", namespace="shop", namespace_labels=shop)


def test_reservation_of_a_whole_block_is_never_claimed() -> None:
    cluster = Cluster()
    cluster.pool()
    declare(cluster.store, "IPReservation", "low", reservedCIDRs=["10.0.0.0/31", "10.0.0.2", "10.0.0.3/32"])
    assert started(cluster, "a") == ["10.0.0.4/30"]
    with pytest.raises(PoolExhausted):
        started(cluster, "b")
    assert sorted(cluster.fill("a", 4)) == [f"10.0.0.{i}" for i in range(4, 8)]
    with pytest.raises(PoolExhausted):
        cluster.give("a", "one-more")
    assert list(cluster.owners()) == ["10.0.0.4/30"]


def test_reservation_of_an_address_in_use() -> None:
    cluster = Cluster()
    cluster.pool(cidr="10.0.0.0/30")
    (address,) = cluster.give("a", "pod")
    declare(cluster.store, "IPReservation", "r", reservedCIDRs=[f"{address}/32"])
    assert cluster.give("a", "pod") == [address], "what is in use stays"
    cluster.release("a", "pod")
    assert address not in cluster.fill("a", 3)
    with pytest.raises(PoolExhausted):
        cluster.give("a", "one-more")


def test_cap_of_blocks_is_of_each_family() -> None:
    cluster = Cluster(strictAffinity=True, maxBlocksPerHost=2)
    cluster.pool(cidr="10.0.0.0/24", size=31)
    cluster.pool("six", "fd00::/120", 127)
    for number in range(4):
        cluster.give("a", f"pod-{number}", ipv6=1)
    assert len(cluster.owners()) == 4
    for families in ({"ipv4": 1}, {"ipv4": 0, "ipv6": 1}):
        with pytest.raises(NoBlocksLeft, match="all 2 blocks"):
            cluster.give("a", "one-more", **families)
    assert "one-more" not in cluster.handles()


def test_no_block_is_claimed_at_the_start_without_auto_allocation() -> None:
    cluster = Cluster(strictAffinity=True, autoAllocateBlocks=False)
    cluster.pool()
    assert started(cluster, "a") == []
    assert cluster.owners() == {}


def test_strict_affinity_is_what_keeps_a_node_from_borrowing() -> None:
    outcomes: dict[bool, Any] = {}
    for strict in (False, True):
        cluster = Cluster(strictAffinity=strict)
        cluster.pool(cidr="10.0.0.0/30")
        cluster.give("b", "first")
        try:
            outcomes[strict] = len(cluster.give("a", "borrower"))
        except PoolExhausted as error:
            outcomes[strict] = str(error)
        assert list(cluster.owners().values()) == ["host:b"]
    assert outcomes[False] == 1
    assert "strictAffinity: false" in outcomes[True]


def test_cooldown_is_not_for_who_names_the_address_nor_for_blocks() -> None:
    """A block with addresses in their cooldown is not deleted, or the cooldown would be forgotten with it."""
    cluster = Cluster(ipCooldownSeconds=300)
    cluster.pool(cidr="10.0.0.0/30")
    (address, *_) = cluster.fill("a", 4)
    cluster.release("a", "fill-a-0")
    with pytest.raises(PoolExhausted, match="cooldown"):
        cluster.give("a", "pod")
    assert cluster.give("a", "pod", addresses=(address,)) == [address]
    for handle in ("pod", *(f"fill-a-{i}" for i in range(1, 4))):
        cluster.release("a", handle)
    cluster.now += 299
    with pytest.raises(PoolExhausted):
        cluster.give("b", "other")
    cluster.now += 1
    assert cluster.give("b", "other")


def test_only_the_default_configuration_counts() -> None:
    cluster = Cluster()
    declare(cluster.store, "IPAMConfiguration", "other", strictAffinity=True, maxBlocksPerHost=1)
    cluster.pool()
    assert len(cluster.fill("a", 8)) == 8
