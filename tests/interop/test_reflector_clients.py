"""FRR, BIRD, GoBGP, OpenBGPD and ExaBGP as clients of the reflector at once, over IPv4 and IPv6, with MD5."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.reflector_bird import Bird
from tests.interop.reflector_client import IPV4, IPV6, Client, Options, family_of
from tests.interop.reflector_exabgp import ExaBgp
from tests.interop.reflector_fabric import NAMES, Fabric
from tests.interop.reflector_frr import Frr
from tests.interop.reflector_lab import eventually
from tests.interop.reflector_tap import ROUTE_REFRESH, UPDATE, Tap, encoded

pytestmark = pytest.mark.lab

LARGE = 20_000
#: Of 4,096 bytes: what fits no message without RFC 8654, and what does.
MANY_COMMUNITIES, SOME_COMMUNITIES = 1500, 400


@pytest.fixture(scope="module")
def fabric() -> Iterator[Fabric]:
    # BIRD keeps its extended messages for the test of them: with them it packs 20,000 prefixes into one.
    with Fabric(of={"exabgp": Options(extended_messages=True)}) as made:
        yield made


def test_everybody_has_the_prefixes_of_all_others(fabric: Fabric) -> None:
    """With next hop, ORIGINATOR_ID and CLUSTER_LIST, and without its own."""
    for client in fabric.clients.values():
        for family in (IPV4, IPV6):
            assert client.paths(family) == fabric.due(client, family)
            assert len(client.paths(family)) == len(NAMES) - 1


@pytest.mark.parametrize("name", NAMES)
def test_what_comes_and_goes_at_one_comes_and_goes_at_all(fabric: Fabric, name: str) -> None:
    client = fabric.clients[name]
    before = fabric.connections(*fabric.clients.values())
    news = f"10.{client.host.number}.128.0/17", f"fd{client.host.number}:1::/64"
    client.announce(*news)
    fabric.await_agreement()
    client.withdraw(*news)
    fabric.await_agreement()
    assert fabric.connections(*fabric.clients.values()) == before


def test_the_same_prefix_from_two_goes_over_to_the_other(fabric: Fabric) -> None:
    """Each of the two is told the other's path as long as that is the best, and nobody is ever left without one."""
    one, other = fabric.clients["frr"], fabric.clients["exabgp"]
    shared = "10.200.0.0/24"
    watchers = fabric.others(one, other)
    one.announce(shared)
    fabric.await_agreement()
    other.announce(shared)
    eventually(lambda: shared in one.prefixes(IPV4) or shared in other.prefixes(IPV4))
    one.withdraw(shared)
    fabric.await_agreement()
    assert all(hops(client, shared) == {other.host.ipv4} for client in watchers)
    one.announce(shared)
    other.withdraw(shared)
    fabric.await_agreement()
    assert all(hops(client, shared) == {one.host.ipv4} for client in watchers)
    one.withdraw(shared)
    fabric.await_agreement()


def hops(client: Client, prefix: str) -> set[str]:
    return {path.next_hop for path in client.paths(IPV4) if path.prefix == prefix}


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "gobgp"])  # which never asks
def test_route_refresh(fabric: Fabric, name: str, version: int) -> None:
    """Who asks is sent everything again, on the session that it asks on."""
    client, family = fabric.clients[name], {4: IPV4, 6: IPV6}[version]
    us, reflector = client.host.address(version), fabric.reflector.host.address(version)
    due = client.prefixes(family)
    with Tap(client.host) as tap:
        client.refresh(version)
        eventually(lambda: tap.messages(us, ROUTE_REFRESH) != [], why=client.diagnosis)
        eventually(lambda: announced(tap, reflector, us) >= {encoded(prefix) for prefix in due})
    fabric.await_agreement()


@pytest.mark.parametrize("name", ["frr", "bird", "openbgpd", "exabgp"])
def test_enhanced_route_refresh_is_marked_at_both_ends(fabric: Fabric, name: str) -> None:
    """RFC 7313: what is asked for comes between BoRR (1) and EoRR (2)."""
    client = fabric.clients[name]
    with Tap(client.host) as tap:
        client.refresh(4)
        eventually(lambda: len(markers(tap, fabric)) >= 2)
        assert markers(tap, fabric) == [1, 2]
    fabric.await_agreement()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "openbgpd"])  # 7.7 takes none: its issue 46
