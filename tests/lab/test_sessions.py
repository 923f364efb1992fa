"""Sessions and routes of the running lab, seen from both ends."""

from __future__ import annotations

from tests.lab.running_lab import RunningLab, prefixes


def test_every_planned_session_is_established_on_both_ends(each_lab: RunningLab) -> None:
    compiled, status = each_lab.plan(), each_lab.status()
    checked = 0
    for node, speaker in compiled.speakers.items():
        rows = {row["session"]: row for row in status[node]["sessions"]}
        assert set(rows) == {s.name for s in speaker.sessions}
        for session in speaker.sessions:
            assert rows[session.name]["state"] == "Established", rows[session.name]
            switch = session.peer.removeprefix("switch/")
            far_end = each_lab.summary(switch)[session.local_address or ""]
            assert (far_end["state"], far_end["remoteAs"]) == ("Established", session.local_asn)
            checked += 1
    assert checked == 16


def test_no_switch_has_a_session_that_is_not_planned(each_lab: RunningLab) -> None:
    for name, switch in each_lab.plan().switches.items():
        assert set(each_lab.summary(name)) == {s.peer_address for s in switch.sessions}


def test_the_status_command_says_it_in_its_exit_code(each_lab: RunningLab) -> None:
    done = each_lab.underlay("status")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("Established") == 16


def test_each_tor_has_exactly_the_prefixes_of_its_rack_from_their_nodes(each_lab: RunningLab) -> None:
    compiled, blocks = each_lab.plan(), each_lab.all_blocks()
    for name, switch in compiled.switches.items():
        expected = {}
        for session in (s for s in switch.sessions if s.peer.startswith("node/")):
            node = session.peer.removeprefix("node/")
            version = 6 if session.families == ("ipv6-unicast",) else 4
            for prefix in prefixes(blocks[node] | each_lab.loopbacks(node), version):
                expected[prefix] = {session.peer_address}
        assert each_lab.routes_from_nodes(name) == expected


def test_each_node_has_two_next_hops_for_the_default_and_for_the_other_racks_blocks(each_lab: RunningLab) -> None:
    compiled, blocks = each_lab.plan(), each_lab.all_blocks()
    racks = {n: {s.source for s in p.sessions} for n, p in compiled.speakers.items()}
    for node, speaker in compiled.speakers.items():
        for version, default in ((4, "default"), (6, "default")):
            uplinks = {s.peer_address for s in speaker.sessions if (":" in s.peer_address) is (version == 6)}
            assert len(uplinks) == 2
            learned = each_lab.learned_routes(node, version)
            others = [n for n in racks if racks[n] != racks[node]]
            foreign = {b for n in others for b in prefixes(blocks[n], version)}
            assert len(foreign) == 2
            assert {p: learned.get(p) for p in foreign | {default}} == dict.fromkeys(foreign | {default}, uplinks)


def test_nodes_of_a_rack_learn_each_others_blocks_only_where_the_design_reflects(each_lab: RunningLab) -> None:
    reflecting = each_lab.topology_file.name == "dual-tor-ibgp.clab.yml"
    learned = set(each_lab.learned_routes("node-1", 4))
    assert (each_lab.blocks("node-2") & learned != set()) is reflecting


def test_own_blocks_are_blackholed_and_neither_they_nor_uplinks_are_learned(each_lab: RunningLab) -> None:
    all_blocks = each_lab.all_blocks()
    for node, speaker in each_lab.plan().speakers.items():
        blocks = all_blocks[node]
        assert len(blocks) == 2
        assert each_lab.blackholes(node) == blocks
        learned = {*each_lab.learned_routes(node, 4), *each_lab.learned_routes(node, 6)}
        assert learned.isdisjoint(blocks | set(speaker.uplink_subnets) | each_lab.loopbacks(node))


def test_no_tor_is_a_transit_between_the_spines(each_lab: RunningLab) -> None:
    blocks = each_lab.all_blocks()
    for name, switch in each_lab.plan().switches.items():
        for session in (s for s in switch.sessions if s.peer == "external"):
            family = "ipv6" if ":" in session.peer_address else "ipv4"
            told = each_lab.vtysh(
                name, f"show bgp {family} unicast neighbors {session.peer_address} advertised-routes json"
            )
            rack = [s.peer.removeprefix("node/") for s in switch.sessions if s.peer.startswith("node/")]
            own = {p for n in rack for p in blocks[n] | each_lab.loopbacks(n)} | set(switch.networks)
            assert set(told["advertisedRoutes"]) == prefixes(own, 6 if family == "ipv6" else 4)
