"""Arista EOS: the schema and the renderer of Arista's own AVD (pyavd), and Ansible's parsers (arista.eos).

Neither reads all: AVD has no key for some lines (eos_avd.py); Ansible reads no hold time, no description as it is
written, only the last route map of a neighbour, and of several listen ranges none, so ranges are compared by the
groups that they belong to.
"""

from __future__ import annotations

from typing import Any

from fabric_templates.devices import Feature
from peering.session import SwitchPlan
from tests.switches.facts import Facts, differences, features_of
from tests.switches.judges import Break, Files, Judge
from tests.switches.platforms import eos_avd
from tests.switches.platforms.ansible_parsers import Data, parsed, prefix_entries

READS = frozenset(
    (
        *("asn", "router_id", "networks", "aggregates", "entries", "remote_asn", "local_asn", "port", "keepalive"),
        *("password", "ttl_security", "multihop", "bfd", "rr_client", "allow_as_in", "next_hop", "max_prefixes"),
        *("families", "export_maps"),
    )
)
#: What pyavd's schema and renderer have a key for. Route maps and entries of prefix lists are free text to it.
AVD: frozenset[Feature] = frozenset(
    (
        *("ecmp", "extendedNextHop", "listenRanges", "maxPrefixesWarning", "nextHopSelf", "reachableBy"),
        *features_of(eos_avd.READS),
    )
)


def read_back(files: Files, plan: SwitchPlan) -> list[str]:
    text = files["eos.cfg"]
    return differences(plan, _facts(text[text.index("router bgp") :], text, plan), READS)


def _facts(bgp: str, text: str, plan: SwitchPlan) -> Facts:
    session, *blocks = bgp.split("   !\n")
    instance = parsed("arista.eos.bgp_global", "Bgp_globalTemplate", session.splitlines())
    families = [_family(block) for block in blocks]
    inside = instance["vrfs"]["vrf_"]
    networks = frozenset(name for family in families for name in family.get("network", ()))
    own = {
        "asn": instance["as_number"],
        "router_id": inside["router_id"],
        "networks": networks,
        "aggregates": frozenset(one["address"] for one in inside.get("aggregate_address", ())),
    }
    found: Facts = {("switch", ""): own, **_prefix_lists(text)}
    for name, entry in inside["neighbor"].items():
        if name.startswith("UNDERLAY-LISTEN-"):
            found |= _ranges(plan, name, _session(instance["as_number"], families, entry, name))
        elif not name.startswith("UNDERLAY-"):
            found["neighbor", name] = _session(instance["as_number"], families, entry, entry["peer_group"])
    return found


def _family(block: str) -> Data:
    found = parsed("arista.eos.bgp_address_family", "Bgp_afTemplate", ["router bgp 1", *block.splitlines()])
    (family,) = found["address_family"].values()
    return family  # type: ignore[no-any-return]


def _ranges(plan: SwitchPlan, group: str, session: dict[str, Any]) -> Facts:
    """Every range of a group has what the group has. Its AS stands at the range, where the parser does not look."""
    found: Facts = {}
    for one in plan.listen_ranges:
        if group == f"UNDERLAY-LISTEN-{one.peer_asn or 'ANY'}-V{6 if ':' in one.cidr else 4}":
            found["range", one.cidr] = session | {"remote_asn": one.peer_asn}
    return found


def _session(asn: int, families: list[Data], entry: Data, group: str) -> dict[str, Any]:
    name = entry["neighbor_address"]
    active = [f for f in families if f.get("neighbor", {}).get(name, {}).get("activate")]
    most = entry.get("maximum_received_routes", {}).get("count") or None
    steps = {"self": entry.get("next_hop_self"), "keep": entry.get("next_hop_unchanged")}
    return {
        "remote_asn": entry.get("remote_as"),
        "local_asn": entry.get("local_as", {}).get("as_number", asn),
        "port": entry.get("transport", {}).get("remote_port", 179),
        "keepalive": entry["timers"]["keepalive"],
        "password": "encryption_password" in entry,
        "ttl_security": entry.get("ttl"),
        "multihop": entry.get("ebgp_multihop", {}).get("ttl"),
        "bfd": entry.get("bfd") == "enable",
        "rr_client": bool(entry.get("route_reflector_client")),
        "allow_as_in": entry.get("allowas_in", {}).get("count"),
        "next_hop": _next_hop(entry, [step for step, said in steps.items() if said], asn),
        "max_prefixes": most,
        "families": frozenset(int(f["afi"][-1]) for f in active),
        "export_maps": frozenset(f["neighbor"][group]["route_map"]["name"] for f in active),
    }


def _next_hop(entry: Data, said: list[str], asn: int) -> str:
    """Of iBGP `next-hop-self` is what the plan calls auto: reflected routes keep theirs by the switch's own line."""
    step = said[0] if said else "none"
    if entry.get("remote_as") == asn or f"-{asn}-V" in entry["neighbor_address"]:
        return {"self": "auto", "none": "keep"}[step]
    return {"none": "auto"}.get(step, step)


def _prefix_lists(text: str) -> Facts:
    lines = [line for line in text.splitlines() if line.startswith(("ip prefix-list", "ipv6 prefix-list", "   seq "))]
    found = parsed("arista.eos.prefix_lists", "Prefix_listsTemplate", lines)
    return {
        ("prefix-list", name): {"entries": prefix_entries(map(_entry, one["entries"].values()))}
        for family in found.values()
        for name, one in family["prefix_lists"].items()
    }


def _entry(entry: Data) -> tuple[str, str, int | None, int | None]:
    length = entry["match"].get("masklen")
    operator = entry["match"].get("operator", "")
    bounds = {"eq": (length, length), "ge": (length, None), "le": (None, length), "": (None, None)}
    return (entry["action"], entry["address"], *bounds[operator])


JUDGES = (
    Judge(
        level="schema",
        name="`pyavd` (Arista's schema and renderer)",
        complaints=eos_avd.complaints,
        proves=AVD,
        breaks=(
            Break(r"multiplier \d+", "multiplier 99"),
            Break(r"as-path remote-as replace out", "as-override"),
            Break(r"additional-paths send any", "additional-paths send"),
            Break(r"(neighbor 10\S+ timers) \d+ \d+", r"\1 10 30"),
            Break(r"   address-family ipv6\n", ""),
            Break(r"next-hop address-family ipv6 originate", "next-hop address-family ipv6"),
        ),
    ),
    Judge(
        level="read back",
        name="Ansible's parsers (arista.eos)",
        complaints=read_back,
        proves=features_of(READS),
        breaks=(
            Break(r"maximum-routes 64", "maximum-routes 65"),
            Break(r"eq 26", "eq 27"),
            Break(r"aggregate-address 10\S+", "aggregate-address 10.244.0.0/15"),
            Break(r"transport remote-port \d+", "transport remote-port 1791"),
            Break(r"neighbor (10\.1\.\S+) next-hop-unchanged", r"neighbor \1 next-hop-self"),
            Break(r"      neighbor 10\.1\.1\.1 activate\n", ""),
        ),
    ),
)
