"""What a generated lab consists of, before any of it is text: nodes, their ports, and the wires between them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from containerlab.kinds import LabKind

Role = Literal["switch", "spine", "edge", "node", "router", "reflector"]

_INTERFACE = re.compile(r"[^\s/:]{1,15}")
_NOT_FREE = ("lo", "eth0", ".", "..")


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An end of a wire. `name` is that of the topology, `device` what the switch's configuration calls it.

    `shared`: the port of a bridge, whose addresses are the node's `bridge`.
    """

    name: str
    device: str
    far: str
    addresses: tuple[str, ...] = ()
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbor:
    """Of a router that we do not render for: an address, or the interface of an unnumbered link; times in seconds."""

    peer: str
    asn: int
    description: str
    hold_time: int = 90
    originates_default: bool = False

    @property
    def is_interface(self) -> bool:
        return not re.fullmatch(r"[0-9.]+|[0-9a-f:]*:[0-9a-f:.]*", self.peer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """The BGP of a spine, of the world outside, or of a node whose sessions the speaker cannot have."""

    asn: int
    router_id: str
    neighbors: tuple[Neighbor, ...]
    networks: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LabNode:
    """`kind` is that of a switch, None for what runs on Linux anyway."""

    name: str
    role: Role
    loopbacks: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    bridge: tuple[str, ...] = ()
    kind: LabKind | None = None
    router: Router | None = None

    @property
    def mtu(self) -> int:
        return self.kind.mtu if self.kind else 9000


@dataclass(frozen=True, slots=True)
class Wire:
    """(node, port) at both ends."""

    a: tuple[str, str]
    b: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Blueprint:
    """Nodes in the order of the file: spines, edge, switches, then nodes."""

    nodes: Mapping[str, LabNode]
    wires: tuple[Wire, ...]


def is_port_name(name: str) -> bool:
    """Whether a port of a Linux container can have this name."""
    return bool(_INTERFACE.fullmatch(name)) and name not in _NOT_FREE


def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """A sort key: `node-2` before `node-10`."""
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in re.findall(r"\d+|\D+", name))
