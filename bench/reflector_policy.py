"""The declaration of the runs with policy: every client is a Node that owns its blocks, every neighbour has filters.

The reflector takes a prefix only of the client that owns it (`ownership: enforce`), behind a filter in each direction
that looks at length, network and a community of each route and passes all that rrbench announces, unchanged: what is
measured is the work of deciding. A prefix limit holds; metrics are scraped. Attackers of bench/rrbench/attacker.c are
Nodes, too, without a block.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.reflector_scenarios import Scenario
from ipam.block import owner_of
from ipam.block_order import affinity_name, block_name
from peering.store.protocol import Write
from peering.store.sqlite import SqliteStore

REFLECTOR = "rr-1"
METRICS_ADDRESS = "127.0.0.1:9179"
ATTACKERS = 200
#: The limit that the attack with 200,000 prefixes meets; clients that announce more have more.
PREFIX_LIMIT = 100

_OURS, _CALICO = "underlay.io/v1alpha1", "projectcalico.org/v3"
_FILTER = "clients"
_UNWANTED_COMMUNITY = "65535:666"
# As in rrbench.c: prefix k of all is BASE + 64 k, a /26 or /122; client i is 10.201.0.1 + i or fd00:c8::1:1 + i.
_STEP = 64
_ADDRESSES = {4: ipaddress.ip_address("10.201.0.1"), 6: ipaddress.ip_address("fd00:c8::1:1")}
_FIRST_ATTACKER = ipaddress.IPv4Address("10.202.0.1")
_POOLS = {4: ipaddress.ip_network("16.0.0.0/6"), 6: ipaddress.ip_network("fd10::/64")}
_BLOCKS, _TABLE_BITS = {4: 26, 6: 122}, 6

Document = dict[str, Any]


def write_store(path: Path, scenario: Scenario) -> None:
    """A new store with the declaration."""
    writes = [Write(d["kind"], d["metadata"]["name"], d) for d in documents(scenario)]

    async def write() -> None:
        store = SqliteStore(path)
        try:
            await store.apply_all(writes, (), 0)
        finally:
            await store.close()

    asyncio.run(write())


def documents(scenario: Scenario) -> Iterator[Document]:
    """Configuration, pool, filters, reflector; then each node, and each block with its owner."""
    version = 6 if scenario.ipv6 else 4
    length = block_length(scenario)
    pool = {"cidr": str(_POOLS[version]), "blockSize": length}
    yield _document(_CALICO, "BGPConfiguration", "default", {"asNumber": 64512, "nodeToNodeMeshEnabled": False})
    yield _document(_CALICO, "IPPool", "blocks", pool)
    yield _document(_CALICO, "BGPFilter", _FILTER, _filter_rules(version))
    yield _document(_OURS, "RouteReflector", REFLECTOR, _reflector(scenario, version))
    for client in range(scenario.clients + scenario.joiners):
        yield _node(f"node-{client}", str(_ADDRESSES[version] + client), str(_ADDRESSES[4] + client))
    for attacker in range(ATTACKERS if scenario.attacks else 0):
        address = str(_FIRST_ATTACKER + attacker)
        yield _node(f"attacker-{attacker}", address, address)
    for client, block in blocks(scenario):
        yield from _claimed(f"node-{client}", block)


def block_length(scenario: Scenario) -> int:
    """Clients announce their blocks as they are; of a table, which no node has, 64 prefixes lie in one block."""
    return _BLOCKS[6 if scenario.ipv6 else 4] - (_TABLE_BITS if scenario.table else 0)


def blocks(scenario: Scenario) -> Iterator[tuple[int, str]]:
    """Client and block, for all that rrbench announces. Of a table, the first client owns everything."""
    version = 6 if scenario.ipv6 else 4
    length, bits = block_length(scenario), _POOLS[version].max_prefixlen
    size = 1 << (bits - length)
    announcers = 1 if scenario.table else scenario.clients
    per_client = -(-scenario.prefixes * _STEP // size)
    for number in range(announcers * per_client):
        yield number // per_client, f"{_POOLS[version].network_address + number * size}/{length}"


def _reflector(scenario: Scenario, version: int) -> Document:
    return {
        "addresses": ["10.200.0.1/32" if version == 4 else "fd00:c8::1/128"],
        "routerID": "10.200.0.1",
        "nodeSelector": "all()",
        "ownership": "enforce",
        "filters": [_FILTER],
        "maxPrefixes": max(PREFIX_LIMIT, scenario.prefixes),
        "holdTime": "240s",
    }


def _filter_rules(version: int) -> Document:
    """Both directions: a community that no route has, the default route, what is too long, what is of the pool."""
    pool = _POOLS[version]
    nothing, longest = "0.0.0.0/0" if version == 4 else "::/0", _BLOCKS[version]
    rules = [
        {"action": "Reject", "communities": {"values": [_UNWANTED_COMMUNITY]}},
        {"action": "Reject", "matchOperator": "Equal", "cidr": nothing},
        _within("Reject", str(pool), longest + 1, pool.max_prefixlen),
        _within("Accept", str(pool), pool.prefixlen, longest),
        {"action": "Reject"},
    ]
    return {f"{direction}V{version}": rules for direction in ("import", "export")}


def _within(action: str, cidr: str, shortest: int, longest: int) -> Document:
    lengths = {"min": shortest, "max": longest}
    return {"action": action, "matchOperator": "In", "cidr": cidr, "prefixLength": lengths}


def _node(name: str, address: str, router_id: str) -> Document:
    bgp = {"ipv6Address": f"{address}/128"} if ":" in address else {"ipv4Address": f"{address}/32"}
    return _document(_OURS, "Node", name, {"bgp": {**bgp, "routerID": router_id}})


def _claimed(node: str, cidr: str) -> Iterator[Document]:
    """As IPAM writes a block that is somebody's: the affinity, and the block itself."""
    affinity = {"node": node, "cidr": cidr, "state": "confirmed"}
    yield _document(_OURS, "BlockAffinity", affinity_name(node, cidr), affinity)
    yield _document(_OURS, "IPAMBlock", block_name(cidr), {"cidr": cidr, "affinity": owner_of(node)})


def _document(api_version: str, kind: str, name: str, spec: Document) -> Document:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec}
