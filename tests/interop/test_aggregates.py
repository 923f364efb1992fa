"""Pools that are announced whole, from the declaration to the kernels: real speakers, a rendered FRR, a spine.

One declaration gives both sides. Nodes 1 and 2 and the ToR share a subnet; the spine is behind the ToR.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
from typing import Any

import pytest

from fabric_templates.render import render
from peering.problems import errors
from peering.resource import Resource
from peering.session import Plan
from tests.interop.netns_daemons import Bird, Frr, Network
from tests.interop.speaker_lab import Node, SpeakerLab, command, eventually
from tests.unit.declarations import compiled, configuration, declare

pytestmark = pytest.mark.lab

POOL, POOL6 = "10.244.0.0/16", "fd00:244::/32"
SETTLE = 90.0
SPINE = """router bgp 65000
 bgp router-id 10.254.1.0
 no bgp ebgp-requires-policy
 neighbor 10.254.1.1 remote-as 65011
 neighbor 10.254.1.1 timers connect 1
 neighbor fd00:fe:1::1 remote-as 65011
 neighbor fd00:fe:1::1 timers connect 1
 address-family ipv4 unicast
  neighbor 10.254.1.1 default-originate
  no neighbor fd00:fe:1::1 activate
 exit-address-family
 address-family ipv6 unicast
  neighbor fd00:fe:1::1 activate
  neighbor fd00:fe:1::1 default-originate
 exit-address-family
