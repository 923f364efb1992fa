"""What each design does on the wire: rendered FRR as ToR, and FRR or BIRD as node and spine.

The session graph is built here by hand, small; that the compiler makes such graphs is tested where it is.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from fabric_templates.render import render
from peering.session import BfdParameters, PrefixRule, Session, SwitchPlan
from tests.interop.netns_daemons import Bird, Frr, Network, command, eventually

pytestmark = pytest.mark.lab

CLUSTER, SPINE = 64512, 65000
PODS = PrefixRule("10.244.0.0/16", 26, 26)
PODS6 = PrefixRule("fd00:10:244::/48", 122, 122)
RULES = (PODS, PODS6)
SEND = (PrefixRule("10.244.0.0/16", 16, 26), PrefixRule("fd00:10:244::/48", 48, 122))
RETRY = "connect retry time 1; connect delay time 1; error wait time 1, 2;"
SETTLE = 60.0


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


def to_node(local: str, peer: str, local_asn: int, peer_asn: int, **options: Any) -> Session:
    """The switch's end of a session with a node."""
    values: dict[str, Any] = {
        "name": f"node-{peer or options.get('interface')}",
        "peer": "node/node",
        "source": "Rack/rack-1",
        "type": "ibgp" if local_asn == peer_asn else "ebgp",
        "local_address": local or None,
        "local_asn": local_asn,
        "peer_address": peer,
        "peer_asn": peer_asn,
        "passive": True,
        "families": ("ipv6-unicast",) if ":" in peer else ("ipv4-unicast",),
    }
    return Session(**(values | options))


def to_spine(address: str, local_asn: int, peer_asn: int = SPINE) -> Session:
    return Session(
        name=f"spine-{address}",
        peer="external",
        source="Switch/tor",
        type="ebgp",
        local_address=None,
        local_asn=local_asn,
        peer_address=address,
        peer_asn=peer_asn,
    )


def tor_conf(asn: int, router_id: str, *sessions: Session) -> str:
    plan = SwitchPlan(
        asn=asn, platform="frr", router_id=router_id, sessions=sessions, accept=RULES, send=SEND, announce=RULES
    )
    return render("tor", plan)["frr.conf"]


def node_frr(asn: int, router_id: str, tor: str, tor_asn: int, prefix: str, *options: str) -> str:
    """An FRR as a node would have it, with its own options for the ToR."""
    lines = [f"  neighbor {tor} {option}" for option in ("soft-reconfiguration inbound", *options)]
    return "\n".join(
        [
            f"router bgp {asn}",
            f" bgp router-id {router_id}",
            " no bgp ebgp-requires-policy",
            " no bgp network import-check",
            f" neighbor {tor} remote-as {tor_asn}",
            f" neighbor {tor} timers connect 1",
            " address-family ipv4 unicast",
            f"  network {prefix}",
            *lines,
            " exit-address-family",
            "exit",
            "",
        ]
    )


def node_bird(asn: int, router_id: str, session: str, prefix: str, channel: str = "") -> str:
    """A BIRD as a node: `session` is the body of the protocol but for AS and channel."""
    return f"""
router id {router_id};
protocol device {{}}
protocol static {{ ipv4; route {prefix} blackhole; }}
ipv4 table learned;
protocol pipe {{ table master4; peer table learned; import none; export all; }}
protocol bgp tor {{
  {session} {RETRY}
  ipv4 {{ table learned; {channel} import all; export where source = RTS_STATIC; }};
}}
"""


def spine_bird(*sessions: str) -> str:
    """A BIRD between ToRs that passes everything on and originates a default route."""
    protocols = "\n".join(
        f"protocol bgp tor{i} {{ {s} {RETRY} ipv4 {{ import all; export all; }}; }}" for i, s in enumerate(sessions)
    )
    return f"""
router id 10.254.0.1;
protocol device {{}}
protocol static {{ ipv4; route 0.0.0.0/0 blackhole; }}
{protocols}
"""


def best(frr: Frr, prefix: str) -> dict[str, Any]:
    """The path of a prefix, or an empty dict."""
    paths = frr.json(f"show bgp ipv4 unicast {prefix}").get("paths", [])
    return dict(paths[0]) if paths else {}


def kernel_route(namespace: str, prefix: str) -> dict[str, Any]:
    shown = json.loads(command("ip", "-n", namespace, "-j", "route", "show", prefix) or "[]")
    return dict(shown[0]) if shown else {}


