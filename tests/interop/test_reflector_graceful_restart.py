"""Graceful restart (RFC 4724): the reflector as helper of FRR, BIRD, GoBGP and ExaBGP, and they as helpers of it.

Every client has one session here, over IPv4, that carries IPv4 and IPv6.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.reflector_client import IPV4, IPV6, Client, Options
from tests.interop.reflector_fabric import Fabric
from tests.interop.reflector_lab import eventually, throughout
from tests.interop.reflector_openbgpd import OpenBgpd
from tests.interop.reflector_tap import UPDATE, Tap, encoded, withdrawn

pytestmark = pytest.mark.lab

LONG, SHORT = 120, 5
RESTARTING = ("frr", "bird", "gobgp", "exabgp")
HELPERS = ("frr", "bird", "gobgp")


@pytest.fixture(scope="module")
def fabric() -> Iterator[Fabric]:
    with Fabric(Options(restart_time=LONG, families={4: (IPV4, IPV6)}), reflector_options=("--graceful",)) as made:
        yield made


@pytest.mark.parametrize("name", RESTARTING)
def test_routes_stay_while_their_client_is_killed_and_comes_back(fabric: Fabric, name: str) -> None:
    """No watcher hears a word of what stays; what the client does not announce again goes with its End-of-RIB."""
    client = fabric.clients[name]
    others = fabric.others(client)
    before, number = fabric.connections(*others), client.host.number
    stays, goes, comes = client.announced, [f"10.{number}.1.0/24", f"fd{number}:1::/64"], [f"10.{number}.2.0/24"]
    client.announce(*goes)
    fabric.await_agreement()
    watcher = fabric.clients["frr" if name != "frr" else "bird"]
    with Tap(watcher.host) as tap:
        client.announced = [*stays[:2], *comes]
        client.kill()
        throughout(lambda: all(has(other, *stays[:2], *goes) for other in others), 2)
        client.start(recovering=True)
        fabric.await_agreement()
        assert gone(tap, fabric, *goes) == set(goes)
        assert gone(tap, fabric, *stays[:2]) == set()
    assert fabric.connections(*others) == before
    client.withdraw(*comes)
    fabric.await_agreement()


def test_openbgpd_restarts_without_it(fabric: Fabric) -> None:
    """It has the capability for End-of-RIB only, with no family whose routes would be kept."""
    client = fabric.clients["openbgpd"]
    client.kill()
    fabric.await_agreement()
    client.start()
    fabric.await_agreement()


@pytest.mark.parametrize("name", ["bird", "exabgp"])
def test_routes_go_when_the_restart_time_is_over(fabric: Fabric, name: str) -> None:
    client = fabric.clients[name]
    others = fabric.others(client)
    before = fabric.connections(*others)
    fabric.restart(client, restart_time=SHORT)
    fabric.await_agreement()
    client.kill()
    throughout(lambda: all(has(other, *client.announced) for other in others), SHORT - 1)
    fabric.await_agreement()
    client.start()
    fabric.await_agreement()
    fabric.restart(client, restart_time=LONG)
    fabric.await_agreement()
    assert fabric.connections(*others) == before


def test_routes_go_at_once_with_a_client_that_says_good_bye(fabric: Fabric) -> None:
    """BIRD's Cease is no restart: it does not know RFC 8538, by which a NOTIFICATION would leave them in place."""
    client = fabric.clients["bird"]
    client.stop()
    fabric.await_agreement()
    client.start()
    fabric.await_agreement()


@pytest.mark.parametrize("end", ["killed", "stopped --graceful"])
def test_routes_stay_while_the_reflector_restarts(fabric: Fabric, end: str) -> None:
    """Until they hear from it again. That this is not before it has heard everybody: see test_reflector_declared."""
    keep = [fabric.clients[name] for name in HELPERS]
    due = {client.name: fabric.due(client, IPV4) | fabric.due(client, IPV6) for client in keep}

    def are_kept(client: Client) -> bool:
        return client.paths(IPV4) | client.paths(IPV6) == due[client.name]

    def is_healed() -> bool:
        for client in keep:
            assert are_kept(client) or client.is_up(), client.diagnosis()
        return fabric.agrees()

    if end == "killed":
        fabric.reflector.process.kill()
    else:
        assert fabric.reflector.process.terminate() == 0
    eventually(lambda: not any(client.host.connections() for client in keep))
    for client in keep:
        assert are_kept(client), client.diagnosis()
    fabric.start_reflector()
    openbgpd = fabric.clients["openbgpd"]
    assert isinstance(openbgpd, OpenBgpd)
    openbgpd.dial()
    eventually(is_healed)


def has(client: Client, *prefixes: str) -> bool:
    return set(prefixes) <= client.prefixes(IPV4) | client.prefixes(IPV6)


def gone(tap: Tap, fabric: Fabric, *prefixes: str) -> set[str]:
    """Which of these the reflector has withdrawn since the tap began."""
    host = fabric.reflector.host
    heard = [message.body for version in (4, 6) for message in tap.messages(host.address(version), UPDATE)]
    said = b"".join(withdrawn(update) for update in heard)
    return {prefix for prefix in prefixes if encoded(prefix) in said}
