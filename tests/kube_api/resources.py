"""The resources that are served: some of Kubernetes' own, and whatever a CustomResourceDefinition adds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

Document = dict[str, Any]
CRD_FOLDER = Path(__file__).parents[2] / "config" / "crd"


@dataclass(frozen=True, eq=False)
class Resource:
    """One resource of one version. `schema` is that of a custom resource; without one nothing is checked or pruned."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = False
    schema: Document | None = None
    has_status: bool = False
    field_labels: tuple[str, ...] = ()
    columns: tuple[Document, ...] = ()
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def name(self) -> str:
        """As errors and counters name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


@dataclass
class Registry:
    """Resources by group, version and plural."""

    found: dict[tuple[str, str, str], Resource] = field(default_factory=dict)

    def add(self, *resources: Resource) -> None:
        for one in resources:
            self.found[one.group, one.version, one.plural] = one

    def add_definitions(self, documents: Iterable[Document]) -> None:
        """CustomResourceDefinitions of apiextensions.k8s.io/v1."""
        for document in documents:
            self.add(*custom(document))


BUILT_IN = (
    Resource("", "v1", "nodes", "Node", has_status=True, field_labels=("spec.unschedulable",)),
    Resource("", "v1", "namespaces", "Namespace", has_status=True),
    Resource("", "v1", "secrets", "Secret", namespaced=True, field_labels=("type",)),
    Resource("", "v1", "configmaps", "ConfigMap", namespaced=True),
    Resource("", "v1", "events", "Event", namespaced=True, field_labels=("involvedObject.name", "reason")),
    Resource("", "v1", "pods", "Pod", True, has_status=True, field_labels=("spec.nodeName", "status.phase")),
    Resource("", "v1", "services", "Service", namespaced=True, has_status=True),
    Resource("coordination.k8s.io", "v1", "leases", "Lease", namespaced=True),
    Resource("events.k8s.io", "v1", "events", "Event", namespaced=True, field_labels=("reason", "regarding.name")),
    Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", namespaced=True),
)


def custom(definition: Document) -> list[Resource]:
    """The served versions of a definition."""
    spec = definition["spec"]
    return [
        Resource(
            spec["group"],
            version["name"],
            spec["names"]["plural"],
            spec["names"]["kind"],
            spec["scope"] == "Namespaced",
            version["schema"]["openAPIV3Schema"],
            "status" in version.get("subresources", {}),
            columns=tuple(version.get("additionalPrinterColumns", ())),
            short_names=tuple(spec["names"].get("shortNames", ())),
            categories=tuple(spec["names"].get("categories", ())),
        )
        for version in spec["versions"]
        if version["served"]
    ]


@cache
def our_definitions() -> tuple[Document, ...]:
    """What is in config/crd."""
    files = (path for path in sorted(CRD_FOLDER.glob("*.yaml")) if path.name != "kustomization.yaml")
    return tuple(yaml.safe_load(path.read_text()) for path in files)


def calico_definitions() -> list[Document]:
    """Calico's CRDs as far as their names go; their schema is left open."""
    kinds = {
        "BGPPeer": "bgppeers",
        "BGPConfiguration": "bgpconfigurations",
        "BGPFilter": "bgpfilters",
        "IPPool": "ippools",
    }
    return [_open_definition("crd.projectcalico.org", "v1", kind, plural) for kind, plural in kinds.items()]


def _open_definition(group: str, version: str, kind: str, plural: str) -> Document:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    versions = [{"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}]
    names = {"kind": kind, "plural": plural}
    return {"spec": {"group": group, "scope": "Cluster", "names": names, "versions": versions}}