exit
"""


def pools(aggregate: str) -> list[Resource]:
    return [
        declare("IPPool", "v4", cidr=POOL, aggregate=aggregate),
        declare("IPPool", "v6", cidr=POOL6, aggregate=aggregate),
    ]


def tor() -> Resource:
    return declare(
        "Switch",
        "tor",
        asNumber=65011,
        addresses=["10.0.1.1/32", "fd00:0:1::1/128"],
        linkSubnets=["10.9.0.0/24", "fd00:9::/64"],
        linkAddresses=["10.9.0.200/24", "fd00:9::c8/64"],
        fabricPeers=[
            {"name": "spine", "address": "10.254.1.0", "asNumber": 65000, "holdTime": "9s"},
            {"name": "spine", "address": "fd00:fe:1::", "asNumber": 65000, "holdTime": "9s"},
        ],
    )


class Rack:
    """The nodes of a SpeakerLab, the ToR on their bridge and the spine, as a plan has them."""

    def __init__(self, lab: SpeakerLab, network: Network, plan: Plan) -> None:
        assert [p.line() for p in errors(plan.problems)] == []
        self.lab, self.plan = lab, plan
        self.tor_space, spine_space = lab.extra("tor"), lab.extra("spine")
        for space in (self.tor_space, spine_space, *(node.namespace for node in lab.nodes)):
            for setting in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
                command("ip", "netns", "exec", space, "sysctl", "-qw", f"{setting}=1")
        lab.join(self.tor_space, ("10.9.0.200", "fd00:9::c8"))
        network.link(
            self.tor_space,
            spine_space,
            "up1",
            {"10.254.1.1/31": "10.254.1.0/31", "fd00:fe:1::1/127": "fd00:fe:1::/127"},
        )
        command("ip", "-n", spine_space, "address", "add", "203.0.113.1/32", "dev", "lo")
        conf = render("tor", plan.switches["tor"])["frr.conf"]
        self.tor = Frr(network, self.tor_space, conf, zebra=True, rib=True)
        self.spine = Frr(network, spine_space, SPINE, zebra=True, rib=True)
        for node in lab.nodes:
            for block in node.blocks:
                pod = pod_of(block)
                nodad = ("nodad",) if ":" in pod else ()
                command("ip", "-n", node.namespace, "address", "add", pod, "dev", "lo", *nodad)
            self.own(node, *node.blocks)
        lab.start(*lab.nodes)

    def own(self, node: Node, *blocks: str) -> None:
        """The node owns these blocks from now on."""
        speaker = self.plan.speakers[node.name]
        rest = {f.name: getattr(speaker, f.name) for f in dataclasses.fields(speaker) if f.name != "sessions"}
        self.lab.declare(node, *speaker.sessions, blocks=blocks, **rest)

    def pings(self, address: str, source: str = "203.0.113.1") -> str:
        """What ping says, from an address of the spine."""
        space = self.spine.namespace
        source = source if ":" not in address else "fd00:fe:1::"
        return command_says("ip", "netns", "exec", space, "ping", "-n", "-c2", "-W2", "-I", source, address)


def pod_of(block: str) -> str:
    """An address in the block, as a host route."""
    return f"{block.rpartition('/')[0][:-1]}5/32" if ":" not in block else f"{block.rpartition('/')[0]}5/128"


def known(frr: Frr, wanted: str) -> dict[str, list[dict[str, Any]]]:
    """The prefixes inside one that BGP has: prefix -> paths."""
    version = "ipv6" if ":" in wanted else "ipv4"
    shown = frr.json(f"show bgp {version} unicast {wanted} longer-prefixes")
    return dict(shown.get("routes", {}))


def discards(namespace: str, protocol: str) -> set[str]:
    """The prefixes of blackhole routes of a protocol."""
    found = []
    for family in ("-4", "-6"):
        shown = command("ip", "-n", namespace, "-j", family, "route", "show", "type", "blackhole")
        found += [route for route in json.loads(shown or "[]") if str(route["protocol"]) == protocol]
    return {route["dst"] for route in found}


def test_a_racks_switch_announces_the_pool_and_only_the_rack_knows_its_blocks() -> None:
    nodes = [
        declare(
            "Node",
            f"node-{n}",
            bgp={"asNumber": 4200000000 + n, "ipv4Address": f"10.0.11.{n}/32", "ipv6Address": f"fd00:0:11::{n}/128"},
            uplinks=[{"interface": "eth0", "addresses": [f"10.9.0.{n}/24", f"fd00:9::{n}/64"]}],
        )
        for n in (1, 2)
    ]
    rack = declare(
        "Rack",
        "rack-1",
        design="ebgp-as-per-node",
        nodeSelector="all()",
        switches=["tor"],
        holdTime="9s",
        gracefulRestartTime="30s",
    )
    with SpeakerLab(2) as lab, Network() as network:
        one, two = lab.nodes
        made = Rack(lab, network, compiled(*pools("rack"), *nodes, rack, tor(), configuration()))
        for pool, version in ((POOL, 0), (POOL6, 1)):
            blocks = {node.blocks[version] for node in lab.nodes}
            eventually(lambda p=pool: set(known(made.spine, p)) == {p}, SETTLE)  # type: ignore[misc]
            eventually(lambda p=pool, b=blocks: set(known(made.tor, p)) == {p, *b}, SETTLE)  # type: ignore[misc]
        eventually(lambda: discards(made.tor_space, "bgp") == {POOL, POOL6})
        for node, other in ((one, two), (two, one)):
            ways = {other.blocks[v]: {other.addresses[v]} for v in (0, 1)}
            eventually(lambda n=node, w=ways: w.items() <= lab.routes(n).items(), SETTLE)  # type: ignore[misc]
            assert discards(node.namespace, "201") == set(node.blocks)
            for block in node.blocks:
                eventually(lambda b=block: " 0% packet loss" in made.pings(pod_of(b).split("/")[0]), SETTLE)  # type: ignore[misc]
        lost = made.pings("10.244.99.1")
        assert "100% packet loss" in lost
        assert "Time to live exceeded" not in lost
        made.own(one)
        eventually(lambda: set(known(made.tor, POOL)) == {POOL, two.blocks[0]}, SETTLE)
        assert set(known(made.spine, POOL)) == {POOL}
        made.own(two)
        for pool in (POOL, POOL6):
            eventually(lambda p=pool: known(made.spine, p) == {} and known(made.tor, p) == {}, SETTLE)  # type: ignore[misc]
        eventually(lambda: discards(made.tor_space, "bgp") == set())
        made.own(two, *two.blocks)
        eventually(lambda: set(known(made.spine, POOL)) == {POOL}, SETTLE)


def test_nodes_announce_the_pool_to_their_switch_and_their_blocks_to_each_other() -> None:
    nodes = [
        declare("Node", f"node-{n}", bgp={"ipv4Address": f"10.9.0.{n}/24", "ipv6Address": f"fd00:9::{n}/64"})
        for n in (1, 2)
    ]
    peers = [
        declare("BGPPeer", f"tor-{i}", peerIP=address, asNumber=65011, holdTime="9s", maxRestartTime="30s")
        for i, address in enumerate(("10.9.0.200", "fd00:9::c8"))
    ]
    mesh = configuration(asNumber=64512, nodeToNodeMeshEnabled=True)
    with SpeakerLab(2) as lab, Network() as network:
        one, two = lab.nodes
        made = Rack(lab, network, compiled(*pools("pool"), *nodes, *peers, tor(), mesh))
        for pool in (POOL, POOL6):
            eventually(lambda p=pool: set(known(made.spine, p)) == {p}, SETTLE)  # type: ignore[misc]
            eventually(lambda p=pool: [len(paths) for paths in known(made.tor, p).values()] == [2], SETTLE)  # type: ignore[misc]
            assert set(known(made.tor, pool)) == {pool}
        for node, other in ((one, two), (two, one)):
            ways = {other.blocks[v]: {other.addresses[v]} for v in (0, 1)}
            eventually(lambda n=node, w=ways: w.items() <= lab.routes(n).items(), SETTLE)  # type: ignore[misc]
            assert discards(node.namespace, "201") == {*node.blocks, POOL, POOL6}
        for block in (*one.blocks, *two.blocks):
            eventually(lambda b=block: " 0% packet loss" in made.pings(pod_of(b).split("/")[0]), SETTLE)  # type: ignore[misc]
        lost = made.pings("10.244.99.1")
        assert "100% packet loss" in lost
        assert "Time to live exceeded" not in lost
        made.own(one)
        eventually(lambda: [len(paths) for paths in known(made.tor, POOL).values()] == [1], SETTLE)
        eventually(lambda: discards(one.namespace, "201") == set())
        made.own(two)
        eventually(lambda: known(made.spine, POOL) == {} and known(made.tor, POOL) == {}, SETTLE)


NODE = """
router id 10.0.11.1;
protocol device {{}}
protocol static {{ ipv4; route 10.244.0.0/26 blackhole; }}
protocol kernel {{ ipv4 {{ export all; import none; }}; }}
template bgp tor {{
  connect retry time 1; connect delay time 1; error wait time 1, 2;
  ipv4 {{ import where net = 0.0.0.0/0; export where source = RTS_STATIC; }};
}}
protocol bgp a from tor {{ local 10.1.1.1 as {asn}; neighbor 10.1.1.0 as {tors[0]}; direct; }}
protocol bgp b from tor {{ local 10.1.2.1 as {asn}; neighbor 10.1.2.0 as {tors[1]}; direct; }}
"""
TORS = ("tor-a", "tor-b")
TWO_TORS = """router bgp 65000
 bgp router-id 10.254.1.0
 no bgp ebgp-requires-policy
 bgp bestpath as-path multipath-relax
 neighbor 10.254.1.1 remote-as {tors[0]}
 neighbor 10.254.1.1 timers connect 1
 neighbor 10.254.2.1 remote-as {tors[1]}
 neighbor 10.254.2.1 timers connect 1
 address-family ipv4 unicast
  neighbor 10.254.1.1 default-originate
  neighbor 10.254.2.1 default-originate
  maximum-paths 16
 exit-address-family
