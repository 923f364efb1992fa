"""Short declarations for plan tests: resources from Python literals, sessions by who has them."""

from __future__ import annotations

from typing import Any

from peering.compile import plan
from peering.resource import Resource, parse_resource
from peering.resources.catalog import KINDS, UNDERLAY
from peering.session import Plan, Session
from peering.snapshot import Snapshot


def declare(kind: str, name: str, labels: dict[str, str] | None = None, **spec: Any) -> Resource:
    """A resource; spec fields as manifests write them."""
    document = {
        "apiVersion": UNDERLAY if UNDERLAY in KINDS[kind].api_versions else KINDS[kind].api_versions[0],
        "kind": kind,
        "metadata": {"name": name, "labels": labels or {}},
        "spec": spec,
    }
    parsed = parse_resource(document)
    assert isinstance(parsed, Resource), parsed
    return parsed


def host(name: str, number: int, *, ipv6: bool = False, cluster: str | None = None, **labels: str) -> Resource:
    """A node as Calico has it: an address, perhaps a cluster ID, no uplinks."""
    bgp: dict[str, Any] = {"ipv4Address": f"192.0.2.{number}/24"}
    if ipv6:
        bgp["ipv6Address"] = f"2001:db8::{number:x}/64"
    if cluster:
        bgp["routeReflectorClusterID"] = cluster
    return declare("Node", name, labels, bgp=bgp)


def configuration(**spec: Any) -> Resource:
    return declare("BGPConfiguration", "default", **spec)


NO_MESH = configuration(nodeToNodeMeshEnabled=False)


def compiled(*resources: Resource) -> Plan:
    return plan(Snapshot(resources))


def sessions(*resources: Resource, of: str) -> dict[str, Session]:
    """The sessions of a node, by name."""
    return {s.name: s for s in compiled(*resources).speakers[of].sessions}


def only(*resources: Resource, of: str) -> Session:
    """The one session of a node."""
    found = sessions(*resources, of=of)
    assert len(found) == 1, sorted(found)
    return next(iter(found.values()))


def codes(*resources: Resource, of: str | None = None) -> set[str]:
    """The codes of all problems, or of those of one object."""
    return {p.code for p in compiled(*resources).problems if of in (None, p.object)}
