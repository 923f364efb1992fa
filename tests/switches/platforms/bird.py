"""BIRD 2: its own parser, `bird -p`, which also looks for undefined filters and options that exclude each other."""

from __future__ import annotations

from peering.session import SwitchPlan
from tests.switches.commands import with_file
from tests.switches.judges import Break, Files, Judge, ran

#: What the base configuration has.
BASE = "log stderr all;\nprotocol device { }\n"


def parsed(files: Files, plan: SwitchPlan) -> list[str]:
    done = with_file("bird.conf", BASE + files["underlay.conf"], "bird", "-p", "-c", "{file}")
    return [] if done.returncode == 0 and not done.stderr else [done.stderr or f"exit code {done.returncode}"]


JUDGES = (
    Judge(
        level="parsed",
        name="`bird -p`",
        complaints=parsed,
        breaks=(
            Break(r"import filter 'UNDERLAY-NODES-IN-V4'", "import filter 'UNDERLAY-NODE-IN-V4'"),
            Break(r"graceful restart aware;\n  long lived", "graceful restart off;\n  long lived"),
            Break(r"receive limit \d+ action restart", "receive limit action restart"),
            Break(r"10\.244\.0\.0/16\{26,26\}", "10.244.0.0/33{26,26}"),
            Break(r"ORIGIN_INCOMPLETE", "ORIGIN_UNKNOWN"),
        ),
    ),
)

_LIVE = "tests/interop/test_live_switches.py"

RAN = (
    ran(
        f"{_LIVE}::test_only_what_the_plan_allows_passes",
        "blackhole",
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
    ran(f"{_LIVE}::test_too_many_prefixes_close_the_session", "maxPrefixes"),
    ran(f"{_LIVE}::test_nodes_dial_in_from_a_range", "listenRanges"),
    ran(f"{_LIVE}::test_nodes_of_several_ass_dial_in_from_a_range", "listenASFilter"),
    ran(f"{_LIVE}::test_a_wrong_password_is_no_session", "password"),
    ran(f"{_LIVE}::test_a_packet_from_afar_is_no_session", "ttlSecurity"),
    ran(f"{_LIVE}::test_nodes_of_one_as_hear_of_each_other", "peerASInPath"),
    ran(f"{_LIVE}::test_the_racks_other_switch_is_believed_last", "setOrigin"),
    ran("tests/interop/test_bird_state.py::test_bird_runs_what_the_plan_says", "description", "localASN"),
)
