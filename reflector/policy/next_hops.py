"""Which next hops a peer can be told, and what is left of one that is passed on."""

from __future__ import annotations

from reflector.wire.families import FAMILIES, Family

_IPV4, _IPV6 = 1, 2
#: Families of IPv4 in which an IPv6 next hop has to be negotiated (RFC 8950, 3). Others have always had both.
EXTENDED_NEXT_HOP = frozenset(Family(_IPV4, safi) for safi in (1, 2, 4, 128, 129))
#: Of an address alone, and behind a route distinguisher.
_IPV4_LENGTHS = frozenset((4, 12))
_GLOBAL, _BOTH = 16, 32
_UNSPECIFIED = bytes(_GLOBAL)


def sendable_lengths(family: Family, *, extended: bool) -> frozenset[int]:
    """The lengths of the next hops that a peer understands; `extended`: RFC 8950 was negotiated for this family."""
    row = FAMILIES[family]
    if family in EXTENDED_NEXT_HOP:
        return row.next_hops if extended else row.next_hops & _IPV4_LENGTHS
    return row.next_hops - _IPV4_LENGTHS if family.afi == _IPV6 and not row.opaque else row.next_hops


def passed_on(next_hop: bytes, family: Family) -> bytes:
    """The next hop of another router as a third one is told it.

    A link-local address beside a global one stays behind: it means something only to those on that link, and a
    reflector does not know who is (RFC 2545, 3). Where there is no global one, nothing else could be said.
    """
    if len(next_hop) != _BOTH or FAMILIES[family].opaque:
        return next_hop
    first = next_hop[:_GLOBAL]
    return next_hop if first == _UNSPECIFIED or _is_link_local(first) else first


def _is_link_local(address: bytes) -> bool:
    return address[0] == 0xFE and address[1] & 0xC0 == 0x80