def test_who_is_asked_for_a_route_refresh_by_the_reflector_answers(fabric: Fabric, name: str) -> None:
    """What is on the wire again comes to nobody else: nothing has changed."""
    client, watcher = fabric.clients[name], fabric.clients["bird" if name != "bird" else "frr"]
    us, reflector = client.host.ipv4, fabric.reflector.host.ipv4
    due = {encoded(prefix) for prefix in client.announced if family_of(prefix) == IPV4}
    with Tap(client.host) as tap, Tap(watcher.host) as others:
        assert fabric.reflector.ask("refresh", neighbor=us) == {"neighbor": us, "families": [IPV4]}
        eventually(lambda: [m.body for m in tap.messages(reflector, ROUTE_REFRESH, us)] == [b"\0\1\0\1"])
        eventually(lambda: announced(tap, us, reflector) >= due, why=client.diagnosis)
        fabric.await_agreement()
        assert others.messages(reflector, UPDATE) == []


def markers(tap: Tap, fabric: Fabric) -> list[int]:
    """The subtypes of the ROUTE-REFRESHes that the reflector sent over IPv4."""
    return [message.body[2] for message in tap.messages(fabric.reflector.host.ipv4, ROUTE_REFRESH)]


def announced(tap: Tap, sender: str, receiver: str) -> set[bytes]:
    """Which of the prefixes of these tests are in the UPDATEs heard, as they are on the wire."""
    heard = b"".join(message.body for message in tap.messages(sender, UPDATE, receiver))
    wanted = [f"10.{n}.0.0/24" for n in range(11, 16)] + [f"fd{n}::/48" for n in range(11, 16)]
    return {encoded(prefix) for prefix in wanted if encoded(prefix) in heard}


def test_a_large_table_arrives_whole(fabric: Fabric) -> None:
    bird = fabric.clients["bird"]
    before = fabric.connections(*fabric.clients.values())
    table = [f"20.{n >> 8}.{n & 255}.0/24" for n in range(LARGE)]
    bird.announce(*table)
    fabric.await_agreement()
    assert {len(client.paths(IPV4)) for client in fabric.others(bird)} == {LARGE + len(NAMES) - 1}
    bird.withdraw(*table)
    fabric.await_agreement()
    assert fabric.connections(*fabric.clients.values()) == before


def test_a_route_that_needs_an_extended_message_goes_to_those_that_take_one(fabric: Fabric) -> None:
    """RFC 8654, 4: the others are told nothing, or that it is gone, and keep their sessions."""
    exabgp, bird = fabric.clients["exabgp"], fabric.clients["bird"]
    assert isinstance(exabgp, ExaBgp)
    fabric.restart(bird, extended_messages=True)
    fabric.await_agreement()
    before = fabric.connections(*fabric.clients.values())
    prefix = "10.99.0.0/24"
    exabgp.tell(with_communities(exabgp, prefix, SOME_COMMUNITIES))
    everybody = fabric.others(exabgp)
    eventually(lambda: all(prefix in client.prefixes(IPV4) for client in everybody))
    exabgp.tell(with_communities(exabgp, prefix, MANY_COMMUNITIES))
    assert isinstance(bird, Bird)
    eventually(lambda: communities(bird, prefix) == MANY_COMMUNITIES)
    eventually(lambda: having(fabric, prefix) == {"frr", "bird"}, why=lambda: having(fabric, prefix))
    exabgp.tell(f"withdraw route {prefix} next-hop {exabgp.host.ipv4}")
    fabric.await_agreement()
    assert fabric.connections(*fabric.clients.values()) == before


def having(fabric: Fabric, prefix: str) -> set[str]:
    return {name for name, client in fabric.clients.items() if prefix in client.prefixes(IPV4)}


def with_communities(client: Client, prefix: str, count: int) -> str:
    words = " ".join(f"65001:{n}" for n in range(count))
    return f"announce route {prefix} next-hop {client.host.ipv4} community [ {words} ]"


def communities(bird: Bird, prefix: str) -> int:
    return bird.ask("show", "route", prefix, "all").count("(65001,")


def test_a_reflector_that_is_stopped_says_why_and_is_gone_at_once() -> None:
    """Cease/Administrative Shutdown with a reason (RFC 9003), to FRR as a Hard Reset (RFC 8538), within 2 s."""
    with Fabric(kinds=(Frr, Bird)) as pair:
        taps = {name: Tap(client.host) for name, client in pair.clients.items()}
        assert pair.reflector.process.terminate(within=2) == 0
        reason = b"the reflector is stopped"
        shutdown = b"\x06\x02" + bytes((len(reason),)) + reason
        for version in (4, 6):
            address = pair.reflector.host.address(version)
            assert taps["bird"].notifications(address) == {shutdown}
            assert taps["frr"].notifications(address) == {b"\x06\x09" + shutdown}
        for tap in taps.values():
            tap.close()
        eventually(lambda: not any(client.paths(IPV4) | client.paths(IPV6) for client in pair.clients.values()))
