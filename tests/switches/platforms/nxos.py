"""Cisco NX-OS: Ansible's parsers of the collection cisco.nxos. Nothing public has the grammar itself.

They read no `maximum-peers`, no filter of a range's ASs, and a description only where it does not look like a number.
"""

from __future__ import annotations

from typing import Any

from fabric_templates.devices import Feature
from peering.session import SwitchPlan
from tests.switches.facts import Facts, differences, features_of
from tests.switches.judges import Break, Files, Judge
from tests.switches.platforms.ansible_parsers import (
    PATHS,
    RESTART_MINUTES,
    WARN_PERCENT,
    Data,
    flattened,
    parsed,
    prefix_entries,
    unlike,
)

READS = frozenset(
    (
        *("asn", "router_id", "cluster_id", "networks", "aggregates", "entries", "remote_asn", "local_asn", "passive"),
        *("hold", "keepalive", "password", "ttl_security", "multihop", "bfd", "rr_client", "as_override"),
        *("allow_as_in", "next_hop", "max_prefixes", "add_paths", "families", "import_maps", "export_maps"),
    )
)


#: What is compared beside them.
ALSO: frozenset[Feature] = frozenset(
    ("ecmp", "maxPrefixesRestart", "maxPrefixesWarning", "multipathRelax", "peerASInPath")
)


def complaints(files: Files, plan: SwitchPlan) -> list[str]:
    text = files["nxos.cfg"]
    bgp = text[text.index("router bgp") :]
    instance = parsed("cisco.nxos.bgp_global", "Bgp_globalTemplate", flattened("cisco.nxos.bgp_global", bgp))
    module = "cisco.nxos.bgp_address_family"
    families = parsed(module, "Bgp_address_familyTemplate", flattened(module, bgp)).get("address_family", {})
    module = "cisco.nxos.bgp_neighbor_address_family"
    inside = parsed(module, "Bgp_neighbor_address_familyTemplate", flattened(module, bgp))
    facts = _facts(instance, families, inside) | _prefix_lists(text)
    return [*differences(plan, facts, READS), *_constants(instance, families, inside), *_checked(plan, inside)]


def _checked(plan: SwitchPlan, inside: Data) -> list[str]:
    """Nodes of eBGP to which routes with their AS would not be sent."""
    neighbors = inside.get("vrfs", {}).get("vrf_", {}).get("neighbors", {})
    nodes = (s for s in plan.sessions if s.peer.startswith("node/") and s.type == "ebgp")
    wanted = {"disable_peer_as_check": True}
    return [
        complaint
        for name in (s.interface or s.peer_address for s in nodes)
        for family in neighbors[name]["address_family"].values()
        for complaint in unlike(name, family, wanted)
    ]


def _constants(instance: Data, families: Data, inside: Data) -> list[str]:
    bestpath = instance["vrfs"]["vrf_"].get("bestpath", {})
    found = unlike("bestpath", bestpath, {"as_path": {"multipath_relax": True}})
    for name, family in families.items():
        if not name.startswith("nbr_"):
            continue  # that of a neighbour, where the instance's has no address
        paths = {"parallel_paths": PATHS, "ibgp": {"parallel_paths": PATHS}}
        found += unlike(name, family.get("maximum_paths", {}), paths)
    for name, neighbor in inside.get("vrfs", {}).get("vrf_", {}).get("neighbors", {}).items():
        for family in neighbor["address_family"].values():
            limit = {"generate_warning_threshold": WARN_PERCENT, "restart_interval": RESTART_MINUTES}
            found += unlike(name, family["maximum_prefix"], limit) if "maximum_prefix" in family else []
    return found


