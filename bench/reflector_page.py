"""The figures as people read them: tables for the terminal, and the generated part of docs/benchmarks.md. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.reflector_results import AttackRow, Medians, Results, Row, attack_rows, rows
from bench.reflector_scenarios import (
    ATTACK_FACTOR,
    OURS_WITH_POLICY,
    PEERS,
    POLICY_FACTOR,
    SCENARIOS,
)

BEGIN, END = "<!-- written by bench/reflector.py --write -->", "<!-- end of what bench/reflector.py wrote -->"
Cells = list[list[str]]

_TITLES = {"bird": "BIRD", "frr": "FRR", "gobgp": "GoBGP", "openbgpd": "OpenBGPD"}
_NOTHING = "–"
#: Heading, metric, decimals: what is printed of every contender while it is being measured.
_DETAILS = (
    ("sessions s", "sessions_s", 3),
    ("converged s", "convergence_s", 3),
    ("its CPU s", "convergence_cpu_s", 2),
    ("churn p50 ms", "churn_p50_ms", 1),
    ("p99 ms", "churn_p99_ms", 1),
    ("join ms", "join_full_p50_ms", 1),
    ("death ms", "failure_p50_ms", 1),
    ("RSS MiB", "reflector_rss_peak_mb", 0),
    ("generator", "generator_share", 2),
    ("others' CPU s", "others_cpu_s", 2),
)


def details(scenario: str, found: Mapping[str, Medians]) -> Cells:
    """Every contender of a scenario, header first. The floor has a convergence and nothing else."""
    table = [[scenario, "right", *(heading for heading, _, _ in _DETAILS)]]
    for who, medians in found.items():
        right = f"{medians.get('ok_runs', medians['runs']):g}/{medians['runs']:g}"
        cells = [_fixed(medians.get(metric), decimals) for _, metric, decimals in _DETAILS]
        table.append([who, right, *cells])
    return table


def requirement_table(results: Results, recorded: Results) -> Cells:
    """A line for each requirement, header first. What a peer did on an earlier day stands in parentheses."""
    header = ["figure", "floor", "underlay", *(_TITLES[peer] for peer in PEERS), "× floor", "× as fast as the fastest"]
    header += ["required", "", "with policy", "× without", f"≤ {POLICY_FACTOR:g}"]
    return [header, *(_requirement_line(row, recorded) for row in rows(results))]


def _requirement_line(row: Row, recorded: Results) -> list[str]:
    one = row.requirement
    known = recorded.get(one.scenario, {})
    peers = [_peer(row.values.get(peer), known.get(peer, {}).get(one.metric)) for peer in PEERS]
    line = [f"{one.label}, {one.unit}", short(row.floor), short(row.ours), *peers]
    line += [short(row.times_floor), short(row.times_faster), one.words, row.verdict]
    return [*line, short(row.values.get(OURS_WITH_POLICY)), short(row.policy_ratio), row.policy_verdict]


def _peer(today: float | None, earlier: float | None) -> str:
    if today is not None:
        return short(today)
    return _NOTHING if earlier is None else f"({short(earlier)})"


def attack_table(results: Results, answers: Mapping[str, Mapping[str, Any]]) -> Cells:
    """A line for each attack, header first. `answers`: contender -> what its attacker counted last."""
    header = ["attack", "connections", "answered", "converged s", "without", "×", f"≤ {ATTACK_FACTOR:g}"]
    header += ["churn p99 ms", "without"]
    return [header, *(_attack_line(row, answers.get(f"{row.target}+{row.attack}", {})) for row in attack_rows(results))]


def _attack_line(row: AttackRow, answer: Mapping[str, Any]) -> list[str]:
    name = row.attack if row.target == OURS_WITH_POLICY else f"{row.target}: {row.attack}"
    line = [name, short(answer.get("connections")), _answered(answer)]
    line += [short(m.get("convergence_s")) for m in (row.attacked, row.calm)]
    line += [short(row.ratio), row.verdict]
    return line + [short(m.get("churn_p99_ms")) for m in (row.attacked, row.calm)]


def _answered(answer: Mapping[str, Any]) -> str:
    """NOTIFICATIONs by code and subcode, connections that were closed without one, those that are still open."""
    told: Mapping[str, int] = answer.get("notifications", {})
    ended = answer.get("closed", 0) + answer.get("reset", 0) + answer.get("failed", 0) - sum(told.values())
    parts = [f"{code}: {short(count)}" for code, count in sorted(told.items(), key=lambda item: -item[1])]
    parts += [f"closed: {short(ended)}"] if ended > 0 else []
    parts += [f"open: {short(answer['open_at_end'])}"] if answer.get("open_at_end") else []
    return "; ".join(parts) or _NOTHING


def page_part(figures: Mapping[str, Any], recorded: Mapping[str, Any]) -> str:
    """The generated part of the handbook's page; `figures` as bench/reflector.py keeps them."""
    results: Results = figures["results"]
    dates = sorted(set(figures["dates"].values()))
    measured = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    parts = [f"{figures['machine']}, {_versions(figures['versions'])}. Measured {measured}."]
    earlier = f"{recorded['date']}, {recorded['machine']}"
    parts += [f"In parentheses, and not judged by: what was measured {earlier}."]
    parts += ["", *_markdown(requirement_table(_in_order(results), recorded["scenarios"]))]
    attacks = attack_table(results, figures["answers"])
    if len(attacks) > 1:
        parts += ["", "Under attack, 2,000 × 4, with policy:", "", *_markdown(attacks)]
    return "\n".join(parts)


def _in_order(results: Results) -> Results:
    return {name: results[name] for name in SCENARIOS if name in results}


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{_TITLES.get(name, name)} {version}" for name, version in versions.items())


def with_part(page: str, part: str) -> str:
    """The page with another part between the two marks. Raises ValueError when it has no such place."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no place for the figures ({BEGIN})")
    return f"{before}{BEGIN}\n{part}\n{END}{after}"


def text_table(cells: Cells) -> str:
    """Columns aligned: the first to the left."""
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return "\n".join(_aligned(line, widths) for line in cells)


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        f"{cell:<{w}}" if n == 0 else f"{cell:>{w}}" for n, (cell, w) in enumerate(zip(line, widths, strict=True))
    )
    return "  ".join([first, *rest]).rstrip()


def _markdown(cells: Cells) -> Iterator[str]:
    header, *lines = cells
    for line in (header, ["---"] * len(header), *lines):
        yield f"| {' | '.join(line)} |".replace("|  |", "| |")


def short(value: float | None) -> str:
    """Three digits that count, thousands apart."""
    if value is None:
        return _NOTHING
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _fixed(value: float | None, decimals: int) -> str:
    return _NOTHING if value is None else f"{value:.{decimals}f}"
