"""What peers are told of a route: whether anything, which next hop, which attributes.

Peers with equal `ExportTerms` are told the same in the same bytes: the terms are the key of an update group. So
`export_terms` leaves out what makes no difference. That a peer is not told its own routes is not decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from weakref import WeakKeyDictionary

from peering.route_filter import Named, SessionType
from peering.session import NextHopMode
from reflector.policy.block_filter import BlockFilter, PrefixClass, block_filter, has_rules
from reflector.policy.next_hops import EXTENDED_NEXT_HOP, passed_on, sendable_lengths
from reflector.policy.outgoing import finished, is_held_back, prepared
from reflector.policy.refusal import Refusal
from reflector.rib.route import Key, Kind, Route
from reflector.wire.attribute_block import AttributeBlock
from reflector.wire.families import FAMILIES, Family

Told = tuple[bytes, bytes]
"""(next hop, attributes without it)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTerms:
    """All that what a peer is told depends on. Made by `export_terms`.

    `max_length` is that of its messages. `local_asn` and `peer_asn` are 0 where they do not matter, `peer_asn` but with
    `as_override`. `next_hop_self` is the packed address that goes in with `next_hop` self. `long_lived`: the peer
    keeps stale routes itself (RFC 9494).
    """

    family: Family
    kind: Kind
    four_octet: bool
    max_length: int
    add_path: bool
    add_path_limit: int | None
    local_asn: int
    peer_asn: int
    cluster_id: bytes
    next_hop_self: bytes | None
    next_hop: NextHopMode
    prepend: int
    as_override: bool
    extended_next_hop: bool
    long_lived: bool
    filters: Named


def export_terms(
    *,
    family: Family,
    kind: Kind,
    four_octet: bool = True,
    max_length: int = 4096,
    add_path: bool = False,
    add_path_limit: int | None = None,
    local_asn: int,
    peer_asn: int,
    cluster_id: bytes,
    next_hop_self: bytes | None = None,
    next_hop: NextHopMode = "auto",
    prepend: int = 0,
    as_override: bool = False,
    extended_next_hop: bool = False,
    long_lived: bool = False,
    filters: Named = (),
) -> ExportTerms:
    """The terms of a peer, without what makes no difference for it, so that there are few groups.

    `auto` becomes what it means: `self` for eBGP peers, `keep` for iBGP peers (RFC 4271, 5.1.3; RFC 4456, 10). Opaque
    families always keep: a label or tunnel in the NLRI is one of the router that the next hop names. Our AS goes into
    no path inside our AS, so there is neither `prepend` nor `as_override` for iBGP peers.
    """
    external = kind == "ebgp"
    changes_next_hop = next_hop == "self" or (next_hop == "auto" and external)
    mode: NextHopMode = "self" if changes_next_hop and not FAMILIES[family].opaque else "keep"
    overrides = external and as_override
    fixed_ipv4 = mode == "self" and (next_hop_self is None or len(next_hop_self) == 4)
    session_type: SessionType = "ebgp" if external else "ibgp"
    return ExportTerms(
        family=family,
        kind=kind,
        four_octet=four_octet,
        max_length=max_length,
        add_path=add_path,
        add_path_limit=add_path_limit if add_path else None,
        local_asn=local_asn if external else 0,
        peer_asn=peer_asn if overrides else 0,
        cluster_id=b"" if external else cluster_id,
        next_hop_self=next_hop_self if mode == "self" else None,
        next_hop=mode,
        prepend=prepend if external else 0,
        as_override=overrides,
        extended_next_hop=extended_next_hop and family in EXTENDED_NEXT_HOP and not fixed_ipv4,
        long_lived=long_lived,
        filters=filters if has_rules(filters, "export", family, session_type) else (),
    )


