"""Pools that are announced whole: whose they are, and whether what the fabric sends to them finds its way.

A prefix that stands for others hides them: the fabric hands a packet to whoever announces the whole. With `rack` that
is a ToR, which has to have a link to each node of the rack; with `pool` it is a node, which has to reach every other
node of the pool without asking the fabric again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal, cast

from peering import addressing
from peering.lint.digest import NodeDigest, ref_of, some_of
from peering.lint.view import View
from peering.problems import Problem
from peering.resources.node import NodeSpec
from peering.resources.pools import IPPoolSpec

_AMONG_OURS = ("node/", "reflector/")
_TAKE_BLOCKS = "set aggregate: block"


def outside_of_a_rack(view: View) -> Iterator[Problem]:
    """`aggregate: rack` where the nodes do not stand in one rack."""
    for name, _, members in _announced_whole(view, "rack"):
        racks = {f"Rack/{node.facts.rack}" for node in members if node.facts.rack is not None}
        alone = [node.ref for node in members if node.facts.rack is None]
        if alone:
            message = f"is rack, and {min(alone)} takes blocks and stands in no rack: no switch announces them"
        elif len(racks) > 1:
            message = f"is rack, and nodes of {some_of(racks)} take blocks: each would draw what is for the others"
        else:
            continue
        hint = f"let nodeSelector select the nodes of one rack, or {_TAKE_BLOCKS}"
        yield Problem("error", "aggregate-not-of-one-rack", f"IPPool/{name}", "spec.aggregate", message, hint)


def hidden_failures(view: View) -> Iterator[Problem]:
    """`aggregate: rack` of a rack with several switches, any of which may lose one of the nodes.

    Where all of them peer with each other, one that has lost a node sends over another.
    """
    for name, pool, members in _announced_whole(view, "rack"):
        node = next((node for node in members if not _peer_with_each_other(view, _switches(node, pool), pool)), None)
        if node is not None and len({node.facts.rack for node in members} - {None}) == 1:
            switches = some_of(map(ref_of, _switches(node, pool)))
            message = (
                f"is rack, and {switches} announce {pool.cidr} whatever nodes they have lost: when the session of "
                f"{node.ref} with one of them fails, packets for it still come there, and are lost"
            )
            hint = f"join the switches, and name each in fabricPeers of the other by its name, or {_TAKE_BLOCKS}"
            yield Problem("warning", "aggregate-hides-failures", f"IPPool/{name}", "spec.aggregate", message, hint)


def _switches(node: NodeDigest, pool: IPPoolSpec) -> set[str]:
    """Those that the node has sessions of the pool's family with."""
    return {peer for peer in node.ends.peers[":" in pool.cidr] if peer.startswith("switch/")}


def _peer_with_each_other(view: View, switches: set[str], pool: IPPoolSpec) -> bool:
    def peers(switch: str) -> frozenset[str]:
        return view.switches[switch.removeprefix("switch/")].ends.peers[":" in pool.cidr]

    return all(switches - {one} <= peers(one) for one in switches)


def stranded_blocks(view: View) -> Iterator[Problem]:
    """`aggregate: pool` where a node gets packets for the blocks of another one and cannot hand them on."""
    for name, pool, members in _announced_whole(view, "pool"):
        if len(members) > 1 and any(_peers_outside(node, pool) for node in members):
            message = _unknown_blocks(view, members, pool) or _no_common_link(view, members, pool)
            if message:
                hint = f"{_TAKE_BLOCKS}, or let the nodes peer with each other or a RouteReflector on a subnet of all"
                yield Problem("error", "aggregate-strands-blocks", f"IPPool/{name}", "spec.aggregate", message, hint)


def _unknown_blocks(view: View, members: Sequence[NodeDigest], pool: IPPoolSpec) -> str:
    """Who does not learn whose blocks: neither from that node itself nor over a reflector of both."""
    peers = {node.facts.name: node.ends.peers[":" in pool.cidr] for node in members}
    reflected = {name for name, of in peers.items() if any(_reflects(view, peer) for peer in of)}
    for node in members:
        name = node.facts.name
        if not _peers_outside(node, pool):
            continue
        known = {peer.removeprefix("node/") for peer in peers[name]} | (reflected if name in reflected else {name})
        unknown = sorted(peers.keys() - known - {name})
        if unknown:
            return (
                f"is pool, and {node.ref} announces {pool.cidr} without a way to learn the blocks of "
                f"{some_of(f'Node/{one}' for one in unknown)}: what it gets for them is lost"
            )
    return ""


def _reflects(view: View, peer: str) -> bool:
    return peer.startswith("reflector/") or peer in view.reflecting_nodes


def _no_common_link(view: View, members: Sequence[NodeDigest], pool: IPPoolSpec) -> str:
    """Who is not told a next hop on a subnet of all. A node of which no subnet is known is taken to be beside."""
    subnets = {node.ref: found for node in members if (found := _subnets(view, node, pool))}
    counts = Counter(subnet for found in subnets.values() for subnet in found)
    everywhere = [subnet for subnet, count in counts.items() if count == len(subnets) > 1]
    apart = [node.ref for node in members if node.ref in subnets and not _starts_in(node, everywhere, pool)]
    if len(subnets) < 2 or not apart:
        return ""
    one = apart[0]
    others = sorted(subnets.keys() - {one}, key=lambda ref: (bool(subnets[ref] & subnets[one]), ref))
    return (
        f"is pool, and {one} and {others[0]} send to each other through the fabric, which knows {pool.cidr} only: "
        "packets go in circles"
    )


def _starts_in(node: NodeDigest, subnets: Sequence[str], pool: IPPoolSpec) -> bool:
    """Whether the node names an address on one of the subnets as next hop to other nodes or reflectors."""
    family = addressing.family_of(pool.cidr)
    sessions = [s for s in node.speaker.sessions if s.peer.startswith(_AMONG_OURS) and family in s.families]
    own = node.facts.loopback(":" in pool.cidr)
    return any(addressing.lies_in(local, subnets) for s in sessions if (local := s.local_address or own))


def _subnets(view: View, node: NodeDigest, pool: IPPoolSpec) -> frozenset[str]:
    """The subnets that the node is on, of the pool's family."""
    resource = view.graph.snapshot.get("Node", node.facts.name)
    bgp = cast(NodeSpec, resource.spec).bgp if resource else None
    addresses = [address for _, address in node.facts.uplinks]
    addresses += [address for address in (bgp.ipv4_address, bgp.ipv6_address) if address] if bgp else []
    found = (addressing.subnet_of(a) for a in addresses if "/" in a and (":" in a) is (":" in pool.cidr))
    return frozenset(subnet for subnet in found if not subnet.endswith(("/32", "/128")))


def _peers_outside(node: NodeDigest, pool: IPPoolSpec) -> bool:
    """Whether the node announces the pool to anybody."""
    return any(not peer.startswith(_AMONG_OURS) for peer in node.ends.peers[":" in pool.cidr])


def _announced_whole(view: View, by: Literal["rack", "pool"]) -> Iterator[tuple[str, IPPoolSpec, list[NodeDigest]]]:
    """The pools that are announced so, with the nodes that take blocks of them."""
    for name, pool in view.pools.items():
        if pool.aggregated_by == by:
            yield name, pool, [view.nodes[node] for node in sorted(view.nodes_of_pool[name])]
