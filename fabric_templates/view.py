"""A `SwitchPlan` turned into what templates print; templates decide nothing.

A *group* is who a neighbour is to the switch: nodes, reflectors, fabric, the other switch of the rack, or whoever
dials in from a listen range, iBGP apart from eBGP. It carries policy, which follows from the plan alone. Whatever a
session says for itself (timers, password, limits) stands at its own neighbour, also where all neighbours say the same:
were it lifted to the group when all agree, one new node that differs would move it, and reset the others' sessions.

Order is by group, family and address, never by how the plan was listed: the same plan gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network

from fabric_templates.devices import Device
from fabric_templates.endpoints import canonical, neighbor_order
from fabric_templates.neighbors import FAMILIES, Printing, bfd_profile, versions
from fabric_templates.policy import (
    Names,
    PathList,
    PathRule,
    Version,
    community_lists,
    path_list,
    prefix_lists,
    route_maps,
)
from fabric_templates.ranges import asking
from fabric_templates.roles import LISTEN, asns, group_key, listen_key, path_rules, role
from fabric_templates.shapes import (
    AddressFamily,
    BfdProfile,
    FamilyGroup,
    FamilyNeighbor,
    Group,
    Listen,
    Neighbor,
    StaticRoute,
    View,
)
from peering.session import SecretKeyRef, Session, SwitchPlan

MAX_PATHS = 16


def view(name: str, plan: SwitchPlan, device: Device, passwords: Mapping[SecretKeyRef, str] | None) -> View:
    """`plan` for the templates of `device`. Every value has passed `values.check`, every wish `features.check`.

    Without `passwords` each one is printed as a placeholder that names its secret.
    """
    names = Names(device.limits.name)
    printing = Printing(plan, names, device, passwords)
    sessions = sorted(plan.sessions, key=_session_order)
    neighbors = tuple(printing.neighbor(s) for s in sessions)
    ranges = sorted(plan.listen_ranges, key=lambda r: _network_order(ip_network(r.cidr)))
    listens = tuple(printing.listen(r) for r in ranges)
    groups = _groups(plan, names, listens)
    maps = tuple(m for g in groups for v in g.versions for m in route_maps(plan, names, g.key, g.side, v))
    families = (_family(plan, groups, neighbors, version) for _, version in FAMILIES)
    asked = asking(plan)
    return View(
        name=name,
        rack=plan.rack,
        title=device.title,
        asn=plan.asn,
        router_id=plan.router_id,
        cluster_id=next((s.cluster_id for s in asked if s.cluster_id), None),
        long_lived_stale_time=max((s.long_lived_stale_time or 0 for s in asked), default=0) or None,
        prefix_lists=prefix_lists(plan, names, maps),
        path_lists=_path_lists(names, groups),
        community_lists=community_lists(plan, names, maps),
        route_maps=maps,
        groups=groups,
        neighbors=neighbors,
        listen_limit=sum(r.limit for r in plan.listen_ranges),
        listens=listens,
        families=tuple(family for family in families if family is not None),
        bfd_profiles=_bfd_profiles(names, device, asked),
        static_routes=_static_routes(sessions),
        traits=device.traits,
        settings=_settings(plan, device),
    )


def _settings(plan: SwitchPlan, device: Device) -> dict[str, str]:
    """What the platform asks the Switch for, with its defaults; one that must be said was (values.check)."""
    defaults = {name: row.default for name, row in device.settings.items() if row.default is not None}
    return defaults | {setting.name: setting.value for setting in plan.settings}


def _session_order(session: Session) -> tuple[str, tuple[int, bytes, str]]:
    return group_key(session), neighbor_order(session)


def _groups(plan: SwitchPlan, names: Names, listens: tuple[Listen, ...]) -> tuple[Group, ...]:
    members: dict[str, list[Session]] = {}
    for session in plan.sessions:
        members.setdefault(group_key(session), []).append(session)
    dynamic = {listen.group: listen.neighbor for listen in reversed(listens)}
    several: dict[str, set[int]] = {}
    for listen in plan.listen_ranges:
        several.setdefault(listen_key(listen), set()).update(asns(listen))
    groups = [_named_group(names, key, sessions) for key, sessions in members.items()]
    groups += [_listen_group(names, key, found, dynamic[names.of(key)]) for key, found in several.items()]
    return tuple(sorted(groups, key=lambda g: g.name))


def _named_group(names: Names, key: str, sessions: list[Session]) -> Group:
    of, kind = role(sessions[0]), sessions[0].type
    spoken = tuple(sorted({version for s in sessions for version in versions(s)}))
    return Group(
        key=key,
        name=names.of(key),
        side=of.side,
        type=kind,
        versions=spoken,
        path_rules=path_rules(of, kind, (s.peer_asn for s in sessions)),
        first_as_checked=of.side == "rack" and kind == "ebgp",
        families=tuple(_family_group(names, key, version, None) for version in spoken),
    )


def _listen_group(names: Names, key: str, found: set[int], neighbor: Neighbor) -> Group:
    return Group(
        key=key,
        name=names.of(key),
        side="rack",
        type=neighbor.type,
        versions=(neighbor.version,),
        path_rules=path_rules(LISTEN, neighbor.type, found),
        first_as_checked=neighbor.type == "ebgp",
        families=tuple(_family_group(names, key, family.version, family) for family in neighbor.families),
        dynamic=neighbor,
    )


def _family_group(names: Names, key: str, version: Version, dynamic: FamilyNeighbor | None) -> FamilyGroup:
    return FamilyGroup(
        name=names.of(key),
        version=version,
        dynamic=dynamic,
        import_map=names.route_map(key, "IN", version),
        export_map=names.route_map(key, "OUT", version),
    )


def _path_lists(names: Names, groups: tuple[Group, ...]) -> tuple[PathList, ...]:
    """One list per group of the rack, and where there is a fabric one of all that the rack may originate."""
    rack = [g for g in groups if g.side == "rack"]
    lists = [path_list(g.name, g.path_rules) for g in rack]
    if len(rack) < len(groups):
        own = [PathRule("empty"), *(rule for g in rack for rule in g.path_rules)]
        lists.append(path_list(names.of("RACK"), own))
    return tuple(sorted(lists, key=lambda one: one.name))


def _network_order(network: IPv4Network | IPv6Network) -> tuple[int, bytes, int]:
    return network.version, network.network_address.packed, network.prefixlen


def _family(
    plan: SwitchPlan, groups: tuple[Group, ...], neighbors: tuple[Neighbor, ...], version: Version
) -> AddressFamily | None:
    networks, aggregates = _of_version(plan.networks, version), _of_version(plan.aggregates, version)
    policies = tuple(f for g in groups for f in g.families if f.version == version)
    if not networks and not policies:
        return None
    return AddressFamily(
        version=version,
        networks=networks,
        aggregates=aggregates,
        max_paths=MAX_PATHS,
        groups=policies,
        neighbors=tuple(f for n in neighbors for f in n.families if f.version == version),
    )


def _of_version(prefixes: Iterable[str], version: Version) -> tuple[str, ...]:
    """Those of the family, each once, by address."""
    networks = {n for n in map(ip_network, prefixes) if n.version == version}
    return tuple(str(n) for n in sorted(networks, key=_network_order))


def _bfd_profiles(names: Names, device: Device, sessions: Iterable[Session]) -> tuple[BfdProfile, ...]:
    """Each profile that a session names, by name; the platform's own values are left out."""
    used = {s.bfd.profile: s.bfd for s in sessions if s.bfd}
    return tuple(bfd_profile(names, device, bfd) for _, bfd in sorted(used.items(), key=lambda item: item[0]))


def _static_routes(sessions: Iterable[Session]) -> tuple[StaticRoute, ...]:
    """To the neighbours that stand behind another address, in the order of their sessions."""
    found = []
    for session in sessions:
        if session.reachable_by:
            network = ip_network(session.peer_address)
            version: Version = 6 if network.version == 6 else 4
            found.append(StaticRoute(version=version, prefix=str(network), via=canonical(session.reachable_by)))
    return tuple(found)
