"""Cisco IOS-XE: Ansible's parsers of the collection cisco.ios. Nothing public has the grammar itself.

They read no GTSM, no cluster, no additional paths of a neighbour, and of several listen ranges the last, so ranges are
compared by the groups that they belong to.
"""

from __future__ import annotations

from ipaddress import ip_network
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
    parsed,
    prefix_entries,
    unlike,
)

READS = frozenset(
    (
        *("asn", "router_id", "networks", "aggregates", "entries", "remote_asn", "local_asn", "passive"),
        *("hold", "keepalive", "password", "multihop", "bfd", "rr_client", "allow_as_in", "next_hop"),
        *("max_prefixes", "families", "import_maps", "export_maps"),
    )
)


#: What is compared beside them.
ALSO: frozenset[Feature] = frozenset(("ecmp", "maxPrefixesRestart", "maxPrefixesWarning"))


def complaints(files: Files, plan: SwitchPlan) -> list[str]:
    text = files["iosxe.cfg"]
    bgp = text[text.index("router bgp") :]
    instance = parsed("cisco.ios.bgp_global", "Bgp_globalTemplate", bgp.partition(" !\n")[0].splitlines())
    found = parsed("cisco.ios.bgp_address_family", "Bgp_address_familyTemplate", bgp.splitlines())
    families = list(found.get("address_family", {}).values())
    facts = _facts(instance, families, plan) | _prefix_lists(text)
    return [*differences(plan, facts, READS), *_constants(families)]


def _constants(families: list[Data]) -> list[str]:
    found = []
    for family in families:
        found += unlike(family["afi"], family.get("maximum_paths", {}), {"paths": PATHS, "ibgp": PATHS})
        for name, neighbor in family.get("neighbors", {}).items():
            limit = {"threshold_value": WARN_PERCENT, "restart": RESTART_MINUTES}
            found += unlike(name, neighbor["maximum_prefix"], limit) if "maximum_prefix" in neighbor else []
    return found


def _facts(instance: Data, families: list[Data], plan: SwitchPlan) -> Facts:
    facts: Facts = {
        ("switch", ""): {
            "asn": instance["as_number"],
            "router_id": instance["bgp"]["router_id"]["address"],
            "networks": _networks(families, "networks", "mask"),
            "aggregates": _networks(families, "aggregate_addresses", "netmask"),
        },
    }
    for name, entry in instance.get("neighbors", {}).items():
        session = _session(instance["as_number"], families, entry, name)
        facts |= _ranges(plan, name, session) if name.startswith("UNDERLAY-") else {("neighbor", name): session}
    return facts


def _networks(families: list[Data], key: str, mask: str) -> frozenset[str]:
    entries = [entry for family in families for entry in family.get(key, ())]
    texts = (f"{entry['address']}/{entry[mask]}" if mask in entry else entry["address"] for entry in entries)
    return frozenset(str(ip_network(text, strict=False)) for text in texts)


def _ranges(plan: SwitchPlan, group: str, session: dict[str, Any]) -> Facts:
    """Every range of a group has what the group has; of several ASs the parser finds none."""
    return {
        ("range", one.cidr): session | ({} if one.peer_asn else {"remote_asn": 0})
        for one in plan.listen_ranges
        if group == f"UNDERLAY-LISTEN-{one.peer_asn or 'ANY'}-V{6 if ':' in one.cidr else 4}"
    }


def _session(asn: int, families: list[Data], entry: Data, name: str) -> dict[str, Any]:
    active = [(f, f["neighbors"][name]) for f in families if f.get("neighbors", {}).get(name, {}).get("activate")]
    said = active[0][1] if active else {}
    maps = [one for _, inside in active for one in inside.get("route_maps", ())]
    return {
        "remote_asn": entry.get("remote_as"),
        "local_asn": entry.get("local_as", {}).get("number", asn),
        "passive": entry.get("transport", {}).get("connection_mode", {}).get("passive", False),
        "hold": entry["timers"]["holdtime"],
        "keepalive": entry["timers"]["interval"],
        "password": "password_options" in entry,
        "multihop": entry.get("ebgp_multihop", {}).get("hop_count"),
        "bfd": bool(entry.get("fall_over", {}).get("bfd")),
        "rr_client": said.get("route_reflector_client", False),
        "allow_as_in": said.get("allowas_in"),
        "next_hop": _next_hop(said, internal=entry.get("remote_as") == asn),
        "max_prefixes": said.get("maximum_prefix", {}).get("number"),
        "families": frozenset(int(family["afi"][-1]) for family, _ in active),
        "import_maps": frozenset(one["name"] for one in maps if one.get("in")),
        "export_maps": frozenset(one["name"] for one in maps if one.get("out")),
    }


def _next_hop(said: Data, *, internal: bool) -> str:
    step = said.get("nexthop_self", {})
    if step.get("all"):
        return "self"
    if step.get("set"):
        return "auto" if internal else "self"
    return "keep" if internal or said.get("next_hop_unchanged") else "auto"


def _prefix_lists(text: str) -> Facts:
    lines = [line for line in text.splitlines() if line.startswith(("ip prefix-list", "ipv6 prefix-list"))]
    found = parsed("cisco.ios.prefix_lists", "Prefix_listsTemplate", lines)
    return {
        ("prefix-list", one["name"]): {
            "entries": prefix_entries((e["action"], e["prefix"], e.get("ge"), e.get("le")) for e in one["entries"])
        }
        for one in found.values()
    }


JUDGES = (
    Judge(
        level="read back",
        name="Ansible's parsers (cisco.ios)",
        complaints=complaints,
        proves=features_of(READS) | ALSO,
        breaks=(
            Break(r"maximum-prefix 64 80", "maximum-prefix 65 80"),
            Break(r"restart 5", "restart 50"),
            Break(r"maximum-paths ibgp 16", "maximum-path ibgp 16"),
            Break(r"next-hop-self all", "next-hop-self"),
            Break(r"neighbor (10\.1\.\S+) transport connection-mode passive\n", r"neighbor \1 passive\n"),
            Break(r"ge 26 le 26", "le 26"),
            Break(r"UNDERLAY-NODES-IN-V4 in\n", "UNDERLAY-NODES-OUT-V4 in\n"),
            Break(r"fall-over bfd", "fallover bfd"),
            Break(r"aggregate-address (\S+) 255.255.0.0", r"aggregate-address \1 255.254.0.0"),
            Break(r"timers 3 9", "timers 3 10"),
            Break(r"  network (\S+) mask 255.255.255.255", r"  network \1 mask 255.255.255.0"),
        ),
    ),
)
