"""What is told to the cluster of a session that goes up or down. Pure.

The message has no times and no counts, so that what happens again is known as the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from peering.session import Session
from peering.store.protocol import Event


def session_event(sessions: Iterable[Session], peer: str, *, up: bool, reason: str) -> Event:
    """Of the session with an address. One that is no longer in the plan is told by the address alone."""
    found = next((one for one in sessions if one.peer_address == peer), None)
    who = f"{found.peer} ({peer})" if found is not None else peer
    if up:
        return Event("SessionUp", f"the session with {who} is up")
    return Event("SessionDown", f"the session with {who} is down" + (f": {reason}" if reason else ""), is_warning=True)


def exabgp_event(reason: str) -> Event:
    """All sessions are down, and nobody is told of each."""
    return Event("ExaBGPEnded", f"ExaBGP ended ({reason}): all sessions are down until it runs again", is_warning=True)
