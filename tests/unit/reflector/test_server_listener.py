"""The listening socket, over the loopback interface of the machine: what comes in, with which keys, and how many."""

from __future__ import annotations

import errno
import os
import resource
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from peering.prefixes import Address, Prefix, pack_address, pack_prefix
from reflector.configuration import Transport
from reflector.server import tcp_options
from reflector.server.dialer import Dialing, dial
from reflector.server.drop_counters import read_drop_counters
from reflector.server.listener import Incoming, Listener, prepare_accepted
from reflector.server.syn import Syn, objection
from reflector.server.tcp_options import TcpError, set_md5_key

V4, V6 = pack_address("127.0.0.1"), pack_address("::1")
#: How long to wait for what does not come: long for loopback, short for who waits.
MOMENT = 0.3


@pytest.fixture(params=[V4, V6], ids=["ipv4", "ipv6"])
def listener(request: pytest.FixtureRequest) -> Iterator[Listener]:
    made = Listener(request.param, 0)
    yield made
    made.close()


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def host(address: Address) -> Prefix:
    return bytes((8 * len(address),)) + address


def around(address: Address) -> Prefix:
    """A range that the address is in."""
    return pack_prefix("127.0.0.0/8" if len(address) == 4 else "::/64")


def dialed(
    listener: Listener,
    opened: ExitStack,
    password: bytes | None = None,
    *,
    ttl_security: int | None = None,
    multihop: int | None = None,
) -> Dialing:
    transport = Transport(peer_port=listener.port, ttl_security=ttl_security, multihop=multihop)
    dialing = dial(listener.address, transport, password)
    opened.callback(dialing.close)
    return dialing


def comes_in(listener: Listener, opened: ExitStack) -> Incoming:
    readable, _, _ = select.select([listener], [], [], 5)
    assert readable
    (incoming,) = listener.accept_all().connections
    opened.callback(incoming.socket.close)
    return incoming


def is_answered(dialing: Dialing, within: float = 5.0) -> bool:
    _, writable, _ = select.select([], [dialing], [], within)
    return bool(writable) and dialing.finish() is None


def is_silent(dialing: Dialing) -> bool:
    return not is_answered(dialing, MOMENT)


def says(sender: socket.socket, receiver: socket.socket, within: float = 5.0) -> bool:
    """Whether what one says is heard by the other."""
    sender.send(b"hello")
    readable, _, _ = select.select([receiver], [], [], within)
    return bool(readable) and receiver.recv(100) == b"hello"


def is_lost(sender: socket.socket, receiver: socket.socket) -> bool:
    return not says(sender, receiver, MOMENT)


def test_a_connection_comes_in(listener: Listener, opened: ExitStack) -> None:
    dialing = dialed(listener, opened, ttl_security=1)
    incoming = comes_in(listener, opened)
    port = dialing.socket.getsockname()[1]
    assert incoming[1:] == (listener.address, port, None, Syn(255, False))
    assert not incoming.socket.getblocking()
    assert listener.accept_all() == ([], False)


def test_what_it_inherits(listener: Listener, opened: ExitStack) -> None:
    dialing = dialed(listener, opened)
    sock = comes_in(listener, opened).socket
    ip = listener.address == V4
    level = socket.IPPROTO_IP if ip else socket.IPPROTO_IPV6
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    assert sock.getsockopt(level, socket.IP_TOS if ip else socket.IPV6_TCLASS) == 0xC0
    assert sock.getsockopt(level, socket.IP_TTL if ip else socket.IPV6_UNICAST_HOPS) == 255
    with socket.socket() as fresh:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) > fresh.getsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF
        )
    assert says(dialing.socket, sock)


def test_the_backlog_is_taken_in_portions(listener: Listener, opened: ExitStack) -> None:
    for _ in range(5):
        assert is_answered(dialed(listener, opened))
    sizes = []
    for _ in range(3):
        accepted = listener.accept_all(at_most=2)
        assert not accepted.exhausted
        sizes.append(len(accepted.connections))
        for incoming in accepted.connections:
            opened.callback(incoming.socket.close)
    assert sizes == [2, 2, 1]


