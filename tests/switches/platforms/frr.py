"""FRR: `vtysh -C` for the grammar of all daemons, `bgpd -C` for the meaning of bgpd's part.

bgpd exits 0 whatever it finds, so its words count; of the parts of staticd and bfdd, which come last, it knows nothing.
Loading into a running FRR and reading back what it understood is in tests/interop, over the cases of frr_cases.py.
"""

from __future__ import annotations

import re

from peering.session import SwitchPlan
from tests.switches.commands import with_file
from tests.switches.judges import Break, Files, Judge, ran

_COMPLAINT = re.compile(r"%|EC 100663304|[Uu]nknown command")
_OTHER_DAEMONS = re.compile(r"^(ip route|ipv6 route|bfd$)", re.MULTILINE)


def grammar(files: Files, plan: SwitchPlan) -> list[str]:
    done = with_file("frr.conf", files["frr.conf"], "vtysh", "-C", "-f", "{file}")
    return [] if done.returncode == 0 else (done.stdout + done.stderr).splitlines()


def meaning(files: Files, plan: SwitchPlan) -> list[str]:
    part = _OTHER_DAEMONS.split(files["frr.conf"])[0]
    done = with_file("bgpd.conf", part, "/usr/lib/frr/bgpd", "-C", "-f", "{file}")
    return [line for line in (done.stdout + done.stderr).splitlines() if _COMPLAINT.search(line)]


_AGGREGATES = "tests/interop/test_aggregates.py"
_DESIGNS = "tests/interop/test_frr_designs.py"
_LIVE = "tests/interop/test_live_switches.py"
_RENDER = "tests/interop/test_render_frr.py"

JUDGES = (
    Judge(
        level="parsed",
        name="`vtysh -C`",
        complaints=grammar,
        breaks=(
            Break(r"maximum-prefix \d+", "maximum-prefixes 5"),
            Break(r"  detect-multiplier \d+", "  detect-multiplier 999"),
        ),
    ),
    Judge(
        level="parsed",
        name="`bgpd -C` (FRR)",
        complaints=meaning,
        breaks=(
            Break(r" neighbor UNDERLAY-NODES peer-group\n", ""),
            Break(
                r" neighbor (\S+) ttl-security hops 1",
                r" neighbor \1 ebgp-multihop 2\n neighbor \1 ttl-security hops 2",
            ),
        ),
    ),
)
RAN = (
    ran(
        f"{_RENDER}::test_live_ebgp",
        "blackhole",
        "description",
        "gracefulShutdown",
        "localAddress",
        "originate",
        "passive",
        "password",
        "pathFilters",
        "prefixFilters",
        "stripCommunities",
        "ttlSecurity",
    ),
    ran(
        f"{_RENDER}::test_running_configuration_is_what_we_wrote",
        "connectRetry",
        "firstAS",
        "keepCommunities",
        "listenRanges",
        "localASN",
        "maxPrefixes",
        "maxPrefixesRestart",
        "maxPrefixesWarning",
        "nextHopKeep",
        "peerPort",
        "timers",
    ),
    ran(f"{_LIVE}::test_too_many_prefixes_close_the_session", "maxPrefixes"),
    ran(f"{_LIVE}::test_nodes_dial_in_from_a_range", "listenRanges"),
    ran(f"{_LIVE}::test_nodes_of_several_ass_dial_in_from_a_range", "listenASFilter"),
    ran(f"{_LIVE}::test_a_wrong_password_is_no_session", "password"),
    ran(f"{_LIVE}::test_a_packet_from_afar_is_no_session", "ttlSecurity"),
    ran(f"{_LIVE}::test_nodes_of_one_as_hear_of_each_other", "peerASInPath"),
    ran(f"{_LIVE}::test_the_racks_other_switch_is_believed_last", "setOrigin"),
    ran(f"{_DESIGNS}::test_one_as_for_all_nodes_and_what_lets_the_other_racks_routes_in", "asOverride"),
    ran(f"{_DESIGNS}::test_nodes_in_one_subnet", "nextHopSelf"),
    ran(f"{_DESIGNS}::test_sessions_between_loopbacks", "multihop", "reachableBy"),
    ran(f"{_DESIGNS}::test_an_unnumbered_link_carries_ipv4_over_ipv6_next_hops", "extendedNextHop", "unnumbered"),
    ran(f"{_DESIGNS}::test_bfd_notices_a_silent_node_long_before_the_hold_time", "bfd", "bfdTimers"),
    ran(
        f"{_DESIGNS}::test_long_lived_graceful_restart_keeps_a_dead_nodes_routes_as_the_last_resort",
        "gracefulRestart",
        "longLivedStaleTime",
    ),
    ran(f"{_DESIGNS}::test_add_paths_sends_a_node_every_path", "addPaths"),
    ran(f"{_AGGREGATES}::test_a_racks_switch_announces_the_pool_and_only_the_rack_knows_its_blocks", "aggregates"),
    ran(
        f"{_AGGREGATES}::test_a_switch_that_has_lost_a_node_reaches_it_over_the_racks_other_one",
        "aggregates",
        "setOrigin",
    ),
)
