"""The dual-ToR lab whose every process is on the Kubernetes store: what is written to the API happens in the fabric."""

from __future__ import annotations

import secrets
import subprocess
import time

import pytest

from tests.interop.lab_kubernetes.declared import Document, changed, secret
from tests.interop.lab_kubernetes.kubernetes_lab import KubernetesLab
from tests.lab.running_lab import prefixes, wait_until

pytestmark = pytest.mark.lab

HOLD_TIME_S, SHORTER_S = 9, 6
#: The controller writes a status every ten to thirty seconds at most.
STATUS_S = 45


def test_every_planned_session_is_up_on_both_ends(lab: KubernetesLab) -> None:
    compiled, checked = lab.plan(), 0
    summaries = {switch: lab.summary(switch) for switch in lab.switches()}
    for node, speaker in compiled.speakers.items():
        rows = {row["session"]: row for row in lab.report(node)["sessions"]}
        assert set(rows) == {session.name for session in speaker.sessions}
        for session in speaker.sessions:
            assert rows[session.name]["state"] == "Established", rows[session.name]
            far_end = summaries[session.peer.removeprefix("switch/")][session.local_address or ""]
            assert (far_end["state"], far_end["remoteAs"]) == ("Established", session.local_asn)
            checked += 1
    assert checked == 16
    assert lab.underlay("status").returncode == 0


def test_the_nodes_are_those_of_kubernetes_and_none_is_declared_a_second_time(lab: KubernetesLab) -> None:
    assert lab.api.names("nodes") == set()
    assert {path.name for path in lab.fabric.lab.run_dir.iterdir()} == {".lock", "lab.json", "nodes"}


def test_a_speaker_watches_its_own_node_and_blocks_and_no_others(lab: KubernetesLab) -> None:
    nodes = lab.api.watches("nodes")
    named = {query["fieldSelector"] for query in nodes if "fieldSelector" in query}
    assert named == {f"metadata.name={node}" for node in lab.nodes()}
    # That is the controller: one process, whose watch may have been begun anew.
    assert sum("fieldSelector" not in query for query in nodes) < len(lab.nodes())
    reports = lab.api.watches("bgpnodestatuses.underlay.io")
    assert sum("fieldSelector" not in query for query in reports) < len(lab.nodes())


def test_each_node_has_two_next_hops_for_the_default_and_for_the_other_racks_blocks(lab: KubernetesLab) -> None:
    compiled, blocks = lab.plan(), lab.all_blocks()
    racks = {node: {session.source for session in speaker.sessions} for node, speaker in compiled.speakers.items()}
    for node, speaker in compiled.speakers.items():
        foreign = {block for other in racks if racks[other] != racks[node] for block in blocks[other]}
        for version in (4, 6):
            uplinks = {s.peer_address for s in speaker.sessions if (":" in s.peer_address) is (version == 6)}
            wanted = {"default", *prefixes(foreign, version)}
            learned = lab.learned_routes(node, version)
            assert len(uplinks) == 2
            assert len(wanted) == 3
            assert {prefix: learned.get(prefix) for prefix in wanted} == dict.fromkeys(wanted, uplinks)


def test_every_pod_answers_every_other_with_each_of_the_tors_of_its_rack(lab: KubernetesLab) -> None:
    assert unanswered(lab) == []
    for link in ("eth1", "eth2"):
        lab.set_link("node-1", link, False)
        try:
            wait_until(f"node-1 has left {link}", lambda: set(map(len, gateways(lab, "node-1"))) == {1})
            wait_until("all pods answer over the other", lambda: unanswered(lab) == [])
        finally:
            lab.set_link("node-1", link, True)
        lab.wait_converged()


def gateways(lab: KubernetesLab, node: str) -> list[set[str]]:
    """Of each route."""
    return [hops for version in (4, 6) for hops in lab.learned_routes(node, version).values()]


def unanswered(lab: KubernetesLab) -> list[str]:
    """The pairs of nodes whose pods do not answer each other; all are asked at once."""
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


def test_a_change_of_a_rack_in_the_api_reaches_its_sessions_and_no_others(lab: KubernetesLab) -> None:
    original, mine = lab.api.get("racks", "rack-1"), to_rack(lab, 1)
    wait_until("all sessions are up at the ToRs", lambda: hold_times(lab, mine) == {HOLD_TIME_S})
    before = lab.all_connections()
    lab.api.put(changed(original, holdTime=f"{SHORTER_S}s", keepaliveTime=f"{SHORTER_S // 3}s"))
    try:
        wait_until("the ToRs have the shorter hold time", lambda: hold_times(lab, mine) == {SHORTER_S})
    finally:
        lab.api.put(changed(lab.api.get("racks", "rack-1"), **original["spec"]))
    wait_until("the ToRs have the old hold time", lambda: hold_times(lab, mine) == {HOLD_TIME_S})
    after = lab.all_connections()
    assert {key for key in before if after[key] != before[key]} == mine


