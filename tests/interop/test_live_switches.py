"""Every daemon that can be a switch, with our file, before real ExaBGP nodes and spines: what passes, what is refused.

The plan is small and the same for all of them: a rack with a node on a link, a spine above.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from fabric_templates.render import check, render
from peering.problems import errors
from peering.session import ListenRange, PrefixRule, SecretKeyRef, Session, SwitchPlan
from tests.interop.exabgp_node import ExaBgpNode, counter
from tests.interop.live_route import Route
from tests.interop.live_switches import LATE_TTL_SECURITY, LEAST_PREFERENCES, SWITCHES, Switch
from tests.interop.netns_daemons import Network, eventually

pytestmark = pytest.mark.lab

SWITCH, MATE, NODE, SPINE = 65011, 65012, 65101, 65000
SECRET = SecretKeyRef("rack-1", "bgp")
SETTLE = 60.0
ACCEPT = (PrefixRule("10.244.0.0/16", 26, 26), PrefixRule("10.0.11.1/32", 32, 32))
GTSM = "outgoing-ttl 255; incoming-ttl 255;"
#: How ExaBGP says what it announces, and whether it may come in.
ANNOUNCED = {
    "10.244.1.0/26": True,
    "10.0.11.1/32": True,
    "10.244.2.0/27": False,  # another length than a block's
    "10.99.0.0/26": False,  # of no pool
    "10.0.11.9/32": False,  # a loopback of nobody
    f"10.244.3.0/26 as-path [ {NODE} 64999 ]": False,  # came from somewhere else
    f"10.244.4.0/26 as-path [ {NODE} {NODE} ]": True,
    "10.244.5.0/26 community [ 65535:0 ]": True,  # GRACEFUL_SHUTDOWN
    "10.244.6.0/26 community [ 65535:666 ]": False,  # BLACKHOLE
    "10.244.7.0/26 community [ 65101:100 65535:65281 ] large-community [ 65101:1:1 ]": True,
}


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


def plan_for(platform: str, *sessions: Session) -> SwitchPlan:
    return SwitchPlan(
        asn=SWITCH,
        platform=platform,
        router_id="10.0.1.1",
        rack="rack-1",
        sessions=sessions,
        networks=("10.0.1.1/32",),
        accept=ACCEPT,
        send=(PrefixRule("10.244.0.0/16", 16, 26),),
        announce=(*ACCEPT, PrefixRule("10.0.1.1/32", 32, 32)),
    )


def to_node(number: int = 1, **options: Any) -> Session:
    session = Session(
        name=f"node-{number}-ipv4",
        peer=f"node/node-{number}",
        source="Rack/rack-1",
        type="ebgp",
        local_address=f"10.1.{number}.0",
        local_asn=SWITCH,
        peer_address=f"10.1.{number}.1",
        peer_asn=NODE,
        passive=True,
        hold_time=9,
        keepalive_time=3,
    )
    return replace(session, **options)


def to_spine() -> Session:
    return Session(
        name="spine-1-ipv4",
        peer="external",
        source="Switch/tor",
        type="ebgp",
        local_address=None,
        local_asn=SWITCH,
        peer_address="10.254.1.0",
        peer_asn=SPINE,
    )


def a_switch(network: Network, namespace: str, plan: SwitchPlan, password: str) -> Switch:
    return SWITCHES[plan.platform](network, namespace, render("tor", plan, passwords={SECRET: password}))


def a_node(network: Network, tor: str, number: int, routes: tuple[str, ...], options: str = "") -> ExaBgpNode:
    node = network.namespace(f"node{number}")
    network.link(tor, node, f"rack{number}", {f"10.1.{number}.0/31": f"10.1.{number}.1/31"})
    return ExaBgpNode(network, node, (f"10.1.{number}.1", NODE, f"10.1.{number}.0", SWITCH), routes, options)


@pytest.mark.parametrize("platform", sorted(SWITCHES))
def test_only_what_the_plan_allows_passes(platform: str, network: Network) -> None:
    """With TCP MD5 and TTL security on the node's session; nodes get the default route and pools, spines the rack."""
    password = secrets.token_urlsafe(12)
    tor, up = network.namespace("tor"), network.namespace("spine")
    network.link(tor, up, "up1", {"10.254.1.1/31": "10.254.1.0/31"})
    above = ("0.0.0.0/0", "10.244.128.0/26", "192.0.2.0/24", "10.0.1.1/32")
    spine = ExaBgpNode(network, up, ("10.254.1.0", SPINE, "10.254.1.1", SWITCH), above)
    node = a_node(network, tor, 1, tuple(ANNOUNCED), f'md5-password "{password}"; {GTSM}')
    plan = plan_for(platform, to_node(password=SECRET, ttl_security=1), to_spine())
    switch = a_switch(network, tor, plan, password)

    good = {route.split()[0] for route, passes in ANNOUNCED.items() if passes}
    eventually(lambda: set(switch.accepted("10.1.1.1")) == good, SETTLE)
    taken = switch.accepted("10.1.1.1")
    assert taken["10.244.5.0/26"] == Route(LEAST_PREFERENCES.get(platform, 0), frozenset({"65535:0"}))
    assert (taken["10.244.7.0/26"].communities, taken["10.244.7.0/26"].large) == (
        frozenset({"65535:65281"}),
        frozenset(),
    )
    others = {"0.0.0.0/0", "10.244.128.0/26", "192.0.2.0/24"}
    eventually(lambda: set(switch.accepted("10.254.1.0")) == others, SETTLE)

    eventually(lambda: {"0.0.0.0/0", "10.244.128.0/26"} <= set(node.routes()), SETTLE)
    assert "192.0.2.0/24" not in node.routes()
    assert node.routes()["0.0.0.0/0"]["as-path"] == as_path(SWITCH, SPINE)
    upward = (good | {"10.0.1.1/32"}) - {"10.244.7.0/26"}  # NO_EXPORT stays in the rack
    eventually(lambda: set(spine.routes()) == upward, SETTLE)
    assert spine.routes()["10.244.1.0/26"]["as-path"] == as_path(SWITCH, NODE)
    assert (node.ups(), spine.ups()) == (1, 1)


