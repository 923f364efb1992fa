"""What each neighbour has to be told, and with which attributes."""

from __future__ import annotations

from typing import Any

import pytest

from bgp_speaker.announcements import desired_announcements, next_hop
from bgp_speaker.exabgp_commands import Announcement
from bgp_speaker.node_policy import NodePolicy, PrefixCommunities
from peering.prefixes import pack_prefix
from peering.resources.bgp_filter import BGPFilterSpec
from peering.session import Session, SpeakerPlan

PEER, PEER6 = "10.1.0.2", "fd00:1::2"
BLOCK, BLOCK6 = "10.244.0.0/26", "fd00:244::/122"
LOOPBACKS = ("10.0.11.1", "fd00:11::1")
BOTH = ("ipv4-unicast", "ipv6-unicast")


def session(**changes: Any) -> Session:
    fields: dict[str, Any] = {
        "name": "tor",
        "peer": "switch/tor",
        "source": "Rack/r",
        "type": "ebgp",
        "local_address": "10.1.0.1",
        "local_asn": 65101,
        "peer_address": PEER,
        "peer_asn": 65011,
    }
    return Session(**{**fields, **changes})


def speaker(*sessions: Session, **changes: Any) -> SpeakerPlan:
    return SpeakerPlan(asn=65101, router_id="10.0.11.1", sessions=sessions, loopbacks=LOOPBACKS, **changes)


def told(one: Session, policy: NodePolicy | None = None, blocks: tuple[str, ...] = (BLOCK,), **plan: Any) -> Any:
    """Prefix -> announcement, of one session."""
    found = desired_announcements(speaker(one, **plan), blocks, policy or NodePolicy())
    return found[one.peer_address]


def exports(*rules: dict[str, Any], **more: Any) -> NodePolicy:
    return NodePolicy(filters={"mine": BGPFilterSpec.model_validate({"exportV4": rules})}, **more)


FILTERED = session(export_filters=("mine",))
IN = {"matchOperator": "In"}


def test_each_session_is_told_the_blocks_and_loopbacks_of_its_families() -> None:
    v6 = session(peer_address=PEER6, local_address="fd00:1::1", families=("ipv6-unicast",))
    assert desired_announcements(speaker(session(), v6), [BLOCK, BLOCK6]) == {
        PEER: {p: Announcement(p) for p in (BLOCK, "10.0.11.1/32")},
        PEER6: {p: Announcement(p) for p in (BLOCK6, "fd00:11::1/128")},
    }


def test_a_block_of_a_pool_that_is_not_exported_is_not_announced() -> None:
    assert set(told(session(), unexported=("10.244.0.0/16",))) == {"10.0.11.1/32"}


def borrowing(one: Session, policy: NodePolicy | None = None, **plan: Any) -> set[str]:
    """What a session is told by a node that owns BLOCK and has borrowed an address of each family."""
    found = desired_announcements(
        speaker(one, **plan), [BLOCK], policy or NodePolicy(), ["10.244.7.9/32", "fd00:244::7/128"]
    )
    return set(found[one.peer_address]) - {"10.0.11.1/32"}


def test_a_borrowed_address_is_announced_by_itself() -> None:
    assert borrowing(session()) == {BLOCK, "10.244.7.9/32"}
    assert borrowing(session(peer="reflector/rr")) == {BLOCK, "10.244.7.9/32"}
    assert borrowing(session(peer_address=PEER6, families=("ipv6-unicast",))) == {"fd00:11::1/128", "fd00:244::7/128"}


def test_a_borrowed_address_is_announced_where_pools_and_filters_let_its_block() -> None:
    assert borrowing(session(), unexported=("10.244.0.0/16",)) == set()
    assert borrowing(session(), aggregates=("10.244.0.0/16",)) == {"10.244.0.0/16", "10.244.7.9/32"}
    blocks_only = exports({"action": "Reject", "cidr": "10.244.0.0/16", "prefixLength": {"min": 27}, **IN})
    assert borrowing(FILTERED, blocks_only) == {BLOCK}


def test_a_session_without_the_address_of_a_peer_is_told_nothing() -> None:
    unnumbered = session(name="wire", peer_address="", local_address=None, interface="eth0")
    assert set(desired_announcements(speaker(session(), unnumbered), [BLOCK])) == {PEER}


def test_routes_of_the_other_family_have_the_other_address_of_the_link_as_next_hop_else_the_loopback() -> None:
    both = session(families=BOTH)
    on_link = NodePolicy(links=(("10.1.1.1", "fd00:2::1"), ("10.1.0.1", "fd00:1::1")))
    assert next_hop(both, "ipv4-unicast", LOOPBACKS) == "self"
    assert next_hop(both, "ipv6-unicast", LOOPBACKS, on_link) == "fd00:1::1"
    assert next_hop(both, "ipv6-unicast", LOOPBACKS) == "fd00:11::1"
    assert next_hop(both, "ipv6-unicast", ("10.0.11.1",)) is None
    over6 = session(peer_address=PEER6, local_address="fd00:1::1", families=BOTH)
    assert next_hop(over6, "ipv4-unicast", LOOPBACKS, on_link) == "10.1.0.1"
    found = told(both, on_link, (BLOCK, BLOCK6))
    assert {p: a.next_hop for p, a in found.items()} == {
        BLOCK: "self",
        "10.0.11.1/32": "self",
        BLOCK6: "fd00:1::1",
        "fd00:11::1/128": "fd00:1::1",
    }


