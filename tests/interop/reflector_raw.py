"""A BGP speaker by hand: says on a TCP connection what the test wants, right or wrong, and reads what comes back."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from typing import Self

from tests.interop.reflector_lab import AS, PASSWORD, PATIENCE, Host
from tests.interop.reflector_tap import KEEPALIVE, MARKER, NOTIFICATION, OPEN, UPDATE, Message

_TCP_MD5SIG = 14
_MULTIPROTOCOL, _FOUR_OCTET_AS = 1, 65
#: Of struct tcp_md5sig (linux/tcp.h): address, flags, prefix length, key length, interface index, key.
_MD5_KEY = struct.Struct("=128sBBHi80s")


def md5_key(address: str, port: int, password: str) -> bytes:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(family, address)
    where = struct.pack("=HH", family, socket.htons(port)) + (bytes(4) + packed if ":" in address else packed)
    return _MD5_KEY.pack(where, 0, 0, len(password), 0, password.encode())


class Raw:
    """One connection. Raises TimeoutError where the reflector does not answer a SYN."""

    def __init__(
        self, host: Host, server: str, password: str = PASSWORD, source: str = "", timeout: float = PATIENCE
    ) -> None:
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        with host.inside():
            self.socket = socket.socket(family)
        if password:
            self.socket.setsockopt(socket.IPPROTO_TCP, _TCP_MD5SIG, md5_key(server, 179, password))
        self.socket.settimeout(timeout)
        if source:
            self.socket.bind((source, 0))
        try:
            self.socket.connect((server, 179))
        except OSError:
            self.socket.close()
            raise
        self.local = self.socket.getsockname()[0]
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def say(self, kind: int, body: bytes = b"") -> None:
        self.socket.sendall(message(kind, body))

    def hear(self) -> Message | None:
        """The next message; None when the connection is over."""
        while len(self._rest) < 19 or len(self._rest) < struct.unpack_from("!H", self._rest, 16)[0]:
            try:
                more = self.socket.recv(1 << 16)
            except ConnectionResetError:
                more = b""
            if not more:
                return None
            self._rest += more
        length, kind = struct.unpack_from("!HB", self._rest, 16)
        body, self._rest = self._rest[19:length], self._rest[length:]
        return Message("", "", kind, body)

    def hear_all(self) -> Iterator[Message]:
        while (heard := self.hear()) is not None:
            yield heard

    def notification(self) -> bytes:
        """Code, subcode and data of the NOTIFICATION that comes before the end; empty when there is none."""
        said = [heard.body for heard in self.hear_all() if heard.type == NOTIFICATION]
        return said[0] if said else b""

    def establish(self, open_body: bytes = b"") -> None:
        """Returns when the session is up, its first UPDATE or End-of-RIB still to be heard."""
        self.say(OPEN, open_body or open_message(router_id=self.local))
        for kind in (OPEN, KEEPALIVE):
            heard = self.hear()
            assert heard is not None, "the reflector has closed the connection"
            assert heard.type == kind, heard
        self.say(KEEPALIVE)

    def hear_prefix(self, nlri: bytes, within: float = PATIENCE) -> None:
        """Returns when an UPDATE that ends in this prefix has come."""
        deadline = time.monotonic() + within
        while True:
            heard = self.hear()
            assert heard is not None, "the reflector has closed the connection"
            if heard.type == UPDATE and heard.body.endswith(nlri):
                return
            assert time.monotonic() < deadline


def message(kind: int, body: bytes = b"") -> bytes:
    return MARKER + struct.pack("!HB", 19 + len(body), kind) + body


def capability(code: int, value: bytes) -> bytes:
    return bytes((code, len(value))) + value


def open_message(
    *,
    asn: int = AS,
    version: int = 4,
    hold_time: int = 90,
    router_id: str = "10.90.0.99",
    more: bytes = b"",
) -> bytes:
    """The body of an OPEN with IPv4 unicast and four-octet AS numbers; `more` capabilities in the form of the wire."""
    said = capability(_MULTIPROTOCOL, b"\0\1\0\1") + capability(_FOUR_OCTET_AS, struct.pack("!I", asn)) + more
    head = struct.pack("!BHH", version, min(asn, 23456), hold_time) + socket.inet_aton(router_id)
    return head + bytes((len(said) + 2, 2, len(said))) + said


def update(nlri: bytes, next_hop: str, more: bytes = b"") -> bytes:
    """The body of an UPDATE of iBGP with these prefixes; `more` attributes in the form of the wire."""
    hop = b"\x40\x03\x04" + socket.inet_aton(next_hop)
    block = b"\x40\x01\x01\x00" + b"\x40\x02\x00" + hop + b"\x40\x05\x04\x00\x00\x00\x64" + more
    return struct.pack("!HH", 0, len(block)) + block + nlri
