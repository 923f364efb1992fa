"""The rules of Kubernetes for schemas of CustomResourceDefinitions, as far as ours could break them.

An API server refuses a definition that is not structural: every node has a type, nothing refers to anything, what
validates stands beside what describes. It also refuses CEL rules whose cost it cannot bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

_TYPES = {"object", "array", "string", "integer", "number", "boolean"}
_KEYWORDS = {
    "type",
    "description",
    "title",
    "format",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "multipleOf",
    "required",
    "properties",
    "additionalProperties",
    "items",
    "nullable",
    "default",
    "x-kubernetes-int-or-string",
    "x-kubernetes-validations",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
}
_FORMATS = {"ipv4", "ipv6", "cidr", "date-time", "int32", "int64", "double", "float", "byte", "uri", "hostname"}
_PYTHON_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}


def violations(schema: Schema, path: str = "", *, in_list: bool = False) -> Iterator[str]:
    """What an API server would refuse, one text per violation."""
    for word in sorted(set(schema) - _KEYWORDS):
        yield f"{path}: unknown keyword {word}"
    yield from _type(schema, path)
    yield from _words(schema, path)
    yield from _rules(schema, path, in_list=in_list)
    for name, child in schema.get("properties", {}).items():
        yield from violations(child, f"{path}.{name}", in_list=in_list)
    if isinstance(schema.get("additionalProperties"), dict):
        yield from violations(schema["additionalProperties"], f"{path}{{}}", in_list=True)
    if isinstance(schema.get("items"), dict):
        yield from violations(schema["items"], f"{path}[]", in_list=schema.get("x-kubernetes-list-type") != "map")


def _type(schema: Schema, path: str) -> Iterator[str]:
    kind = schema.get("type")
    if schema.get("x-kubernetes-int-or-string"):
        if kind is not None:
            yield f"{path}: int-or-string has no type"
        return
    if not isinstance(kind, str) or kind not in _TYPES:
        yield f"{path}: no type"
    if (kind == "array") is not isinstance(schema.get("items"), dict):
        yield f"{path}: arrays, and only they, have one schema of items"
    if kind != "object" and ("properties" in schema or "additionalProperties" in schema):
        yield f"{path}: only objects have properties"


def _words(schema: Schema, path: str) -> Iterator[str]:
    if "properties" in schema and "additionalProperties" in schema:
        yield f"{path}: properties and additionalProperties exclude each other"
    if schema.get("additionalProperties") in (True, False):
        yield f"{path}: additionalProperties is a schema"
    for name in schema.get("required", ()):
        if name not in schema.get("properties", {}):
            yield f"{path}: requires {name}, which is no property"
    if "default" in schema:
        yield f"{path}: a default would be written into what rules ask for"
    if "format" in schema and schema["format"] not in _FORMATS:
        yield f"{path}: unknown format {schema['format']}"
    for value in schema.get("enum", ()):
        if not isinstance(value, _PYTHON_TYPES.get(str(schema.get("type")), object)):
            yield f"{path}: {value!r} of enum has another type"
    if "pattern" in schema:
        try:
            re.compile(schema["pattern"])
        except re.error as error:
            yield f"{path}: pattern: {error}"
    if schema.get("x-kubernetes-list-type") == "map":
        yield from _list_map(schema, path)


def _list_map(schema: Schema, path: str) -> Iterator[str]:
    item = schema.get("items", {})
    for key in schema.get("x-kubernetes-list-map-keys", ()) or ("",):
        if key not in item.get("properties", {}) or key not in item.get("required", ()):
            yield f"{path}: the key {key!r} of a list map is a required property of its items"


def _rules(schema: Schema, path: str, *, in_list: bool) -> Iterator[str]:
    properties = schema.get("properties", {})
    for rule in schema.get("x-kubernetes-validations", ()):
        text = rule.get("rule", "")
        if not text or not rule.get("message") or "\n" in rule["message"] or len(rule["message"]) > 2048:
            yield f"{path}: a rule has CEL and a message of one line"
        if set(rule) - {"rule", "message", "fieldPath", "reason"}:
            yield f"{path}: a rule has unknown words"
        if "fieldPath" in rule and rule["fieldPath"].removeprefix(".") not in properties:
            yield f"{path}: fieldPath {rule['fieldPath']} is no property"
        if "oldSelf" in text and in_list:
            yield f"{path}: oldSelf is known only where items have keys"
        for name in sorted(set(re.findall(r"\b(?:self|oldSelf)\.([A-Za-z0-9_]+)", text))):
            if name not in properties:
                yield f"{path}: {text} asks for {name}, which is no property"
            elif not _bounded(properties[name], text, name):
                yield f"{path}: {text} reads {name}, whose size has no bound"


def _bounded(schema: Schema, rule: str, name: str) -> bool:
    """Whether the cost of reading the value is known; `has()` reads nothing."""
    if not re.search(rf"(?<!has\()(?:self|oldSelf)\.{name}\b", rule):
        return True
    return {
        "string": "maxLength" in schema or "enum" in schema,
        "array": "maxItems" in schema,
        "object": False,
    }.get(str(schema.get("type")), True)


def unbounded_lists(schema: Schema, path: str = "") -> Iterator[str]:
    """Lists without maxItems around objects with rules: their cost would be that of the largest request."""
    children = [(f"{path}.{name}", child) for name, child in schema.get("properties", {}).items()]
    if "items" in schema:
        children.append((f"{path}[]", schema["items"]))
        if "maxItems" not in schema and _has_rules(schema["items"]):
            yield path
    for where, child in children:
        yield from unbounded_lists(child, where)


def _has_rules(schema: Schema) -> bool:
    children = [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]
    return "x-kubernetes-validations" in schema or any(map(_has_rules, children))


def as_json_schema(schema: Schema) -> Schema:
    """For a JSON schema validator: int-or-string as two types, and fields that are not in the schema refused."""
    made = {word: value for word, value in schema.items() if not word.startswith("x-kubernetes-")}
    if schema.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    if "properties" in schema:
        made["properties"] = {name: as_json_schema(child) for name, child in schema["properties"].items()}
        made["additionalProperties"] = False
    if "items" in schema:
        made["items"] = as_json_schema(schema["items"])
    return made
