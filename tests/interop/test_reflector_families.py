"""IPv4 over IPv6 next hops (RFC 8950), and families that the reflector carries without knowing what is in them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.reflector_bird import Bird
from tests.interop.reflector_client import IPV4, IPV6, Client, Options
from tests.interop.reflector_exabgp import ExaBgp
from tests.interop.reflector_fabric import Fabric
from tests.interop.reflector_frr import Frr
from tests.interop.reflector_gobgp import GoBgp
from tests.interop.reflector_lab import eventually
from tests.interop.reflector_openbgpd import OpenBgpd
from tests.interop.reflector_tap import MP_REACH, MP_UNREACH, UPDATE, Tap, attributes

pytestmark = pytest.mark.lab

VPN, EVPN, FLOWSPEC, LABELLED = "ipv4-vpn", "l2vpn-evpn", "ipv4-flowspec", "ipv4-labelled-unicast"
FAMILIES = (VPN, "ipv6-vpn", EVPN, FLOWSPEC, "ipv6-flowspec", LABELLED, "ipv6-labelled-unicast")
_EXTENDED_COMMUNITIES = 16

#: Name -> family, and the route as GoBGP's command line takes it.
ROUTES: dict[str, tuple[str, str]] = {
    "VPNv4": (VPN, "10.1.0.0/24 label 100 rd 65000:1 rt 65000:1 nexthop 10.90.0.11"),
    "VPNv6": ("ipv6-vpn", "fd01::/64 label 101 rd 65000:1 rt 65000:1 nexthop fd00:90::11"),
    "EVPN type 2": (
        EVPN,
        "macadv aa:bb:cc:dd:ee:01 10.0.0.1 etag 100 label 1000 rd 65000:1 rt 65000:1 encap vxlan nexthop 10.90.0.11",
    ),
    "EVPN type 3": (EVPN, "multicast 10.0.0.1 etag 100 rd 65000:1 rt 65000:1 encap vxlan nexthop 10.90.0.11"),
    "EVPN type 5": (
        EVPN,
        "prefix 10.5.0.0/24 gw 10.0.0.1 etag 100 label 1000 rd 65000:1 rt 65000:1 encap vxlan nexthop 10.90.0.11",
    ),
    "FlowSpec": (FLOWSPEC, "match destination 10.0.0.0/24 destination-port ==80 then discard"),
    "FlowSpec IPv6": ("ipv6-flowspec", "match destination fd01::/64 destination-port ==80 then discard"),
    "labelled": (LABELLED, "10.2.0.0/24 100 nexthop 10.90.0.11"),
    "labelled IPv6": ("ipv6-labelled-unicast", "fd02::/64 100 nexthop fd00:90::11"),
}


@pytest.fixture(scope="module")
def over_ipv6() -> Iterator[Fabric]:
    extended = Options(families={6: (IPV4, IPV6)}, extended_next_hop=True)
    with Fabric(extended, (Frr, Bird, OpenBgpd, ExaBgp), {"openbgpd": Options()}, agree=False) as made:
        yield made


def test_ipv4_over_ipv6_next_hops(over_ipv6: Fabric) -> None:
    """Who has the capability gets it, also of IPv4 next hops; OpenBGPD, which has not, gets IPv4 next hops only."""
    able = [over_ipv6.clients[name] for name in ("frr", "bird", "exabgp")]
    unable = over_ipv6.clients["openbgpd"]
    eventually(
        lambda: all(client.paths(IPV4) == over_ipv6.due(client, IPV4) for client in able),
        why=lambda: [(client.name, client.paths(IPV4)) for client in able],
    )
    assert {path.next_hop for path in able[0].paths(IPV4)} == {"fd00:90::12", "10.90.0.13", "fd00:90::14"}
    eventually(lambda: unable.paths(IPV6) == over_ipv6.due(unable, IPV6))
    assert unable.paths(IPV4) == set()
    assert unable.is_up()


def test_a_route_that_changes_to_an_ipv6_next_hop_is_gone_where_that_is_not_understood(over_ipv6: Fabric) -> None:
    exabgp, unable = over_ipv6.clients["exabgp"], over_ipv6.clients["openbgpd"]
    assert isinstance(exabgp, ExaBgp)
    prefix = "10.88.0.0/24"
    exabgp.tell(f"announce route {prefix} next-hop {exabgp.host.ipv4}")
    eventually(lambda: unable.prefixes(IPV4) == {prefix})
    exabgp.tell(f"announce route {prefix} next-hop {exabgp.host.ipv6}")
    eventually(lambda: unable.prefixes(IPV4) == set())
    eventually(lambda: next_hops(over_ipv6.clients["bird"], prefix) == {exabgp.host.ipv6})
    exabgp.tell(f"withdraw route {prefix} next-hop {exabgp.host.ipv6}")
    eventually(lambda: next_hops(over_ipv6.clients["bird"], prefix) == set())


def next_hops(client: Client, prefix: str) -> set[str]:
    return {path.next_hop for path in client.paths(IPV4) if path.prefix == prefix}


@pytest.fixture(scope="module")
def opaque() -> Iterator[Fabric]:
    """Two GoBGPs, and others with what they have of it."""
    of = {
        "exabgp": Options(families={4: (VPN, EVPN, FLOWSPEC, LABELLED)}),
        "bird": Options(families={4: tuple(family for family in FAMILIES if family != EVPN)}),
    }
    kinds = {"source": GoBgp, "sink": GoBgp, "exabgp": ExaBgp, "frr": Frr, "bird": Bird}
    with Fabric(Options(families={4: FAMILIES}), kinds, of) as made:
        yield made


@pytest.mark.parametrize("name", ROUTES)
def test_a_family_that_nobody_looks_into_is_reflected_byte_by_byte(opaque: Fabric, name: str) -> None:
    family, route = ROUTES[name]
    """Everybody who takes the family understands it, and nobody else is sent it."""
    source, sink = opaque.clients["source"], opaque.clients["sink"]
    assert isinstance(source, GoBgp)
    assert isinstance(sink, GoBgp)
    receivers = [client for client in opaque.others(source) if family in client.options.families[4]]
    with Tap(opaque.reflector.host) as tap:
        source.route("add", family, *route.split())
        eventually(lambda: all(sent(tap, opaque, client, MP_REACH) for client in receivers))
        for kind in (MP_REACH, _EXTENDED_COMMUNITIES):
            for client in receivers:
                assert sent(tap, opaque, client, kind) == received(tap, source, kind)
        eventually(lambda: shown(sink, family) == shown(source, family) != [])
        eventually(lambda: counts(receivers, family) == [1] * len(receivers), why=lambda: counts(receivers, family))
        source.route("del", family, *route.split())
        eventually(lambda: all(sent(tap, opaque, client, MP_UNREACH) for client in receivers))
        for client in receivers:
            assert sent(tap, opaque, client, MP_UNREACH) == received(tap, source, MP_UNREACH)
        eventually(lambda: shown(sink, family) == [])
        eventually(lambda: counts(receivers, family) == [0] * len(receivers), why=lambda: counts(receivers, family))
        assert not any(sent(tap, opaque, client, MP_REACH) for client in opaque.others(*receivers))


def test_exabgp_and_gobgp_understand_what_the_other_sends(opaque: Fabric) -> None:
    exabgp, sink = opaque.clients["exabgp"], opaque.clients["sink"]
    assert isinstance(exabgp, ExaBgp)
    assert isinstance(sink, GoBgp)
    vpn = f"route 10.3.0.0/24 rd 65000:3 label 300 next-hop {exabgp.host.ipv4} extended-community [ target:65000:3 ]"
    flow = "flow route { match { source 10.4.0.0/24; protocol tcp; } then { discard; } }"
    exabgp.tell(f"announce {vpn}", f"announce {flow}")
    eventually(lambda: [key for key, _ in sink.learned(VPN)] == ["65000:3:10.3.0.0/24"])
    eventually(lambda: ["source: 10.4.0.0/24" in key for key, _ in sink.learned(FLOWSPEC)] == [True])
    everybody = opaque.others(exabgp)
    eventually(lambda: counts(everybody[1:], VPN) + counts(everybody[1:], FLOWSPEC) == [1] * 6)
    exabgp.tell(f"withdraw {vpn}", f"withdraw {flow}")
    eventually(lambda: [*sink.learned(VPN), *sink.learned(FLOWSPEC)] == [])


def counts(clients: list[Client], family: str) -> list[int]:
    return [client.count(family) for client in clients]


def sent(tap: Tap, fabric: Fabric, client: Client, kind: int) -> set[bytes]:
    """Values of an attribute that the reflector sent to a client."""
    return values(tap, fabric.reflector.host.ipv4, client.host.ipv4, kind)


def received(tap: Tap, client: Client, kind: int) -> set[bytes]:
    return values(tap, client.host.ipv4, "", kind)


def values(tap: Tap, sender: str, receiver: str, kind: int) -> set[bytes]:
    heard = tap.messages(sender, UPDATE, receiver)
    return {value for message in heard for found, value in attributes(message.body) if found == kind}


def shown(client: GoBgp, family: str) -> list[tuple[str, object]]:
    """NLRIs as GoBGP shows them, its own and learned."""
    return sorted((key, str(path["nlri"])) for key, path in client.known(family))
