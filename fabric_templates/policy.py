"""What a switch accepts and sends, as lists and ordered entries that any platform's policy language can say.

Towards the rack (nodes, reflectors):
  in    BLACKHOLE (RFC 7999) is refused: it takes an agreement and a discard route, and accepting such a route
        as a usual one would forward what its sender wants dropped. Then only `accept`, only with an AS path
        the neighbour may have, GRACEFUL_SHUTDOWN (RFC 8326) with local preference 0, and every other
        community removed except those that forbid passing the route on.
  out   by `downward`: the default route and `send`, or everything.
Towards the fabric:
  in    everything but the switch's own addresses.
  out   `announce`, and of that only what the switch or its rack originates: a block inside a pool that
        another rack announced must not go from one spine to the next. An aggregate that the switch makes has an
        empty AS path, as its loopbacks have.
Towards the other switch of the rack, for the nodes that it has lost:
  in    `accept`, with an ORIGIN that is worse than that of the nodes' own routes: with iBGP nothing else tells the
        two apart, and equal paths would be used together, back and forth between the switches. What came around by
        the fabric has the longer AS path.
  out   of `accept` what comes from the nodes themselves.
Everything that no entry permits is denied.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Literal

from fabric_templates.naming import owned
from peering.session import Downward, PrefixRule, SwitchPlan

Version = Literal[4, 6]
VERSIONS: tuple[Version, ...] = (4, 6)
Side = Literal["rack", "pair", "fabric"]

_SEQ_LIST = 5
_SEQ_MAP = 10
_DEFAULTS = (PrefixRule("0.0.0.0/0", 0, 0), PrefixRule("::/0", 0, 0))
_KEPT = ("graceful-shutdown", "no-export", "no-advertise")

WELL_KNOWN = {
    "blackhole": "65535:666",
    "graceful-shutdown": "65535:0",
    "no-export": "65535:65281",
    "no-advertise": "65535:65282",
}
"""By the name that a `CommunityList` has for it (RFC 7999, RFC 8326, RFC 1997)."""


@dataclass(frozen=True, slots=True)
class PrefixEntry:
    """`ge` and `le` as routers want them: prefix length < ge <= le, both absent for the prefix itself."""

    seq: int
    prefix: str
    min_length: int
    max_length: int
    ge: int | None
    le: int | None


@dataclass(frozen=True, slots=True)
class PrefixList:
    """Permits its entries and nothing else; one without entries permits nothing."""

    name: str
    version: Version
    entries: tuple[PrefixEntry, ...]


@dataclass(frozen=True, slots=True)
class PathRule:
    """An AS path: `empty`, `only` (asn, once or prepended), `begins` (asn, then anything).

    `asn` is its place in a list too: it stays the same whatever else joins. An empty path's is 0, which is nobody's
    (RFC 7607).
    """

    kind: Literal["empty", "only", "begins"]
    asn: int = 0


@dataclass(frozen=True, slots=True)
class PathList:
    name: str
    rules: tuple[PathRule, ...]


@dataclass(frozen=True, slots=True)
class CommunityList:
    """Matches the members; with `others`, every community that is no member. `large`: of RFC 8092, `65101:1:2`.

    A well-known member goes by its name; `values` has numbers for all of them.
    """

    name: str
    members: tuple[str, ...]
    others: bool = False
    large: bool = False

    @property
    def values(self) -> tuple[str, ...]:
        """`("65535:0", "65101:100")`."""
        return tuple(WELL_KNOWN.get(member, member) for member in self.members)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One step: all matches that are given must hold. Names refer to lists of the same view.

    With `strip_communities` the communities that the list matches are removed, every extended one, and of the large
    ones those that `strip_large_communities` matches, or without it all.
    """

    seq: int
    permit: bool = True
    path_list: str | None = None
    community_list: str | None = None
    prefix_list: str | None = None
    strip_communities: str | None = None
    strip_large_communities: str | None = None
    local_preference: int | None = None
    worst_origin: bool = False


