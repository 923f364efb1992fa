"""One family of one peer: what it announced, what of that is refused, and what is stale. Sans-IO.

Routes go into the table by way of import policy and ownership. What is refused is kept beside them with the reason, so
that a change of policy needs nobody's help: all is judged again from the attributes as they came (`judge_again`).

Stale routes are those that a peer has to say again, or lose: after its restart (RFC 4724), or between the borders of a
refresh (RFC 7313). They are in the table like others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import NamedTuple, Protocol

from reflector.engine.claims import Claim
from reflector.policy.refusal import Refusal
from reflector.rib.route import Key, Route, Source
from reflector.rib.table import AdjRibIn, PathKey, Table
from reflector.wire.attribute_block import AttributeBlock
from reflector.wire.communities import LLGR_STALE, NO_LLGR
from reflector.wire.families import FAMILIES, Family

_PATH_ID = 4

Outcomes = list[tuple["AttributeBlock | Refusal", list[Key]]]


class Judge(Protocol):
    """Import policy of one peer and family."""

    def apply(self, block: AttributeBlock, next_hop: bytes, keys: list[Key]) -> Outcomes:
        """What becomes of prefixes announced with these attributes."""


FOREIGN = Refusal("foreign-block", "the block belongs to another")


class Refused(NamedTuple):
    """A route as it came, and why it is not in the table."""

    route: Route
    why: Refusal


class PeerFamily:
    """`paths` says that the peer sends several paths per prefix. `judge` and `claim` may be exchanged at any time."""

    __slots__ = (
        "_route_key",
        "adj",
        "claim",
        "family",
        "judge",
        "long_lived",
        "paths",
        "refused",
        "stale",
        "table",
    )

    def __init__(self, family: Family, source: Source, table: Table, judge: Judge) -> None:
        self.family = family
        self.table = table
        self.adj = AdjRibIn(source)
        self.judge = judge
        self.claim: Claim | None = None
        self.paths = False
        self.refused: dict[PathKey, Refused] = {}
        self.stale: set[PathKey] = set()
        self.long_lived = False
        self._route_key = FAMILIES[family].route_key

    def __len__(self) -> int:
        """How many prefixes (or paths) the peer announces, refused ones too."""
        return len(self.adj) + len(self.refused)

    def announce(self, block: AttributeBlock, next_hop: bytes, keys: list[bytes]) -> None:
        """NLRI as they came, with path identifiers where `paths`."""
        if not self.paths and self._route_key is None:
            self._take(block, next_hop, keys)
        else:
            for nlri in keys:
                self._take_one(block, next_hop, *self._parts(nlri))

    def withdraw(self, keys: list[bytes]) -> None:
        """The inverse of `announce`."""
        if not self.paths and self._route_key is None:
            self._drop(keys)
        else:
            for path_id, _, key in map(self._parts, keys):
                self._drop_one(path_id + key, key)

    def mark_stale(self) -> None:
        """Everything has to be said again."""
        self.stale = {*self.adj.routes, *self.refused}
        self.long_lived = False

    def drop_stale(self) -> int:
        """What was not said again is gone; how much that was."""
        stale, self.stale = self.stale, set()
        self.long_lived = False
        if self.paths:
            for path in stale:
                self._drop_one(path, path[_PATH_ID:])
        else:
            self._drop(stale)
        return len(stale)

    def live_long(self) -> None:
        """Stale routes become a last resort; those that must not, go (RFC 9494, 4.2 and 4.3)."""
        self.long_lived = True
        for path in list(self.stale):
            route = self.adj.routes.get(path)
            key = path[_PATH_ID:] if self.paths else path
            if NO_LLGR in (route or self.refused[path].route).block.communities:
                self._drop_one(path, key)
            elif route is not None and LLGR_STALE not in route.block.communities:
                block = route.block.rewritten(communities=(*route.block.communities, LLGR_STALE))
                marked = self.adj.source.route(block, route.next_hop, route.path_id, route.nlri, route.received)
                self.table.announce_path(self.adj, path, key, marked)

    def clear(self) -> None:
        """The peer is gone."""
        if self.claim is not None:
            self.claim.cleared(self._keys())
        if self.paths:
            for path in list(self.adj.routes):
                self.table.withdraw_path(self.adj, path, path[_PATH_ID:])
        else:
            self.table.withdraw(self.adj, list(self.adj.routes))
        self.refused.clear()
        self.stale = set()
        self.long_lived = False

    def judge_again(self) -> None:
        """Everything once more through policy and ownership, in place."""
        stale, self.stale, long_lived = self.stale, set(), self.long_lived
        known: defaultdict[tuple[AttributeBlock, bytes, bytes, bytes], list[PathKey]] = defaultdict(list)
        for path, route in self.adj.routes.items():
            known[route.received, route.next_hop, route.path_id, route.nlri].append(path)
        for path, refused in self.refused.items():
            route = refused.route
            known[route.received, route.next_hop, route.path_id, route.nlri].append(path)
        for (block, next_hop, path_id, nlri), paths in known.items():
            if not self.paths and not nlri:
                self._take(block, next_hop, paths)
            else:
                for path in paths:
                    self._take_one(block, next_hop, path_id, nlri, path[len(path_id) :])
        self.stale = stale
        if long_lived:
            self.live_long()

    def _parts(self, nlri: bytes) -> tuple[bytes, bytes, Key]:
        """(path identifier or nothing, whole NLRI where that is more than the key, key)."""
        path_id, rest = (nlri[:_PATH_ID], nlri[_PATH_ID:]) if self.paths else (b"", nlri)
        return (path_id, b"", rest) if self._route_key is None else (path_id, rest, self._route_key(rest))

    def _take(self, block: AttributeBlock, next_hop: bytes, keys: list[Key]) -> None:
        if self.stale:
            self.stale.difference_update(keys)
        route, refused = self.adj.source.route, self.refused
        if self.claim is not None:
            foreign = self.claim.announced(keys)
            if foreign:
                self._refuse(foreign, route(block, next_hop), FOREIGN)
                others = set(foreign)
                keys = [key for key in keys if key not in others]
        for outcome, some in self.judge.apply(block, next_hop, keys):
            if isinstance(outcome, Refusal):
                self._refuse(some, route(block, next_hop), outcome)
                continue
            if refused:
                for key in some:
                    refused.pop(key, None)
            self.table.announce(self.adj, some, route(outcome, next_hop, received=block))

    def _refuse(self, keys: list[Key], route: Route, why: Refusal) -> None:
        self.table.withdraw(self.adj, keys)
        row = Refused(route, why)
        for key in keys:
            self.refused[key] = row

    def _take_one(self, block: AttributeBlock, next_hop: bytes, path_id: bytes, nlri: bytes, key: Key) -> None:
        path = path_id + key
        if self.stale:
            self.stale.discard(path)
        foreign = self.claim is not None and self.claim.announced([key])
        outcome = FOREIGN if foreign else self.judge.apply(block, next_hop, [key])[0][0]
        if isinstance(outcome, Refusal):
            self.table.withdraw_path(self.adj, path, key)
            self.refused[path] = Refused(self.adj.source.route(block, next_hop, path_id, nlri), outcome)
        else:
            self.refused.pop(path, None)
            route = self.adj.source.route(outcome, next_hop, path_id, nlri, block)
            self.table.announce_path(self.adj, path, key, route)

    def _drop(self, keys: Iterable[Key]) -> None:
        listed = keys if isinstance(keys, list) else list(keys)
        if self.claim is not None:
            self.claim.withdrawn(listed)
        self.table.withdraw(self.adj, listed)
        if self.refused:
            for key in listed:
                self.refused.pop(key, None)
        if self.stale:
            self.stale.difference_update(listed)

    def _drop_one(self, path: PathKey, key: Key) -> None:
        self.table.withdraw_path(self.adj, path, key)
        self.refused.pop(path, None)
        self.stale.discard(path)
        if self.claim is not None and self.claim.concerns(key) and key not in self._keys():
            self.claim.withdrawn([key])

    def _keys(self) -> Iterator[Key]:
        """The prefixes that the peer announces, as often as it announces them."""
        paths = chain(self.adj.routes, self.refused)
        return (path[_PATH_ID:] for path in paths) if self.paths else paths


def counts(families: Mapping[Family, PeerFamily]) -> dict[str, int]:
    """By a family's name, how many prefixes it has."""
    return {str(family): len(one) for family, one in families.items()}
