"""The far end of a session as a switch names it: an address, or for an unnumbered session the switch's interface."""

from __future__ import annotations

from ipaddress import ip_address

from peering.session import Session


def canonical(address: str) -> str:
    """As platforms show it back: another spelling would differ from the running configuration for ever."""
    return str(ip_address(address))


def neighbor_key(session: Session) -> str:
    """What stands after `neighbor`. Raises ValueError for an address that is none."""
    return session.interface or canonical(session.peer_address)


def neighbor_order(session: Session) -> tuple[int, bytes, str]:
    """Interfaces by name, then IPv4 and IPv6 addresses by number."""
    if session.interface:
        return 0, session.interface.encode(), session.name
    address = ip_address(session.peer_address)
    return address.version, address.packed, session.name


def over_ipv6(session: Session) -> bool:
    """Whether the TCP connection is one of IPv6; unnumbered sessions run over link-local addresses."""
    return session.interface is not None or ":" in session.peer_address
