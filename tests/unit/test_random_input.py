"""Whatever is declared is planned or refused: no document and no set of documents makes reading or planning raise."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peering.compile import plan
from peering.manifests import parse_manifests
from peering.problems import ordered
from peering.resource import Resource, parse_resource
from peering.snapshot import Snapshot
from tests.unit.random_documents import CRD_KINDS, documents
from tests.unit.samples import dual_tor

Document = dict[str, Any]

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
ANY_DOCUMENT = st.sampled_from(CRD_KINDS).flatmap(documents)
ANY_GOOD_DOCUMENT = st.sampled_from([k for k in CRD_KINDS if k.writer == "declared"]).flatmap(
    lambda kind: documents(kind, junk=False)
)
SAMPLE = list(dual_tor())


@settings(deadline=None, max_examples=150, suppress_health_check=_SLOW)
@given(ANY_DOCUMENT)
def test_a_document_of_any_kind_is_read_or_refused(document: Document) -> None:
    parsed = parse_resource(copy.deepcopy(document))
    if isinstance(parsed, Resource):
        assert parse_resource(json.loads(json.dumps(parsed.to_document()))) == parsed
        return
    assert parsed
    for problem in ordered(parsed):
        line = problem.line()
        assert line.isprintable()
        assert problem.severity == "error"
        json.dumps(problem.to_json())


@settings(deadline=None, max_examples=60, suppress_health_check=_SLOW)
@given(st.lists(ANY_DOCUMENT, max_size=3), st.data())
def test_a_text_with_documents_cut_anywhere_is_read_or_refused(made: list[Document], data: st.DataObject) -> None:
    text = "\n---\n".join(json.dumps(document) for document in made)
    cut = data.draw(st.integers(0, len(text)))
    junk = data.draw(st.sampled_from(("", "\n---\n", "{", "\t", '"', "\n  - &a *a\n", "\x00")))
    resources, problems = parse_manifests(text[:cut] + junk + text[cut:], "test")
    assert len(resources) <= len(made)
    assert all(problem.line().isprintable() for problem in problems)


@settings(deadline=None, max_examples=200, suppress_health_check=_SLOW)
@given(st.lists(ANY_GOOD_DOCUMENT, max_size=8), st.booleans())
def test_any_resources_can_be_planned(made: list[Document], beside_the_sample: bool) -> None:
    parsed = [parse_resource(document) for document in made]
    by_ref = {one.ref: one for one in (SAMPLE if beside_the_sample else [])}
    by_ref |= {one.ref: one for one in parsed if isinstance(one, Resource)}
    compiled = plan(Snapshot(by_ref.values()))
    assert compiled == plan(Snapshot(reversed(by_ref.values())))
    for problem in compiled.problems:
        assert problem.line().isprintable()