def test_without_a_next_hop_a_family_is_not_announced() -> None:
    plan = SpeakerPlan(asn=1, router_id="10.0.11.1", sessions=(session(families=BOTH),), loopbacks=("10.0.11.1",))
    assert set(desired_announcements(plan, [BLOCK, BLOCK6])[PEER]) == {BLOCK, "10.0.11.1/32"}


@pytest.mark.parametrize(
    ("peer", "local"), [("node/node-2", "10.0.11.1"), ("node/node-2", None), ("reflector/rr", "10.0.11.1")]
)
def test_a_loopback_is_not_announced_over_itself_within_our_own(peer: str, local: str | None) -> None:
    assert set(told(session(peer=peer, local_address=local))) == {BLOCK}
    both = session(peer=peer, local_address="10.0.11.1", families=BOTH)
    assert set(told(both, None, (BLOCK, BLOCK6))) == {BLOCK, BLOCK6}


def test_a_loopback_is_announced_from_a_link_and_to_routers_that_are_not_ours() -> None:
    assert set(told(session(peer="node/node-2"))) == {BLOCK, "10.0.11.1/32"}
    assert set(told(session(peer="external", local_address="10.0.11.1"))) == {BLOCK, "10.0.11.1/32"}


def test_communities_go_by_the_prefixes_that_hold_the_announcement() -> None:
    policy = NodePolicy(
        advertisements=(
            PrefixCommunities(pack_prefix("10.244.0.0/16"), ((65000, 1), (65000, 1, 2))),
            PrefixCommunities(pack_prefix("10.0.0.0/8"), ((65000, 3), (65000, 1))),
            PrefixCommunities(pack_prefix("10.244.0.0/27"), ((65000, 9),)),
        )
    )
    found = told(session(), policy)
    assert found[BLOCK].communities == ("65000:1", "65000:3")
    assert found[BLOCK].large_communities == ("65000:1:2",)
    assert found["10.0.11.1/32"].communities == ("65000:1", "65000:3")


def test_the_first_rule_that_matches_decides_and_rules_for_remote_routes_never_do() -> None:
    policy = exports(
        {"action": "Reject", "source": "RemotePeers"},
        {"action": "Accept", "cidr": "10.244.0.0/26", "matchOperator": "Equal"},
        {"action": "Reject", "cidr": "10.244.0.0/16", "matchOperator": "In"},
    )
    assert set(told(FILTERED, policy, (BLOCK, "10.244.9.0/26"))) == {BLOCK, "10.0.11.1/32"}
    assert set(told(session(), policy, (BLOCK, "10.244.9.0/26"))) == {BLOCK, "10.244.9.0/26", "10.0.11.1/32"}


def test_a_rule_that_accepts_lets_out_what_disable_bgp_export_would_keep() -> None:
    policy = exports({"action": "Accept", "cidr": BLOCK, "matchOperator": "Equal"})
    assert set(told(FILTERED, policy, unexported=("10.0.0.0/8",))) == {BLOCK, "10.0.11.1/32"}


def test_what_a_rule_changes_is_announced() -> None:
    operations = [
        {"addCommunity": {"value": "no-export"}},
        {"addCommunity": {"value": "65000:7:8"}},
        {"setMED": {"value": 5}},
        {"setLocalPreference": {"value": 300}},
        {"prependASPath": {"prefix": [65101, 65102]}},
    ]
    rule = {"action": "Accept", "cidr": BLOCK, "matchOperator": "Equal", "operations": operations}
    policy = exports(rule, advertisements=(PrefixCommunities(pack_prefix("10.0.0.0/8"), ((65000, 1),)),))
    changed = Announcement(
        BLOCK,
        communities=("65000:1", "no-export"),
        large_communities=("65000:7:8",),
        med=5,
        local_preference=300,
        as_path=(65101, 65101, 65102),
    )
    assert told(FILTERED, policy)[BLOCK] == changed
    assert told(FILTERED, policy)["10.0.11.1/32"] == Announcement("10.0.11.1/32", communities=("65000:1",))


def test_a_prepended_path_begins_with_the_as_of_the_session_in_ebgp_only() -> None:
    policy = exports({"action": "Accept", "operations": [{"prependASPath": {"prefix": [7, 8]}}]})
    local = session(export_filters=("mine",), local_asn=65500)
    assert told(local, policy)[BLOCK].as_path == (65500, 7, 8)
    assert told(session(export_filters=("mine",), type="ibgp"), policy)[BLOCK].as_path == (7, 8)


def test_rules_see_the_communities_that_were_added_before() -> None:
    rule = {"action": "Reject", "communities": {"values": ["65000:1"]}}
    advertisements = (PrefixCommunities(pack_prefix(BLOCK), ((65000, 1),)),)
    assert set(told(FILTERED, exports(rule, advertisements=advertisements))) == {"10.0.11.1/32"}


def test_a_session_whose_filter_does_not_exist_is_told_nothing_and_the_others_everything() -> None:
    one = session(export_filters=("mine", "gone"))
    other = session(peer_address="10.1.0.3", export_filters=("mine",))
    found = desired_announcements(speaker(one, other), [BLOCK], exports({"action": "Accept"}))
    assert {peer: set(prefixes) for peer, prefixes in found.items()} == {
        PEER: set(),
        "10.1.0.3": {BLOCK, "10.0.11.1/32"},
    }
