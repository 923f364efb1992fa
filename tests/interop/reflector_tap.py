"""What passes on a host's wire, as BGP messages: the judge of what the daemons do not show."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple, Self

from tests.interop.reflector_lab import Host

OPEN, UPDATE, NOTIFICATION, KEEPALIVE, ROUTE_REFRESH = range(1, 6)
MP_REACH, MP_UNREACH = 14, 15
MARKER = b"\xff" * 16
_ETH_P_ALL = 3
_SO_RCVBUFFORCE = 33
_BUFFER = 64 << 20
Stream = tuple[str, int, str, int]  # source, its port, destination, its port


class Message(NamedTuple):
    """`body` is without the header of 19 bytes."""

    sender: str
    receiver: str
    type: int
    body: bytes


class Tap:
    """Hears eth0 from now on, in the kernel's buffer: TCP MD5 signs and hides nothing."""

    def __init__(self, host: Host) -> None:
        with host.inside():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        self._socket.bind(("eth0", _ETH_P_ALL))
        self._socket.setblocking(False)
        self._next: dict[Stream, int] = {}
        self._rest: dict[Stream, bytes] = {}
        self._heard: list[Message] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def messages(self, sender: str, kind: int, receiver: str = "") -> list[Message]:
        """Of this type from this address, since the tap began; to anybody without a receiver."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._take(self._socket.recv(1 << 17))
        return [m for m in self._heard if (m.sender, m.type) == (sender, kind) and receiver in ("", m.receiver)]

    def notifications(self, sender: str, receiver: str = "") -> set[bytes]:
        """Code, subcode and data of each."""
        return {message.body for message in self.messages(sender, NOTIFICATION, receiver)}

    def _take(self, packet: bytes) -> None:
        stream, sequence, payload = _segment(packet)
        if not payload:
            return
        due = self._next.get(stream)
        if due is None or not self._rest.get(stream):
            # Where a stream is met in its middle, the next segment that begins with a message is a place to start.
            if not payload.startswith(MARKER) and due != sequence:
                return
            due = sequence
        known = (due - sequence) & 0xFFFFFFFF
        if known >= len(payload):  # sent again
            return
        self._rest[stream] = self._rest.get(stream, b"") + payload[known:]
        self._next[stream] = (sequence + len(payload)) & 0xFFFFFFFF
        self._cut(stream)

    def _cut(self, stream: Stream) -> None:
        rest, at = self._rest[stream], 0
        while len(rest) - at >= 19:
            length, kind = struct.unpack_from("!HB", rest, at + 16)
            if len(rest) - at < length:
                break
            self._heard.append(Message(stream[0], stream[2], kind, rest[at + 19 : at + length]))
            at += max(length, 19)
        self._rest[stream] = rest[at:]


def _segment(packet: bytes) -> tuple[Stream, int, bytes]:
    """The stream, sequence number and payload of an IP packet with TCP; no payload for another."""
    if packet[0] >> 4 == 4 and packet[9] == socket.IPPROTO_TCP:
        head, end = (packet[0] & 15) * 4, struct.unpack_from("!H", packet, 2)[0]
        family, addresses = socket.AF_INET, packet[12:20]
    elif packet[0] >> 4 == 6 and packet[6] == socket.IPPROTO_TCP:
        head, end = 40, 40 + struct.unpack_from("!H", packet, 4)[0]
        family, addresses = socket.AF_INET6, packet[8:40]
    else:
        return ("", 0, "", 0), 0, b""
    source_port, target_port, sequence = struct.unpack_from("!HHI", packet, head)
    half = len(addresses) // 2
    source, target = (socket.inet_ntop(family, part) for part in (addresses[:half], addresses[half:]))
    return (source, source_port, target, target_port), sequence, packet[head + (packet[head + 12] >> 4) * 4 : end]


def attributes(update: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each path attribute of an UPDATE's body."""
    (withdrawn,) = struct.unpack_from("!H", update)
    at = 2 + withdrawn
    end = at + 2 + struct.unpack_from("!H", update, at)[0]
    at += 2
    while at < end:
        flags, kind = update[at], update[at + 1]
        wide = flags & 0x10
        (length,) = struct.unpack_from("!H" if wide else "!B", update, at + 2)
        at += 4 if wide else 3
        yield kind, update[at : at + length]
        at += length


def withdrawn(update: bytes) -> bytes:
    """The withdrawn prefixes of an UPDATE's body, of IPv4 and of others, as they are on the wire."""
    (length,) = struct.unpack_from("!H", update)
    return update[2 : 2 + length] + b"".join(value[3:] for kind, value in attributes(update) if kind == MP_UNREACH)


def encoded(prefix: str) -> bytes:
    """A prefix as it is on the wire."""
    network = ipaddress.ip_network(prefix)
    return bytes((network.prefixlen,)) + network.network_address.packed[: (network.prefixlen + 7) // 8]
