"""The API server is gone: what runs goes on, what fails meanwhile still heals, and all is well again without a restart.

Nobody's pauses are shortened here: speakers and controller are real processes, and wait as they do in a cluster. Only
the outage is shorter than the ten minutes that are promised: AWAY_S, 25 s unless UNDERLAY_API_AWAY_S says otherwise
(600 for the whole of it).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from functools import partial

import pytest

from containerlab.pods import Pod
from tests.interop.lab_kubernetes.declared import COMMUNITY, KEPT_S, RESTART_S, changed
from tests.interop.lab_kubernetes.kubernetes_lab import Connections, KubernetesLab
from tests.lab.running_lab import prefixes, wait_until

pytestmark = pytest.mark.lab

AWAY_S = float(os.environ.get("UNDERLAY_API_AWAY_S", "25"))
#: So much of it is left for what fails meanwhile.
FAULTS_S = 12
#: Tries of a watch are up to 45 s apart (docs/design/store.md), and what is read anew is then written.
BACK_S = 60
#: The controller leads again once its Lease is free (15 s), and writes a status every ten to thirty seconds.
CONTROLLER_S = BACK_S + 45
EDGE_S = 5
POOL = {
    "apiVersion": "underlay.io/v1alpha1",
    "kind": "IPPool",
    "metadata": {"name": "later"},
    "spec": {"cidr": "10.245.0.0/16", "disabled": True},
}


@pytest.mark.timeout(AWAY_S + 300)
def test_nothing_in_the_fabric_notices_that_the_api_server_is_gone(lab: KubernetesLab) -> None:
    before, blocks = lab.seen(), {node: lab.blocks(node) for node in lab.nodes()}
    cable = {("tor-1a", peer) for peer in ("10.1.1.1", "fd00:1:1::1")}
    assert cable <= set(before.connections)
    gone = time.monotonic()
    with lab.api.away():
        nothing_changes(lab, before.connections, before.kernel, AWAY_S - FAULTS_S)
        a_cable_fails_and_is_mended(lab)
        meanwhile = a_pod_comes(lab)
        time.sleep(max(0.0, gone + AWAY_S - time.monotonic()))
        was_away, said = time.monotonic() - gone, {node: lab.speaker_log(node) for node in lab.nodes()}
    returned = time.monotonic()
    declared = lab.api.get("bgpconfigurations", "default")
    advertised = [{"cidr": block, "communities": [COMMUNITY]} for block in ("10.244.0.0/16", "fd00:10:244::/48")]
    lab.api.put(changed(declared, prefixAdvertisements=advertised))
    lab.api.put(POOL)
    for node in lab.nodes():
        tagged = partial(are_tagged, lab, node, blocks[node])
        wait_until(f"the ToRs hear of the change from {node}", tagged, BACK_S)
        lab.del_pod(lab.add_pod(node, "after"))
    wait_until("the pod's addresses are in the store", lambda: set(meanwhile.addresses) <= lab.holders().keys())
    lab.del_pod(meanwhile)
    print(f"away for {was_away:.0f} s; all speakers at work {time.monotonic() - returned:.1f} s after that", end="; ")
    wait_until("the controller tells of the pool", lambda: "Ready" in lab.conditions("ippools", "later"), CONTROLLER_S)
    print(f"the controller {time.monotonic() - returned:.1f} s after that")
    after = lab.seen()
    assert before.processes.items() <= after.processes.items(), "somebody was started anew"
    assert differences(before.connections, after.connections) == cable
    assert lab.routed() == before.routed
    for node in lab.nodes():
        assert "session with" not in lab.speaker_log(node).removeprefix(said[node])
    lab.api.remove("ippools", "later")
    lab.api.put({**lab.api.get("bgpconfigurations", "default"), "spec": declared["spec"]})


def nothing_changes(lab: KubernetesLab, connections: Connections, kernel: dict[str, str], seconds: float) -> None:
    """A session that flaps and a route that is touched would be seen, and a packet that is lost."""
    begins, edge, from_a_pod = time.monotonic(), lab.namespace("edge"), lab.pod("node-2").namespace
    with (
        lab.traffic(edge, lab.pod("node-1"), at_most=seconds + 60) as inbound,
        lab.traffic(from_a_pod, lab.pod("node-3"), 6, at_most=seconds + 60) as across,
    ):
        while time.monotonic() < begins + seconds:
            assert lab.all_connections() == connections
            assert lab.kernel() == kernel
            time.sleep(0.5)
    print(f"of {inbound.sent} and {across.sent} packets {inbound.lost} and {across.lost} lost", end="; ")
    assert min(inbound.sent, across.sent) > seconds * 1000
    assert (inbound.lost, across.lost) == (0, 0)


def differences(before: Connections, after: Connections) -> set[tuple[str, str]]:
    return {key for key in before | after if before.get(key) != after.get(key)}


def a_cable_fails_and_is_mended(lab: KubernetesLab) -> None:
    """Of node-1: traffic goes on over the other ToR, and over both again afterwards."""
    both = lab.routed(["node-1"])
    with lab.traffic(lab.namespace("edge"), lab.pod("node-1")) as seen:
        lab.set_link("tor-1a", "eth3", False)
        wait_until("one next hop", lambda: lab.learned_routes("node-1", 4)["default"] == {"10.1.2.0"})
        lab.set_link("tor-1a", "eth3", True)
        wait_until("both next hops", lambda: lab.routed(["node-1"]) == both, 40)
    print(f"a cable down and up: worst gap {seen.worst_gap_ms:.0f} ms", end="; ")
    assert seen.worst_gap_ms < 1500


def a_pod_comes(lab: KubernetesLab) -> Pod:
    """With an address that the node keeps for that, and of a block that the fabric knows: it is reached at once."""
    pod = lab.add_pod("node-1", "meanwhile")
    for address in pod.addresses:
        assert lab.run(lab.namespace("edge"), "ping", "-n", "-c", "1", "-W", "2", address).returncode == 0
    return pod


def are_tagged(lab: KubernetesLab, node: str, blocks: set[str]) -> bool:
    """Whether the first ToR of the node has a path with the community to each of its blocks."""
    tor = "tor-1a" if node in ("node-1", "node-2") else "tor-2a"
    asked = [f"show bgp {'ipv6' if ':' in block else 'ipv4'} unicast {block} json" for block in blocks]
    paths = [lab.vtysh(tor, question).get("paths", ()) for question in asked]
    said = [{path.get("community", {}).get("string") for path in found} for found in paths]
    return len(blocks) == 2 and all(COMMUNITY in communities for communities in said)


def test_an_agent_that_dies_meanwhile_is_followed_by_one_that_knows_what_it_knew(lab: KubernetesLab) -> None:
    """Both: that of node-2 goes on with the file. Without one, as after an hour, that of node-4 has no plan.

    ExaBGP of node-4 ends itself after the restart time of its rack, and after the same time again the ToRs forget it.
    """
    before, exabgp = lab.seen(), {node: lab.exabgp_pid(node) for node in ("node-2", "node-4")}
    own = {key: count for key, count in before.connections.items() if key[1] in addresses(lab, "node-4")}
    forgotten = lab.blocks("node-4")
    blocks = prefixes(forgotten, 4)
    assert (len(own), len(blocks)) == (4, 1)
    with lab.api.away():
        died = time.monotonic()
        agents = {"node-2": restarted_agent(lab, "node-2", knows=True)}
        alone = time.monotonic()
        agents["node-4"] = restarted_agent(lab, "node-4", knows=False)
        assert lab.all_connections() == before.connections
        wait_until("ExaBGP of node-4 has ended", lambda: exabgp["node-4"] not in lab.processes(), RESTART_S + EDGE_S)
        ended = time.monotonic() - alone
        assert ended > RESTART_S - 1
        assert bgp_routes(lab, "tor-2a") >= blocks
        wait_until("the ToRs have forgotten node-4", lambda: bgp_routes(lab, "tor-2a", "tor-2b").isdisjoint(blocks), 30)
        print(f"after its agent: sessions ended in {ended:.1f} s, routes in {time.monotonic() - alone:.1f} s")
        wait_until("the restart time of node-2 is over, too", lambda: time.monotonic() - died > KEPT_S + EDGE_S)
        assert lab.exabgp_pid("node-2") == exabgp["node-2"]
        now = lab.kernel()
        assert now["node-4"] == before.kernel["node-4"]
        assert now["node-2"] == without(before.kernel["node-2"], forgotten)
        assert lab.all_connections().items() >= {k: n for k, n in before.connections.items() if k not in own}.items()
    returned = time.time()
    wait_until("node-4 is back", lambda: is_back(lab, own), BACK_S)
    wait_until("node-2 reports again", lambda: lab.report("node-2")["reported"] > returned, BACK_S)
    lab.wait_converged()
    assert {node: lab.agent_pid(node) for node in agents} == agents
    assert differences(before.connections, lab.all_connections()) == set(own)
    assert lab.routed() == before.routed


def without(routes: str, prefixes: Iterable[str]) -> str:
    """What `ip route` prints, less some routes, each with the lines of its next hops."""
    for prefix in prefixes:
        routes = re.sub(rf"^{re.escape(prefix)} .*\n(\t.*\n)*", "", routes, flags=re.MULTILINE)
    return routes


def restarted_agent(lab: KubernetesLab, node: str, knows: bool) -> int:
    """Kills the node's agent; the one that comes after it, once nobody has answered it."""
    old, file = lab.agent_pid(node), lab.last_seen(node)
    assert file.is_file()
    if not knows:
        file.unlink()
    lab.kill(old)
    refused = lab.refused_connections(node)
    wait_until("another agent", lambda: lab.pids(node, "underlay", "speaker") not in ([], [old]))
    wait_until("it has asked for its plan", lambda: lab.refused_connections(node) > refused)
    return lab.agent_pid(node)


def addresses(lab: KubernetesLab, node: str) -> set[str]:
    return {s.local_address for s in lab.plan().speakers[node].sessions if s.local_address}


def bgp_routes(lab: KubernetesLab, *switches: str) -> set[str]:
    """IPv4 prefixes in the kernels of switches."""
    return {route["dst"] for switch in switches for route in lab.ip_json(switch, "route", "show", "proto", "bgp")}


def is_back(lab: KubernetesLab, own: Connections) -> bool:
    """Each of the sessions was established once more."""
    now = lab.all_connections()
    return all(now.get(key) == count + 1 for key, count in own.items())
