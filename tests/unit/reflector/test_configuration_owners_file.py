"""`--owners FILE`: what it says, and that whatever is in it gives owners or problems. What each bad file gives is in
test_reflecting.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peering.prefixes import pack_prefix
from reflector.configuration import Owners
from reflector.owners_file import parse_owners, read_owners


def owners(document: dict[str, list[str]]) -> Owners:
    found = parse_owners(json.dumps(document), "owners.json")
    assert isinstance(found, Owners), found
    return found


def lines(text: str) -> list[str]:
    found = parse_owners(text, "owners.json")
    assert isinstance(found, list)
    assert {problem.severity for problem in found} == {"error"}
    return [problem.line() for problem in found]


def test_clients_and_what_is_everybodys() -> None:
    found = owners(
        {
            "10.0.0.1": ["10.244.0.0/26", "fd00:10:244::/122"],
            "fd00::2": ["10.244.0.64/26", "10.0.0.2"],
            "shared": ["10.96.0.0/12", "fd00:96::/112"],
        }
    )
    assert found == Owners(
        {
            pack_prefix("10.244.0.0/26"): frozenset({"10.0.0.1"}),
            pack_prefix("fd00:10:244::/122"): frozenset({"10.0.0.1"}),
            pack_prefix("10.244.0.64/26"): frozenset({"fd00::2"}),
            pack_prefix("10.0.0.2/32"): frozenset({"fd00::2"}),
        },
        frozenset({pack_prefix("10.96.0.0/12"), pack_prefix("fd00:96::/112")}),
    )


def test_a_prefix_of_several_clients_is_that_of_each() -> None:
    found = owners({"10.0.0.1": ["192.0.2.1/32"], "10.0.0.2": ["192.0.2.1"], "10.0.0.3": []})
    assert found.by_prefix == {pack_prefix("192.0.2.1/32"): frozenset({"10.0.0.1", "10.0.0.2"})}


def test_a_client_is_known_by_the_one_text_of_its_address() -> None:
    """That of a dynamic neighbour, however the file writes it."""
    found = owners({"FD00:0:0::0001": ["fd00:a::/64"]})
    assert set(found.by_prefix.values()) == {frozenset({"fd00::1"})}


def test_nothing_is_owned_in_an_empty_object() -> None:
    assert owners({}) == Owners()


def test_what_is_not_there_and_what_is_no_text(tmp_path: Path) -> None:
    def said(path: Path) -> list[str]:
        found = read_owners(path)
        assert isinstance(found, list)
        assert {problem.code for problem in found} == {"unreadable-file"}
        return [problem.line() for problem in found]

    assert said(tmp_path / "gone.json") == [f"{tmp_path}/gone.json: cannot be read: No such file or directory"]
    assert said(tmp_path) == [f"{tmp_path}: cannot be read: Is a directory"]
    (tmp_path / "owners.json").write_bytes(b'{"10.0.0.1": ["\xff"]}')
    assert said(tmp_path / "owners.json") == [f"{tmp_path}/owners.json: is not UTF-8"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"10.0.0.1": ' + "[" * 200_000, "owners.json: is nested too deeply"),
        ("9" * 5000, "owners.json: is not JSON: it holds a number of thousands of digits"),
    ],
)
def test_what_would_exhaust_the_reader(text: str, said: str) -> None:
    assert lines(text) == [said]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["10.0.0.0/8", "fd00::/64"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["10.0.0.1", "shared"]), inner),
)


@given(JSON)
def test_any_json_gives_owners_or_problems_of_one_line(document: Any) -> None:
    found = parse_owners(json.dumps(document), "owners.json")
    if not isinstance(found, Owners):
        assert found
        assert all("\n" not in problem.line() and problem.line().isprintable() for problem in found)


@given(st.text())
def test_any_text_gives_owners_or_problems(text: str) -> None:
    assert isinstance(parse_owners(text, "owners.json"), Owners | list)
