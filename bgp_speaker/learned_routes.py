"""What the peers have told us: an Adj-RIB-In per peer, with the stale marks of graceful restart. Pure.

A path that was heard before a session went down may be kept as stale (RFC 4724, 4.2): when the peer restarts
gracefully, and when ExaBGP itself died, because then the fabric has not changed. It goes when the peer has
sent everything again (End-of-RIB, or the end of an enhanced refresh) without it, or when its time is over.

Every method returns or collects the prefixes whose paths changed; `take_dirty` hands them out once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from peering.bestpath import Path
from peering.prefixes import Address, Prefix, is_ipv6


@dataclass(slots=True)
class _Peer:
    paths: dict[Prefix, Path] = field(default_factory=dict)
    stale: set[Prefix] = field(default_factory=set)
    deadline: float | None = None


class LearnedRoutes:
    """Paths by peer and by prefix. Peers are packed addresses."""

    def __init__(self) -> None:
        self._peers: dict[Address, _Peer] = {}
        self._by_prefix: dict[Prefix, dict[Address, Path]] = {}
        self._dirty: set[Prefix] = set()

    def announce(self, peer: Address, prefixes: Iterable[Prefix], path: Path) -> None:
        """The peer's path to these prefixes is now `path`."""
        state = self._peers.setdefault(peer, _Peer())
        for prefix in prefixes:
            state.stale.discard(prefix)
            if state.paths.get(prefix) != path:
                state.paths[prefix] = path
                self._by_prefix.setdefault(prefix, {})[peer] = path
                self._dirty.add(prefix)

    def withdraw(self, peer: Address, prefixes: Iterable[Prefix]) -> None:
        """The peer has no path to these prefixes any more."""
        state = self._peers.get(peer)
        if state is None:
            return
        for prefix in prefixes:
            if state.paths.pop(prefix, None) is not None:
                state.stale.discard(prefix)
                self._forget(peer, prefix)

    def mark_stale(self, peer: Address, deadline: float, family_is_ipv6: bool | None = None) -> None:
        """Keeps the peer's paths (of one family, or all) as stale until `deadline` at the latest."""
        state = self._peers.get(peer)
        if state is None:
            return
        wanted = [p for p in state.paths if family_is_ipv6 is None or is_ipv6(p) is family_is_ipv6]
        state.stale.update(wanted)
        state.deadline = deadline if state.stale else None

    def sweep(self, peer: Address, family_is_ipv6: bool | None = None) -> int:
        """The peer has sent everything again: drops what is still stale (of one family). How many."""
        state = self._peers.get(peer)
        if state is None:
            return 0
        gone = [p for p in state.stale if family_is_ipv6 is None or is_ipv6(p) is family_is_ipv6]
        self.withdraw(peer, gone)
        if not state.stale:
            state.deadline = None
        return len(gone)

    def drop(self, peer: Address) -> None:
        """The peer is gone for good: all of its paths with it."""
        state = self._peers.pop(peer, None)
        for prefix in state.paths if state else ():
            self._forget(peer, prefix)

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

    def take_dirty(self) -> set[Prefix]:
        """The prefixes changed since the last call."""
        dirty, self._dirty = self._dirty, set()
        return dirty

    def paths(self, prefix: Prefix) -> Mapping[Address, Path]:
        """The paths to a prefix, by peer."""
        return self._by_prefix.get(prefix, {})

    def peers(self) -> list[Address]:
        return list(self._peers)

    def count(self, peer: Address) -> int:
        """How many prefixes the peer has announced, stale ones included."""
        state = self._peers.get(peer)
        return len(state.paths) if state else 0

    def _forget(self, peer: Address, prefix: Prefix) -> None:
        paths = self._by_prefix.get(prefix)
        if paths is not None:
            paths.pop(peer, None)
            if not paths:
                del self._by_prefix[prefix]
        self._dirty.add(prefix)