def as_path(*asns: int) -> dict[str, Any]:
    """As ExaBGP tells it."""
    return {"0": {"element": "as-sequence", "value": list(asns)}}


@pytest.mark.parametrize("platform", sorted(SWITCHES))
def test_too_many_prefixes_close_the_session(platform: str, network: Network) -> None:
    """Of the node that announces them; the other one stays."""
    tor = network.namespace("tor")
    blocks = tuple(f"10.244.{number}.0/26" for number in range(8))
    much, little = a_node(network, tor, 1, blocks), a_node(network, tor, 2, blocks[:2])
    plan = plan_for(platform, to_node(1, max_prefixes=4), to_node(2, max_prefixes=4))
    switch = a_switch(network, tor, plan, "")
    eventually(lambda: set(switch.accepted("10.1.2.1")) == set(blocks[:2]), SETTLE)
    # Cease, Maximum Number of Prefixes Reached (RFC 4486).
    eventually(lambda: (6, 1) in much.notifications(), SETTLE)
    eventually(lambda: not switch.established("10.1.1.1") and switch.accepted("10.1.1.1") == {}, SETTLE)
    assert switch.established("10.1.2.1")
    assert little.ups() == 1


@pytest.mark.parametrize("platform", sorted(SWITCHES))
def test_a_wrong_password_is_no_session(platform: str, network: Network) -> None:
    password = secrets.token_urlsafe(12)
    tor = network.namespace("tor")
    right = a_node(network, tor, 1, ("10.244.1.0/26",), f'md5-password "{password}";')
    wrong = a_node(network, tor, 2, ("10.244.2.0/26",), f'md5-password "{password}x";')
    none = a_node(network, tor, 3, ("10.244.3.0/26",))
    plan = plan_for(platform, *(to_node(number, password=SECRET) for number in (1, 2, 3)))
    switch = a_switch(network, tor, plan, password)
    eventually(lambda: switch.established("10.1.1.1"), SETTLE)
    eventually(lambda: counter(tor, "TCPMD5Failure") > 0 and counter(tor, "TCPMD5NotFound") > 0, SETTLE)
    assert [switch.established(f"10.1.{number}.1") for number in (1, 2, 3)] == [True, False, False]
    assert (right.is_up(), wrong.ups(), none.ups()) == (True, 0, 0)


