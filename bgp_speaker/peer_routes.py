"""reachableBy: a host route to the peer over a gateway, for as long as the session is in the plan. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from bgp_speaker.kernel_route import KernelRoute, Nexthop
from bgp_speaker.route_selection import Connected
from peering.prefixes import Prefix, host_prefix, pack_address, pack_prefix
from peering.session import Session


def peer_routes(sessions: Iterable[Session], connected: Connected) -> tuple[dict[Prefix, KernelRoute], dict[str, str]]:
    """The routes, and session name -> what is wrong for those whose gateway is on no link that is up."""
    routes: dict[Prefix, KernelRoute] = {}
    unreached: dict[str, str] = {}
    for session in sessions:
        if session.reachable_by is None:
            continue
        gateway = pack_address(session.reachable_by)
        ifindex = connected(gateway)
        if ifindex is None:
            unreached[session.name] = f"reachableBy {session.reachable_by} is on no link that is up"
        else:
            routes[pack_prefix(host_prefix(session.peer_address))] = KernelRoute((Nexthop(gateway, ifindex),))
    return routes, unreached
