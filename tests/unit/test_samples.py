"""The samples that the handbook and the lab use, and the examples of the handbook: read without a problem, and taken by
the CRDs as they are written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from peering.crds import definition
from peering.manifest_yaml import yaml_documents
from peering.manifests import parse_manifests
from peering.resources.catalog import KINDS, PLAN_KINDS, UNDERLAY
from tests.unit.structural_schema import as_json_schema

ROOT = Path(__file__).parents[2]
SAMPLES = sorted((ROOT / "config" / "samples").rglob("*.yaml"))
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs" / "resources.md").read_text(), re.MULTILINE | re.DOTALL)
TEXTS = {str(path.relative_to(ROOT)): path.read_text() for path in SAMPLES}
TEXTS |= {f"docs/resources.md example {number}": text for number, text in enumerate(EXAMPLES, start=1)}


def objections(document: dict[str, Any]) -> list[str]:
    """What the schema of the document's kind has against it. Secrets and Kubernetes' own Nodes have none."""
    kind = KINDS[document["kind"]]
    if document["apiVersion"] == "v1":
        return []
    assert UNDERLAY in kind.api_versions
    schema = as_json_schema(definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(document)]


def test_there_are_samples_and_examples() -> None:
    assert len(SAMPLES) >= 8
    assert len(EXAMPLES) > len(PLAN_KINDS)


@pytest.mark.parametrize("name", TEXTS)
def test_a_sample_is_read_and_valid(name: str) -> None:
    resources, problems = parse_manifests(TEXTS[name], name)
    assert [problem.line() for problem in problems] == []
    documents = list(yaml_documents(TEXTS[name]))
    assert len(resources) == len(documents) > 0
    for document in documents:
        assert objections(document) == []


def test_the_schemas_object_to_what_is_wrong() -> None:
    good = next(yaml_documents(TEXTS["config/samples/dual-tor/racks.yaml"]))
    assert objections(good) == []
    wrongs: list[dict[str, Any]] = [{"maxPrefixes": "64"}, {"desing": "x"}, {"holdTime": "nine"}, {"switches": []}]
    for wrong in wrongs:
        assert objections({**good, "spec": {**good["spec"], **wrong}}) != []
