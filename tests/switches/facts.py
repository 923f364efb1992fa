"""What a configuration says, in no platform's words: of a plan, to be compared with what a platform's parser found.

`Facts` is {(kind, name): {field: value}}:

    ("switch", "")              asn, router_id, cluster_id, networks and aggregates (frozensets of prefixes)
    ("neighbor", KEY)           KEY is the peer's address, or of an unnumbered session the interface
    ("range", PREFIX)           the same fields, and limit
    ("prefix-list", NAME)       entries: frozenset of (prefix, shortest length, longest length)

Fields of a neighbour: remote_asn (0 where several may dial), local_asn, description, local_address, passive, port,
hold, keepalive, connect_retry, password (whether there is one), ttl_security (hops), multihop (of eBGP), bfd (whether),
bfd_receive, bfd_transmit, bfd_multiplier, rr_client, as_override, allow_as_in, next_hop (`self`, `keep`, `auto`),
max_prefixes, add_paths, long_lived, families (frozenset of 4 and 6), import_maps and export_maps (frozenset of names).

A parser that finds less leaves fields out of all it returns, and says in `reads` which it finds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from ipaddress import ip_address, ip_network
from typing import Any

from fabric_templates.devices import Feature
from peering.session import ListenRange, PrefixRule, Session, SwitchPlan

Facts = dict[tuple[str, str], dict[str, Any]]

#: The feature that a field tells of; what is not here belongs to every session and has no feature.
FEATURES: dict[str, Feature] = {
    "add_paths": "addPaths",
    "aggregates": "aggregates",
    "allow_as_in": "allowASIn",
    "as_override": "asOverride",
    "bfd": "bfd",
    "bfd_multiplier": "bfdTimers",
    "cluster_id": "clusterID",
    "connect_retry": "connectRetry",
    "description": "description",
    "entries": "prefixFilters",
    "hold": "timers",
    "limit": "listenRanges",
    "local_address": "localAddress",
    "local_asn": "localASN",
    "long_lived": "longLivedStaleTime",
    "max_prefixes": "maxPrefixes",
    "multihop": "multihop",
    "networks": "originate",
    "next_hop": "nextHopSelf",
    "passive": "passive",
    "password": "password",
    "port": "peerPort",
    "rr_client": "rrClient",
    "ttl_security": "ttlSecurity",
}
_ROLES = {"node": "NODES", "reflector": "REFLECTORS", "external": "FABRIC", "switch": "PAIR"}


def facts_of(plan: SwitchPlan) -> Facts:
    """Everything that the plan says, by rules of its own: nothing is asked of the code that renders.

    Names are those of a platform whose limits cut none.
    """
    found: Facts = {
        ("switch", ""): {
            "asn": plan.asn,
            "router_id": plan.router_id,
            "cluster_id": _first([*(s.cluster_id for s in plan.sessions), *(r.cluster_id for r in plan.listen_ranges)]),
            "networks": frozenset(str(ip_network(n)) for n in plan.networks),
            "aggregates": frozenset(_aggregates(plan)),
        }
    }
    for session in plan.sessions:
        key = session.interface or str(ip_address(session.peer_address))
        found["neighbor", key] = _session(plan, session)
    for listen in plan.listen_ranges:
        found["range", str(ip_network(listen.cidr))] = _range(plan, listen)
    for name, rules in _lists(plan):
        found["prefix-list", name] = {"entries": _entries(rules)}
    return found


def _aggregates(plan: SwitchPlan) -> Iterable[str]:
    """Those of a family of which the switch says anything else."""
    spoken = {int(family[3]) for s in plan.sessions for family in s.families}
    spoken |= {ip_network(cidr).version for cidr in (*plan.networks, *(r.cidr for r in plan.listen_ranges))}
    return (str(network) for network in map(ip_network, plan.aggregates) if network.version in spoken)


def _first(values: Iterable[str | None]) -> str | None:
    return next((value for value in values if value is not None), None)


def _session(plan: SwitchPlan, session: Session) -> dict[str, Any]:
    kind = session.peer.partition("/")[0]
    group = f"UNDERLAY-{_ROLES[kind]}{'-IBGP' if session.type == 'ibgp' else ''}"
    families = frozenset(int(name[3]) for name in session.families)
    return _shared(session, families, group, session.type) | {
        "remote_asn": session.peer_asn,
        "local_asn": session.local_asn,
        "description": session.name if kind == "external" else session.peer,
        "local_address": str(ip_address(session.local_address)) if session.local_address else None,
        "passive": session.passive,
        "port": session.peer_port,
        "connect_retry": session.connect_retry or 5,
    }


def _range(plan: SwitchPlan, listen: ListenRange) -> dict[str, Any]:
    version = ip_network(listen.cidr).version
    group = f"UNDERLAY-LISTEN-{listen.peer_asn or 'ANY'}-V{version}"
    kind = "ibgp" if listen.peer_asn == plan.asn else "ebgp"
    own = {"remote_asn": listen.peer_asn, "local_asn": plan.asn, "limit": listen.limit}
    return _shared(listen, frozenset((version,)), group, kind) | own


def _shared(one: Session | ListenRange, families: frozenset[int], group: str, kind: str) -> dict[str, Any]:
    hops = one.multihop if kind == "ebgp" and one.multihop != 1 else None
    bfd = one.bfd
    return {
        "hold": one.hold_time,
        "keepalive": one.keepalive_time,
        "password": one.password is not None,
        "ttl_security": one.ttl_security,
        "multihop": hops,
        "bfd": bfd is not None,
        "bfd_receive": bfd.receive_interval if bfd else None,
        "bfd_transmit": bfd.transmit_interval if bfd else None,
        "bfd_multiplier": bfd.detect_multiplier if bfd else None,
        "rr_client": one.rr_client,
        "as_override": one.as_override,
        "allow_as_in": one.allow_as_in,
        "next_hop": one.next_hop,
        "max_prefixes": one.max_prefixes,
        "add_paths": one.add_paths,
        "long_lived": one.long_lived_stale_time,
        "families": families,
        "import_maps": frozenset(f"{group}-IN-V{v}" for v in families),
        "export_maps": frozenset(f"{group}-OUT-V{v}" for v in families),
    }


def _lists(plan: SwitchPlan) -> Iterable[tuple[str, list[PrefixRule]]]:
    """Those that a route map of this plan needs, by family."""
    rack = _versions(plan, "node", "reflector") | {ip_network(r.cidr).version for r in plan.listen_ranges}
    fabric, pair = _versions(plan, "external"), _versions(plan, "switch")
    default = {4: PrefixRule("0.0.0.0/0", 0, 0), 6: PrefixRule("::/0", 0, 0)}
    for version in (4, 6):
        own = [n for n in map(ip_network, plan.networks) if n.version == version]
        wanted = {
            "ACCEPT": (rack | pair, plan.accept),
            "DEFAULT": (rack if plan.downward != "all" else set(), [default[version]]),
            "SEND": (rack if plan.downward != "all" else set(), plan.send),
            "ANNOUNCE": (fabric, plan.announce),
            "OWN": (fabric, [PrefixRule(str(n), n.prefixlen, n.prefixlen) for n in own]),
        }
        for name, (versions, rules) in wanted.items():
            if version in versions:
                mine = [rule for rule in rules if ip_network(rule.cidr).version == version]
                yield f"UNDERLAY-{name}-V{version}", mine


def _versions(plan: SwitchPlan, *kinds: str) -> set[int]:
    return {int(f[3]) for s in plan.sessions if s.peer.partition("/")[0] in kinds for f in s.families}


def _entries(rules: Iterable[PrefixRule]) -> frozenset[tuple[str, int, int]]:
    networks = ((ip_network(rule.cidr), rule) for rule in rules)
    return frozenset((str(n), max(rule.min_length, n.prefixlen), rule.max_length) for n, rule in networks)


def differences(plan: SwitchPlan, found: Facts, reads: Collection[str]) -> list[str]:
    """What a parser found otherwise than the plan says, of the fields that it reads; empty is good.

    A kind of which it reads no field is not looked at.
    """
    complaints = []
    expected = facts_of(plan)
    kinds = {key[0] for key, fields in expected.items() if set(fields) & set(reads)}
    for key in sorted(expected.keys() | found.keys()):
        if key[0] not in kinds:
            continue
        if key not in found or key not in expected:
            complaints.append(f"{' '.join(key)}: {'not found' if key not in found else 'is not in the plan'}")
            continue
        for field in sorted(set(reads) & expected[key].keys()):
            one, other = expected[key][field], found[key].get(field, "not read")
            if one != other:
                complaints.append(f"{' '.join(key)} {field}: the plan says {one!r}, the parser {other!r}")
    return complaints


def features_of(reads: Collection[str]) -> frozenset[Feature]:
    """What a judge proves whose parser reads these fields."""
    return frozenset(FEATURES[field] for field in reads if field in FEATURES)
