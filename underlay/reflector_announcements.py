"""What nodes announce to the reflectors of this machine, as those say by their admin sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from peering.addressing import bare
from peering.resource import Resource
from peering.resources.node import NodeSpec
from reflector.server.admin_socket import FOLDER
from underlay.ipam_check import Announced
from underlay.output import Refused
from underlay.reflector_client import ask, socket_of

Row = Mapping[str, Any]


def sockets(named: Sequence[str]) -> list[Path]:
    """Those of the reflectors that are named; without any name all of this machine."""
    return [socket_of(one) for one in named] if named else sorted(FOLDER.glob("*.sock"))


def announcements(
    paths: Iterable[Path], resources: Iterable[Resource], not_asked: Callable[[str], None]
) -> tuple[list[str], list[Announced]]:
    """The reflectors that answered, and what is announced to them."""
    nodes = _nodes_by_address(resources)
    names, found = list[str](), list[Announced]()
    for path in paths:
        try:
            name = str(ask(path, "status")["reflector"])
            neighbors = {row["name"]: row["address"] for row in ask(path, "neighbors", limit=0)["rows"]}
            routes = ask(path, "routes", limit=0)["rows"]
            conditions = ask(path, "conditions", limit=0)["rows"]
        except Refused as refused:
            not_asked(refused.message)
            continue
        names.append(name)
        found += _announced(f"reflector {name}", neighbors, nodes, routes, conditions)
    return names, list(dict.fromkeys(found))


def _announced(
    seen_by: str, neighbors: Mapping[str, str], nodes: Mapping[str, str], routes: Iterable[Row], about: Iterable[Row]
) -> Iterator[Announced]:
    """The best path of every prefix; others count where the reflector itself says that it has more than one announcer,
    or one that does not own the block."""

    def by(neighbor: str, prefix: str, origin: str = "") -> Announced:
        node = nodes.get(origin) or nodes.get(neighbors.get(neighbor, ""))
        return Announced(node or neighbor, prefix, seen_by, known=node is not None)

    for row in routes:
        one = by(row["from"], row["prefix"], row["originatorID"] or "")
        if one.known or row["kind"] == "client":
            yield one
    for row in about:
        for neighbor in row.get("clients", ()):
            yield by(neighbor, row["prefix"])


def _nodes_by_address(resources: Iterable[Resource]) -> dict[str, str]:
    found = {}
    for one in resources:
        if one.kind == "Node":
            spec = cast(NodeSpec, one.spec)
            addresses = [spec.bgp.ipv4_address, spec.bgp.ipv6_address]
            addresses += [address for uplink in spec.uplinks for address in uplink.addresses]
            found.update({bare(address): one.name for address in addresses if address})
    return found
