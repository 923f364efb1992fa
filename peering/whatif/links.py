"""The links of the nodes: which switch is at the far end, and who is a neighbour under which address.

A link exists because it is declared, whether a session uses it or not: a node all of whose links are down is cut off.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from peering import addressing
from peering.facts import NodeFacts
from peering.graph import Graph
from peering.prefixes import Address, Prefix, contains, pack_prefix
from peering.resources.fabric import SwitchSpec
from peering.whatif.routers import Pair, host_route, packed, pair_of


@dataclass(frozen=True, slots=True)
class Uplink:
    """An address of a node on a link. `pairs` are the declared switches there; empty: the far end is not declared.

    `far` is the other address of a point-to-point link, None in a subnet that many share.
    """

    interface: str
    near: Address
    subnet: Prefix
    far: Address | None
    pairs: tuple[Pair, ...]


@dataclass(slots=True)
class Links:
    """By the routers' ids. `direct`: under which address a router has which neighbour, and over which link."""

    uplinks: dict[str, tuple[Uplink, ...]] = field(default_factory=dict)
    pairs: dict[str, tuple[Pair, ...]] = field(default_factory=dict)
    direct: dict[tuple[str, Address], tuple[str, Pair]] = field(default_factory=dict)
    _at: dict[str, list[Pair]] = field(default_factory=dict)

    def join(self, one: str, one_address: Address, other: str, other_address: Address) -> Pair:
        """Both are neighbours of each other under these addresses."""
        pair = pair_of(one, other)
        self.direct.setdefault((one, other_address), (other, pair))
        self.direct.setdefault((other, one_address), (one, pair))
        return pair

    def uplink_to(self, node: str, address: Address) -> Uplink | None:
        """The uplink on whose subnet an address lies; the longest subnet wins."""
        host = host_route(address)
        on_it = [u for u in self.uplinks.get(node, ()) if contains(u.subnet, host) and u.near != address]
        return max(on_it, key=lambda uplink: uplink.subnet[0], default=None)

    def pairs_at(self, router: str) -> tuple[Pair, ...]:
        """The declared links of a node or a switch."""
        if router not in self.pairs and not self._at:
            for pair in (pair for pairs in self.pairs.values() for pair in pairs):
                for end in pair:
                    self._at.setdefault(end, []).append(pair)
        return self.pairs.get(router) or tuple(self._at.get(router, ()))


def links_of(graph: Graph) -> Links:
    """The links that nodes and switches declare."""
    links = Links()
    switches = graph.snapshot.specs("Switch", SwitchSpec)
    subnets = _SwitchSubnets(switches)
    for facts in graph.nodes.values():
        node = f"node/{facts.name}"
        found = tuple(_uplinks(node, facts, subnets))
        links.uplinks[node] = found
        unnumbered = (pair_of(node, f"switch/{name}") for _, name, _ in facts.unnumbered if name in switches)
        links.pairs[node] = tuple(sorted({*(pair for uplink in found for pair in uplink.pairs), *unnumbered}))
        for uplink in found:
            _join_neighbours(links, node, uplink, switches)
    return links


def _uplinks(node: str, facts: NodeFacts, subnets: _SwitchSubnets) -> Iterator[Uplink]:
    for interface, address in facts.uplinks:
        near, far = packed(addressing.bare(address)), addressing.far_end(address)
        yield Uplink(
            interface=interface,
            near=near,
            subnet=pack_prefix(addressing.subnet_of(address)),
            far=None if far is None else packed(far),
            pairs=tuple(sorted(pair_of(node, f"switch/{name}") for name in subnets.holding(near))),
        )


def _join_neighbours(links: Links, node: str, uplink: Uplink, switches: dict[str, SwitchSpec]) -> None:
    for pair in uplink.pairs:
        switch = pair[0] if pair[1] == node else pair[1]
        shared = map(packed, map(addressing.bare, switches[switch.removeprefix("switch/")].link_addresses))
        ends: Iterable[Address] = [uplink.far] if uplink.far else shared
        for end in ends:
            if contains(uplink.subnet, host_route(end)):
                links.join(node, uplink.near, switch, end)


class _SwitchSubnets:
    """Switches by the subnets that their links come from."""

    def __init__(self, switches: dict[str, SwitchSpec]) -> None:
        self._by_bits: dict[tuple[int, int], dict[int, list[str]]] = {}
        for name, spec in switches.items():
            for cidr in map(pack_prefix, spec.link_subnets):
                by_bits = self._by_bits.setdefault((len(cidr), cidr[0]), {})
                by_bits.setdefault(_first_bits(cidr[1:], cidr[0]), []).append(name)

    def holding(self, address: Address) -> list[str]:
        """The switches in whose link subnets the address lies, each once."""
        found: dict[str, None] = {}
        for (size, length), by_bits in self._by_bits.items():
            if size == len(address) + 1:
                found.update(dict.fromkeys(by_bits.get(_first_bits(address, length), ())))
        return list(found)


def _first_bits(address: Address, length: int) -> int:
    return int.from_bytes(address) >> (8 * len(address) - length)
