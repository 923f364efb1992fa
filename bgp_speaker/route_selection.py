"""From learned paths to the whole set of kernel routes that is wanted. Pure.

    learned ─► import decision ─► best path and multipath ─► next hops on links ─► routes

Choices are kept and made anew only for prefixes that changed; the resolution of next hops is done for all of
them every time, because a link that comes or goes concerns them all, and it is one dictionary look-up per
next hop. A next hop that is on no link of the node leads over the gateway that the plan gives for it (reachableBy),
or is looked up once more in the routes chosen (the address of another node, a loopback behind the fabric).

A path whose next hop leads nowhere takes no part (RFC 4271, 9.1.2): where all that were chosen are such, the choice is
made among the others. A prefix of which no path is left has no route.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bgp_speaker.kernel_route import KernelRoute, Nexthop
from bgp_speaker.learned_routes import LearnedPath, LearnedRoutes
from peering.bestpath import Choice, Path, choose
from peering.prefixes import Address, Prefix, is_ipv6

T = TypeVar("T")

#: Next hops that are looked up one after the other, at most.
_LONGEST_CHAIN = 4
#: The interface that reaches a gateway directly, or None.
Connected = Callable[[Address], int | None]
#: The path to use for a prefix that a peer announced, or None and why it is refused.
Judge = Callable[[Prefix, Address, LearnedPath], tuple[Path | None, str]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A path that is not used."""

    peer: Address
    reason: str


class RouteSelection:
    """Keeps the choice per prefix; `select` follows what changed, `routes` gives the whole desired set."""

    def __init__(self, max_paths: int = 16) -> None:
        self._max_paths = max_paths
        self._choices: dict[Prefix, Choice] = {}
        self._others: dict[Prefix, tuple[Path, ...]] = {}
        self._refused: dict[Prefix, tuple[Refusal, ...]] = {}

    def select(self, learned: LearnedRoutes, changed: set[Prefix], judge: Judge) -> None:
        """Chooses anew for the prefixes that changed."""
        memo: dict[tuple[Path, ...], Choice | None] = {}
        for prefix in changed:
            accepted: list[Path] = []
            refused: list[Refusal] = []
            for (peer, _), told in learned.paths(prefix).items():
                path, reason = judge(prefix, peer, told)
                if path is None:
                    refused.append(Refusal(peer, reason))
                else:
                    accepted.append(path)
            _put(self._refused, prefix, tuple(refused))
            key = tuple(accepted)
            if key not in memo:
                memo[key] = choose(accepted, self._max_paths)
            choice = memo[key]
            _put(self._choices, prefix, choice)
            _put(self._others, prefix, key if choice and len(choice.multipath) < len(key) else None)

    def routes(
        self, connected: Connected, sources: Sequence[Address], via: Mapping[Address, Address] | None = None
    ) -> dict[Prefix, KernelRoute]:
        """The kernel routes of all choices. `sources`: the node's loopback of each family it has one of.

        `via`: the gateways over which next hops are reached that are on no link.
        """
        source_of = {len(address) > 4: address for address in sources}
        resolver = _Resolver(self._choices, self._others, connected, via or {}, self._max_paths)
        routes = {}
        for prefix in self._choices:
            nexthops = resolver.nexthops(prefix)
            if nexthops:
                routes[prefix] = KernelRoute(nexthops, source_of.get(is_ipv6(prefix)))
        return routes

    def choice(self, prefix: Prefix) -> Choice | None:
        return self._choices.get(prefix)

    def refusals(self, prefix: Prefix) -> tuple[Refusal, ...]:
        return self._refused.get(prefix, ())

    def refused_by_peer(self) -> dict[Address, int]:
        """How many prefixes of each peer the policy refused."""
        counts: dict[Address, int] = {}
        for refusals in self._refused.values():
            for refusal in refusals:
                counts[refusal.peer] = counts.get(refusal.peer, 0) + 1
        return counts


class _Resolver:
    """Next hops of one reading of the links, remembered for its duration."""

    def __init__(
        self,
        choices: Mapping[Prefix, Choice],
        others: Mapping[Prefix, tuple[Path, ...]],
        connected: Connected,
        via: Mapping[Address, Address],
        max_paths: int,
    ) -> None:
        self._choices = choices
        self._others = others
        self._connected = connected
        self._via = via
        self._max_paths = max_paths
        self._on_link: dict[Address, Nexthop | None] = {}
        self._resolved: dict[Address, tuple[Nexthop, ...]] = {}
        self._sets: dict[tuple[Path, ...], tuple[Nexthop, ...]] = {}

    def nexthops(self, prefix: Prefix) -> tuple[Nexthop, ...]:
        """Those of the choice; where none of them leads anywhere, those of the best that do."""
        found = self._usable(prefix, self._choices[prefix].multipath)
        if not found and prefix in self._others:
            leading = [path for path in self._others[prefix] if self._usable(prefix, (path,))]
            choice = choose(leading, self._max_paths)
            found = self._usable(prefix, choice.multipath) if choice else ()
        return found

    def _usable(self, prefix: Prefix, paths: tuple[Path, ...]) -> tuple[Nexthop, ...]:
        """The next hops of the paths; there is no IPv6 over an IPv4 gateway."""
        known = self._sets.get(paths)
        if known is None:
            found = {hop for path in paths for hop in self._resolve(path.next_hop)}
            known = self._sets[paths] = tuple(sorted(found))
        return tuple(hop for hop in known if len(hop.gateway) > 4) if is_ipv6(prefix) else known

    def _resolve(self, gateway: Address) -> tuple[Nexthop, ...]:
        known = self._resolved.get(gateway)
        if known is None:
            known = self._resolved[gateway] = self._follow(gateway, frozenset())
        return known

    def _follow(self, gateway: Address, pending: frozenset[Address]) -> tuple[Nexthop, ...]:
        """On a link, or over the longest match among the routes that do not themselves lead over `pending`."""
        direct = self._direct(gateway)
        if direct or len(pending) >= _LONGEST_CHAIN:
            return (direct,) if direct else ()
        pending |= {gateway}
        for prefix in self._covering(gateway):
            paths = (*self._choices[prefix].multipath, *self._others.get(prefix, ()))
            hops = {path: self._follow(path.next_hop, pending) for path in paths if path.next_hop not in pending}
            choice = choose((path for path in hops if hops[path]), self._max_paths)
            if choice is not None:
                return tuple(sorted({hop for path in choice.multipath for hop in hops[path]}))
        return ()

    def _direct(self, gateway: Address) -> Nexthop | None:
        if gateway not in self._on_link:
            nearest = gateway
            ifindex = self._connected(gateway)
            if ifindex is None and gateway in self._via:
                nearest = self._via[gateway]
                ifindex = self._connected(nearest)
            self._on_link[gateway] = None if ifindex is None else Nexthop(nearest, ifindex)
        return self._on_link[gateway]

    def _covering(self, address: Address) -> Iterator[Prefix]:
        bits = 8 * len(address)
        value = int.from_bytes(address)
        for length in range(bits, -1, -1):
            masked = value >> (bits - length) << (bits - length)
            prefix = bytes((length,)) + masked.to_bytes(len(address))
            if prefix in self._choices:
                yield prefix


def _put(table: dict[Prefix, T], prefix: Prefix, value: T | None) -> None:
    if value:
        table[prefix] = value
    else:
        table.pop(prefix, None)
