"""A listen range as the session that each of its neighbours would have: one way to look at options for both."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

from peering.session import ListenRange, Session, SwitchPlan


def session_of(plan: SwitchPlan, listen: ListenRange) -> Session:
    """`peer_address` is the range's prefix, `peer_asn` 0 where several ASs may dial."""
    return Session(
        name=f"range {listen.cidr}",
        peer="node/any",
        source="listenRanges",
        type="ibgp" if listen.peer_asn == plan.asn else "ebgp",
        local_address=None,
        local_asn=plan.asn,
        peer_address=listen.cidr,
        peer_asn=listen.peer_asn,
        password=listen.password,
        ttl_security=listen.ttl_security,
        multihop=listen.multihop,
        hold_time=listen.hold_time,
        keepalive_time=listen.keepalive_time,
        graceful_restart_time=listen.graceful_restart_time,
        long_lived_stale_time=listen.long_lived_stale_time,
        bfd=listen.bfd,
        rr_client=listen.rr_client,
        cluster_id=listen.cluster_id,
        next_hop=listen.next_hop,
        allow_as_in=listen.allow_as_in,
        as_override=listen.as_override,
        add_paths=listen.add_paths,
        families=("ipv6-unicast",) if ":" in listen.cidr else ("ipv4-unicast",),
        import_filters=listen.import_filters,
        export_filters=listen.export_filters,
        max_prefixes=listen.max_prefixes,
    )


def asking(plan: SwitchPlan) -> tuple[Session, ...]:
    """Whatever asks for options: the sessions, then the ranges."""
    return (*plan.sessions, *(session_of(plan, listen) for listen in plan.listen_ranges))


def named(plan: SwitchPlan) -> SwitchPlan:
    """The plan with those sessions only that need lines of their own: a node that dials in from a range needs none."""
    if not plan.listen_ranges:
        return plan
    kept = (s for s in plan.sessions if not any(_admits(listen, s) for listen in plan.listen_ranges))
    return replace(plan, sessions=tuple(kept))


def _admits(listen: ListenRange, session: Session) -> bool:
    if not (session.source.startswith("Rack/") and session.peer.startswith("node/")):
        return False
    try:
        return ip_address(session.peer_address) in ip_network(listen.cidr)
    except ValueError:
        return False  # unnumbered, or refused by values.check
