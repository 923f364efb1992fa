"""One resource, validated: what the rest of the hub works with instead of raw documents.

`parse_resource` is the border between documents (JSON-like dictionaries, from YAML or a store) and
resources. It never raises on bad input: it returns the problems, all of them.
"""

from __future__ import annotations

import base64
import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from peering.problems import Problem
from peering.resources.catalog import KINDS, UNDERLAY, Kind
from peering.resources.fields import Spec

Document = dict[str, Any]

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_TOP_LEVEL = ("apiVersion", "kind", "metadata", "spec", "status")
#: What pydantic calls a value of the wrong type, in an admin's words.
_WRONG_TYPES = {
    "model_type": "expected fields",
    "model_attributes_type": "expected fields",
    "dict_type": "expected fields",
    "tuple_type": "expected a list",
    "string_type": "expected text",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
}
_INTEGER_BITS = 64
_YAML_ONLY = {bytes: "!!binary", set: "!!set", tuple: "!!pairs"}
_SECRET_VALUES = ("stringData", "data", "type", "immutable")


@dataclass(frozen=True, slots=True)
class Resource:
    """`kind/name` with its validated spec. `version` is the store's, 0 when it comes from a file."""

    kind: str
    name: str
    spec: Spec
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    version: int = 0

    @property
    def ref(self) -> str:
        """`Kind/name`, as problems and events name it."""
        return f"{self.kind}/{self.name}"

    def to_document(self) -> Document:
        """The document that `parse_resource` reads back; fields left at their default are left out."""
        metadata: Document = {"name": self.name}
        if self.labels:
            metadata["labels"] = dict(self.labels)
        if self.annotations:
            metadata["annotations"] = dict(self.annotations)
        versions = KINDS[self.kind].api_versions
        api_version = UNDERLAY if UNDERLAY in versions else versions[0]
        document: Document = {"apiVersion": api_version, "kind": self.kind, "metadata": metadata}
        spec = self.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        if self.kind == "Secret":
            document["stringData"] = spec.get("values", {})
        else:
            document["spec"] = spec
        return document


def is_name(text: str) -> bool:
    """Whether a resource can have this name."""
    return _NAME.fullmatch(text) is not None


def parse_resource(document: Any, source: str = "input", version: int = 0) -> Resource | list[Problem]:
    """The resource in `document`, or every problem in it. `source` names it when it has no name of its own."""
    if not isinstance(document, dict):
        return [_problem("not-a-resource", source, "", f"expected a resource, found {_kind_of(document)}")]
    foreign = next(_foreign_values(document), None)
    if foreign is not None:
        return [_problem("bad-value", source, "", f"holds {foreign}, which cannot be kept")]
    kind = _kind_row(document, source)
    if isinstance(kind, Problem):
        return [kind]
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(name, str) or not is_name(name):
        hint = "lower-case letters, digits, '-' and '.', at most 253"
        what = "is missing" if name is None else f"{name!r} is no resource name"
        return [_problem("bad-name", f"{source}: {kind.name}", "metadata.name", what, hint)]
    ref = f"{kind.name}/{name}"
    problems = _check_document(document, kind, ref)
    labels = _string_map(metadata.get("labels"), ref, "metadata.labels", problems)
    annotations = _string_map(metadata.get("annotations"), ref, "metadata.annotations", problems)
    spec = _parse_spec(document, kind, ref, problems)
    if problems or spec is None:
        return problems
    return Resource(kind.name, name, spec, labels, annotations, version)


def _foreign_values(document: Document) -> Iterator[str]:
    """What YAML's tags and escapes can make and no store or daemon can take. Aliases may share or form a ring."""
    waiting: list[Any] = [document]
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list):
            if id(value) not in seen:
                seen.add(id(value))
                waiting += [*value, *value.values()] if isinstance(value, dict) else value
        elif isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
            yield "text that is not Unicode (half a surrogate pair)"
        elif isinstance(value, int) and value.bit_length() > _INTEGER_BITS:
            yield f"a number of {value.bit_length()} bits"
        elif isinstance(value, bytes | set | tuple):
            yield f"a value of YAML's {_YAML_ONLY[type(value)]}"