exit
"""


def two_tors_beside_each_other(design: str, asn: int, tors: tuple[int, int]) -> Plan:
    """A rack of one node whose switches peer, with each other too; `tors` are their ASs."""
    switches = [
        declare(
            "Switch",
            name,
            asNumber=tors[i],
            addresses=[f"10.0.1.{i + 1}/32"],
            linkSubnets=[f"10.1.{i + 1}.0/24"],
            fabricPeers=[
                {"name": "spine", "address": f"10.254.{i + 1}.0", "asNumber": 65000, "holdTime": "9s"},
                {"name": TORS[1 - i], "address": f"10.254.3.{1 - i}", "asNumber": tors[1 - i], "holdTime": "9s"},
            ],
        )
        for i, name in enumerate(TORS)
    ]
    own: dict[str, Any] = {"nodeASNumber": asn} if design == "ebgp-as-per-rack" else {}
    own |= {"design": design, "switches": list(TORS), "holdTime": "9s", "gracefulRestartTime": "0s"}
    rack = declare("Rack", "rack-1", nodeSelector="all()", **own)
    uplinks = [{"interface": f"eth{i}", "addresses": [f"10.1.{i}.1/31"]} for i in (1, 2)]
    node = declare("Node", "node-1", bgp={"ipv4Address": "10.0.11.1/32"}, uplinks=uplinks)
    plan = compiled(declare("IPPool", "v4", cidr=POOL, aggregate="rack"), node, rack, *switches, configuration())
    assert {p.code for p in plan.problems if p.severity != "info"} == set()
    return plan


@pytest.mark.parametrize(
    ("design", "asn", "tors"),
    [("ebgp-as-per-rack", 65101, (65011, 65012)), ("ibgp-tor-reflects", 65011, (65011, 65011))],
)
def test_a_switch_that_has_lost_a_node_reaches_it_over_the_racks_other_one(
    design: str, asn: int, tors: tuple[int, int]
) -> None:
    plan = two_tors_beside_each_other(design, asn, tors)
    with Network() as network:
        spaces = {name: network.namespace(name) for name in (*TORS, "spine", "node")}
        for space in spaces.values():
            command("ip", "netns", "exec", space, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        for i, name in enumerate(TORS, start=1):
            network.link(spaces[name], spaces["node"], f"eth{i}", {f"10.1.{i}.0/31": f"10.1.{i}.1/31"})
            network.link(spaces[name], spaces["spine"], f"up{i}", {f"10.254.{i}.1/31": f"10.254.{i}.0/31"})
        network.link(spaces["tor-a"], spaces["tor-b"], "beside", {"10.254.3.0/31": "10.254.3.1/31"})
        command("ip", "-n", spaces["node"], "address", "add", "10.244.0.5/32", "dev", "lo")
        sources = [f"203.0.113.{number}" for number in range(1, 9)]
        for source in sources:
            command("ip", "-n", spaces["spine"], "address", "add", f"{source}/32", "dev", "lo")
        for name in TORS:
            Frr(network, spaces[name], render(name, plan.switches[name])["frr.conf"], zebra=True, rib=True)
        Bird(network, spaces["node"], NODE.format(asn=asn, tors=tors))
        spine = Frr(network, spaces["spine"], TWO_TORS.format(tors=tors), zebra=True, rib=True)

        def announcers() -> int:
            return sum(len(paths) for prefix, paths in known(spine, POOL).items() if prefix == POOL)

        def all_arrive() -> bool:
            argv = ("ip", "netns", "exec", spaces["spine"], "ping", "-n", "-c1", "-W1", "-I")
            return all("1 received" in command_says(*argv, source, "10.244.0.5") for source in sources)

        def way() -> set[str]:
            shown = command("ip", "-n", spaces["tor-a"], "-j", "route", "show", "10.244.0.0/26")
            return {
                hop.get("gateway", "") for route in json.loads(shown or "[]") for hop in route.get("nexthops", [route])
            }

        eventually(lambda: announcers() == 2 and way() == {"10.1.1.1"} and all_arrive(), SETTLE)
        command("ip", "-n", spaces["tor-a"], "link", "set", "eth1", "down")
        eventually(lambda: way() == {"10.254.3.1"} and all_arrive(), SETTLE)
        assert announcers() == 2
        assert set(known(spine, POOL)) == {POOL}
        command("ip", "-n", spaces["tor-a"], "link", "set", "beside", "down")
        eventually(lambda: announcers() == 1 and all_arrive(), SETTLE)
        assert discards(spaces["tor-a"], "bgp") == set()
        command("ip", "-n", spaces["tor-a"], "link", "set", "eth1", "up")
        eventually(lambda: announcers() == 2 and way() == {"10.1.1.1"} and all_arrive(), SETTLE)


def command_says(*argv: str) -> str:
    """What it prints, however it ends."""
    return subprocess.run(argv, check=False, capture_output=True, text=True).stdout
