"""RouterOS has no judge, so here is what can be seen without one: what is named is there, quotes are whole."""

from __future__ import annotations

import re

import pytest

from fabric_templates.render import render
from tests.switches.matrix import PASSWORDS, cases

#: What names something, and what makes it; the name is the first group.
NAMED = {
    r"[(&] ?chain (\S+?)[ )]": r"rule add chain=(\S+)",
    r"(?:input\.filter|output\.filter-chain)=(\S+)": r"rule add chain=(\S+)",
    r"[{;] filter bgp-communities (\S+);": r"filter/community-list add list=(\S+)",
    r"[{;] filter bgp-large-communities (\S+);": r"filter/community-large-list add list=(\S+)",
    r'remote\.allowed-as="(\S+)"': r"filter/num-list add list=(\S+)",
    r"output\.network=(\S+)": r"firewall/address-list add list=(\S+)",
    r" instance=(\S+)": r"bgp/instance add name=(\S+)",
}


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [render("tor-1a", plan, passwords=PASSWORDS)["underlay.rsc"] for plan in cases("routeros").values()]


def said(pattern: str, text: str) -> set[str]:
    return set(re.findall(pattern, text, re.MULTILINE))


@pytest.mark.parametrize("use", NAMED)
def test_what_is_named_is_there(use: str, texts: list[str]) -> None:
    """Each kind of name is in some case."""
    assert any(said(use, text) for text in texts)
    for text in texts:
        assert said(use, text) <= said(NAMED[use], text)


def test_every_chain_ends_with_a_rejection(texts: list[str]) -> None:
    """So that one which permits nothing is there too, and another chain may ask it."""
    for text in texts:
        last = dict(re.findall(r'rule add chain=(\S+) rule="(.*)"$', text, re.MULTILINE))
        assert last
        assert set(last.values()) == {"reject"}


def test_quotes_and_braces_are_whole(texts: list[str]) -> None:
    for text in texts:
        for line in text.splitlines():
            assert line.count('"') % 2 == 0
            assert line.count("{") == line.count("}")


def test_what_an_import_adds_it_has_removed_before(texts: list[str]) -> None:
    for text in texts:
        added = said(r"^(/\S+) add ", text)
        assert added <= said(r"^(/\S+) remove ", text)
