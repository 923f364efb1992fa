"""What the runs say: medians by scenario and contender, and the verdict on each requirement. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bench.reflector_scenarios import (
    ATTACK_FACTOR,
    FLOOR,
    OURS,
    OURS_WITH_POLICY,
    PEERS,
    POLICY_FACTOR,
    REQUIREMENTS,
    Requirement,
)

Run = Mapping[str, Any]
#: Metric -> median.
Medians = dict[str, float]
#: Scenario -> contender (or `floor`) -> medians.
Results = dict[str, dict[str, Medians]]
Verdict = Literal["met", "MISSED", "NOT VERIFIED", "–"]

#: Metric -> where it is in rrbench's JSON.
_METRICS = {
    "sessions_s": ("sessions_s",),
    "convergence_s": ("convergence_s",),
    "convergence_cpu_s": ("convergence_phase", "reflector_cpu_s"),
    "churn_p50_ms": ("churn_p50_ms",),
    "churn_p99_ms": ("churn_p99_ms",),
    "join_full_p50_ms": ("join_full_p50_ms",),
    "failure_p50_ms": ("failure_p50_ms",),
    "reflector_rss_peak_mb": ("reflector_rss_peak_mb",),
    "generator_share": ("convergence_phase", "generator_share"),
    "others_cpu_s": ("convergence_phase", "others_cpu_s"),
}
_DIGITS, _ROUNDING = 4, 1e-9


def summary(runs: Sequence[Run]) -> Medians:
    """Medians of the runs that were right in everything, and how many of them (`ok_runs`) of how many (`runs`)."""
    good = [run for run in runs if run["ok"]]
    found: Medians = {"runs": len(runs), "ok_runs": len(good)}
    for metric, path in _METRICS.items():
        values = [value for value in (_at(run, path) for run in good) if value is not None]
        if values:
            found[metric] = _rounded(statistics.median(values))
    return found


def floor_summary(raw: Sequence[Run], parsed: Sequence[Run]) -> Medians:
    """What the kernel needs for the same bytes, and what the generator needs to take them and check them."""
    return {
        "runs": len(raw),
        "convergence_s": _rounded(statistics.median(run["floor_s"] for run in raw)),
        "parsed_s": _rounded(statistics.median(run["floor_s"] for run in parsed)),
        "megabytes": _rounded(raw[0]["bytes"] / 1e6),
    }


def _at(run: Run, path: Iterable[str]) -> float | None:
    value: Any = run
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return None if value is None else float(value)


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


@dataclass(frozen=True, slots=True)
class Row:
    """A requirement and what was found: of everybody, of the floor if it has that metric, of the fastest peer."""

    requirement: Requirement
    values: Mapping[str, float]
    floor: float | None
    fastest: float | None
    verdict: Verdict
    policy_ratio: float | None
    policy_verdict: Verdict

    @property
    def ours(self) -> float | None:
        return self.values.get(OURS)

    @property
    def times_floor(self) -> float | None:
        return _ratio(self.ours, self.floor)

    @property
    def times_faster(self) -> float | None:
        """How many times as fast as the fastest peer."""
        return _ratio(self.fastest, self.ours)


def rows(results: Results, requirements: Iterable[Requirement] = REQUIREMENTS) -> list[Row]:
    """One for each requirement whose scenario was run."""
    return [_row(one, results[one.scenario]) for one in requirements if one.scenario in results]


def _row(requirement: Requirement, found: Mapping[str, Medians]) -> Row:
    metric = requirement.metric
    values = {who: medians[metric] for who, medians in found.items() if who != FLOOR and metric in medians}
    floor = found.get(FLOOR, {}).get(metric)
    fastest = min((values[peer] for peer in PEERS if peer in values), default=None)
    reference = {"peers": fastest, "floor": floor, "fixed": 1.0}[requirement.reference]
    limit = None if reference is None else reference * requirement.bound
    policy_ratio = _ratio(values.get(OURS_WITH_POLICY), values.get(OURS))
    return Row(
        requirement=requirement,
        values=values,
        floor=floor,
        fastest=fastest,
        verdict=_verdict(found.get(OURS), values.get(OURS), limit, strictly=requirement.strictly),
        policy_ratio=policy_ratio,
        policy_verdict=_verdict(found.get(OURS_WITH_POLICY), policy_ratio, POLICY_FACTOR),
    )


def _verdict(found: Medians | None, value: float | None, limit: float | None, *, strictly: bool = False) -> Verdict:
    """A figure counts when every run was right."""
    if found is None:
        return "–"
    if found["ok_runs"] < found["runs"]:
        return "NOT VERIFIED"
    if value is None or limit is None:
        return "–"
    holds = value < limit if strictly else value <= limit * (1 + _ROUNDING)
    return "met" if holds else "MISSED"


def _ratio(value: float | None, reference: float | None) -> float | None:
    return value / reference if value is not None and reference else None


@dataclass(frozen=True, slots=True)
class AttackRow:
    """Honest clients of `target` under one attack, and the same without."""

    target: str
    attack: str
    calm: Medians
    attacked: Medians
    ratio: float | None
    verdict: Verdict


def attack_rows(results: Results) -> Iterator[AttackRow]:
    """From contenders that are called TARGET+ATTACK, each beside TARGET alone."""
    for found in results.values():
        for who, attacked in found.items():
            target, plus, attack = who.partition("+")
            if plus and target in found:
                calm = found[target]
                ratio = _ratio(attacked.get("convergence_s"), calm.get("convergence_s"))
                yield AttackRow(target, attack, calm, attacked, ratio, _verdict(attacked, ratio, ATTACK_FACTOR))