PREFIX = "10.244.1.0/26"
#: How the nodes of rack 2 deal with a path that has their own AS: options of their session at the ToR, and at the node.
LOOP_CHECKS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "none": ({}, ()),
    "as-override": ({"as_override": True}, ()),
    "allow-as-in": ({}, ("allowas-in 1",)),
}


def two_racks(network: Network) -> tuple[Frr, dict[str, Frr]]:
    """node - ToR 1 - spine - ToR 2 - a node for each loop check, all nodes in one AS; ToR 2 and the nodes behind it."""
    tors = {rack: network.namespace(f"tor{rack}") for rack in (1, 2)}
    spine, near = network.namespace("spine"), network.namespace("near")
    for rack, tor in tors.items():
        network.link(spine, tor, f"up{rack}", {f"10.254.{rack}.0/31": f"10.254.{rack}.1/31"})
    peers = [f"local 10.254.{r}.0 as {SPINE}; neighbor 10.254.{r}.1 as {65010 + r};" for r in tors]
    Bird(network, spine, spine_bird(*peers))
    network.link(tors[1], near, "rack", {"10.1.1.0/31": "10.1.1.1/31"})
    session = f"local 10.1.1.1 as {CLUSTER}; neighbor 10.1.1.0 as 65011;"
    Bird(network, near, node_bird(CLUSTER, "10.0.11.1", session, PREFIX))
    down = to_node("10.1.1.0", "10.1.1.1", 65011, CLUSTER)
    Frr(network, tors[1], tor_conf(65011, "10.0.1.1", down, to_spine("10.254.1.0", 65011)), zebra=True)
    sessions, nodes = [to_spine("10.254.2.0", 65012)], {}
    for number, (name, (at_tor, at_node)) in enumerate(LOOP_CHECKS.items()):
        local, peer = f"10.2.1.{2 * number}", f"10.2.1.{2 * number + 1}"
        node = network.namespace(name)
        network.link(tors[2], node, f"rack{number}", {f"{local}/31": f"{peer}/31"})
        sessions.append(to_node(local, peer, 65012, CLUSTER, **at_tor))
        conf = node_frr(CLUSTER, f"10.0.12.{number}", local, 65012, f"10.244.{2 + number}.0/26", *at_node)
        nodes[name] = Frr(network, node, conf, zebra=True)
    return Frr(network, tors[2], tor_conf(65012, "10.0.2.1", *sessions), zebra=True), nodes


def aspath(frr: Frr, prefix: str) -> str | None:
    """The AS path of what is taken, None where nothing is."""
    path: str | None = best(frr, prefix).get("aspath", {}).get("string")
    return path


def test_one_as_for_all_nodes_and_what_lets_the_other_racks_routes_in(network: Network) -> None:
    tor, nodes = two_racks(network)

    def offered(number: int, node: Frr) -> bool:
        told = node.json(f"show bgp ipv4 unicast neighbors 10.2.1.{2 * number} received-routes")
        return PREFIX in told.get("receivedRoutes", {})

    for number, node in enumerate(nodes.values()):
        eventually(lambda n=number, f=node: offered(n, f), SETTLE)  # type: ignore[misc]
        eventually(lambda f=node: aspath(f, "0.0.0.0/0") == "65012 65000")  # type: ignore[misc]
    assert aspath(tor, PREFIX) == f"65000 65011 {CLUSTER}"
    assert {name: aspath(node, PREFIX) for name, node in nodes.items()} == {
        "none": None,
        "as-override": "65012 65000 65011 65012",
        "allow-as-in": f"65012 65000 65011 {CLUSTER}",
    }


@pytest.mark.parametrize(("mode", "next_hop"), [("auto", "10.1.1.11"), ("self", "10.1.1.1")])
def test_nodes_in_one_subnet(mode: str, next_hop: str, network: Network) -> None:
    """Two nodes behind one interface of the switch; they send to each other directly, unless the plan says self."""
    tor = network.namespace("tor")
    command("ip", "-n", tor, "link", "add", "name", "svi", "type", "bridge")
    command("ip", "-n", tor, "address", "add", "10.1.1.1/24", "dev", "svi")
    command("ip", "-n", tor, "link", "set", "svi", "up")
    birds = []
    for number in (1, 2):
        node = network.namespace(f"node{number}")
        network.link(tor, node, f"port{number}", {})
        command("ip", "-n", tor, "link", "set", f"port{number}", "master", "svi")
        command("ip", "-n", node, "address", "add", f"10.1.1.1{number}/24", "dev", f"port{number}")
        session = f"local 10.1.1.1{number} as {4200000000 + number}; neighbor 10.1.1.1 as 65011;"
        prefix = f"10.244.{number}.0/26"
        birds.append(Bird(network, node, node_bird(4200000000 + number, f"10.0.11.{number}", session, prefix)))
    sessions = [to_node("10.1.1.1", f"10.1.1.1{n}", 65011, 4200000000 + n, next_hop=mode) for n in (1, 2)]
    frr = Frr(network, tor, tor_conf(65011, "10.0.1.1", *sessions), zebra=True, rib=True)
    eventually(lambda: birds[1].route("10.244.1.0/26", "learned") != "", SETTLE)
    learned = birds[1].route("10.244.1.0/26", "learned")
    assert f"BGP.next_hop: {next_hop}\n" in learned
    assert "BGP.as_path: 65011 4200000001\n" in learned
    eventually(lambda: kernel_route(tor, "10.244.1.0/26").get("gateway") == "10.1.1.11")
    assert best(frr, "10.244.2.0/26")["aspath"]["string"] == "4200000002"


