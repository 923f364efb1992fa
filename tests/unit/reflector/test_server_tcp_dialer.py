"""Connections that we open, over the loopback interface of the machine."""

from __future__ import annotations

import os
import resource
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from peering.prefixes import Address, pack_address
from peering.session import SecretKeyRef
from reflector.configuration import Transport
from reflector.server.dialer import Dialing, dial
from reflector.server.file_limit import RESERVED, connections_that_fit
from reflector.server.listener import Listener
from reflector.server.tcp_options import LONGEST_PASSWORD, TcpError, explain

LOOPBACKS = [pack_address("127.0.0.1"), pack_address("::1")]


@pytest.fixture(params=LOOPBACKS, ids=["ipv4", "ipv6"])
def address(request: pytest.FixtureRequest) -> Address:
    found: Address = request.param
    return found


@pytest.fixture
def listener(address: Address) -> Iterator[Listener]:
    made = Listener(address, 0)
    yield made
    made.close()


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def closed_port(address: Address) -> int:
    """One that nobody listens on, as somebody did just now."""
    listener = Listener(address, 0)
    listener.close()
    return listener.port


def outcome(dialing: Dialing) -> str | None:
    _, writable, _ = select.select([], [dialing], [], 5)
    assert writable
    return dialing.finish()


def test_a_connection(listener: Listener, opened: ExitStack) -> None:
    dialing = dial(listener.address, Transport(peer_port=listener.port))
    opened.callback(dialing.close)
    assert outcome(dialing) is None
    assert not dialing.socket.getblocking()
    assert dialing.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_nobody_listens(address: Address, opened: ExitStack) -> None:
    dialing = dial(address, Transport(peer_port=closed_port(address)))
    opened.callback(dialing.close)
    assert outcome(dialing) == "connection refused"


def test_the_local_address(opened: ExitStack) -> None:
    listener = Listener(pack_address("127.0.0.1"), 0)
    opened.callback(listener.close)
    here = pack_address("127.0.0.77")
    dialing = dial(listener.address, Transport(peer_port=listener.port, local_address=here))
    opened.callback(dialing.close)
    assert outcome(dialing) is None
    (incoming,) = listener.accept_all().connections
    opened.callback(incoming.socket.close)
    assert incoming.address == here


def test_an_address_that_is_not_ours(address: Address) -> None:
    foreign = pack_address("192.0.2.1" if len(address) == 4 else "2001:db8::1")
    with pytest.raises(TcpError, match="on no interface of this machine"):
        dial(address, Transport(peer_port=179, local_address=foreign))


def test_an_interface_that_is_not_there(address: Address) -> None:
    with pytest.raises(TcpError, match="no interface of this name"):
        dial(address, Transport(interface="no-such-link"))


def test_a_password_that_is_not_known_is_not_left_out(address: Address) -> None:
    transport = Transport(password=SecretKeyRef(name="bgp", key="password"))
    for password in (None, b""):
        with pytest.raises(TcpError, match="password is not known"):
            dial(address, transport, password)


def test_a_password_that_is_too_long(address: Address) -> None:
    with pytest.raises(TcpError, match="longer than 80 bytes"):
        dial(address, Transport(), b"x" * (LONGEST_PASSWORD + 1))


def default_ttl(address: Address) -> int:
    if len(address) == 4:
        with socket.socket(socket.AF_INET) as fresh:
            return fresh.getsockopt(socket.IPPROTO_IP, socket.IP_TTL)
    with socket.socket(socket.AF_INET6) as fresh:
        return fresh.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)


@pytest.mark.parametrize(("security", "multihop", "ttl"), [(1, None, 255), (None, 7, 7), (None, None, None)])
def test_the_ttl_of_the_first_packet(
    listener: Listener, opened: ExitStack, security: int | None, multihop: int | None, ttl: int | None
) -> None:
    there = Transport(peer_port=listener.port, ttl_security=security, multihop=multihop)
    dialing = dial(listener.address, there)
    opened.callback(dialing.close)
    assert outcome(dialing) is None
    (incoming,) = listener.accept_all().connections
    opened.callback(incoming.socket.close)
    assert incoming.syn is not None
    assert incoming.syn.ttl == (ttl or default_ttl(listener.address))


def test_without_file_descriptors_nobody_is_dialed(address: Address) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    next_free = os.dup(0)
    os.close(next_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_free, limits[1]))
    try:
        with pytest.raises(TcpError, match="no file descriptor is left"):
            dial(address, Transport())
        with pytest.raises(TcpError, match="no file descriptor is left"):
            Listener(address, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_nothing_is_left_open_when_dialing_fails(address: Address) -> None:
    before = os.listdir("/proc/self/fd")
    for transport, password in ((Transport(interface="no-such-link"), b""), (Transport(), b"x" * 81)):
        with pytest.raises(TcpError):
            dial(address, transport, password)
    assert os.listdir("/proc/self/fd") == before


def test_errors_in_words() -> None:
    assert explain(OSError(111, "Connection refused")) == "connection refused"
    assert explain(OSError("strange")) == "strange"


def test_how_many_connections_fit() -> None:
    assert connections_that_fit(20_000) == 20_000 - RESERVED
    assert connections_that_fit(10) == 0


def test_the_file_limit_is_raised_as_far_as_it_goes() -> None:
    program = (
        "import resource; from reflector.server.file_limit import raise_file_limit\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))\n"
        "assert raise_file_limit() == hard == resource.getrlimit(resource.RLIMIT_NOFILE)[0]\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
