"""What a text names is in it, on platforms that no parser here reads whole."""

from __future__ import annotations

import pytest

from tests.switches.texts import said, texts

#: What names something, and what makes it; the name is the first group.
NAMED = {
    "routeros": {
        r"[(&] ?chain (\S+?)[ )]": r"rule add chain=(\S+)",
        r"(?:input\.filter|output\.filter-chain)=(\S+)": r"rule add chain=(\S+)",
        r"[{;] filter bgp-communities (\S+);": r"filter/community-list add list=(\S+)",
        r"[{;] filter bgp-large-communities (\S+);": r"filter/community-large-list add list=(\S+)",
        r'remote\.allowed-as="(\S+)"': r"filter/num-list add list=(\S+)",
        r"output\.network=(\S+)": r"firewall/address-list add list=(\S+)",
        r" instance=(\S+)": r"bgp/instance add name=(\S+)",
    },
    "vyos": {
        r" match as-path (\S+)": r"set policy as-path-list (\S+) rule",
        r" match community community-list (\S+)": r"set policy community-list (\S+) rule",
        r" set community delete (\S+)": r"set policy community-list (\S+) rule",
        r" match ip address prefix-list (\S+)": r"set policy prefix-list (\S+) rule",
        r" match ipv6 address prefix-list (\S+)": r"set policy prefix-list6 (\S+) rule",
        r" route-map (?:import|export) (\S+)": r"set policy route-map (\S+) rule",
        r" bfd profile (\S+)$": r"set protocols bfd profile (\S+) interval",
        r"(?:neighbor|range) \S+ (?:interface v6only )?peer-group (\S+)": r"set protocols bgp peer-group (\S+)",
    },
}


@pytest.mark.parametrize(("platform", "use"), [(platform, use) for platform, uses in NAMED.items() for use in uses])
def test_what_is_named_is_there(platform: str, use: str) -> None:
    """Each kind of name is in some case."""
    assert any(said(use, text) for text in texts(platform))
    for text in texts(platform):
        assert said(use, text) <= said(NAMED[platform][use], text)
