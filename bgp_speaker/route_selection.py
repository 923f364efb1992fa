"""From learned paths to the whole set of kernel routes that is wanted. Pure.

    learned ─► import policy ─► best path and multipath ─► next hops on links ─► routes

Choices are kept and made anew only for prefixes that changed; the resolution of next hops is done for all of
them every time, because a link that comes or goes concerns them all, and it is one dictionary look-up per
next hop. A next hop that is on no link of the node is looked up once more in the routes chosen (a loopback
behind the fabric, as reflectors give it); one that leads nowhere is left out, and the prefix with it when it
was the last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bgp_speaker.import_policy import ImportPolicy
from bgp_speaker.kernel_route import KernelRoute, Nexthop
from bgp_speaker.learned_routes import LearnedRoutes
from peering.bestpath import Choice, Path, choose
from peering.prefixes import Address, Prefix, is_ipv6

T = TypeVar("T")

#: The interface that reaches a gateway directly, or None.
Connected = Callable[[Address], int | None]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A path that the import policy refused."""

    peer: Address
    reason: str


class RouteSelection:
    """Keeps the choice per prefix; `select` follows what changed, `routes` gives the whole desired set."""

    def __init__(self, max_paths: int = 16) -> None:
        self._max_paths = max_paths
        self._choices: dict[Prefix, Choice] = {}
        self._refused: dict[Prefix, tuple[Refusal, ...]] = {}

    def select(
        self,
        learned: LearnedRoutes,
        changed: set[Prefix],
        policy: ImportPolicy,
        allow_as_in: Mapping[Address, int],
    ) -> None:
        """Chooses anew for the prefixes that changed."""
        memo: dict[tuple[Path, ...], Choice | None] = {}
        for prefix in changed:
            accepted: list[Path] = []
            refused: list[Refusal] = []
            for peer, path in learned.paths(prefix).items():
                reason = policy.refuses(prefix, path.as_path, allow_as_in.get(peer, 0))
                if reason:
                    refused.append(Refusal(peer, reason))
                else:
                    accepted.append(path)
            _put(self._refused, prefix, tuple(refused))
            key = tuple(accepted)
            if key not in memo:
                memo[key] = choose(accepted, self._max_paths)
            _put(self._choices, prefix, memo[key])

    def routes(self, connected: Connected, sources: Sequence[Address]) -> dict[Prefix, KernelRoute]:
        """The kernel routes of all choices. `sources`: the node's loopback of each family it has one of."""
        source_of = {len(address) > 4: address for address in sources}
        resolver = _Resolver(self._choices, connected)
        routes = {}
        for prefix, choice in self._choices.items():
            nexthops = resolver.nexthops(choice)
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

    def __init__(self, choices: Mapping[Prefix, Choice], connected: Connected) -> None:
        self._choices = choices
        self._connected = connected
        self._direct: dict[Address, int | None] = {}
        self._sets: dict[tuple[Path, ...], tuple[Nexthop, ...]] = {}

    def nexthops(self, choice: Choice) -> tuple[Nexthop, ...]:
        known = self._sets.get(choice.multipath)
        if known is None:
            found = {hop for path in choice.multipath for hop in self._resolve(path.next_hop)}
            known = self._sets[choice.multipath] = tuple(sorted(found))
        return known

    def _resolve(self, gateway: Address) -> tuple[Nexthop, ...]:
        direct = self._on_link(gateway)
        if direct:
            return (direct,)
        covering = self._longest_match(gateway)
        if covering is None:
            return ()
        hops = (self._on_link(path.next_hop) for path in covering.multipath)
        return tuple(hop for hop in hops if hop)

    def _on_link(self, gateway: Address) -> Nexthop | None:
        if gateway not in self._direct:
            self._direct[gateway] = self._connected(gateway)
        ifindex = self._direct[gateway]
        return Nexthop(gateway, ifindex) if ifindex is not None else None

    def _longest_match(self, address: Address) -> Choice | None:
        bits = 8 * len(address)
        value = int.from_bytes(address)
        for length in range(bits, -1, -1):
            masked = value >> (bits - length) << (bits - length)
            choice = self._choices.get(bytes((length,)) + masked.to_bytes(len(address)))
            if choice is not None:
                return choice
        return None


def _put(table: dict[Prefix, T], prefix: Prefix, value: T | None) -> None:
    if value:
        table[prefix] = value
    else:
        table.pop(prefix, None)
