"""Whether a next hop can be one (RFC 4271, 6.3): the address of a host, as far as its bytes tell.

A reflector passes next hops on, and implementations exist that end a session over one of the addresses refused here. So
one client's nonsense must not reach the others.
"""

from __future__ import annotations

_LOOPBACK_6 = bytes(15) + b"\x01"
_LINK_LOCAL = b"\xfe\x80"


def next_hop_damage(address: bytes, *, loopback: bool = False) -> str | None:
    """What is wrong with a next hop of 4, 16 or 32 bytes (RFC 2545: global and link-local); None when nothing is.

    `loopback`: the session runs over loopback addresses, so that next hops may be such.
    """
    first = address[0]
    if len(address) == 4:
        if first >= 224 or first == 0 or (first == 127 and not loopback):
            return f"next hop {'.'.join(map(str, address))}"
        return None
    if first == 0xFF:
        return "a multicast next hop"
    if first == 0 and not any(address[:15]):
        if address[:16] == _LOOPBACK_6:
            return None if loopback else "next hop ::1"
        if not any(address[:16]) and not address[16:].startswith(_LINK_LOCAL):
            return "next hop ::"
    return None
