"""The last figures, kept as ratios, and how those of today differ. Pure.

Seconds are of one machine and one day. What is kept to compare with is how many times the kernel's floor we needed and
how many times BIRD's figure, both from the same interleaved runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.reflector_results import Results
from bench.reflector_scenarios import FLOOR, OURS, OURS_WITH_POLICY

#: Scenario -> contender of ours -> `metric/reference` -> ratio.
Ratios = dict[str, dict[str, dict[str, float]]]

REFERENCES = (FLOOR, "bird")
#: More than this is a bug, not noise.
WORSE_BY = 0.10
_TIMES = ("convergence_s", "churn_p50_ms", "churn_p99_ms", "join_full_p50_ms", "failure_p50_ms")
_METRICS = (*_TIMES, "reflector_rss_peak_mb")


def ratios(results: Results) -> Ratios:
    """Of every scenario that ran, for ours with policy and without."""
    found: Ratios = {}
    for scenario, by_contender in results.items():
        for who in (OURS, OURS_WITH_POLICY):
            ours = by_contender.get(who, {})
            for reference in REFERENCES:
                theirs = by_contender.get(reference, {})
                for metric in _METRICS:
                    if metric in ours and theirs.get(metric):
                        ratio = float(f"{ours[metric] / theirs[metric]:.4g}")
                        found.setdefault(scenario, {}).setdefault(who, {})[f"{metric}/{reference}"] = ratio
    return found


@dataclass(frozen=True, slots=True)
class Change:
    """A ratio that was there before and now."""

    scenario: str
    contender: str
    figure: str
    before: float
    now: float

    @property
    def growth(self) -> float:
        """0.1 is ten percent worse."""
        return self.now / self.before - 1

    @property
    def worse(self) -> bool:
        return self.growth > WORSE_BY

    def __str__(self) -> str:
        metric, _, reference = self.figure.partition("/")
        text = f"{self.scenario} {self.contender} {metric}: {self.now:.3g} × {reference}"
        text += f", was {self.before:.3g} ({self.growth:+.0%})"
        return f"{text} WORSE" if self.worse else text


def changes(before: Ratios, now: Ratios) -> Iterator[Change]:
    """What both have, in the order of now."""
    for scenario, by_contender in now.items():
        for contender, figures in by_contender.items():
            known: Mapping[str, float] = before.get(scenario, {}).get(contender, {})
            for figure, ratio in figures.items():
                if known.get(figure):
                    yield Change(scenario, contender, figure, known[figure], ratio)
