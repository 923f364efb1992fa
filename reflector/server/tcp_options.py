"""What BGP asks of a TCP socket beyond connecting it: thin, explicit calls, one noun each. Linux only.

*Signed segments* (RFC 2385). A key belongs to a socket and to the addresses it is for. On a listening socket there are
many, by prefix; the kernel takes the longest that fits, and the connection that comes in gets a copy for its one
address. So keys of a listening socket change at any time, and what is connected goes on with what it had. Where there
is a key, the kernel drops unsigned segments and those signed with another; where there is none, it drops signed ones.

*TTL security* (RFC 5082). We send with TTL 255, and the kernel drops what comes with less than a peer at most so many
hops away would have.

The numbers are those of linux/tcp.h, linux/in.h and linux/in6.h; Python's socket module has not got them.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path

from peering.prefixes import Address, Prefix, format_prefix, is_ipv6

_TCP_SAVE_SYN, _TCP_SAVED_SYN = 27, 28
_TCP_MD5SIG_EXT = 32
_IP_MINTTL = 21
_IP_BIND_ADDRESS_NO_PORT = 24
_IPV6_MINHOPCOUNT = 73

#: struct tcp_md5sig behind its address: flags, prefix length, length of the key, interface, key.
_MD5SIG = struct.Struct("=128sBBHi80s")
_MD5SIG_FLAG_PREFIX = 1
LONGEST_PASSWORD = 80

#: No IP header with a TCP header is longer, unless IPv6 has extension headers.
_LONGEST_SYN = 512

MAX_TTL = 255
#: -1 is the kernel's own default again, for IP_TTL and IPV6_UNICAST_HOPS alike.
_DEFAULT_TTL = -1
#: Class selector 6, internetwork control (RFC 4594, 3.1): what routers mark BGP with.
_NETWORK_CONTROL = 0xC0
#: Asked for; the kernel gives what net.core.wmem_max allows. A burst for one peer should fit into it whole.
_SEND_BUFFER = 1 << 20

_OPTMEM_MAX = Path("/proc/sys/net/core/optmem_max")
#: What a key costs of net.core.optmem_max: 136 bytes on Linux 6, with some room for other kernels.
_KEY_SIZE = 160

_EXPLANATIONS: Mapping[int, str] = {
    errno.EACCES: "not permitted: a port below 1024 needs CAP_NET_BIND_SERVICE",
    errno.EADDRINUSE: "the address and port are in use: is there another BGP daemon?",
    errno.EADDRNOTAVAIL: "the address is on no interface of this machine",
    errno.EAFNOSUPPORT: "the kernel does not do this address family",
    errno.EMFILE: "no file descriptor is left: raise the limit of open files",
    errno.ENFILE: "no file descriptor is left on the machine: raise sysctl fs.file-max",
    errno.ENODEV: "there is no interface of this name",
    errno.ENOMEM: "the kernel has no room for more keys on one socket: raise sysctl net.core.optmem_max",
    errno.ENOPROTOOPT: "the kernel does not know this option (TCP MD5 needs CONFIG_TCP_MD5SIG)",
    errno.EPERM: "not permitted: this needs CAP_NET_RAW",
}


class TcpError(Exception):
    """What the kernel refused, in words."""


def explain(error: OSError | int) -> str:
    """What an error of a socket means for somebody who runs a network."""
    number = error if isinstance(error, int) else error.errno or 0
    return _EXPLANATIONS.get(number) or (os.strerror(number).lower() if number else str(error))


def family_of(address: Address) -> socket.AddressFamily:
    return socket.AF_INET6 if is_ipv6(address) else socket.AF_INET


def open_tcp(address: Address) -> socket.socket:
    """A socket of the address's family. Raises TcpError."""
    try:
        return socket.socket(family_of(address), socket.SOCK_STREAM)
    except OSError as error:
        raise TcpError(explain(error)) from None


def set_md5_key(sock: socket.socket, prefix: Prefix, password: bytes) -> None:
    """Segments from and to these addresses are signed with `password` from now on; empty: no longer.

    On a connected socket it changes the key of a running session. Raises TcpError.
    """
    if len(password) > LONGEST_PASSWORD:
        raise TcpError(f"TCP MD5 key for {format_prefix(prefix)}: longer than {LONGEST_PASSWORD} bytes")
    value = _MD5SIG.pack(_sockaddr(prefix[1:]), _MD5SIG_FLAG_PREFIX, prefix[0], len(password), 0, password)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_MD5SIG_EXT, value)
    except OSError as error:
        if password or error.errno != errno.ENOENT:
            raise TcpError(f"TCP MD5 key for {format_prefix(prefix)}: {explain(error)}") from None


def _sockaddr(address: Address) -> bytes:
    """struct sockaddr_in or sockaddr_in6, without a port."""
    if is_ipv6(address):
        return struct.pack("=HHI16s", socket.AF_INET6, 0, 0, address)
    return struct.pack("=HH4s", socket.AF_INET, 0, address)


def room_for_keys() -> int:
    """How many keys one socket takes, a little less rather than more."""
    try:
        return int(_OPTMEM_MAX.read_text()) // _KEY_SIZE
    except OSError:  # a kernel that shows it to the first network namespace only; this was its default
        return 20480 // _KEY_SIZE


def set_ttl(sock: socket.socket, ttl: int | None) -> None:
    """What is sent has this TTL or hop limit; None for the kernel's default."""
    level, option = _by_family(sock, socket.IP_TTL, socket.IPV6_UNICAST_HOPS)
    sock.setsockopt(level, option, _DEFAULT_TTL if ttl is None else ttl)


def set_minimum_ttl(sock: socket.socket, ttl: int) -> None:
    """What comes with less is dropped, unread and unanswered; 0 takes everything."""
    level, option = _by_family(sock, _IP_MINTTL, _IPV6_MINHOPCOUNT)
    sock.setsockopt(level, option, ttl)


def set_common(sock: socket.socket) -> None:
    """What every BGP socket has; connections that come in inherit it from the listening socket."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    level, option = _by_family(sock, socket.IP_TOS, socket.IPV6_TCLASS)
    sock.setsockopt(level, option, _NETWORK_CONTROL)


def keep_syns(sock: socket.socket) -> None:
    """The listening socket keeps the SYN of each connection for `saved_syn`."""
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_SAVE_SYN, 1)


def saved_syn(sock: socket.socket) -> bytes:
    """IP and TCP header of the SYN that began the connection, once; empty if there is none, as with SYN cookies."""
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, _TCP_SAVED_SYN, _LONGEST_SYN)
    except OSError:
        return b""


def choose_port_late(sock: socket.socket) -> None:
    """Binding to an address takes no port: the one that `connect` chooses may serve other destinations too."""
    sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)


def bind_to_interface(sock: socket.socket, interface: str) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())


def _by_family(sock: socket.socket, ipv4: int, ipv6: int) -> tuple[int, int]:
    if sock.family == socket.AF_INET6:
        return socket.IPPROTO_IPV6, ipv6
    return socket.IPPROTO_IP, ipv4
