"""A `SwitchPlan` turned into what templates print; templates decide nothing.

A *group* is who a neighbour is to the switch: nodes, reflectors, fabric, or whoever dials in from a listen
range, iBGP apart from eBGP. It carries policy, which follows from the plan alone. Whatever a session says for
itself (timers, password, limits) stands at its own neighbour, also where all neighbours say the same: were it
lifted to the group when all agree, one new node that differs would move it, and reset the others' sessions.

Order is by group, family and address, never by how the plan was listed: the same plan gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Literal

from fabric_templates.devices import Device
from fabric_templates.endpoints import canonical, neighbor_key, neighbor_order, over_ipv6
from fabric_templates.naming import fit
from fabric_templates.policy import (
    Names,
    PathList,
    PathRule,
    Side,
    Version,
    community_lists,
    path_list,
    prefix_lists,
    route_maps,
)
from fabric_templates.shapes import (
    CONNECT_SECONDS,
    AddressFamily,
    BfdProfile,
    Dynamic,
    FamilyGroup,
    FamilyNeighbor,
    Group,
    Listen,
    MaxPrefixes,
    Neighbor,
    NextHop,
    PeerType,
    StaticRoute,
    Timers,
    View,
)
from peering.session import Family, ListenRange, SecretKeyRef, Session, SwitchPlan

MAX_PATHS = 16

_FAMILIES: tuple[tuple[Family, Version], ...] = (("ipv4-unicast", 4), ("ipv6-unicast", 6))
_VERSION: dict[Family, Version] = dict(_FAMILIES)


@dataclass(frozen=True, slots=True)
class _Role:
    """What a peer is to the switch. `path` is what may stand in the AS path of its eBGP routes."""

    name: str
    side: Side
    path: Literal["only", "begins"] = "only"


_NODES = _Role("NODES", "rack")
_LISTEN = _Role("LISTEN", "rack")
_REFLECTORS = _Role("REFLECTORS", "rack", "begins")
_PAIR = _Role("PAIR", "pair")
_FABRIC = _Role("FABRIC", "fabric")
ROLES = {"node": _NODES, "reflector": _REFLECTORS, "switch": _PAIR, "external": _FABRIC}
"""By the kind of `Session.peer`."""


def view(name: str, plan: SwitchPlan, device: Device, passwords: Mapping[SecretKeyRef, str] | None) -> View:
    """`plan` for the templates of `device`. Every value has passed `values.check`, every wish `features.check`.

    Without `passwords` each one is printed as a placeholder that names its secret.
    """
    names = Names(device.limits.name)
    groups = _groups(plan, names)
    maps = tuple(m for g in groups for v in g.versions for m in route_maps(plan, names, g.key, g.side, v))
    sessions = sorted(plan.sessions, key=_session_order)
    families = (_family(plan, names, groups, sessions, name, version) for name, version in _FAMILIES)
    return View(
        name=name,
        rack=plan.rack,
        title=device.title,
        asn=plan.asn,
        router_id=plan.router_id,
        cluster_id=next((s.cluster_id for s in sessions if s.cluster_id), None),
        long_lived_stale_time=max((s.long_lived_stale_time or 0 for s in sessions), default=0) or None,
        prefix_lists=prefix_lists(plan, names, maps),
        path_lists=_path_lists(names, groups),
        community_lists=community_lists(names, maps),
        route_maps=maps,
        groups=groups,
        neighbors=tuple(_neighbor(plan, names, device, s, passwords) for s in sessions),
        listen_limit=sum(r.limit for r in plan.listen_ranges),
        listens=_listens(plan, names),
        families=tuple(family for family in families if family is not None),
        bfd_profiles=_bfd_profiles(names, device, plan.sessions),
        static_routes=_static_routes(sessions),
    )


def placeholder(reference: SecretKeyRef) -> str:
    """What stands in place of a password that is not to be shown."""
    return f"<secret:{reference.name}/{reference.key}>"


def _role(session: Session) -> _Role:
    return ROLES[session.peer.split("/")[0]]


def _group_key(session: Session) -> str:
    suffix = "-IBGP" if session.type == "ibgp" else ""
    return f"{_role(session).name}{suffix}"


def _listen_key(listen: ListenRange) -> str:
    """By AS and family: a dynamic neighbour takes AS and families from its group."""
    return f"LISTEN-{listen.peer_asn}-V{ip_network(listen.cidr).version}"


def _session_order(session: Session) -> tuple[str, tuple[int, bytes, str]]:
    return _group_key(session), neighbor_order(session)


def _groups(plan: SwitchPlan, names: Names) -> tuple[Group, ...]:
    members: dict[str, list[Session]] = {}
    for session in plan.sessions:
        members.setdefault(_group_key(session), []).append(session)
    groups = [_named_group(names, key, sessions) for key, sessions in members.items()]
    groups += {_listen_key(r): _listen_group(plan, names, r) for r in plan.listen_ranges}.values()
    return tuple(sorted(groups, key=lambda g: g.name))


def _named_group(names: Names, key: str, sessions: list[Session]) -> Group:
    role, kind = _role(sessions[0]), sessions[0].type
    return Group(
        key=key,
        name=names.of(key),
        side=role.side,
        type=kind,
        versions=_versions(sessions),
        path_rules=_path_rules(role, kind, (s.peer_asn for s in sessions)),
        first_as_checked=role.side == "rack" and kind == "ebgp",
    )


def _listen_group(plan: SwitchPlan, names: Names, listen: ListenRange) -> Group:
    kind: PeerType = "ibgp" if listen.peer_asn == plan.asn else "ebgp"
    key = _listen_key(listen)
    return Group(
        key=key,
        name=names.of(key),
        side="rack",
        type=kind,
        versions=(_version_of(listen.cidr),),
        path_rules=_path_rules(_LISTEN, kind, [listen.peer_asn]),
        first_as_checked=kind == "ebgp",
        dynamic=Dynamic(remote_asn=listen.peer_asn),
    )


def _versions(sessions: Iterable[Session]) -> tuple[Version, ...]:
    return tuple(sorted({_VERSION[family] for s in sessions for family in s.families}))


def _version_of(cidr: str) -> Version:
    return 6 if ip_network(cidr).version == 6 else 4


def _path_rules(role: _Role, kind: str, asns: Iterable[int]) -> tuple[PathRule, ...]:
    if kind == "ibgp":
        return (PathRule("empty"),)
    return tuple(PathRule(role.path, asn) for asn in sorted(set(asns)))


def _path_lists(names: Names, groups: tuple[Group, ...]) -> tuple[PathList, ...]:
    """One list per group of the rack, and where there is a fabric one of all that the rack may originate."""
    rack = [g for g in groups if g.side == "rack"]
    lists = [path_list(g.name, g.path_rules) for g in rack]
    if len(rack) < len(groups):
        own = [PathRule("empty"), *(rule for g in rack for rule in g.path_rules)]
        lists.append(path_list(names.of("RACK"), own))
    return tuple(sorted(lists, key=lambda one: one.name))


def _neighbor(
    plan: SwitchPlan, names: Names, device: Device, session: Session, passwords: Mapping[SecretKeyRef, str] | None
) -> Neighbor:
    ebgp = session.type == "ebgp"
    return Neighbor(
        key=neighbor_key(session),
        unnumbered=session.interface is not None,
        group=names.of(_group_key(session)),
        remote_asn=session.peer_asn,
        description=fit(_description(session), device.limits.description),
        update_source=canonical(session.local_address) if session.local_address else None,
        local_asn=session.local_asn if session.local_asn != plan.asn else None,
        passive=session.passive,
        port=session.peer_port if session.peer_port != 179 else None,
        timers=_timers(session),
        password=_password(session, device, passwords),
        ttl_security=session.ttl_security,
        multihop=session.multihop if ebgp and session.multihop != 1 else None,
        bfd_profile=names.of(session.bfd.profile) if session.bfd else None,
        graceful_restart=_graceful_restart(session),
        extended_next_hop=over_ipv6(session) and "ipv4-unicast" in session.families,
    )


def _timers(session: Session) -> Timers:
    connect = session.connect_retry or CONNECT_SECONDS
    return Timers(keepalive=session.keepalive_time, hold=session.hold_time, connect=connect)


def _description(session: Session) -> str:
    """The peer, or for one that is no object of ours the session's name, which tells spine from spine."""
    return session.name if session.peer == "external" else session.peer


