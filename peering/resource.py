"""One resource, validated: what the rest of the hub works with instead of raw documents.

`parse_resource` is the border between documents (JSON-like dictionaries, from YAML or a store) and
resources. It never raises on bad input: it returns the problems, all of them.
"""

from __future__ import annotations

import base64
import datetime
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from peering.calico_ipam import read_affinity, read_block, read_handle
from peering.foreign import Document, Reading
from peering.kubernetes_node import read_node
from peering.kubernetes_service import read_endpoint_slice, read_service, write_endpoint_slice, write_service
from peering.problems import Problem
from peering.resources.catalog import DISCOVERY, KINDS, KINDS_AS_WRITTEN, KINDS_ELSEWHERE, KUBERNETES, UNDERLAY, Kind
from peering.resources.fields import Spec, kind_of, shown
from peering.spec_problems import nearest, path_of, spec_problems, unknown_name

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_LONGEST_NAME = 253
_NAME_HINT = "lower-case letters, digits, '-' and '.', at most 253"
_TOP_LEVEL = ("apiVersion", "kind", "metadata", "spec", "status")
#: Kinds of Kubernetes whose fields stand elsewhere than in `spec`.
_TOP_LEVELS = {
    "Secret": ("apiVersion", "kind", "metadata", "stringData", "data", "type", "immutable"),
    "EndpointSlice": ("apiVersion", "kind", "metadata", "addressType", "endpoints", "ports"),
}
#: Kubernetes' ObjectMeta: name, labels and annotations are read, the rest is its own.
_METADATA = (
    "name",
    "labels",
    "annotations",
    "namespace",
    "generateName",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "ownerReferences",
    "finalizers",
    "managedFields",
    "clusterName",
)
_INTEGER_BITS = 64
_YAML_ONLY = {
    bytes: "!!binary",
    set: "!!set",
    tuple: "!!pairs",
    datetime.date: "!!timestamp",
    datetime.datetime: "!!timestamp",
}


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
        if KINDS[self.kind].namespaced:
            metadata["namespace"], _, metadata["name"] = self.name.partition(".")
        return document | _WRITERS.get(self.kind, _write_ours)(spec)


def is_name(text: str) -> bool:
    """Whether a resource can have this name: Kubernetes' DNS subdomain (RFC 1123)."""
    return len(text) <= _LONGEST_NAME and _NAME.fullmatch(text) is not None


def parse_resource(document: Any, source: str = "input", version: int = 0) -> Resource | list[Problem]:
    """The resource in `document`, or every problem in it. `source` names it when it has no name of its own."""
    if not isinstance(document, dict):
        hint = "give it apiVersion, kind, metadata and spec"
        return [_problem("not-a-resource", source, "", f"expected a resource, found {kind_of(document)}", hint)]
    foreign = [_problem("bad-value", source, path, message) for path, message in _foreign_values(document)]
    if foreign:
        return foreign
    kind = _kind_row(document, source)
    if isinstance(kind, Problem):
        return [kind]
    metadata = document.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        message = f"expected fields, found {kind_of(metadata)}"
        return [_problem("wrong-type", f"{source}: {kind.name}", "metadata", message, "write metadata: {name: a-name}")]
    metadata = metadata or {}
    name = metadata.get("name")
    if not isinstance(name, str) or not is_name(name):
        return [_bad_name(f"{source}: {kind.name}", name)]
    if kind.namespaced:
        name = f"{metadata.get('namespace') or 'default'}.{name}"
    ref = f"{kind.name}/{name}"
    problems = [*_check_document(document, kind, ref), *_unknown_metadata(metadata, ref)]
    labels = _string_map(metadata.get("labels"), ref, "metadata.labels", problems)
    annotations = _string_map(metadata.get("annotations"), ref, "metadata.annotations", problems)
    spec = _parse_spec(document, kind, ref, problems)
    if problems or spec is None:
        return problems
    return Resource(kind.name, name, spec, labels, annotations, version)


def _foreign_values(document: Document) -> Iterator[tuple[str, str]]:
    """What YAML's tags and escapes can make and no store or daemon can take, with its path.

    Aliases may share or form a ring, so each value is visited once.
    """
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), document)]
    seen: set[int] = set()
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict | list):
            if id(value) not in seen:
                seen.add(id(value))
                waiting += reversed(list(_inside(path, value)))
        elif isinstance(value, str) and not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            yield path_of(path), "holds text that is not Unicode (half a surrogate pair), which cannot be kept"
        elif isinstance(value, int) and value.bit_length() > _INTEGER_BITS:
            yield path_of(path), f"holds a number of {value.bit_length()} bits, which cannot be kept"
        elif type(value) in _YAML_ONLY:
            yield path_of(path), f"holds a value of YAML's {_YAML_ONLY[type(value)]}, which cannot be kept"


def _inside(path: tuple[str | int, ...], value: Any) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """The items of a mapping or list, and the keys that are no text: they are values, too."""
    if isinstance(value, list):
        yield from (((*path, index), item) for index, item in enumerate(value))
        return
    for key, item in value.items():
        yield path, key
        yield (*path, key if isinstance(key, str) else shown(key)), item


