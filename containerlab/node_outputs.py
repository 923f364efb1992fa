"""What is seen in a node, as data: sessions, and what iproute2 and ping print. Pure.

Every reader raises ValueError for text that is not of its program.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

UP = "Established"
NO_FORWARDING = ("blackhole", "unreachable", "prohibit", "throw")
"""Types of kernel routes that drop packets."""

_PING = re.compile(r"(\d+) packets transmitted, (\d+) (?:packets )?received")


@dataclass(frozen=True, slots=True)
class SessionSeen:
    """A session as one of its ends tells of it. `peer`: the other end's node where it is known."""

    node: str
    key: str
    state: str
    reason: str = ""
    peer: str = ""

    def line(self) -> str:
        peer = f" ({self.peer})" if self.peer else ""
        reason = f", {self.reason}" if self.reason and self.state != UP else ""
        return f"{self.node}: {self.key}{peer} {self.state}{reason}"


@dataclass(frozen=True, slots=True)
class Hop:
    """A next hop. `neighbor`: the node there, where it is known; no gateway: it is on the link."""

    gateway: str
    interface: str
    neighbor: str = ""

    def names(self) -> frozenset[str]:
        return frozenset(filter(None, (self.gateway, self.interface, self.neighbor)))

    def text(self) -> str:
        where = " ".join(filter(None, (self.gateway, self.interface)))
        return f"{self.neighbor} ({where})" if self.neighbor else where


@dataclass(frozen=True, slots=True)
class RouteSeen:
    """A route of a kernel; `prefix` is `default` or with its length. `kind` is `unicast`, or how it drops packets."""

    prefix: str
    kind: str
    hops: tuple[Hop, ...]

    @property
    def forwards(self) -> bool:
        return self.kind not in NO_FORWARDING

    def line(self) -> str:
        if not self.forwards:
            return f"{self.prefix} {self.kind}"
        return f"{self.prefix} via {', '.join(hop.text() for hop in self.hops) or 'nobody'}"


@dataclass(frozen=True, slots=True)
class PingSeen:
    sent: int
    received: int


def kernel_routes(text: str, next_hops: str = "") -> list[RouteSeen]:
    """Of `ip -j route show`; `next_hops`: of `ip -j nexthop show`, for routes that name only an object."""
    objects = {one["id"]: one for one in json.loads(next_hops or "[]")}
    return [_route(one, objects) for one in json.loads(text or "[]")]


def _route(row: Mapping[str, Any], objects: Mapping[int, Mapping[str, Any]]) -> RouteSeen:
    kind = row.get("type", "unicast")
    hops = tuple(_hops(row, objects)) if kind not in NO_FORWARDING else ()
    return RouteSeen(_with_length(row["dst"]), kind, hops)


def _hops(row: Mapping[str, Any], objects: Mapping[int, Mapping[str, Any]]) -> Iterator[Hop]:
    if "nexthops" in row:
        for one in row["nexthops"]:
            yield from _hops(one, objects)
    elif "dev" in row or "gateway" in row or "via" in row:
        gateway = row.get("gateway") or row.get("via", {}).get("host", "")
        yield Hop(gateway, row.get("dev", ""))
    else:
        found = objects.get(row.get("nhid", row.get("id", 0)), {})
        for member in found.get("group", ()):
            yield from _hops({"nhid": member["id"]}, objects)
        if "dev" in found or "gateway" in found:
            yield Hop(found.get("gateway", ""), found.get("dev", ""))


def _with_length(prefix: str) -> str:
    return prefix if prefix == "default" or "/" in prefix else str(ipaddress.ip_network(prefix))


def longest(routes: list[RouteSeen]) -> RouteSeen | None:
    """The most specific one; the first of several."""
    return max(routes, key=lambda r: -1 if r.prefix == "default" else int(r.prefix.partition("/")[2]), default=None)


def named(route: RouteSeen, neighbors: Mapping[str, str]) -> RouteSeen:
    """With the nodes of its next hops, by the addresses and interfaces of `neighbors`."""
    hops = (replace(h, neighbor=neighbors.get(h.gateway) or neighbors.get(h.interface, "")) for h in route.hops)
    return replace(route, hops=tuple(hops))


def global_addresses(text: str) -> dict[int, str]:
    """IP version -> the first global address, of `ip -j address show scope global`."""
    found: dict[int, str] = {}
    for link in json.loads(text or "[]"):
        for one in link.get("addr_info", ()):
            if one.get("scope") == "global":
                found.setdefault(6 if one["family"] == "inet6" else 4, one["local"])
    return found


def ping(text: str) -> PingSeen:
    """Of the summary of any `ping`."""
    match = _PING.search(text)
    if match is None:
        raise ValueError(text.strip().splitlines()[-1] if text.strip() else "ping printed nothing")
    return PingSeen(int(match[1]), int(match[2]))
