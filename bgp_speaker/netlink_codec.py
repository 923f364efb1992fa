"""rtnetlink in bytes: the few messages that routes and next-hop objects need, packed and parsed by hand.

pyroute2 builds a message in 240 µs, this in about 2: 10,000 routes are 50 ms against 2.5 s. So links and
addresses, which are few, are left to pyroute2, and routes, which are many, are packed here.

A `Request` is a message without its header; the socket numbers it. Requests of one kind are built by
`RouteWriter`, which packs once what all routes have in common. Answers are walked with `messages`, and
read with `parse_route`, `parse_nexthop` and `parse_error`.

Layouts: Linux `include/uapi/linux/{netlink,rtnetlink,nexthop}.h`. Integers are in host order, addresses in
network order, attributes padded to 4 bytes. What the kernel sends is taken as well-formed.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from bgp_speaker.kernel_route import Nexthop
from peering.prefixes import Address, Prefix, is_ipv6

AF_UNSPEC, AF_INET, AF_INET6 = 0, 2, 10  # Linux's numbers, which the messages carry

NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR = 16, 17, 20, 21
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEXTHOP, RTM_DELNEXTHOP, RTM_GETNEXTHOP = 104, 105, 106

NLM_F_REQUEST, NLM_F_ACK = 0x1, 0x4
NLM_F_DUMP_INTR, NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x10, 0x100, 0x200
NLM_F_DUMP = 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800

RTN_UNICAST, RTN_BLACKHOLE = 1, 6
_SCOPE_UNIVERSE, _SCOPE_ANY = 0, 255  # RT_SCOPE_NOWHERE in a deletion means: whatever its scope
_RT_TABLE_COMPAT = 252  # in the one-byte field of a table that does not fit it; the attribute counts

_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_PREFSRC = 1, 4, 5, 6, 7
_RTA_MULTIPATH, _RTA_TABLE, _RTA_VIA, _RTA_NH_ID = 9, 15, 18, 30
_NHA_ID, _NHA_GROUP, _NHA_OIF, _NHA_GATEWAY = 1, 2, 5, 6
_EXT_ACK_MESSAGE = 1
_PATH_ATTRIBUTES = frozenset((_RTA_OIF, _RTA_GATEWAY, _RTA_MULTIPATH, _RTA_VIA))
_TYPE_MASK = 0x3FFF  # the two upper bits of an attribute's type are flags

HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_RTMSG = struct.Struct("=BBBBBBBBI")  # family, dst_len, src_len, tos, table, protocol, scope, type, flags
_NHMSG = struct.Struct("=BBBBI")  # family, scope, protocol, reserved, flags
_ATTRIBUTE = struct.Struct("=HH")
_U32_ATTRIBUTE = struct.Struct("=HHI")
_GROUP_ENTRY = struct.Struct("=IBBH")  # member, weight - 1, weight's high byte, reserved
_INT = struct.Struct("=i")
_U32 = struct.Struct("=I")


class Request(NamedTuple):
    """A message to send: its type, its flags beside NLM_F_REQUEST, and all that follows the header."""

    type: int
    flags: int
    body: bytes


class Message(NamedTuple):
    """A message that came: `data` is the whole buffer, the payload is `data[start:end]`."""

    type: int
    flags: int
    sequence: int
    port: int
    data: bytes
    start: int
    end: int


class RouteEntry(NamedTuple):
    """A route as the kernel has it.

    `nhid` is 0 without a next-hop object. `path` holds the raw attributes of next hops that are written into
    the route itself, which is not our way of writing: enough to delete exactly that route.
    """

    prefix: Prefix
    protocol: int
    table: int
    metric: int
    type: int
    nhid: int
    source: Address | None
    path: bytes


class NexthopEntry(NamedTuple):
    """A next-hop object as the kernel has it: `nexthop` of a plain one, `members` (id, weight) of a group.

    Both are empty for other kinds (blackhole, encapsulation without gateway).
    """

    id: int
    protocol: int
    nexthop: Nexthop | None
    members: tuple[tuple[int, int], ...]


class NetlinkError(NamedTuple):
    """The kernel's refusal: `errno` (positive) and the text of its extended acknowledgement, maybe empty."""

    errno: int
    text: str

    def __str__(self) -> str:
        name = errno.errorcode.get(self.errno, f"error {self.errno}")
        return f"{self.text} ({name})" if self.text else name


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _u32_attribute(kind: int, value: int) -> bytes:
    return _U32_ATTRIBUTE.pack(8, kind, value)


def _family(prefix_or_address: bytes) -> int:
    return AF_INET6 if is_ipv6(prefix_or_address) else AF_INET


