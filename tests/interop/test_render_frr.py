"""What FRR itself makes of what we render: its parsers, its running configuration, its routes.

`vtysh -C` knows the grammar only; `bgpd -C` knows more and exits 0 whatever it finds, so its words count. The
running configuration of a live bgpd is compared line by line: what it does not show back, it did not take,
or shows differently, and would then be pushed again for ever.
"""

from __future__ import annotations

import re
import secrets
import string
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from fabric_templates.endpoints import neighbor_key
from fabric_templates.render import render
from peering.compile import plan
from peering.session import BfdParameters, PrefixRule, SecretKeyRef, Session, SwitchPlan
from peering.snapshot import Snapshot
from tests.interop.netns_daemons import DAEMONS, Bird, Frr, Network, eventually
from tests.unit.frr_cases import ANNOUNCE, CASES, SECRET, ibgp, switch, to_node, to_spine
from tests.unit.samples import sample

pytestmark = pytest.mark.lab

COMPLAINT = re.compile(r"%|EC 100663304|[Uu]nknown command")


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


def frr_conf(plan: SwitchPlan, passwords: dict[SecretKeyRef, str] | None = None) -> str:
    return render("tor-1a", plan, passwords=passwords)["frr.conf"]


#: Where bgpd's part ends and that of staticd and bfdd begins.
OTHERS = re.compile(r"^(ip route|ipv6 route|bfd$)", re.MULTILINE)


def parsers_say(text: str, directory: Path) -> tuple[int, list[str]]:
    """(exit code of vtysh, every complaint of vtysh about all and of bgpd about its part)."""
    file, part = directory / "frr.conf", directory / "bgpd.conf"
    file.write_text(text)
    part.write_text(OTHERS.split(text)[0])
    grammar = subprocess.run(["vtysh", "-C", "-f", str(file)], capture_output=True, text=True, check=False)
    meaning = subprocess.run(
        [str(DAEMONS / "bgpd"), "-C", "-f", str(part)], capture_output=True, text=True, check=False
    )
    lines = (grammar.stdout + grammar.stderr + meaning.stdout + meaning.stderr).splitlines()
    return grammar.returncode, [line for line in lines if COMPLAINT.search(line)]


@pytest.mark.parametrize("case", sorted(CASES))
def test_the_parsers_accept(case: str, network: Network) -> None:
    assert parsers_say(frr_conf(CASES[case]), network.directory) == (0, [])


SAMPLES_WITH_SWITCHES = [
    "as-per-cluster",
    "as-per-node",
    "bfd",
    "loopbacks",
    "rack-aggregate",
    "shared-subnet",
    "unnumbered",
]


@pytest.mark.parametrize("name", SAMPLES_WITH_SWITCHES)
def test_frr_takes_every_switch_of_a_sample(name: str, network: Network) -> None:
    switches = plan(Snapshot(sample(name))).switches
    for number, (switch_name, compiled) in enumerate(switches.items()):
        text = render(switch_name, compiled)["frr.conf"]
        assert parsers_say(text, network.directory) == (0, [])
        frr = Frr(network, network.namespace(f"s{number}"), text, zebra=True, integrated=True)
        assert statements(without_base(frr.ask("show running-config"))) == statements(text)
        assert set(frr.json("show bgp neighbors")) == {neighbor_key(s) for s in compiled.sessions}
    assert len(switches) >= 2


@pytest.mark.parametrize(
    ("line", "broken"),
    [
        ("  neighbor 10.1.1.1 maximum-prefix 64 80 restart 5", "  neighbor 10.1.1.1 maximum-prefixes 64"),
        (" neighbor UNDERLAY-NODES peer-group", ""),
        (
            " neighbor 10.1.1.1 passive",
            " neighbor 10.1.1.1 ebgp-multihop 2\n neighbor 10.1.1.1 ttl-security hops 2",
        ),
    ],
)
def test_the_parsers_would_complain(line: str, broken: str, network: Network) -> None:
    text = frr_conf(CASES["max-prefixes"])
    assert f"{line}\n" in text
    assert parsers_say(text.replace(f"{line}\n", f"{broken}\n"), network.directory)[1] != []


@pytest.mark.parametrize(
    ("line", "broken"),
    [
        ("  minimum-ttl 250", "  minimum-ttl 255"),
        ("ip route 10.0.11.1/32 10.1.1.1", "ip route 10.0.11.1/33 10.1.1.1"),
    ],
)
def test_the_parser_would_complain_about_the_other_daemons_parts(line: str, broken: str, network: Network) -> None:
    text = frr_conf(CASES["loopbacks"])
    assert f"{line}\n" in text
    assert parsers_say(text.replace(f"{line}\n", f"{broken}\n"), network.directory)[0] != 0


