"""Label and field selectors of lists and watches."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.kube_api.errors import Refused
from tests.kube_api.resources import Resource

Document = dict[str, Any]
Matches = Callable[[Document], bool]
_IN = re.compile(r"^\s*(\S+)\s+(in|notin)\s+\(([^)]*)\)\s*$")
_EQUAL = re.compile(r"^\s*([^\s!=]+)\s*(==|=|!=)\s*(\S*)\s*$")
_EXISTS = re.compile(r"^\s*(!?)\s*([^\s!=,()]+)\s*$")


def selector(resource: Resource, labels: str, fields: str) -> Matches:
    """Whether an object is chosen. Raises Refused (400) for what cannot be read or a field that is no label."""
    wanted = [_label(part) for part in _split(labels)] + [_field(resource, part) for part in _split(fields)]
    return lambda document: all(matches(document) for matches in wanted)


def _split(text: str) -> list[str]:
    """At commas outside of parentheses."""
    return [part for part in re.split(r",(?![^(]*\))", text) if part.strip()]


def _label(text: str) -> Matches:
    if found := _IN.match(text):
        key, how, values = found.groups()
        among = {value.strip() for value in values.split(",")}
        return lambda document: (_labels(document).get(key) in among) is (how == "in")
    if found := _EQUAL.match(text):
        key, how, value = found.groups()
        return lambda document: (_labels(document).get(key) == value) is (how != "!=")
    if found := _EXISTS.match(text):
        no, key = found.groups()
        return lambda document: (key in _labels(document)) is not bool(no)
    raise Refused(400, f"unable to parse requirement: {text!r}")


def _labels(document: Document) -> dict[str, str]:
    labels: dict[str, str] = document["metadata"].get("labels") or {}
    return labels


def _field(resource: Resource, text: str) -> Matches:
    found = _EQUAL.match(text)
    if found is None:
        raise Refused(400, f"invalid selector: {text!r}")
    path, how, value = found.groups()
    known = {"metadata.name", *(("metadata.namespace",) if resource.namespaced else ()), *resource.field_labels}
    if path not in known:
        raise Refused(400, f"field label not supported: {path}")
    return lambda document: (_value(document, path) == value) is (how != "!=")


def _value(document: Document, path: str) -> str:
    node: Any = document
    for step in path.split("."):
        node = node.get(step) if isinstance(node, dict) else None
    return "" if node is None else str(node).lower() if isinstance(node, bool) else str(node)
