"""Address families: one table row for each that is carried.

Unicast and multicast prefixes are taken apart to be understood. All others are opaque: cut into single NLRI by their
length rule and passed on byte for byte. RT-Constraint (RFC 4684) is left out on purpose: a reflector that took part in
it would have to filter by it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from reflector.wire import nlri
from reflector.wire.nlri import Key, Splitter


class Family(NamedTuple):
    """Address family and subsequent address family, by their numbers (RFC 4760)."""

    afi: int
    safi: int

    def __str__(self) -> str:
        row = FAMILIES.get(self)
        return row.name if row else f"afi {self.afi} safi {self.safi}"

    @property
    def packed(self) -> bytes:
        """Three bytes, as on the wire."""
        return self.afi.to_bytes(2, "big") + bytes((self.safi,))


def unpack_family(data: bytes) -> Family:
    """The family in the first three bytes."""
    return Family(data[0] << 8 | data[1], data[2])


class FamilyRow(NamedTuple):
    """What there is to know about a family.

    `next_hops` are the lengths a next hop may have in MP_REACH_NLRI. `split` and `split_paths` cut an NLRI field
    without and with path identifiers (RFC 7911). `route_key` gives the part of an NLRI that tells routes apart, for
    families whose NLRI holds more than that (labels); None where the whole NLRI is the key. An `opaque` family's NLRI
    and next hops are passed on unread.
    """

    name: str
    next_hops: frozenset[int]
    split: Splitter
    split_paths: Splitter
    route_key: Callable[[Key], Key] | None = None
    opaque: bool = True


IPV4_UNICAST = Family(1, 1)
IPV6_UNICAST = Family(2, 1)

_ADDRESS = frozenset((4, 16, 32))
_VPN_ADDRESS = frozenset((12, 24, 48))
_MAYBE_NONE = frozenset((0, 4, 12, 16, 24, 32))

_IPV4, _IPV6 = (nlri.prefix_splitters(bits) for bits in (32, 128))
_BITS = nlri.splitters(nlri.end_by_bits)
_FLOWSPEC = nlri.splitters(nlri.end_of_flowspec)
_TYPED = nlri.splitters(nlri.end_of_typed)
_MUP = nlri.splitters(nlri.end_of_mup)
_VPLS = nlri.splitters(nlri.end_of_vpls)
_LINK_STATE = nlri.splitters(nlri.end_of_link_state)


def _labelled(address: int, distinguisher: int = 0) -> tuple[Splitter, Splitter, Callable[[Key], Key]]:
    end_of, route_key = nlri.labelled(address, distinguisher)
    return *nlri.splitters(end_of), route_key


FAMILIES: dict[Family, FamilyRow] = {
    IPV4_UNICAST: FamilyRow("ipv4-unicast", _ADDRESS, *_IPV4, opaque=False),
    IPV6_UNICAST: FamilyRow("ipv6-unicast", _ADDRESS, *_IPV6, opaque=False),
    Family(1, 2): FamilyRow("ipv4-multicast", _ADDRESS, *_IPV4, opaque=False),
    Family(2, 2): FamilyRow("ipv6-multicast", _ADDRESS, *_IPV6, opaque=False),
    Family(1, 4): FamilyRow("ipv4-labelled-unicast", _ADDRESS, *_labelled(32)),
    Family(2, 4): FamilyRow("ipv6-labelled-unicast", _ADDRESS, *_labelled(128)),
    Family(1, 5): FamilyRow("ipv4-mvpn", _ADDRESS, *_TYPED),
    Family(2, 5): FamilyRow("ipv6-mvpn", _ADDRESS, *_TYPED),
    Family(25, 65): FamilyRow("l2vpn-vpls", _ADDRESS, *_VPLS),
    Family(25, 70): FamilyRow("l2vpn-evpn", _ADDRESS, *_TYPED, nlri.evpn_key),
    Family(16388, 71): FamilyRow("link-state", _ADDRESS, *_LINK_STATE),
    Family(16388, 72): FamilyRow("link-state-vpn", _ADDRESS | _VPN_ADDRESS, *_LINK_STATE),
    Family(1, 73): FamilyRow("ipv4-sr-policy", _ADDRESS, *_BITS),
    Family(2, 73): FamilyRow("ipv6-sr-policy", _ADDRESS, *_BITS),
    Family(1, 85): FamilyRow("ipv4-mup", _ADDRESS, *_MUP),
    Family(2, 85): FamilyRow("ipv6-mup", _ADDRESS, *_MUP),
    Family(1, 128): FamilyRow("ipv4-vpn", _VPN_ADDRESS, *_labelled(32, 64)),
    Family(2, 128): FamilyRow("ipv6-vpn", _VPN_ADDRESS, *_labelled(128, 64)),
    Family(1, 129): FamilyRow("ipv4-multicast-vpn", _VPN_ADDRESS, *_labelled(32, 64)),
    Family(2, 129): FamilyRow("ipv6-multicast-vpn", _VPN_ADDRESS, *_labelled(128, 64)),
    Family(1, 133): FamilyRow("ipv4-flowspec", _MAYBE_NONE, *_FLOWSPEC),
    Family(2, 133): FamilyRow("ipv6-flowspec", _MAYBE_NONE, *_FLOWSPEC),
    Family(1, 134): FamilyRow("ipv4-flowspec-vpn", _MAYBE_NONE, *_FLOWSPEC),
    Family(2, 134): FamilyRow("ipv6-flowspec-vpn", _MAYBE_NONE, *_FLOWSPEC),
    Family(25, 134): FamilyRow("l2vpn-flowspec-vpn", _MAYBE_NONE, *_FLOWSPEC),
}

#: `"ipv4-unicast"` -> Family(1, 1).
FAMILY_BY_NAME: dict[str, Family] = {row.name: family for family, row in FAMILIES.items()}