def _password(session: Session, device: Device, passwords: Mapping[SecretKeyRef, str] | None) -> str | None:
    if session.password is None:
        return None
    if passwords is None:
        return fit(placeholder(session.password), device.limits.password)
    return passwords[session.password]


def _graceful_restart(session: Session) -> Literal["helper", "disabled"] | None:
    """Towards the fabric the switch's own default stands, unless the plan turns graceful restart off."""
    if session.graceful_restart_time == 0:
        return "disabled"
    return "helper" if _role(session).side == "rack" else None


def _listens(plan: SwitchPlan, names: Names) -> tuple[Listen, ...]:
    ranges = sorted(plan.listen_ranges, key=lambda r: _network_order(ip_network(r.cidr)))
    return tuple(Listen(cidr=str(ip_network(r.cidr)), group=names.of(_listen_key(r))) for r in ranges)


def _network_order(network: IPv4Network | IPv6Network) -> tuple[int, bytes, int]:
    return network.version, network.network_address.packed, network.prefixlen


def _family(
    plan: SwitchPlan,
    names: Names,
    groups: tuple[Group, ...],
    sessions: list[Session],
    name: Family,
    version: Version,
) -> AddressFamily | None:
    networks, aggregates = _of_version(plan.networks, version), _of_version(plan.aggregates, version)
    members = tuple(g for g in groups if version in g.versions)
    if not networks and not members:
        return None
    return AddressFamily(
        version=version,
        networks=networks,
        aggregates=aggregates,
        max_paths=MAX_PATHS,
        groups=tuple(_family_group(names, g, version) for g in members),
        neighbors=tuple(_family_neighbor(s) for s in sessions if name in s.families),
    )


