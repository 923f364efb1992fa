"""Whether an API server of Kubernetes 1.30 or newer takes the definitions in config/crd, and keeps what is written.

Its rules for structural schemas are in structural_schema.py, and test_crds.py judges by them; here are those about the
whole definition, about CEL's cost, and about what becomes of manifests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client.models.v1_custom_resource_definition_version import V1CustomResourceDefinitionVersion
from kubernetes.client.models.v1_json_schema_props import V1JSONSchemaProps
from kubernetes.client.models.v1_validation_rule import V1ValidationRule

from peering.manifests import read_manifests
from peering.resource import Resource
from peering.resources.catalog import KINDS, UNDERLAY
from peering.store.resources import to_resource
from tests.kube_api.cluster import Cluster, run
from tests.kube_api.resources import our_definitions
from tests.kube_api.schema import prune
from tests.unit.cel_cost import DEFINITION_LIMIT, RULE_LIMIT, cost, rules_of

Document = dict[str, Any]
SAMPLES = sorted((Path(__file__).parents[2] / "config" / "samples").iterdir())
EACH = pytest.mark.parametrize("definition", our_definitions(), ids=lambda one: one["spec"]["names"]["kind"])

#: The fields of a definition, of a version and of the rest as Kubernetes 1.30 has them.
_DEFINITION = {"group", "names", "scope", "versions"}
_NAMES = {"kind", "listKind", "plural", "singular", "categories", "shortNames"}
_VERSION = {"name", "served", "storage", "schema", "subresources", "additionalPrinterColumns"}
_COLUMN = {"name", "type", "jsonPath", "format", "description", "priority"}
_COLUMN_TYPES = {"integer", "number", "string", "boolean", "date"}
_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_JSON_PATH = re.compile(r"(\.[A-Za-z][A-Za-z0-9]*(\[\?\(@\.type==\"[A-Za-z]+\"\)\])?)+")
#: What an annotation may hold; `kubectl apply` keeps the whole manifest in one.
_LONGEST_ANNOTATION = 262_144
#: Words of CEL that a rule would have to write otherwise.
_CEL_WORDS = frozenset(
    (
        *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if"),
        *("import", "let", "loop", "package", "namespace", "return", "var", "void", "while"),
    )
)
#: What Python's patterns can and RE2's, which an API server uses, cannot.
_NOT_RE2 = re.compile(r"\(\?[=!<]|\(\?P?[=>]|\\[1-9]|\\Z|[*+?}]\+|\(\?\(")


def schema_of(definition: Document) -> Document:
    (version,) = definition["spec"]["versions"]
    schema: Document = version["schema"]["openAPIV3Schema"]
    return schema


def nodes(schema: Document, path: str = "") -> Iterator[tuple[str, Document]]:
    """Every schema in a schema."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            yield from nodes(schema[word], f"{path}[]")


# The definition


def definition_violations(definition: Document) -> Iterator[str]:
    """What an API server would refuse of the definition around the schema."""
    spec, name = definition["spec"], definition["metadata"]["name"]
    names, (version,) = spec["names"], spec["versions"]
    for place, fields, known in (("spec", spec, _DEFINITION), ("names", names, _NAMES), ("version", version, _VERSION)):
        yield from (f"{place}: unknown field {field}" for field in sorted(set(fields) - known))
    if name != f"{names['plural']}.{spec['group']}":
        yield f"{name} is not its plural and its group"
    if spec["group"].endswith((".k8s.io", ".kubernetes.io")):
        yield "a group of Kubernetes' own needs an approval"
    for word in (
        names["plural"],
        names["singular"],
        *names.get("shortNames", ()),
        *names["categories"],
        version["name"],
    ):
        if not _LABEL.fullmatch(word):
            yield f"{word} is no DNS label"
    if not (version["served"] and version["storage"]):
        yield "one version is stored and served"
    for column in version["additionalPrinterColumns"]:
        good = (
            not set(column) - _COLUMN and column["type"] in _COLUMN_TYPES and _JSON_PATH.fullmatch(column["jsonPath"])
        )
        if not good:
            yield f"column {column['name']} is none"
    metadata = schema_of(definition)["properties"].get("metadata", {"type": "object"})
    if metadata != {"type": "object"}:
        yield "of metadata only names may be restricted"
    if len(json.dumps(definition)) > _LONGEST_ANNOTATION:
        yield "kubectl apply cannot keep it in an annotation"


@EACH
def test_the_definition_is_taken(definition: Document) -> None:
    assert list(definition_violations(definition)) == []


BROKEN: list[tuple[tuple[str, ...], Any, str]] = [
    (("spec", "preserveUnknownFields"), False, "spec: unknown field"),
    (("spec", "names", "plural"), "Racks", "is not its plural"),
    (("spec", "names", "singular"), "a_rack", "a_rack is no DNS label"),
    (("spec", "group"), "underlay.k8s.io", "needs an approval"),
    (("spec", "versions", "0", "selectableFields"), [], "version: unknown field"),
    (("spec", "versions", "0", "storage"), False, "stored and served"),
    (("spec", "versions", "0", "additionalPrinterColumns", "0", "jsonPath"), "spec.x", "is none"),
    (("spec", "versions", "0", "additionalPrinterColumns", "0", "type"), "array", "is none"),
    (
        ("spec", "versions", "0", "schema", "openAPIV3Schema", "properties", "metadata", "required"),
        ["labels"],
        "only names may be",
    ),
    (
        ("spec", "versions", "0", "schema", "openAPIV3Schema", "description"),
        "x" * _LONGEST_ANNOTATION,
        "in an annotation",
    ),
]


