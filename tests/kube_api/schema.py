"""A custom resource against its structural schema: unknown fields are pruned, values judged, CEL rules evaluated."""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import cel

from tests.kube_api.errors import Refused
from tests.kube_api.resources import Resource

Schema = dict[str, Any]
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def prune(value: Any, schema: Schema | None, *, root: bool = True) -> Any:
    """The value without fields that the schema does not name. Metadata is not the schema's."""
    if schema is None or schema.get("x-kubernetes-preserve-unknown-fields"):
        return value
    if isinstance(value, list):
        return [prune(item, schema.get("items", {}), root=False) for item in value]
    if not isinstance(value, dict):
        return value
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    kept = {}
    for name, item in value.items():
        if root and name in ("apiVersion", "kind", "metadata"):
            kept[name] = item
        elif name in properties:
            kept[name] = prune(item, properties[name], root=False)
        elif isinstance(others, dict):
            kept[name] = prune(item, others, root=False)
    return kept


def validate(resource: Resource, document: Any, old: Any) -> None:
    """Raises Refused (422) with every mistake. `old` is the object before a change, None at creation."""
    if resource.schema is None:
        return
    wrong = list(_values(document, resource.schema, "")) or list(_rules(document, old, resource.schema, ""))
    if wrong:
        name = document["metadata"]["name"]
        raise Refused(422, f'{resource.kind}.{resource.group} "{name}" is invalid: {"; ".join(wrong)}')


def _values(value: Any, schema: Schema, path: str) -> Iterator[str]:
    where = path.removeprefix(".") or "<object>"
    if value is None and path:
        if not schema.get("nullable"):
            yield f"{where}: Invalid value: null"
        return
    if not _has_type(value, schema):
        yield f"{where}: Invalid value: {value!r}: must be of type {schema.get('type', 'integer or string')}"
        return
    yield from (f"{where}: {said}" for said in _bounds(value, schema))
    if isinstance(value, dict):
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{f'{path}.{name}'.removeprefix('.')}: Required value"
        for name, item in value.items():
            child = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
            if isinstance(child, dict) and not (not path and name == "metadata"):
                yield from _values(item, child, f"{path}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _values(item, schema.get("items", {}), f"{path}[{index}]")
        yield from (f"{where}: {said}" for said in _keys(value, schema))


def _has_type(value: Any, schema: Schema) -> bool:
    if schema.get("x-kubernetes-int-or-string"):
        return isinstance(value, int | str) and not isinstance(value, bool)
    kind = schema.get("type")
    if kind is None or kind not in _TYPES:
        return True
    return isinstance(value, _TYPES[kind]) and (kind == "boolean") is isinstance(value, bool)


def _bounds(value: Any, schema: Schema) -> Iterator[str]:
    for word, (of, holds) in _BOUNDS.items():
        if word in schema and isinstance(value, of) and not isinstance(value, bool) and not holds(value, schema[word]):
            yield f"Invalid value: {value!r}: {word} is {schema[word]}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"Unsupported value: {value!r}: supported values: {schema['enum']}"


def _is_format(value: str, form: str) -> bool:
    try:
        _FORMATS.get(form, str)(value)
    except ValueError:
        return False
    return True


_FORMATS: dict[str, Callable[[str], Any]] = {
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "cidr": ipaddress.ip_interface,
    "date-time": lambda text: datetime.datetime.fromisoformat(text.replace("Z", "+00:00")),
}
_BOUNDS: dict[str, tuple[Any, Callable[[Any, Any], bool]]] = {
    "minimum": (int | float, lambda value, bound: value >= bound),
    "maximum": (int | float, lambda value, bound: value <= bound),
    "minLength": (str, lambda value, bound: len(value) >= bound),
    "maxLength": (str, lambda value, bound: len(value) <= bound),
    "pattern": (str, lambda value, bound: re.search(bound, value) is not None),
    "format": (str, _is_format),
    "minItems": (list, lambda value, bound: len(value) >= bound),
    "maxItems": (list, lambda value, bound: len(value) <= bound),
}


def _keys(value: list[Any], schema: Schema) -> Iterator[str]:
    """Of a list with keys: each item has them, and no two have the same."""
    if schema.get("x-kubernetes-list-type") != "map":
        return
    names = schema["x-kubernetes-list-map-keys"]
    seen = [tuple(item.get(name) for name in names) for item in value if isinstance(item, dict)]
    if len(seen) != len(set(seen)):
        yield "Duplicate value"


@cache
def _program(rule: str) -> Any:
    return cel.compile(rule)


def _rules(value: Any, old: Any, schema: Schema, path: str) -> Iterator[str]:
    """Rules of the whole tree. One that asks for `oldSelf` is judged only where there is an old value."""
    for rule in schema.get("x-kubernetes-validations", ()):
        context = {"self": value}
        if "oldSelf" in rule["rule"]:
            if old is None:
                continue
            context["oldSelf"] = old
        if _program(rule["rule"]).execute(context) is not True:
            where = (path + rule.get("fieldPath", "")).removeprefix(".") or "<object>"
            yield f"{where}: {rule['message']}"
    if isinstance(value, dict):
        for name, item in value.items():
            child = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
            if isinstance(child, dict) and name != "metadata":
                before = old.get(name) if isinstance(old, dict) else None
                yield from _rules(item, before, child, f"{path}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _rules(item, None, schema.get("items", {}), f"{path}[{index}]")