def _facts(instance: Data, families: Data, inside: Data) -> Facts:
    own = instance["vrfs"]["vrf_"]
    networks, aggregates = (
        frozenset(n["prefix"] for family in families.values() for n in family.get(key, ()))
        for key in ("networks", "aggregate_address")
    )
    found: Facts = {
        ("switch", ""): {
            "asn": instance["as_number"],
            "router_id": own["router_id"],
            "cluster_id": own.get("cluster_id"),
            "networks": networks,
            "aggregates": aggregates,
        },
    }
    policies = inside.get("vrfs", {}).get("vrf_", {}).get("neighbors", {})
    for name, entry in own.get("neighbors", {}).items():
        kind = "range" if "/" in name and "thernet" not in name else "neighbor"
        policy = policies.get(name, {}).get("address_family", {})
        found[kind, name] = _session(instance["as_number"], entry, list(policy.values()))
    return found


def _session(asn: int, entry: Data, families: list[Data]) -> dict[str, Any]:
    said = families[0] if families else {}
    remote = entry.get("remote_as", 0)
    paths = said.get("capability", {}).get("additional_paths", {})
    maps = [family.get("route_map", {}) for family in families]
    return {
        "remote_asn": remote if isinstance(remote, int) else 0,
        "local_asn": entry.get("local_as_config", {}).get("as_number", asn),
        "passive": entry.get("transport", {}).get("connection_mode", {}).get("passive", False),
        "hold": entry["timers"]["holdtime"],
        "keepalive": entry["timers"]["keepalive"],
        "password": "password" in entry,
        "ttl_security": entry.get("ttl_security", {}).get("hops"),
        "multihop": entry.get("ebgp_multihop"),
        "bfd": "bfd" in entry,
        "rr_client": said.get("route_reflector_client", False),
        "as_override": said.get("as_override", False) and said.get("disable_peer_as_check", False),
        "allow_as_in": said.get("allowas_in", {}).get("max_occurences"),
        "next_hop": _next_hop(said.get("next_hop_self", {}), internal=remote == asn),
        "max_prefixes": said.get("maximum_prefix", {}).get("max_prefix_limit"),
        "add_paths": {(): None, ("receive",): "receive", ("send",): "send"}.get(tuple(sorted(paths)), "both"),
        "families": frozenset(int(family["afi"][-1]) for family in families),
        "import_maps": frozenset(one.get("inbound") for one in maps),
        "export_maps": frozenset(one.get("outbound") for one in maps),
    }


def _next_hop(said: Data, *, internal: bool) -> str:
    if said.get("all_routes"):
        return "self"
    if said.get("set"):
        return "auto" if internal else "self"
    return "keep" if internal else "auto"


def _prefix_lists(text: str) -> Facts:
    lines = [line for line in text.splitlines() if line.startswith(("ip prefix-list", "ipv6 prefix-list"))]
    found = parsed("cisco.nxos.prefix_lists", "Prefix_listsTemplate", lines)
    return {
        ("prefix-list", name): {"entries": prefix_entries(map(_entry, one["entries"]))}
        for family in found.values()
        for name, one in family["prefix_lists"].items()
    }


def _entry(entry: Data) -> tuple[str, str, int | None, int | None]:
    exact = entry.get("eq")
    return entry["action"], entry["prefix"], entry.get("ge", exact), entry.get("le", exact)


JUDGES = (
    Judge(
        level="read back",
        name="Ansible's parsers (cisco.nxos)",
        complaints=complaints,
        proves=features_of(READS) | ALSO,
        breaks=(
            Break(r"maximum-prefix 64 80", "maximum-prefix 65 80"),
            Break(r"      as-override\n      disable-peer-as-check\n", "      as-override\n"),
            Break(r"      disable-peer-as-check\n", ""),
            Break(r"restart 5", "restart 50"),
            Break(r"maximum-paths ibgp 16", "maximum-path ibgp 16"),
            Break(r"  bestpath as-path multipath-relax\n", ""),
            Break(r"next-hop-self all", "next-hop-self"),
            Break(r"    transport connection-mode passive\n", ""),
            Break(r"eq 26", "le 26"),
            Break(r"    aggregate-address 10\S+\n", ""),
            Break(r"UNDERLAY-NODES-IN-V4 in\n", "UNDERLAY-NODES-OUT-V4 in\n"),
            Break(r"ttl-security hops 1", "ttl-security hop 1"),
            Break(r"timers 3 9", "timers 3 10"),
        ),
    ),
)