@pytest.mark.parametrize(
    ("options", "at_node"),
    [({"multihop": 2}, "multihop 2;"), ({"ttl_security": 2}, "multihop 2; ttl security on;")],
)
def test_sessions_between_loopbacks(options: dict[str, Any], at_node: str, network: Network) -> None:
    tor, node, spine = (network.namespace(name) for name in ("tor", "node", "spine"))
    network.link(tor, node, "rack", {"10.1.1.0/31": "10.1.1.1/31"})
    network.link(spine, tor, "up1", {"10.254.1.0/31": "10.254.1.1/31"})
    command("ip", "-n", tor, "address", "add", "10.0.1.1/32", "dev", "lo")
    command("ip", "-n", node, "address", "add", "10.0.11.1/32", "dev", "lo")
    command("ip", "-n", node, "route", "add", "10.0.1.1/32", "via", "10.1.1.0")
    down = to_node("10.0.1.1", "10.0.11.1", 65011, 65101, reachable_by="10.1.1.1", **options)
    conf = tor_conf(65011, "10.0.1.1", down, to_spine("10.254.1.0", 65011))
    frr = Frr(network, tor, conf, zebra=True, integrated=True, rib=True)
    session = f"local 10.0.11.1 as 65101; neighbor 10.0.1.1 as 65011; {at_node}"
    bird = Bird(network, node, node_bird(65101, "10.0.11.1", session, "10.244.1.0/26"))
    Bird(network, spine, spine_bird(f"local 10.254.1.0 as {SPINE}; neighbor 10.254.1.1 as 65011;"))
    eventually(lambda: kernel_route(tor, "10.244.1.0/26").get("gateway") == "10.1.1.1", SETTLE)
    assert best(frr, "10.244.1.0/26")["nexthops"][0]["ip"] == "10.0.11.1"
    eventually(lambda: "BGP.next_hop: 10.0.1.1\n" in bird.route("0.0.0.0/0", "learned"))


def test_an_unnumbered_link_carries_ipv4_over_ipv6_next_hops(network: Network) -> None:
    tor, node = network.namespace("tor"), network.namespace("node")
    network.link(tor, node, "rack", {})
    both = ("ipv4-unicast", "ipv6-unicast")
    down = to_node("", "", 65011, 65101, interface="rack", families=both)
    frr = Frr(network, tor, tor_conf(65011, "10.0.1.1", down), zebra=True, rib=True)
    node_conf = """router bgp 65101
 bgp router-id 10.0.11.1
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor rack interface v6only remote-as 65011
 neighbor rack timers connect 1
 address-family ipv4 unicast
  network 10.244.1.0/26
 exit-address-family
 address-family ipv6 unicast
  network fd00:10:244::40/122
  neighbor rack activate
 exit-address-family
exit
"""
    Frr(network, node, node_conf, zebra=True)
    eventually(lambda: "10.244.1.0/26" in frr.json("show bgp ipv4 unicast").get("routes", {}), SETTLE)
    eventually(lambda: kernel_route(tor, "10.244.1.0/26").get("via", {}).get("family") == "inet6")
    assert kernel_route(tor, "10.244.1.0/26")["via"]["host"].startswith("fe80::")
    eventually(lambda: "fd00:10:244::40/122" in frr.json("show bgp ipv6 unicast").get("routes", {}))


def restart(seconds: str) -> str:
    """A BIRD's graceful restart, the classic one for so long."""
    long_lived = "long lived graceful restart on; long lived stale time 60;"
    return f"graceful restart on; graceful restart time {seconds}; {long_lived}"


