"""What `ipam release` does: frees gifts that were looked at, each by its sequence, so that no other gift is touched.

Whoever gives the same address anew, or another to the same handle, between the look and the release, keeps it. A holder
seems to live as long as its node is declared: whether the pod is there, only the node knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

from ipam.allocator import Allocator, Given
from ipam.block import user_of
from ipam.block_order import address_at
from ipam.documents import BlockCopies
from ipam.handles import settle
from ipam.owners import is_node
from peering.resource import Resource
from peering.resources.ipam import Allocation, IPAMBlockSpec
from peering.store.protocol import Store
from peering.store.resources import load


@dataclass(frozen=True, slots=True)
class Holding:
    """One address in use, whose it is, and whether its holder seems to live."""

    given: Given
    handle: str
    pod: str
    node: str
    lives: bool

    @property
    def line(self) -> str:
        """`10.244.0.65 (sequence 12) is held by default.web, pod default/web, on Node/node-1`."""
        pod = f", pod {self.pod}" if self.pod else ""
        node = f", on Node/{self.node}" if is_node(self.node) else ""
        who = self.handle or "somebody without a handle"
        return f"{self.given.address} (sequence {self.given.sequence}) is held by {who}{pod}{node}"


async def holdings(store: Store, wanted: Callable[[Given, str], bool]) -> list[Holding]:
    """The addresses in use that are wanted, by their gift and handle."""
    resources, _, _ = await load(store, ("Node", "IPAMBlock"))
    nodes = {one.name for one in resources if one.kind == "Node"}
    return [one for one in _all(resources, nodes) if wanted(one.given, one.handle)]


async def free(store: Store, found: Iterable[Holding]) -> list[Holding]:
    """Frees them. Which of them it freed; the others were free or given anew."""
    allocator = Allocator(store, "")
    return [one for one in found if await allocator.release_address(one.given)]


async def forget_promise(store: Store, handle: str) -> None:
    """Of a handle that holds nothing nothing is left."""
    await settle(BlockCopies(store), store, handle, lambda cidr, allocation: False, 0.0)


def _all(resources: Iterable[Resource], nodes: set[str]) -> Iterable[Holding]:
    for resource in resources:
        if resource.kind == "IPAMBlock":
            spec = cast(IPAMBlockSpec, resource.spec)
            yield from (_holding(spec, one, nodes) for one in spec.allocations)


def _holding(spec: IPAMBlockSpec, a: Allocation, nodes: set[str]) -> Holding:
    """A holder without a node that is known seems to live, and everybody does in a store without any node."""
    node = user_of(spec, a)
    given = Given(address_at(spec.cidr, a.ordinal), spec.cidr, a.sequence)
    pod = f"{a.namespace}/{a.pod}" if a.pod else ""
    return Holding(given, a.handle, pod, node, not is_node(node) or not nodes or node in nodes)