def statements(text: str) -> set[tuple[str, ...]]:
    """Every line with the lines that it stands under. The numbers of prefix lists are bgpd's own."""
    found = set()
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        words = re.sub(r"^(ip(?:v6)? prefix-list \S+) seq \d+ ", r"\1 ", line.strip())
        if not words or words.startswith("!") or words in ("exit", "end", "exit-address-family"):
            continue
        depth = len(line) - len(line.lstrip())
        above = [(d, w) for d, w in above if d < depth]
        found.add((*(w for _, w in above), words))
        above.append((depth, words))
    return found


def without_base(running: str) -> str:
    """The running configuration without what FRR says about itself."""
    base = (
        "Building",
        "Current",
        "frr ",
        "hostname ",
        "bgp no-rib",
        "service ",
        "log ",
        "no ip",
        "ip forwarding",
        "ipv6 forwarding",
    )
    return "\n".join(line for line in running.splitlines() if not line.startswith(base))


#: What frr-reload.py would take away for want of a base configuration.
NOT_OURS = ("no hostname ", "no bgp no-rib", "ip forwarding", "ipv6 forwarding")


@pytest.mark.parametrize("case", sorted(CASES))
def test_running_configuration_is_what_we_wrote(case: str, network: Network) -> None:
    plan = CASES[case]
    text = frr_conf(plan)
    others = OTHERS.search(text) is not None
    frr = Frr(network, network.namespace("tor"), text, zebra=others, integrated=others)
    assert statements(without_base(frr.ask("show running-config"))) == statements(text)
    neighbors = frr.json("show bgp neighbors")
    assert set(neighbors) == {neighbor_key(s) for s in plan.sessions}
    for session in plan.sessions:
        meaning_equals(session, neighbors[neighbor_key(session)])
    bfd = {peer["peer"]: peer for peer in frr.json("show bfd peers")} if others else {}
    assert set(bfd) == {neighbor_key(s) for s in plan.sessions if s.bfd and others}
    for session in plan.sessions:
        if session.bfd and others:
            bfd_equals(session.bfd, session.multihop, bfd[session.peer_address])
    reload = frr.reload("--test")
    deleted = reload.partition("Lines To Delete")[2].splitlines()[2:]
    assert "Lines To Add" not in reload
    assert [line for line in deleted if not line.startswith(NOT_OURS)] == []


#: It makes the aggregate anew then, within one moment.
REMARK = "There is already same aggregate network.\n"


@pytest.mark.parametrize("case", sorted(CASES))
def test_loading_it_again_is_not_refused(case: str, network: Network) -> None:
    """frr-reload.py says every new line twice."""
    text = frr_conf(CASES[case])
    others = OTHERS.search(text) is not None
    frr = Frr(network, network.namespace("tor"), text, zebra=others, integrated=others)
    before = frr.ask("show running-config")
    code, said = frr.load()
    assert (code, said.replace(REMARK, "")) == (0, "")
    assert frr.ask("show running-config") == before


@pytest.mark.parametrize("case", ["as-per-node", "bfd", "loopbacks", "rack-aggregate", "unnumbered"])
def test_a_running_switch_is_brought_to_another_design(case: str, network: Network) -> None:
    """And a second time there is nothing left to do."""
    frr = Frr(network, network.namespace("tor"), frr_conf(CASES["max-prefixes"]), zebra=True, integrated=True)
    text = BASE + frr_conf(CASES[case])
    frr.write(text)
    frr.reload("--reload")
    assert statements(without_base(frr.ask("show running-config"))) == statements(without_base(text))
    left = frr.reload("--test").partition("Lines To Add")[2].splitlines()[2:]
    assert [line for line in left if line and line not in BASE.splitlines()] == []


def bfd_equals(wanted: BfdParameters, multihop: int | None, seen: dict[str, Any]) -> None:
    assert seen["receive-interval"] == wanted.receive_interval
    assert seen["transmit-interval"] == wanted.transmit_interval
    assert seen["detect-multiplier"] == wanted.detect_multiplier
    assert seen.get("passive-mode", False) == wanted.passive_mode
    assert seen["multihop"] == bool(multihop)
    if multihop:
        # bfdd takes the profile's default for nothing said, and then follows the hops of the BGP session.
        assert seen["minimum-ttl"] == (256 - multihop if wanted.minimum_ttl == 254 else wanted.minimum_ttl)