def _kind_row(document: Document, source: str) -> Kind | Problem:
    name = document.get("kind")
    if not isinstance(name, str) or name not in KINDS:
        near = difflib.get_close_matches(str(name), KINDS, 1, 0.5)
        known = ", ".join(row.name for row in KINDS.values() if row.writer == "declared")
        hint = f"did you mean {near[0]}?" if near else f"known kinds: {known}"
        return _problem("unknown-kind", source, "kind", f"{name!r} is no kind known here", hint)
    return KINDS[name]


def _check_document(document: Document, kind: Kind, ref: str) -> list[Problem]:
    problems = []
    if document.get("apiVersion") not in kind.api_versions:
        given = document.get("apiVersion")
        hint = f"use {' or '.join(kind.api_versions)}"
        problems.append(_problem("unknown-api-version", ref, "apiVersion", f"{given!r} has no {kind.name}", hint))
    allowed = _TOP_LEVEL + (_SECRET_VALUES if kind.name == "Secret" else ())
    problems += [_unknown_field(ref, str(key), allowed) for key in document if key not in allowed]
    return problems


def _string_map(value: Any, ref: str, path: str, problems: list[Problem]) -> dict[str, str]:
    if value is None:
        return {}
    if isinstance(value, dict) and all(isinstance(k, str) and isinstance(v, str) for k, v in value.items()):
        return dict(value)
    problems.append(_problem("wrong-type", ref, path, "must map text to text", "quote numbers and booleans"))
    return {}


def _parse_spec(document: Document, kind: Kind, ref: str, problems: list[Problem]) -> Spec | None:
    raw = _secret_spec(document, ref, problems) if kind.name == "Secret" else document.get("spec") or {}
    if not isinstance(raw, dict):
        problems.append(_problem("wrong-type", ref, "spec", f"expected fields, found {_kind_of(raw)}"))
        return None
    try:
        return kind.spec.model_validate(raw)
    except ValidationError as error:
        problems += [_spec_problem(ref, kind, detail) for detail in error.errors(include_url=False)]
        return None


def _secret_spec(document: Document, ref: str, problems: list[Problem]) -> Document:
    """`stringData` as it is and `data` decoded from base64: Kubernetes' two ways of writing a Secret."""
    values = dict(_string_map(document.get("stringData"), ref, "stringData", problems))
    for key, encoded in _string_map(document.get("data"), ref, "data", problems).items():
        try:
            values[key] = base64.b64decode(encoded, validate=True).decode()
        except ValueError:
            problems.append(_problem("bad-value", ref, f"data.{key}", "is not text in base64"))
    return {"values": values}


def _spec_problem(ref: str, kind: Kind, detail: ErrorDetails) -> Problem:
    path = "spec" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        parent = _model_at(kind.spec, detail["loc"][:-1])
        return _unknown_field(ref, path, [f.alias or n for n, f in parent.model_fields.items()] if parent else ())
    if detail["type"] == "missing":
        return _problem("missing-field", ref, path, "is required")
    if detail["type"] in _WRONG_TYPES:
        return _problem("wrong-type", ref, path, f"{_WRONG_TYPES[detail['type']]}, found {_kind_of(detail['input'])}")
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if message[:2].istitle():
        message = message[0].lower() + message[1:]
    return _problem("bad-value", ref, path, message)


def _model_at(model: type[Spec], loc: tuple[int | str, ...]) -> type[Spec] | None:
    """The model that the fields at `loc` belong to, found by walking aliases and container items."""
    current: Any = model
    for part in (p for p in loc if isinstance(p, str)):
        fields = {f.alias or n: f for n, f in current.model_fields.items()}
        if part not in fields:
            return None
        candidates = [fields[part].annotation]
        while candidates and not (isinstance(candidates[0], type) and issubclass(candidates[0], Spec)):
            candidates = [*getattr(candidates[0], "__args__", ()), *candidates[1:]]
        if not candidates:
            return None
        current = candidates[0]
    return current  # type: ignore[no-any-return]


def _unknown_field(ref: str, path: str, known: Any) -> Problem:
    near = difflib.get_close_matches(path.rsplit(".", 1)[-1], list(known), 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
    return _problem("unknown-field", ref, path, "is no field of this kind", hint)


def _kind_of(value: Any) -> str:
    """What a value is, without its content: it may be a password in the wrong place."""
    return {type(None): "nothing", list: "a list", str: "text", dict: "a mapping"}.get(type(value), "a number")


def _problem(code: str, ref: str, path: str, message: str, hint: str = "") -> Problem:
    return Problem("error", code, ref, path, message, hint)