class RouteWriter:
    """Builds the requests for the routes of one protocol number in one table at one metric.

    Adding is exclusive or appending, never NLM_F_REPLACE: that replaces whatever route of that prefix and
    metric stands first, also somebody else's. A change is therefore an appended route, then the deletion of
    the old one, which the kernel finds by protocol, metric and next-hop object; a packet always finds one.
    """

    def __init__(self, protocol: int, table: int, metric: int) -> None:
        self.protocol, self.table, self.metric = protocol, table, metric
        self._tails: dict[tuple[int, Address | None], bytes] = {}

    def add(self, prefix: Prefix, nhid: int, source: Address | None, *, append: bool) -> Request:
        """A route over next-hop object `nhid`, or a blackhole when that is 0. `append`: beside one there is."""
        flags = NLM_F_CREATE | (NLM_F_APPEND if append else NLM_F_EXCL)
        tail = self._tails.get((nhid, source))
        if tail is None:
            tail = self._tails[(nhid, source)] = self._tail(self.metric, nhid, source)
        kind = RTN_UNICAST if nhid else RTN_BLACKHOLE
        return Request(RTM_NEWROUTE, flags, self._head(prefix, _SCOPE_UNIVERSE, kind) + tail)

    def delete(self, entry: RouteEntry) -> Request:
        """Exactly the route that `entry` describes, if it is still there and of our protocol."""
        tail = self._tail(entry.metric, entry.nhid, entry.source) + (b"" if entry.nhid else entry.path)
        return Request(RTM_DELROUTE, 0, self._head(entry.prefix, _SCOPE_ANY, entry.type) + tail)

    def entry(self, prefix: Prefix, nhid: int, source: Address | None) -> RouteEntry:
        """What the kernel has after `add`."""
        kind = RTN_UNICAST if nhid else RTN_BLACKHOLE
        return RouteEntry(prefix, self.protocol, self.table, self.metric, kind, nhid, source, b"")

    def owns_form(self, entry: RouteEntry) -> bool:
        """Whether `entry` is as `add` writes it: our metric, and a next-hop object or a blackhole."""
        form = RTN_UNICAST if entry.nhid else RTN_BLACKHOLE
        return entry.metric == self.metric and entry.type == form

    def dump(self, family: int) -> Request:
        """All routes of our protocol in our table (filtered in the kernel, with NETLINK_GET_STRICT_CHK)."""
        table = self._table_byte()
        head = _RTMSG.pack(family, 0, 0, 0, table, self.protocol, 0, 0, 0)
        return Request(RTM_GETROUTE, NLM_F_DUMP, head + _u32_attribute(_RTA_TABLE, self.table))

    def _table_byte(self) -> int:
        return self.table if self.table < 256 else _RT_TABLE_COMPAT

    def _head(self, prefix: Prefix, scope: int, kind: int) -> bytes:
        table = self._table_byte()
        head = _RTMSG.pack(_family(prefix), prefix[0], 0, 0, table, self.protocol, scope, kind, 0)
        return head + _ATTRIBUTE.pack(len(prefix) + 3, _RTA_DST) + prefix[1:]

    def _tail(self, metric: int, nhid: int, source: Address | None) -> bytes:
        tail = _u32_attribute(_RTA_TABLE, self.table) + _u32_attribute(_RTA_PRIORITY, metric)
        if nhid:
            tail += _u32_attribute(_RTA_NH_ID, nhid)
        return tail + (attribute(_RTA_PREFSRC, source) if source else b"")


def add_nexthop(id_: int, nexthop: Nexthop, protocol: int) -> Request:
    """A plain next-hop object; refused when the id is taken."""
    head = _NHMSG.pack(_family(nexthop.gateway), 0, protocol, 0, 0)
    body = head + _u32_attribute(_NHA_ID, id_) + _u32_attribute(_NHA_OIF, nexthop.ifindex)
    return Request(RTM_NEWNEXTHOP, NLM_F_CREATE | NLM_F_EXCL, body + attribute(_NHA_GATEWAY, nexthop.gateway))


def set_group(id_: int, members: Iterable[int], protocol: int, *, replace: bool) -> Request:
    """A group of equal weights: a new one (refused when the id is taken), or new members for an old one."""
    entries = b"".join(_GROUP_ENTRY.pack(member, 0, 0, 0) for member in members)
    body = _NHMSG.pack(AF_UNSPEC, 0, protocol, 0, 0) + _u32_attribute(_NHA_ID, id_)
    flags = NLM_F_REPLACE if replace else NLM_F_CREATE | NLM_F_EXCL
    return Request(RTM_NEWNEXTHOP, flags, body + attribute(_NHA_GROUP, entries))


