"""The rules before what is discarded for services: their order, and their bytes. What they do is tests/interop's."""

from __future__ import annotations

import pytest

from bgp_speaker import netlink_codec as codec
from bgp_speaker import netlink_rules as rules
from bgp_speaker.netlink_codec import AF_INET, AF_INET6
from bgp_speaker.netlink_rules import GOTO, NOTHING, TO_TABLE, Rule
from bgp_speaker.service_discards import wanted_rules
from peering.prefixes import pack_prefix

V4, V6, ONE = (pack_prefix(text) for text in ("10.96.0.0/12", "fd00:96::/112", "192.0.2.7/32"))


def test_the_way_back_for_what_the_node_sends_is_there_before_the_tables_are() -> None:
    """In the order of writing; a crash in between must not cut the node from its services."""
    assert wanted_rules([V4, ONE]) == [
        Rule(AF_INET, 32704, NOTHING),
        Rule(AF_INET, 32700, GOTO, interface="lo", target=32704),
        Rule(AF_INET, 32702, TO_TABLE, destination=V4, table=254, longer_than=12),
        Rule(AF_INET, 32701, TO_TABLE, table=202),
        Rule(AF_INET, 32703, TO_TABLE, table=203),
    ]


def test_a_family_without_anything_to_discard_has_no_rule() -> None:
    assert wanted_rules([]) == []
    assert {rule.family for rule in wanted_rules([V6])} == {AF_INET6}
    assert {rule.family for rule in wanted_rules([V4, V6])} == {AF_INET, AF_INET6}


@pytest.mark.parametrize("rule", [*wanted_rules([V4, V6, ONE]), Rule(AF_INET, 9, TO_TABLE, table=1000)])
def test_a_rule_is_read_as_it_was_packed(rule: Rule) -> None:
    (message,) = codec.messages(codec.pack(rules.add_rule(rule, 202), 1))
    assert message.type == rules.RTM_NEWRULE
    assert message.flags & codec.NLM_F_EXCL
    assert rules.parse_rule(message) == (rule, 202)


def test_a_rule_without_a_protocol_is_nobodys() -> None:
    """As the kernel tells the rules that it made itself."""
    header = bytes((AF_INET, 0, 0, 0, 254, 0, 0, TO_TABLE, 0, 0, 0, 0))
    unset = codec.attribute(14, b"\xff\xff\xff\xff")
    (message,) = codec.messages(codec.HEADER.pack(16 + len(header + unset), 32, 0, 1, 0) + header + unset)
    assert rules.parse_rule(message) == (Rule(AF_INET, 0, TO_TABLE, table=254), 0)