class ExportPolicy:
    """What a group is told. What was decided about a block is remembered as long as the block lives.

    `by_prefix`: whether it depends on the prefix.
    """

    def __init__(self, terms: ExportTerms) -> None:
        external = terms.kind == "ebgp"
        self.terms = terms
        self._filter = block_filter(terms.filters, "export", terms.family, "ebgp" if external else "ibgp")
        self.by_prefix = self._filter.by_prefix
        ways = [_Way(terms, self._filter, from_external=from_external) for from_external in (False, True)]
        self._ways: dict[Kind, _Way] = {kind: ways[kind == "ebgp"] for kind in _TOLD[terms.kind]}

    def attributes(self, route: Route) -> Told | None:
        """The next hop, and the encoded attributes without it; None when the group is not told of this route.

        For policies whose answer does not depend on the prefix. Raises ValueError for another.
        """
        if self.by_prefix:
            raise ValueError("what this group is told depends on the prefix")
        return self._told(route, self._filter.every)

    def decide(self, route: Route, key: Key) -> Told | None:
        """The same of one prefix, without path identifier."""
        return self._told(route, self._filter.class_of(key) if self.by_prefix else self._filter.every)

    def partition(self, route: Route, keys: list[Key]) -> list[tuple[Told | None, list[Key]]]:
        """The same of many prefixes of one route: the answers, each once, and the prefixes they are for."""
        if not self.by_prefix:
            return [(self._told(route, self._filter.every), keys)]
        parts = self._filter.partition(keys)
        if len(parts) == 1:
            return [(self._told(route, parts[0][0]), parts[0][1])]
        found: dict[Told | None, list[Key]] = {}
        for prefix_class, some in parts:
            found.setdefault(self._told(route, prefix_class), []).extend(some)
        return list(found.items())

    def _told(self, route: Route, prefix_class: PrefixClass) -> Told | None:
        way = self._ways.get(route.source.kind)
        return way.told(route, prefix_class) if way is not None else None


#: By what a peer is: whose routes it is told (RFC 4456, 6). A non-client is told those of other non-clients by them.
_TOLD: dict[Kind, tuple[Kind, ...]] = {
    "client": ("client", "non-client", "ebgp"),
    "non-client": ("client", "ebgp"),
    "ebgp": ("client", "non-client", "ebgp"),
}
_Memory = dict[PrefixClass, "AttributeBlock | Literal[False] | None"]


class _Way:
    """From sources of one kind to the peers with these terms."""

    def __init__(self, terms: ExportTerms, filters: BlockFilter, *, from_external: bool) -> None:
        self._terms = terms
        self._filter = filters
        self._reflects = terms.kind != "ebgp" and not from_external
        self._keeps = terms.next_hop != "self"
        self._lengths = sendable_lengths(terms.family, extended=terms.extended_next_hop)
        # None stands for the block itself, False for nothing: a value that holds its key would keep it for ever.
        self._decided: WeakKeyDictionary[AttributeBlock, _Memory] = WeakKeyDictionary()
        self._answers: WeakKeyDictionary[Route, dict[PrefixClass, Told | None]] = WeakKeyDictionary()

    def told(self, route: Route, prefix_class: PrefixClass) -> Told | None:
        """What is said of the route with prefixes of this class."""
        answers = self._answers.get(route)
        if answers is None:
            answers = self._answers[route] = {}
        if prefix_class not in answers:
            answers[prefix_class] = self._made(route, prefix_class)
        return answers[prefix_class]

    def _made(self, route: Route, prefix_class: PrefixClass) -> Told | None:
        block = route.block
        decided = self._decided.get(block)
        if decided is None:
            decided = self._decided[block] = {}
        if prefix_class not in decided:
            made = self._outgoing(block, prefix_class)
            decided[prefix_class] = None if made is block else made
        outgoing = decided[prefix_class]
        if outgoing is False:
            return None
        next_hop = passed_on(route.next_hop, self._terms.family) if self._keeps else self._terms.next_hop_self
        if next_hop is None or len(next_hop) not in self._lengths:
            return None
        out = block if outgoing is None else outgoing
        return next_hop, self._encoded(out, route)

    def _encoded(self, block: AttributeBlock, route: Route) -> bytes:
        terms = self._terms
        if self._reflects:
            return block.reflected(route.source.router_id, terms.cluster_id, four_octet=terms.four_octet)
        return block.encoded(four_octet=terms.four_octet)

    def _outgoing(self, block: AttributeBlock, prefix_class: PrefixClass) -> AttributeBlock | Literal[False]:
        terms = self._terms
        if is_held_back(block, external=terms.kind == "ebgp", long_lived=terms.long_lived):
            return False
        outcome = self._filter.decide(prepared(block, terms), prefix_class)
        return False if isinstance(outcome, Refusal) else finished(outcome, terms)
