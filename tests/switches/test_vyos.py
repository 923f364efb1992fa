"""VyOS: what its judge does not read, beside the names (test_names.py), and a trap of its groups."""

from __future__ import annotations

import re

from tests.switches.texts import said, texts


def test_only_groups_of_ranges_say_a_family() -> None:
    """VyOS makes what a group says active for all members, so IPv4 sessions would carry IPv6 too."""
    for text in texts("vyos"):
        ranges = said(r"listen range \S+ peer-group (\S+)", text)
        assert said(r"bgp peer-group (\S+) address-family", text) == ranges


def test_every_line_is_one_that_sets() -> None:
    for text in texts("vyos"):
        assert all(re.match(r"set \S|# ", line) for line in text.splitlines() if line)
