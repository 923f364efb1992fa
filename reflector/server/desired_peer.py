"""What a configuration says of one neighbour, and what of a change of it needs a new session. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from peering.prefixes import Address, Prefix, contains, format_address
from peering.session import SecretKeyRef
from reflector.configuration import Peer, PeerRange, ReflectorConfiguration, Transport
from reflector.engine.peer import PeerState

Passwords = Mapping[SecretKeyRef, bytes]


def wanted_peer(configuration: ReflectorConfiguration, address: Address) -> Peer | None:
    """The neighbour of the plan with that address, else one of the longest range around it; None: nobody."""
    named = configuration.peers.get(address)
    if named is not None:
        return named
    host = host_prefix(address)
    ranges = [one for one in configuration.ranges if contains(one.prefix, host)]
    return from_range(max(ranges, key=lambda one: one.prefix[0]), address) if ranges else None


def from_range(found: PeerRange, address: Address) -> Peer:
    """The neighbour that a range makes of an address."""
    name = format_address(address)
    return Peer(
        name=name,
        address=address,
        session=replace(found.session, name=name, passive=True),
        policy=found.policy,
        transport=found.transport,
        owner=name,
    )


def host_prefix(address: Address) -> Prefix:
    return bytes((8 * len(address),)) + address


def password_of(peer: Peer | PeerRange, passwords: Passwords) -> bytes | None:
    """None when it has none, and when that is not known."""
    reference = peer.transport.password
    return passwords.get(reference) if reference is not None else None


def lacks_password(peer: Peer, passwords: Passwords) -> bool:
    """Whether it has one that is not known. Nobody is let in or dialed unsigned for that."""
    return peer.transport.password is not None and not password_of(peer, passwords)


def begins_anew(old: Peer, new: Peer, state: PeerState | None) -> bool:
    """Whether a session cannot go on, whatever its own settings.

    The connection would be another one; or an iBGP peer becomes a client or is none any more (RFC 4456), so that what
    it was told does not hold.
    """
    external = state is not None and state.source.kind == "ebgp"
    another_role = old.policy.client != new.policy.client and not external
    return another_role or _place(old.transport) != _place(new.transport)


def _place(transport: Transport) -> Transport:
    """Where a connection begins and ends; what it is protected with changes under it."""
    return replace(transport, password=None, ttl_security=None, multihop=None)


def limit_of(peer: Peer) -> tuple[int | None, float | None]:
    """How much it may announce, and how long it is kept out for more."""
    return peer.policy.max_prefixes, peer.policy.restart_after
