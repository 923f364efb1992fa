"""The first packet of a connection that came in, and whether it may go on. Pure.

Between the SYN and the moment when our process has the connection in hand lies the time that it waited in the queue. A
minimum TTL or a key set only then says nothing about what was received before. But the kernel keeps the SYN for us
(TCP_SAVE_SYN): its TTL shows how far away the peer is, its options whether the peer signs. Whoever is not there to
receive the answer to his SYN cannot go on to send data, so what holds for the SYN holds for what came until now.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from reflector.configuration import Transport

_MAX_TTL = 255
_TCP = 6
_END, _NO_OPERATION, _MD5_SIGNATURE = 0, 1, 19


class Syn(NamedTuple):
    """`ttl` is the TTL or hop limit it came with, `signed` whether there was a signature (RFC 2385)."""

    ttl: int
    signed: bool


def parse_syn(headers: bytes) -> Syn | None:
    """From the IP and TCP header; None where there are none."""
    if len(headers) < 20:
        return None
    if headers[0] >> 4 == 4:
        return Syn(headers[8], _is_signed(headers[4 * (headers[0] & 15) :]))
    # Behind extension headers nothing is looked for, and the SYN counts as not signed.
    return Syn(headers[7], headers[6] == _TCP and _is_signed(headers[40:]))


def minimum_ttl(transport: Transport) -> int:
    """The least TTL that something from this peer may come with (RFC 5082, 3); 0 without TTL security."""
    return 0 if transport.ttl_security is None else _MAX_TTL + 1 - transport.ttl_security


def shared_minimum_ttl(transports: Iterable[Transport]) -> int:
    """What the kernel may ask of everybody who comes in: above 0 only where all have TTL security."""
    return min((minimum_ttl(transport) for transport in transports), default=0)


def objection(syn: Syn | None, transport: Transport, checked_ttl: int = 0, interface: str | None = None) -> str | None:
    """Why the connection must not go on; None when it may.

    `checked_ttl` is the minimum that the listening socket has seen to by itself. The kernel keeps no SYN while it
    answers with SYN cookies. It has checked signatures nevertheless. `interface` is the one that a link-local address
    came in by.
    """
    if interface is not None and transport.interface is not None and interface != transport.interface:
        return f"it came in by {interface}, and the peer is on {transport.interface}"
    needed = minimum_ttl(transport)
    if needed > checked_ttl:
        if syn is None:
            return "its TTL is not known: the kernel is answering with SYN cookies"
        if syn.ttl < needed:
            return f"it came with TTL {syn.ttl}, and ttlSecurity asks for {needed} or more"
    if transport.password is not None and syn is not None and not syn.signed:
        return "it is not signed, and the peer has a password"
    return None


def _is_signed(tcp: bytes) -> bool:
    """Whether there is an MD5 signature among the options of a TCP header."""
    if len(tcp) < 20:
        return False
    options = tcp[20 : 4 * (tcp[12] >> 4)]
    at = 0
    while at < len(options) and options[at] != _END:
        if options[at] == _MD5_SIGNATURE:
            return True
        if options[at] == _NO_OPERATION:
            at += 1
        elif at + 1 < len(options) and options[at + 1] >= 2:
            at += options[at + 1]
        else:
            return False
    return False