@pytest.mark.parametrize(("path", "value", "said"), BROKEN, ids=[one[2] for one in BROKEN])
def test_the_judge_of_definitions_finds_what_is_broken(path: tuple[str, ...], value: Any, said: str) -> None:
    (rack,) = (one for one in our_definitions() if one["spec"]["names"]["kind"] == "Rack")
    broken: Any = json.loads(json.dumps(rack))
    node = broken
    for step in path[:-1]:
        node = node[int(step) if step.isdigit() else step]
    node[path[-1]] = value
    assert any(said in found for found in definition_violations(broken))


@EACH
def test_the_official_client_knows_every_field(definition: Document) -> None:
    """It is made from Kubernetes' own description of its API."""
    (version,) = definition["spec"]["versions"]
    assert set(version) <= set(V1CustomResourceDefinitionVersion.attribute_map.values())
    for _, node in nodes(schema_of(definition)):
        assert set(node) <= set(V1JSONSchemaProps.attribute_map.values())
        for rule in node.get("x-kubernetes-validations", ()):
            assert set(rule) <= set(V1ValidationRule.attribute_map.values())


@EACH
def test_nothing_is_filled_in_and_nothing_is_kept_unseen(definition: Document) -> None:
    """A default in an object that is pruned away would be written all the same; a rule asks what was written."""
    for path, node in nodes(schema_of(definition)):
        assert not {"default", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"} & set(node), (
            path
        )


@EACH
def test_patterns_are_such_as_re2_knows(definition: Document) -> None:
    for path, node in nodes(schema_of(definition)):
        assert not _NOT_RE2.search(node.get("pattern", "")), path


@pytest.mark.parametrize("pattern", ["(?=a)", "(?!a)", "(?<=a)b", "(?P=x)", "(?>a)", r"(a)\1", r"a\Z", "a++", "a{2}+"])
def test_the_judge_of_patterns_finds_what_re2_does_not_know(pattern: str) -> None:
    assert _NOT_RE2.search(pattern)


def test_the_judge_of_patterns_leaves_the_others() -> None:
    for pattern in (r"^(?P<name>[a-z]+)$", r"(?:a|b)*", r"\\d", "(?i)a", "a+b?"):
        assert not _NOT_RE2.search(pattern)


# CEL


@EACH
def test_rules_cost_what_an_api_server_allows(definition: Document) -> None:
    costs = {(path, rule): cost(rule, schema) * times for path, rule, schema, times in rules_of(schema_of(definition))}
    assert all(one <= RULE_LIMIT for one in costs.values()), max(costs.items(), key=lambda one: one[1])
    assert sum(costs.values()) <= DEFINITION_LIMIT


def test_the_dearest_definition_is_that_with_lists_of_rules() -> None:
    """The estimate sees lists: else it would find nothing dear."""
    sums = {
        one["spec"]["names"]["kind"]: sum(cost(r, s) * times for _, r, s, times in rules_of(schema_of(one)))
        for one in our_definitions()
    }
    assert max(sums, key=lambda kind: sums[kind]) == "BGPFilter"
    assert sums["BGPFilter"] > 100_000 > 10 * sums["BGPPeer"]


TEXT = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string", "maxLength": 50}}}


def test_the_estimate_finds_what_is_too_dear() -> None:
    assert cost("self.a == 'x'", TEXT) > 100_000
    assert cost("self.b == 'x'", TEXT) < 40
    with pytest.raises(ValueError, match="iterate"):
        cost("self.list.all(one, one > 1)", TEXT)
    inner = {**TEXT, "x-kubernetes-validations": [{"rule": "self.b == 'x'"}]}
    lists: Document = {"type": "object", "properties": {"list": {"type": "array", "items": inner}}}
    ((path, rule, schema, times),) = rules_of(lists)
    assert (path, times > 1_000_000) == (".list[]", True)
    assert cost(rule, schema) * times > RULE_LIMIT
    lists["properties"]["list"]["maxItems"] = 100
    ((_, rule, schema, times),) = rules_of(lists)
    assert cost(rule, schema) * times < 4000


@EACH
def test_a_rule_reads_only_what_is_there(definition: Document) -> None:
    """CEL fails, and the object is refused, where a rule reads a field that was not written."""
    for path, rule, schema, _ in rules_of(schema_of(definition)):
        read = set(re.findall(r"(?<!has\()\bself\.(\w+)", rule))
        asked = set(re.findall(r"has\(self\.(\w+)\)", rule))
        assert read <= asked | set(schema.get("required", ())), (path, rule)
        assert not (read | asked) & _CEL_WORDS


# What becomes of manifests


def test_the_names_of_kinds_are_those_that_the_store_asks_for() -> None:
    served = {one["spec"]["names"]["kind"]: one["spec"]["names"]["plural"] for one in our_definitions()}
    assert served == {kind.name: kind.plural for kind in KINDS.values() if UNDERLAY in kind.api_versions}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_of_a_manifest_nothing_is_pruned(sample: Path) -> None:
    """What kubectl apply sends, where the group is ours."""
    schemas = {one["spec"]["names"]["kind"]: schema_of(one) for one in our_definitions()}
    seen = 0
    for file in sample.glob("*.yaml"):
        for document in yaml.safe_load_all(file.read_text()):
            if document and document["kind"] in schemas:
                assert prune(document, schemas[document["kind"]]) == document
                seen += 1
    assert seen


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_what_is_applied_is_what_is_read(sample: Path, tmp_path: Path) -> None:
    async def story() -> None:
        async with Cluster(tmp_path) as cluster:
            store = cluster.store()
            for resource in read_manifests([str(sample)])[0]:
                await store.create(resource.kind, resource.name, resource.to_document())
                again = to_resource(await store.get(resource.kind, resource.name))
                assert isinstance(again, Resource)
                assert again.to_document() == resource.to_document()

    run(story)