@pytest.mark.parametrize("platform", sorted(SWITCHES))
def test_a_packet_from_afar_is_no_session(platform: str, network: Network) -> None:
    """TTL security: who sends with less than TTL 255 is dropped before BGP (RFC 5082)."""
    tor = network.namespace("tor")
    near = a_node(network, tor, 1, ("10.244.1.0/26",), GTSM)
    far = a_node(network, tor, 2, ("10.244.2.0/26",), "outgoing-ttl 64;")
    plan = plan_for(platform, to_node(1, ttl_security=1), to_node(2, ttl_security=1))
    switch = a_switch(network, tor, plan, "")
    eventually(lambda: switch.established("10.1.1.1"), SETTLE)
    eventually(lambda: counter(tor, "TCPMinTTLDrop") > 0, SETTLE)
    assert [switch.established(f"10.1.{number}.1") for number in (1, 2)] == [True, False]
    assert near.is_up()
    assert far.ups() == 0 or platform in LATE_TTL_SECURITY


@pytest.mark.parametrize("platform", sorted(SWITCHES))
def test_nodes_dial_in_from_a_range(platform: str, network: Network) -> None:
    """With the range's password, where the platform has one, and TTL security; who comes with another AS is told so
    (RFC 4271, 6.2)."""
    password = secrets.token_urlsafe(12)
    options = f'md5-password "{password}"; {GTSM}'
    listen = ListenRange(cidr="10.1.0.0/16", peer_asn=NODE, limit=8, password=SECRET, ttl_security=1)
    plan = replace(plan_for(platform, to_spine()), listen_ranges=(listen,))
    if [p.code for p in errors(check("tor", plan))] == ["platform-lacks-listen-ranges-with-password"]:
        plan, options = replace(plan, listen_ranges=(replace(listen, password=None),)), GTSM
    tor, up = network.namespace("tor"), network.namespace("spine")
    network.link(tor, up, "up1", {"10.254.1.1/31": "10.254.1.0/31"})
    spine = ExaBgpNode(network, up, ("10.254.1.0", SPINE, "10.254.1.1", SWITCH), ("0.0.0.0/0",))
    node = a_node(network, tor, 1, tuple(ANNOUNCED), options)
    other = network.namespace("node2")
    network.link(tor, other, "rack2", {"10.1.2.0/31": "10.1.2.1/31"})
    stranger = ExaBgpNode(network, other, ("10.1.2.1", 65199, "10.1.2.0", SWITCH), ("10.244.9.0/26",), options)
    a_switch(network, tor, plan, password)
    good = {route.split()[0] for route, passes in ANNOUNCED.items() if passes}
    eventually(lambda: set(spine.routes()) == (good | {"10.0.1.1/32"}) - {"10.244.7.0/26"}, SETTLE)
    eventually(lambda: set(node.routes()) >= {"0.0.0.0/0"}, SETTLE)
    eventually(lambda: (2, 2) in stranger.notifications(), SETTLE)
    assert (node.ups(), stranger.ups()) == (1, 0)
    assert "10.244.9.0/26" not in spine.routes()


