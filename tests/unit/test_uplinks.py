"""On which link a gateway lies."""

from __future__ import annotations

import pytest

from bgp_speaker.uplinks import Link, connected_interface, uplink_mtu
from peering.prefixes import pack_address


def _link(ifindex: int, *addresses: str, up: bool = True) -> Link:
    pairs = (address.split("/") for address in addresses)
    return Link(f"eth{ifindex}", ifindex, up, 1500, tuple((pack_address(a), int(n)) for a, n in pairs))


LINKS = [
    _link(2, "10.0.0.1/31", "fd00::1/127", "fe80::1/64", "169.254.7.1/16"),
    _link(3, "10.0.0.3/31", "10.9.0.1/16"),
    _link(4, "10.0.0.5/31", up=False),
    _link(5, "10.9.1.1/24"),
    _link(7, "10.8.0.1/24"),
    _link(6, "10.8.0.2/24"),
    _link(8, "10.7.0.1/32"),
]


@pytest.mark.parametrize(
    ("gateway", "ifindex"),
    [
        ("10.0.0.0", 2),
        ("fd00::", 2),
        ("10.0.0.2", 3),
        ("10.0.0.4", None),
        ("10.9.2.1", 3),
        ("10.9.1.7", 5),
        ("10.8.0.9", 6),
        ("10.0.0.1", None),
        ("10.7.0.1", None),
        ("192.0.2.1", None),
        ("2001:db8::1", None),
        ("fe80::2", None),
        ("169.254.7.9", None),
    ],
    ids=lambda value: str(value),
)
def test_connected_interface(gateway: str, ifindex: int | None) -> None:
    assert connected_interface(LINKS, pack_address(gateway)) == ifindex


MTUS = {2: 9000, 3: 1500, 4: 8950, 5: 1400, 6: 1300, 7: 1280, 8: 1200}
SIZED = [Link(one.name, one.ifindex, one.up, MTUS[one.ifindex], one.addresses) for one in LINKS]


@pytest.mark.parametrize(
    ("uplinks", "local", "peers", "mtu"),
    [
        ((), (), (), 0),
        (("10.0.0.1",), (), (), 9000),
        (("10.0.0.1", "10.0.0.3"), (), (), 1500),
        (("10.7.0.1",), (), (), 1200),
        ((), ("10.0.0.1",), (), 9000),
        ((), ("fd00::1",), (), 9000),
        ((), ("10.7.0.1",), (), 0),
        ((), ("10.0.0.5",), (), 8950),
        ((), (), ("10.0.0.0", "10.0.0.4"), 8950),
        ((), (), ("fd00::",), 9000),
        ((), (), ("10.7.0.1", "192.0.2.1"), 0),
        ((), ("10.7.0.1",), ("10.0.0.0",), 9000),
    ],
    ids=str,
)
def test_the_mtu_is_the_smallest_of_the_links_to_the_fabric(
    uplinks: tuple[str, ...], local: tuple[str, ...], peers: tuple[str, ...], mtu: int
) -> None:
    declared, sources = ({pack_address(a) for a in some} for some in (uplinks, local))
    assert uplink_mtu(SIZED, declared, sources, [pack_address(a) for a in peers]) == mtu


def test_no_links() -> None:
    assert connected_interface([], pack_address("10.0.0.0")) is None
