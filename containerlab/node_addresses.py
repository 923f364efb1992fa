"""The addresses that a topology's `exec` lines give to a node: what its kubelet would report. Pure."""

from __future__ import annotations

import ipaddress

from containerlab.topology import Node, split_command


def addresses_of(node: Node) -> dict[str, tuple[str, ...]]:
    """Interface -> addresses with their lengths, from lines such as `ip -6 addr add fd00::1/128 dev lo`."""
    found: dict[str, list[str]] = {}
    for line in node.exec:
        words = [word for word in split_command(line) if not word.startswith("-")]
        match words:
            case ["ip", "addr" | "address" | "a", "add" | "replace", address, "dev", interface, *_]:
                found.setdefault(interface, []).append(str(ipaddress.ip_interface(address)))
            case _:
                pass
    return {interface: tuple(addresses) for interface, addresses in found.items()}