@dataclass(frozen=True, slots=True)
class RouteMap:
    name: str
    version: Version
    direction: Literal["in", "out"]
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Names:
    """What our lists are called on a platform with this limit."""

    limit: int

    def of(self, *parts: str | int) -> str:
        return owned(self.limit, *parts)

    def prefixes(self, kind: str, version: Version) -> str:
        return self.of(kind, f"V{version}")

    def route_map(self, group: str, direction: str, version: Version) -> str:
        return self.of(group, direction, f"V{version}")

    @property
    def blackhole(self) -> str:
        return self.of("BLACKHOLE")

    @property
    def graceful_shutdown(self) -> str:
        return self.of("GRACEFUL-SHUTDOWN")

    @property
    def strip(self) -> str:
        return self.of("STRIP")

    @property
    def strip_large(self) -> str:
        return self.of("STRIP-LARGE")


def prefix_lists(plan: SwitchPlan, names: Names, maps: Iterable[RouteMap]) -> tuple[PrefixList, ...]:
    """The prefix lists that these route maps refer to, by family and name."""
    used = {entry.prefix_list for one in maps for entry in one.entries}
    lists = [
        PrefixList(names.prefixes(kind, version), version, _entries(rules, version))
        for kind, rules in _rule_lists(plan).items()
        for version in VERSIONS
    ]
    return tuple(sorted((one for one in lists if one.name in used), key=lambda one: (one.version, one.name)))


def _rule_lists(plan: SwitchPlan) -> dict[str, tuple[PrefixRule, ...]]:
    own = tuple(_exactly(cidr) for cidr in plan.networks)
    return {"ACCEPT": plan.accept, "ANNOUNCE": plan.announce, "OWN": own, "DEFAULT": _DEFAULTS, "SEND": plan.send}


def _downward(plan: SwitchPlan) -> dict[str, tuple[PrefixRule, ...]]:
    """What a node is sent: no list means everything."""
    table: dict[Downward, dict[str, tuple[PrefixRule, ...]]] = {
        "default-only": {"DEFAULT": _DEFAULTS, **({"SEND": plan.send} if plan.send else {})},
        "pools": {"DEFAULT": _DEFAULTS, "SEND": plan.send},
        "all": {},
    }
    return table[plan.downward]


def _exactly(cidr: str) -> PrefixRule:
    length = ip_network(cidr).prefixlen
    return PrefixRule(cidr, length, length)


def _entries(rules: Iterable[PrefixRule], version: Version) -> tuple[PrefixEntry, ...]:
    bounds = set()
    for rule in rules:
        network = ip_network(rule.cidr)
        if network.version == version:
            key = (network.network_address.packed, network.prefixlen)
            bounds.add((*key, rule.min_length, rule.max_length, str(network)))
    numbered = enumerate(sorted(bounds), start=1)
    return tuple(_entry(i * _SEQ_LIST, text, length, low, high) for i, (_, length, low, high, text) in numbered)


def _entry(seq: int, prefix: str, length: int, low: int, high: int) -> PrefixEntry:
    ge = low if low > length else None
    le = high if high > length else None
    return PrefixEntry(seq, prefix, max(low, length), high, ge, le)


def path_list(name: str, rules: Iterable[PathRule]) -> PathList:
    """One rule for each AS, in their order. Of two the wider one: what `only` permits, `begins` does too."""
    widest = {rule.asn: rule for rule in sorted(rules, key=lambda rule: rule.kind == "begins")}
    return PathList(name, tuple(widest[asn] for asn in sorted(widest)))


