"""VyOS has no judge, so here is what can be seen without one: that what is named is there, and a trap of its groups."""

from __future__ import annotations

import re

import pytest

from fabric_templates.render import render
from tests.switches.matrix import PASSWORDS, cases

#: What names something, and what makes it; the name is the first group.
NAMED = {
    r" match as-path (\S+)": r"set policy as-path-list (\S+) rule",
    r" match community community-list (\S+)": r"set policy community-list (\S+) rule",
    r" set community delete (\S+)": r"set policy community-list (\S+) rule",
    r" match ip address prefix-list (\S+)": r"set policy prefix-list (\S+) rule",
    r" match ipv6 address prefix-list (\S+)": r"set policy prefix-list6 (\S+) rule",
    r" route-map (?:import|export) (\S+)": r"set policy route-map (\S+) rule",
    r" bfd profile (\S+)$": r"set protocols bfd profile (\S+) interval",
    r"(?:neighbor|range) \S+ (?:interface v6only )?peer-group (\S+)": r"set protocols bgp peer-group (\S+)",
}


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [render("tor-1a", plan, passwords=PASSWORDS)["underlay.set"] for plan in cases("vyos").values()]


def said(pattern: str, text: str) -> set[str]:
    return set(re.findall(pattern, text, re.MULTILINE))


@pytest.mark.parametrize("use", NAMED)
def test_what_is_named_is_there(use: str, texts: list[str]) -> None:
    """Each kind of name is in some case."""
    assert any(said(use, text) for text in texts)
    for text in texts:
        assert said(use, text) <= said(NAMED[use], text)


def test_only_groups_of_ranges_say_a_family(texts: list[str]) -> None:
    """VyOS makes what a group says active for all members, so IPv4 sessions would carry IPv6 too."""
    for text in texts:
        ranges = said(r"listen range \S+ peer-group (\S+)", text)
        assert said(r"bgp peer-group (\S+) address-family", text) == ranges


def test_every_line_is_one_that_sets(texts: list[str]) -> None:
    for text in texts:
        assert all(re.match(r"set \S|# ", line) for line in text.splitlines() if line)
