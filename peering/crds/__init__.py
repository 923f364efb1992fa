"""CustomResourceDefinitions of every kind of ours, made from the models that judge manifests.

`make crds` writes them into `config/crd`. An API server then takes what `underlay apply` takes, as far as a schema and
CEL can say it: types, bounds and `Spec.RULES`. What they cannot say (host bits of a CIDR, the syntax of a selector)
is a problem of the resource when it is read.
"""

from __future__ import annotations

from typing import Any

import yaml

from peering.crds.schema import structural_schema, summary
from peering.resources.catalog import KINDS, UNDERLAY, Column, Kind

Document = dict[str, Any]

_GROUP, _, _VERSION = UNDERLAY.partition("/")
_HEAD = "# Made by `make crds` from the models in peering/resources: change those.\n"
_KUSTOMIZATION = "kustomization.yaml"
_AGE = Column("Age", ".metadata.creationTimestamp", "date")


class _Whole(yaml.SafeDumper):
    """What stands in two places is written twice: a person reads these files, and not every reader knows anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def crd_files() -> dict[str, str]:
    """File name -> YAML text, one file per kind."""
    return {
        f"{kind.plural}.yaml": _HEAD + yaml.dump(definition(kind), Dumper=_Whole, sort_keys=False, width=120)
        for kind in KINDS.values()
        if UNDERLAY in kind.api_versions
    }


def folder_files() -> dict[str, str]:
    """What is in `config/crd`: those, and what makes kustomize take the folder as a whole."""
    made = crd_files()
    return {**made, _KUSTOMIZATION: _HEAD + yaml.safe_dump({"resources": sorted(made)})}


def definition(kind: Kind) -> Document:
    """The CustomResourceDefinition of a kind, in our group."""
    names: Document = {
        "kind": kind.name,
        "listKind": f"{kind.name}List",
        "plural": kind.plural,
        "singular": kind.name.lower(),
        "categories": ["underlay"],
    }
    if kind.short_names:
        names["shortNames"] = list(kind.short_names)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{_GROUP}"},
        "spec": {"group": _GROUP, "names": names, "scope": "Cluster", "versions": [_version(kind)]},
    }


def _version(kind: Kind) -> Document:
    return {
        "name": _VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _root(kind)},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [*map(_column, (*kind.columns, *kind.kubectl_columns, _AGE))],
    }


def _column(column: Column) -> Document:
    return {"name": column.title, "type": column.type, "jsonPath": column.path}


def _root(kind: Kind) -> Document:
    spec = structural_schema(kind.spec)
    root: Document = {"type": "object", "description": summary(kind.spec)}
    if "required" in spec:
        root["required"] = ["spec"]
    root["properties"] = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": spec,
        "status": _STATUS,
    }
    return root


def _text(description: str, **words: Any) -> Document:
    return {"type": "string", "description": description, **words}


_CONDITION: Document = {
    "type": "object",
    "description": "One thing that holds of the resource or does not, as Kubernetes' conditions are.",
    "required": ["type", "status", "lastTransitionTime", "reason", "message"],
    "properties": {
        "type": _text("What is told.", maxLength=316),
        "status": _text("Whether it holds.", enum=["True", "False", "Unknown"]),
        "reason": _text("One word for programs.", minLength=1, maxLength=1024),
        "message": _text("The problems, for people.", maxLength=32768),
        "lastTransitionTime": _text("When the status changed.", format="date-time"),
        "observedGeneration": {
            "type": "integer",
            "format": "int64",
            "minimum": 0,
            "description": "The metadata.generation that this is about.",
        },
    },
}


def _count(description: str) -> Document:
    return {"type": "integer", "minimum": 0, "description": description}


_SESSIONS: Document = {
    "type": "object",
    "description": "Its sessions, as the speakers of the nodes report them. One between two nodes counts at both.",
    "properties": {
        "up": _count("Those that are up."),
        "down": _count("Those that are down."),
        "unknown": _count("Those of which no report is known, or an old one only."),
        "total": _count("All of them."),
    },
}

_STATUS: Document = {
    "type": "object",
    "description": "What underlay says of the resource; never read as a wish.",
    "properties": {
        "conditions": {
            "type": "array",
            "description": "Whether the resource is in force, and what is wrong with it.",
            "items": _CONDITION,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
        "sessions": _SESSIONS,
    },
}
