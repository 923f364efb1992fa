"""The CRDs: made from the models and not changed since, taken by Kubernetes' rules, and of one mind with the models."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import cel
import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from pydantic import ValidationError

from peering.crds import crd_files, definition, folder_files
from peering.crds.schema import field_docs, structural_schema
from peering.resource import Resource, parse_resource
from peering.resources.bgp_configuration import BGPConfigurationSpec
from peering.resources.bgp_filter import FilterRule, Operation
from peering.resources.bgp_peer import BGPPeerSpec
from peering.resources.catalog import KINDS, UNDERLAY, Kind
from peering.resources.fields import Spec
from peering.resources.pools import IPAMConfigurationSpec, IPPoolSpec
from peering.resources.rules import Rule
from tests.unit.random_documents import CRD_KINDS, documents, values
from tests.unit.structural_schema import as_json_schema, unbounded_lists, violations

FOLDER = Path(__file__).parents[2] / "config" / "crd"
Document = dict[str, Any]


def schema_of(kind: Kind) -> Document:
    schema: Document = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


# Files


def test_the_files_are_those_that_make_crds_writes() -> None:
    kept = {path.name: path.read_text() for path in FOLDER.iterdir()}
    assert kept == folder_files(), "run make crds"


def test_the_command_writes_every_file(tmp_path: Path) -> None:
    made = tmp_path / "deep" / "crd"
    subprocess.run([sys.executable, "-m", "peering.crds", str(made)], check=True)
    assert {path.name: path.read_text() for path in made.iterdir()} == folder_files()
    wrong = subprocess.run([sys.executable, "-m", "peering.crds"], capture_output=True, text=True)
    assert (wrong.returncode, wrong.stderr) == (2, "usage: python -m peering.crds FOLDER\n")


@pytest.mark.parametrize("name", crd_files())
def test_a_definition_names_its_kind(name: str) -> None:
    found = yaml.safe_load((FOLDER / name).read_text())
    names = found["spec"]["names"]
    assert found["metadata"]["name"] == f"{names['plural']}.underlay.io"
    assert name == f"{names['plural']}.yaml"
    (version,) = found["spec"]["versions"]
    assert f"{found['spec']['group']}/{version['name']}" == UNDERLAY
    assert found["spec"]["scope"] == "Cluster"
    assert (version["served"], version["storage"], version["subresources"]) == (True, True, {"status": {}})
    assert "conditions" in version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]


def test_every_kind_but_those_of_kubernetes_has_a_definition() -> None:
    kinds = {yaml.safe_load(text)["spec"]["names"]["kind"] for text in crd_files().values()}
    assert {"BGPPeer", "Node", "IPAMBlock", "Rack", "RouteReflector", "BGPNodeStatus"} <= kinds
    assert "Secret" not in kinds


def test_names_are_given_once() -> None:
    taken: list[str] = []
    for kind in CRD_KINDS:
        taken += {kind.plural, kind.name.lower(), *kind.short_names}
    assert sorted(taken) == sorted(set(taken))


@pytest.mark.parametrize("kind", CRD_KINDS, ids=lambda kind: kind.name)
def test_columns_lead_to_fields(kind: Kind) -> None:
    columns = definition(kind)["spec"]["versions"][0]["additionalPrinterColumns"]
    assert columns[-1] == {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
    for column in columns[:-1]:
        node = schema_of(kind)
        for step in re.findall(r"\.(\w+)|(\[\?\(@\.type==\"\w+\"\)\])", column["jsonPath"]):
            node = node["properties"][step[0]] if step[0] else node["items"]
        is_date = node.get("format") == "date-time"
        assert column["type"] == ("date" if is_date else node.get("type")) or column["type"] == "string"


# Structure


@pytest.mark.parametrize("kind", CRD_KINDS, ids=lambda kind: kind.name)
def test_the_schema_is_structural(kind: Kind) -> None:
    assert list(violations(schema_of(kind))) == []
    assert list(unbounded_lists(schema_of(kind))) == []


BROKEN: list[tuple[Document, str]] = [
    ({"x": {}}, "no type"),
    ({"x": {"type": ["string", "null"]}}, "no type"),
    ({"x": {"anyOf": [{"type": "string"}]}}, "unknown keyword anyOf"),
    ({"x": {"$ref": "#/y"}}, "unknown keyword $ref"),
    ({"x": {"type": "array"}}, "one schema of items"),
    ({"x": {"type": "array", "items": {"description": "?"}}}, "[]: no type"),
    ({"x": {"type": "object", "properties": {}, "additionalProperties": {"type": "string"}}}, "exclude each other"),
    ({"x": {"type": "object", "additionalProperties": False}}, "additionalProperties is a schema"),
    ({"x": {"type": "string", "properties": {}}}, "only objects"),
    ({"x": {"type": "string", "x-kubernetes-int-or-string": True}}, "int-or-string has no type"),
    ({"x": {"type": "string", "default": "a"}}, "a default"),
    ({"x": {"type": "string", "format": "selector"}}, "unknown format"),
    ({"x": {"type": "string", "enum": ["a", 1]}}, "1 of enum"),
    ({"x": {"type": "string", "pattern": "("}}, "pattern"),
    ({"x": {"type": "object", "required": ["y"], "properties": {}}}, "requires y"),
    (
        {"x": {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"}},
        "list map",
    ),
]
BROKEN_RULES = [
    ({"rule": "has(self.y)", "message": "m"}, "asks for y"),
    ({"rule": "has(self.x)", "message": ""}, "a message of one line"),
    ({"rule": "has(self.x)", "message": "m", "fieldPath": ".y"}, "fieldPath .y"),
    ({"rule": "has(self.x)", "message": "m", "path": ".x"}, "unknown words"),
    ({"rule": "self.x == 'a'", "message": "m"}, "size has no bound"),
]


@pytest.mark.parametrize(("properties", "said"), BROKEN)
def test_the_judge_of_structure_finds_what_is_broken(properties: Document, said: str) -> None:
    assert any(said in found for found in violations({"type": "object", "properties": properties}))


@pytest.mark.parametrize(("rule", "said"), BROKEN_RULES)
def test_the_judge_of_structure_finds_broken_rules(rule: Document, said: str) -> None:
    schema = {"type": "object", "properties": {"x": {"type": "string"}}, "x-kubernetes-validations": [rule]}
    (found,) = violations(schema)
    assert said in found


def test_the_judge_of_structure_finds_what_only_lists_break() -> None:
    rule = {"rule": "has(oldSelf.x)", "message": "m"}
    item = {"type": "object", "properties": {"x": {"type": "string"}}, "x-kubernetes-validations": [rule]}
    schema = {"type": "object", "properties": {"list": {"type": "array", "items": item}}}
    assert any("oldSelf" in found for found in violations(schema))
    assert list(unbounded_lists(schema)) == [".list"]


def nested_models(model: type[Spec]) -> Iterator[type[Spec]]:
    yield model
    waiting = [field.annotation for field in model.model_fields.values()]
    while waiting:
        annotation = waiting.pop()
        if isinstance(annotation, type) and issubclass(annotation, Spec):
            yield from nested_models(annotation)
        waiting += get_args(annotation)


MODELS = {found.__name__: found for kind in CRD_KINDS for found in nested_models(kind.spec)}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_every_field_says_what_it_means(model: type[Spec]) -> None:
    docs = field_docs(model)
    assert set(docs) == set(model.model_fields)
    assert all(text[0].isupper() or text[0] == "`" for text in docs.values())
    assert all(text.endswith(".") and "\n" not in text for text in docs.values())
    assert structural_schema(model)["description"]


REFUSED: list[tuple[str, Document]] = [
    ("IPPool", {"cidr": "10.0.0.0/8", "ipipMode": "Always"}),
    ("IPPool", {"cidr": "pool"}),
    ("IPPool", {}),
    ("BGPFilter", {"exportV4": [{"action": "Accept", "source": "Anybody"}]}),
    ("BGPFilter", {"exportV4": [{"action": "Accept", "operations": [{"prependASPath": {"prefix": []}}]}]}),
    ("BGPPeer", {"peerIP": "10.0.0.1", "asNumber": 1.5}),
    ("BGPPeer", {"peerIP": "10.0.0.1", "asNumber": "AS65000"}),
    ("BGPPeer", {"peerIP": "spine-1", "asNumber": 65000}),
    ("BGPPeer", {"node": ""}),
    ("Rack", {"nodeSelector": "all()", "switches": []}),
    ("Rack", {"nodeSelector": "all()", "switches": ["a"], "holdTime": "nine"}),
    ("Rack", {"nodeSelector": "all()", "switches": ["a"], "password": {"secretKeyRef": {"name": "a"}}}),
    ("BFDProfile", {"detectMultiplier": 1}),
    ("Node", {"bgp": {"routerID": 1}}),
]


@pytest.mark.parametrize(("name", "spec"), REFUSED)
def test_the_schema_refuses_what_the_model_refuses(name: str, spec: Document) -> None:
    validator = jsonschema.Draft202012Validator(as_json_schema(structural_schema(KINDS[name].spec)))
    assert not validator.is_valid(spec)
    with pytest.raises(ValidationError):
        KINDS[name].spec.model_validate(spec)


# Agreement with the models


def rules_broken(rules: tuple[Rule, ...], spec: Document, old: Document | None = None) -> set[str]:
    """The messages of the rules that CEL finds broken."""
    context = {"self": spec} if old is None else {"self": spec, "oldSelf": old}
    judged = [rule for rule in rules if ("oldSelf" in rule.cel) is (old is not None)]
    return {rule.message for rule in judged if cel.evaluate(rule.cel, context) is not True}


def told_by_the_model(model: type[Spec], spec: Document) -> set[str]:
    try:
        model.model_validate(spec)
    except ValidationError as error:
        return {detail["msg"] for detail in error.errors() if detail["loc"] == () or len(detail["loc"]) == 1}
    return set()


MESH = {"nodeMeshPassword": {"secretKeyRef": {"name": "a", "key": "b"}}}
PEER = {"peerIP": "10.9.9.9", "asNumber": 65000}
ACCEPT = {"action": "Accept"}
ADD = {"addCommunity": {"value": "65000:1"}}
BY_POD_CIDR = {"cidr": "10.0.0.0/8", "ipam": "podCIDR"}
#: A spec, and the rules that it breaks.
CASES: list[tuple[type[Spec], Document, tuple[str, ...]]] = [
    (BGPPeerSpec, PEER, ()),
    (BGPPeerSpec, {}, ("needs peerIP, peerSelector or localWorkloadSelector",)),
    (BGPPeerSpec, {"peerSelector": "has(rr)"}, ()),
    (BGPPeerSpec, {"localWorkloadSelector": "has(vm)", "asNumber": 65000}, ()),
    (BGPPeerSpec, {**PEER, "node": "a"}, ()),
    (BGPPeerSpec, {**PEER, "node": "a", "nodeSelector": "all()"}, ("node and nodeSelector exclude each other",)),
    (
        BGPPeerSpec,
        {**PEER, "peerSelector": "has(rr)"},
        ("peerIP and peerSelector exclude each other", "peerSelector and asNumber exclude each other"),
    ),
    (
        BGPPeerSpec,
        {**PEER, "localWorkloadSelector": "has(vm)"},
        ("peerIP and localWorkloadSelector exclude each other",),
    ),
    (
        BGPPeerSpec,
        {"peerSelector": "has(rr)", "localWorkloadSelector": "has(vm)"},
        ("peerSelector and localWorkloadSelector exclude each other", "localWorkloadSelector needs asNumber"),
    ),
    (BGPPeerSpec, {"peerIP": "10.9.9.9", "dynamicASNumber": "external"}, ()),
    (BGPPeerSpec, {"peerIP": "10.9.9.9"}, ("peerIP needs asNumber or dynamicASNumber",)),
    (BGPPeerSpec, {**PEER, "dynamicASNumber": "external"}, ("asNumber and dynamicASNumber exclude each other",)),
    (
        BGPPeerSpec,
        {"peerSelector": "has(rr)", "dynamicASNumber": "internal"},
        ("peerSelector and dynamicASNumber exclude each other",),
    ),
    (BGPPeerSpec, {**PEER, "nextHopMode": "Keep"}, ()),
    (
        BGPPeerSpec,
        {**PEER, "nextHopMode": "Keep", "keepOriginalNextHop": False},
        ("nextHopMode and keepOriginalNextHop exclude each other",),
    ),
    (BGPPeerSpec, {**PEER, "reachableBy": "10.0.0.1", "localAddress": "10.0.0.2"}, ()),
    (BGPPeerSpec, {"peerSelector": "has(rr)", "reachableBy": "10.0.0.1"}, ("reachableBy needs peerIP",)),
    (BGPPeerSpec, {"peerSelector": "has(rr)", "localAddress": "10.0.0.1"}, ("localAddress needs peerIP",)),
    (
        BGPPeerSpec,
        {**PEER, "localAddress": "10.0.0.2", "sourceAddress": "None"},
        ("sourceAddress and localAddress exclude each other",),
    ),
    (BGPConfigurationSpec, {**MESH, "nodeMeshMaxRestartTime": "60s"}, ()),
    (BGPConfigurationSpec, {**MESH, "nodeToNodeMeshEnabled": True}, ()),
    (
        BGPConfigurationSpec,
        {**MESH, "nodeToNodeMeshEnabled": False},
        ("nodeMeshPassword needs nodeToNodeMeshEnabled: true",),
    ),
    (
        BGPConfigurationSpec,
        {"nodeMeshMaxRestartTime": "60s", "nodeToNodeMeshEnabled": False},
        ("nodeMeshMaxRestartTime needs nodeToNodeMeshEnabled: true",),
    ),
    (FilterRule, ACCEPT, ()),
    (FilterRule, {**ACCEPT, "cidr": "10.0.0.0/8", "matchOperator": "In", "prefixLength": {"min": 24}}, ()),
    (FilterRule, {**ACCEPT, "cidr": "10.0.0.0/8"}, ("cidr needs matchOperator",)),
    (FilterRule, {**ACCEPT, "matchOperator": "In"}, ("matchOperator needs cidr",)),
    (FilterRule, {**ACCEPT, "prefixLength": {"max": 24}}, ("prefixLength needs cidr",)),
    (FilterRule, {**ACCEPT, "operations": [ADD]}, ()),
    (FilterRule, {"action": "Reject", "operations": []}, ()),
    (FilterRule, {"action": "Reject", "operations": [ADD]}, ("operations need action Accept",)),
    (Operation, ADD, ()),
    (Operation, {}, (Operation.RULES[0].message,)),
    (Operation, {**ADD, "setMED": {"value": 1}}, (Operation.RULES[0].message,)),
    (IPPoolSpec, {"cidr": "10.0.0.0/8", "allowedUses": ["LoadBalancer"], "nodeSelector": "all()"}, ()),
    (IPPoolSpec, {"cidr": "10.0.0.0/8", "disableBGPExport": True, "nodeSelector": "has(a)"}, ()),
    (IPPoolSpec, {"cidr": "10.0.0.0/8", "allowedUses": ["LoadBalancer", "Workload"]}, ("LoadBalancer stands alone",)),
    (
        IPPoolSpec,
        {"cidr": "10.0.0.0/8", "allowedUses": ["LoadBalancer"], "disableBGPExport": True},
        ("a LoadBalancer pool cannot have disableBGPExport",),
    ),
    (
        IPPoolSpec,
        {"cidr": "10.0.0.0/8", "allowedUses": ["LoadBalancer"], "nodeSelector": "has(a)"},
        ("a LoadBalancer pool's nodeSelector is all()",),
    ),
    (IPPoolSpec, {**BY_POD_CIDR, "allowedUses": ["Workload"], "assignmentMode": "Automatic", "disabled": False}, ()),
    (IPPoolSpec, {**BY_POD_CIDR, "allowedUses": []}, ()),
    (IPPoolSpec, {"cidr": "10.0.0.0/8", "ipam": "underlay", "assignmentMode": "Manual", "disabled": True}, ()),
    (IPPoolSpec, {"cidr": "10.0.0.0/8", "ipam": "underlay", "namespaceSelector": "has(a)"}, ()),
    (
        IPPoolSpec,
        {**BY_POD_CIDR, "allowedUses": ["LoadBalancer"]},
        ("with ipam: podCIDR allowedUses must have Workload",),
    ),
    (
        IPPoolSpec,
        {**BY_POD_CIDR, "disabled": True, "assignmentMode": "Manual"},
        (
            "with ipam: podCIDR host-local gives the addresses, and the pool cannot be disabled",
            "with ipam: podCIDR host-local gives the addresses, and assignmentMode can only be Automatic",
        ),
    ),
    (
        IPPoolSpec,
        {**BY_POD_CIDR, "namespaceSelector": "has(a)"},
        ("with ipam: podCIDR host-local gives the addresses, and knows no namespaceSelector",),
    ),
    (IPAMConfigurationSpec, {}, ()),
    (IPAMConfigurationSpec, {"strictAffinity": True, "autoAllocateBlocks": False, "maxBlocksPerHost": 4}, ()),
    (
        IPAMConfigurationSpec,
        {"autoAllocateBlocks": False},
        ("autoAllocateBlocks: false needs strictAffinity: true",),
    ),
    (IPAMConfigurationSpec, {"maxBlocksPerHost": 0, "strictAffinity": False}, ()),
    (IPAMConfigurationSpec, {"maxBlocksPerHost": 4}, ("maxBlocksPerHost needs strictAffinity: true",)),
]


@pytest.mark.parametrize(("model", "spec", "broken"), CASES)
def test_cel_and_the_model_find_the_same_rules_broken(
    model: type[Spec], spec: Document, broken: tuple[str, ...]
) -> None:
    assert told_by_the_model(model, spec) == set(broken)
    assert rules_broken(model.RULES, spec) == set(broken)


def test_every_rule_has_a_case_that_breaks_it_and_one_that_keeps_it() -> None:
    for model in MODELS.values():
        for rule in model.RULES:
            if rule.holds is not None:
                verdicts = {rule.message in broken for judged, _, broken in CASES if judged is model}
                assert verdicts == {True, False}, rule.message


POOL = {"cidr": "10.0.0.0/8", "blockSize": 26}


@pytest.mark.parametrize(
    ("old", "new", "broken"),
    [
        (POOL, POOL, ()),
        (POOL, {**POOL, "disabled": True}, ()),
        (POOL, {**POOL, "cidr": "10.0.0.0/9"}, ("cidr cannot change; make another object instead",)),
        (BY_POD_CIDR, BY_POD_CIDR, ()),
        (BY_POD_CIDR, {"cidr": "10.0.0.0/8"}, ("ipam cannot change; make another object instead",)),
        ({"cidr": "10.0.0.0/8"}, BY_POD_CIDR, ("ipam cannot change; make another object instead",)),
        (POOL, {**POOL, "blockSize": 27}, ("blockSize cannot change; make another object instead",)),
        (POOL, {"cidr": "10.0.0.0/8"}, ("blockSize cannot change; make another object instead",)),
        ({"cidr": "10.0.0.0/8"}, POOL, ("blockSize cannot change; make another object instead",)),
    ],
)
def test_rules_about_changes(old: Document, new: Document, broken: tuple[str, ...]) -> None:
    assert rules_broken(IPPoolSpec.RULES, new, old) == set(broken)


WITH_RULES = [model for model in MODELS.values() if any(rule.holds for rule in model.RULES)]


@pytest.mark.parametrize("model", WITH_RULES, ids=lambda model: model.__name__)
def test_cel_and_the_model_agree_on_any_spec(model: type[Spec]) -> None:
    messages = {rule.message for rule in model.RULES}
    schema = structural_schema(model)
    judged = 0

    @settings(deadline=None, max_examples=100, database=None, derandomize=True)
    @given(values(schema, junk=False))
    def agree(spec: Document) -> None:
        nonlocal judged
        if not jsonschema.Draft202012Validator(as_json_schema(schema)).is_valid(spec):
            return
        try:
            model.model_validate(spec)
            told: set[str] = set()
        except ValidationError as error:
            if any(detail["type"] != "mistake" or len(detail["loc"]) > 1 for detail in error.errors()):
                return  # rules are judged when what is inside is right
            told = {detail["msg"] for detail in error.errors()} & messages
        judged += 1
        assert rules_broken(model.RULES, spec) == told

    agree()
    assert judged >= 10


@pytest.mark.parametrize("kind", CRD_KINDS, ids=lambda kind: kind.name)
def test_what_is_read_is_what_an_api_server_takes(kind: Kind) -> None:
    """Any document that is read without problems is valid by the schema once it is written back."""
    validator = jsonschema.Draft202012Validator(as_json_schema(schema_of(kind)))
    taken = 0

    @settings(deadline=None, max_examples=100, database=None, derandomize=True)
    @given(documents(kind, junk=False))
    def valid(document: Document) -> None:
        nonlocal taken
        parsed = parse_resource(copy.deepcopy(document))
        if not isinstance(parsed, Resource):
            return
        taken += 1
        written = parsed.to_document()
        written["metadata"] = {}
        assert [error.message for error in validator.iter_errors(written)] == []

    valid()
    assert taken >= 10