def _kind_row(document: Document, source: str) -> Kind | Problem:
    name = document.get("kind")
    if isinstance(name, str) and name in KINDS_AS_WRITTEN:
        return KINDS_AS_WRITTEN[name]
    known = [row.name for row in KINDS.values() if row.writer == "declared"]
    if name is None:
        return _problem("unknown-kind", source, "kind", "is missing", f"known kinds: {', '.join(known)}")
    near = nearest(name, KINDS) if isinstance(name, str) else None
    hint = f"did you mean {near}?" if near else f"known kinds: {', '.join(known)}"
    hint = KINDS_ELSEWHERE.get(name, hint) if isinstance(name, str) else hint
    return _problem("unknown-kind", source, "kind", f"{shown(name)} is no kind known here", hint)


def _bad_name(where: str, name: Any) -> Problem:
    if name is None:
        return _problem("bad-name", where, "metadata.name", "is missing", _NAME_HINT)
    hint = _NAME_HINT if isinstance(name, str) else "a name is text: put it in quotes"
    return _problem("bad-name", where, "metadata.name", f"{shown(name)} is no resource name", hint)


def _check_document(document: Document, kind: Kind, ref: str) -> list[Problem]:
    problems = []
    given = document.get("apiVersion")
    if not isinstance(given, str) or given not in kind.api_versions:
        hint = f"use {' or '.join(kind.api_versions)}"
        message = "is missing" if given is None else f"{shown(given)} has no {kind.name}"
        problems.append(_problem("unknown-api-version", ref, "apiVersion", message, hint))
    allowed = _TOP_LEVELS.get(kind.name, _TOP_LEVEL)
    unknown = [str(key) for key in document if key not in allowed]
    return problems + [unknown_name(ref, path_of((key,)), key, allowed) for key in unknown]


def _unknown_metadata(metadata: Mapping[Any, Any], ref: str) -> list[Problem]:
    unknown = [str(key) for key in metadata if key not in _METADATA]
    return [unknown_name(ref, path_of(("metadata", key)), key, _METADATA[:3]) for key in unknown]


def _string_map(value: Any, ref: str, path: str, problems: list[Problem]) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        message = f"expected a mapping of text to text, found {kind_of(value)}"
        problems.append(_problem("wrong-type", ref, path, message))
        return {}
    for key, item in value.items():
        if not isinstance(key, str):
            message = f"{shown(key)} is no text, and a key must be"
            problems.append(_problem("wrong-type", ref, path, message, "put it in quotes"))
        elif not isinstance(item, str):
            message = f"expected text, found {kind_of(item)}"
            hint = "put it in quotes" if isinstance(item, bool | int | float) else ""
            problems.append(_problem("wrong-type", ref, f"{path}[{key}]", message, hint))
    return {key: item for key, item in value.items() if isinstance(key, str) and isinstance(item, str)}


def _parse_spec(document: Document, kind: Kind, ref: str, problems: list[Problem]) -> Spec | None:
    reading = _READERS.get((str(document.get("apiVersion")), kind.name), _read_ours)(document)
    problems += [replace(problem, object=ref) for problem in reading.problems]
    try:
        return kind.spec.model_validate({} if reading.spec is None else reading.spec)
    except ValidationError as error:
        problems += spec_problems(ref, kind.spec, error.errors(include_url=False), reading.place_of)
        return None


def _read_ours(document: Document) -> Reading:
    return Reading(document.get("spec"))


def _read_secret(document: Document) -> Reading:
    """`stringData` as it is and `data` decoded from base64: Kubernetes' two ways of writing a Secret."""
    problems: list[Problem] = []
    values = _string_map(document.get("stringData"), "", "stringData", problems)
    for key, encoded in _string_map(document.get("data"), "", "data", problems).items():
        try:
            values.setdefault(key, base64.b64decode(encoded, validate=True).decode())
        except ValueError:
            hint = "stringData takes text as it is"
            problems.append(_problem("bad-value", "", f"data[{key}]", "is not text in base64", hint))
    return Reading({"values": values}, problems=problems)


def _write_ours(spec: Document) -> Document:
    return {"spec": spec}


def _write_secret(spec: Document) -> Document:
    return {"stringData": spec.get("values", {})}


#: The same the other way round, by kind: what stands beside `metadata`.
_WRITERS: dict[str, Callable[[Document], Document]] = {
    "Secret": _write_secret,
    "Service": write_service,
    "EndpointSlice": write_endpoint_slice,
}
#: Documents whose shape is not ours, by API version and kind.
_READERS: dict[tuple[str, str], Callable[[Document], Reading]] = {
    (KUBERNETES, "Node"): read_node,
    (KUBERNETES, "Secret"): _read_secret,
    (KUBERNETES, "Service"): read_service,
    (DISCOVERY, "EndpointSlice"): read_endpoint_slice,
    **{
        (version, kind): reader
        for version in ("projectcalico.org/v3", "crd.projectcalico.org/v1")
        for kind, reader in (("BlockAffinity", read_affinity), ("IPAMBlock", read_block), ("IPAMHandle", read_handle))
    },
}


def _problem(code: str, ref: str, path: str, message: str, hint: str = "") -> Problem:
    return Problem("error", code, ref, path, message, hint)
