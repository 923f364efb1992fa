"""One listening socket: address, port, the keys of all who may come in by it.

What a connection that came in has from the start is what the listening socket had, so that is set here: TTL 255 (a peer
with TTL security looks at our SYN-ACK already, and that is sent before anybody knows who the peer is; to a peer without
it does no harm), the signatures, the traffic class, the send buffer. What depends on the peer is set by
`prepare_accepted`, and the SYN is looked at first (syn.py).
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from typing import NamedTuple

from peering.prefixes import Address, Prefix, format_address, is_ipv6
from reflector.configuration import Transport
from reflector.server import tcp_options
from reflector.server.md5_keys import Keys, listening_keys
from reflector.server.syn import Syn, minimum_ttl, parse_syn
from reflector.server.tcp_options import MAX_TTL, TcpError, explain

#: How many connections may wait for us; the kernel takes the smaller of this and net.core.somaxconn.
BACKLOG = 4096
#: How many are taken at a time: some milliseconds, after which others have their turn.
AT_A_TIME = 128
#: How long to leave the listening socket alone, in seconds, when there is no file descriptor for another connection.
PAUSE = 1.0

#: Errors that say something about one connection that was about to come in, or about the network, not about us
#: (accept(2) lists them: Linux hands on what is pending on the new socket).
_PASSING = frozenset(
    (
        errno.ECONNABORTED,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EINTR,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENONET,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.EPROTO,
    )
)
_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Incoming(NamedTuple):
    """A connection that came in. `interface` is its name when the address is link-local."""

    socket: socket.socket
    address: Address
    port: int
    interface: str | None
    syn: Syn | None


class Accepted(NamedTuple):
    """`exhausted`: for want of file descriptors or memory; ask again after `PAUSE`, not before."""

    connections: list[Incoming]
    exhausted: bool


class Listener:
    """Listens from the start. Raises TcpError when it cannot."""

    def __init__(self, address: Address, port: int) -> None:
        self.address = address
        self.minimum_ttl = 0
        self._keys: dict[Prefix, bytes] = {}
        self._socket = tcp_options.open_tcp(address)
        try:
            self._open(address, port)
        except OSError as error:
            self._socket.close()
            raise TcpError(f"listening on {format_address(address)} port {port}: {explain(error)}") from None
        self.port: int = self._socket.getsockname()[1]

    def _open(self, address: Address, port: int) -> None:
        sock = self._socket
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_ipv6(address):
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        tcp_options.set_common(sock)
        tcp_options.set_ttl(sock, MAX_TTL)
        tcp_options.keep_syns(sock)
        sock.bind((format_address(address), port))
        sock.listen(BACKLOG)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def set_keys(self, wanted: Mapping[Prefix, bytes | None]) -> None:
        """Takes the whole desired set: every prefix that somebody is admitted from, with its password or None.

        Prefixes of the other family are not looked at. Connections that are there keep the key they came with. Raises
        TcpError when the kernel refuses a key; then some may be missing, and whoever needs them is not let in.
        """
        size = len(self.address) + 1
        keys = listening_keys({p: key for p, key in wanted.items() if len(p) == size}, tcp_options.room_for_keys())
        gone = self._keys.keys() - keys.keys()
        if len(keys) + len(gone) > tcp_options.room_for_keys():
            self._remove(gone)
            gone = set()
        self._add(keys)
        self._remove(gone)

    def _add(self, keys: Keys) -> None:
        for prefix, password in keys.items():
            if self._keys.get(prefix) != password:
                tcp_options.set_md5_key(self._socket, prefix, password)
                self._keys[prefix] = password

    def _remove(self, prefixes: set[Prefix]) -> None:
        for prefix in prefixes:
            tcp_options.set_md5_key(self._socket, prefix, b"")
            del self._keys[prefix]

    def set_minimum_ttl(self, ttl: int) -> None:
        """The least that all ask for (`syn.shared_minimum_ttl`): less is dropped by the kernel, SYNs too.

        Above 0 only where all want TTL security. It keeps floods of SYNs from afar away from the queue, and takes from
        us the sight of whom we refuse: the kernel counts them (TCPMinTTLDrop).
        """
        tcp_options.set_minimum_ttl(self._socket, ttl)
        self.minimum_ttl = ttl

    def accept_all(self, at_most: int = AT_A_TIME) -> Accepted:
        """The connections that wait, so many at most. Raises OSError only for what is a fault of ours."""
        connections: list[Incoming] = []
        for _ in range(at_most):
            try:
                accepted, peer = self._socket.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    return Accepted(connections, exhausted=True)
                if error.errno not in _PASSING:
                    raise
                continue
            connections.append(_incoming(accepted, peer))
        return Accepted(connections, exhausted=False)


def _incoming(accepted: socket.socket, peer: tuple[str, int] | tuple[str, int, int, int]) -> Incoming:
    accepted.setblocking(False)
    address = socket.inet_pton(accepted.family, peer[0])
    interface = _interface(peer[3]) if len(peer) == 4 and peer[3] else None
    return Incoming(accepted, address, peer[1], interface, parse_syn(tcp_options.saved_syn(accepted)))


def _interface(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:  # removed meanwhile, so that no peer can be on it
        return f"interface {index}"


def prepare_accepted(accepted: socket.socket, transport: Transport) -> None:
    """Sets what depends on the peer: the TTL we send with, and the least that we take. Raises TcpError.

    Also on a connection that is there already, when that changes.
    """
    try:
        tcp_options.set_ttl(accepted, transport.multihop if transport.ttl_security is None else MAX_TTL)
        tcp_options.set_minimum_ttl(accepted, minimum_ttl(transport))
    except OSError as error:
        raise TcpError(f"setting the TTL: {explain(error)}") from None