def test_without_file_descriptors_the_caller_is_told_to_wait(listener: Listener, opened: ExitStack) -> None:
    for _ in range(3):
        assert is_answered(dialed(listener, opened))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    next_free = os.dup(0)
    os.close(next_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_free + 1, limits[1]))
    try:
        first = listener.accept_all()
        second = listener.accept_all()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    for incoming in first.connections:
        opened.callback(incoming.socket.close)
    assert (len(first.connections), first.exhausted) == (1, True)
    assert second == ([], True)
    rest = listener.accept_all()
    assert (len(rest.connections), rest.exhausted) == (2, False)
    for incoming in rest.connections:
        opened.callback(incoming.socket.close)


def test_who_has_hung_up_before_is_no_trouble(listener: Listener, opened: ExitStack) -> None:
    gone = dialed(listener, opened)
    assert is_answered(gone)
    gone.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone.close()
    assert is_answered(dialed(listener, opened))
    accepted = listener.accept_all()
    assert not accepted.exhausted
    assert 1 <= len(accepted.connections) <= 2
    for incoming in accepted.connections:
        opened.callback(incoming.socket.close)
        prepare_accepted(incoming.socket, Transport(ttl_security=1))


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN])
def test_what_befell_one_connection_does_not_stop_the_others(
    listener: Listener, opened: ExitStack, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    assert is_answered(dialed(listener, opened))
    real = socket.socket.accept
    errors = [number, number]

    def accept(self: socket.socket) -> tuple[socket.socket, object]:
        if errors:
            raise OSError(errors.pop(), "of one connection")
        return real(self)

    monkeypatch.setattr(socket.socket, "accept", accept)
    comes_in(listener, opened)


def test_a_fault_of_our_own_is_raised(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    def accept(self: socket.socket) -> None:
        raise OSError(errno.EBADF, "closed")

    monkeypatch.setattr(socket.socket, "accept", accept)
    with pytest.raises(OSError, match="closed"):
        listener.accept_all()


def test_a_place_that_cannot_be_listened_on(listener: Listener) -> None:
    with pytest.raises(TcpError, match=rf"port {listener.port}: the address and port are in use"):
        Listener(listener.address, listener.port)
    foreign = pack_address("192.0.2.1" if listener.address == V4 else "2001:db8::1")
    with pytest.raises(TcpError, match="the address is on no interface of this machine"):
        Listener(foreign, 0)


def test_both_families_have_sockets_of_their_own(opened: ExitStack) -> None:
    six = Listener(bytes(16), 0)
    opened.callback(six.close)
    four = Listener(bytes(4), six.port)
    opened.callback(four.close)
    dialing = dial(V4, Transport(peer_port=six.port))
    opened.callback(dialing.close)
    assert is_answered(dialing)
    assert comes_in(four, opened).address == V4


def test_it_may_listen_again_at_once(listener: Listener, opened: ExitStack) -> None:
    """With the connections of the one before still there."""
    dialing = dialed(listener, opened)
    incoming = comes_in(listener, opened)
    incoming.socket.close()
    listener.close()
    again = Listener(listener.address, listener.port)
    opened.callback(again.close)
    assert dialing.socket.recv(1) == b""


# Signatures.


def test_only_who_signs_with_the_password_gets_an_answer(listener: Listener, opened: ExitStack) -> None:
    listener.set_keys({host(listener.address): b"secret"})
    before = read_drop_counters()
    assert is_silent(dialed(listener, opened, b"wrong"))
    assert is_silent(dialed(listener, opened))
    after = read_drop_counters()
    assert after["TCPMD5Failure"] > before["TCPMD5Failure"]
    assert after["TCPMD5NotFound"] > before["TCPMD5NotFound"]
    assert listener.accept_all().connections == []
    dialing = dialed(listener, opened, b"secret")
    assert is_answered(dialing)
    incoming = comes_in(listener, opened)
    assert incoming.syn is not None
    assert incoming.syn.signed
    assert says(incoming.socket, dialing.socket)


def test_who_signs_without_need_gets_no_answer(listener: Listener, opened: ExitStack) -> None:
    listener.set_keys({host(listener.address): None})
    before = read_drop_counters()["TCPMD5Unexpected"]
    assert is_silent(dialed(listener, opened, b"secret"))
    assert read_drop_counters()["TCPMD5Unexpected"] > before


def test_a_key_for_a_range(listener: Listener, opened: ExitStack) -> None:
    listener.set_keys({around(listener.address): b"secret"})
    assert is_silent(dialed(listener, opened))
    assert is_answered(dialed(listener, opened, b"secret"))


def test_an_address_has_another_key_than_its_range(listener: Listener, opened: ExitStack) -> None:
    listener.set_keys({around(listener.address): b"of all", host(listener.address): b"its own"})
    assert is_silent(dialed(listener, opened, b"of all"))
    assert is_answered(dialed(listener, opened, b"its own"))


def test_an_address_without_a_password_in_a_range_with_one(listener: Listener, opened: ExitStack) -> None:
    listener.set_keys({around(listener.address): b"of all", host(listener.address): None})
    assert is_silent(dialed(listener, opened, b"of all"))
    assert is_answered(dialed(listener, opened))


def test_another_key_leaves_connections_alone(listener: Listener, opened: ExitStack) -> None:
    address = host(listener.address)
    listener.set_keys({address: b"old"})
    dialing = dialed(listener, opened, b"old")
    incoming = comes_in(listener, opened)
    for password, prefix in ((b"new", address), (b"newer", around(listener.address)), (None, address)):
        listener.set_keys({prefix: password})
        assert says(dialing.socket, incoming.socket)
        assert says(incoming.socket, dialing.socket)
        assert is_answered(dialed(listener, opened, password))
        comes_in(listener, opened)


def test_the_key_of_a_connection_is_changed_at_both_ends(listener: Listener, opened: ExitStack) -> None:
    address = host(listener.address)
    listener.set_keys({address: b"old"})
    dialing = dialed(listener, opened, b"old")
    incoming = comes_in(listener, opened)
    set_md5_key(incoming.socket, address, b"new")
    assert is_lost(incoming.socket, dialing.socket)
    set_md5_key(dialing.socket, address, b"new")
    readable, _, _ = select.select([dialing], [], [], 5)
    assert readable
    assert dialing.socket.recv(100) == b"hello"


def test_keys_of_the_other_family_are_no_matter_of_this_socket(listener: Listener, opened: ExitStack) -> None:
    listener.set_keys({around(V4): b"secret", around(V6): b"secret"})
    assert is_answered(dialed(listener, opened, b"secret"))


def test_a_key_that_is_not_there_is_gone(listener: Listener) -> None:
    with socket.socket(tcp_options.family_of(listener.address)) as fresh:
        for _ in range(2):
            set_md5_key(fresh, host(listener.address), b"")
            set_md5_key(fresh, host(listener.address), b"secret")
            set_md5_key(fresh, host(listener.address), b"")


def test_only_what_differs_is_told_to_the_kernel(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[Prefix, bytes]] = []
    monkeypatch.setattr(tcp_options, "set_md5_key", lambda _, prefix, password: told.append((prefix, password)))
    size = 8 * len(listener.address)
    one, two, three = (bytes((size,)) + listener.address[:-1] + bytes((n,)) for n in (1, 2, 3))
    listener.set_keys({one: b"a", two: b"b"})
    assert set(told) == {(one, b"a"), (two, b"b")}
    told.clear()
    listener.set_keys({one: b"a", two: b"c", three: b"d"})
    assert set(told) == {(two, b"c"), (three, b"d")}
    told.clear()
    listener.set_keys({one: b"a"})
    assert set(told) == {(two, b""), (three, b"")}
    told.clear()
    listener.set_keys({one: b"a"})
    assert told == []


def test_a_key_that_the_kernel_refuses_is_tried_again(listener: Listener, opened: ExitStack) -> None:
    address = host(listener.address)
    with pytest.raises(TcpError, match="longer than 80 bytes"):
        listener.set_keys({address: b"x" * 81})
    listener.set_keys({address: b"x" * 80})
    assert is_silent(dialed(listener, opened))
    assert is_answered(dialed(listener, opened, b"x" * 80))


def test_as_many_keys_as_there_is_said_to_be_room_for(listener: Listener) -> None:
    room, size = tcp_options.room_for_keys(), len(listener.address)

    def keys(first: int) -> dict[Prefix, bytes | None]:
        return {bytes((8 * size,)) + (first + n).to_bytes(size): str(n).encode() for n in range(room)}

    listener.set_keys(keys(1 << 24))
    listener.set_keys(keys(1 << 25))
    with pytest.raises(TcpError, match=r"raise sysctl net\.core\.optmem_max"):
        listener.set_keys(keys(1 << 26) | keys(1 << 27))


# TTL security.


def test_the_ttl_is_known_before_a_byte_is_read(listener: Listener, opened: ExitStack) -> None:
    far = dialed(listener, opened, multihop=64)
    assert is_answered(far)
    far.socket.send(b"an OPEN")
    incoming = comes_in(listener, opened)
    assert incoming.syn == Syn(64, False)
    assert objection(incoming.syn, Transport(ttl_security=1)) is not None


def test_what_comes_later_with_a_low_ttl_is_dropped(listener: Listener, opened: ExitStack) -> None:
    near = dialed(listener, opened, ttl_security=1)
    incoming = comes_in(listener, opened)
    prepare_accepted(incoming.socket, Transport(ttl_security=1))
    assert says(near.socket, incoming.socket)
    assert says(incoming.socket, near.socket)
    before = read_drop_counters()["TCPMinTTLDrop"]
    tcp_options.set_ttl(near.socket, 254)
    assert is_lost(near.socket, incoming.socket)
    assert read_drop_counters()["TCPMinTTLDrop"] > before


def test_a_peer_within_more_hops(listener: Listener, opened: ExitStack) -> None:
    near = dialed(listener, opened, multihop=253)
    incoming = comes_in(listener, opened)
    transport = Transport(ttl_security=3)
    assert objection(incoming.syn, transport) is None
    prepare_accepted(incoming.socket, transport)
    assert says(near.socket, incoming.socket)
    tcp_options.set_ttl(near.socket, 252)
    assert is_lost(near.socket, incoming.socket)


def test_our_answer_has_a_ttl_that_the_peer_accepts(listener: Listener, opened: ExitStack) -> None:
    """The peer has TTL security from its SYN on, and gets what is sent by us whether or not we have it as well."""
    near = dialed(listener, opened, ttl_security=1)
    assert is_answered(near)


@pytest.mark.parametrize(("multihop", "heard"), [(255, True), (8, False), (None, False)])
def test_without_it_we_send_with_the_ttl_of_the_transport(
    listener: Listener, opened: ExitStack, multihop: int | None, heard: bool
) -> None:
    near = dialed(listener, opened, ttl_security=1)
    incoming = comes_in(listener, opened)
    prepare_accepted(incoming.socket, Transport(multihop=multihop))
    assert (says if heard else is_lost)(incoming.socket, near.socket)


def test_where_all_have_it_the_kernel_drops_the_syn(listener: Listener, opened: ExitStack) -> None:
    listener.set_minimum_ttl(255)
    assert is_silent(dialed(listener, opened))
    assert is_answered(dialed(listener, opened, ttl_security=1))
    listener.set_minimum_ttl(0)
    assert is_answered(dialed(listener, opened))