@pytest.mark.parametrize("platform", sorted(SWITCHES))
def test_nodes_of_several_ass_dial_in_from_a_range(platform: str, network: Network) -> None:
    """Who has none of them may come in as well, but its routes do not pass."""
    listen = ListenRange(cidr="10.1.0.0/16", peer_asn=0, peer_asns=(NODE, 65102), limit=8, ttl_security=1)
    plan = replace(plan_for(platform, to_spine()), listen_ranges=(listen,))
    assert "platform-lacks-listen-as-filter" in {p.code for p in check("tor", plan) if p.severity == "warning"}
    tor, up = network.namespace("tor"), network.namespace("spine")
    network.link(tor, up, "up1", {"10.254.1.1/31": "10.254.1.0/31"})
    spine = ExaBgpNode(network, up, ("10.254.1.0", SPINE, "10.254.1.1", SWITCH), ("0.0.0.0/0",))
    nodes = []
    for number, asn in enumerate((NODE, 65102, 65199), start=1):
        namespace = network.namespace(f"node{number}")
        network.link(tor, namespace, f"rack{number}", {f"10.1.{number}.0/31": f"10.1.{number}.1/31"})
        ends = (f"10.1.{number}.1", asn, f"10.1.{number}.0", SWITCH)
        nodes.append(ExaBgpNode(network, namespace, ends, (f"10.244.{number}.0/26",), GTSM))
    a_switch(network, tor, plan, "")
    eventually(lambda: set(spine.routes()) == {"10.244.1.0/26", "10.244.2.0/26", "10.0.1.1/32"}, SETTLE)
    eventually(lambda: [node.ups() for node in nodes] == [1, 1, 1], SETTLE)
    assert "10.244.3.0/26" not in spine.routes()


@pytest.mark.parametrize("platform", sorted(SWITCHES))
def test_nodes_of_one_as_hear_of_each_other(platform: str, network: Network) -> None:
    """Unless the platform keeps back what has the neighbour's AS in its path, and says so."""
    tor, up = network.namespace("tor"), network.namespace("spine")
    network.link(tor, up, "up1", {"10.254.1.1/31": "10.254.1.0/31"})
    one, other = (a_node(network, tor, number, (f"10.244.{number}.0/26",)) for number in (1, 2))
    plan = plan_for(platform, to_node(1), to_node(2), to_spine())
    switch = a_switch(network, tor, plan, "")
    eventually(lambda: [len(switch.accepted(f"10.1.{number}.1")) for number in (1, 2)] == [1, 1], SETTLE)
    ExaBgpNode(network, up, ("10.254.1.0", SPINE, "10.254.1.1", SWITCH), ("0.0.0.0/0",))
    eventually(lambda: all("0.0.0.0/0" in node.routes() for node in (one, other)), SETTLE)
    if "platform-lacks-peer-as-in-path" in {problem.code for problem in check("tor", plan)}:
        assert "10.244.2.0/26" not in one.routes()
    else:
        eventually(lambda: "10.244.2.0/26" in one.routes() and "10.244.1.0/26" in other.routes(), SETTLE)


def _beside_a_mate(platform: str) -> SwitchPlan:
    beside = replace(to_spine(), name="tor-b-ipv4", peer="switch/tor-b", peer_address="10.254.3.1", peer_asn=MATE)
    return plan_for(platform, to_node(), beside)


@pytest.mark.parametrize("platform", [p for p in sorted(SWITCHES) if not errors(check("tor", _beside_a_mate(p)))])
def test_the_racks_other_switch_is_believed_last(platform: str, network: Network) -> None:
    """What comes from it has the worst ORIGIN, and is only what comes from the nodes of the rack."""
    plan = _beside_a_mate(platform)
    tor, mate = network.namespace("tor"), network.namespace("mate")
    network.link(tor, mate, "beside", {"10.254.3.0/31": "10.254.3.1/31"})
    node = a_node(network, tor, 1, ("10.244.1.0/26",))
    switch = a_switch(network, tor, plan, "")
    other = ExaBgpNode(network, mate, ("10.254.3.1", MATE, "10.254.3.0", SWITCH), ("10.244.2.0/26", "0.0.0.0/0"))
    eventually(lambda: set(switch.accepted("10.254.3.1")) == {"10.244.2.0/26"}, SETTLE)
    eventually(lambda: "10.244.2.0/26" in node.routes() and "10.244.1.0/26" in other.routes(), SETTLE)
    assert set(other.routes()) == {"10.244.1.0/26"}
    assert (node.routes()["10.244.2.0/26"]["origin"], other.routes()["10.244.1.0/26"]["origin"]) == (
        "incomplete",
        "igp",
    )
