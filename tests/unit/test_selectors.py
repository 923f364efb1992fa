"""Calico's selector language: one table of (selector, labels that match, labels that do not)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peering.selectors import SelectorError, parse_selector

CASES = [
    ("", [{}, {"a": "b"}], []),
    ("all()", [{}, {"a": "b"}], []),
    ("global()", [{}], []),
    ("a == 'b'", [{"a": "b"}], [{}, {"a": "c"}]),
    ('a == "b"', [{"a": "b"}], [{"a": "c"}]),
    ("a != 'b'", [{}, {"a": "c"}], [{"a": "b"}]),
    ("a in {'b', 'c'}", [{"a": "b"}, {"a": "c"}], [{}, {"a": "d"}]),
    ("a not in {'b'}", [{}, {"a": "c"}], [{"a": "b"}]),
    ("a in {}", [], [{"a": "b"}]),
    ("has(a)", [{"a": ""}], [{}, {"b": "a"}]),
    ("!has(a)", [{}], [{"a": ""}]),
    ("a contains 'x'", [{"a": "axb"}], [{}, {"a": "b"}]),
    ("a starts with 'x'", [{"a": "xb"}], [{}, {"a": "bx"}]),
    ("a ends with 'x'", [{"a": "bx"}], [{}, {"a": "xb"}]),
    ("a == 'b' && c == 'd'", [{"a": "b", "c": "d"}], [{"a": "b"}, {"c": "d"}]),
    ("a == 'b' || c == 'd'", [{"a": "b"}, {"c": "d"}], [{}]),
    ("!(a == 'b' || c == 'd')", [{}], [{"a": "b"}]),
    ("a == 'b' || c == 'd' && e == 'f'", [{"a": "b"}, {"c": "d", "e": "f"}], [{"c": "d"}]),
    ("a == 'x && y'", [{"a": "x && y"}], [{"a": "x"}]),
    ("kubernetes.io/rack == 'r1'", [{"kubernetes.io/rack": "r1"}], [{}]),
]

BAD = [
    "a",
    "a ==",
    "a == b",
    "(a == 'b'",
    "a == 'b')",
    "a in 'b'",
    "a ~ 'b'",
    "has()",
    "&&",
    "a not 'b'",
    "a == 'b' c",
]


@pytest.mark.parametrize(("text", "yes", "no"), CASES)
def test_selector_matches(text: str, yes: list[dict[str, str]], no: list[dict[str, str]]) -> None:
    selects = parse_selector(text)
    assert [labels for labels in yes if not selects(labels)] == []
    assert [labels for labels in no if selects(labels)] == []


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(SelectorError):
        parse_selector(text)


@given(st.text(alphabet="ab'\"!=&|(){},in has() all()", max_size=30))
def test_any_text_is_a_selector_or_a_selector_error(text: str) -> None:
    with contextlib.suppress(SelectorError):
        assert parse_selector(text)({"a": "b"}) in (True, False)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("", set()),
        ("all()", set()),
        ("a == 'b' && !has(c/d) || (e in {'f', 'g'} && h not in {'i'})", {"a", "c/d", "e", "h"}),
        ("has == 'all' && in starts with 'a'", {"has", "in"}),
    ],
)
def test_labels_that_a_selector_asks_for(text: str, labels: set[str]) -> None:
    assert parse_selector(text).labels == labels
