"""What BGP itself does with a route on its way from one router to the next (RFC 4271, 5.1 and 9; RFC 4456, 8).

`advertised` is the sender's side: who may be told, which attributes change. `taken` is the receiver's: loops, its
policy, and the path as best path selection looks at it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from peering.bestpath import Path, choose
from peering.prefixes import Address, Prefix, contains, is_ipv6
from peering.whatif.policies import NO_ADVERTISE, NO_EXPORT
from peering.whatif.routers import Advertisement, Edge, host_route

_DEFAULT_LOCAL_PREFERENCE = 100
MAX_PATHS = 16


@dataclass(frozen=True, slots=True)
class Candidate:
    """A route that a router has: what it heard, over which edge, and the path it makes of it."""

    heard: Advertisement
    edge: Edge
    path: Path


@dataclass(frozen=True, slots=True)
class Selection:
    """What a router knows of a prefix. `own`: it originates it. `reason`: the last step that took a path out."""

    best: Candidate | None = None
    multipath: tuple[Candidate, ...] = ()
    usable: tuple[Candidate, ...] = ()
    reason: str = ""

    @property
    def own(self) -> bool:
        return self.best is None


OWN = Selection()


def select(candidates: list[Candidate], reachable: Callable[[Address], bool] | None = None) -> Selection | None:
    """The choice among what a router heard; `reachable` says of a next hop whether it counts (RFC 4271, 9.1.2)."""
    usable = [c for c in candidates if reachable is None or reachable(c.path.next_hop)]
    choice = choose([c.path for c in usable], MAX_PATHS)
    if choice is None:
        return None
    of = {id(c.path): c for c in usable}
    return Selection(of[id(choice.best)], tuple(of[id(p)] for p in choice.multipath), tuple(usable), choice.reason)


def advertised(edge: Edge, prefix: Prefix, known: Selection | None) -> tuple[Advertisement, ...]:
    """What the sender says over the edge: one route, more with add-path, or nothing."""
    if known is None or not edge.carries(prefix):
        return ()
    if known.best is None:
        said = _own(edge, prefix)
        return () if said is None else (said,)
    if not edge.sender.transit:
        return ()
    told = known.usable if edge.all_paths else (known.best,)
    routes = (_passed_on(edge, prefix, one) for one in told)
    return tuple(dict.fromkeys(route for route in routes if route is not None))


def taken(edge: Edge, prefix: Prefix, heard: Advertisement) -> Candidate | None:
    """The route as the receiver keeps it; None when it refuses it."""
    me = edge.receiver
    allowed = edge.far.allow_as_in or 0
    if any(heard.as_path.count(asn) > allowed for asn in {me.asn, edge.far.local_asn}):
        return None
    if heard.originator == me.router_id or me.cluster in heard.cluster_list or heard.next_hop in me.addresses:
        return None
    kept = me.policy.receives(edge, prefix, heard)
    if kept is None:
        return None
    path = Path(
        peer=edge.peer,
        next_hop=kept.next_hop,
        ebgp=not edge.ibgp,
        as_path=kept.as_path,
        as_path_length=len(kept.as_path),
        local_preference=_DEFAULT_LOCAL_PREFERENCE if kept.local_preference is None else kept.local_preference,
        origin=kept.origin,
        med=kept.med or 0,
        router_id=edge.sender.router_id if kept.originator is None else kept.originator,
        cluster_list_length=len(kept.cluster_list),
    )
    return Candidate(kept, edge, path)


def _own(edge: Edge, prefix: Prefix) -> Advertisement | None:
    next_hop = edge.next_hops[is_ipv6(prefix)]
    route = edge.sender.policy.sends(edge, prefix, Advertisement(next_hop), True) if next_hop else None
    return None if route is None else _dressed(edge, route)


def _passed_on(edge: Edge, prefix: Prefix, known: Candidate) -> Advertisement | None:
    back = known.edge.reverse is edge
    reflected = known.edge.ibgp and edge.ibgp
    if back or (reflected and not (known.edge.far.rr_client or edge.near.rr_client)):
        return None
    route = known.heard
    if NO_ADVERTISE in route.communities or (NO_EXPORT in route.communities and not edge.ibgp):
        return None
    # A MED stays in the AS that it came into (RFC 4271, 5.1.4).
    told = edge.sender.policy.sends(edge, prefix, route if edge.ibgp else replace(route, med=None), False)
    if told is None:
        return None
    if reflected:
        told = replace(
            told,
            originator=known.path.router_id,
            cluster_list=(edge.sender.cluster, *told.cluster_list),
        )
    return _dressed(edge, replace(told, next_hop=_next_hop(edge, prefix, known, reflected)))


def _dressed(edge: Edge, route: Advertisement) -> Advertisement:
    """What the type of session demands of the attributes."""
    if edge.ibgp:
        preference = route.local_preference
        return replace(route, local_preference=_DEFAULT_LOCAL_PREFERENCE if preference is None else preference)
    local, peer = edge.near.local_asn, edge.near.peer_asn
    path = tuple(local if edge.near.as_override and asn == peer else asn for asn in route.as_path)
    return replace(route, as_path=(local, *path), local_preference=None, originator=None, cluster_list=())


def _next_hop(edge: Edge, prefix: Prefix, known: Candidate, reflected: bool) -> Address:
    """`auto`: eBGP puts itself in its place, unless the next hop is on the subnet that sender and receiver share (RFC
    4271, 5.1.3); iBGP keeps it, except that a switch puts itself in place of one from outside the AS."""
    kept, own = known.heard.next_hop, edge.next_hops[is_ipv6(prefix)]
    mode = edge.near.next_hop
    if mode == "auto" and edge.ibgp:
        mode = "self" if edge.sender.kind == "switch" and not reflected else "keep"
    elif mode == "auto":
        host = host_route(kept)
        mode = "keep" if edge.subnet is not None and contains(edge.subnet, host) else "self"
    return kept if mode == "keep" else own
