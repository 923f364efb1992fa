"""Tells when somebody else touched our routes, or when links or addresses changed.

A netlink socket of its own, subscribed to routes, next-hop objects, links and addresses. A filter in the
kernel (classic BPF, as FRR's zebra attaches one) drops what is of no interest before it takes room in the
buffer: notifications of our own changes, by their netlink port id, and routes and objects of other protocols.
A route of another protocol is let through when it *replaced* one: the kernel tells of the new route only, and
the old one may have been ours.

The answer is no list of events but what to do: any disturbance calls for `KernelRoutes.sync`. When the buffer
overflows (ENOBUFS), events were lost: that counts as everything being disturbed.

What cannot be seen here: a link that goes down or loses its carrier takes its next hops, their groups and
IPv4 routes with it without a notification of those. Only the link is reported, so `links` calls for a sync too.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from dataclasses import dataclass, field
from types import TracebackType

from bgp_speaker.netlink_codec import (
    NLM_F_REPLACE,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELNEXTHOP,
    RTM_DELROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEXTHOP,
    RTM_NEWROUTE,
    Message,
    messages,
)

_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP = 270, 1
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33
_GROUPS = (1, 5, 7, 9, 11, 32)  # RTNLGRP_ LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE, NEXTHOP
_RECEIVE = 1 << 16
_BUFFER = 4 << 20

_LINK_TYPES = frozenset((RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR))
_ROUTE_TYPES = frozenset((RTM_NEWROUTE, RTM_DELROUTE))
_NEXTHOP_TYPES = frozenset((RTM_NEWNEXTHOP, RTM_DELNEXTHOP))
_IFINDEX = struct.Struct("=I")  # after 4 bytes, in `struct ifinfomsg` as in `struct ifaddrmsg`
_ROUTE_PROTOCOL, _NEXTHOP_PROTOCOL = 5, 2  # bytes from the start of the payload


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What happened since the last look; false when nothing did.

    `routes`: somebody changed a route or next-hop object of ours, or may have. `links`: a link or address
    changed; `ifindexes` says of which links. `overrun`: events were lost; then all flags are set and
    `ifindexes` is not complete.
    """

    routes: bool = False
    links: bool = False
    overrun: bool = False
    ifindexes: frozenset[int] = field(default_factory=frozenset)

    def __bool__(self) -> bool:
        return self.routes or self.links or self.overrun


class RouteMonitor:
    """Watches the network namespace of the thread that makes it. For `loop.add_reader(monitor, ...)`.

    `protocol`: whose routes; `own_port`: `KernelRoutes.port`, whose changes are no disturbance; `buffer`: bytes.
    """

    def __init__(self, protocol: int, own_port: int, buffer: int = _BUFFER) -> None:
        self._protocol, self._own_port = protocol, own_port
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, buffer)
        _attach(self._socket, interest_filter(protocol, own_port))
        self._socket.bind((0, 0))
        for group in _GROUPS:
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)

    def fileno(self) -> int:
        """Readable when there is something to `drain`."""
        return self._socket.fileno()

    def close(self) -> None:
        """Ends the subscription."""
        self._socket.close()

    def __enter__(self) -> RouteMonitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def drain(self) -> Disturbance:
        """Reads all that has come, without waiting. Raises OSError when the socket fails."""
        routes = overrun = False
        ifindexes: set[int] = set()
        while True:
            try:
                data = self._socket.recv(_RECEIVE)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                overrun = True
                continue
            for message in messages(data):
                if message.type in _LINK_TYPES:
                    ifindexes.add(_IFINDEX.unpack_from(message.data, message.start + 4)[0])
                else:
                    routes = routes or self._concerns_us(message)
        return Disturbance(routes or overrun, bool(ifindexes) or overrun, overrun, frozenset(ifindexes))

    def _concerns_us(self, message: Message) -> bool:
        if message.port == self._own_port:
            return False
        if message.type in _ROUTE_TYPES:
            replaced = message.type == RTM_NEWROUTE and bool(message.flags & NLM_F_REPLACE)
            return replaced or message.data[message.start + _ROUTE_PROTOCOL] == self._protocol
        ours = message.data[message.start + _NEXTHOP_PROTOCOL] == self._protocol
        return message.type in _NEXTHOP_TYPES and ours


_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE = 0x20, 0x28, 0x30  # BPF_LD | size | BPF_ABS
_JUMP_EQUAL, _JUMP_SET, _RETURN = 0x15, 0x45, 0x06
_ACCEPT, _DROP = 0xFFFFFFFF, 0
_TYPE_AT, _FLAGS_AT, _PORT_AT, _PAYLOAD_AT = 4, 6, 12, 16
Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false (both in instructions), operand."""


def interest_filter(protocol: int, own_port: int) -> tuple[Instruction, ...]:
    """The filter's program. BPF loads in network order what netlink writes in host order, so constants turn."""
    return (
        (_LOAD_WORD, 0, 0, _PORT_AT),
        (_JUMP_EQUAL, 12, 0, socket.htonl(own_port)),  # to the drop
        (_LOAD_HALF, 0, 0, _TYPE_AT),
        (_JUMP_EQUAL, 5, 0, socket.htons(RTM_DELROUTE)),  # to the route's protocol
        (_JUMP_EQUAL, 2, 0, socket.htons(RTM_NEWROUTE)),  # to the flags
        (_JUMP_EQUAL, 5, 0, socket.htons(RTM_NEWNEXTHOP)),  # to the next hop's protocol
        (_JUMP_EQUAL, 4, 6, socket.htons(RTM_DELNEXTHOP)),  # there too, or accept: links and addresses
        (_LOAD_HALF, 0, 0, _FLAGS_AT),
        (_JUMP_SET, 4, 0, socket.htons(NLM_F_REPLACE)),  # accept
        (_LOAD_BYTE, 0, 0, _PAYLOAD_AT + _ROUTE_PROTOCOL),
        (_JUMP_EQUAL, 2, 3, protocol),
        (_LOAD_BYTE, 0, 0, _PAYLOAD_AT + _NEXTHOP_PROTOCOL),
        (_JUMP_EQUAL, 0, 1, protocol),
        (_RETURN, 0, 0, _ACCEPT),
        (_RETURN, 0, 0, _DROP),
    )


def _attach(target: socket.socket, program: tuple[Instruction, ...]) -> None:
    """SO_ATTACH_FILTER takes a `struct sock_fprog`: a count and a pointer, which lives during the call."""
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    fprog = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    target.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)