def test_bfd_notices_a_silent_node_long_before_the_hold_time(network: Network) -> None:
    """And its routes are gone then: long-lived graceful restart is for daemons that die, which is the next test."""
    tor, node = network.namespace("tor"), network.namespace("node")
    network.link(tor, node, "rack", {"10.1.1.0/31": "10.1.1.1/31"})
    profile = BfdParameters(profile="fast", receive_interval=250, transmit_interval=200, detect_multiplier=4)
    down = to_node("10.1.1.0", "10.1.1.1", 65011, 65101, bfd=profile, graceful_restart_time=0, long_lived_stale_time=60)
    frr = Frr(network, tor, tor_conf(65011, "10.0.1.1", down), zebra=True, integrated=True)
    session = f"local 10.1.1.1 as 65101; neighbor 10.1.1.0 as 65011; bfd on; {restart('0')}"
    conf = (
        node_bird(65101, "10.0.11.1", session, "10.244.1.0/26")
        + 'protocol bfd { interface "*" { interval 200 ms; }; }\n'
    )
    bird = Bird(network, node, conf)
    eventually(lambda: [p["status"] for p in frr.json("show bfd peers")] == ["up"], SETTLE)
    eventually(lambda: best(frr, "10.244.1.0/26") != {})
    (seen,) = frr.json("show bfd peers")
    assert (seen["receive-interval"], seen["transmit-interval"], seen["detect-multiplier"]) == (250, 200, 4)
    bird.signal(signal.SIGSTOP)
    try:
        eventually(lambda: frr.json("show bgp neighbors")["10.1.1.1"]["bgpState"] != "Established", within=10)
        eventually(lambda: best(frr, "10.244.1.0/26") == {}, within=1)
    finally:
        bird.signal(signal.SIGCONT)


@pytest.mark.parametrize("stale_time", [60, None])
def test_long_lived_graceful_restart_keeps_a_dead_nodes_routes_as_the_last_resort(
    stale_time: int | None, network: Network
) -> None:
    tor, node = network.namespace("tor"), network.namespace("node")
    network.link(tor, node, "rack", {"10.1.1.0/31": "10.1.1.1/31"})
    down = to_node("10.1.1.0", "10.1.1.1", 65011, 65101, long_lived_stale_time=stale_time, graceful_restart_time=1)
    frr = Frr(network, tor, tor_conf(65011, "10.0.1.1", down), zebra=True)
    session = f"local 10.1.1.1 as 65101; neighbor 10.1.1.0 as 65011; {restart('1')}"
    bird = Bird(network, node, node_bird(65101, "10.0.11.1", session, "10.244.1.0/26"))
    eventually(lambda: best(frr, "10.244.1.0/26") != {}, SETTLE)
    bird.signal(signal.SIGKILL)
    if stale_time is None:
        eventually(lambda: best(frr, "10.244.1.0/26") == {}, within=10)
    else:
        eventually(lambda: "llgrStale" in str(best(frr, "10.244.1.0/26").get("community")), within=10)


def test_add_paths_sends_a_node_every_path(network: Network) -> None:
    tor, spine = network.namespace("tor"), network.namespace("spine")
    peers = [f"local 10.254.{n}.0 as {SPINE}; neighbor 10.254.{n}.1 as 65011;" for n in (1, 2)]
    for number in (1, 2):
        network.link(spine, tor, f"up{number}", {f"10.254.{number}.0/31": f"10.254.{number}.1/31"})
    Bird(network, spine, spine_bird(*peers))
    sessions, birds = [to_spine(f"10.254.{n}.0", 65011) for n in (1, 2)], []
    for number, option in enumerate((None, "send")):
        local, peer = f"10.1.1.{2 * number}", f"10.1.1.{2 * number + 1}"
        node = network.namespace(f"node{number}")
        network.link(tor, node, f"rack{number}", {f"{local}/31": f"{peer}/31"})
        sessions.append(to_node(local, peer, 65011, 65101, add_paths=option))
        session = f"local {peer} as 65101; neighbor {local} as 65011;"
        conf = node_bird(65101, f"10.0.11.{number}", session, f"10.244.{number}.0/26", "add paths rx;")
        birds.append(Bird(network, node, conf))
    frr = Frr(network, tor, tor_conf(65011, "10.0.1.1", *sessions), zebra=True)
    eventually(lambda: len(frr.json("show bgp ipv4 unicast 0.0.0.0/0").get("paths", [])) == 2, SETTLE)
    eventually(lambda: [b.route("0.0.0.0/0", "learned").count("BGP.next_hop") for b in birds] == [1, 2])
