"""What a switch of the lab starts with: a base configuration that says what the declaration leaves to it (who it is,
its addresses), and behind it what is rendered.

A Linux container has its addresses from the topology's `exec` lines, as every Linux node has; the others have them
here. Of the kinds that are not Linux nothing was run: these are what their documentation says. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from containerlab.blueprint import LabNode
from containerlab.frr_router import BASE
from containerlab.srlinux_cli import commands

Rendered = Mapping[str, str]
Settings = Mapping[str, str]

_BIRD_BASE = """# The switch's base configuration, as the lab makes it: what BIRD finds in the kernel and puts there.
log stderr all;
protocol device { scan time 1; }
protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; merge paths on limit 16; }
protocol kernel { ipv6 { import none; export where source = RTS_BGP; }; merge paths on limit 16; }

"""
_SONIC_BOARD = {"hwsku": "Force10-S6000", "platform": "x86_64-kvm_x86_64-r0", "type": "LeafRouter"}
#: The lanes of the board's ports, four to a port: of Ethernet0, Ethernet4, ... the first one.
_SONIC_LANES = (
    25, 29, 33, 37, 45, 41, 1, 5, 13, 9, 17, 21, 53, 49, 57, 61,
    69, 65, 73, 77, 109, 105, 113, 117, 125, 121, 81, 85, 93, 89, 101, 97,
)  # fmt: skip


def startup_text(node: LabNode, rendered: Rendered, settings: Settings) -> str:
    """The text of `node.kind.startup`. `rendered`: the platform's files. `settings`: those of the Switch."""
    assert node.kind is not None
    return _STARTUPS[node.kind.platform](node, rendered, settings)


def daemon_text(platform: str, name: str, rendered: Rendered) -> str | None:
    """The same for a platform that is a daemon on Linux, which needs nothing of the blueprint; None for others."""
    make = _DAEMONS.get(platform)
    return make(name, rendered) if make else None


def _only(rendered: Rendered) -> str:
    (text,) = rendered.values()
    return text


_DAEMONS: Mapping[str, Callable[[str, Rendered], str]] = {
    "frr": lambda name, rendered: BASE.format(name=name) + _only(rendered),
    "bird": lambda name, rendered: _BIRD_BASE + _only(rendered),
    "gobgp": lambda name, rendered: _only(rendered),
    "openbgpd": lambda name, rendered: _only(rendered),
}


def _daemon(node: LabNode, rendered: Rendered, settings: Settings) -> str:
    assert node.kind is not None
    return _DAEMONS[node.kind.platform](node.name, rendered)


def _eos(node: LabNode, rendered: Rendered, settings: Settings) -> str:
    return "\n".join([*_eos_base(node, settings), _only(rendered)])


def _eos_base(node: LabNode, settings: Settings) -> Iterator[str]:
    yield "! The switch's base configuration, as the lab makes it."
    yield f"hostname {node.name}"
    yield "!"
    yield "service routing protocols model multi-agent"
    yield "!"
    for port in node.ports:
        yield f"interface {port.device}"
        yield f"   description {port.far}"
        yield "   no switchport"
        yield from _eos_addresses(port.addresses)
    yield f"interface {settings.get('loopback', 'Loopback0')}"
    yield from _eos_addresses(node.loopbacks)
    yield "ip routing"
    yield "!"
    yield "ipv6 unicast-routing"
    yield "!"


def _eos_addresses(addresses: tuple[str, ...]) -> Iterator[str]:
    first_seen: set[bool] = set()
    for address in addresses:
        is_ipv6 = ":" in address
        second = " secondary" if not is_ipv6 and is_ipv6 in first_seen else ""
        first_seen.add(is_ipv6)
        yield f"   {'ipv6' if is_ipv6 else 'ip'} address {address}{second}"
    yield "!"


def _srlinux(node: LabNode, rendered: Rendered, settings: Settings) -> str:
    """Comments of its CLI begin with `#`."""
    base = commands(_srlinux_base(node, settings))
    ours = commands(json.loads(_only(rendered)))
    head = "# The switch's base configuration, as the lab makes it."
    mark = "# Rendered by Underlay: the tree of `underlay render`, as commands."
    return "\n".join([head, *base, mark, *ours, ""])


def _srlinux_base(node: LabNode, settings: Settings) -> dict[str, Any]:
    ports = [(port.device, port.addresses, port.far) for port in node.ports]
    ports.append(("system0", node.loopbacks, ""))
    instance = settings.get("networkInstance", "default")
    inside: dict[str, Any] = {"name": instance, "interface": [{"name": f"{device}.0"} for device, _, _ in ports]}
    return {
        "interface": [_srlinux_interface(*port) for port in ports],
        "network-instance": [{**inside, "type": "default" if instance == "default" else "ip-vrf"}],
    }


def _srlinux_interface(device: str, addresses: tuple[str, ...], far: str) -> dict[str, Any]:
    inside: dict[str, Any] = {"index": 0, "admin-state": "enable"}
    for family, is_ipv6 in (("ipv4", False), ("ipv6", True)):
        of_family = [{"ip-prefix": a} for a in addresses if (":" in a) is is_ipv6]
        if of_family:
            inside[family] = {"admin-state": "enable", "address": of_family}
    named = {"description": far} if far else {}
    return {"name": device, "admin-state": "enable", **named, "subinterface": [inside]}


def _sonic(node: LabNode, rendered: Rendered, settings: Settings) -> str:
    """CONFIG_DB as a whole, since it takes the place of the one in the machine."""
    tables = _sonic_base(node)
    for table, rows in json.loads(_only(rendered)).items():
        tables[table] = {**tables.get(table, {}), **rows}
    return json.dumps(tables, indent=2, sort_keys=True) + "\n"


def _sonic_base(node: LabNode) -> dict[str, dict[str, dict[str, str]]]:
    host = {"hostname": node.name, "mac": _mac(node.name), **_SONIC_BOARD}
    # Whoever reads our tables: the management framework, for all daemons of FRR at once.
    host |= {"frr_mgmt_framework_config": "true", "docker_routing_config_mode": "unified"}
    return {
        "DEVICE_METADATA": {"localhost": host},
        "PORT": {port.device: _sonic_port(port.device) for port in node.ports},
        "INTERFACE": {
            k: {} for port in node.ports for k in (port.device, *(f"{port.device}|{a}" for a in port.addresses))
        },
        "LOOPBACK_INTERFACE": {k: {} for k in ("Loopback0", *(f"Loopback0|{a}" for a in node.loopbacks))},
    }


def _sonic_port(device: str) -> dict[str, str]:
    lane = int(device.removeprefix("Ethernet"))
    first = _SONIC_LANES[lane // 4]
    lanes = ",".join(str(first + n) for n in range(4))
    port = {"admin_status": "up", "alias": f"fortyGigE0/{lane}", "index": str(lane // 4), "lanes": lanes}
    return {**port, "mtu": "9100", "speed": "40000"}


def _mac(name: str) -> str:
    """Locally administered, and the same at every generation."""
    value = 0
    for byte in name.encode():
        value = (value * 257 + byte) % (1 << 40)
    return ":".join(f"{byte:02x}" for byte in (0x02, *value.to_bytes(5, "big")))


_STARTUPS: Mapping[str, Callable[[LabNode, Rendered, Settings], str]] = {
    **dict.fromkeys(_DAEMONS, _daemon),
    "eos": _eos,
    "srlinux": _srlinux,
    "sonic": _sonic,
}
