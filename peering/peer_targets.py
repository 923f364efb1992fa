"""Who is behind the address of a BGPPeer: a node, a reflector or a switch of ours, or somebody unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from peering import addressing
from peering.facts import NodeFacts
from peering.prefixes import numbers
from peering.reflector_sessions import ReflectorView
from peering.resource import Resource
from peering.resources.fabric import SwitchSpec


@dataclass(frozen=True, slots=True)
class Target:
    """A router of ours at an address. `cluster_id` is None for who does not reflect."""

    kind: str
    name: str
    asn: int
    port: int = 179
    cluster_id: str | None = None
    reflector: ReflectorView | None = None

    @property
    def ref(self) -> str:
        """As `Session.peer` names it."""
        return f"{self.kind}/{self.name}"


class Targets:
    """The routers by address. An address that two have (lint tells) is that of the first by kind and name."""

    def __init__(
        self,
        nodes: Mapping[str, NodeFacts],
        reflectors: Mapping[str, ReflectorView],
        switches: Mapping[str, SwitchSpec],
    ) -> None:
        self._by_address: dict[str, Target] = {}
        for reflector in reflectors.values():
            target = _of_reflector(reflector)
            for address in reflector.addresses:
                self._by_address.setdefault(address, target)
        for name, switch in switches.items():
            for address in (*switch.addresses, *switch.link_addresses):
                self._by_address.setdefault(addressing.bare(address), Target("switch", name, switch.as_number))
        for node in nodes.values():
            for address in node.loopbacks:
                if address not in self._by_address:
                    self._by_address[address] = Target("node", node.name, node.asn, node.listen_port, node.cluster_id)

    def at(self, address: str) -> Target | None:
        """Who has the address, wherever one asks from."""
        return self._by_address.get(address)


class LinkIndex:
    """The switches by the subnets of their links: who is at the other end of a point-to-point link."""

    def __init__(self, *switches: Resource) -> None:
        self._by_subnet: dict[str, Target] = {}
        for resource in switches:
            spec = resource.spec
            assert isinstance(spec, SwitchSpec)
            for cidr in spec.link_subnets:
                self._by_subnet.setdefault(cidr, Target("switch", resource.name, spec.as_number))
        self._lengths = sorted({(numbers(cidr).bits, numbers(cidr).length) for cidr in self._by_subnet})

    def far_end(self, node_address: str, peer_address: str) -> Target | None:
        """The switch whose address on the link of `node_address` (with length) is `peer_address`."""
        if addressing.far_end(node_address) != peer_address:
            return None
        bare = addressing.bare(node_address)
        for bits, length in self._lengths:
            if bits == numbers(bare).bits:
                found = self._by_subnet.get(addressing.subnet_of(f"{bare}/{length}"))
                if found is not None:
                    return found
        return None


def _of_reflector(view: ReflectorView) -> Target:
    return Target("reflector", view.name, view.asn, view.spec.listen_port, view.cluster_id, view)
