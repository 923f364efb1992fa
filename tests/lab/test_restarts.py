"""ExaBGP, the agent, both, the whole node: killed with SIGKILL. No ping is lost where the node still forwards."""

from __future__ import annotations

import time

from containerlab import namespaces
from tests.lab.running_lab import RunningLab, wait_until

NODE, OTHERS = "node-1", ("node-2", "node-3", "node-4")


def counts_of(lab: RunningLab, node: str) -> dict[tuple[str, str], int]:
    """How often the sessions of the node were established, at its switches."""
    mine = {s.local_address for s in lab.plan().speakers[node].sessions}
    return {key: count for key, count in lab.all_connections().items() if key[1] in mine}


def counts_of_others(lab: RunningLab) -> dict[tuple[str, str], int]:
    return {key: count for node in OTHERS for key, count in counts_of(lab, node).items()}


def established_anew(lab: RunningLab, before: dict[tuple[str, str], int]) -> bool:
    now = counts_of(lab, NODE)
    return all(now[key] == before[key] + 1 for key in before)


def test_exabgp_killed_loses_no_packet_and_is_back_with_its_announcements(lab: RunningLab) -> None:
    before, others, old = counts_of(lab, NODE), counts_of_others(lab), lab.exabgp_pid(NODE)
    with lab.traffic(lab.namespace("edge"), lab.pod(NODE)) as seen:
        lab.kill(old)
        wait_until("every session of the node established anew", lambda: established_anew(lab, before))
        lab.wait_converged()
    print(f"ExaBGP killed: {seen.lost} of {seen.sent} lost, worst gap {seen.worst_gap_ms:.0f} ms")
    assert seen.lost == 0
    assert lab.exabgp_pid(NODE) != old
    assert counts_of_others(lab) == others
    assert lab.status()[NODE]["exabgpRestarts"] >= 1


def test_the_agent_killed_loses_no_packet_and_no_session(lab: RunningLab) -> None:
    before, exabgp, agent = lab.all_connections(), lab.exabgp_pid(NODE), lab.agent_pid(NODE)
    with lab.traffic(lab.namespace("edge"), lab.pod(NODE)) as seen:
        lab.kill(agent)
        wait_until("another agent", lambda: [p for p in lab.pids(NODE, "underlay", "speaker", "--node") if p != agent])
        time.sleep(3)
        lab.wait_converged()
    print(f"agent killed: {seen.lost} of {seen.sent} lost, worst gap {seen.worst_gap_ms:.0f} ms")
    assert seen.lost == 0
    assert lab.all_connections() == before
    assert lab.exabgp_pid(NODE) == exabgp


def test_both_killed_lose_no_packet(lab: RunningLab) -> None:
    before, others = counts_of(lab, NODE), counts_of_others(lab)
    with lab.traffic(lab.namespace("edge"), lab.pod(NODE)) as seen:
        lab.kill(lab.agent_pid(NODE), lab.exabgp_pid(NODE))
        wait_until("every session of the node established anew", lambda: established_anew(lab, before))
        lab.wait_converged()
    print(f"agent and ExaBGP killed: {seen.lost} of {seen.sent} lost, worst gap {seen.worst_gap_ms:.0f} ms")
    assert seen.lost == 0
    assert counts_of_others(lab) == others


def test_a_rebooted_node_comes_back_with_the_same_blocks_and_nobody_else_notices(lab: RunningLab) -> None:
    others, blocks = counts_of_others(lab), lab.blocks(NODE)
    lab.stop(NODE)
    flush(lab)
    assert lab.learned_routes(NODE, 4) == {}
    lab.start(NODE)
    lab.wait_converged()
    assert lab.blocks(NODE) == blocks
    with lab.traffic(lab.namespace("edge"), lab.pod(NODE)) as seen:
        pass
    assert seen.lost == 0
    assert counts_of_others(lab) == others


def test_an_exabgp_whose_agent_stays_away_ends_itself(lab: RunningLab) -> None:
    """gracefulRestartTime of the rack is 30 s: no longer does anything announce what nobody stands for."""
    init = lab.fabric.lab.init(NODE).pid()
    exabgp = lab.exabgp_pid(NODE)
    assert init is not None
    lab.kill(init, lab.agent_pid(NODE))
    try:
        wait_until("ExaBGP gone", lambda: exabgp not in running(lab), 45)
    finally:
        lab.start(NODE)
    lab.wait_converged(60)


def flush(lab: RunningLab) -> None:
    """All routes of ours; the kernel refuses `ip route flush` for routes by next-hop object."""
    space = lab.namespace(NODE)
    assert lab.run(space, "ip", "nexthop", "flush", "proto", "201").returncode == 0
    for version in ("-4", "-6"):
        assert lab.run(space, "ip", version, "route", "flush", "proto", "201", "type", "blackhole").returncode == 0


def running(lab: RunningLab) -> set[int]:
    space = lab.namespace(NODE)
    return namespaces.pids([space])[space]


def test_routes_that_somebody_deletes_are_back_at_once_and_foreign_ones_stay(lab: RunningLab) -> None:
    space, wanted, blocks = lab.namespace(NODE), lab.learned_routes(NODE, 4), lab.blocks(NODE)
    assert lab.run(space, "ip", "route", "add", "198.51.100.0/24", "via", "10.1.1.0", "proto", "static").returncode == 0
    try:
        assert lab.run(space, "ip", "route", "del", "default", "proto", "201").returncode == 0
        wait_until("the default route is back", lambda: lab.learned_routes(NODE, 4) == wanted, 2)
        flush(lab)
        wait_until("all routes are back", lambda: lab.learned_routes(NODE, 4) == wanted, 2)
        wait_until("the blackholes are back", lambda: lab.blackholes(NODE) == blocks, 2)
        assert lab.ip_json(NODE, "route", "show", "198.51.100.0/24")
    finally:
        lab.run(space, "ip", "route", "del", "198.51.100.0/24")