def community_lists(plan: SwitchPlan, names: Names, maps: Iterable[RouteMap]) -> tuple[CommunityList, ...]:
    """The community lists that these route maps refer to, by name."""
    used = {
        name
        for one in maps
        for e in one.entries
        for name in (e.community_list, e.strip_communities, e.strip_large_communities)
    }
    standard, large = kept_communities(plan)
    lists = (
        CommunityList(names.blackhole, ("blackhole",)),
        CommunityList(names.graceful_shutdown, ("graceful-shutdown",)),
        CommunityList(names.strip, (*_KEPT, *standard), others=True),
        CommunityList(names.strip_large, large, others=True, large=True),
    )
    return tuple(one for one in lists if one.name in used)


def kept_communities(plan: SwitchPlan) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(standard ones, large ones) that nodes may attach, besides those that every switch keeps; in order of numbers."""
    ordered = sorted(set(plan.keep_communities), key=lambda text: [int(part) for part in text.split(":")])
    return tuple(c for c in ordered if c.count(":") == 1), tuple(c for c in ordered if c.count(":") == 2)


def route_maps(plan: SwitchPlan, names: Names, group: str, side: Side, version: Version) -> tuple[RouteMap, RouteMap]:
    """(in, out) of a group; `group` is its name without our prefix, as in `NODES`."""
    into, out = _SIDES[side]
    return (
        RouteMap(names.route_map(group, "IN", version), version, "in", into(plan, names, group, version)),
        RouteMap(names.route_map(group, "OUT", version), version, "out", out(plan, names, group, version)),
    )


def _from_rack(plan: SwitchPlan, names: Names, group: str, version: Version) -> tuple[Entry, ...]:
    allowed = Entry(
        seq=3 * _SEQ_MAP,
        path_list=names.of(group),
        prefix_list=names.prefixes("ACCEPT", version),
        strip_communities=names.strip,
        strip_large_communities=names.strip_large if kept_communities(plan)[1] else None,
    )
    return (
        Entry(seq=_SEQ_MAP, permit=False, community_list=names.blackhole),
        replace(allowed, seq=2 * _SEQ_MAP, community_list=names.graceful_shutdown, local_preference=0),
        allowed,
    )


def _to_rack(plan: SwitchPlan, names: Names, group: str, version: Version) -> tuple[Entry, ...]:
    kinds = tuple(_downward(plan))
    if not kinds:
        return (Entry(seq=_SEQ_MAP),)
    numbered = enumerate(kinds, start=1)
    return tuple(Entry(seq=i * _SEQ_MAP, prefix_list=names.prefixes(kind, version)) for i, kind in numbered)


def _from_pair(plan: SwitchPlan, names: Names, group: str, version: Version) -> tuple[Entry, ...]:
    accept = names.prefixes("ACCEPT", version)
    return (
        Entry(
            seq=_SEQ_MAP,
            community_list=names.graceful_shutdown,
            prefix_list=accept,
            local_preference=0,
            worst_origin=True,
        ),
        Entry(seq=2 * _SEQ_MAP, prefix_list=accept, worst_origin=True),
    )


def _to_pair(plan: SwitchPlan, names: Names, group: str, version: Version) -> tuple[Entry, ...]:
    return (Entry(seq=_SEQ_MAP, path_list=names.of("RACK"), prefix_list=names.prefixes("ACCEPT", version)),)


def _from_fabric(plan: SwitchPlan, names: Names, group: str, version: Version) -> tuple[Entry, ...]:
    return (
        Entry(seq=_SEQ_MAP, permit=False, prefix_list=names.prefixes("OWN", version)),
        Entry(seq=2 * _SEQ_MAP, community_list=names.graceful_shutdown, local_preference=0),
        Entry(seq=3 * _SEQ_MAP),
    )


def _to_fabric(plan: SwitchPlan, names: Names, group: str, version: Version) -> tuple[Entry, ...]:
    return (Entry(seq=_SEQ_MAP, path_list=names.of("RACK"), prefix_list=names.prefixes("ANNOUNCE", version)),)


_SIDES = {
    "rack": (_from_rack, _to_rack),
    "fabric": (_from_fabric, _to_fabric),
    "pair": (_from_pair, _to_pair),
}
