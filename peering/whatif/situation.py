"""What is down: the parts that fail, and what goes with them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from peering.whatif.fabric import Fabric
from peering.whatif.routers import Edge, Pair, Router


@dataclass(frozen=True)
class Failure:
    """Routers and links by their ids, sessions by the edge in either direction."""

    routers: frozenset[str] = frozenset()
    links: frozenset[Pair] = frozenset()
    sessions: frozenset[Edge] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.routers or self.links or self.sessions)


NOTHING = Failure()


class Situation:
    """The fabric with a failure in it.

    A node is *stranded* when it has links and all of them are down: then its sessions across the network go too, and
    those of a reflector that runs on it.
    """

    def __init__(self, fabric: Fabric, failure: Failure = NOTHING) -> None:
        self.fabric = fabric
        self.failure = failure
        self._stranded: dict[str, bool] = {}
        self._sessions = failure.sessions | {edge.reverse for edge in failure.sessions}

    def is_up(self, router: Router) -> bool:
        """Whether the router itself works, and the node that it runs on."""
        down = self.failure.routers
        return router.id not in down and (router.host is None or router.host not in down)

    def link_is_up(self, pair: Pair) -> bool:
        """Whether the link and the routers at its ends work."""
        down = self.failure.routers
        return pair not in self.failure.links and pair[0] not in down and pair[1] not in down

    def is_stranded(self, router: Router) -> bool:
        """Whether all links that the router has are down."""
        if not self.failure:
            return False
        node = router.host or router.id
        known = self._stranded.get(node)
        if known is None:
            pairs = self.fabric.links.pairs.get(node, ())
            known = self._stranded[node] = bool(pairs) and not any(map(self.link_is_up, pairs))
        return known

    def carries(self, edge: Edge) -> bool:
        """Whether the session of the edge is up."""
        if not self.failure:
            return True
        if edge in self._sessions or not (self.is_up(edge.sender) and self.is_up(edge.receiver)):
            return False
        if edge.pair is not None:
            return self.link_is_up(edge.pair)
        return not (self.is_stranded(edge.sender) or self.is_stranded(edge.receiver))

    @cached_property
    def affected(self) -> frozenset[str]:
        """The routers that fail, those at the other end of their links, those whose link or session fails, and those
        that run on such a node. Every session that is lost has one of them at an end."""
        routers = self.fabric.routers
        found = set(self.failure.routers)
        found.update(router for pair in self.failure.links for router in pair)
        found.update(router.id for edge in self.failure.sessions for router in (edge.sender, edge.receiver))
        for name in self.failure.routers:
            found.update(edge.receiver.id for edge in routers[name].out if edge.pair)
            found.update(one for pair in self.fabric.links.pairs_at(name) for one in pair)
        found.update(router.id for router in self.fabric.hosted if router.host in found)
        return frozenset(found)

    def lost_sessions(self) -> list[Edge]:
        """One edge of each session that is up without the failure and is down with it."""
        routers = (self.fabric.routers[name] for name in sorted(self.affected))
        return [
            edge
            for router in routers
            for edge in router.out
            if (router.id < edge.receiver.id or edge.receiver.id not in self.affected) and not self.carries(edge)
        ]
