"""Packets travel: from router to router, as each one's routes say.

A router forwards by the longest prefix that it has a usable route for, so what has no route of its own follows the
default route. A next hop is used as the speaker does it (bgp_speaker/route_selection.py): one on a link directly, any
other is looked up once more in the routes chosen. Where a router has no session over a declared link, the network
beneath is taken to know the way to the next hop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from peering.prefixes import Address, Prefix
from peering.whatif.links import Uplink
from peering.whatif.propagation import Part, Propagation, Selections, Watch
from peering.whatif.routers import Router

Status = Literal["yes", "partly", "no"]
#: The next router and the address that it is reached under.
Hop = tuple[str, Address]


@dataclass(frozen=True, slots=True, order=True)
class Way:
    """From a router to a prefix. `partly`: some of the equal-cost ways end nowhere or in a loop.

    `width` is the number of distinct first next hops.
    """

    status: Status
    width: int = 0


class OutsidePart(Exception):
    """The answer depends on a router that the part does not have."""

    def __init__(self, router: str) -> None:
        super().__init__(router)
        self.router = router


class Forwarding:
    """The forwarding tables of a part."""

    def __init__(self, part: Part, watch: Watch | None = None) -> None:
        self.part = part
        self.routes = Propagation(part, lambda router, address: bool(self._next_hop(router, address)), watch)
        self._situation = part.situation
        self._fabric = part.situation.fabric
        self._hops: dict[tuple[str, Prefix], tuple[Hop, ...]] = {}

    def way(self, source: str, prefix: Prefix) -> Way:
        """How packets from a router to a prefix fare."""
        owners = set(self._fabric.index.routers(prefix))
        hops: dict[str, tuple[Hop, ...]] = {}
        waiting = [source]
        while waiting:
            name = waiting.pop()
            if name not in hops:
                hops[name] = () if name in owners else self.hops(name, prefix)
                waiting += [hop for hop, _ in hops[name]]
        if not owners & hops.keys():
            return Way("no")
        dies = any(not found and name not in owners for name, found in hops.items()) or _loops(hops)
        return Way("partly" if dies else "yes", len(hops[source]))

    def from_outside(self, prefix: Prefix) -> Way:
        """How packets fare that come in at the external routers which know the prefix, or what stands for it."""
        known = {name for one in (prefix, *self._fabric.aggregates.covering(prefix)) for name in self._selections(one)}
        doors = sorted(name for name in known if self.part.routers[name].kind == "external")
        found = {self.way(name, prefix).status for name in doors} or {"no"}
        return Way(found.pop() if len(found) == 1 else "partly", len(doors))

    def hops(self, name: str, prefix: Prefix) -> tuple[Hop, ...]:
        """Where a router sends packets for a prefix that is not its own."""
        key = (name, prefix)
        if key not in self._hops:
            self._hops[key] = self._look_up(name, prefix)
        return self._hops[key]

    def _look_up(self, name: str, prefix: Prefix) -> tuple[Hop, ...]:
        router = self.part.routers[name]
        for covering in self._fabric.covering(prefix):
            known = self._selections(covering).get(name)
            if known is None:
                continue
            if known.own:
                return ()
            found = {hop for one in known.multipath for hop in self._next_hop(router, one.path.next_hop)}
            if found:
                return tuple(sorted(found))
        return ()

    def _selections(self, prefix: Prefix) -> Selections:
        for name in self._fabric.index.routers(prefix):
            self._check(name)
        return self.routes.selections(prefix)

    def _check(self, name: str) -> None:
        if name not in self.part.routers and self._situation.is_up(self._fabric.routers[name]):
            raise OutsidePart(name)

    def _next_hop(self, router: Router, address: Address) -> tuple[Hop, ...]:
        """What a next hop comes to: usually itself, several when it is looked up in the routes, or nothing."""
        found = self._on_link(router, address)
        if found is None:
            found = self._beneath(router, address)
        if found is not None:
            self._check(found)
            return ((found, address),)
        return self._recursive(router, address)

    def _on_link(self, router: Router, address: Address) -> str | None:
        """The neighbour with that address on a link that works."""
        links, situation = self._fabric.links, self._situation
        known = links.direct.get((router.id, address))
        if known is not None:
            return known[0] if situation.link_is_up(known[1]) else None
        uplink = links.uplink_to(router.id, address)
        owner = self._fabric.owners.get(address)
        if (
            uplink is None
            or owner is None
            or not (self._works(uplink) and situation.is_up(self._fabric.routers[owner]))
        ):
            return None
        there = (other for other in links.uplinks.get(owner, ()) if other.near == address)
        return owner if any(other.subnet == uplink.subnet and self._works(other) for other in there) else None

    def _works(self, uplink: Uplink) -> bool:
        return not uplink.pairs or any(map(self._situation.link_is_up, uplink.pairs))

    def _beneath(self, router: Router, address: Address) -> str | None:
        """The owner of the address, when the network beneath is taken to lead there."""
        owner = self._fabric.owners.get(address)
        if owner is None or (router.id, address) in self._fabric.links.direct:
            return None
        other, situation = self._fabric.routers[owner], self._situation
        trusted = other if router.kind == "switch" else router
        known_beneath = trusted.flat or trusted.kind == "external"
        cut = not situation.is_up(other) or situation.is_stranded(other) or situation.is_stranded(router)
        return owner if known_beneath and not cut else None

    def _recursive(self, router: Router, address: Address) -> tuple[Hop, ...]:
        """The next hops of the route that leads to the next hop. A switch does not take the default route for that."""
        for covering in self._fabric.index.covering_address(address):
            known = self._selections(covering).get(router.id)
            if known is None:
                continue
            if known.own or (router.kind == "switch" and covering[0] == 0):
                return ()
            found = ((self._on_link(router, one.path.next_hop), one.path.next_hop) for one in known.multipath)
            return tuple(sorted({(name, hop) for name, hop in found if name is not None}))
        return ()


def _loops(hops: dict[str, tuple[Hop, ...]]) -> bool:
    """Whether a packet can come back to where it was: some routers are left when those without a way in go first."""
    entries = dict.fromkeys(hops, 0)
    for found in hops.values():
        for hop in {name for name, _ in found}:
            entries[hop] += 1
    waiting = [name for name, count in entries.items() if not count]
    gone = 0
    while waiting:
        gone += 1
        for hop in {name for name, _ in hops[waiting.pop()]}:
            entries[hop] -= 1
            if not entries[hop]:
                waiting.append(hop)
    return gone < len(hops)
