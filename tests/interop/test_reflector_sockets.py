"""The reflector's sockets in namespaces: real links, a real router, SYN cookies.

client ── link0 ── reflector ── link1 ── router ── link2 ── far
"""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from peering.prefixes import Address, pack_address, pack_prefix
from reflector.configuration import Transport
from reflector.server import tcp_options
from reflector.server.dialer import Dialing, dial
from reflector.server.drop_counters import read_drop_counters
from reflector.server.listener import Incoming, Listener, prepare_accepted
from reflector.server.syn import objection
from reflector.server.tcp_options import TcpError
from tests.interop.kernel_node import Node
from tests.interop.netns_daemons import Network, command

pytestmark = pytest.mark.lab

#: How long to wait for what does not come.
MOMENT = 0.3
REFLECTOR = {4: pack_address("10.60.0.1"), 6: pack_address("fd60::1")}
CLIENT = {4: "10.60.0.2", 6: "fd60::2"}
FAR = {4: "10.62.0.2", 6: "fd62::2"}


class Links:
    """The namespaces, and sockets opened in them until `close`."""

    def __init__(self, network: Network) -> None:
        names = {name: network.namespace(name) for name in ("client", "reflector", "router", "far")}
        self.nodes = {name: Node(full, {}) for name, full in names.items()}
        self._opened = ExitStack()
        pairs = (
            ("reflector", "client", "link0", {"10.60.0.1/24": "10.60.0.2/24", "fd60::1/64": "fd60::2/64"}),
            ("reflector", "router", "link1", {"10.61.0.1/24": "10.61.0.2/24", "fd61::1/64": "fd61::2/64"}),
            ("router", "far", "link2", {"10.62.0.1/24": "10.62.0.2/24", "fd62::1/64": "fd62::2/64"}),
        )
        for one, other, link, addresses in pairs:
            network.link(names[one], names[other], link, addresses)
        ways = (
            ("reflector", "10.61.0.2", "fd61::2"),
            ("router", "10.61.0.1", "fd61::1"),
            ("far", "10.62.0.1", "fd62::1"),
        )
        for node, four, six in ways:
            self.nodes[node].ip(f"route add default via {four}")
            self.nodes[node].ip(f"route add default via {six}", family="-6")
        self.set("router", "net.ipv4.ip_forward", 1)
        self.set("router", "net.ipv6.conf.all.forwarding", 1)
        for address in ("10.60.0.9", "10.60.0.200"):
            self.nodes["client"].ip(f"address add {address}/32 dev lo")
        self.nodes["reflector"].ip("route add 10.60.0.9 via 10.60.0.2")
        self.nodes["reflector"].ip("route add 10.60.0.200 via 10.60.0.2")

    def close(self) -> None:
        self._opened.close()
        self.set("reflector", "net.ipv4.tcp_syncookies", 1)

    def set(self, node: str, setting: str, value: int) -> None:
        command("ip", "netns", "exec", self.nodes[node].name, "sysctl", "-qw", f"{setting}={value}")

    def listener(self, address: Address) -> Listener:
        made = self.nodes["reflector"].open(lambda: Listener(address, 0))
        self._opened.callback(made.close)
        return made

    def dial(self, node: str, to: Address, transport: Transport, password: bytes | None = None) -> Dialing:
        made = self.nodes[node].open(lambda: dial(to, transport, password))
        self._opened.callback(made.close)
        return made

    def comes_in(self, listener: Listener) -> Incoming:
        readable, _, _ = select.select([listener], [], [], 5)
        assert readable
        (incoming,) = self.nodes["reflector"].open(listener.accept_all).connections
        self._opened.callback(incoming.socket.close)
        return incoming

    def drops(self, name: str) -> int:
        return self.nodes["reflector"].open(read_drop_counters)[name]


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


@pytest.fixture(scope="module")
def joined() -> Iterator[Links]:
    with Network() as network:
        yield Links(network)


@pytest.fixture
def links(joined: Links) -> Iterator[Links]:
    yield joined
    joined.close()


@pytest.fixture(params=[4, 6], ids=["ipv4", "ipv6"])
def family(request: pytest.FixtureRequest) -> int:
    version: int = request.param
    return version


