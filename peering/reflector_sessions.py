"""RouteReflectors compiled: sessions with their clients, among themselves, and with the fabric.

The nodes that a reflector selects are its clients and dial it. Reflectors without `upstream` peer with each other as
non-clients; one that names upstreams is a client of those, and of nobody else (hierarchical reflection, RFC 4456, 7).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from peering import addressing
from peering.facts import NO_ROUTER_ID, NodeFacts
from peering.memo import Memo
from peering.offers import Offer, Rank
from peering.problems import Problem
from peering.profiles import Attached, attached_filters, bfd_parameters
from peering.resource import Resource
from peering.resources.fabric import SwitchSpec
from peering.resources.fields import Password
from peering.resources.route_reflector import RouteReflectorSpec
from peering.session import FAR_ADD_PATHS, NEXT_HOPS, BfdParameters, ListenRange, ReflectorPlan, SecretKeyRef, Session
from peering.snapshot import Snapshot

#: Routers of one AS may be anywhere in it.
MULTIHOP = 255
#: More dynamic neighbours than one process serves are a mistake or an attack.
_LISTEN_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class ReflectorView:
    """A reflector with what it refers to, defaults filled in. `addresses` are bare, at most one of each family."""

    name: str
    spec: RouteReflectorSpec
    asn: int
    router_id: str
    cluster_id: str
    addresses: tuple[str, ...]
    bfd: BfdParameters | None
    filters: Attached

    def address(self, is_ipv6: bool) -> str | None:
        return next((a for a in self.addresses if (":" in a) is is_ipv6), None)


def reflector_views(snapshot: Snapshot, memo: Memo, problems: list[Problem]) -> dict[str, ReflectorView]:
    """Every RouteReflector, by name."""
    kept = memo.table("reflectors")
    default_asn = snapshot.configuration().default_as_number
    views: dict[str, ReflectorView] = {}
    for name, resource in snapshot.all("RouteReflector").items():
        spec = resource.spec
        assert isinstance(spec, RouteReflectorSpec)
        filters, bfd = attached_filters(snapshot, spec.filters), bfd_parameters(snapshot, spec.bfd)
        views[name] = kept.get(name, (resource, default_asn, bfd, filters), _view_of)
    for view in views.values():
        problems += _view_problems(view, views)
    return views


def _view_of(resource: Resource, default_asn: int, bfd: BfdParameters | None, filters: Attached) -> ReflectorView:
    spec = resource.spec
    assert isinstance(spec, RouteReflectorSpec)
    addresses = tuple(addressing.bare(a) for a in spec.addresses)
    router_id = spec.router_id or next((a for a in addresses if ":" not in a), NO_ROUTER_ID)
    return ReflectorView(
        name=resource.name,
        spec=spec,
        asn=spec.as_number or default_asn,
        router_id=router_id,
        cluster_id=spec.cluster_id or router_id,
        addresses=addresses,
        bfd=bfd,
        filters=filters,
    )


def _view_problems(view: ReflectorView, views: Mapping[str, ReflectorView]) -> Iterator[Problem]:
    ref = f"RouteReflector/{view.name}"
    if view.router_id == NO_ROUTER_ID:
        message = "has neither routerID nor an IPv4 address"
        yield Problem("error", "no-router-id", ref, "spec.routerID", message, "set one of the two")
    yield from _peer_problems(view)
    for index, upstream in enumerate(view.spec.upstream):
        path = f"spec.upstream[{index}]"
        if upstream not in views:
            known = ", ".join(sorted(views))
            message = f"there is no RouteReflector/{upstream}"
            yield Problem("error", "unknown-reflector", ref, path, message, f"declared: {known}")
        elif view.name in _above(upstream, views):
            message = f"RouteReflector/{upstream} is a client of this one: neither is above the other"
            yield Problem("error", "reflector-loop", ref, path, message, "the upper one names no upstream")


def _peer_problems(view: ReflectorView) -> Iterator[Problem]:
    """What has a meaning only towards another AS."""
    for index, peer in enumerate(view.spec.fabric_peers):
        if peer.as_number == view.asn:
            for field, value in (("asOverride", peer.as_override), ("prepend", peer.prepend)):
                if value:
                    path = f"spec.fabricPeers[{index}].{field}"
                    message = f"has no effect: {peer.name} is in AS {view.asn} too, and its paths stay as they are"
                    yield Problem(
                        "warning", "ignored-field", f"RouteReflector/{view.name}", path, message, "leave it out"
                    )


def _above(name: str, views: Mapping[str, ReflectorView]) -> set[str]:
    """Everything upstream of a reflector, itself included."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one in views and one not in found:
            found.add(one)
            waiting += views[one].spec.upstream
    return found


