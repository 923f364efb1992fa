"""Which of two connections to one peer stays (RFC 4271, 6.8; RFC 6286, 2.3; RFC 4724, 5). Pure.

Both ends decide by themselves, so they must use nothing but what both know: who opened a connection, and the two router
IDs. The rules in their order:

1. An Established connection stays, unless it has been up for a while, and the peer has graceful restart and comes in
   by a new one: then it has restarted before we noticed, and the new connection replaces the old one.
2. Of two connections that the same end opened, the newer stays: whoever opens a second one has lost the first.
3. The connection stays that was opened by the end with the higher router ID; with equal ones (which only eBGP may
   have), by the end with the higher AS number.

The race that is left in RFC 4271 is left here: when one end is Established on a connection that the other is just
closing, both close both, and the back-off of each neighbour, with jitter, starts them again.
"""

from __future__ import annotations

from typing import NamedTuple

from reflector.session.states import State


class Contender(NamedTuple):
    """A connection as far as a collision looks at it; `incoming` is one that the peer opened."""

    state: State
    incoming: bool
    may_restart: bool = False
    """Whether it has been up for a while, and the peer has graceful restart with at least one family."""


class Identity(NamedTuple):
    """One end: the router ID as four bytes, which compare as the number they stand for, and the AS number."""

    router_id: bytes
    asn: int


def newer_stays(newer: Contender, older: Contender, local: Identity, remote: Identity) -> bool:
    """Whether the connection on which an OPEN has just come stays, and the other one is closed; else the reverse."""
    if older.state is State.ESTABLISHED:
        return newer.incoming and older.may_restart
    if newer.incoming is older.incoming:
        return True
    return newer.incoming is (remote > local)
