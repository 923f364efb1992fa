"""A validator for containerlab's JSON schema: its patterns have classes (`\\p{L}`) that Python's `re` does not know."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import regex

#: The rules that our files must keep, in our own words.
OURS = Path(__file__).parent / "data/clab-subset.schema.json"
#: A copy of containerlab's own, where somebody has one: it is not ours to ship.
THEIRS = os.environ.get("CLAB_SCHEMA")


def validator(schema: dict[str, Any]) -> Any:
    """Of draft 7, with the `regex` package for everything that is a pattern."""
    keywords = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
    }
    made: Any = jsonschema.validators.extend(jsonschema.Draft7Validator, keywords)  # type: ignore[no-untyped-call]
    made.check_schema(schema, format_checker=jsonschema.FormatChecker(formats=()))
    return made(schema)


def load(path: Path) -> Any:
    return validator(json.loads(path.read_text(encoding="utf-8")))


def _pattern(_: Any, pattern: str, instance: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    if isinstance(instance, str) and not regex.search(pattern, instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(
    own: Any, patterns: dict[str, Any], instance: Any, schema: Any
) -> Iterator[jsonschema.ValidationError]:
    if not isinstance(instance, dict):
        return
    for pattern, inside in patterns.items():
        for key, value in instance.items():
            if regex.search(pattern, key):
                yield from own.descend(value, inside, path=key, schema_path=pattern)


def _additional_properties(own: Any, inside: Any, instance: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    if not isinstance(instance, dict):
        return
    patterns = schema.get("patternProperties", {})
    for key, value in instance.items():
        if key in schema.get("properties", {}) or any(regex.search(pattern, key) for pattern in patterns):
            continue
        if inside is False:
            yield jsonschema.ValidationError(f"{key!r} is no key of this")
        elif isinstance(inside, dict):
            yield from own.descend(value, inside, path=key)
