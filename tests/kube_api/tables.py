"""What kubectl asks for beside objects: which resources there are, and lists as tables.

A table has the columns of the definition of a custom resource. Built-in kinds have names and ages only, other than
those of a real server.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from tests.kube_api.resources import Registry, Resource

Document = dict[str, Any]
_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]
_STEP = re.compile(r"\.(?P<field>\w+)|\[\?\(@\.(?P<key>\w+)==\"(?P<value>[^\"]*)\"\)\]|\[(?P<index>\d+)\]")
_NAME = {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0}
_AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
#: From so many seconds on, in these units.
_UNITS = ((2 * 365 * 86400, 365 * 86400, "y"), (48 * 3600, 86400, "d"), (3 * 3600, 3600, "h"), (120, 60, "m"))


def is_table(accept: str) -> bool:
    """Whether the first that is asked for is a table."""
    return "as=Table" in accept.split(",")[0]


def discovery(registry: Registry, path: str) -> Document | None:
    """What is answered of versions, groups and resources; None for every other path."""
    parts = path.strip("/").split("/")
    if parts == ["api"]:
        return {"kind": "APIVersions", "versions": ["v1"]}
    if parts == ["apis"]:
        groups = {(one.group, one.version) for one in registry.found.values() if one.group}
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(*one) for one in sorted(groups)]}
    if (parts[0], len(parts)) in (("api", 2), ("apis", 3)):
        version = "/".join(parts[1:])
        found = [one for one in registry.found.values() if one.api_version == version]
        return _resources(version, found) if found else None
    return None


def _group(group: str, version: str) -> Document:
    one = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [one], "preferredVersion": one}


def _resources(version: str, found: Iterable[Resource]) -> Document:
    rows = [
        {
            "name": one.plural,
            "singularName": one.kind.lower(),
            "namespaced": one.namespaced,
            "kind": one.kind,
            "verbs": _VERBS,
            "shortNames": list(one.short_names),
            "categories": list(one.categories),
        }
        for one in found
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": rows}


def table(resource: Resource, items: Iterable[Document], metadata: Document, now: float) -> Document:
    """The objects as rows. `now` is Unix time."""
    columns = resource.columns or (_AGE,)
    told = [{**_NAME, "name": one["name"], "type": one["type"], "format": ""} for one in columns]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [_NAME, *told],
        "rows": [
            {
                "cells": [item["metadata"]["name"], *(_cell(item, one, now) for one in columns)],
                "object": {
                    "kind": "PartialObjectMetadata",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": item["metadata"],
                },
            }
            for item in items
        ],
    }


def _cell(item: Document, column: Document, now: float) -> Any:
    found = list(_at(item, column["jsonPath"]))
    if not found:
        return None
    if column["type"] == "date":
        return human_duration(now - datetime.datetime.fromisoformat(found[0]).timestamp())
    if column["type"] == "string":
        return found[0] if isinstance(found[0], str) else json.dumps(found[0], separators=(",", ":"))
    return found[0]


def _at(item: Any, path: str) -> Iterator[Any]:
    """What is at a JSONPath of fields, indexes and filters by one field."""
    found = [item]
    position = 0
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            raise ValueError(f"cannot read {path!r}")
        position = step.end()
        found = [value for one in found for value in _step(one, step)]
    yield from found


def _step(value: Any, step: re.Match[str]) -> Iterator[Any]:
    if step["field"] is not None:
        if isinstance(value, dict) and value.get(step["field"]) is not None:
            yield value[step["field"]]
    elif isinstance(value, list) and step["key"] is not None:
        yield from (one for one in value if one.get(step["key"]) == step["value"])
    elif isinstance(value, list) and len(value) > int(step["index"] or 0):
        yield value[int(step["index"])]


def human_duration(seconds: float) -> str:
    """About as kubectl prints ages."""
    for least, unit, letter in _UNITS:
        if seconds >= least:
            return f"{int(seconds // unit)}{letter}"
    return f"{max(0, int(seconds))}s"
