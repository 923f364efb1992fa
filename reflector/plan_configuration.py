"""The configuration of a reflector from its part of the plan. Pure.

Everything is taken over as the plan has it; what a reflector cannot do of that is told by plan_objections.py. A
neighbour is known by its address, so of two sessions with one address the first by name is made.

Whoever passes on routes of others (reflectors, switches, routers outside, and nodes that reflect, Calico's way) has no
owner: what it announces says nothing of who has the block. Only nodes are held to their own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from peering.memo import Memo
from peering.prefixes import Address, Prefix, format_prefix, pack_address, pack_prefix
from peering.resources.bgp_filter import BGPFilterSpec
from peering.route_filter import Named, named_filters
from peering.session import ListenRange, ReflectorPlan, SecretKeyRef, Session
from reflector.configuration import (
    Owners,
    Peer,
    PeerPolicy,
    PeerRange,
    ReflectorConfiguration,
    Transport,
)
from reflector.plan_objections import left_out
from reflector.session.settings import ADD_PATH, SessionSettings

_NODE = "node/"


def configuration_of(
    name: str,
    plan: ReflectorPlan,
    filters: Mapping[str, BGPFilterSpec],
    owners: Owners,
    *,
    relays: Collection[str] = (),
    memo: Memo | None = None,
) -> ReflectorConfiguration:
    """What RouteReflector `name` has to be. Raises ValueError for a plan without a router ID.

    `filters` are all that there are; one that a session names and that is missing lets nothing through. `relays` are
    names of nodes that pass on routes of others. With a `memo` what did not change is the same object as before.
    """
    memo = memo or Memo()
    kept = memo.table("peers")
    omitted = left_out(plan.sessions)
    peers: dict[Address, Peer] = {}
    for session in plan.sessions:
        if session.name not in omitted:
            restart = plan.max_prefixes_restart or None
            inputs = (session, plan.router_id, restart, _owner(session, relays), *_named(session, filters))
            peer = kept.get(session.name, inputs, _peer)
            peers[peer.address] = peer
    memo.turn()
    return ReflectorConfiguration(
        name=name,
        asn=plan.asn,
        router_id=pack_address(plan.router_id),
        cluster_id=pack_address(plan.cluster_id),
        addresses=tuple(pack_address(address) for address in plan.addresses),
        port=plan.listen_port,
        peers=peers,
        ranges=tuple(_range(one, plan, *_named(one, filters)) for one in plan.listen_ranges),
        ownership=plan.ownership,
        owners=owners,
    )


def passwords_in(configuration: ReflectorConfiguration) -> set[SecretKeyRef]:
    """The passwords that the configuration refers to."""
    transports = [peer.transport for peer in configuration.peers.values()]
    transports += [one.transport for one in configuration.ranges]
    return {transport.password for transport in transports if transport.password is not None}


def _peer(
    session: Session, router_id: str, restart_after: int | None, owner: str, imports: Named, exports: Named
) -> Peer:
    return Peer(
        name=session.name,
        address=pack_address(session.peer_address),
        session=SessionSettings.from_plan(session, router_id),
        policy=PeerPolicy(
            client=session.rr_client,
            next_hop=session.next_hop,
            allow_as_in=session.allow_as_in or 0,
            as_override=session.as_override,
            prepend=session.prepend,
            import_filters=imports,
            export_filters=exports,
            max_prefixes=session.max_prefixes,
            restart_after=restart_after,
            add_path_limit=session.add_path_limit,
        ),
        transport=Transport(
            local_address=pack_address(session.local_address) if session.local_address else None,
            peer_port=session.peer_port,
            interface=session.interface,
            ttl_security=session.ttl_security,
            multihop=session.multihop,
            password=session.password,
        ),
        owner=owner,
    )


def _range(one: ListenRange, plan: ReflectorPlan, imports: Named, exports: Named) -> PeerRange:
    prefix: Prefix = pack_prefix(one.cidr)
    settings = SessionSettings.for_range(
        one,
        format_prefix(prefix),
        plan.asn,
        plan.router_id,
        add_path=ADD_PATH[one.add_paths],
        hold_time=one.hold_time,
        keepalive_time=one.keepalive_time,
        graceful_restart_time=one.graceful_restart_time,
        long_lived_stale_time=one.long_lived_stale_time,
    )
    policy = PeerPolicy(
        client=one.rr_client,
        import_filters=imports,
        export_filters=exports,
        max_prefixes=one.max_prefixes,
        restart_after=plan.max_prefixes_restart or None,
        add_path_limit=one.add_path_limit,
    )
    transport = Transport(multihop=one.multihop, password=one.password)
    return PeerRange(prefix=prefix, session=settings, policy=policy, transport=transport, limit=one.limit)


def _owner(session: Session, relays: Collection[str]) -> str:
    return session.peer if session.peer.startswith(_NODE) and session.peer[len(_NODE) :] not in relays else ""


def _named(one: Session | ListenRange, filters: Mapping[str, BGPFilterSpec]) -> tuple[Named, Named]:
    return named_filters(one.import_filters, filters), named_filters(one.export_filters, filters)
