"""What the peers have told us: an Adj-RIB-In per peer, with the stale marks of graceful restart. Pure.

With additional paths (RFC 7911) a peer has several paths to a prefix, told apart by their identifiers; without, the
identifier is 0. What a peer said is kept as it said it, refused or not: policies change, and are then applied to
what is here.

A path that was heard before a session went down may be kept as stale (RFC 4724, 4.2): when the peer restarts
gracefully, and when ExaBGP itself died, because then the fabric has not changed. It goes when the peer has
sent everything again (End-of-RIB, or the end of an enhanced refresh) without it, or when its time is over.

`take_dirty` hands out, once, the prefixes whose paths changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bgp_speaker.exabgp_attributes import Attributes
from peering.bestpath import Path
from peering.prefixes import Address, Prefix, is_ipv6

#: A prefix with the identifier of one path to it.
Nlri = tuple[Prefix, int]
#: Who announced a path, and its identifier.
Source = tuple[Address, int]


@dataclass(frozen=True, slots=True)
class LearnedPath:
    """A path as best path selection sees it, and what else filters look at."""

    path: Path
    attributes: Attributes


@dataclass(slots=True)
class _Peer:
    paths: dict[Nlri, LearnedPath] = field(default_factory=dict)
    stale: set[Nlri] = field(default_factory=set)
    deadline: float | None = None
    #: Paths of IPv4, of IPv6.
    counts: list[int] = field(default_factory=lambda: [0, 0])


class LearnedRoutes:
    """Paths by peer and by prefix. Peers are packed addresses."""

    def __init__(self) -> None:
        self._peers: dict[Address, _Peer] = {}
        self._by_prefix: dict[Prefix, dict[Source, LearnedPath]] = {}
        self._dirty: set[Prefix] = set()

    def announce(self, peer: Address, nlris: Iterable[Nlri], path: LearnedPath) -> None:
        """The peer's path under these prefixes and identifiers is now `path`."""
        state = self._peers.setdefault(peer, _Peer())
        for nlri in nlris:
            state.stale.discard(nlri)
            known = state.paths.get(nlri)
            if known != path:
                prefix, identifier = nlri
                state.counts[is_ipv6(prefix)] += known is None
                state.paths[nlri] = path
                self._by_prefix.setdefault(prefix, {})[peer, identifier] = path
                self._dirty.add(prefix)

    def withdraw(self, peer: Address, nlris: Iterable[Nlri]) -> None:
        """The peer has no such paths any more."""
        state = self._peers.get(peer)
        if state is None:
            return
        for nlri in nlris:
            if state.paths.pop(nlri, None) is not None:
                state.counts[is_ipv6(nlri[0])] -= 1
                state.stale.discard(nlri)
                self._forget(peer, nlri)

    def mark_stale(self, peer: Address, deadline: float, family_is_ipv6: bool | None = None) -> None:
        """Keeps the peer's paths (of one family, or all) as stale until `deadline` at the latest."""
        state = self._peers.get(peer)
        if state is None:
            return
        state.stale.update(_of_family(state.paths, family_is_ipv6))
        state.deadline = deadline if state.stale else None

    def sweep(self, peer: Address, family_is_ipv6: bool | None = None) -> int:
        """The peer has sent everything again: drops what is still stale (of one family). How many."""
        state = self._peers.get(peer)
        if state is None:
            return 0
        gone = _of_family(state.stale, family_is_ipv6)
        self.withdraw(peer, gone)
        if not state.stale:
            state.deadline = None
        return len(gone)

    def drop(self, peer: Address) -> None:
        """The peer is gone for good: all of its paths with it."""
        state = self._peers.pop(peer, None)
        for nlri in state.paths if state else ():
            self._forget(peer, nlri)

    def expire(self, now: float) -> list[Address]:
        """Sweeps every peer whose stale paths are past their time; which ones those were."""
        due = [peer for peer, state in self._peers.items() if state.deadline is not None and state.deadline <= now]
        for peer in due:
            self.sweep(peer)
        return due

    def next_deadline(self) -> float | None:
        """When `expire` has something to do next."""
        return min((s.deadline for s in self._peers.values() if s.deadline is not None), default=None)

    def touch_all(self) -> None:
        """Every prefix counts as changed: the policy is another one now."""
        self._dirty.update(self._by_prefix)

    def touch(self, peer: Address, family_is_ipv6: bool) -> None:
        """The peer's prefixes of the family count as changed."""
        state = self._peers.get(peer)
        if state is not None:
            self._dirty.update(prefix for prefix, _ in _of_family(state.paths, family_is_ipv6))

    def take_dirty(self) -> set[Prefix]:
        """The prefixes changed since the last call."""
        dirty, self._dirty = self._dirty, set()
        return dirty

    def paths(self, prefix: Prefix) -> Mapping[Source, LearnedPath]:
        """The paths to a prefix, by who announced them."""
        return self._by_prefix.get(prefix, {})

    def peers(self) -> list[Address]:
        return list(self._peers)

    def count(self, peer: Address, family_is_ipv6: bool | None = None) -> int:
        """How many paths the peer has announced (of one family), stale ones included."""
        state = self._peers.get(peer)
        if state is None:
            return 0
        return sum(state.counts) if family_is_ipv6 is None else state.counts[family_is_ipv6]

    def _forget(self, peer: Address, nlri: Nlri) -> None:
        prefix, identifier = nlri
        paths = self._by_prefix.get(prefix)
        if paths is not None:
            paths.pop((peer, identifier), None)
            if not paths:
                del self._by_prefix[prefix]
        self._dirty.add(prefix)


def _of_family(nlris: Iterable[Nlri], family_is_ipv6: bool | None) -> list[Nlri]:
    return [nlri for nlri in nlris if family_is_ipv6 is None or is_ipv6(nlri[0]) is family_is_ipv6]