def client_offers(node: NodeFacts, view: ReflectorView) -> Iterator[Offer | Problem]:
    """Both ends of the sessions of a node with a reflector that selects it, one for each family both have."""
    common = False
    for is_ipv6 in (False, True):
        near, far = node.loopback(is_ipv6), view.address(is_ipv6)
        if near is None or far is None:
            continue
        common = True
        if near != far:  # the reflector itself may stand on the node's own address
            session = _client_end(node, view, near, far)
            yield Offer(("node", node.name), Rank.REFLECTOR, session)
            yield Offer(
                ("reflector", view.name), Rank.REFLECTOR, reflector_end(session, node.name, view, near), session
            )
    if not common:
        message = f"has no address of a family of RouteReflector/{view.name} ({', '.join(view.addresses)})"
        hint = "give spec.bgp an address of one of them"
        yield Problem("error", "no-common-family", f"Node/{node.name}", "spec.bgp", message, hint)


def _client_end(node: NodeFacts, view: ReflectorView, near: str, far: str) -> Session:
    spec = view.spec
    family = addressing.family_of(far)
    return Session(
        name=f"{view.name}-{family.removesuffix('-unicast')}",
        peer=f"reflector/{view.name}",
        source=f"RouteReflector/{view.name}",
        type="ibgp" if node.asn == view.asn else "ebgp",
        local_address=near,
        local_asn=node.asn,
        peer_address=far,
        peer_asn=view.asn,
        peer_port=spec.listen_port,
        password=password_of(view.spec.password),
        multihop=MULTIHOP,
        hold_time=spec.hold_time,
        keepalive_time=_keepalive(view),
        graceful_restart_time=spec.graceful_restart_time,
        long_lived_stale_time=spec.long_lived_stale_time,
        bfd=view.bfd,
        add_paths=FAR_ADD_PATHS[spec.add_paths],
        families=(family,),
    )


def reflector_end(near: Session, node_name: str, view: ReflectorView, near_address: str) -> Session:
    """What a reflector says to a client of that session."""
    client = near.type == "ibgp"
    return near.far_end(
        name=f"{node_name}-{addressing.family_of(near_address).removesuffix('-unicast')}",
        peer=f"node/{node_name}",
        local_address=near.peer_address,
        local_asn=view.asn,
        peer_address=near_address,
        passive=True,
        rr_client=client,
        cluster_id=view.cluster_id if client else None,
        max_prefixes=view.spec.max_prefixes,
        add_path_limit=view.spec.add_path_limit,
        filters=view.filters,
    )


def peering_offers(views: Mapping[str, ReflectorView], switches: Mapping[str, SwitchSpec]) -> Iterator[Offer]:
    """The sessions of reflectors with each other and with their fabric peers."""
    names = sorted(views)
    for index, name in enumerate(names):
        for other in names[index + 1 :]:
            yield from _between(views[name], views[other])
    for name in names:
        yield from _fabric_offers(views[name], switches)


def _between(one: ReflectorView, other: ReflectorView) -> Iterator[Offer]:
    below, above = one, other
    if one.name in other.spec.upstream:
        below, above = other, one
    is_client = above.name in below.spec.upstream
    if not is_client and (one.spec.upstream or other.spec.upstream):
        return
    for is_ipv6 in (False, True):
        near, far = below.address(is_ipv6), above.address(is_ipv6)
        if near is not None and far is not None:
            yield from _pair(below, above, near, far, is_client)


def _pair(below: ReflectorView, above: ReflectorView, near: str, far: str, is_client: bool) -> Iterator[Offer]:
    family = addressing.family_of(far)
    suffix = family.removesuffix("-unicast")
    session = Session(
        name=f"{above.name}-{suffix}",
        peer=f"reflector/{above.name}",
        source=f"RouteReflector/{below.name}",
        type="ibgp" if below.asn == above.asn else "ebgp",
        local_address=near,
        local_asn=below.asn,
        peer_address=far,
        peer_asn=above.asn,
        peer_port=above.spec.listen_port,
        password=password_of(above.spec.password),
        multihop=MULTIHOP,
        hold_time=above.spec.hold_time,
        keepalive_time=_keepalive(above),
        graceful_restart_time=above.spec.graceful_restart_time,
        long_lived_stale_time=above.spec.long_lived_stale_time,
        bfd=above.bfd,
        add_paths=FAR_ADD_PATHS[above.spec.add_paths],
        add_path_limit=below.spec.add_path_limit,
        families=(family,),
    )
    yield Offer(("reflector", below.name), Rank.REFLECTOR, session)
    far_end = session.far_end(
        name=f"{below.name}-{suffix}",
        peer=f"reflector/{below.name}",
        local_address=far,
        local_asn=above.asn,
        peer_address=near,
        peer_port=below.spec.listen_port,
        passive=True,
        rr_client=is_client and session.type == "ibgp",
        add_path_limit=above.spec.add_path_limit,
        cluster_id=above.cluster_id if is_client and session.type == "ibgp" else None,
    )
    yield Offer(("reflector", above.name), Rank.REFLECTOR, far_end)


