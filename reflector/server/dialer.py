"""A connection that we open, from the address, interface and TTL that the peer's transport says.

All is set before `connect`: the SYN is signed already, and has the TTL that the peer looks for. Nothing waits here: the
caller's loop says when the socket is writable, and `finish` says what came of it.
"""

from __future__ import annotations

import errno
import socket

from peering.prefixes import Address, format_address
from reflector.configuration import Transport
from reflector.server import tcp_options
from reflector.server.syn import minimum_ttl
from reflector.server.tcp_options import MAX_TTL, TcpError, explain


class Dialing:
    """A connection in progress: wait until it is writable, then ask `finish`."""

    __slots__ = ("socket",)

    def __init__(self, opened: socket.socket) -> None:
        self.socket = opened

    def fileno(self) -> int:
        return self.socket.fileno()

    def finish(self) -> str | None:
        """None when the connection is there, else why not."""
        number = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return explain(number) if number else None

    def close(self) -> None:
        """Gives up, or hangs up."""
        self.socket.close()


def dial(address: Address, transport: Transport, password: bytes | None = None) -> Dialing:
    """Begins to connect. Raises TcpError when it is over before it has begun, as without a route or the password."""
    if transport.password is not None and not password:
        raise TcpError("its password is not known, and unsigned it is not dialed")
    opened = tcp_options.open_tcp(address)
    try:
        _prepare(opened, address, transport, password)
        number = opened.connect_ex((format_address(address), transport.peer_port))
    except (OSError, TcpError) as error:
        opened.close()
        raise TcpError(explain(error) if isinstance(error, OSError) else str(error)) from None
    if number not in (0, errno.EINPROGRESS):
        opened.close()
        raise TcpError(explain(number))
    return Dialing(opened)


def _prepare(opened: socket.socket, address: Address, transport: Transport, password: bytes | None) -> None:
    tcp_options.set_common(opened)
    if transport.interface is not None:  # which is also what makes a link-local address whole
        tcp_options.bind_to_interface(opened, transport.interface)
    if transport.ttl_security is not None:
        tcp_options.set_ttl(opened, MAX_TTL)
        tcp_options.set_minimum_ttl(opened, minimum_ttl(transport))
    elif transport.multihop is not None:
        tcp_options.set_ttl(opened, transport.multihop)
    if password:
        tcp_options.set_md5_key(opened, bytes((8 * len(address),)) + address, password)
    if transport.local_address is not None:
        tcp_options.choose_port_late(opened)
        opened.bind((format_address(transport.local_address), 0))
