"""RouterOS has no judge, so here is what can be seen without one, beside its names (test_names.py)."""

from __future__ import annotations

import re

from tests.switches.texts import said, texts


def test_every_chain_ends_with_a_rejection() -> None:
    """So that one which permits nothing is there too, and another chain may ask it."""
    for text in texts("routeros"):
        last = dict(re.findall(r'rule add chain=(\S+) rule="(.*)"$', text, re.MULTILINE))
        assert last
        assert set(last.values()) == {"reject"}


def test_quotes_and_braces_are_whole() -> None:
    for text in texts("routeros"):
        for line in text.splitlines():
            assert line.count('"') % 2 == 0
            assert line.count("{") == line.count("}")


def test_what_an_import_adds_it_has_removed_before() -> None:
    for text in texts("routeros"):
        added = said(r"^(/\S+) add ", text)
        assert added <= said(r"^(/\S+) remove ", text)
