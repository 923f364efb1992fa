"""The columns of `get`'s tables: those that `kubectl get` has for the kind, and what it has no way to show.

A path is written as Kubernetes writes it: `.spec.asNumber`, `.spec.uplinks[*].interface`. Several values are joined by
commas.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from peering.resources.catalog import Column, Kind

_STEP = re.compile(r"\.(\w+)(\[\*\])?")

_BESIDES: dict[str, tuple[Column, ...]] = {
    "BGPConfiguration": (Column("Port", ".spec.listenPort"),),
    "BGPPeer": (
        Column("Hold", ".spec.holdTime"),
        Column("BFD", ".spec.bfd"),
        Column("Filters", ".spec.filters"),
    ),
    "BGPFilter": (
        Column("Import-v4", ".spec.importV4[*].action"),
        Column("Export-v4", ".spec.exportV4[*].action"),
        Column("Import-v6", ".spec.importV6[*].action"),
        Column("Export-v6", ".spec.exportV6[*].action"),
    ),
    "BFDProfile": (Column("Passive", ".spec.passiveMode"),),
    "IPPool": (Column("Unexported", ".spec.disableBGPExport"),),
    "IPAMConfiguration": (Column("Cooldown", ".spec.ipCooldownSeconds"),),
    "Node": (
        Column("Cluster-ID", ".spec.bgp.routeReflectorClusterID"),
        Column("Uplinks", ".spec.uplinks[*].interface"),
        Column("Labels", ".metadata.labels"),
    ),
    "Rack": (Column("Hold", ".spec.holdTime"), Column("BFD", ".spec.bfd")),
    "Switch": (
        Column("Link-subnets", ".spec.linkSubnets"),
        Column("Fabric-peers", ".spec.fabricPeers[*].name"),
    ),
    "RouteReflector": (Column("AS", ".spec.asNumber"), Column("Cluster-ID", ".spec.clusterID")),
    "Secret": (Column("Keys", ".stringData"),),
    "Service": (
        Column("Type", ".spec.type"),
        Column("Cluster", ".spec.clusterIPs"),
        Column("External", ".spec.externalIPs"),
        Column("Load-balancer", ".spec.loadBalancerIPs"),
        Column("Traffic", ".spec.externalTrafficPolicy"),
    ),
    "EndpointSlice": (Column("Service", ".spec.service"), Column("Ready-on", ".spec.readyOn")),
    "BlockAffinity": (Column("Addresses", ".spec.addresses[*].address"),),
    "BGPNodeStatus": (
        Column("Sessions", ".spec.sessions[*].state"),
        Column("Blocks", ".spec.blocks"),
        Column("Drain", ".spec.drain"),
        Column("Problems", ".spec.problems"),
    ),
}


def columns_of(kind: Kind) -> tuple[Column, ...]:
    """What an engineer looks for in a resource of the kind, besides its name."""
    return (*kind.columns, *_BESIDES.get(kind.name, ()))


def cell(document: dict[str, Any], path: str) -> str:
    """What is at the path in words: empty where there is nothing, values that repeat once with their number."""
    found: list[Any] = [document]
    for key, each in _STEP.findall(path):
        found = [value for item in found if (value := _at(item, key)) is not None]
        if each:
            found = [value for values in found for value in values]
    return ", ".join(_counted([text for value in found for text in _texts(value)]))


def _at(item: Any, key: str) -> Any:
    return item.get(key) if isinstance(item, dict) else None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (f"{key}={text}" for key, text in value.items())
    elif isinstance(value, list):
        yield from map(str, value)
    else:
        yield str(value).lower() if isinstance(value, bool) else str(value)


def _counted(texts: list[str]) -> list[str]:
    return [text if texts.count(text) == 1 else f"{texts.count(text)} {text}" for text in dict.fromkeys(texts)]
