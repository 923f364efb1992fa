"""The compiled graph as the checks look at it: digests of every router, and indices made when they are asked for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from peering.addressing import bare
from peering.graph import Graph
from peering.lint.digest import NodeDigest, ReflectorDigest, SwitchDigest
from peering.memo import Memo
from peering.node_index import NodeIndex
from peering.prefix_limits import blocks_per_host
from peering.resources.fabric import SwitchSpec
from peering.resources.pools import IPPoolSpec

#: Blocks that a node may own where `maxBlocksPerHost` says nothing; Calico's number.


@dataclass(frozen=True)
class View:
    """What GRAPH_CHECKS get. Digests are by name."""

    graph: Graph
    nodes: Mapping[str, NodeDigest]
    switches: Mapping[str, SwitchDigest]
    reflectors: Mapping[str, ReflectorDigest]
    memo: Memo

    def select(self, selector: str | None) -> list[str]:
        """The names of the nodes that a selector selects; None selects all."""
        known = self._selected.get(selector or "")
        if known is None:
            known = self._selected[selector or ""] = self._index.select(selector)
        return known

    @cached_property
    def _selected(self) -> dict[str, list[str]]:
        return {}

    @cached_property
    def _index(self) -> NodeIndex:
        return NodeIndex(self.graph.snapshot.all("Node"))

    @cached_property
    def pools(self) -> dict[str, IPPoolSpec]:
        return self.graph.snapshot.specs("IPPool", IPPoolSpec)

    @cached_property
    def switch_specs(self) -> dict[str, SwitchSpec]:
        return self.graph.snapshot.specs("Switch", SwitchSpec)

    @cached_property
    def blocks_per_host(self) -> int:
        """`maxBlocksPerHost`, or what counts without it."""
        return blocks_per_host(self.graph.snapshot)

    @cached_property
    def members(self) -> Counter[str]:
        """How many nodes stand in each rack."""
        return Counter(node.rack for node in self.graph.nodes.values() if node.rack is not None)

    @cached_property
    def nodes_of_pool(self) -> dict[str, list[str]]:
        """The names of the nodes that each pool selects."""
        return {name: self.select(pool.node_selector) for name, pool in self.pools.items()}

    @cached_property
    def sources(self) -> dict[str, set[str]]:
        """The types (`ibgp`, `ebgp`) of the sessions that each declaration gives; one that gives none is absent."""
        types: defaultdict[str, set[str]] = defaultdict(set)
        for routers in (self.nodes.values(), self.switches.values(), self.reflectors.values()):
            for pairs in {router.ends.sources for router in routers}:
                for source, session_type in pairs:
                    types[source.removeprefix("reverse:")].add(session_type)
        return types

    @cached_property
    def reflecting_nodes(self) -> frozenset[str]:
        """The nodes with a cluster ID, as `Session.peer` names them."""
        return frozenset(f"node/{name}" for name, node in self.graph.nodes.items() if node.cluster_id is not None)

    @cached_property
    def addresses(self) -> list[tuple[str, str]]:
        """Every address of every router, bare, with its owner; those of links with the nodes only."""
        found = [(address, node.ref) for node in self.nodes.values() for address in node.addresses]
        for name, switch in self.switch_specs.items():
            found += [(bare(a), f"Switch/{name}") for a in (*switch.addresses, *switch.link_addresses)]
        for name, reflector in self.graph.reflectors.items():
            found += [(a, f"RouteReflector/{name}") for a in reflector.addresses]
        return found

    @cached_property
    def as_numbers(self) -> dict[str, tuple[str, int]]:
        """Owner and AS of every address of a switch or reflector."""
        known = {
            bare(a): (f"Switch/{name}", switch.as_number)
            for name, switch in self.switch_specs.items()
            for a in (*switch.addresses, *switch.link_addresses)
        }
        for name, reflector in self.graph.reflectors.items():
            known |= dict.fromkeys(reflector.addresses, (f"RouteReflector/{name}", reflector.asn))
        return known

    @cached_property
    def blocks(self) -> tuple[int, int]:
        """The fewest exported blocks of each family: one for each node of each pool."""
        totals = [0, 0]
        for name, pool in self.pools.items():
            if pool.exports_blocks:
                totals[":" in pool.cidr] += len(self.nodes_of_pool[name])
        return totals[0], totals[1]

    @cached_property
    def routes(self) -> int:
        """The fewest routes that the fabric carries: a block for each node and pool, and everybody's loopbacks.

        A pool that is announced whole is one.
        """
        whole = [name for name, pool in self.pools.items() if pool.aggregated_by and self.nodes_of_pool[name]]
        hidden = sum(len(self.nodes_of_pool[name]) - 1 for name in whole)
        loopbacks = sum(len(node.loopbacks) for node in self.graph.nodes.values())
        return (
            sum(self.blocks) - hidden + loopbacks + sum(len(switch.addresses) for switch in self.switch_specs.values())
        )