def meaning_equals(session: Session, seen: dict[str, Any]) -> None:
    sides = {"external": "FABRIC", "node": "NODES", "reflector": "REFLECTORS", "switch": "PAIR"}
    side = sides[session.peer.split("/")[0]]
    group = f"UNDERLAY-{side}{'-IBGP' if session.type == 'ibgp' else ''}"
    assert seen["remoteAs"] == session.peer_asn
    assert seen["localAs"] == session.local_asn
    assert seen.get("nbrExternalLink", False) == (session.type == "ebgp")
    assert seen["nbrDesc"] == (session.name if session.peer == "external" else session.peer)
    assert seen["peerGroup"] == group
    assert seen["bgpTimerConfiguredHoldTimeMsecs"] == 1000 * session.hold_time
    assert seen["bgpTimerConfiguredKeepAliveIntervalMsecs"] == 1000 * session.keepalive_time
    assert seen["connectRetryTimer"] == (session.connect_retry or 5)
    assert seen.get("updateSource") == (str(ip_address(session.local_address)) if session.local_address else None)
    assert seen["gracefulRestartInfo"]["localGrMode"].startswith("Helper")
    if session.ttl_security or session.multihop:
        hops = "externalBgpNbrMaxHopsAway" if session.type == "ebgp" else "internalBgpNbrMaxHopsAway"
        assert seen[hops] == (session.ttl_security or session.multihop)
    families = seen["addressFamilyInfo"]
    assert set(families) == {f.replace("-unicast", "Unicast") for f in session.families}
    for name, family in families.items():
        version = name[3]
        assert family["routeMapForIncomingAdvertisements"] == f"{group}-IN-V{version}"
        assert family["routeMapForOutgoingAdvertisements"] == f"{group}-OUT-V{version}"
        assert family["inboundSoftConfigPermit"]
        assert family.get("prefixAllowedMax") == session.max_prefixes
        assert family.get("routeReflectorClient", False) == session.rr_client


@pytest.mark.parametrize("punctuation", [string.punctuation, "!#|\"'\\?"])
def test_any_password_survives(punctuation: str, network: Network) -> None:
    """Once as bgpd reads its file, once as vtysh feeds it."""
    password = secrets.token_hex(4) + punctuation
    for text in (password, password[::-1]):
        frr = Frr(network, network.namespace(secrets.token_hex(2)), "router bgp 65011\n", zebra=False)
        frr.write(frr_conf(CASES["password"], {SECRET: text}))
        assert frr.load() == (0, "")
        assert f" neighbor 10.1.1.1 password {text}\n" in frr.ask("show running-config")
        started = Frr(network, network.namespace(secrets.token_hex(2)), frr.file.read_text(), zebra=False)
        assert f" neighbor 10.1.1.1 password {text}\n" in started.ask("show running-config")


NODE = """
router id 10.0.11.1;
protocol device {{}}
protocol static {{
  ipv4;
  route 10.244.1.0/26 blackhole;
  route 10.244.2.0/27 blackhole;
  route 10.99.0.0/26 blackhole;
  route 10.244.3.0/26 blackhole {{ bgp_path.prepend(64999); }};
  route 10.244.4.0/26 blackhole {{ bgp_path.prepend(65101); }};
  route 10.244.5.0/26 blackhole {{ bgp_community.add((65535, 0)); }};
  route 10.244.6.0/26 blackhole {{ bgp_community.add((65535, 666)); }};
  route 10.244.7.0/26 blackhole {{
    bgp_community.add((65101, 100)); bgp_community.add((65535, 65281)); bgp_large_community.add((65101, 1, 1)); }};
  route 10.0.11.1/32 blackhole;
  route 10.0.11.9/32 blackhole;
  route 0.0.0.0/0 blackhole {{ bgp_community.add((65535, 65282)); }};
}}
protocol static {{
  ipv6;
  route fd00:10:244::40/122 blackhole;
  route fd00:10:244::/64 blackhole;
}}
ipv4 table learned;
ipv6 table learned6;
protocol bgp tor4 {{
  local 10.1.1.1 as 65101;
  neighbor 10.1.1.0 as 65011;
  password "{password}";
  ttl security on;
  connect retry time 1; connect delay time 1; error wait time 1, 2;
  ipv4 {{ table learned; import all; export where source = RTS_STATIC; }};
}}
protocol bgp tor6 {{
  local fd00:1:1::1 as 65101;
  neighbor fd00:1:1:: as 65011;
  password "{password}";
  ttl security on;
  connect retry time 1; connect delay time 1; error wait time 1, 2;
  ipv6 {{ table learned6; import all; export where source = RTS_STATIC; }};
}}
protocol pipe {{ table master4; peer table learned; import none; export all; }}
protocol pipe {{ table master6; peer table learned6; import none; export all; }}
"""

