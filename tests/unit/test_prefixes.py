"""Packed prefixes and the addresses that follow from other addresses, against `ipaddress`."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peering.addressing import exactly, far_end, inside, lies_in, subnet_of
from peering.prefixes import contains, format_address, format_prefix, host_prefix, is_ipv6, pack_address, pack_prefix
from peering.session import PrefixRule

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Small numbers of different prefixes, so that one often contains the other."""
    if draw(st.booleans()):
        address = draw(st.sampled_from([0, 0x0A000000, 0x0A00FFFF, 0xFFFFFFFF]) | st.integers(0, 2**32 - 1))
        return ipaddress.IPv4Network((address, draw(st.integers(0, 32))), strict=False)
    address = draw(st.sampled_from([0, 0xFD << 120, (0xFD << 120) + 1]) | st.integers(0, 2**128 - 1))
    return ipaddress.IPv6Network((address, draw(st.integers(0, 128))), strict=False)


@given(networks())
def test_text_and_bytes_are_inverse(network: Network) -> None:
    packed = pack_prefix(str(network))
    assert len(packed) == (5 if network.version == 4 else 17)
    assert ipaddress.ip_network(format_prefix(packed)) == network
    address = pack_address(str(network.network_address))
    assert ipaddress.ip_address(format_address(address)) == network.network_address
    assert is_ipv6(packed) is is_ipv6(address) is (network.version == 6)


@given(networks(), networks())
def test_contains_is_subnet_of(outer: Network, inner: Network) -> None:
    expected = outer.version == inner.version and inner.subnet_of(outer)  # type: ignore[arg-type]
    assert contains(pack_prefix(str(outer)), pack_prefix(str(inner))) is expected


@given(networks())
def test_everything_contains_itself_and_is_in_the_default_route(network: Network) -> None:
    packed = pack_prefix(str(network))
    assert contains(packed, packed)
    assert contains(pack_prefix("0.0.0.0/0" if network.version == 4 else "::/0"), packed)


@pytest.mark.parametrize("text", ["10.0.0.1/31", "10.0.0.0/33", "", "nonsense", "10.0.0/24"])
def test_what_is_no_prefix(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        pack_prefix(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10.0.0.1", "10.0.0.1/32"), ("10.0.0.1/24", "10.0.0.1/32"), ("FD00:0::1", "fd00::1/128")],
)
def test_host_prefix(text: str, expected: str) -> None:
    assert host_prefix(text) == expected


@pytest.mark.parametrize(
    ("near", "far"),
    [
        ("10.0.0.0/31", "10.0.0.1"),
        ("10.0.0.1/31", "10.0.0.0"),
        ("10.0.0.1/30", "10.0.0.2"),
        ("10.0.0.2/30", "10.0.0.1"),
        ("fd00::/127", "fd00::1"),
        ("fd00::1/127", "fd00::"),
        ("fd00::1/126", "fd00::2"),
        ("fd00::2/126", "fd00::1"),
        ("fd00::/126", None),  # the routers' anycast address
        ("fd00::3/126", None),
        ("10.0.0.0/30", None),  # the network's own address
        ("10.0.0.3/30", None),  # its broadcast address
        ("10.0.0.1/29", None),
        ("10.0.0.1/32", None),
        ("fd00::1/128", None),
        ("fd00::1/64", None),
        ("0.0.0.0/0", None),
    ],
)
def test_far_end(near: str, far: str | None) -> None:
    assert far_end(near) == far


def test_lies_in_never_mixes_families() -> None:
    assert lies_in("10.0.0.1/31", ["fd00::/8", "10.0.0.0/8"])
    assert not lies_in("10.0.0.1", ["::/0"])
    assert not lies_in("fd00::1", ["0.0.0.0/0"])
    assert not lies_in("10.0.0.1", [])


def test_rules() -> None:
    assert exactly("10.0.0.0/8") == PrefixRule("10.0.0.0/8", 8, 8)
    assert inside("10.0.0.0/8") == PrefixRule("10.0.0.0/8", 8, 32)
    assert inside("fd00::/64") == PrefixRule("fd00::/64", 64, 128)
    assert subnet_of("fd00::5/127") == "fd00::4/127"
