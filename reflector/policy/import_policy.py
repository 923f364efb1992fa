"""What becomes of a route that a peer announces: its loops are refused, then its filters have their say.

Then come the two communities by which a neighbouring AS asks for something: GRACEFUL_SHUTDOWN (RFC 8326) and BLACKHOLE
(RFC 7999). They come last, as in FRR, so that a filter that prefers a link does not keep it in use while it is being
shut down, and so that a filter can add them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from weakref import WeakKeyDictionary

from peering.route_filter import Named
from reflector.policy.block_filter import PrefixClass, block_filter
from reflector.policy.refusal import Refusal
from reflector.policy.rewriting import rewritten
from reflector.rib.route import Key, Kind
from reflector.wire.as_path import SEQUENCE
from reflector.wire.attribute_block import AttributeBlock, Changes
from reflector.wire.communities import BLACKHOLE, GRACEFUL_SHUTDOWN, NO_ADVERTISE, NO_EXPORT
from reflector.wire.families import IPV4_UNICAST, IPV6_UNICAST, Family

Outcome = AttributeBlock | Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportTerms:
    """All that import policy depends on: peers with equal terms can share one.

    `router_id` and `cluster_id` are ours, packed. `allow_as_in` is how often our AS may be in a path.
    """

    family: Family
    kind: Kind
    local_asn: int
    peer_asn: int
    router_id: bytes
    cluster_id: bytes
    allow_as_in: int
    filters: Named


class ImportPolicy:
    """Of the peers with these terms; `import_policy` shares one among them.

    What was decided about a block is remembered as long as the block lives.
    """

    def __init__(self, terms: ImportTerms) -> None:
        self._terms = terms
        self._checks = _CHECKS[terms.kind]
        self._external = terms.kind == "ebgp"
        self._filter = block_filter(terms.filters, "import", terms.family, "ebgp" if self._external else "ibgp")
        # None stands for the block itself: a value that holds its key would keep it for ever.
        self._decided: WeakKeyDictionary[AttributeBlock, dict[PrefixClass, Outcome | None]] = WeakKeyDictionary()

    def apply(self, block: AttributeBlock, next_hop: bytes, keys: list[Key]) -> list[tuple[Outcome, list[Key]]]:
        """What becomes of prefixes with these attributes: the attributes to use, or why they are refused.

        Keys are without path identifiers. There is one row for each outcome; nearly always one, with the same list.
        No rule asks for the next hop today.
        """
        decided = self._decided.get(block)
        if decided is None:
            decided = self._decided[block] = {}
        if not self._filter.by_prefix:
            return [(self._outcome(block, decided, self._filter.every), keys)]
        parts = self._filter.partition(keys)
        if len(parts) == 1:
            return [(self._outcome(block, decided, parts[0][0]), parts[0][1])]
        found: dict[Outcome, list[Key]] = {}
        for prefix_class, some in parts:
            found.setdefault(self._outcome(block, decided, prefix_class), []).extend(some)
        return list(found.items())

    def _outcome(
        self, block: AttributeBlock, decided: dict[PrefixClass, Outcome | None], prefix_class: PrefixClass
    ) -> Outcome:
        if prefix_class in decided:
            return decided[prefix_class] or block
        outcome = self._judged(block, prefix_class)
        decided[prefix_class] = None if outcome is block else outcome
        return outcome

    def _judged(self, block: AttributeBlock, prefix_class: PrefixClass) -> Outcome:
        for check in self._checks:
            refusal = check(block, self._terms)
            if refusal is not None:
                return refusal
        outcome = self._filter.decide(block, prefix_class)
        if isinstance(outcome, Refusal) or not self._external:
            return outcome
        return rewritten(outcome, _asked_for(outcome, self._terms.family))


@lru_cache(maxsize=1024)
def import_policy(terms: ImportTerms) -> ImportPolicy:
    """Remembered: peers with equal terms share what was decided about a block."""
    return ImportPolicy(terms)


def _own_originator_id(block: AttributeBlock, terms: ImportTerms) -> Refusal | None:
    """RFC 4456, 8."""
    if block.originator_id != terms.router_id:
        return None
    return Refusal("own-originator-id", "ORIGINATOR_ID is our own router ID")


def _own_cluster_id(block: AttributeBlock, terms: ImportTerms) -> Refusal | None:
    """RFC 4456, 8."""
    if terms.cluster_id not in block.cluster_list:
        return None
    return Refusal("own-cluster-id", "our own cluster ID is in CLUSTER_LIST")


def _own_as_in_path(block: AttributeBlock, terms: ImportTerms) -> Refusal | None:
    """RFC 4271, 9.1.2: also of iBGP peers, since such a path came back to us by way of one of them."""
    times = block.as_path.count(terms.local_asn)
    if times <= terms.allow_as_in:
        return None
    text = f"our own AS {terms.local_asn} is in the path {times} times, {terms.allow_as_in} allowed"
    return Refusal("own-as-in-path", text)


def _first_as(block: AttributeBlock, terms: ImportTerms) -> Refusal | None:
    """RFC 4271, 6.3; the routes are withdrawn and the session stays (RFC 7606, 7.2)."""
    kind, asns = block.segments[0] if block.segments else (SEQUENCE, ())
    if kind == SEQUENCE and asns[:1] == (terms.peer_asn,):
        return None
    begin = f"begins with {asns[0]}" if asns else "is empty"
    return Refusal("first-as", f"the path {begin}; the peer's AS is {terms.peer_asn}")


_INTERNAL = (_own_originator_id, _own_cluster_id, _own_as_in_path)
_CHECKS: dict[Kind, tuple[Callable[[AttributeBlock, ImportTerms], Refusal | None], ...]] = {
    "client": _INTERNAL,
    "non-client": _INTERNAL,
    "ebgp": (_own_as_in_path, _first_as),
}


def _asked_for(block: AttributeBlock, family: Family) -> Changes:
    """What the communities of a route from another AS ask us to change."""
    changes: Changes = {}
    communities = block.communities
    if GRACEFUL_SHUTDOWN in communities and block.local_pref != 0:
        # RFC 8326, 4.1: at the border of an AS, with a value below that of any other path. Inside the AS the LOCAL_PREF
        # says it already, and the community is passed on.
        changes["local_pref"] = 0
    local = NO_EXPORT in communities or NO_ADVERTISE in communities
    if BLACKHOLE in communities and not local and family in (IPV4_UNICAST, IPV6_UNICAST):
        # RFC 7999, 3.2: it must not leave our AS, and either community would do. NO_ADVERTISE would end it here, where
        # no packet comes by; with NO_EXPORT it reaches those who forward.
        changes["communities"] = (*communities, NO_EXPORT)
    return changes
