"""What each neighbour has to be told: the node's confirmed blocks, what it borrows, and its loopbacks. Pure.

Of the families that its session carries, and what the session's BGPFilters leave of it. First the communities of
prefixAdvertisements are added, then the filters decide. Their verdict ends the evaluation, as in Calico: a rule that
accepts lets out a block of a pool with disableBGPExport, too. Where no rule matches, such a block is not announced,
and all others are. A session that names a filter which does not exist announces nothing.

The next hop is the session's own address (`self`): with a link per switch that is the link's address, so a switch needs
no further route to it. For routes of the other family it is the other family's address on the same link, else the
node's loopback.

Of a pool in `aggregates` a switch or router is told the whole, while the node has a block in it, and not these blocks.
Other nodes and reflectors are told the blocks as ever: what the fabric hands to a node that does not have the address
must find its way from there. An address that the node has borrowed from another's block is told to everybody.

A loopback is not announced to another node or a reflector as reachable over itself: whoever is to use it as a next hop
would find a route to it that leads nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from bgp_speaker.exabgp_commands import SELF, WELL_KNOWN_COMMUNITIES, Announcement
from bgp_speaker.import_decision import missing_filters
from bgp_speaker.node_policy import NodePolicy
from bgp_speaker.session_roles import role_of
from peering.addressing import aggregates_of
from peering.prefixes import contains, host_prefix, pack_prefix
from peering.route_filter import Community, Route, RouteFilter, compile_filters, named_filters
from peering.session import Family, Session, SpeakerPlan

#: What is announced to each neighbour address, by prefix text.
Announced = dict[str, dict[str, Announcement]]

_NOTHING = NodePolicy()
_FABRIC_OF_OUR_OWN = ("node/", "reflector/")


def desired_announcements(
    plan: SpeakerPlan,
    blocks: Iterable[str],
    policy: NodePolicy = _NOTHING,
    borrowed: Iterable[str] = (),
    services: Iterable[str] = (),
    *,
    shut_down: bool = False,
) -> Announced:
    """The whole set for every session that has a peer's address; empty sets are kept, so that they are withdrawn to.

    `borrowed` are prefixes of single addresses, `services` what is announced for services.
    With `shut_down` all of it is what RFC 8326 calls routes to be shut down: the last resort of whoever has others.
    """
    blocks = tuple(blocks)
    kept = [pack_prefix(cidr) for cidr in plan.unexported]
    own = {one: not any(contains(cidr, pack_prefix(one)) for cidr in kept) for one in (*blocks, *borrowed)}
    own |= {host_prefix(loopback): True for loopback in plan.loopbacks}
    own |= dict.fromkeys(services, True)
    outside = _aggregated(own, plan, blocks)
    told = ((s, own if s.peer.startswith(_FABRIC_OF_OUR_OWN) else outside) for s in plan.sessions if s.peer_address)
    found = {s.peer_address: _for_session(s, plan, prefixes, policy) for s, prefixes in told}
    return _shut_down(found, plan.sessions) if shut_down else found


def _shut_down(everything: Announced, sessions: Iterable[Session]) -> Announced:
    """After the filters, which may neither take the community away nor give another preference (RFC 8326, 4)."""
    internal = {s.peer_address for s in sessions if s.type == "ibgp"}
    return {peer: {p: _last(one, peer in internal) for p, one in told.items()} for peer, told in everything.items()}


def _last(one: Announcement, is_internal: bool) -> Announcement:
    """Within an AS the preference says it; other ASes make it of the community."""
    communities = (*one.communities, WELL_KNOWN_COMMUNITIES["graceful-shutdown"])
    return replace(one, communities=communities, local_preference=0 if is_internal else one.local_preference)


def _aggregated(own: dict[str, bool], plan: SpeakerPlan, blocks: Iterable[str]) -> dict[str, bool]:
    """With the pools that are announced whole in place of the blocks in them."""
    whole = aggregates_of(blocks, plan.aggregates)
    hidden = {block for block in blocks if aggregates_of([block], whole)}
    return {
        **{prefix: exported for prefix, exported in own.items() if prefix not in hidden},
        **dict.fromkeys(whole, True),
    }


def next_hop(session: Session, family: Family, loopbacks: Sequence[str], policy: NodePolicy = _NOTHING) -> str | None:
    """What is announced as next hop of routes of the family over the session; None when the node has no address."""
    if _family(session.peer_address) == family:
        return SELF
    beside = [a for link in policy.links if session.local_address in link for a in link]
    return next((a for a in (*beside, *loopbacks) if _family(a) == family), None)


def _for_session(
    session: Session, plan: SpeakerPlan, own: dict[str, bool], policy: NodePolicy
) -> dict[str, Announcement]:
    found: dict[str, Announcement] = {}
    if missing_filters(session.export_filters, policy.filters):
        return found
    named = named_filters(session.export_filters, policy.filters)
    for family in session.families:
        hop = next_hop(session, family, plan.loopbacks, policy)
        if hop is None:
            continue
        route_filter = compile_filters(named, "export", family, session.type)
        nowhere = _leading_nowhere(session, plan.loopbacks, hop)
        for prefix, exported in own.items():
            if _family(prefix) == family and prefix != nowhere:
                announcement = _announcement(session, prefix, hop, exported, route_filter, policy)
                if announcement is not None:
                    found[prefix] = announcement
    return found


def _announcement(
    session: Session, prefix: str, hop: str, exported: bool, route_filter: RouteFilter, policy: NodePolicy
) -> Announcement | None:
    """None when it is not announced; `exported` is what holds where no filter decides."""
    packed = pack_prefix(prefix)
    route = Route(packed, communities=policy.communities_of(packed), from_peer=False)
    verdict = route_filter.decide(route) if route_filter else None
    if not (exported if verdict is None else verdict.accepted):
        return None
    route = route if verdict is None else verdict.route
    return Announcement(
        prefix,
        hop,
        communities=_texts(route.communities, 2),
        large_communities=_texts(route.communities, 3),
        local_preference=route.local_preference,
        med=route.med,
        as_path=_wire_path(session, route.as_path),
    )


def _wire_path(session: Session, prepended: tuple[int, ...]) -> tuple[int, ...]:
    """ExaBGP leaves out the own AS where a path is given; a neighbour in another AS expects it first."""
    if not prepended or session.type == "ibgp":
        return prepended
    return (session.local_asn, *prepended)


def _leading_nowhere(session: Session, loopbacks: Sequence[str], hop: str) -> str:
    """The prefix that would be announced as reachable over itself to peers that hand it on as it is."""
    address = role_of(session, loopbacks).local if hop == SELF else hop
    return host_prefix(address) if address and session.peer.startswith(_FABRIC_OF_OUR_OWN) else ""


def _texts(communities: Iterable[Community], numbers: int) -> tuple[str, ...]:
    return tuple(":".join(map(str, community)) for community in communities if len(community) == numbers)


def _family(text: str) -> Family:
    return "ipv6-unicast" if ":" in text else "ipv4-unicast"
