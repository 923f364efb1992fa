"""Pools of podCIDRs, from the declaration to whoever reads it: plan, speaker, reflector, IPAM, what-if, the store.

What lint says of them is in tests/lint_cases/pod-cidrs.yaml, what their list of plugins is in test_conflist.py.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bgp_speaker.announcements import desired_announcements
from ipam.allocator import Allocator
from ipam.collector import Collector
from ipam.errors import IpamError, NotInAPool, PoolNotUsable
from ipam.leftovers import Leftover, Reading, leftovers
from ipam.new_blocks import ensure_blocks
from ipam.requests import Declared, Request
from peering import pod_cidrs
from peering.compile import plan
from peering.prefix_limits import ipam_limit
from peering.prefixes import format_prefix
from peering.resource import Resource
from peering.resources.catalog import KUBERNETES, UNDERLAY
from peering.session import PrefixRule
from peering.snapshot import Snapshot
from peering.store.kubernetes.objects import join, pack
from peering.store.kubernetes.sources import sources_of
from peering.store.resources import load, put
from peering.store.sqlite import SqliteStore
from peering.whatif.origins import origins_of
from reflector.block_owners import owners_of
from tests.unit.declarations import declare
from tests.unit.test_ipam_commands import block, claim
from tests.unit.test_node_view import affinity, view_of
from underlay.ipam_check import judge
from underlay.ipam_view import block_rows, of_address, of_node, table_rows

V4, V6 = "10.1.0.0/16", "fd00:1::/48"
A4, A6, B4 = "10.1.7.0/24", "fd00:1:0:7::/64", "10.1.9.0/24"
POOL4 = declare("IPPool", "cluster-v4", cidr=V4, ipam="podCIDR")
POOL6 = declare("IPPool", "cluster-v6", cidr=V6, ipam="podCIDR")
CLAIMED = declare("IPPool", "claimed-v6", cidr="fd00:2::/48")
NOW = 1_790_000_000.0
LOOPBACKS = {"a": "10.9.0.1", "b": "10.9.0.2"}


def node(name: str, *pods: str, **labels: str) -> Resource:
    bgp = {"ipv4Address": f"{LOOPBACKS[name]}/32"}
    uplinks = [{"interface": "eth0", "addresses": [f"10.8.0.{LOOPBACKS[name][-1]}/24"]}]
    return declare("Node", name, labels, bgp=bgp, uplinks=uplinks, podCIDRs=list(pods))


NODE_A, NODE_B = node("a", A4, A6, rack="r"), node("b", B4, rack="r")
TOR = [
    declare(
        "Switch",
        "tor",
        asNumber=65011,
        addresses=["10.0.1.1/32"],
        linkSubnets=["10.8.0.0/24"],
        linkAddresses=["10.8.0.200/24"],
    ),
    declare("Rack", "r", nodeSelector="rack == 'r'", switches=["tor"], nodeASNumber=65101),
]


# Who owns what


def test_what_counts_lies_in_a_pool_that_selects_the_node_and_has_the_length_of_its_blocks() -> None:
    assert pod_cidrs.of_node(NODE_A, [POOL4, POOL6, CLAIMED]) == (A4, A6)
    assert pod_cidrs.of_node(NODE_A, [POOL4]) == (A4,)
    assert pod_cidrs.of_node(NODE_A, [CLAIMED]) == ()
    assert pod_cidrs.of_node(None, [POOL4]) == ()
    for changes in ({"blockSize": 25}, {"nodeSelector": "rack == 'other'"}, {"cidr": "10.0.0.0/16"}):
        pool = declare("IPPool", "p", **({"cidr": V4, "ipam": "podCIDR"} | changes))
        assert pod_cidrs.of_node(NODE_A, [pool]) == (), changes
    assert pod_cidrs.of_node(node("a", "10.1.7.0/25"), [POOL4]) == ()


def test_of_two_nodes_with_one_pod_cidr_the_first_by_name_has_it() -> None:
    twins = [POOL4, POOL6, node("b", A4), NODE_A]
    assert pod_cidrs.of_nodes(Snapshot(twins)) == {"a": (A4, A6)}
    assert pod_cidrs.of_nodes(Snapshot([POOL4, node("b", B4), NODE_A])) == {"a": (A4,), "b": (B4,)}
    assert pod_cidrs.of_nodes(Snapshot([CLAIMED, NODE_A])) == {}


@pytest.mark.parametrize(("cidr", "length"), [(V4, 24), (V6, 64)])
def test_without_a_block_size_blocks_are_those_of_kubernetes(cidr: str, length: int) -> None:
    rules = plan(Snapshot([declare("IPPool", "p", cidr=cidr, ipam="podCIDR"), *TOR, NODE_A])).speakers["a"].imports
    assert length in {rule.max_length for rule in rules if rule.cidr == cidr}


# What follows from the pool


def test_nodes_learn_and_switches_accept_the_pool_down_to_pod_cidrs_and_no_single_addresses() -> None:
    compiled = plan(Snapshot([POOL4, *TOR, NODE_A, NODE_B]))
    inside = [rule for rule in compiled.speakers["a"].imports if rule.cidr == V4]
    assert inside == [PrefixRule(V4, 16, 24)]
    assert [rule for rule in compiled.switches["tor"].accept if rule.cidr == V4] == [PrefixRule(V4, 24, 24)]
    assert [rule for rule in compiled.switches["tor"].send if rule.cidr == V4] == [PrefixRule(V4, 16, 24)]


def test_a_node_has_one_pod_cidr_of_a_pool_and_the_limit_of_prefixes_knows() -> None:
    claimed = declare("IPPool", "claimed", cidr="10.2.0.0/16", blockSize=24)
    # Twice: the block, the pool itself, the loopback.
    assert ipam_limit(Snapshot([POOL4])) == 2 * (1 + 1 + 1)
    assert ipam_limit(Snapshot([claimed])) > 2 * (20 + 1 + 1)


def test_what_if_knows_the_pod_cidrs_or_assumes_one_for_each_node() -> None:
    def origins(*resources: Resource) -> dict[str, set[tuple[str, bool]]]:
        snapshot = Snapshot([*TOR, *resources])
        found = origins_of(snapshot, plan(snapshot).speakers)
        return {name: {(format_prefix(o.prefix), o.assumed) for o in of if o.pool} for name, of in found.items()}

    assert origins(POOL4, NODE_A, NODE_B) == {"a": {(A4, False)}, "b": {(B4, False)}}
    assert origins(POOL4, node("a"), node("b")) == {"a": {("10.1.0.0/24", True)}, "b": {("10.1.1.0/24", True)}}
    claims = affinity("a", "fd00:2::/122", "confirmed")
    assert origins(POOL4, CLAIMED, claims, NODE_A, NODE_B) == {
        "a": {(A4, False), ("fd00:2::/122", False)},
        "b": {(B4, False)},
    }


# Speaker and reflector


def test_a_speaker_owns_and_announces_its_pod_cidrs_beside_its_blocks(tmp_path: Path) -> None:
    claimed = affinity("a", "fd00:2::/122", "confirmed")
    view = view_of(tmp_path, [POOL4, CLAIMED, *TOR, NODE_A, NODE_B, claimed], "a")
    assert view.blocks == (A4, "fd00:2::/122")
    assert view.plan is not None
    assert set(desired_announcements(view.plan, view.blocks)["10.8.0.200"]) == {A4, "10.9.0.1/32"}
    whole = declare("IPPool", "cluster-v4", cidr=V4, ipam="podCIDR", aggregate="pool")
    plan_a = plan(Snapshot([whole, *TOR, NODE_A])).speakers["a"]
    assert set(desired_announcements(plan_a, (A4,))["10.8.0.200"]) == {V4, "10.9.0.1/32"}
    hidden = declare("IPPool", "cluster-v4", cidr=V4, ipam="podCIDR", disableBGPExport=True)
    plan_a = plan(Snapshot([hidden, *TOR, NODE_A])).speakers["a"]
    assert set(desired_announcements(plan_a, (A4,))["10.8.0.200"]) == {"10.9.0.1/32"}


def test_a_speaker_follows_its_node(tmp_path: Path) -> None:
    assert view_of(tmp_path, [POOL4, POOL6, *TOR, node("a", rack="r")], "a").blocks == ()
    assert view_of(tmp_path, [NODE_A], "a").blocks == (A4, A6)
    assert view_of(tmp_path, [node("a", B4, rack="r")], "a").blocks == (B4,)


def test_reflectors_take_pod_cidrs_for_owned() -> None:
    def owners(*resources: Resource) -> dict[str, set[str]]:
        found = owners_of(Snapshot(resources)).by_prefix
        return {format_prefix(p): set(names) for p, names in found.items() if format_prefix(p).endswith(("/24", "/64"))}

    assert owners(POOL4, POOL6, NODE_A, NODE_B) == {A4: {"node/a"}, A6: {"node/a"}, B4: {"node/b"}}
    assert owners(POOL4, NODE_A, node("b", A4)) == {A4: {"node/a"}}
    assert owners(CLAIMED, NODE_A) == {}


# IPAM


DECLARED = Declared("a", {"rack": "r"}, (CLAIMED, POOL4))


def test_a_pod_may_not_ask_our_ipam_for_an_address_of_host_local() -> None:
    why = r"belongs to nodes by their podCIDRs: host-local gives its addresses \(ipam: podCIDR\)"
    with pytest.raises(PoolNotUsable, match=f"IPPool/cluster-v4 {why}"):
        DECLARED.pools_for(Request("pod", ipv4_pools=("cluster-v4",)), 4)
    with pytest.raises(NotInAPool, match=rf"10\.1\.7\.9 is in IPPool/cluster-v4, which {why}"):
        DECLARED.pool_of("10.1.7.9", Request("pod", addresses=("10.1.7.9",)))
    assert DECLARED.families() == (6,)


def test_our_ipam_claims_nothing_and_gives_nothing_of_it(tmp_path: Path) -> None:
    async def work() -> tuple[list[str], list[Resource]]:
        store = SqliteStore(tmp_path / "store.db")
        for one in (POOL4, CLAIMED, NODE_A):
            await put(store, one)
        owned = await ensure_blocks(store, NODE_A, [POOL4, CLAIMED])
        given = await Allocator(store, "a").allocate(Request("pod-1", ipv4=0, ipv6=1))
        assert [one.block for one in given] == owned
        for request in (Request("pod-2", ipv4=1), Request("pod-3", addresses=("10.1.7.9",))):
            with pytest.raises(IpamError):
                await Allocator(store, "a").allocate(request)
        blocks, _, _ = await load(store, ("IPAMBlock",))
        await store.close()
        return owned, blocks

    owned, blocks = asyncio.run(work())
    assert len(owned) == len(blocks) == 1
    assert owned[0].startswith("fd00:2:")


def of_a_store(*documents: tuple[str, str, dict[str, Any]]) -> list[Resource]:
    return [declare(kind, name, **spec) for kind, name, spec in documents]


def test_nothing_of_a_pod_cidr_is_left_over_and_a_block_of_an_earlier_pool_is() -> None:
    healthy = [POOL4, NODE_A, NODE_B]
    assert leftovers(Reading.of(healthy, 0.0), lambda a: False) == []
    old = of_a_store(block("10.1.7.0/26", "host:a"), claim("a", "10.1.7.0/26"))
    assert leftovers(Reading.of([*healthy, *old], 0.0), lambda a: False) == [
        Leftover("block-of-no-pool", "a", "10.1.7.0/26"),
    ]


def test_the_collector_frees_a_block_of_an_earlier_pool(tmp_path: Path) -> None:
    async def work() -> list[str]:
        store = SqliteStore(tmp_path / "store.db")
        old = of_a_store(block("10.1.7.0/26", "host:a"), claim("a", "10.1.7.0/26"))
        for one in (POOL4, NODE_A, *old):
            await put(store, one)
        collector = Collector(store, grace=1.0)
        freed = [one for now in (0.0, 2.0, 4.0) for one in await collector.collect(now)]
        await store.close()
        return [one.said for one in freed]

    assert asyncio.run(work()) == ["block 10.1.7.0/26 of Node/a freed: its pool is gone"]


def test_a_pod_cidr_is_shown_with_its_node() -> None:
    rows = block_rows([POOL4, POOL6, NODE_A, NODE_B])
    assert [row[:4] for row in table_rows(rows)] == [
        (A4, "a", "podCIDR", ""),
        (A6, "a", "podCIDR", ""),
        (B4, "b", "podCIDR", ""),
    ]
    assert [row["cidr"] for row in of_node(rows, "a")] == [A4, A6]
    assert [(row["cidr"], row["node"]) for row in of_address(rows, "10.1.9.200")] == [(B4, "b")]
    assert of_address(rows, "10.1.8.200") == []


def reported(name: str, *blocks: str) -> Resource:
    return declare("BGPNodeStatus", name, node=name, reported=NOW, blocks=list(blocks))


def test_a_check_finds_who_announces_the_pod_cidr_of_another() -> None:
    def found(*resources: Resource) -> list[tuple[str, str]]:
        return [(p.code, p.message) for p in judge([POOL4, POOL6, *resources], (), NOW)]

    right = reported("a", A4, A6), reported("b", B4)
    assert found(NODE_A, NODE_B, *right) == []
    wrong = [("announced-not-owned", f"announces {A4}, says its speaker, and it is Node/a's")]
    assert found(NODE_A, NODE_B, reported("b", A4)) == wrong
    assert found(NODE_A, node("b", A4), reported("a", A4), reported("b", A4)) == wrong
    nobodys = [("announced-not-owned", f"announces {B4}, says its speaker, and it is nobody's")]
    assert found(NODE_A, node("b"), reported("b", B4)) == nobodys


# Kubernetes' Nodes


def packed(pods_of_kubernetes: list[str], **spec: Any) -> dict[str, Any]:
    """The spec of a Node that is Kubernetes' and, if something is declared, one of ours too."""
    ours, kubernetes = sources_of("Node", "", calico_crds=False)
    metadata = {"name": "a", "resourceVersion": "7"}
    inner = {"podCIDR": pods_of_kubernetes[0], "podCIDRs": pods_of_kubernetes, "providerID": "x"}
    parts = [pack(kubernetes, {"apiVersion": KUBERNETES, "kind": "Node", "metadata": metadata, "spec": inner})]
    if spec:
        parts.insert(0, pack(ours, {"apiVersion": UNDERLAY, "kind": "Node", "metadata": metadata, "spec": spec}))
    found: dict[str, Any] = join(parts).document["spec"]
    return found


def test_the_store_of_kubernetes_keeps_pod_cidrs_and_gives_them_to_a_node_of_ours() -> None:
    bgp = {"ipv4Address": "10.9.0.1/32"}
    assert packed([A4, A6]) == {"podCIDRs": [A4, A6]}
    assert packed([A4, A6], bgp=bgp) == {"bgp": bgp, "podCIDRs": [A4, A6]}
    assert packed([A4, A6], bgp=bgp, podCIDRs=[B4]) == {"bgp": bgp, "podCIDRs": [B4]}