SPINES = """
router id 10.254.0.1;
protocol device {}
protocol static {
  ipv4;
  route 0.0.0.0/0 blackhole;
  route 10.244.128.0/26 blackhole;
  route 192.0.2.0/24 blackhole;
  route 10.0.1.1/32 blackhole;
}
protocol static { ipv6; route ::/0 blackhole; }
ipv4 table one;
ipv4 table two;
template bgp spine { connect retry time 1; connect delay time 1; error wait time 1, 2; }
protocol bgp spine1 from spine {
  local 10.254.1.0 as 65000;
  neighbor 10.254.1.1 as 65011;
  ipv4 { table one; import all; export all; };
}
protocol bgp spine2 from spine {
  local 10.254.2.0 as 64999;
  neighbor 10.254.2.1 as 65011;
  ipv4 { table two; import all; export none; };
}
protocol bgp spine6 from spine {
  local fd00:fe:1:: as 65000;
  neighbor fd00:fe:1::1 as 65011;
  ipv6 { import none; export all; };
}
protocol pipe { table master4; peer table one; import none; export all; }
"""


BASE = "ip forwarding\nipv6 forwarding\n"


class Fabric:
    """tor (FRR with our configuration), node (BIRD) and two spines (one BIRD), wired as in the plan."""

    def __init__(self, network: Network, plan: SwitchPlan, node: str, passwords: dict[SecretKeyRef, str]) -> None:
        tor, host, spine = (network.namespace(name) for name in ("tor", "node", "spine"))
        network.link(tor, host, "rack1", {"10.1.1.0/31": "10.1.1.1/31", "fd00:1:1::/127": "fd00:1:1::1/127"})
        network.link(tor, spine, "up1", {"10.254.1.1/31": "10.254.1.0/31", "fd00:fe:1::1/127": "fd00:fe:1::/127"})
        network.link(tor, spine, "up2", {"10.254.2.1/31": "10.254.2.0/31"})
        self.tor = Frr(network, tor, frr_conf(plan, passwords), zebra=True)
        self.node = Bird(network, host, node)
        self.spine = Bird(network, spine, SPINES)
        eventually(lambda: self.established() == len(plan.sessions), within=60)

    def neighbors(self) -> dict[str, Any]:
        found: dict[str, Any] = self.tor.json("show bgp neighbors")
        return found

    def established(self) -> int:
        return sum(1 for seen in self.neighbors().values() if seen["bgpState"] == "Established")

    def connections(self) -> list[tuple[str, int]]:
        return sorted((a, seen["connectionsEstablished"]) for a, seen in self.neighbors().items())

    def received(self, family: str, neighbor: str) -> set[str]:
        """Before our route map."""
        return set(self.tor.json(f"show bgp {family} neighbors {neighbor} received-routes")["receivedRoutes"])

    def accepted(self, family: str, neighbor: str) -> set[str]:
        return set(self.tor.json(f"show bgp {family} neighbors {neighbor} routes")["routes"])

    def path(self, prefix: str) -> dict[str, Any]:
        found: dict[str, Any] = self.tor.json(f"show bgp ipv4 {prefix}")["paths"][0]
        return found


