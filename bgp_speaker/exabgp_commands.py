"""Lines of ExaBGP's text API: what to announce as data, and the fewest lines that bring it about.

A line carries at most 45 prefixes of one family. ExaBGP's loop takes 50 steps of its command queue and then
sleeps in poll(); a line of 45 that is acknowledged before the next is sent stays under that and passes
12,800 routes/s, where 1,000 in a line pass 4,300. Neighbours that are to get the same announcement share a
line (`neighbor A , neighbor B announce ...`): ExaBGP spends a step on a prefix, not on a neighbour.

ExaBGP answers `error` without a reason and drops the whole line for one bad prefix, so everything is
checked here, when the `Announcement` is made, and printed in canonical form. Well-known communities are
sent as numbers (RFC 1997, RFC 7999, RFC 8326) because ExaBGP does not know all of their names.

Announcing what is already announced sends nothing to the peer, so replaying a whole desired set is cheap.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from peering.delta import delta
from peering.session import Family

#: Prefixes in one line, see above.
BULK = 45
#: Neighbours in one line; bounds its length (ExaBGP takes lines up to 1 MiB).
MAX_NEIGHBORS = 32
SELF = "self"

SHOW_NEIGHBORS = "show neighbor json"
SHOW_CONFIGURATION = "show neighbor configuration"
SHOW_ANNOUNCED = "show adj-rib out"

WELL_KNOWN_COMMUNITIES = {
    "graceful-shutdown": "65535:0",
    "blackhole": "65535:666",
    "no-export": "65535:65281",
    "no-advertise": "65535:65282",
    "no-export-subconfed": "65535:65283",
    "no-peer": "65535:65284",
}

_FAMILIES: dict[Family, str] = {"ipv4-unicast": "ipv4 unicast", "ipv6-unicast": "ipv6 unicast"}
_U16, _U32 = 0xFFFF, 0xFFFF_FFFF

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Announcement:
    """One prefix with what goes with it. Raises ValueError when a part of it is not valid.

    `next_hop` is an address or `"self"`: the local address of the session, which must then be of the
    prefix's family. Communities are `"65100:7"` or a well-known name, large ones `"65100:1:2"` (RFC 8092). `as_path` is
    the whole AS path as it goes over the wire; ExaBGP makes it where it is empty.
    """

    prefix: str
    next_hop: str = SELF
    communities: tuple[str, ...] = ()
    large_communities: tuple[str, ...] = ()
    local_preference: int | None = None
    med: int | None = None
    as_path: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        canonical = {
            "prefix": str(ipaddress.ip_network(self.prefix)),
            "next_hop": SELF if self.next_hop == SELF else str(ipaddress.ip_address(self.next_hop)),
            "communities": tuple(sorted({_community(text) for text in self.communities})),
            "large_communities": tuple(sorted({_numbers(t, (_U32,) * 3) for t in self.large_communities})),
        }
        for name, value in canonical.items():
            object.__setattr__(self, name, value)
        for number in (self.local_preference, self.med, *self.as_path):
            if number is not None and not 0 <= number <= _U32:
                raise ValueError(f"{number} does not fit an attribute of 32 bits")

    @property
    def family(self) -> Family:
        """The address family that the prefix belongs to."""
        return "ipv6-unicast" if ":" in self.prefix else "ipv4-unicast"

    @property
    def attributes(self) -> str:
        """What stands between `attributes` and `nlri`; equal for announcements that may share a line."""
        parts = [f"next-hop {self.next_hop}"]
        parts += [f"local-preference {self.local_preference}"] if self.local_preference is not None else []
        parts += [f"med {self.med}"] if self.med is not None else []
        parts += [f"as-path [ {' '.join(map(str, self.as_path))} ]"] if self.as_path else []
        parts += [f"community [ {' '.join(self.communities)} ]"] if self.communities else []
        parts += [f"large-community [ {' '.join(self.large_communities)} ]"] if self.large_communities else []
        return " ".join(parts)


#: Neighbour address -> prefix -> what is announced to it.
AnnouncementSet = Mapping[str, Mapping[str, Announcement]]


def difference(desired: AnnouncementSet, actual: AnnouncementSet) -> list[str]:
    """The lines that turn `actual` into `desired`: announcements first, so that no prefix is missing between.

    A neighbour missing from `desired` loses everything; the keys of the inner mappings are the prefixes.
    """
    announce: dict[str, list[Announcement]] = {}
    withdraw: dict[str, list[str]] = {}
    for neighbor in sorted({*desired, *actual}):
        step = delta(desired.get(neighbor, {}), actual.get(neighbor, {}))
        announce[neighbor] = [*step.added.values(), *step.changed.values()]
        withdraw[neighbor] = list(step.removed)
    return [*announce_lines(announce), *withdraw_lines(withdraw)]


def announce_lines(wanted: Mapping[str, Iterable[Announcement]]) -> list[str]:
    """Neighbour -> announcements, as lines. Raises ValueError for a next hop that the session cannot have."""
    neighbors: dict[Announcement, list[str]] = {}
    for neighbor, announcements in wanted.items():
        address = _neighbor(neighbor)
        for announcement in announcements:
            _check_next_hop(address, announcement)
            neighbors.setdefault(announcement, []).append(address)
    lines: dict[tuple[tuple[str, ...], Family, str], list[str]] = {}
    for announcement, found in neighbors.items():
        key = (tuple(sorted(set(found))), announcement.family, announcement.attributes)
        lines.setdefault(key, []).append(announcement.prefix)
    return [
        f"{selector} announce attributes {attributes} nlri {' '.join(prefixes)}"
        for (group, _, attributes), all_prefixes in lines.items()
        for selector in _selectors(group)
        for prefixes in _chunks(all_prefixes, BULK)
    ]


def withdraw_lines(unwanted: Mapping[str, Iterable[str]]) -> list[str]:
    """Neighbour -> prefixes to withdraw, as lines. Raises ValueError for what is not a prefix."""
    neighbors: dict[str, list[str]] = {}
    for neighbor, prefixes in unwanted.items():
        address = _neighbor(neighbor)
        for prefix in prefixes:
            neighbors.setdefault(str(ipaddress.ip_network(prefix)), []).append(address)
    lines: dict[tuple[tuple[str, ...], bool], list[str]] = {}
    for prefix, found in neighbors.items():
        lines.setdefault((tuple(sorted(set(found))), ":" in prefix), []).append(prefix)
    return [
        f"{selector} withdraw attributes nlri {' '.join(some)}"
        for (group, _), all_prefixes in lines.items()
        for selector in _selectors(group)
        for some in _chunks(all_prefixes, BULK)
    ]


def end_of_rib_lines(neighbors: Iterable[str], families: Iterable[Family]) -> list[str]:
    """End-of-RIB (RFC 4724, section 2) to each neighbour, to be sent after its announcements."""
    return _family_lines("announce eor", neighbors, families)


def route_refresh_lines(neighbors: Iterable[str], families: Iterable[Family]) -> list[str]:
    """Asks each neighbour to send everything again (RFC 2918). For sessions that are up only."""
    return _family_lines("announce route-refresh", neighbors, families)


def parse_announced(line: str) -> tuple[str, str] | None:
    """A line of the answer to `show adj-rib out`: (neighbour, prefix); None for any other line."""
    words = line.split()
    if len(words) < 4 or f"{words[1]} {words[2]}" not in _FAMILIES.values():
        return None
    try:
        return _neighbor(words[0]), str(ipaddress.ip_network(words[3]))
    except ValueError:
        return None


def _family_lines(command: str, neighbors: Iterable[str], families: Iterable[Family]) -> list[str]:
    group = tuple(sorted({_neighbor(n) for n in neighbors}))
    return [f"{s} {command} {_FAMILIES[f]}" for f in families for s in _selectors(group)]


def _selectors(neighbors: Sequence[str]) -> Iterator[str]:
    for some in _chunks(neighbors, MAX_NEIGHBORS):
        yield " , ".join(f"neighbor {address}" for address in some)


def _chunks(items: Sequence[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


def _neighbor(text: str) -> str:
    return str(ipaddress.ip_address(text))


def _check_next_hop(neighbor: str, announcement: Announcement) -> None:
    """ExaBGP makes the router ID of `self` for IPv4 over IPv6, and an exception of the opposite."""
    if announcement.next_hop == SELF and (":" in neighbor) != (":" in announcement.prefix):
        raise ValueError(f"{announcement.prefix} to {neighbor} needs a next hop: the session is of another family")


def _community(text: str) -> str:
    return _numbers(WELL_KNOWN_COMMUNITIES.get(text, text), (_U16, _U16))


def _numbers(text: str, limits: tuple[int, ...]) -> str:
    parts = text.split(":")
    if len(parts) != len(limits) or not all(p.isascii() and p.isdigit() for p in parts):
        raise ValueError(f"{text!r} is not a community")
    numbers = [int(part) for part in parts]
    if any(number > limit for number, limit in zip(numbers, limits, strict=True)):
        raise ValueError(f"{text!r} is out of range for a community")
    return ":".join(str(number) for number in numbers)
