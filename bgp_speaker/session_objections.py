"""Why a session of the plan cannot be given to ExaBGP. Pure.

One that cannot leaves the others alone: it is left out of the configuration, learns and announces nothing, and its
row of the status has the reason. A reason never has a secret in it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import get_args

from bgp_speaker.session_roles import Role, role_of
from peering.session import Family, SecretKeyRef, Session, SpeakerPlan

#: Octets; the kernel's TCP_MD5SIG_MAXKEYLEN.
MAX_PASSWORD = 80
MAX_TTL = 255

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def omitted(plan: SpeakerPlan, passwords: Mapping[SecretKeyRef, str]) -> dict[str, str]:
    """Session name -> reason, for those that ExaBGP cannot be given."""
    found: dict[str, str] = {}
    taken: dict[Address, str] = {}
    kept: list[tuple[Session, Role]] = []
    for session in sorted(plan.sessions, key=lambda s: s.name):
        reason = next(_objections(session, plan.loopbacks, passwords, taken), None)
        if reason is not None:
            found[session.name] = reason
            continue
        taken[ipaddress.ip_address(session.peer_address)] = session.name
        kept.append((session, role_of(session, plan.loopbacks)))
    return found | _listener_conflicts(kept)


def spoken(plan: SpeakerPlan, passwords: Mapping[SecretKeyRef, str]) -> tuple[Session, ...]:
    """The sessions that ExaBGP is given."""
    left_out = omitted(plan, passwords)
    return tuple(session for session in plan.sessions if session.name not in left_out)


def _objections(
    session: Session, loopbacks: Sequence[str], passwords: Mapping[SecretKeyRef, str], taken: Mapping[Address, str]
) -> Iterator[str]:
    if not session.peer_address:
        yield f"unnumbered on {session.interface}: ExaBGP needs the address of the peer"
        return
    try:
        peer = ipaddress.ip_address(session.peer_address)
        local = ipaddress.ip_address(session.local_address) if session.local_address else None
    except ValueError as error:
        yield str(error)
        return
    yield from _address_objections(session, peer, local, taken)
    if session.passive and role_of(session, loopbacks).local is None:
        yield "a passive session needs a local address to listen on"
    yield from _number_objections(session)
    if session.password is not None:
        yield from _password_objections(passwords.get(session.password))


def _address_objections(
    session: Session, peer: Address, local: Address | None, taken: Mapping[Address, str]
) -> Iterator[str]:
    if peer in taken:
        yield f"session {taken[peer]} has the same peer address {peer}"
    if peer.is_link_local:
        yield f"peer address {peer} is link-local, which needs an interface"
    if local is not None and local.version != peer.version:
        yield f"local address {local} and peer address {peer} are of different families"


def _number_objections(session: Session) -> Iterator[str]:
    if session.peer_asn == 0:
        yield "any AS but our own (dynamicASNumber: external): ExaBGP needs the AS number of the peer"
    if session.hold_time != 0 and not 3 <= session.hold_time <= 65535:
        yield f"hold time {session.hold_time} is neither 0 nor 3 to 65535"
    for name, number in (("local", session.local_asn), ("peer", session.peer_asn)):
        if not 0 < number < 1 << 32:
            yield f"{name} AS number {number} is out of range"
    if not 0 < session.peer_port < 1 << 16:
        yield f"port {session.peer_port} is out of range"
    for name, hops in (("ttlSecurity", session.ttl_security), ("multihop", session.multihop)):
        if hops is not None and not 0 < hops <= MAX_TTL:
            yield f"{name} {hops} is not 1 to {MAX_TTL}"
    if not session.families or not set(session.families) <= set(get_args(Family)):
        yield "no address family that ExaBGP is given here"


def _password_objections(password: str | None) -> Iterator[str]:
    if not password:
        yield "its password is not known"
    elif len(password.encode()) > MAX_PASSWORD:
        yield f"its password is longer than {MAX_PASSWORD} octets"


def _listener_conflicts(kept: Sequence[tuple[Session, Role]]) -> dict[str, str]:
    """All that listen on one address share a socket, which has one minimum TTL (IP_MINTTL) for everybody."""
    by_address: dict[str, list[Session]] = {}
    for session, role in kept:
        if role.listens and role.local is not None:
            by_address.setdefault(role.local, []).append(session)
    return {
        session.name: f"listens on {address} like sessions of another ttlSecurity, which cannot be told apart there"
        for address, sessions in by_address.items()
        if len({s.ttl_security for s in sessions}) > 1
        for session in sessions
        if session.ttl_security is not None
    }