def to_rack(lab: KubernetesLab, number: int) -> set[tuple[str, str]]:
    """(switch, peer) of the sessions with a rack's nodes: eight, of two nodes, two switches, two families."""
    tors = {f"tor-{number}a", f"tor-{number}b"}
    found = {key for key in lab.all_connections() if key[0] in tors and not key[1].startswith(("10.254.", "fd00:fe:"))}
    assert len(found) == 8
    return found


def hold_times(lab: KubernetesLab, sessions: set[tuple[str, str]]) -> set[int]:
    """Of the sessions, in seconds; none while one of them is down."""
    if not sessions <= established(lab):
        return set()
    found = {tor: lab.hold_times(tor) for tor, _ in sessions}
    return {found[tor][peer] for tor, peer in sessions}


def test_another_password_in_the_secret_rekeys_the_sessions(lab: KubernetesLab) -> None:
    """The ToRs first know only the old one, so the sessions are down until they are rendered anew."""
    mine, new = to_rack(lab, 2), secrets.token_urlsafe(24)
    wait_until("all sessions are up", lambda: established(lab) == set(lab.all_connections()))
    before = lab.all_connections()
    lab.api.put(secret(new), "")
    wait_until("no session with the old password", lambda: established(lab) == set(before) - mine)
    lab.up()
    after = lab.all_connections()
    assert {key for key in before if after[key] != before[key]} == mine
    configured = lab.fabric.lab.node_dir("tor-2a") / "etc/frr/frr.conf"
    assert new in configured.read_text()
    assert new not in "".join(lab.speaker_log(node) for node in lab.nodes())


def established(lab: KubernetesLab) -> set[tuple[str, str]]:
    summaries = {switch: lab.summary(switch) for switch in lab.switches()}
    return {(s, peer) for s, peers in summaries.items() for peer, row in peers.items() if row["state"] == "Established"}


def test_reports_are_written_and_the_controller_says_that_all_is_ready(lab: KubernetesLab) -> None:
    ready = {"Ready": "True", "Degraded": "False", "Ignored": "False"}
    for node in lab.nodes():
        report = lab.report(node)
        assert (report["node"], report["established"], report["total"]) == (node, 4, 4)
        assert time.time() - report["reported"] < 60
    for kind, names in (("racks", ("rack-1", "rack-2")), ("switches", tuple(lab.switches()))):
        for name in names:
            wait_until(f"{kind}/{name} is ready", lambda: lab.conditions(kind, name) == ready, STATUS_S)  # noqa: B023
    for pool in ("pods-v4", "pods-v6"):
        assert lab.conditions("ippools", pool)["Ready"] == "True"
    sessions = lab.api.get("racks", "rack-1")["status"]["sessions"]
    assert sessions == {"up": 8, "down": 0, "unknown": 0, "total": 8}


RANGE, ADDRESS = "203.0.113.0/24", "203.0.113.7/32"


def test_an_address_of_a_service_is_withdrawn_within_a_second_of_its_last_endpoint(lab: KubernetesLab) -> None:
    """From the change in the API to the switch's own word. The best of three: this machine may do other things."""
    original = lab.api.get("bgpconfigurations", "default")
    lab.api.put(changed(original, serviceExternalIPs=[{"cidr": RANGE}]))
    took = []
    try:
        lab.up()
        lab.api.put(LOCAL_SERVICE, "")
        for _ in range(3):
            lab.api.put(endpoint("node-1", ready=True), "discovery.k8s.io")
            wait_until("the ToR has the address", lambda: is_announced(lab))
            began = time.monotonic()
            lab.api.put(endpoint("node-1", ready=False), "discovery.k8s.io")
            wait_until("the ToR has it no more", lambda: not is_announced(lab))
            took.append(time.monotonic() - began)
    finally:
        lab.api.put(changed(lab.api.get("bgpconfigurations", "default"), serviceExternalIPs=[]))
        lab.up()
    assert min(took) < 1.0, took


LOCAL_SERVICE = {
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {"type": "NodePort", "externalTrafficPolicy": "Local", "externalIPs": [ADDRESS.partition("/")[0]]},
}


def endpoint(node: str, *, ready: bool) -> Document:
    return {
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.244.0.1"], "nodeName": node, "conditions": {"ready": ready}}],
    }


def is_announced(lab: KubernetesLab) -> bool:
    """Whether the ToR has a path to the one address; the range is announced by every node all the time."""
    return "paths" in lab.vtysh("tor-1a", f"show bgp ipv4 unicast {ADDRESS} json")
