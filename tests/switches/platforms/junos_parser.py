"""Junos without a Junos: the tree that PyPI's junoscfg makes of Juniper's XSD (24.4), and its reader of `set` lines.

`unknown` walks each line through the tree. A node of it is a map: `c` its children, `L` a list whose next word is the
key of an entry, `l` a leaf whose next word is its value, `p` a leaf without one, `nk` that its own name is not said.
`facts` are of the tree that junoscfg reads the lines into.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from ipaddress import ip_network
from typing import Any

from junoscfg.convert import validate_ir
from junoscfg.convert.input.set_input import set_to_dict
from junoscfg.display.constants import load_schema_tree

from tests.switches.facts import Facts

_GLOBAL = ("UNDERLAY-NEXT-HOP-SELF", "UNDERLAY-NEXT-HOP-SELF-ALL")


def tree(text: str) -> dict[str, Any]:
    """What stays when all lines are carried out: what is deleted is set again."""
    return set_to_dict("\n".join(line for line in text.splitlines() if line.startswith("set ")))


def unknown(text: str) -> list[str]:
    """Each line of which a word is not in the tree, and each value that is none of its type."""
    found = []
    for line in text.splitlines():
        if not line.startswith("#"):
            verb, *words = shlex.split(line)
            wrong = f"no command {verb}" if verb not in ("set", "delete") else _walk(words)
            found += [f"{line}: {wrong}"] if wrong else []
    return found + [f"{e.path}: {e.message}" for e in validate_ir(tree(text)).errors]


@cache
def _schema() -> dict[str, Any]:
    tree = load_schema_tree()
    assert tree, "junoscfg came without its data"
    return tree


def _walk(words: list[str]) -> str | None:
    node, rest = _schema(), list(words)
    unnamed: dict[str, Any] | None = None
    while rest:
        word = rest.pop(0)
        child = node.get("c", {}).get(word)
        if child is None or child.get("nk"):
            child, before = _without_keyword(node), unnamed
            unnamed = child
            if child is None or child is before:
                return f"{word} is not known here"
            rest.insert(0, word)
        wrong = _taken(word, child, rest)
        if wrong:
            return wrong
        if child.get("L") or not (child.get("l") or child.get("p")):
            node = child
        elif rest and not _without_keyword(node):  # only such a node says several things in one line
            return f"{rest[0]} is too much"
    return None


def _taken(word: str, child: dict[str, Any], rest: list[str]) -> str | None:
    """Takes the value of a leaf or the key of an entry away from `rest`."""
    if child.get("l"):
        return _value(child, rest.pop(0)) if rest else f"{word} has no value"
    if not child.get("L"):
        return None
    if rest and child.get("o") and rest[0] in child["c"]:  # `community delete NAME`: the action stands before the key
        rest.pop(0)
    return None if rest and rest.pop(0) else f"{word} has no name"


def _value(leaf: dict[str, Any], value: str) -> str | None:
    """Patterns of the leaf itself; what its type says is looked at by `validate_ir`."""
    if "r" not in leaf or "tr" in leaf:
        return None
    pattern = _schema()["_patterns"][leaf["r"]].replace("[:digit:]", "0-9")
    return None if re.search(pattern, value) else f"{value} is not of the form {pattern}"


def _without_keyword(node: dict[str, Any]) -> dict[str, Any] | None:
    return next((c for c in node.get("c", {}).values() if c.get("nk")), None)


def facts(text: str) -> Facts:
    read = tree(text)
    options, policies = read["routing-options"], read["policy-options"]
    bgp = read["protocols"]["bgp"]["group"]
    asn = int(options["autonomous-system"]["as-number"])
    clusters = {one["cluster"] for g in bgp for one in (g, *g.get("neighbor", ())) if "cluster" in one}
    found: Facts = {
        ("switch", ""): {
            "asn": asn,
            "router_id": options["router-id"],
            "cluster_id": next(iter(clusters)) if len(clusters) == 1 else None,
            "networks": frozenset(_originated(policies, "direct")),
            "aggregates": _aggregates(options, policies),
        }
    }
    for one in policies.get("route-filter-list", ()):
        rules = (key.split() for key in one if key not in ("name", "@"))
        found["prefix-list", one["name"]] = {"entries": frozenset(_entry(*rule) for rule in rules)}
    for group in bgp:
        for n in group.get("neighbor", ()):
            found["neighbor", n["name"]] = _said(group, n, asn)
        for dynamic in group.get("dynamic-neighbor", ()):
            for prefix in dynamic["allow"]:
                found["range", prefix] = {**_said(group, group, asn), "limit": int(dynamic["peer-limit"])}
    return found


def _aggregates(options: dict[str, Any], policies: dict[str, Any]) -> frozenset[str]:
    """Those that are made and may leave."""
    tables = (options, *options.get("rib", ()))
    made = {route["name"] for one in tables for route in one.get("aggregate", {}).get("route", ()) if "brief" in route}
    return frozenset(made & set(_originated(policies, "aggregate")))


def _originated(policies: dict[str, Any], protocol: str) -> Iterator[str]:
    for one in policies["policy-statement"]:
        for term in one["term"] if one["name"].startswith("UNDERLAY-ORIGIN-") else ():
            if protocol in term.get("from", {}).get("protocol", ()):
                yield from (f["address"] for f in term["from"]["route-filter"] if "exact" in f)


def _entry(prefix: str, kind: str, lengths: str = "") -> tuple[str, int, int]:
    length = ip_network(prefix).prefixlen
    low, high = (int(n.strip("/")) for n in lengths.split("-")) if kind == "prefix-length-range" else (length, length)
    return prefix, low, high


def _said(group: dict[str, Any], n: dict[str, Any], asn: int) -> dict[str, Any]:
    """What a neighbour says, or the group for each of a range."""
    external = group["type"] == "external"
    families = {{"inet": 4, "inet6": 6}[name]: one["unicast"] for name, one in n.get("family", {}).items()}
    first: dict[str, Any] = next(iter(families.values()), {})
    hops = int(n["multihop"]["ttl"]) if "multihop" in n else None
    bfd = n.get("bfd-liveness-detection", {})
    return {
        "remote_asn": int(n.get("peer-as", 0 if external else asn)),
        "local_asn": int(n["local-as"]["as-number"]) if "local-as" in n else asn,
        "local_address": n.get("local-address"),
        "passive": "passive" in n,
        "port": int(n.get("tcp-connect-port", 179)),
        "hold": _number(n.get("hold-time")),
        "password": "authentication-key" in n,
        "multihop": hops if hops != 255 else None,
        "bfd": bool(bfd),
        "bfd_receive": _number(bfd.get("minimum-receive-interval")),
        "bfd_transmit": _number(bfd.get("transmit-interval", {}).get("minimum-interval")),
        "bfd_multiplier": _number(bfd.get("multiplier")),
        "rr_client": "cluster" in n,
        "as_override": "as-override" in n,
        "allow_as_in": _number(first.get("loops", {}).get("loops")),
        "next_hop": _next_hop(n.get("export", []), external),
        "max_prefixes": _number(first.get("prefix-limit", {}).get("maximum")),
        "add_paths": _add_paths(first.get("add-path", {})),
        "long_lived": _number(
            first.get("graceful-restart", {}).get("long-lived", {}).get("restarter", {}).get("stale-time")
        ),
        "families": frozenset(families),
        "import_maps": frozenset(m for m in group["import"] if int(m[-1]) in families),
        "export_maps": frozenset(
            m for m in n.get("export", group["export"]) if m not in _GLOBAL and int(m[-1]) in families
        ),
    }


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _next_hop(exports: list[str], external: bool) -> str:
    """By the first policy of the list: behind ours, which accept or reject, none is asked."""
    first = exports[0] if exports else ""
    if first == "UNDERLAY-NEXT-HOP-SELF-ALL":
        return "self"
    return "auto" if external or first == "UNDERLAY-NEXT-HOP-SELF" else "keep"


def _add_paths(said: dict[str, Any]) -> str | None:
    return {(): None, ("send",): "send", ("receive",): "receive", ("receive", "send"): "both"}[tuple(sorted(said))]
