"""One address of each family for a handle, for callers that keep nothing between two requests."""

from __future__ import annotations

from ipam.allocator import Allocator
from ipam.documents import read_declared
from ipam.errors import NoPool
from ipam.requests import Request
from peering.store.protocol import Store


async def assign(store: Store, node: str, handle: str) -> list[str]:
    """One address of each family of which the node has a pool, with the host length: `10.244.0.64/32`.

    Raises IpamError.
    """
    declared = await read_declared(store, node)
    families = declared.families()
    if not families:
        raise NoPool(f"no enabled IPPool is for Node/{node}: make one, or look at the selectors")
    request = Request(handle, ipv4=int(4 in families), ipv6=int(6 in families))
    given = await Allocator(store, node).allocate(request, declared)
    return [one.host_prefix for one in given]


async def release(store: Store, handle: str) -> int:
    """Frees every address that the handle holds; how many those were."""
    return len(await Allocator(store, "").release(handle))
