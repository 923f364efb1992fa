"""What ExaBGP tells its helper, line by line, as events: bytes in, one event out, never an exception.

A line is a JSON object (something happened), a JSON array or bare text (the answer to a `show`), or the bare
words `done` and `error` (the acknowledgement of a command, without saying which). An object of an unknown
type or shape is an `Undecodable` event with an excerpt: the decoder is strict, so that a change of ExaBGP's
output is seen at once and not as routes that are quietly missing.

Rules that the line does not show:
- ExaBGP does no loop check, no best path and no next-hop check; neither does this. Everything that was
  received is here, one's own prefixes included.
- An UPDATE with link-local next hops names its prefixes twice, under `::` and under the real next hop: the
  ones under `::` are dropped when the other is there.
- IPv6 prefixes over an IPv4 session have the next hop ::ffff:a.b.c.d; it is handed on as the 4 bytes that it
  stands for, so that nobody takes it for an IPv6 gateway.
- In the graceful-restart capability ExaBGP has the names of the flags the wrong way round: `restart-flags`
  holds the R bit and prints it as "forwarding", `address-family-flags` holds the F bit and prints "restart"
  (RFC 4724, section 3).
- "connected" is also said of peers that refuse the connection; only "up" and "down" mean something.
- Passwords appear in the answer to `show neighbor configuration`: the decoder strikes them out.

Prefixes and next hops are packed (peering/prefixes.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any, Literal

from bgp_speaker.exabgp_attributes import Attributes, attribute_text, decode_attributes
from bgp_speaker.exabgp_json import int_of, list_of, text_of
from peering.prefixes import Address, Prefix
from peering.session import Family

_EXCERPT = 160
_V4_MAPPED = bytes(10) + b"\xff\xff"
_UNSPECIFIED = bytes(16)
_FAMILIES: dict[str, Family] = {"ipv4 unicast": "ipv4-unicast", "ipv6 unicast": "ipv6-unicast"}
#: What reading a line of another shape can raise, whatever it holds.
_MISSHAPEN = (ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError, OSError)
_PASSWORD = re.compile(rb'(md5-password\s+)("[^"]*"|[^;\s]+)')


@dataclass(frozen=True, slots=True)
class PeerState:
    """The session to `peer` came up or went down. Only "up" and "down" are to be acted upon."""

    peer: str
    state: Literal["up", "down", "connected"]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class GracefulRestart:
    """The peer's graceful-restart capability; `forwarding` are the families with the F bit. Seconds."""

    time: int
    restarting: bool
    forwarding: tuple[Family, ...]


@dataclass(frozen=True, slots=True)
class PeerOpen:
    """The OPEN that the peer sent. `families` are those of its multiprotocol capability that we know."""

    peer: str
    asn: int
    hold_time: int
    router_id: str
    families: tuple[Family, ...]
    graceful_restart: GracefulRestart | None
    route_refresh: bool
    enhanced_refresh: bool


Announced = tuple[Family, Prefix, Address, int]
Withdrawn = tuple[Family, Prefix, int]


@dataclass(frozen=True, slots=True)
class Update:
    """One UPDATE. `attributes` is None where nothing is announced; equal attributes are the same object.

    `announced` is (family, packed prefix, packed next hop, path identifier), `withdrawn` is (family, packed prefix,
    path identifier); the identifier is 0 where additional paths (RFC 7911) were not negotiated.
    """

    peer: str
    local: str
    attributes: Attributes | None
    announced: tuple[Announced, ...]
    withdrawn: tuple[Withdrawn, ...]


@dataclass(frozen=True, slots=True)
class EndOfRib:
    """The peer has sent all it had (RFC 4724, section 2)."""

    peer: str
    family: Family


@dataclass(frozen=True, slots=True)
class RouteRefresh:
    """A ROUTE-REFRESH of the peer; "begin" and "end" enclose what it sends again (RFC 7313)."""

    peer: str
    family: Family
    subtype: Literal["query", "begin", "end"]