def test_keys_by_address_and_by_range(links: Links) -> None:
    listener = links.listener(REFLECTOR[4])
    listener.set_keys(
        {
            pack_prefix("10.60.0.0/25"): b"of the range",
            pack_prefix("10.60.0.9/32"): b"of one",
            pack_prefix("10.60.0.2/32"): None,
        }
    )

    def dialing(source: str, password: bytes | None) -> Dialing:
        transport = Transport(peer_port=listener.port, local_address=pack_address(source))
        return links.dial("client", REFLECTOR[4], transport, password)

    assert is_answered(dialing("10.60.0.9", b"of one"))
    assert is_silent(dialing("10.60.0.9", b"of the range"))
    assert is_answered(dialing("10.60.0.2", None))
    assert is_silent(dialing("10.60.0.2", b"of the range"))
    assert is_answered(dialing("10.60.0.200", None))
    listener.set_keys({pack_prefix("10.60.0.0/24"): b"of all"})
    for source in ("10.60.0.2", "10.60.0.9", "10.60.0.200"):
        assert is_silent(dialing(source, None))
        assert is_answered(dialing(source, b"of all"))


def test_keys_of_a_range_in_ipv6(links: Links) -> None:
    listener = links.listener(REFLECTOR[6])
    listener.set_keys({pack_prefix("fd60::/64"): b"of the range"})
    transport = Transport(peer_port=listener.port)
    near = links.dial("client", REFLECTOR[6], transport, b"of the range")
    assert is_answered(near)
    incoming = links.comes_in(listener)
    assert says(near.socket, incoming.socket)
    assert is_silent(links.dial("client", REFLECTOR[6], transport))
    assert is_answered(links.dial("far", REFLECTOR[6], transport))
    listener.set_keys({})
    assert says(near.socket, incoming.socket)
    assert is_answered(links.dial("client", REFLECTOR[6], transport))


def test_a_peer_behind_a_router_is_two_hops_away(links: Links, family: int) -> None:
    listener = links.listener(REFLECTOR[family])
    far = links.dial("far", REFLECTOR[family], Transport(peer_port=listener.port, ttl_security=2))
    assert is_answered(far)
    incoming = links.comes_in(listener)
    assert incoming.address == pack_address(FAR[family])
    why = "it came with TTL 254, and ttlSecurity asks for 255 or more"
    assert objection(incoming.syn, Transport(ttl_security=1)) == why
    assert objection(incoming.syn, Transport(ttl_security=2)) is None
    prepare_accepted(incoming.socket, Transport(ttl_security=2))
    assert says(far.socket, incoming.socket)
    assert says(incoming.socket, far.socket)
    near = links.dial("client", REFLECTOR[family], Transport(peer_port=listener.port, ttl_security=1))
    assert is_answered(near)
    assert objection(links.comes_in(listener).syn, Transport(ttl_security=1)) is None


def test_without_ttl_security_we_send_with_the_default_of_the_machine(links: Links) -> None:
    links.set("reflector", "net.ipv4.ip_default_ttl", 33)
    try:
        listener = links.listener(REFLECTOR[4])
        assert is_answered(links.dial("client", REFLECTOR[4], Transport(peer_port=listener.port)))
        incoming = links.comes_in(listener)
        prepare_accepted(incoming.socket, Transport())
        assert incoming.socket.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) == 33
    finally:
        links.set("reflector", "net.ipv4.ip_default_ttl", 64)


def test_who_dials_with_ttl_security_is_not_answered_from_too_far(links: Links, family: int) -> None:
    listener = links.listener(REFLECTOR[family])
    assert is_silent(links.dial("far", REFLECTOR[family], Transport(peer_port=listener.port, ttl_security=1)))


def test_a_peer_with_multihop_1_does_not_get_past_a_router(links: Links, family: int) -> None:
    listener = links.listener(REFLECTOR[family])
    assert is_silent(links.dial("far", REFLECTOR[family], Transport(peer_port=listener.port, multihop=1)))
    assert is_answered(links.dial("far", REFLECTOR[family], Transport(peer_port=listener.port, multihop=2)))


def test_with_syn_cookies_no_peer_with_ttl_security_comes_in_unseen(links: Links, family: int) -> None:
    links.set("reflector", "net.ipv4.tcp_syncookies", 2)  # all SYNs, and not only when there are too many
    listener = links.listener(REFLECTOR[family])
    secure = Transport(peer_port=listener.port, ttl_security=1)
    assert is_answered(links.dial("client", REFLECTOR[family], secure))
    incoming = links.comes_in(listener)
    assert incoming.syn is None
    assert objection(incoming.syn, secure, listener.minimum_ttl) is not None
    assert objection(incoming.syn, Transport(), listener.minimum_ttl) is None


