"""One AS for all nodes of the cluster: the ToRs override it, every node has every route, and either ToR may go."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.running_lab import RunningLab, prefixes, wait_until

CLUSTER, TORS = 64512, {"tor-1a": 65011, "tor-1b": 65012, "tor-2a": 65021, "tor-2b": 65022}
_RUN_DIR = Path("/run/underlay-test")


@pytest.fixture(scope="module")
def cluster_lab() -> Iterator[RunningLab]:
    lab = RunningLab("as-per-cluster", f"c{os.getpid()}", _RUN_DIR)
    try:
        lab.up()
        yield lab
    finally:
        left = lab.down()
        if _RUN_DIR.exists() and not any(_RUN_DIR.iterdir()):
            _RUN_DIR.rmdir()
    assert left == []


Blocks = dict[str, set[str]]


@pytest.fixture(scope="module")
def blocks(cluster_lab: RunningLab) -> Blocks:
    """The blocks of each node, as `underlay ipam show` has them."""
    return cluster_lab.all_blocks()


def unreached(lab: RunningLab) -> list[str]:
    """The pairs of nodes whose pods do not answer each other."""
    pods = [lab.pod(node) for node in lab.nodes()]
    asked = {
        f"{one.node} -> {other.node} IPv{version}": subprocess.Popen(
            ["ip", "netns", "exec", one.namespace, "ping", "-n", "-c", "1", "-W", "2", other.address(version)],
            stdout=subprocess.DEVNULL,
        )
        for version in (4, 6)
        for one in pods
        for other in pods
        if one is not other
    }
    return [pair for pair, ping in asked.items() if ping.wait(timeout=10)]


def test_every_session_is_up_on_both_ends_and_all_nodes_have_one_as(cluster_lab: RunningLab) -> None:
    compiled, status = cluster_lab.plan(), cluster_lab.status()
    assert {speaker.asn for speaker in compiled.speakers.values()} == {CLUSTER}
    summaries = {name: cluster_lab.summary(name) for name in compiled.switches}
    states = {}
    for node, speaker in compiled.speakers.items():
        rows = {row["session"]: row["state"] for row in status[node]["sessions"]}
        for session in speaker.sessions:
            far_end = summaries[session.peer.removeprefix("switch/")][session.local_address or ""]
            states[node, session.name] = (rows[session.name], far_end["state"], far_end["remoteAs"])
    assert states == dict.fromkeys(states, ("Established", "Established", CLUSTER))
    assert len(states) == 16


def test_every_node_has_every_others_blocks_over_both_of_its_tors(cluster_lab: RunningLab, blocks: Blocks) -> None:
    """Rack-mates too, which with an AS per rack are reached over the default route; and never its own."""
    for node, speaker in cluster_lab.plan().speakers.items():
        for version in (4, 6):
            tors = {s.peer_address for s in speaker.sessions if (":" in s.peer_address) is (version == 6)}
            others = {b for n in blocks if n != node for b in prefixes(blocks[n], version)}
            assert len(others) == 3
            assert cluster_lab.learned_routes(node, version) == dict.fromkeys(others | {"default"}, tors)


def test_a_tor_puts_its_own_as_in_place_of_the_nodes(cluster_lab: RunningLab, blocks: Blocks) -> None:
    for tor, asn in TORS.items():
        sessions = [s for s in cluster_lab.plan().switches[tor].sessions if s.peer.startswith("node/")]
        rack = {s.peer.removeprefix("node/") for s in sessions}
        for session in sessions:
            family = session.families[0].removesuffix("-unicast")
            command = f"show bgp {family} unicast neighbors {session.peer_address} advertised-routes json"
            paths = {p: r["path"] for p, r in cluster_lab.vtysh(tor, command)["advertisedRoutes"].items()}
            assert str(CLUSTER) not in " ".join(paths.values())
            for node in blocks.keys() - {session.peer.removeprefix("node/")}:
                (block,) = prefixes(blocks[node], 4 if family == "ipv4" else 6)
                assert paths[block].split()[-1] == str(asn)
                assert (len(paths[block].split()) == 1) is (node in rack)


def test_pods_of_both_racks_reach_each_other_and_go_on_when_a_tor_dies(cluster_lab: RunningLab) -> None:
    assert unreached(cluster_lab) == []
    near, far = cluster_lab.pod("node-1"), cluster_lab.pod("node-3")
    links = [f"eth{i}" for i in range(1, 5)]
    before = sent_by_uplink(cluster_lab, "node-1")
    with cluster_lab.traffic(near.namespace, far) as seen:
        after = sent_by_uplink(cluster_lab, "node-1")
        assert min(after[link] - before[link] for link in before) > 50
        cluster_lab.stop("tor-1a")
        for link in links:
            cluster_lab.set_link("tor-1a", link, False)
        wait_until("one next hop", lambda: one_way_left(cluster_lab))
    print(f"tor-1a killed: worst gap {seen.worst_gap_ms:.0f} ms, {seen.lost} of {seen.sent} lost")
    assert seen.answered > 0
    assert seen.worst_gap_ms < 11500
    assert unreached(cluster_lab) == []
    for link in links:
        cluster_lab.set_link("tor-1a", link, True)
    cluster_lab.start("tor-1a")
    cluster_lab.wait_converged()
    assert unreached(cluster_lab) == []


def sent_by_uplink(lab: RunningLab, node: str) -> dict[str, int]:
    links = lab.ip_json(node, "-s", "link", "show")
    return {x["ifname"]: x["stats64"]["tx"]["packets"] for x in links if x["ifname"] in ("eth1", "eth2")}


def one_way_left(lab: RunningLab) -> bool:
    """Both nodes of rack 1 send everything over tor-1b."""
    ways = [hops for node in ("node-1", "node-2") for hops in lab.learned_routes(node, 4).values()]
    return bool(ways) and all(hops <= {"10.1.2.0", "10.1.2.2"} for hops in ways)
