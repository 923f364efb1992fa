"""VyOS: Ansible's parsers (vyos.vyos) of what `show configuration commands` prints.

They are those of VyOS 1.4 and later, and know the lines of 1.5 in part. Not read are: `peer-group` and `listen` (so
nothing of listen ranges), `local-as`, `ttl-security`, `bfd`, `interface v6only` (so of an unnumbered session neither
group nor AS), descriptions of several words, `addpath-tx-all`, `enforce-first-as`, `capability extended-nexthop`,
`maximum-paths` inside of a family, `nexthop-self force` (so no next hop is compared), lists of paths and communities,
and what a route map takes away. The parser of static routes is no template and is not asked.

Nothing here reads the whole file: no package has the definitions that VyOS makes its own parser of.
"""

from __future__ import annotations

import re
from typing import Any

from peering.session import SwitchPlan
from tests.switches.facts import Facts, differences, facts_of, features_of
from tests.switches.judges import Break, Files, Judge
from tests.switches.platforms.ansible_parsers import Data, parsed, prefix_entries

READS = frozenset(
    (
        *("asn", "router_id", "cluster_id", "networks", "aggregates", "entries", "remote_asn", "local_address"),
        *("passive", "port", "hold", "keepalive", "connect_retry", "password", "multihop", "rr_client", "as_override"),
        *("allow_as_in", "max_prefixes", "families", "import_maps", "export_maps"),
    )
)


def read_back(files: Files, plan: SwitchPlan) -> list[str]:
    lines = files["underlay.set"].splitlines()
    found = _switch(lines) | _prefix_lists(lines)
    return differences(plan, found | _unread(plan, found), READS)


def _unread(plan: SwitchPlan, found: Facts) -> Facts:
    """What is taken as it should be: listen ranges, and the AS of an unnumbered session."""
    expected = facts_of(plan)
    links = {("neighbor", session.interface) for session in plan.sessions if session.interface} & found.keys()
    ranges = {key: fields for key, fields in expected.items() if key[0] == "range"}
    return ranges | {key: found[key] | {"remote_asn": expected[key]["remote_asn"]} for key in links}


def _switch(lines: list[str]) -> Facts:
    """The collection takes the lines of BGP apart by the word `address-family`, and quotes away, as here."""
    bgp = [line.replace("'", "") for line in lines if line.startswith("set protocols bgp ")]
    plain = [line for line in bgp if "address-family" not in line]
    families = [line for line in bgp if "address-family" in line]
    instance = parsed("vyos.vyos.bgp_global_14", "Bgp_globalTemplate14", plain)
    inside = parsed("vyos.vyos.bgp_address_family_14", "Bgp_address_familyTemplate14", families)
    found: Facts = {
        ("switch", ""): {
            "asn": instance["as_number"],
            "router_id": instance["bgp_params"].get("router_id"),
            "cluster_id": instance["bgp_params"].get("cluster_id"),
            "networks": _prefixes(inside, "networks"),
            "aggregates": _prefixes(inside, "aggregate_address"),
        }
    }
    for name, entry in instance.get("neighbor", {}).items():
        active = inside["neighbors"].get(name, {}).get("address_family", {})
        found["neighbor", name] = _session(entry, active)
    return found


def _prefixes(inside: Data, key: str) -> frozenset[str]:
    families = inside.get("address_family", {}).values()
    return frozenset(one["prefix"] for family in families for one in family.get(key, ()))


def _session(entry: Data, active: dict[str, Data]) -> dict[str, Any]:
    said = next(iter(active.values()), {})
    maps = [one for family in active.values() for one in family.get("route_map", ())]
    timers = entry.get("timers", {})
    return {
        "remote_asn": entry.get("remote_as"),
        "local_address": entry.get("update_source"),
        "passive": bool(entry.get("passive")),
        "port": entry.get("port", 179),
        "hold": timers.get("holdtime"),
        "keepalive": timers.get("keepalive"),
        "connect_retry": timers.get("connect"),
        "password": "password" in entry,
        "multihop": entry.get("ebgp_multihop"),
        "rr_client": bool(said.get("route_reflector_client")),
        "as_override": bool(said.get("as_override")),
        "allow_as_in": said.get("allowas_in"),
        "max_prefixes": said.get("maximum_prefix"),
        "families": frozenset(int(afi[-1]) for afi in active),
        "import_maps": frozenset(one["route_map"] for one in maps if one["action"] == "import"),
        "export_maps": frozenset(one["route_map"] for one in maps if one["action"] == "export"),
    }


def _prefix_lists(lines: list[str]) -> Facts:
    """A value is printed in quotes by VyOS, and the parser takes none without."""
    rules = [re.sub(r" ([^ ']+)$", r" '\1'", line) for line in lines if line.startswith("set policy prefix-list")]
    found = parsed("vyos.vyos.prefix_lists", "Prefix_listsTemplate", rules)
    return {
        ("prefix-list", name): {"entries": prefix_entries(map(_entry, one["entries"].values()))}
        for family in found.values()
        for name, one in family["prefix_lists"].items()
    }


def _entry(entry: Data) -> tuple[str, str, int | None, int | None]:
    return (entry["action"], entry["prefix"], entry.get("ge"), entry.get("le"))


JUDGES = (
    Judge(
        level="read back",
        name="Ansible's parsers (vyos.vyos)",
        complaints=read_back,
        proves=features_of(READS),
        breaks=(
            Break(r"system-as \d+", "system-as 64999"),
            Break(r"bgp parameters cluster-id \S+", "bgp parameters cluster-id 10.9.9.9"),
            Break(r"aggregate-address 10\S+", "aggregate-address 10.244.0.0/15"),
            Break(r"-unicast network 10\S+", "-unicast network 10.9.9.9/32"),
            Break(r"ge 26", "ge 27"),
            Break(
                r"prefix-list6 UNDERLAY-DEFAULT-V6 rule 5 action permit",
                "prefix-list6 UNDERLAY-DEFAULT-V6 rule 5 action deny",
            ),
            Break(r"(neighbor \S+) remote-as \d+", r"\1 remote-as 64999"),
            Break(r"(neighbor \S+ \S+ \S+) maximum-prefix 64", r"\1 maximum-prefix 65"),
            Break(r"timers holdtime \d+", "timers holdtime 10"),
            Break(r"timers connect \d+", "timer connect 5"),
            Break(r"ebgp-multihop \d+", "ebgp-multihop 9"),
            Break(r"set protocols bgp neighbor \S+ password \S+\n", ""),
            Break(r"route-map import (UNDERLAY-NODES)-IN-V4", r"route-map import \1-OUT-V4"),
            Break(
                r"neighbor (\S+) address-family ipv4-unicast route-reflector-client",
                r"neighbor \1 route-reflector-client",
            ),
            Break(r"(neighbor \S+ \S+ \S+) allowas-in number \d+", r"\1 allowas-in number 9"),
            Break(r"(neighbor \S+) port \d+", r"\1 port 1791"),
        ),
    ),
)