def test_with_syn_cookies_the_kernel_sees_to_the_ttl_where_all_have_ttl_security(links: Links, family: int) -> None:
    links.set("reflector", "net.ipv4.tcp_syncookies", 2)
    listener = links.listener(REFLECTOR[family])
    listener.set_minimum_ttl(255)
    secure = Transport(peer_port=listener.port, ttl_security=1)
    before = links.drops("TCPMinTTLDrop")
    assert is_silent(links.dial("far", REFLECTOR[family], Transport(peer_port=listener.port, ttl_security=2)))
    assert links.drops("TCPMinTTLDrop") > before
    near = links.dial("client", REFLECTOR[family], secure)
    assert is_answered(near)
    incoming = links.comes_in(listener)
    assert incoming.syn is None
    assert objection(incoming.syn, secure, listener.minimum_ttl) is None
    prepare_accepted(incoming.socket, secure)
    assert says(near.socket, incoming.socket)


def test_with_syn_cookies_signatures_are_checked(links: Links, family: int) -> None:
    links.set("reflector", "net.ipv4.tcp_syncookies", 2)
    listener = links.listener(REFLECTOR[family])
    address = pack_address(CLIENT[family])
    listener.set_keys({bytes((8 * len(address),)) + address: b"secret"})
    transport = Transport(peer_port=listener.port)
    assert is_silent(links.dial("client", REFLECTOR[family], transport))
    assert is_silent(links.dial("client", REFLECTOR[family], transport, b"wrong"))
    near = links.dial("client", REFLECTOR[family], transport, b"secret")
    assert is_answered(near)
    assert says(near.socket, links.comes_in(listener).socket)


def test_a_key_that_is_set_while_an_unsigned_connection_waits(links: Links, family: int) -> None:
    listener = links.listener(REFLECTOR[family])
    assert is_answered(links.dial("client", REFLECTOR[family], Transport(peer_port=listener.port)))
    address = pack_address(CLIENT[family])
    listener.set_keys({bytes((8 * len(address),)) + address: b"secret"})
    incoming = links.comes_in(listener)
    assert incoming.syn is not None
    assert not incoming.syn.signed


def test_link_local_addresses_are_of_one_link(links: Links) -> None:
    node = links.nodes["reflector"]
    shown = json.loads(node.ip("-j address show dev link0 scope link", family="-6"))
    (link_local,) = [entry["local"] for link in shown for entry in link.get("addr_info", ()) if entry]
    listener = links.listener(pack_address("::"))
    there = pack_address(link_local)
    near = links.dial("client", there, Transport(peer_port=listener.port, interface="link0"))
    assert is_answered(near)
    incoming = links.comes_in(listener)
    assert incoming.interface == "link0"
    assert incoming.address[:2] == b"\xfe\x80"
    with pytest.raises(TcpError):
        links.dial("client", there, Transport(peer_port=listener.port))


def test_an_interface_to_dial_by(links: Links) -> None:
    listener = links.listener(pack_address("10.61.0.1"))
    transport = Transport(peer_port=listener.port, interface="link2")
    assert is_answered(links.dial("far", listener.address, transport))
    reflector = links.nodes["reflector"]
    elsewhere = reflector.open(lambda: dial(pack_address(CLIENT[4]), Transport(interface="link1")))
    with_route = reflector.open(lambda: dial(pack_address(CLIENT[4]), Transport(interface="link0")))
    for dialing, reason in ((with_route, "connection refused"), (elsewhere, None)):
        _, writable, _ = select.select([], [dialing], [], MOMENT)
        assert (dialing.finish() if writable else None) == reason
        dialing.close()


def test_no_way_there(links: Links) -> None:
    with pytest.raises(TcpError, match="network is unreachable"):
        links.dial("client", pack_address("192.0.2.1"), Transport())


def test_many_keys_have_room_where_the_passwords_are_alike(links: Links) -> None:
    listener = links.listener(REFLECTOR[4])
    wanted = {bytes((32, 10, 60, n >> 8, n & 255)): b"secret" for n in range(10_000)}
    listener.set_keys(wanted)
    transport = Transport(peer_port=listener.port)
    assert is_silent(links.dial("client", REFLECTOR[4], transport))
    assert is_answered(links.dial("client", REFLECTOR[4], transport, b"secret"))
    own = {prefix: str(prefix).encode() for prefix in wanted}
    assert len(own) > tcp_options.room_for_keys()
    with pytest.raises(TcpError, match="optmem_max"):
        listener.set_keys(own)
