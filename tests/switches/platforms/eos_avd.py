"""EOS text as the structured data of Arista's AVD, and back by Arista's own templates (PyPI pyavd).

The way into the data is a table of our own; it is worth what the way back says: a line that pyavd does not print again,
word for word, is a complaint. So every line that it models is one that Arista's renderer would write for valid data.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pyavd  # type: ignore[import-untyped]
from pyavd.constants import (  # type: ignore[import-untyped]
    EOS_CLI_CONFIG_GEN_JINJA2_PRECOMPILED_TEMPLATE_PATH as TEMPLATES,
)
from pyavd.templater import Templar  # type: ignore[import-untyped]

from peering.session import SwitchPlan
from tests.switches.facts import Facts, differences
from tests.switches.judges import Files

Data = dict[str, Any]

#: Lines of EOS that the schema has no key for. Of passwords it knows encrypted ones only.
_NOT_MODELLED = re.compile(
    r"^ *(dynamic peer max|neighbor \S+ (next-hop-unchanged|transport remote-port|password 0)) ?.*\n", re.M
)
_SECTIONS = (
    "ip-community-lists",
    "ip-large-community-lists",
    "prefix-lists",
    "ipv6-prefix-lists",
    "static-routes",
    "ipv6-static-routes",
    "as-path",
    "route-maps",
    "peer-filters",
    "router-bgp",
)
#: What follows `neighbor NAME` -> the key, and its value where that is not the text.
_NEIGHBOR: tuple[tuple[str, str, Any], ...] = (
    (r"peer group (\S+)", "peer_group", None),
    (r"remote-as (\d+)", "remote_as", None),
    (r"local-as (\d+) no-prepend replace-as", "local_as", None),
    (r"next-hop-self", "next_hop_self", True),
    (r"as-path remote-as replace out", "as_path", {"remote_as_replace_out": True}),
    (r"passive", "passive", True),
    (r"update-source (\S+)", "update_source", None),
    (r"bfd", "bfd", True),
    (r"description (.+)", "description", None),
    (r"ebgp-multihop (\d+)", "ebgp_multihop", int),
    (r"ttl maximum-hops (\d+)", "ttl_maximum_hops", int),
    (r"route-reflector-client", "route_reflector_client", True),
    (r"timers (\d+ \d+)", "timers", None),
    (r"send-community (.+)", "send_community", None),
    (r"maximum-routes (\d+)", "maximum_routes", int),
    (r"route-map (\S+) in", "route_map_in", None),
    (r"route-map (\S+) out", "route_map_out", None),
    (r"activate", "activate", True),
)
#: Those that give more than one key, or one inside another.
_NESTED: tuple[tuple[str, Any], ...] = (
    (r"allowas-in (\d+)", lambda n: {"allowas_in": {"enabled": True, "times": int(n)}}),
    (
        r"bfd interval (\d+) min-rx (\d+) multiplier (\d+)",
        lambda a, b, c: {"bfd_timers": {"interval": int(a), "min_rx": int(b), "multiplier": int(c)}},
    ),
    (
        r"maximum-routes (\d+) warning-limit (\d+ percent)",
        lambda n, warn: {"maximum_routes": int(n), "maximum_routes_warning_limit": warn},
    ),
    (r"additional-paths receive", lambda: {"additional_paths": {"receive": True}}),
    (r"additional-paths send any", lambda: {"additional_paths": {"send": "any"}}),
    (
        r"next-hop address-family ipv6 originate",
        lambda: {"next_hop": {"address_family_ipv6": {"enabled": True, "originate": True}}},
    ),
)
_INSTANCE: tuple[tuple[str, Any], ...] = (
    (r"router-id (\S+)", lambda v: {"router_id": v}),
    (r"no bgp default ipv4-unicast", lambda: {"bgp": {"default": {"ipv4_unicast": False}}}),
    (r"bgp cluster-id (\S+)", lambda v: {"bgp_cluster_id": v}),
    (r"maximum-paths (\d+) ecmp (\d+)", lambda a, b: {"maximum_paths": {"paths": int(a), "ecmp": int(b)}}),
    (r"aggregate-address (\S+)", lambda v: {"aggregate_addresses": [{"prefix": v}]}),
    (r"graceful-restart-helper long-lived", lambda: {"graceful_restart_helper": {"enabled": True, "long_lived": True}}),
    (
        r"bgp route-reflector preserve-attributes",
        lambda: {"bgp": {"route_reflector_preserve_attributes": {"enabled": True}}},
    ),
)
_LISTEN = re.compile(r"bgp listen range (\S+) peer-group (\S+) (peer-filter|remote-as) (\S+)")
_AF = re.compile(r"address-family (ipv[46])")
#: Lines at the left edge that open a block or stand alone, with the list that they belong to.
_OPENERS: tuple[tuple[str, str], ...] = (
    (r"ip prefix-list (\S+)", "prefix_lists"),
    (r"ipv6 prefix-list (\S+)", "ipv6_prefix_lists"),
    (r"route-map (\S+) (permit|deny) (\d+)", "route_maps"),
    (r"peer-filter (\S+)", "peer_filters"),
)
_SINGLES: tuple[tuple[str, str, Any], ...] = (
    (r"ip community-list (?!regexp)(\S+) (permit|deny) (.+)", "ip_community_lists", "communities"),
    (r"ip community-list regexp (\S+) (permit|deny) (.+)", "ip_community_lists", "regexp"),
    (r"ip large-community-list (?!regexp)(\S+) (permit|deny) (.+)", "ip_large_community_lists", "large_communities"),
    (r"ip large-community-list regexp (\S+) (permit|deny) (.+)", "ip_large_community_lists", "regexp"),
)


def complaints(files: Files, plan: SwitchPlan) -> list[str]:
    text = _NOT_MODELLED.sub("", files["eos.cfg"])
    data, unknown = data_of(text)
    result = pyavd.validate_structured_config(data)
    wrong = [f"{'.'.join(v.path)}: {v.message}" for v in result.validation_result.violations]
    found = unknown + wrong
    if not found:
        ours, theirs = lines_of(text), lines_of(rendered(result.validated_data))
        found += [f"pyavd does not write {' / '.join(line)}" for line in sorted(ours - theirs)]
        found += [f"pyavd writes {' / '.join(line)}" for line in sorted(theirs - ours)]
    return found + differences(plan, facts(data), READS)


def rendered(data: Any) -> str:
    environment = _templar().environment
    return "".join(environment.get_template(f"eos/{name}.j2").render(data) for name in _SECTIONS)


@cache
def _templar() -> Templar:
    return Templar(precompiled_templates_path=TEMPLATES)


def lines_of(text: str) -> set[tuple[str, ...]]:
    """Every line with the lines that it is inside of."""
    found: set[tuple[str, ...]] = set()
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        words = line.strip()
        if not words or words.startswith("!"):
            continue
        depth = len(line) - len(line.lstrip())
        above = [one for one in above if one[0] < depth] + [(depth, words)]
        found.add(tuple(one for _, one in above))
    return found


def data_of(text: str) -> tuple[Data, list[str]]:
    """(structured data, lines that no row of the tables knows)."""
    data: Data = {}
    unknown: list[str] = []
    block: Data | None = None
    for line in text.splitlines():
        words = line.strip()
        if not words or words.startswith("!"):
            continue
        if not line.startswith(" "):
            block = _open(data, words)
            known = block is not None or _single(data, words)
        elif "router_bgp" in data:
            known = _bgp(data["router_bgp"], words)
        else:
            known = block is not None and _inside(block, words)
        if not known:
            unknown.append(f"no row for {line}")
    data.get("router_bgp", {}).pop("family", None)
    return data, unknown


def _open(data: Data, words: str) -> Data | None:
    if match := re.fullmatch(r"router bgp (\d+)", words):
        data["router_bgp"] = {"as": match[1]}
        return data["router_bgp"]  # type: ignore[no-any-return]
    for pattern, key in _OPENERS:
        if match := re.fullmatch(pattern, words):
            entry = _named(data.setdefault(key, []), "name", match[1])
            sequences = entry.setdefault("sequence_numbers", [])
            if key != "route_maps":
                return entry
            sequences.append({"sequence": int(match[3]), "type": match[2]})
            return sequences[-1]  # type: ignore[no-any-return]
    return None


def _inside(block: Data, words: str) -> bool:
    if match := re.fullmatch(r"(match|set) (.+)", words):
        block.setdefault(match[1], []).append(match[2])
    elif match := re.fullmatch(r"seq (\d+) (.+)", words):
        block["sequence_numbers"].append({"sequence": int(match[1]), "action": match[2]})
    elif match := re.fullmatch(r"(\d+) match (.+)", words):
        block["sequence_numbers"].append({"sequence": int(match[1]), "match": match[2]})
    return match is not None


def _single(data: Data, words: str) -> bool:
    if match := re.fullmatch(r"(ip|ipv6) route (\S+) (\S+)", words):
        key = {"ip": "static_routes", "ipv6": "ipv6_static_routes"}[match[1]]
        data.setdefault(key, []).append({"prefix": match[2], "next_hop": match[3]})
        return True
    if match := re.fullmatch(r"ip as-path access-list (\S+) (permit|deny) (\S+) (\S+)", words):
        lists = data.setdefault("as_path", {}).setdefault("access_lists", [])
        entry = {"type": match[2], "match": match[3], "origin": match[4]}
        _named(lists, "name", match[1]).setdefault("entries", []).append(entry)
        return True
    for pattern, key, field in _SINGLES:
        if match := re.fullmatch(pattern, words):
            value = match[3] if field == "regexp" else match[3].split()
            entries = _named(data.setdefault(key, []), "name", match[1]).setdefault("entries", [])
            entries.append({"action": match[2], field: value})
            return True
    return False


def _bgp(bgp: Data, words: str) -> bool:
    if match := _AF.fullmatch(words):
        bgp["family"] = f"address_family_{match[1]}"
        bgp[bgp["family"]] = {}
        return True
    inside = bgp[bgp["family"]] if "family" in bgp else bgp
    if match := _LISTEN.fullmatch(words):
        entry = {"prefix": match[1], "peer_group": match[2], match[3].replace("-", "_"): match[4]}
        bgp.setdefault("listen_ranges", []).append(entry)
        return True
    if match := re.fullmatch(r"network (\S+)", words):
        inside.setdefault("networks", []).append({"prefix": match[1]})
        return True
    if match := re.fullmatch(r"neighbor (\S+) (.+)", words):
        return _neighbor(inside, match[1], match[2])
    return _put(bgp, _INSTANCE, words)


def _neighbor(inside: Data, name: str, words: str) -> bool:
    is_group = name.startswith("UNDERLAY-")
    lists = inside.setdefault("peer_groups" if is_group else "neighbors", [])
    entry = _named(lists, "name" if is_group else "ip_address", name)
    if words == "peer group":
        return is_group
    for pattern, key, convert in _NEIGHBOR:
        if match := re.fullmatch(pattern, words):
            entry[key] = convert(match[1]) if convert is int else convert or match[1]
            return True
    return _put(entry, _NESTED, words)


def _put(entry: Data, table: tuple[tuple[str, Any], ...], words: str) -> bool:
    for pattern, make in table:
        if match := re.fullmatch(pattern, words):
            for key, value in make(*match.groups()).items():
                old = entry.get(key)
                entry[key] = old | value if isinstance(old, dict) else old + value if isinstance(old, list) else value
            return True
    return False


def _named(entries: list[Data], key: str, name: str) -> Data:
    for entry in entries:
        if entry[key] == name:
            return entry
    entries.append({key: name})
    return entries[-1]


#: The fields of tests.switches.facts that the data has.
READS = frozenset(
    (
        *(
            "asn",
            "router_id",
            "cluster_id",
            "networks",
            "aggregates",
            "remote_asn",
            "local_asn",
            "description",
            "passive",
        ),
        *("hold", "keepalive", "ttl_security", "multihop", "bfd", "bfd_receive", "bfd_transmit", "bfd_multiplier"),
        *("rr_client", "as_override", "allow_as_in", "max_prefixes", "add_paths", "families"),
        *("import_maps", "export_maps"),
    )
)


def facts(data: Data) -> Facts:
    bgp = data["router_bgp"]
    families = {int(key[-1]): value for key, value in bgp.items() if key.startswith("address_family_ipv")}
    networks = (n["prefix"] for family in families.values() for n in family.get("networks", ()))
    found: Facts = {
        ("switch", ""): {
            "asn": int(bgp["as"]),
            "router_id": bgp["router_id"],
            "cluster_id": bgp.get("bgp_cluster_id"),
            "networks": frozenset(networks),
            "aggregates": frozenset(one["prefix"] for one in bgp.get("aggregate_addresses", ())),
        }
    }
    for entry in bgp.get("neighbors", ()):
        found["neighbor", entry["ip_address"]] = _session(bgp, families, entry, "ip_address", entry.get("peer_group"))
    groups = {entry["name"]: entry for entry in bgp.get("peer_groups", ())}
    for listen in bgp.get("listen_ranges", ()):
        name = listen["peer_group"]
        own = {"remote_asn": int(listen.get("remote_as", 0))}
        found["range", listen["prefix"]] = _session(bgp, families, groups[name], "name", name) | own
    return found


def _session(bgp: Data, families: dict[int, Data], entry: Data, key: str, group: str | None) -> dict[str, Any]:
    lists = "neighbors" if key == "ip_address" else "peer_groups"
    inside = {v: _find(family.get(lists, ()), key, entry[key]) for v, family in families.items()}
    active = {version: one for version, one in inside.items() if one.get("activate")}
    policy = {version: _find(families[version].get("peer_groups", ()), "name", group) for version in active}
    keepalive, hold = str(entry["timers"]).split()
    bfd = entry.get("bfd_timers", {}) if entry.get("bfd") else {}
    most = entry.get("maximum_routes") or None
    paths: Data = next(iter(active.values()), {}).get("additional_paths", {})
    return {
        "remote_asn": int(entry.get("remote_as", 0)),
        "local_asn": int(entry["local_as"] if "local_as" in entry else bgp["as"]),
        "description": entry.get("description"),
        "passive": bool(entry.get("passive")),
        "keepalive": int(keepalive),
        "hold": int(hold),
        "ttl_security": entry.get("ttl_maximum_hops"),
        "multihop": entry.get("ebgp_multihop"),
        "bfd": bool(entry.get("bfd")),
        "bfd_receive": bfd.get("min_rx"),
        "bfd_transmit": bfd.get("interval"),
        "bfd_multiplier": bfd.get("multiplier"),
        "rr_client": bool(entry.get("route_reflector_client")),
        "as_override": bool(entry.get("as_path")),
        "allow_as_in": entry.get("allowas_in", {}).get("times"),
        "max_prefixes": most,
        "add_paths": {(): None, ("receive",): "receive", ("send",): "send"}.get(tuple(sorted(paths)), "both"),
        "families": frozenset(active),
        "import_maps": frozenset(one.get("route_map_in") for one in policy.values()),
        "export_maps": frozenset(one.get("route_map_out") for one in policy.values()),
    }


def _find(entries: Any, key: str, name: str | None) -> Data:
    return next((entry for entry in entries if entry[key] == name), {})
