"""The same tree as commands: read back by a parser that knows the keys of lists, it is the tree again."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from containerlab import srlinux_cli
from containerlab.srlinux_cli import commands
from fabric_templates.render import render
from tests.switches.matrix import PASSWORDS, cases

_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|\S+')


def leaves(tree: Any, at: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Every leaf with its path, the keys of an entry in it, whatever the order of lists."""
    if isinstance(tree, dict):
        named = {re.sub(r"^srl_nokia-[a-z0-9-]+:", "", key): value for key, value in tree.items()}
        return {leaf for key, value in named.items() for leaf in leaves(value, (*at, key))} or {at}
    if isinstance(tree, list) and tree and isinstance(tree[0], dict):
        found = set()
        for entry in tree:
            keys = srlinux_cli.keys_of(at[-1], entry)
            rest = {key: value for key, value in entry.items() if key not in keys}
            found |= leaves(rest, (*at, *(text(entry[key]) for key in keys)))
        return found
    if isinstance(tree, list):
        return {(*at, "[", *(text(one) for one in tree), "]")}
    return {(*at, text(tree))}


def text(value: Any) -> str:
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    return re.sub(r"^srl_nokia-[a-z0-9-]+:", "", shown)


def read(line: str) -> tuple[str, ...]:
    words = [json.loads(word) if word.startswith('"') else word for word in _WORD.findall(line)]
    assert words[:2] == ["set", "/"]
    # The second key of a list has its name before it.
    return tuple(word for word in words[2:] if word != "mask-length-range")


@pytest.mark.parametrize("release", ["24.7", "25.3"])
def test_commands_say_all_of_the_tree_and_no_more(release: str) -> None:
    for case, plan in cases(f"srlinux@{release}").items():
        tree = json.loads(render("tor-1a", plan, passwords=PASSWORDS)["underlay.json"])
        lines = commands(tree)
        assert len(lines) == len(set(lines)) > 10, case
        assert {read(line) for line in lines} == leaves(tree), case


def test_what_a_word_cannot_hold_is_quoted() -> None:
    assert commands({"description": 'a "b" \\ c'}) == ['set / description "a \\"b\\" \\\\ c"']
    assert commands({"member": ["^1:[0-9]+$", "x"]}) == ['set / member [ "^1:[0-9]+$" x ]']
    assert commands({"srl_nokia-bgp:bgp": {"passive": True}}) == ["set / bgp passive true"]


def test_an_entry_without_leaves_is_a_command_of_its_own() -> None:
    assert commands({"interface": [{"name": "ethernet-1/1.0"}]}) == ["set / interface ethernet-1/1.0"]


def test_a_list_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="keys of SR Linux's list thing"):
        commands({"thing": [{"colour": "red"}]})
