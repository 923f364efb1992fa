"""bench/reflector.py without running anything: medians, verdicts, history, tables, what it is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bench import reflector_page
from bench.reflector import arguments, report
from bench.reflector_contenders import CONTENDERS
from bench.reflector_history import changes, ratios
from bench.reflector_interleaved import entries
from bench.reflector_results import Medians, Results, attack_rows, floor_summary, rows, summary
from bench.reflector_scenarios import (
    ATTACKS,
    FLOOR,
    OURS,
    OURS_WITH_POLICY,
    PEERS,
    REQUIREMENTS,
    SCENARIOS,
    Requirement,
)

HERE = Path(__file__).parent
#: Of rrbench: the floor, raw and parsed, and BIRD at 100 clients; a reflector of another AS, which fails.
RECORDED: dict[str, Any] = json.loads((HERE / "data" / "rrbench-mesh100.json").read_text())
FASTER = Requirement("six", "mesh1000", "convergence_s", "s", "peers", 1 / 6)
BELOW = Requirement("below", "mesh1000", "convergence_s", "s", "peers", 1, strictly=True)
NOT_SLOWER = Requirement("not slower", "mesh1000", "convergence_s", "s", "peers", 1)
NEAR_FLOOR = Requirement("floor", "mesh1000", "convergence_s", "s", "floor", 4)
SMALL = Requirement("rss", "mesh1000", "reflector_rss_peak_mb", "MiB", "fixed", 100)


def run(**changed: Any) -> dict[str, Any]:
    return {**RECORDED["bird"], **changed}


def found(seconds: float, right: int = 3, **more: float) -> Medians:
    return {"runs": 3, "ok_runs": right, "convergence_s": seconds, **more}


def verdict(requirement: Requirement, **by_contender: Medians) -> str:
    (row,) = rows({"mesh1000": by_contender}, [requirement])
    return row.verdict


def test_a_summary_is_the_median_of_each_figure() -> None:
    told = summary([run(convergence_s=s, churn_p99_ms=p) for s, p in ((0.5, 9.0), (0.1, 8.0), (0.2, 30.0))])
    assert (told["convergence_s"], told["churn_p99_ms"]) == (0.2, 9.0)
    assert (told["runs"], told["ok_runs"]) == (3, 3)
    assert told["convergence_cpu_s"] == RECORDED["bird"]["convergence_phase"]["reflector_cpu_s"]
    assert told["reflector_rss_peak_mb"] == RECORDED["bird"]["reflector_rss_peak_mb"]


def test_a_run_that_was_wrong_counts_for_nothing() -> None:
    told = summary([run(convergence_s=0.5), run(convergence_s=0.1, ok=False), RECORDED["failed"]])
    assert (told["convergence_s"], told["runs"], told["ok_runs"]) == (0.5, 3, 1)
    assert summary([RECORDED["failed"]]) == {"runs": 1, "ok_runs": 0}


def test_a_figure_that_rrbench_did_not_come_to_is_left_out() -> None:
    assert "join_full_p50_ms" not in summary([run(join_full_p50_ms=None)])


def test_the_floor_is_that_of_the_kernel_with_the_generators_beside_it() -> None:
    told = floor_summary([RECORDED["floor"]] * 3, [RECORDED["floor-parsed"]] * 3)
    assert told["convergence_s"] == RECORDED["floor"]["floor_s"] < told["parsed_s"]
    assert told["parsed_s"] == RECORDED["floor-parsed"]["floor_s"]


@pytest.mark.parametrize(
    ("requirement", "seconds", "expected"),
    [
        (FASTER, 0.09, "met"),
        (FASTER, 0.1, "met"),
        (FASTER, 0.101, "MISSED"),
        (BELOW, 0.59, "met"),
        (BELOW, 0.6, "MISSED"),
        (NOT_SLOWER, 0.6, "met"),
        (NEAR_FLOOR, 0.08, "met"),
        (NEAR_FLOOR, 0.081, "MISSED"),
    ],
)
def test_the_verdict_is_on_the_fastest_peer_or_the_floor(
    requirement: Requirement, seconds: float, expected: str
) -> None:
    others = {"bird": found(2.8), "frr": found(0.6), FLOOR: {"runs": 3, "convergence_s": 0.02}}
    assert verdict(requirement, **{OURS: found(seconds)}, **others) == expected


def test_a_fixed_bound_needs_nobody_else() -> None:
    assert verdict(SMALL, **{OURS: found(1, reflector_rss_peak_mb=100)}) == "met"
    assert verdict(SMALL, **{OURS: found(1, reflector_rss_peak_mb=100.1)}) == "MISSED"


def test_there_is_no_verdict_without_every_run_right_and_somebody_to_compare_with() -> None:
    assert verdict(FASTER, **{OURS: found(0.01, right=2)}, bird=found(2.8)) == "NOT VERIFIED"
    assert verdict(FASTER, underlay={"runs": 3, "ok_runs": 0}, bird=found(2.8)) == "NOT VERIFIED"
    assert verdict(FASTER, **{OURS: found(0.01)}) == "–"
    assert verdict(FASTER, bird=found(2.8)) == "–"


def test_another_reflector_of_the_callers_is_no_peer() -> None:
    assert verdict(FASTER, **{OURS: found(0.1), "mine": found(0.01)}, frr=found(0.7)) == "met"


def test_policy_is_compared_with_ours_without() -> None:
    def policy_verdict(seconds: float) -> tuple[float | None, str]:
        results = {"mesh1000": {OURS: found(0.1), OURS_WITH_POLICY: found(seconds), "frr": found(1.0)}}
        (row,) = rows(results, [FASTER])
        return row.policy_ratio, row.policy_verdict

    assert policy_verdict(0.125) == (1.25, "met")
    assert policy_verdict(0.14)[1] == "MISSED"


def test_the_times_of_a_row_are_to_the_floor_and_from_the_fastest() -> None:
    by_contender = {OURS: found(0.1), "bird": found(2.8), "frr": found(0.6), FLOOR: {"runs": 3, "convergence_s": 0.025}}
    (row,) = rows({"mesh1000": by_contender}, [FASTER])
    assert (row.times_floor, row.times_faster) == pytest.approx((4, 6))


def test_an_attack_is_compared_with_the_same_target_in_peace() -> None:
    target = OURS_WITH_POLICY
    results: Results = {
        "attacks": {
            target: found(0.1),
            f"{target}+zeros": found(0.2),
            f"{target}+half-open": found(0.25),
            f"{target}+prefixes": found(0.1, right=2),
        }
    }
    told = {row.attack: (row.ratio, row.verdict) for row in attack_rows(results)}
    assert told == {"zeros": (2, "met"), "half-open": (2.5, "MISSED"), "prefixes": (1, "NOT VERIFIED")}


def test_what_is_kept_are_ratios_to_the_floor_and_to_bird() -> None:
    by_contender = {
        FLOOR: {"runs": 3, "convergence_s": 0.02},
        OURS: found(0.1, churn_p50_ms=4),
        "bird": found(2, churn_p50_ms=8),
        "frr": found(0.5),
    }
    assert ratios({"mesh1000": by_contender}) == {
        "mesh1000": {OURS: {"convergence_s/floor": 5, "convergence_s/bird": 0.05, "churn_p50_ms/bird": 0.5}}
    }


def test_a_change_is_marked_when_it_is_worse_by_more_than_ten_percent() -> None:
    def told(now: float) -> str:
        before = {"mesh1000": {OURS: {"convergence_s/bird": 0.5, "churn_p50_ms/bird": 0.5}}}
        (change,) = changes(before, {"mesh1000": {OURS: {"convergence_s/bird": now}}, "new": {OURS: {"a/b": 1}}})
        return str(change)

    assert told(0.54) == "mesh1000 underlay convergence_s: 0.54 × bird, was 0.5 (+8%)"
    assert told(0.6) == "mesh1000 underlay convergence_s: 0.6 × bird, was 0.5 (+20%) WORSE"
    assert told(0.1).endswith("(-80%)")


def test_the_page_has_a_place_that_is_written_again_and_again() -> None:
    page = f"before\n{reflector_page.BEGIN}\nold\n{reflector_page.END}\nafter\n"
    once = reflector_page.with_part(page, "new")
    assert once == f"before\n{reflector_page.BEGIN}\nnew\n{reflector_page.END}\nafter\n"
    assert reflector_page.with_part(once, "new") == once
    with pytest.raises(ValueError, match="no place"):
        reflector_page.with_part("no marks", "new")


def test_the_handbook_has_the_place() -> None:
    page = (HERE.parents[1] / "docs" / "benchmarks.md").read_text()
    assert "| x |" in reflector_page.with_part(page, "| x |")


def test_the_written_part(equals_golden: Callable[[Path, str], None]) -> None:
    target = OURS_WITH_POLICY
    attacked = {f"{target}+{kind}": found(0.3, churn_p99_ms=20) for kind in ("zeros", "connections")}
    figures = {
        "machine": "2 cores (Some CPU), Linux 6.18, Python 3.11.7",
        "versions": {"bird": "2.0.12", "frr": "8.4.4"},
        "dates": {"mesh1000": "2026-11-22", "attacks": "2026-11-23"},
        "results": {
            "attacks": {target: found(0.2, churn_p99_ms=10), **attacked},
            "mesh1000": {
                FLOOR: {"runs": 3, "convergence_s": 0.0213},
                OURS: found(0.0712, churn_p50_ms=3.61, churn_p99_ms=8.33, join_full_p50_ms=1.5, failure_p50_ms=90),
                target: found(0.1, churn_p50_ms=3.7),
                "frr": found(0.561, churn_p50_ms=65, churn_p99_ms=89, join_full_p50_ms=103, failure_p50_ms=82),
            },
        },
        "answers": {
            f"{target}+zeros": {"connections": 5321, "closed": 5300, "reset": 0, "failed": 0, "open_at_end": 21,
                                "notifications": {"1/1": 5290}},
            f"{target}+connections": {"connections": 10_000, "closed": 3, "reset": 9970, "notifications": {}},
        },
    }  # fmt: skip
    then = {"mesh1000": {"bird": found(2.784)}}
    earlier = {"date": "2026-11-21", "machine": "2 cores (Another CPU)", "scenarios": then}
    part = reflector_page.page_part(figures, earlier)
    equals_golden(HERE / "golden" / "bench_reflector_page.md", part + "\n")


def test_every_line_of_a_markdown_table_has_as_many_cells() -> None:
    everybody = {who: found(1.0) for who in (OURS, OURS_WITH_POLICY, *PEERS, FLOOR)}
    cells = reflector_page.requirement_table({one.scenario: everybody for one in REQUIREMENTS}, {})
    assert len(cells) == 1 + len(REQUIREMENTS)
    assert {len(line) for line in cells} == {len(cells[0])}


def test_the_report_has_changes_only_when_there_were_figures_before() -> None:
    measured = type("Some", (), {"results": {"mesh1000": {OURS: found(0.1), "bird": found(1.0)}}, "answers": {}})()
    known = {"ratios": {"mesh1000": {OURS: {"convergence_s/bird": 0.05}}}}
    assert not any("Since" in text for text in report(measured, {}, {"ratios": {}}))
    assert any("WORSE" in text for text in report(measured, {}, known))


def test_who_takes_minutes_is_left_out_or_run_less() -> None:
    recorded: Results = {"mesh1000": {"gobgp": {"run_s": 95}, "bird": {"run_s": 7}}}

    def chosen(scenario: str, budget: float) -> dict[str, int]:
        return {e.name: e.rounds for e in entries(SCENARIOS[scenario], CONTENDERS, 3, budget, recorded)}

    everybody = {OURS: 3, OURS_WITH_POLICY: 3, "bird": 3, "frr": 3, "openbgpd": 3}
    assert chosen("mesh1000", 60) == everybody
    assert chosen("mesh1000", 95) == everybody | {"gobgp": 1}
    assert chosen("mesh2000", 1000) == everybody
    assert chosen("mesh10000x1", 1000) == {OURS: 3, OURS_WITH_POLICY: 3}


def test_every_attack_stands_beside_its_target_in_each_round() -> None:
    found = entries(SCENARIOS["attacks"], CONTENDERS, 3, 60, {})
    assert [(e.name, e.attack, e.rounds) for e in found] == [
        (OURS_WITH_POLICY, None, 3),
        *((f"{OURS_WITH_POLICY}+{attack}", attack, 3) for attack in ATTACKS),
    ]


def test_scenarios_are_what_their_names_say() -> None:
    cold = SCENARIOS["mesh1000-cold"].arguments()
    assert cold == ["--mode=mesh", "--n=1000", "--p=4", "--churn=4", "--joins=1", "--fails=1", "--cold"]
    assert SCENARIOS["mesh500-ipv6"].floor_arguments() == ["--mode=floor", "--n=500", "--p=4", "--ipv6"]
    table = SCENARIOS["table1m"]
    assert table.arguments()[:4] == ["--mode=table", "--n=6", "--p=1000000", "--sets=2000"]
    assert table.floor_arguments() == ["--mode=floor-table", "--n=6", "--p=1000000", "--sets=2000"]


def test_all_that_is_required_is_run_when_nothing_else_is_asked_for() -> None:
    options = arguments([])
    assert set(options.scenarios) == {one.scenario for one in REQUIREMENTS} | {"attacks"}
    assert list(options.contenders) == list(CONTENDERS)
    assert (options.rounds, options.budget, options.write) == (3, 60, False)


def test_a_quick_run_is_one_round_of_few() -> None:
    options = arguments(["--quick"])
    assert (options.rounds, list(options.contenders)) == (1, [OURS, "bird", "frr"])
    assert arguments(["--quick", "--rounds", "2", "--contenders", "frr"]).rounds == 2


def test_one_more_reflector_is_started_by_its_command(tmp_path: Path) -> None:
    options = arguments(["--contenders", "", "--with", "mine=run 'a b' {dir}/x --v{family}"])
    launch = options.contenders["mine"](tmp_path, SCENARIOS["mesh500-ipv6"])
    assert launch.argv == ("run", "a b", f"{tmp_path}/x", "--v6")
    assert options.contenders["mine"](tmp_path, SCENARIOS["mesh500"]).argv[-1] == "--v4"


@pytest.mark.parametrize(
    "bad",
    [
        ["--scenarios", "mesh7"],
        ["--contenders", "quagga"],
        ["--rounds", "0"],
        ["--budget", "0"],
        ["--timeout", "-1"],
        ["--with", "command without a name"],
        ["--with", "mine="],
        ["--with", "bird=/opt/bird"],
        ["--with", "a+b=x"],
        ["--quick", "--write"],
    ],
)
def test_what_cannot_be_measured_is_refused(bad: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        arguments(bad)
    assert refused.value.code == 2


@pytest.mark.parametrize("name", ["bird", "frr", "gobgp", "openbgpd"])
def test_a_peer_is_configured_for_the_family_that_is_played(name: str, tmp_path: Path) -> None:
    for scenario, network, family in (("mesh500", "10.200.0.0/14", "v4"), ("mesh500-ipv6", "fd00:c8::/32", "v6")):
        launch = CONTENDERS[name](tmp_path, SCENARIOS[scenario])
        config = launch.files["conf"]
        assert network in config
        assert f"ip{family}" in config.lower()
        assert str(tmp_path) in " ".join(launch.argv)


def test_ours_without_a_store_is_what_a_newcomer_writes(tmp_path: Path) -> None:
    argv = CONTENDERS[OURS](tmp_path, SCENARIOS["mesh500-ipv6"]).argv
    pairs = dict(pairwise(argv))
    assert pairs["--listen"] == "[fd00:c8::1]:179"
    assert pairs["--accept"] == "fd00:c8::/32"
    assert (pairs["--as"], pairs["--router-id"], pairs["--cluster-id"]) == ("64512", "10.200.0.1", "10.200.0.1")
    assert CONTENDERS[OURS](tmp_path, SCENARIOS["mesh500"]).argv.count("10.200.0.1:179") == 1
