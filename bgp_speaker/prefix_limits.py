"""maxPrefixes: how many paths a session may bring, for each family it carries. Pure.

ExaBGP has no such limit, and with graceful restart it ends a session without a NOTIFICATION, so that the peer would
keep our routes and come back at once with all of its own. So the session stays: while its peer is over the limit, none
of that family's paths is used, and the status says so. They are used again when the peer has withdrawn enough.
Counted is what the peer sends, before any filter: that is what fills the node's memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from peering.prefixes import Address, pack_address
from peering.session import Family, Session

#: Per cent of the limit at which the status warns.
WARN_AT = 80


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of its limit a session uses in one family."""

    session: str
    peer: Address
    family: Family
    count: int
    limit: int

    @property
    def over(self) -> bool:
        return self.count > self.limit

    @property
    def near(self) -> bool:
        """Close to the limit, or over it."""
        return self.count * 100 >= self.limit * WARN_AT

    def line(self) -> str:
        """For the status: `tor-1a-ipv4: 1201 of 1000 ipv4-unicast prefixes (maxPrefixes), none is used`."""
        verdict = ", none is used" if self.over else ""
        return f"{self.session}: {self.count} of {self.limit} {self.family} prefixes (maxPrefixes){verdict}"


def usages(sessions: Iterable[Session], count: Callable[[Address, bool], int]) -> Iterator[Usage]:
    """Of the sessions that have a limit. `count` gives the paths of a peer, of IPv6 or not."""
    for session in sessions:
        if session.max_prefixes is not None:
            peer = pack_address(session.peer_address)
            for family in session.families:
                told = count(peer, family == "ipv6-unicast")
                yield Usage(session.name, peer, family, told, session.max_prefixes)


class LimitWatch:
    """Tells once when a session comes close to its limit, and once when it is over it."""

    def __init__(self) -> None:
        self._told: set[tuple[str, Family, bool]] = set()

    def news(self, found: Iterable[Usage]) -> list[str]:
        """The lines that were not told yet; what is over is told again when it returns."""
        near = {(u.session, u.family, u.over): u.line() for u in found if u.near}
        lines = [line for key, line in near.items() if key not in self._told]
        self._told = set(near)
        return lines