@dataclass(frozen=True, slots=True)
class Notification:
    """A NOTIFICATION; `text` is the shutdown communication, if any (RFC 9003)."""

    peer: str
    direction: str
    code: int
    subcode: int
    text: str


@dataclass(frozen=True, slots=True)
class ShimHello:
    """The first line of a connection: lines thrown away since the last one, and ExaBGP's process ID."""

    lost: int
    exabgp_pid: int


@dataclass(frozen=True, slots=True)
class Done:
    """A command was parsed and queued. Not: sent, received, or effective."""


@dataclass(frozen=True, slots=True)
class Error:
    """A command was refused; ExaBGP does not say why."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """ExaBGP ends now, in good order."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A line of the answer to a `show`: `items` for a JSON array, else `text`."""

    text: str
    items: list[Any] | None = None


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A line that is not understood, cut short, and why."""

    excerpt: str
    reason: str


Event = (
    PeerState
    | PeerOpen
    | Update
    | EndOfRib
    | RouteRefresh
    | Notification
    | ShimHello
    | Done
    | Error
    | Shutdown
    | Reply
    | Undecodable
)

_BARE: dict[bytes, Event] = {b"done": Done(), b"error": Error()}


def decode(line: bytes) -> Event:
    """One line, with or without its newline, as an event."""
    line = line.strip()
    bare = _BARE.get(line)
    if bare is not None:
        return bare
    try:
        if line[:1] == b"{":
            return _decode_object(line)
        if line[:1] == b"[":
            return Reply("", list_of(json.loads(line)))
    except _MISSHAPEN as error:
        return Undecodable(
            line[:_EXCERPT].decode("ascii", "backslashreplace"), f"{type(error).__name__}: {error}"[:_EXCERPT]
        )
    return Reply(_PASSWORD.sub(rb"\1***", line).decode("ascii", "backslashreplace"))


def _decode_object(line: bytes) -> Event:
    message = json.loads(line)
    kind = message["type"]
    if kind == "shim":
        return ShimHello(int_of(message["lost"]), int_of(message["ppid"]))
    if kind == "notification" and message.get("notification") == "shutdown":
        return Shutdown()
    decoder = _DECODERS.get(text_of(kind))
    if decoder is None:
        raise ValueError(f"unknown type {kind!r}")
    neighbor = message["neighbor"]
    return decoder(text_of(neighbor["address"]["peer"]), neighbor, line)


def _state(peer: str, neighbor: Mapping[str, Any], _line: bytes) -> Event:
    state = neighbor["state"]
    if state not in ("up", "down", "connected"):
        raise ValueError(f"unknown state {state!r}")
    return PeerState(peer, state, text_of(neighbor.get("reason", "")))


def _open(peer: str, neighbor: Mapping[str, Any], _line: bytes) -> Event:
    message = neighbor["open"]
    capabilities = message["capabilities"]
    multiprotocol = list_of(capabilities["1"]["families"]) if "1" in capabilities else ["ipv4/unicast"]
    return PeerOpen(
        peer=peer,
        asn=int_of(message["asn"]),
        hold_time=int_of(message["hold_time"]),
        router_id=text_of(message["router_id"]),
        families=_slashed_families(multiprotocol),
        graceful_restart=_graceful_restart(capabilities["64"]) if "64" in capabilities else None,
        route_refresh="2" in capabilities or "128" in capabilities,
        enhanced_refresh="70" in capabilities,
    )


def _graceful_restart(capability: Mapping[str, Any]) -> GracefulRestart:
    flags = capability["address-family-flags"]
    return GracefulRestart(
        time=int_of(capability["time"]),
        restarting="forwarding" in list_of(capability["restart-flags"]),
        forwarding=_slashed_families([name for name in flags if "restart" in list_of(flags[name])]),
    )


def _slashed_families(names: list[Any]) -> tuple[Family, ...]:
    spaced = [text_of(name).replace("/", " ") for name in names]
    return tuple(_FAMILIES[name] for name in spaced if name in _FAMILIES)


def _update(peer: str, neighbor: Mapping[str, Any], line: bytes) -> Event:
    message = neighbor["message"]
    if "eor" in message:
        return EndOfRib(peer, _family(message["eor"]))
    update = message["update"]
    announced = _announced(update["announce"]) if "announce" in update else ()
    withdrawn = _withdrawn(update["withdraw"]) if "withdraw" in update else ()
    attributes = decode_attributes(attribute_text(line)) if announced else None
    return Update(peer, text_of(neighbor["address"]["local"]), attributes, announced, withdrawn)


def _announced(families: Mapping[str, Any]) -> tuple[Announced, ...]:
    found: list[Announced] = []
    for name, next_hops in families.items():
        family, pack = _FAMILIES[name], _PACK[name]
        for text, nlris in next_hops.items():
            next_hop = _next_hop(text)
            if next_hop == _UNSPECIFIED and len(next_hops) > 1:
                continue
            found += [(family, pack(nlri["nlri"]), next_hop, _path_id(nlri)) for nlri in nlris]
    return tuple(found)


def _withdrawn(families: Mapping[str, Any]) -> tuple[Withdrawn, ...]:
    return tuple(
        (_FAMILIES[name], _PACK[name](nlri["nlri"]), _path_id(nlri))
        for name, nlris in families.items()
        for nlri in nlris
    )


def _path_id(nlri: Mapping[str, Any]) -> int:
    """ExaBGP prints it as an IPv4 address."""
    text = nlri.get("path-information")
    return 0 if text is None else int.from_bytes(inet_pton(AF_INET, text))


def _next_hop(text: str) -> Address:
    if ":" not in text:
        return inet_pton(AF_INET, text)
    packed = inet_pton(AF_INET6, text)
    return packed[12:] if packed.startswith(_V4_MAPPED) else packed


def _pack_ipv4(text: str) -> Prefix:
    return _pack(text, AF_INET, 32)


def _pack_ipv6(text: str) -> Prefix:
    return _pack(text, AF_INET6, 128)


def _pack(text: str, family: int, bits: int) -> Prefix:
    """As peering's `pack_prefix`, ten times as fast: an UPDATE has up to a thousand of them."""
    address, _, digits = text.partition("/")
    length = int(digits)
    packed = inet_pton(family, address)
    if not 0 <= length <= bits or int.from_bytes(packed) & ((1 << (bits - length)) - 1):
        raise ValueError(f"not a prefix: {text}")
    return bytes((length,)) + packed


def _notification(peer: str, neighbor: Mapping[str, Any], _line: bytes) -> Event:
    message = neighbor["notification"]
    return Notification(
        peer,
        text_of(neighbor["direction"]),
        int_of(message["code"]),
        int_of(message["subcode"]),
        text_of(message.get("message", "")),
    )


def _refresh(peer: str, neighbor: Mapping[str, Any], _line: bytes) -> Event:
    message = neighbor["route-refresh"]
    subtype = message["subtype"]
    if subtype not in ("query", "begin", "end"):
        raise ValueError(f"unknown route-refresh subtype {subtype!r}")
    return RouteRefresh(peer, _family(message), subtype)


def _family(message: Mapping[str, Any]) -> Family:
    return _FAMILIES[f"{message['afi']} {message['safi']}"]


_PACK: dict[str, Callable[[str], Prefix]] = {"ipv4 unicast": _pack_ipv4, "ipv6 unicast": _pack_ipv6}
_DECODERS: dict[str, Callable[[str, Mapping[str, Any], bytes], Event]] = {
    "state": _state,
    "open": _open,
    "update": _update,
    "notification": _notification,
    "refresh": _refresh,
}