def _fabric_offers(view: ReflectorView, switches: Mapping[str, SwitchSpec]) -> Iterator[Offer]:
    """A fabric peer whose address is one of a declared Switch gets its end there too."""
    owners = {addressing.bare(a): name for name, s in switches.items() for a in (*s.addresses, *s.link_addresses)}
    for peer in view.spec.fabric_peers:
        is_ipv6 = ":" in peer.address
        near, switch = view.address(is_ipv6), owners.get(peer.address)
        family = addressing.family_of(peer.address)
        suffix = family.removesuffix("-unicast")
        session = Session(
            name=f"{peer.name}-{suffix}",
            peer=f"switch/{switch}" if switch else "external",
            source=f"RouteReflector/{view.name}",
            type="ibgp" if peer.as_number == view.asn else "ebgp",
            local_address=near,
            local_asn=view.asn,
            peer_address=peer.address,
            peer_asn=peer.as_number,
            multihop=None if peer.ttl_security else MULTIHOP,
            password=password_of(peer.password),
            ttl_security=peer.ttl_security,
            hold_time=peer.hold_time,
            keepalive_time=peer.hold_time // 3,
            next_hop=NEXT_HOPS[peer.next_hop_mode],
            allow_as_in=peer.num_allowed_local_as_numbers or None,
            as_override=peer.as_override,
            prepend=peer.prepend,
            max_prefixes=peer.max_prefixes,
            families=(family,),
            import_filters=view.filters[0],
            export_filters=view.filters[1],
        )
        yield Offer(("reflector", view.name), Rank.REFLECTOR, session)
        if switch is not None and near is not None:
            far_end = session.far_end(
                name=f"{view.name}-{suffix}",
                peer=f"reflector/{view.name}",
                local_address=peer.address,
                local_asn=switches[switch].as_number,
                peer_address=near,
                peer_port=view.spec.listen_port,
            )
            yield Offer(("switch", switch), Rank.REFLECTOR, replace(far_end, as_override=False))


def reflector_plan(view: ReflectorView, sessions: tuple[Session, ...]) -> ReflectorPlan:
    """What the reflector has to do; it takes dynamic clients from its `acceptPrefixes`."""
    ranges = tuple(_listen_range(view, cidr) for cidr in view.spec.accept_prefixes)
    return ReflectorPlan(
        asn=view.asn,
        cluster_id=view.cluster_id,
        router_id=view.router_id,
        addresses=view.addresses,
        listen_port=view.spec.listen_port,
        sessions=sessions,
        listen_ranges=ranges,
        ownership=view.spec.ownership,
        max_prefixes_restart=view.spec.max_prefixes_restart,
        node=view.spec.node,
    )


def _listen_range(view: ReflectorView, cidr: str) -> ListenRange:
    """Clients of the reflector's own AS, on the terms of those that it selects."""
    spec = view.spec
    return ListenRange(
        cidr=cidr,
        peer_asn=view.asn,
        limit=_LISTEN_LIMIT,
        password=password_of(view.spec.password),
        multihop=MULTIHOP,
        hold_time=spec.hold_time,
        keepalive_time=_keepalive(view),
        graceful_restart_time=spec.graceful_restart_time,
        long_lived_stale_time=spec.long_lived_stale_time,
        rr_client=True,
        cluster_id=view.cluster_id,
        add_paths=spec.add_paths,
        add_path_limit=spec.add_path_limit,
        import_filters=view.filters[0],
        export_filters=view.filters[1],
        max_prefixes=spec.max_prefixes,
    )


def password_of(password: Password | None) -> SecretKeyRef | None:
    """How sessions name it."""
    reference = password.secret_key_ref if password else None
    return SecretKeyRef(reference.name, reference.key) if reference else None


def _keepalive(view: ReflectorView) -> int:
    return view.spec.hold_time // 3 if view.spec.keepalive_time is None else view.spec.keepalive_time
