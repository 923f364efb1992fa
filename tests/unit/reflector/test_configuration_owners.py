"""Owners from the store: whatever a healthy speaker announces is its node's, and nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from bench.fabric_sample import fabric
from bgp_speaker.announcements import desired_announcements
from bgp_speaker.node_policy import node_policy
from ipam.block_order import affinity_name, blocks_for, borrower_name
from ipam.new_blocks import ensure_blocks
from peering.compile import plan
from peering.prefixes import Prefix, format_prefix, host_prefix, pack_prefix
from peering.resource import Resource, parse_resource
from peering.resources.ipam import BlockAffinitySpec
from peering.resources.pools import IPPoolSpec
from peering.session import Session
from peering.snapshot import Snapshot
from peering.store.resources import load, put
from peering.store.sqlite import SqliteStore
from reflector.block_owners import owners_of, relays_of
from reflector.configuration import Owners
from reflector.policy.ownership import Ownership
from reflector.wire.families import IPV4_UNICAST, IPV6_UNICAST
from tests.unit.declarations import configuration, declare, host
from tests.unit.samples import SAMPLES, nodes, sample

NAMES = sorted(folder.name for folder in SAMPLES.iterdir())
OUTSIDE: dict[str, Any] = {
    "name": "outside",
    "peer": "external",
    "source": "BGPPeer/outside",
    "type": "ebgp",
    "local_address": None,
    "local_asn": 64512,
    "peer_address": "203.0.113.1",
    "peer_asn": 65000,
}
#: Their nodes come from a topology.
WITHOUT_NODES = {"dual-tor", "dual-tor-ibgp"}


def affinity(node: str, cidr: str, **fields: Any) -> Resource:
    spec = BlockAffinitySpec.model_validate({"node": node, "cidr": cidr, "state": "confirmed", **fields})
    return Resource("BlockAffinity", affinity_name(node, cidr), spec)


def borrower(node: str, cidr: str, *addresses: str) -> Resource:
    listed = [{"address": address} for address in addresses]
    spec = BlockAffinitySpec.model_validate({"node": node, "cidr": cidr, "type": "borrower", "addresses": listed})
    return Resource("BlockAffinity", borrower_name(node, cidr), spec)


def owners(*resources: Resource, ranges: Iterable[str] = ()) -> dict[str, set[str]]:
    found = owners_of(Snapshot(resources), [pack_prefix(one) for one in ranges])
    return {format_prefix(prefix): set(names) for prefix, names in found.by_prefix.items()}


def shared(*resources: Resource) -> set[str]:
    return {format_prefix(prefix) for prefix in owners_of(Snapshot(resources)).shared}


async def claimed(folder: Path, declared: list[Resource]) -> Snapshot:
    """The declaration with the blocks that every node takes when its speaker starts."""
    store = SqliteStore(folder / "store.db")
    try:
        for resource in declared:
            await put(store, resource)
        pools = [r for r in declared if r.kind == "IPPool"]
        for node in (r for r in declared if r.kind == "Node"):
            await ensure_blocks(store, node, pools)
        blocks, _, problems = await load(store, ("BlockAffinity",))
    finally:
        await store.close()
    assert problems == []
    return Snapshot([*declared, *blocks])


def announced(snapshot: Snapshot) -> dict[str, set[str]]:
    """Node -> what its speaker announces to anybody, and what it would to a peer that takes everything."""
    affinities = [cast(BlockAffinitySpec, r.spec) for r in snapshot.all("BlockAffinity").values()]
    found = {}
    for name, speaker in plan(snapshot).speakers.items():
        blocks = [one.cidr for one in affinities if one.node == name]
        policy = node_policy(snapshot, name, speaker.sessions)
        outside = Session(**{**OUTSIDE, "families": ("ipv4-unicast", "ipv6-unicast")})
        sessions = (*speaker.sessions, outside)
        told = desired_announcements(replace(speaker, sessions=sessions), blocks, policy)
        assert set(told[outside.peer_address]) == {*blocks, *map(host_prefix, speaker.loopbacks)}
        found[name] = {prefix for one in told.values() for prefix in one}
    return found


def on_the_wire(prefixes: Iterable[str]) -> list[bytes]:
    packed: list[Prefix] = [pack_prefix(prefix) for prefix in prefixes]
    return [prefix[: 1 + (prefix[0] + 7) // 8] for prefix in packed]


def foreign(found: Owners, owner: str, prefixes: Iterable[str]) -> int:
    """How many of the prefixes are refused to that owner."""
    judge = Ownership("enforce", found)
    families = {IPV4_UNICAST: [p for p in prefixes if ":" not in p], IPV6_UNICAST: [p for p in prefixes if ":" in p]}
    return sum(len(judge.foreign(owner, family, on_the_wire(some))) for family, some in families.items())


def judged(snapshot: Snapshot) -> int:
    """Every node may announce all of its own, and not one prefix of another. How many nodes these are."""
    found, everybody = owners_of(snapshot), announced(snapshot)
    for name, prefixes in everybody.items():
        assert len(prefixes) >= 2, f"{name}: a block and a loopback at least"
        assert foreign(found, f"node/{name}", prefixes) == 0, name
        for other in everybody:
            if other != name:
                assert foreign(found, f"node/{other}", prefixes) == len(prefixes), (name, other)
    return len(everybody)


@pytest.mark.parametrize("name", NAMES)
def test_enforcing_ownership_breaks_no_sample(name: str, tmp_path: Path) -> None:
    declared = [*sample(name), *(nodes() if name in WITHOUT_NODES else ())]
    assert judged(asyncio.run(claimed(tmp_path, declared))) > 1


def test_enforcing_ownership_breaks_no_large_fabric() -> None:
    resources = fabric(nodes=60, racks=4)
    pools = [cast(IPPoolSpec, r.spec) for r in resources if r.kind == "IPPool"]
    taken: set[str] = set()
    for node in [r.name for r in resources if r.kind == "Node"]:
        for pool in pools:
            block = next(one for one in blocks_for(node, pool) if one not in taken)
            taken.add(block)
            resources.append(affinity(node, block))
    assert judged(Snapshot(resources)) == 60


def test_loopbacks_and_link_addresses_are_the_nodes() -> None:
    uplinks = [{"interface": "eth1", "addresses": ["10.1.1.1/31", "fd00:1::1/127"]}]
    node = declare("Node", "a", bgp={"ipv4Address": "192.0.2.1/24", "ipv6Address": "2001:db8::1"}, uplinks=uplinks)
    mine = {"node/a"}
    assert owners(node) == {
        "192.0.2.1/32": mine,
        "2001:db8::1/128": mine,
        "10.1.1.1/32": mine,
        "fd00:1::1/128": mine,
    }


def test_an_address_of_two_nodes_is_that_of_both() -> None:
    assert owners(host("a", 1), host("b", 1)) == {"192.0.2.1/32": {"node/a", "node/b"}}


def test_a_block_is_that_of_who_confirmed_it() -> None:
    claims = (affinity("a", "10.0.0.0/26"), affinity("b", "10.0.0.0/26", state="pending"))
    assert owners(*claims) == {"10.0.0.0/26": {"node/a"}}
    assert owners(*reversed(claims)) == {"10.0.0.0/26": {"node/a"}}
    leaving = affinity("b", "10.0.0.0/26", state="pendingDeletion")
    assert owners(leaving, claims[0]) == {"10.0.0.0/26": {"node/a"}}


@pytest.mark.parametrize("state", ["pending", "pendingDeletion"])
def test_a_block_that_nobody_confirmed_is_that_of_who_claims_it_or_lets_go_of_it(state: str) -> None:
    """The speaker may announce it before we read the confirmation, and withdraw it after we read the end."""
    assert owners(affinity("a", "10.0.0.0/26", state=state)) == {"10.0.0.0/26": {"node/a"}}


def test_service_addresses_are_everybodys() -> None:
    services = configuration(
        serviceClusterIPs=[{"cidr": "10.96.0.0/12"}],
        serviceExternalIPs=[{"cidr": "198.51.100.0/24"}],
        serviceLoadBalancerIPs=[{"cidr": "fd00:1b::/64"}],
    )
    assert shared(services, host("a", 1)) == {"10.96.0.0/12", "198.51.100.0/24", "fd00:1b::/64"}
    found = owners_of(Snapshot([services, host("a", 1)]))
    assert foreign(found, "node/a", ["10.96.0.10/32"]) == 0
    assert foreign(found, "node/a", ["10.112.0.0/32"]) == 1


def test_blocks_of_calicos_load_balancer_are_everybodys() -> None:
    virtual = affinity("load-balancer", "203.0.113.0/26", type="virtual")
    assert (owners(virtual), shared(virtual)) == ({}, {"203.0.113.0/26"})


def test_a_borrowed_address_is_the_borrowers_and_the_block_stays_its_owners() -> None:
    resources = [
        host("a", 1),
        affinity("a", "10.0.0.0/26"),
        borrower("b", "10.0.0.0/26", "10.0.0.9"),
        borrower("gone", "fd00::/122", "fd00::1"),
        borrower("c", "10.0.0.64/26"),
    ]
    assert {prefix: names for prefix, names in owners(*resources).items() if prefix != "192.0.2.1/32"} == {
        "10.0.0.0/26": {"node/a"},
        "10.0.0.9/32": {"node/b"},
        "fd00::1/128": {"node/gone"},
    }
    found = owners_of(Snapshot(resources))
    told = ["10.0.0.0/26", "10.0.0.8/32", "10.0.0.9/32"]
    assert [foreign(found, "node/a", [one]) for one in told] == [0, 0, 1]
    assert [foreign(found, "node/b", [one]) for one in told] == [1, 1, 0]
    assert [foreign(found, "node/c", [one]) for one in told] == [1, 1, 1]


def test_calicos_own_affinities_count() -> None:
    document = {
        "apiVersion": "crd.projectcalico.org/v1",
        "kind": "BlockAffinity",
        "metadata": {"name": "a-10-0-0-0-26"},
        "spec": {"cidr": "10.0.0.0/26", "node": "a", "state": "confirmed", "deleted": "false"},
    }
    parsed = parse_resource(document)
    assert isinstance(parsed, Resource)
    assert owners(parsed) == {"10.0.0.0/26": {"node/a"}}


def test_a_node_that_may_come_in_from_a_range_owns_by_its_address_too() -> None:
    """A dynamic neighbour is known by the address that it came from."""
    resources = (host("a", 1, ipv6=True), affinity("a", "10.0.0.0/26"))
    assert owners(*resources, ranges=["192.0.2.0/24"])["10.0.0.0/26"] == {"node/a", "192.0.2.1"}
    assert owners(*resources, ranges=["2001:db8::/32"])["10.0.0.0/26"] == {"node/a", "2001:db8::1"}
    assert owners(*resources, ranges=["198.51.100.0/24"])["10.0.0.0/26"] == {"node/a"}


def test_who_reflects_calicos_way_passes_on_routes_of_others() -> None:
    assert relays_of(Snapshot([host("a", 1), host("rr", 2, cluster="1.0.0.1")])) == {"rr"}
