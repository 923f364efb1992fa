"""Trees from templates, releases in order, and what a table does with both."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fabric_templates import devices
from fabric_templates.devices import Device
from fabric_templates.documents import document, quoted, read
from fabric_templates.releases import release
from peering.problems import Problem


def test_documents_are_merged_and_sorted() -> None:
    printed = "b: {x: [1]}\n---\na: fd00::1\nb:\n  x: [2]\n  y: on\n---\n# nothing\n"
    assert read(printed) == {"a": "fd00::1", "b": {"x": [1, 2], "y": "on"}}
    assert document(printed, "json") == json.dumps(read(printed), indent=2, sort_keys=True) + "\n"
    assert yaml.safe_load(document(printed, "yaml")) == {"a": "fd00::1", "b": {"x": [1, 2], "y": "on"}}


@pytest.mark.parametrize(
    "text", ["on", "1:30", "~", "", "a: b", "x " * 150, "ü\u2028", "- a", "#", "'\"", "0x1f", "!y"]
)
def test_the_c_library_writes_what_pyyaml_itself_writes(text: str) -> None:
    tree = {f"k{text}": [text, {"a": text}], "n": 1}
    printed = f"? {quoted('k' + text)}\n: [{quoted(text)}, {{a: {quoted(text)}}}]\n---\nn: 1\n"
    assert document(printed, "yaml") == yaml.safe_dump(tree, sort_keys=True, allow_unicode=True, width=200)


def test_the_head_of_yaml_stays() -> None:
    assert document("# one\n# two\na: 1\n# three\n", "yaml") == "# one\n# two\na: 1\n"


def test_only_what_json_knows_is_no_text() -> None:
    values = {"true": True, "null": None, "10": 10, "-1": -1, "010": "010", "1:30": "1:30", "no": "no", "1.5": "1.5"}
    values |= {"65001:100": "65001:100", "2026-01-01": "2026-01-01", "~": "~", "0x1f": "0x1f"}
    assert {text: read(f"a: {text}\n")["a"] for text in values} == values
    assert read("10: a\ntrue: b\n") == {"10": "a", "true": "b"}


@pytest.mark.parametrize(
    ("printed", "says"),
    [
        ("a: 1\na: 2\n", "line 2: a is said twice"),
        ("a: 1\n---\na: 2\n", "/a is said twice, as 1 and 2"),
        ("a: 1\n---\na: true\n", "/a is said twice"),
        ("a:\n  b: 1\n---\na: [1]\n", "/a is said twice"),
        ("a:\nb: 1\n", "line 1: a key without a value"),
        ("? [1]\n: 2\n", "line 1: a key that is no text"),
        ("a: [1\n", "line 2"),
        ("a: !!python/name:os.system x\n", "python/name"),
    ],
)
def test_a_broken_template_is_an_error(printed: str, says: str) -> None:
    with pytest.raises(ValueError) as error:
        document(printed, "json")
    assert says in str(error.value)


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126)))
def test_a_quoted_text_survives(text: str) -> None:
    for form in ("json", "yaml"):
        assert yaml.safe_load(document(f"{quoted(text)}: {quoted(text)}\n", form)) == {text: text}


def test_releases_are_in_order() -> None:
    texts = ["5.3", "5.14", "5.15", "10.3(4)", "10.4(3)", "24.3.3", "24.4R1-S2", "24.10.1"]
    assert sorted(texts, key=release) == texts
    assert [release(text) for text in ("", "new", "1.2; x", "-1")] == [()] * 4


def table(**more: Any) -> Device:
    frr = devices.find("frr", "")
    assert isinstance(frr, Device)
    return Device.model_validate(frr.model_dump(by_alias=True) | more)


VERSIONS = {
    "oldest": "5.3",
    "newest": "5.18",
    "changes": [
        {"since": "5.15", "traits": ["profiles"], "features": {"bfd": False}},
        {"since": "5.9", "traits": ["limits"]},
    ],
}


def test_a_release_has_its_rows_and_every_trait_is_told() -> None:
    device = table(versions=VERSIONS)
    told = {text: device.of_release(release(text)) for text in ("5.3", "5.14", "5.15")}
    assert {text: one.traits for text, one in told.items()} == {
        "5.3": {"profiles": False, "limits": False},
        "5.14": {"profiles": False, "limits": True},
        "5.15": {"profiles": True, "limits": True},
    }
    assert [told[text].features["bfd"] for text in told] == [True, True, False]
    assert device.of_release(None) == told["5.15"]


@pytest.mark.parametrize(
    ("version", "message"),
    [("5.2", "has no release '5.2' that is known"), ("x", "has no release 'x'"), ("", "has no release ''")],
)
def test_an_unknown_release_is_a_problem(version: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_load", lambda _: table(versions=VERSIONS))
    problem = devices.find(f"frr@{version}", "Switch/x")
    assert isinstance(problem, Problem)
    assert problem.code == "unknown-platform-version"
    assert message in problem.message
    assert problem.hint == "from 5.3 on, as in frr@5.18"


def test_a_release_of_a_platform_that_has_one_form_is_a_problem() -> None:
    problem = devices.find("frr@8.5", "Switch/x")
    assert isinstance(problem, Problem)
    assert (problem.code, problem.hint) == ("unknown-platform-version", "write frr")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"implied": {"bdf": "by itself"}}, "implied has no feature bdf"),
        ({"notes": {}}, "notes do not say what is missing of listenASFilter"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(more: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        table(**more)
