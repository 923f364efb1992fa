"""A blueprint as the text of a `.clab.yml`. Pure.

Files of a node lie in `configs/LAB/NODE/`, beside the topology, so that several labs share a folder. What the runner
acts on and what only containerlab does stand in one file: see docs/lab.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from containerlab.blueprint import Blueprint, LabNode, Wire
from containerlab.kinds import LINUX, NODE, NODE_IMAGE, ROUTER_IMAGE, LabKind

STORE = "store"
"""The folder beside the topology with the store that the containers share; `lab up` has a store of its own."""

_STORE_INSIDE = "/var/lib/underlay"
_FRR_FILE, _FRR_DAEMONS = "/etc/frr/frr.conf", "/etc/frr/daemons"
_LINE = 120

_HEAD = """# {name}: made by `underlay lab generate` from a declaration. Change that, not this file.
#
# Valid for containerlab; {runner}
"""
_RUNS = "`underlay lab up` runs the same file in plain network namespaces."
_RUNS_NOT = (
    "its switches need images and do not run in network namespaces (`lab generate --kind frr` makes one that does)."
)

#: A hash seed is one for all namespaces of a machine: other fields at each tier keep flows apart (polarization).
_TIER = {
    "net.ipv4.fib_multipath_hash_policy": 3,
    "net.ipv6.fib_multipath_hash_policy": 3,
    "net.ipv4.fib_multipath_hash_fields": 51,
    "net.ipv6.fib_multipath_hash_fields": 51,
}
#: The reason of each is beside it in dual-tor.clab.yml.
_SYSCTLS = {
    "net.ipv4.ip_forward": 1,
    "net.ipv6.conf.all.disable_ipv6": 0,
    "net.ipv6.conf.all.forwarding": 1,
    "net.ipv4.fib_multipath_hash_policy": 1,
    "net.ipv6.fib_multipath_hash_policy": 1,
    "net.ipv4.conf.all.ignore_routes_with_linkdown": 1,
    "net.ipv4.conf.default.ignore_routes_with_linkdown": 1,
    "net.ipv6.conf.all.ignore_routes_with_linkdown": 1,
    "net.ipv6.conf.default.ignore_routes_with_linkdown": 1,
    "net.ipv4.conf.all.rp_filter": 0,
    "net.ipv4.conf.default.rp_filter": 0,
    "net.ipv6.conf.all.accept_dad": 0,
    "net.ipv6.conf.default.accept_dad": 0,
    "net.ipv6.conf.all.keep_addr_on_down": 1,
    "net.ipv6.conf.default.keep_addr_on_down": 1,
    "net.ipv4.icmp_ratelimit": 0,
    "net.ipv6.icmp.ratelimit": 0,
}
_NODE_SYSCTLS = {
    "net.ipv4.fib_multipath_use_neigh": 1,
    "net.ipv4.conf.all.rp_filter": 2,
    "net.ipv4.conf.default.rp_filter": 2,
}


def topology_text(name: str, blueprint: Blueprint, images: Mapping[str, str]) -> str:
    """`images`: by the name of a kind of `lab generate`, or `node`; what is not in it has its default."""
    nodes = blueprint.nodes
    topology: dict[str, Any] = {
        "kinds": {LINUX: {"image": ROUTER_IMAGE, "sysctls": _SYSCTLS}},
        "groups": dict(_groups(name, blueprint, images)),
        "nodes": {node.name: _node(name, node) for node in nodes.values()},
    }
    runs = all(node.kind is None or node.kind.is_linux for node in nodes.values())
    head = _HEAD.format(name=name, runner=_RUNS if runs else _RUNS_NOT)
    return head + _yaml({"name": name}) + "\n" + _yaml({"topology": topology}) + "".join(_links(blueprint))


def startup_path(lab: str, node: LabNode) -> str:
    """Where the startup configuration of a switch or a router lies, relative to the topology."""
    return f"configs/{lab}/{node.name}/{node.kind.startup if node.kind else 'frr.conf'}"


def daemons_path(lab: str) -> str:
    return f"configs/{lab}/daemons"


def group_of(node: LabNode) -> str:
    """Of switches there is a group for each kind."""
    if node.kind is not None:
        return f"switch-{node.kind.platform}"
    return {"node": "k8s-node"}.get(node.role, node.role)


def _groups(lab: str, blueprint: Blueprint, images: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in dict.fromkeys(group_of(node) for node in blueprint.nodes.values()):
        first = next(node for node in blueprint.nodes.values() if group_of(node) == name)
        yield name, _group(lab, first, images)


def _group(lab: str, node: LabNode, images: Mapping[str, str]) -> dict[str, Any]:
    if node.kind is not None:
        return _switch_group(lab, node.kind, images)
    if node.role in ("node", "reflector"):
        image = images.get(NODE, NODE_IMAGE)
        more = {"labels": {"underlay/pods": "1"}, "sysctls": _NODE_SYSCTLS} if node.role == "node" else {}
        return {"kind": LINUX, "image": image, "binds": [f"{STORE}:{_STORE_INSIDE}"], **more}
    tier = {"sysctls": _TIER} if node.role == "spine" else {}
    return {"kind": LINUX, "image": images.get("frr", ROUTER_IMAGE), "binds": _frr_binds(lab), **tier}


def _switch_group(lab: str, kind: LabKind, images: Mapping[str, str]) -> dict[str, Any]:
    name = {"eos": "ceos"}.get(kind.platform, kind.platform)
    file = f"configs/{lab}/__clabNodeName__/{kind.startup}"
    group: dict[str, Any] = {"kind": kind.kind, "image": images.get(name, kind.image)}
    if not kind.is_linux:
        return {**group, "startup-config": file}
    binds = _frr_binds(lab) if kind.bind == _FRR_FILE else [f"{file}:{kind.bind}:ro"]
    tier = {key: 53 if value == 51 else value for key, value in _TIER.items()}
    return {**group, **({"cmd": kind.cmd} if kind.cmd else {}), "binds": binds, "sysctls": tier}


def _frr_binds(lab: str) -> list[str]:
    return [f"{daemons_path(lab)}:{_FRR_DAEMONS}:ro", f"configs/{lab}/__clabNodeName__/frr.conf:{_FRR_FILE}:ro"]


def _node(lab: str, node: LabNode) -> dict[str, Any]:
    found: dict[str, Any] = {"group": group_of(node)}
    if node.role == "node":
        found["cmd"] = f"underlay speaker --node {node.name} --store sqlite:{_STORE_INSIDE}/store.db"
    if node.role == "reflector":
        found["cmd"] = f"underlay reflector --name {node.name} --store sqlite:{_STORE_INSIDE}/store.db"
    lines = list(_exec(node)) if node.kind is None or node.kind.is_linux else []
    return {**found, "exec": lines} if lines else found


def _exec(node: LabNode) -> Iterator[str]:
    shared = [port.name for port in node.ports if port.shared]
    if shared:
        yield "ip link add name br0 type bridge"
        yield f"ip link set br0 mtu {node.mtu} up"
        yield from (f"ip link set {name} master br0" for name in shared)
    given = [("lo", node.loopbacks), ("br0", node.bridge), *((port.name, port.addresses) for port in node.ports)]
    for interface, addresses in given:
        for address in addresses:
            yield f"ip {'-6 ' if ':' in address else ''}addr add {address} dev {interface}"


def _links(blueprint: Blueprint) -> Iterator[str]:
    yield "  links:\n"
    for wire in blueprint.wires:
        if {wire.a[0], wire.b[0]} <= blueprint.nodes.keys():
            yield "    - type: veth\n"
            yield f"      mtu: {_mtu(blueprint, wire)}\n"
            ends = [{"node": node, "interface": port} for node, port in (wire.a, wire.b)]
            flow = yaml.safe_dump(ends, default_flow_style=True, sort_keys=False, width=10_000).strip()
            yield f"      endpoints: {flow}\n"


def _mtu(blueprint: Blueprint, wire: Wire) -> int:
    """Not more than both ends take without being told."""
    return min(blueprint.nodes[node].mtu for node, _ in (wire.a, wire.b))


class _Dumper(yaml.SafeDumper):
    """Without anchors, and lists below their key as in the files that are written by hand."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        return super().increase_indent(flow, False)


def _yaml(data: Mapping[str, Any]) -> str:
    return yaml.dump(dict(data), Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=_LINE)
