"""What a real speaker tells a router (BIRD) and takes from it: filters, communities, limits, additional paths."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from bgp_speaker.node_policy import NodePolicy, PrefixCommunities
from peering.prefixes import pack_prefix
from peering.resources.bgp_filter import BGPFilterSpec
from peering.session import Session
from tests.interop.speaker_lab import ASN, Node, Router, SpeakerLab, command, eventually

pytestmark = pytest.mark.lab

BIRD = """
protocol direct { ipv4; ipv6; }
protocol static { ipv4; ROUTES4 }
protocol static more { ipv4; route 10.244.77.0/26 via 10.9.0.202; }
protocol static { ipv6; ROUTES6 }
filter as_they_are { if source = RTS_STATIC then { bgp_next_hop = gw; accept; } reject; }
protocol bgp node {
  local LOCAL as ROUTER_AS; neighbor 10.9.0.1 as 64512; passive on; multihop; hold time 9; graceful restart on;
  ipv4 { import all; export filter as_they_are; ADD_PATHS next hop keep; };
  ipv6 { import all; export filter as_they_are; next hop keep; };
}
"""
ROUTES4 = "route 10.244.77.0/26 via 10.9.0.201; route 10.244.78.0/26 via 10.9.0.201; route 192.0.2.0/24 via 10.9.0.201;"
ROUTES6 = "route fd00:244:77::/122 via fd00:9::c9;"


def bird(*, local: str = "10.9.0.200", asn: int = 65001, add_paths: bool = False) -> str:
    words = {
        "ROUTES4": ROUTES4,
        "ROUTES6": ROUTES6,
        "LOCAL": local,
        "ROUTER_AS": str(asn),
        "ADD_PATHS": "add paths tx;" if add_paths else "",
    }
    text = BIRD
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def with_router(node: Node, **changes: Any) -> Session:
    """One session over IPv4 for both families."""
    made = Session(
        name="router",
        peer="external",
        source="BGPPeer/router",
        type="ebgp",
        local_address=node.addresses[0],
        local_asn=ASN,
        peer_address="10.9.0.200",
        peer_asn=65001,
        multihop=255,
        hold_time=9,
        families=("ipv4-unicast", "ipv6-unicast"),
    )
    return dataclasses.replace(made, **changes)


def filters(**specs: dict[str, Any]) -> NodePolicy:
    return NodePolicy(filters={name: BGPFilterSpec.model_validate(spec) for name, spec in specs.items()})


FIRST = {"10.244.77.0/26": {"10.9.0.201"}, "10.244.78.0/26": {"10.9.0.201"}, "fd00:244:77::/122": {"fd00:9::c9"}}


def test_both_families_over_one_session_and_additional_paths() -> None:
    with SpeakerLab(1) as lab:
        (node,) = lab.nodes
        router = Router(lab)
        router.start(bird(add_paths=True))
        lab.declare(node, with_router(node, add_paths="receive"))
        lab.start(node)
        both = FIRST | {"10.244.77.0/26": {"10.9.0.201", "10.9.0.202"}}
        eventually(lambda: lab.routes(node) == both)
        eventually(lambda: lab.rows(node)["router"].received == 5)
        assert lab.rows(node)["router"].accepted == 4
        router.ask("disable", "more")
        eventually(lambda: lab.routes(node) == FIRST)
        router.ask("enable", "more")
        eventually(lambda: lab.routes(node) == both)
        block4, block6 = node.blocks
        assert "BGP.next_hop: 10.9.0.1\n" in router.route(block4)
        assert "BGP.next_hop: fd00:9::1\n" in router.route(block6)


def test_export_filters_and_communities_change_in_place() -> None:
    block = "10.244.1.0/26"
    changes = [
        {"addCommunity": {"value": "65000:1:2"}},
        {"prependASPath": {"prefix": [65010, 65011]}},
        {"setMED": {"value": 77}},
    ]
    rules = [{"action": "Accept", "cidr": "10.244.0.0/16", "matchOperator": "In", "operations": changes}]
    remote = [{"action": "Reject", "source": "RemotePeers"}]
    advertised = (PrefixCommunities(pack_prefix("10.0.0.0/8"), ((65000, 100),)),)
    with SpeakerLab(1) as lab:
        (node,) = lab.nodes
        router = Router(lab)
        router.start(bird())
        named = with_router(node, export_filters=("remote", "mine"))
        first = filters(remote={"exportV4": remote}, mine={"exportV4": rules})
        lab.declare(node, named, policy=dataclasses.replace(first, advertisements=advertised))
        lab.start(node)
        eventually(lambda: block in router.route(block))
        shown = router.route(block)
        for line in (
            "BGP.as_path: 64512 65010 65011",
            "BGP.med: 77",
            "BGP.community: (65000,100)",
            "BGP.large_community: (65000, 1, 2)",
        ):
            assert line in shown
        eventually(lambda: lab.rows(node)["router"].state == "Established")
        since = lab.rows(node)["router"].since
        lab.declare(node, named, policy=filters(remote={}, mine={"exportV4": [{"action": "Reject"}]}))
        eventually(lambda: router.route(block) == "")
        assert "BGP.as_path: 64512\n" in router.route(node.blocks[1])
        lab.declare(node, named, policy=filters(remote={}))
        eventually(lambda: router.route(node.blocks[1]) == "")
        eventually(lambda: lab.rows(node)["router"].reason == "BGPFilter/mine is missing: nothing is announced")
        lab.declare(node, named, policy=filters(remote={}, mine={}))
        eventually(lambda: "BGP.as_path: 64512\n" in router.route(block))
        assert lab.rows(node)["router"].since == since


def test_towards_the_own_as_a_prepended_path_and_a_local_preference_arrive_as_they_are() -> None:
    changes = [{"prependASPath": {"prefix": [65010]}}, {"setPriority": {"value": 1000}}]
    with SpeakerLab(1) as lab:
        (node,) = lab.nodes
        router = Router(lab)
        router.start(bird(asn=ASN))
        policy = filters(mine={"exportV4": [{"action": "Accept", "operations": changes}]})
        ours = with_router(node, type="ibgp", peer_asn=ASN, export_filters=("mine",))
        lab.declare(node, ours, policy=policy)
        lab.start(node)
        eventually(lambda: router.route("10.244.1.0/26") != "")
        shown = router.route("10.244.1.0/26")
        assert "BGP.as_path: 65010\n" in shown
        assert f"BGP.local_pref: {2147483647 - 1000}\n" in shown


def test_import_filters_change_in_place_and_let_in_what_the_import_policy_would_not() -> None:
    named = {"import_filters": ("mine",)}
    reject = {"action": "Reject", "cidr": "10.244.77.0/26", "matchOperator": "Equal"}
    accept = {"action": "Accept", "cidr": "192.0.2.0/24", "matchOperator": "Equal"}
    with SpeakerLab(1) as lab:
        (node,) = lab.nodes
        router = Router(lab)
        router.start(bird())
        lab.declare(node, with_router(node, **named), policy=filters(mine={"importV4": [reject, accept]}))
        lab.start(node)
        wanted = {p: hops for p, hops in FIRST.items() if p != "10.244.77.0/26"}
        eventually(lambda: lab.routes(node) == wanted | {"192.0.2.0/24": {"10.9.0.201"}})
        eventually(lambda: lab.rows(node)["router"].accepted == 3)
        since = lab.rows(node)["router"].since
        lab.declare(node, with_router(node, **named), policy=filters(mine={}))
        eventually(lambda: lab.routes(node) == FIRST)
        lab.declare(node, with_router(node, **named))
        eventually(lambda: lab.routes(node) == {})
        eventually(lambda: lab.rows(node)["router"].reason == "BGPFilter/mine is missing: nothing is accepted")
        assert lab.rows(node)["router"].since == since


def test_over_its_limit_a_session_stays_and_none_of_its_routes_is_used() -> None:
    with SpeakerLab(1) as lab:
        (node,) = lab.nodes
        router = Router(lab)
        router.start(bird())
        lab.declare(node, with_router(node, max_prefixes=2))
        lab.start(node)
        v6 = {p: hops for p, hops in FIRST.items() if ":" in p}
        eventually(lambda: lab.routes(node) == v6 and lab.rows(node)["router"].state == "Established")
        eventually(lambda: lab.rows(node)["router"].accepted == 1)
        row, status = lab.rows(node)["router"], lab.status(node)
        line = "3 of 2 ipv4-unicast prefixes (maxPrefixes), none is used"
        assert row.reason == line
        assert status is not None
        assert f"router: {line}" in status.problems
        assert f"router: {line}" in lab.said(node)
        assert "10.244.1.0/26" in router.route("10.244.1.0/26")
        lab.declare(node, with_router(node, max_prefixes=3))
        eventually(lambda: lab.routes(node) == FIRST)
        eventually(lambda: lab.rows(node)["router"].reason == "")
        assert lab.rows(node)["router"].since == row.since


def test_a_peer_behind_a_gateway_is_reached_over_it_while_the_session_is_in_the_plan() -> None:
    far = "10.66.0.1"
    with SpeakerLab(1) as lab:
        (node,) = lab.nodes
        router = Router(lab)
        command("ip", "-n", router.namespace, "address", "add", f"{far}/32", "dev", "lo")
        router.start(bird(local=far))
        lab.declare(node, with_router(node, peer_address=far, reachable_by="10.9.0.77"))
        lab.start(node)
        eventually(lambda: lab.routes(node) == {far: {"10.9.0.77"}} and lab.rows(node) != {})
        lab.declare(node, with_router(node, peer_address=far, reachable_by="10.8.0.1"))
        eventually(lambda: "reachableBy 10.8.0.1 is on no link that is up" in lab.rows(node)["router"].reason)
        lab.declare(node, with_router(node, peer_address=far, reachable_by="10.9.0.200"))
        eventually(lambda: lab.routes(node) == FIRST | {far: {"10.9.0.200"}})
        lab.declare(node)
        eventually(lambda: lab.routes(node) == {})
