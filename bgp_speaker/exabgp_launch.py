"""Starts ExaBGP as a node needs it. Run by path: exabgp_launch.py server FILE.

Some of what ExaBGP does is right for a tool and wrong for a node, and no setting changes it. So it is changed in
memory, before ExaBGP's own `main` runs. All of this touches names that ExaBGP does not promise to keep; where one is
missing, ExaBGP runs as it is.

Reaching a peer. ExaBGP waits 0, 1, 2, 3, 4, 5, 7, 9 ... 60 s between attempts to reach a peer that refuses, and leaves
an attempt that nobody answers to the kernel, which repeats its SYN for two minutes: after a switch has been away for
some minutes a node would come back up to a minute after it. The delay stops growing at MAX_DELAY seconds, and an
attempt is given up after SYN_RETRIES repetitions of the SYN (Linux TCP_SYNCNT; 2 is 7 s).

Listening. ExaBGP does not start when it cannot listen, and after it gave up root it cannot listen on port 179 for a
neighbour that a reload brings. Here it gives up root at once and keeps the right to bind (CAP_NET_BIND_SERVICE), its
helper keeps nothing; it listens on addresses that the machine does not have yet (IP_FREEBIND); an address that it
cannot listen on costs only the sessions that need it, and is tried again every LISTEN_AGAIN seconds.

Two connections. ExaBGP has room for one connection to a peer. When both ends dial at once, each would drop its own for
the other's, and so lose both. Here the connection that the higher address opened stays (RFC 4271, 6.8 compares router
IDs, which are not known before the OPEN). A peer that only ever dials, and dials anew while its session is up, has
lost the session: with graceful restart the new connection replaces the old one (RFC 4724, 4.2) at once and not when
the hold timer runs out.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import os
import pwd
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from exabgp.application.main import main
from exabgp.bgp.fsm import FSM
from exabgp.bgp.message.open.capability import Capability
from exabgp.environment import getenv
from exabgp.logger import log
from exabgp.reactor import delay, listener, loop, peer
from exabgp.reactor.network import outgoing

MAX_DELAY = 2
SYN_RETRIES = 2
LISTEN_AGAIN = 10.0

_IP_FREEBIND = 15  # linux/in.h; it serves IPv6 sockets too
_PR_SET_KEEPCAPS = 8
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_NET_BIND_SERVICE = 10


def limit_delay() -> None:
    """Caps the seconds that Delay.increase adds."""
    kind = getattr(delay, "Delay", None)
    grow = getattr(kind, "increase", None)
    if kind is None or grow is None:
        return

    def increase(self: Any) -> None:
        grow(self)
        self._next = min(getattr(self, "_next", 0), MAX_DELAY)

    kind.increase = increase


def limit_connection_attempts() -> None:
    """Sets TCP_SYNCNT on every socket that ExaBGP opens towards a peer."""
    create = getattr(outgoing, "create", None)
    if create is None:
        return

    def create_impatient(*arguments: Any, **options: Any) -> Any:
        connection = create(*arguments, **options)
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, SYN_RETRIES)
        return connection

    outgoing.create = create_impatient


def listen_before_the_address_is_there() -> None:
    """Sets IP_FREEBIND on every listening socket."""
    kind = getattr(listener, "Listener", None)
    create = getattr(kind, "_new_socket", None)
    if kind is None or create is None:
        return

    def create_free(self: Any, address: Any) -> Any:
        made = create(self, address)
        with contextlib.suppress(OSError):
            made.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        return made

    kind._new_socket = create_free


def listen_again() -> None:
    """An address that cannot be listened on is no reason not to start, and is tried again."""
    listen = getattr(getattr(loop, "Reactor", None), "_listen_for_neighbors", None)
    accept = getattr(getattr(listener, "Listener", None), "incoming", None)
    if listen is None or accept is None:
        return
    due: dict[str, float] = {}

    def listen_where_possible(self: Any) -> bool:
        if listen(self):
            if due.pop("at", None) is not None:
                log.info(lambda: "listening on every address now", "network")
        else:
            due["at"] = time.monotonic() + LISTEN_AGAIN
        return True

    def accept_and_listen_again(self: Any) -> Any:
        if time.monotonic() >= due.get("at", float("inf")):
            self._reactor._listen_for_neighbors()
        return accept(self)

    loop.Reactor._listen_for_neighbors = listen_where_possible
    listener.Listener.incoming = accept_and_listen_again


def settle_collisions() -> None:
    """Decides which of two connections to one peer stays; see above."""
    kind = getattr(peer, "Peer", None)
    take = getattr(kind, "handle_connection", None)
    if kind is None or take is None:
        return

    def handle_connection(self: Any, connection: Any) -> Any:
        if self.fsm == FSM.ESTABLISHED and _dials_anew(self):
            self._reset("the peer connected anew")
        elif self.fsm in (FSM.CONNECT, FSM.OPENSENT) and _ours_prevails(self):
            return True  # anything true: the new connection is not taken, and closed
        return take(self, connection)

    kind.handle_connection = handle_connection


def _dials_anew(of: Any) -> bool:
    """Only the peer dials, and both ends restart gracefully."""
    received = of.proto.negotiated.received_open if of.proto else None
    return bool(
        of.neighbor["passive"]
        and of.neighbor["capability"]["graceful-restart"]
        and received
        and received.capabilities.announced(Capability.CODE.GRACEFUL_RESTART)
    )


def _ours_prevails(of: Any) -> bool:
    """There is a connection that we opened, and our address is the higher one."""
    if getattr(getattr(of.proto, "connection", None), "direction", "") != "outgoing":
        return False
    local, remote = of.proto.connection.local, of.proto.connection.peer
    return int(ipaddress.ip_address(local)) > int(ipaddress.ip_address(remote))


class _Header(ctypes.Structure):
    """struct __user_cap_header_struct of linux/capability.h."""

    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


def become(user: str) -> None:
    """This process, root until now, is `user` from now on, with CAP_NET_BIND_SERVICE if it had that, and no other."""
    account = pwd.getpwnam(user)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    # Effective, permitted, inheritable of the capabilities 0 to 31, then of 32 to 63.
    sets = (ctypes.c_uint32 * 6)()
    _call(libc.capget, sets)
    kept = sets[1] & 1 << _CAP_NET_BIND_SERVICE
    _call(libc.capset, (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0))


def _call(function: Callable[..., int], sets: Any) -> None:
    if function(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), sets):
        raise OSError(ctypes.get_errno(), "the capabilities of this process cannot be set")


def _other_user() -> str:
    """Who ExaBGP is to become; empty when it stays who it is."""
    user = str(getenv().daemon.user)
    return user if os.geteuid() == 0 and pwd.getpwnam(user).pw_uid != 0 else ""


if __name__ == "__main__":
    limit_delay()
    limit_connection_attempts()
    listen_before_the_address_is_there()
    listen_again()
    settle_collisions()
    if sys.argv[1:2] == ["server"] and _other_user():
        become(_other_user())
    sys.argv[0] = "exabgp"
    sys.exit(main())
