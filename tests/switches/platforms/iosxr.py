"""Cisco IOS-XR: Ansible's parsers of the collection cisco.iosxr. Nothing public has the grammar itself.

They read no sets and route policies, no password in clear and no cluster.
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
    blocks_flattened,
    parsed,
    unlike,
)

READS = frozenset(
    (
        *("asn", "router_id", "networks", "aggregates", "remote_asn", "local_asn", "local_address", "passive"),
        *("hold", "keepalive"),
        *("ttl_security", "multihop", "bfd", "bfd_multiplier", "rr_client", "as_override", "allow_as_in", "next_hop"),
        *("max_prefixes", "add_paths", "long_lived", "families", "import_maps", "export_maps"),
    )
)


#: What is compared beside them.
ALSO: frozenset[Feature] = frozenset(
    ("ecmp", "maxPrefixesRestart", "maxPrefixesWarning", "multipathRelax", "peerASInPath")
)


def complaints(files: Files, plan: SwitchPlan) -> list[str]:
    text = files["iosxr.cfg"]
    lines = blocks_flattened("cisco.iosxr", text[text.index("router bgp") :], "neighbor")
    instance = parsed("cisco.iosxr.bgp_global", "Bgp_globalTemplate", lines)
    families = parsed("cisco.iosxr.bgp_address_family", "Bgp_address_familyTemplate", lines)["address_family"]
    inside = parsed("cisco.iosxr.bgp_neighbor_address_family", "Bgp_neighbor_address_familyTemplate", lines)
    facts = _facts(instance, families, inside)
    return [*differences(plan, facts, READS), *_constants(instance, families, inside)]


def _constants(instance: Data, families: Data, inside: Data) -> list[str]:
    bestpath = instance["vrfs"]["vrf_"]["bgp"].get("bestpath", {})
    found = unlike("bestpath", bestpath, {"as_path": {"multipath_relax": True}})
    for name, family in families.items():
        paths = family.get("maximum_paths", {})
        used = {kind: paths.get(kind, {}).get("max_path_value") for kind in ("ebgp", "ibgp")}
        found += unlike(name, used, {"ebgp": PATHS, "ibgp": PATHS})
        found += unlike(name, family, {"as_path_loopcheck_out_disable": True})
    for name, neighbor in inside.get("vrfs", {}).get("vrf_", {}).get("neighbors", {}).items():
        for family in neighbor["address_family"].values():
            limit = {"threshold_value": WARN_PERCENT, "restart": RESTART_MINUTES}
            found += unlike(name, family["maximum_prefix"], limit) if "maximum_prefix" in family else []
    return found


def _facts(instance: Data, families: Data, inside: Data) -> Facts:
    own = instance["vrfs"]["vrf_"]
    networks, aggregates = (
        frozenset(one[field] for family in families.values() for one in family.get(key, ()))
        for key, field in (("networks", "network"), ("aggregate_address", "value"))
    )
    found: Facts = {
        ("switch", ""): {
            "asn": instance["as_number"],
            "router_id": own["bgp"]["router_id"],
            "networks": networks,
            "aggregates": aggregates,
        }
    }
    policies = inside.get("vrfs", {}).get("vrf_", {}).get("neighbors", {})
    for name, entry in own.get("neighbors", {}).items():
        policy = policies.get(name, {}).get("address_family", {})
        session = _session(instance["as_number"], entry, list(policy.values()))
        found["range" if "/" in name else "neighbor", name] = session
    return found


def _session(asn: int, entry: Data, families: list[Data]) -> dict[str, Any]:
    said = families[0] if families else {}
    paths = entry.get("capability", {}).get("additional_paths", {})
    maps = [family.get("route_policy", {}) for family in families]
    return {
        "remote_asn": entry.get("remote_as"),
        "local_asn": entry.get("local_as", {}).get("value", asn),
        "local_address": next(iter(entry.get("local", {}).get("address", {}).values()), None),
        "passive": entry.get("session_open_mode") == "passive-only",
        "hold": entry["timers"]["holdtime"],
        "keepalive": entry["timers"]["keepalive_time"],
        "ttl_security": 1 if entry.get("ttl_security", {}).get("set") else None,
        "multihop": entry.get("ebgp_multihop", {}).get("value"),
        "bfd": bool(entry.get("bfd", {}).get("fast_detect", {}).get("set")),
        "bfd_multiplier": entry.get("bfd", {}).get("multiplier"),
        "rr_client": bool(said.get("route_reflector_client", {}).get("set")),
        "as_override": bool(said.get("as_override", {}).get("set")),
        "allow_as_in": said.get("allowas_in", {}).get("value"),
        "next_hop": _next_hop(said, internal=entry.get("remote_as") == asn),
        "max_prefixes": said.get("maximum_prefix", {}).get("max_limit"),
        "add_paths": {(): None, ("receive",): "receive", ("send",): "send"}.get(tuple(sorted(paths)), "both"),
        "long_lived": said.get("long_lived_graceful_restart", {}).get("stale_time", {}).get("accept"),
        "families": frozenset(int(family["afi"][-1]) for family in families),
        "import_maps": frozenset(one.get("inbound") for one in maps),
        "export_maps": frozenset(one.get("outbound") for one in maps),
    }


def _next_hop(said: Data, *, internal: bool) -> str:
    if said.get("next_hop_self", {}).get("set"):
        return "auto" if internal else "self"
    return "keep" if internal or "next_hop_unchanged" in said else "auto"


JUDGES = (
    Judge(
        level="read back",
        name="Ansible's parsers (cisco.iosxr)",
        complaints=complaints,
        proves=features_of(READS) | ALSO,
        breaks=(
            Break(r"maximum-prefix 64 80", "maximum-prefix 65 80"),
            Break(r"restart 5", "restart 50"),
            Break(r"aggregate-address fd00\S+", "aggregate-address fd00::/47"),
            Break(r"maximum-paths ibgp 16", "maximum-path ibgp 16"),
            Break(r" bgp bestpath as-path multipath-relax\n", ""),
            Break(r"  as-path-loopcheck out disable\n", ""),
            Break(r"(neighbor 10\.1\.1\.1\n(?:  .*\n)*?)   next-hop-self\n", r"\1"),
            Break(r"  session-open-mode passive-only\n", "  passive\n"),
            Break(r"UNDERLAY-NODES-IN-V4 in\n", "UNDERLAY-NODES-OUT-V4 in\n"),
            Break(r"stale-time send 3600 accept 3600", "stale-time send 3600 accept 360"),
            Break(r"local address 10\.0\.1\.1", "local address 10.0.1.2"),
            Break(r"timers 3 9", "timers 3 10"),
        ),
    ),
)
