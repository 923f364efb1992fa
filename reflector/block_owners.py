"""Who may announce what, from what IPAM and the nodes' declarations say. Pure.

A node announces its blocks and its loopbacks (bgp_speaker/announcements.py). It announces a block when its
BlockAffinity is confirmed, so whose that is owns the block. While no affinity of a block is confirmed, those who claim
it or let go of it own it: the reflector may read the store a moment before or after the speaker does, and neither
order may cost the node a route. An address that a node has borrowed from another's block is the borrower's, and no
longer the one's who owns the block. A node owns the addresses of its links, too, though it announces none. Where its
podCIDR is a block, the node of it owns that; of two nodes that say the same podCIDR, the first by name.

What Calico gives to an owner that is no node (`type: virtual`, such as the load balancer) may be announced by any, and
so may the service addresses of BGPConfiguration.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from peering import pod_cidrs
from peering.addressing import bare
from peering.prefixes import Prefix, contains, format_address, numbers
from peering.resources.ipam import BlockAffinitySpec
from peering.resources.node import NodeSpec
from peering.snapshot import Snapshot
from reflector.configuration import Owners


def owners_of(snapshot: Snapshot, ranges: Sequence[Prefix] = ()) -> Owners:
    """Owners by the names `node/NAME`; nodes that may come in from one of `ranges` (packed) by their addresses too.

    A dynamic neighbour is known by the address that it comes from, a named one by its node.
    """
    names: dict[str, frozenset[str]] = {}
    by_prefix: defaultdict[Prefix, frozenset[str]] = defaultdict(frozenset)
    for name, spec in snapshot.specs("Node", NodeSpec).items():
        hosts = [_packed(address) for address in _addresses(spec)]
        names[name] = frozenset(_names(name, hosts, ranges))
        for host in hosts:
            by_prefix[host] |= names[name]
    affinities = list(snapshot.specs("BlockAffinity", BlockAffinitySpec).values())
    for node, owned in pod_cidrs.of_nodes(snapshot).items():
        for cidr in owned:
            by_prefix[_packed(cidr)] |= names[node]
    for cidr, holders in _holders(affinities).items():
        for node in holders:
            by_prefix[_packed(cidr)] |= names.get(node) or {f"node/{node}"}
    for one in affinities:
        for borrowed in one.addresses:
            by_prefix[_packed(borrowed.address)] |= names.get(one.node) or {f"node/{one.node}"}
    return Owners(dict(by_prefix), frozenset(map(_packed, _shared(snapshot, affinities))))


def relays_of(snapshot: Snapshot) -> frozenset[str]:
    """Nodes that pass on routes of others: reflectors, Calico's way."""
    nodes = snapshot.specs("Node", NodeSpec)
    return frozenset(name for name, spec in nodes.items() if spec.bgp.route_reflector_cluster_id is not None)


def _addresses(spec: NodeSpec) -> Iterator[str]:
    """All addresses of a node, without a length."""
    yield from (bare(address) for address in (spec.bgp.ipv4_address, spec.bgp.ipv6_address) if address)
    yield from (bare(address) for uplink in spec.uplinks for address in uplink.addresses)


def _names(name: str, hosts: Iterable[Prefix], ranges: Sequence[Prefix]) -> Iterator[str]:
    yield f"node/{name}"
    yield from (format_address(host[1:]) for host in hosts if any(contains(one, host) for one in ranges))


def _packed(text: str) -> Prefix:
    """As `pack_prefix`, for text that is known to be right; an address becomes the prefix of a host."""
    bits, value, length = numbers(text)
    return bytes((length,)) + value.to_bytes(bits // 8)


def _holders(affinities: Iterable[BlockAffinitySpec]) -> Mapping[str, list[str]]:
    """Block -> the nodes that confirmed it; where none did, all that claim it or let go of it."""
    confirmed: defaultdict[str, list[str]] = defaultdict(list)
    others: defaultdict[str, list[str]] = defaultdict(list)
    for one in affinities:
        if one.type == "host":
            (confirmed if one.state == "confirmed" else others)[one.cidr].append(one.node)
    return {**others, **confirmed}


def _shared(snapshot: Snapshot, affinities: Iterable[BlockAffinitySpec]) -> Iterator[str]:
    spec = snapshot.configuration()
    for ranges in (spec.service_cluster_ips, spec.service_external_ips, spec.service_load_balancer_ips):
        yield from (one.cidr for one in ranges)
    yield from (one.cidr for one in affinities if one.type == "virtual")
