"""Clients of the reflector that end, hang, or have the wrong password, and what the others notice: nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.interop.reflector_bird import Bird
from tests.interop.reflector_client import IPV4, Client, Options
from tests.interop.reflector_fabric import NAMES, Fabric
from tests.interop.reflector_lab import eventually
from tests.interop.reflector_openbgpd import OpenBgpd
from tests.interop.reflector_tap import Tap

pytestmark = pytest.mark.lab

HOLD_TIMER_EXPIRED = b"\x04\x00"
ENDS: dict[str, Callable[[Client], None]] = {"stopped": Client.stop, "killed": Client.kill}


@pytest.fixture(scope="module")
def fabric() -> Iterator[Fabric]:
    with Fabric(Options(hold_time=6)) as made:
        yield made


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", NAMES)
def test_without_graceful_restart_routes_go_with_their_client_and_come_back(
    fabric: Fabric, name: str, end: str
) -> None:
    client = fabric.clients[name]
    others = fabric.others(client)
    before = fabric.connections(*others)
    with Tap(client.host) as tap:
        ENDS[end](client)
        fabric.await_agreement()
        assert HOLD_TIMER_EXPIRED not in notified(tap, fabric)[4] | notified(tap, fabric)[6]  # it was seen at once
    client.start()
    fabric.await_agreement()
    assert fabric.connections(*others) == before


@pytest.mark.parametrize("names", [("frr", "gobgp", "openbgpd"), ("bird", "exabgp")], ids=lambda names: "+".join(names))
def test_the_hold_timer_of_clients_that_hang(fabric: Fabric, names: tuple[str, ...]) -> None:
    hanging = [fabric.clients[name] for name in names]
    others = fabric.others(*hanging)
    before = fabric.connections(*others)
    lost = {prefix for client in hanging for prefix in client.announced}
    taps = [Tap(client.host) for client in hanging]
    for client in hanging:
        client.pause()
    eventually(lambda: all(notified(tap, fabric) == {4: {HOLD_TIMER_EXPIRED}, 6: {HOLD_TIMER_EXPIRED}} for tap in taps))
    eventually(lambda: not any(client.prefixes(IPV4) & lost for client in others))
    assert fabric.connections(*others) == before
    for client, tap in zip(hanging, taps, strict=True):
        tap.close()
        client.resume()
        if isinstance(client, OpenBgpd):
            client.dial()
    fabric.await_agreement()
    assert fabric.connections(*others) == before


def notified(tap: Tap, fabric: Fabric) -> dict[int, set[bytes]]:
    return {version: tap.notifications(fabric.reflector.host.address(version)) for version in (4, 6)}


@pytest.mark.parametrize(("password", "counter"), [("not-this-one", "TCPMD5Failure"), ("", "TCPMD5NotFound")])
def test_a_client_with_the_wrong_password_or_none_gets_no_session(fabric: Fabric, password: str, counter: str) -> None:
    """The kernel drops what it sends; with the right password the same client is let in."""
    before = fabric.connections(*fabric.clients.values())
    dropped = fabric.reflector.host.counter(counter)
    name, number = ("wrong", 21) if password else ("none", 22)
    stranger = fabric.add(Bird, number, Options(password=password), name)
    try:
        stranger.launch()
        eventually(lambda: fabric.reflector.host.counter(counter) >= dropped + 4)
        assert not any(stranger.is_established(version) for version in (4, 6))
        fabric.clients["frr"].announce("10.77.0.0/24")
        eventually(
            lambda: all("10.77.0.0/24" in c.prefixes(IPV4) for c in fabric.others(fabric.clients["frr"], stranger))
        )
        fabric.clients["frr"].withdraw("10.77.0.0/24")
        fabric.restart(stranger, password=Options().password)
        fabric.await_agreement()
    finally:
        stranger.stop()
        del fabric.clients[name]
    fabric.await_agreement()
    assert fabric.connections(*fabric.clients.values()) == before