def test_live_ebgp(network: Network) -> None:
    password = secrets.token_urlsafe(16)
    options: dict[str, Any] = {"password": SECRET, "ttl_security": 1, "max_prefixes": 20}
    plan = switch(
        to_node(1, **options), to_node(1, 6, **options), to_spine(1), to_spine(2, peer_asn=64999), to_spine(1, 6)
    )
    # Announced as wide as the pool: only the AS path then tells our rack's blocks from another rack's.
    assert PrefixRule("10.244.0.0/16", 26, 26) in ANNOUNCE
    fabric = Fabric(network, plan, NODE.format(password=password), {SECRET: password})

    eventually(lambda: len(fabric.received("ipv4", "10.1.1.1")) == 11)
    good = {"10.244.1.0/26", "10.244.4.0/26", "10.244.5.0/26", "10.244.7.0/26", "10.0.11.1/32"}
    assert fabric.accepted("ipv4", "10.1.1.1") == good
    eventually(lambda: len(fabric.received("ipv6", "fd00:1:1::1")) == 2)
    assert fabric.accepted("ipv6", "fd00:1:1::1") == {"fd00:10:244::40/122"}

    drained = fabric.path("10.244.5.0/26")
    assert (drained["locPrf"], drained["community"]["list"]) == (0, ["gracefulShutdown"])
    tagged = fabric.path("10.244.7.0/26")
    assert (tagged["community"]["list"], "largeCommunity" in tagged) == (["noExport"], False)

    eventually(lambda: fabric.node.route("10.244.128.0/26", "learned") != "")
    eventually(lambda: "BGP.as_path: 65011 65000" in fabric.node.route("0.0.0.0/0", "learned"))
    eventually(lambda: "BGP.as_path: 65011 65000" in fabric.node.route("::/0", "learned6"))
    assert fabric.node.route("192.0.2.0/24", "learned") == ""
    assert "192.0.2.0/24" in fabric.accepted("ipv4", "10.254.1.0")
    assert "10.0.1.1/32" in fabric.received("ipv4", "10.254.1.0") - fabric.accepted("ipv4", "10.254.1.0")

    upward = {"10.0.1.1/32", *good} - {"10.244.7.0/26"}
    eventually(lambda: all(fabric.spine.route(prefix, "two") for prefix in upward))
    assert "(65535,0)" in fabric.spine.route("10.244.5.0/26", "two")
    for kept in ("10.244.7.0/26", "10.244.128.0/26", "192.0.2.0/24"):
        assert fabric.spine.route(kept, "two") == ""

    merge_without_a_flap(fabric, plan, {SECRET: password})


def merge_without_a_flap(fabric: Fabric, plan: SwitchPlan, passwords: dict[SecretKeyRef, str]) -> None:
    """`frr-reload.py` applies a changed policy and a new node to the running switch; the sessions stay."""
    before = fabric.connections()
    changed = replace(plan, downward="default-only", send=(), sessions=(*plan.sessions, to_node(2, hold_time=30)))
    fabric.tor.write(BASE + frr_conf(changed, passwords))
    fabric.tor.reload("--reload")
    eventually(lambda: fabric.node.route("10.244.128.0/26", "learned") == "")
    assert fabric.node.route("0.0.0.0/0", "learned") != ""
    assert [row for row in fabric.connections() if row[0] != "10.1.1.3"] == before
    assert fabric.established() == len(plan.sessions)


IBGP_NODES = """
router id 10.0.11.1;
protocol device {}
protocol static { ipv4; route 10.244.1.0/26 blackhole; }
ipv4 table one;
ipv4 table two;
protocol pipe { table master4; peer table one; import none; export all; }
protocol bgp node1 {
  local 10.1.1.1 as 65011;
  neighbor 10.1.1.0 as 65011;
  connect retry time 1; connect delay time 1; error wait time 1, 2;
  ipv4 { table one; import all; export where source = RTS_STATIC; };
}
protocol bgp node2 {
  router id 10.0.11.2;
  local 10.1.1.3 as 65011;
  neighbor 10.1.1.2 as 65011;
  connect retry time 1; connect delay time 1; error wait time 1, 2;
  ipv4 { table two; import all; export none; };
}
"""


@pytest.mark.parametrize(("mode", "reflected"), [("self", "10.1.1.2"), ("auto", "10.1.1.1"), ("keep", "10.1.1.1")])
def test_live_reflection(mode: str, reflected: str, network: Network) -> None:
    """Next hops as the plan says: ours for all, ours for what comes from outside, or never ours."""
    outside = "10.254.1.0" if mode == "keep" else "10.1.1.2"
    options = ibgp(next_hop=mode, graceful_restart_time=120)
    plan = switch(to_node(1, **options), to_node(2, **options), to_spine(1))
    tor, nodes, spine = (network.namespace(name) for name in ("tor", "nodes", "spine"))
    network.link(tor, nodes, "rack1", {"10.1.1.0/31": "10.1.1.1/31"})
    network.link(tor, nodes, "rack2", {"10.1.1.2/31": "10.1.1.3/31"})
    network.link(tor, spine, "up1", {"10.254.1.1/31": "10.254.1.0/31"})
    frr = Frr(network, tor, frr_conf(plan), zebra=True)
    bird = Bird(network, nodes, IBGP_NODES)
    Bird(network, spine, SPINES)

    eventually(lambda: "10.244.1.0/26" in frr.json("show bgp ipv4 unicast").get("routes", {}), within=60)
    eventually(lambda: f"BGP.next_hop: {reflected}\n" in bird.route("10.244.1.0/26", "two"))
    eventually(lambda: f"BGP.next_hop: {outside}\n" in bird.route("0.0.0.0/0", "two"))
    assert "BGP.cluster_list: 10.0.1.0" in bird.route("10.244.1.0/26", "two")
