"""What happens in one namespace, with the time at which it happened: UPDATEs that arrive, routes that are written.

Two sockets are opened inside the namespace and read from outside: a packet socket for the BGP sessions over IPv4, and
a netlink socket for the kernel's routes and next-hop objects. The kernel tells both by itself, so nothing is polled,
no daemon is asked, and the process that is measured does not notice. While it waits, a witness only keeps bytes and
the monotonic time (seconds) at which it read them; what they mean is looked up afterwards.

An event is read as soon as this process gets a CPU: some 0.1 ms later on a quiet machine, some milliseconds on a
busy one.
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bgp_speaker.netlink_codec import (
    RTM_DELNEXTHOP,
    RTM_DELROUTE,
    RTM_NEWNEXTHOP,
    RTM_NEWROUTE,
    messages,
    parse_nexthop,
    parse_route,
)
from containerlab.namespaces import NETNS_DIR
from peering.prefixes import Prefix

_CLONE_NEWNET = 0x40000000
_ETH_P_IP = 0x0800
_PACKET_HOST = 0
_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, _SO_RCVBUFFORCE = 270, 1, 33
_GROUPS = (7, 11, 32)  # RTNLGRP_ IPV4_ROUTE, IPV6_ROUTE, NEXTHOP
_BUFFER = 32 << 20
_RECEIVE = 1 << 18
_BGP_PORT = 179
_MARKER = b"\xff" * 16
_UPDATE_TYPE, _HEADER, _EMPTY_UPDATE = 2, 19, 23
_ROUTES, _OBJECTS = (RTM_NEWROUTE, RTM_DELROUTE), (RTM_NEWNEXTHOP, RTM_DELNEXTHOP)


@dataclass(frozen=True, slots=True)
class Packet:
    """A segment of a BGP session that arrived: `interface` it came in by, `size` of what TCP carried, bytes."""

    at: float
    interface: str
    size: int


@dataclass(frozen=True, slots=True)
class RouteChange:
    """One message of the kernel about a route or a next-hop object. `prefix` is None for an object."""

    at: float
    kind: int
    protocol: int
    prefix: Prefix | None


class Witness:
    """One namespace, from the moment of its making. `clear` forgets what was seen so far."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        with inside(namespace):
            self._packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP))
            self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        for one in (self._packets, self._netlink):
            one.setblocking(False)
            one.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        self._netlink.bind((0, 0))
        for group in _GROUPS:
            self._netlink.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
        self._segments: list[tuple[float, str, bytes]] = []
        self._changes: list[tuple[float, bytes]] = []

    def close(self) -> None:
        self._packets.close()
        self._netlink.close()

    def descriptors(self) -> tuple[int, int]:
        return self._packets.fileno(), self._netlink.fileno()

    def clear(self) -> None:
        """Throws away what has happened until now."""
        self.read()
        self._segments.clear()
        self._changes.clear()

    def read(self) -> None:
        """Takes in what there is, without waiting. Raises OSError when the kernel had to drop events."""
        while True:
            try:
                data, (interface, _, kind, *_) = self._packets.recvfrom(_RECEIVE)
            except BlockingIOError:
                break
            if kind == _PACKET_HOST:
                self._segments.append((time.monotonic(), interface, data))
        while True:
            try:
                data = self._netlink.recv(_RECEIVE)
            except BlockingIOError:
                break
            self._changes.append((time.monotonic(), data))

    def last_change(self) -> float | None:
        """When the kernel last said anything about routes."""
        return self._changes[-1][0] if self._changes else None

    def updates(self) -> list[Packet]:
        """The segments that carried (a part of) an UPDATE with routes in it, in order."""
        payloads = ((at, interface, bgp_payload(data)) for at, interface, data in self._segments)
        return [Packet(at, interface, len(data)) for at, interface, data in payloads if carries_routes(data)]

    def update_with(self, prefix: Prefix) -> float | None:
        """When the first segment came that names this IPv4 prefix, announced or withdrawn."""
        named = prefix[: 1 + (prefix[0] + 7) // 8]
        return next((at for at, _, data in self._segments if named in bgp_payload(data)), None)

    def changes(self, protocol: int | None = None) -> list[RouteChange]:
        """What the kernel said, in order; of one protocol number only, if that is given."""
        found = [change for at, data in self._changes for change in route_changes(at, data)]
        return [change for change in found if protocol in (None, change.protocol)]

    def wrote(self, prefix: Prefix, kind: int = RTM_NEWROUTE) -> float | None:
        """When the kernel got (or lost) a route to the prefix, the first time since `clear`."""
        changes = (c for c in self.changes() if c.prefix == prefix and c.kind == kind)
        return next((change.at for change in changes), None)


def watch(witnesses: Sequence[Witness], done: Callable[[], bool], seconds: float, pause: float = 1.0) -> bool:
    """Reads all witnesses until `done`, which is asked after every reading and every `pause` seconds without any."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        select.select([fd for witness in witnesses for fd in witness.descriptors()], [], [], pause)
        for witness in witnesses:
            witness.read()
        if done():
            return True
    return False


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread in the namespace; a socket that is opened inside stays there afterwards."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open("rb") as home, (NETNS_DIR / namespace).open("rb") as there:
        if libc.setns(there.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
        try:
            yield
        finally:
            if libc.setns(home.fileno(), _CLONE_NEWNET):
                os.abort()


def bgp_payload(packet: bytes) -> bytes:
    """What TCP carries in an IPv4 packet from or to port 179; nothing for any other packet."""
    if len(packet) < 20 or packet[9] != socket.IPPROTO_TCP:
        return b""
    tcp = 4 * (packet[0] & 0x0F)
    if len(packet) < tcp + 20:
        return b""
    ports = {int.from_bytes(packet[tcp : tcp + 2]), int.from_bytes(packet[tcp + 2 : tcp + 4])}
    if _BGP_PORT not in ports:
        return b""
    return packet[tcp + 4 * (packet[tcp + 12] >> 4) : int.from_bytes(packet[2:4]) or len(packet)]


def carries_routes(payload: bytes) -> bool:
    """Whether a segment holds an UPDATE that is no End-of-RIB, or a part of one that began before (RFC 4271, 4.1)."""
    while payload:
        if not payload.startswith(_MARKER):
            return True
        size, kind = int.from_bytes(payload[16:18]), payload[18] if len(payload) > 18 else 0
        if kind == _UPDATE_TYPE and size > _EMPTY_UPDATE:
            return True
        payload = payload[max(size, _HEADER) :]
    return False


def route_changes(at: float, data: bytes) -> Iterator[RouteChange]:
    """The messages of one datagram that concern IPv4 and IPv6 routes and next-hop objects."""
    for message in messages(data):
        if message.type in _ROUTES:
            route = parse_route(message)
            yield RouteChange(at, message.type, route.protocol, route.prefix)
        elif message.type in _OBJECTS:
            yield RouteChange(at, message.type, parse_nexthop(message).protocol, None)