def delete_nexthop(id_: int) -> Request:
    """A plain object or a group. The kernel deletes what has no member left after it, down to the routes."""
    body = _NHMSG.pack(AF_UNSPEC, 0, 0, 0, 0) + _u32_attribute(_NHA_ID, id_)
    return Request(RTM_DELNEXTHOP, 0, body)


def dump_nexthops() -> Request:
    """All next-hop objects, of every protocol: the kernel offers no filter for it."""
    return Request(RTM_GETNEXTHOP, NLM_F_DUMP, _NHMSG.pack(AF_UNSPEC, 0, 0, 0, 0))


def pack(request: Request, sequence: int, *, ack: bool = False) -> bytes:
    """The whole message. Without `ack` the kernel answers only when it refuses."""
    flags = request.flags | NLM_F_REQUEST | (NLM_F_ACK if ack else 0)
    return HEADER.pack(16 + len(request.body), request.type, flags, sequence, 0) + request.body


def messages(data: bytes) -> Iterator[Message]:
    """The messages of one received buffer."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags, sequence, port = HEADER.unpack_from(data, offset)
        if length < 16:
            return
        yield Message(kind, flags, sequence, port, data, offset + 16, offset + length)
        offset += (length + 3) & ~3


def attributes(data: bytes, offset: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(type, start of the value, end of the value) of each attribute."""
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4:
            return
        yield kind & _TYPE_MASK, offset + 4, offset + length
        offset += (length + 3) & ~3


def parse_route(message: Message) -> RouteEntry:
    """An RTM_NEWROUTE or RTM_DELROUTE of family IPv4 or IPv6."""
    data, start = message.data, message.start
    family, length, _, _, table, protocol, _, kind, _ = _RTMSG.unpack_from(data, start)
    address = bytes(16 if family == AF_INET6 else 4)  # the kernel leaves the address of /0 out
    metric = nhid = 0
    source, path = None, b""
    for attr, low, high in attributes(data, start + 12, message.end):
        if attr == _RTA_DST:
            address = data[low:high]
        elif attr == _RTA_PRIORITY:
            metric = _U32.unpack_from(data, low)[0]
        elif attr == _RTA_NH_ID:
            nhid = _U32.unpack_from(data, low)[0]
        elif attr == _RTA_TABLE:
            table = _U32.unpack_from(data, low)[0]
        elif attr == _RTA_PREFSRC:
            source = data[low:high]
        elif attr in _PATH_ATTRIBUTES:
            path += attribute(attr, data[low:high])
    return RouteEntry(bytes((length,)) + address, protocol, table, metric, kind, nhid, source, path)


def parse_nexthop(message: Message) -> NexthopEntry:
    """An RTM_NEWNEXTHOP or RTM_DELNEXTHOP."""
    data = message.data
    _, _, protocol, _, _ = _NHMSG.unpack_from(data, message.start)
    id_ = ifindex = 0
    gateway: Address | None = None
    members: tuple[tuple[int, int], ...] = ()
    for attr, low, high in attributes(data, message.start + 8, message.end):
        if attr == _NHA_ID:
            id_ = _U32.unpack_from(data, low)[0]
        elif attr == _NHA_OIF:
            ifindex = _U32.unpack_from(data, low)[0]
        elif attr == _NHA_GATEWAY:
            gateway = data[low:high]
        elif attr == _NHA_GROUP:
            entries = _GROUP_ENTRY.iter_unpack(data[low:high])
            members = tuple((member, 1 + weight + (more << 8)) for member, weight, more, _ in entries)
    return NexthopEntry(id_, protocol, Nexthop(gateway, ifindex) if gateway else None, members)


def parse_error(message: Message) -> NetlinkError | None:
    """An NLMSG_ERROR or NLMSG_DONE: None when all went well (an acknowledgement)."""
    number = -_INT.unpack_from(message.data, message.start)[0] if message.end - message.start >= 4 else 0
    if number <= 0:
        return None
    offset = message.start + 4
    if message.type == NLMSG_ERROR:
        refused_length = HEADER.unpack_from(message.data, offset)[0]
        offset += 16 if message.flags & NLM_F_CAPPED else (refused_length + 3) & ~3
    text = ""
    if message.flags & NLM_F_ACK_TLVS:
        for attr, low, high in attributes(message.data, offset, message.end):
            if attr == _EXT_ACK_MESSAGE:
                text = message.data[low:high].rstrip(b"\0").decode(errors="replace")
    return NetlinkError(number, text)