def _of_version(prefixes: Iterable[str], version: Version) -> tuple[str, ...]:
    """Those of the family, each once, by address."""
    networks = {n for n in map(ip_network, prefixes) if n.version == version}
    return tuple(str(n) for n in sorted(networks, key=_network_order))


def _family_group(names: Names, group: Group, version: Version) -> FamilyGroup:
    return FamilyGroup(
        name=group.name,
        dynamic=group.dynamic is not None,
        import_map=names.route_map(group.key, "IN", version),
        export_map=names.route_map(group.key, "OUT", version),
    )


def _family_neighbor(session: Session) -> FamilyNeighbor:
    return FamilyNeighbor(
        key=neighbor_key(session),
        rr_client=session.rr_client,
        next_hop=_next_hop(session),
        as_override=session.as_override,
        allow_as_in=session.allow_as_in,
        add_paths_send=session.add_paths in ("send", "both"),
        max_prefixes=MaxPrefixes(count=session.max_prefixes) if session.max_prefixes else None,
    )


_NEXT_HOPS: dict[tuple[str, str], NextHop | None] = {
    # Routes from outside the AS get our address, reflected ones keep theirs: neighbours of a rack share links.
    ("ibgp", "auto"): "self",
    ("ibgp", "self"): "self-of-reflected-too",
    ("ibgp", "keep"): None,
    # eBGP sets the next hop to itself, but between neighbours that share a subnet it may keep theirs, so that they
    # send to each other directly (RFC 4271, 5.1.3).
    ("ebgp", "auto"): None,
    ("ebgp", "self"): "self",
    ("ebgp", "keep"): "unchanged",
}


def _next_hop(session: Session) -> NextHop | None:
    return _NEXT_HOPS[session.type, session.next_hop]


def _bfd_profiles(names: Names, device: Device, sessions: Iterable[Session]) -> tuple[BfdProfile, ...]:
    """Each profile that a session names, by name; the platform's own values are left out."""
    used = {s.bfd.profile: s.bfd for s in sessions if s.bfd}
    own = device.bfd_defaults
    return tuple(
        BfdProfile(
            name=names.of(profile),
            receive_interval=_unless(bfd.receive_interval, own.receive_interval),
            transmit_interval=_unless(bfd.transmit_interval, own.transmit_interval),
            detect_multiplier=_unless(bfd.detect_multiplier, own.detect_multiplier),
            minimum_ttl=_unless(bfd.minimum_ttl, own.minimum_ttl),
            passive_mode=bfd.passive_mode,
        )
        for profile, bfd in sorted(used.items())
    )


def _unless(value: int, default: int | None) -> int | None:
    return None if value == default else value


def _static_routes(sessions: Iterable[Session]) -> tuple[StaticRoute, ...]:
    """To the neighbours that stand behind another address, in the order of their sessions."""
    found = []
    for session in sessions:
        if session.reachable_by:
            network = ip_network(session.peer_address)
            version: Version = 6 if network.version == 6 else 4
            found.append(StaticRoute(version=version, prefix=str(network), via=canonical(session.reachable_by)))
    return tuple(found)
