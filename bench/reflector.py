"""What our reflector costs beside BIRD, FRR, GoBGP and OpenBGPD, every message checked; interleaved, medians.

    python bench/reflector.py [--scenarios LIST] [--contenders LIST] [--with NAME=COMMAND] [--rounds 3] [--quick]
                              [--budget 60] [--write] [--out FILE] [--json]

Builds and drives bench/rrbench, which plays all clients. Needs root, gcc and the peers' packages (`make setup`), and a
quiet machine. What is measured, and what the figures mean, is told in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.reflector_contenders import CONTENDERS, VERSION_COMMANDS, Contender, command  # noqa: E402
from bench.reflector_history import changes, ratios  # noqa: E402
from bench.reflector_interleaved import FLOOR_PARSED, RRBENCH, entries, measure  # noqa: E402
from bench.reflector_page import (  # noqa: E402
    attack_table,
    details,
    page_part,
    requirement_table,
    text_table,
    with_part,
)
from bench.reflector_results import Results, Run, floor_summary, summary  # noqa: E402
from bench.reflector_scenarios import (  # noqa: E402
    FLOOR,
    OURS,
    OURS_WITH_POLICY,
    QUICK,
    REQUIRED,
    SCENARIOS,
)

BENCH = ROOT / "bench"
PAGE = ROOT / "docs" / "benchmarks.md"
#: The last figures that were written, and those of the peers from an earlier day.
FIGURES, RECORDED = BENCH / "reflector_figures.json", BENCH / "reflector_recorded.json"
_QUICK_CONTENDERS = (OURS, "bird", "frr")

Json = dict[str, Any]


@dataclass(slots=True)
class Measured:
    """All that was found. `answers`: contender -> what its attacker counted last."""

    results: Results = field(default_factory=dict)
    answers: dict[str, Json] = field(default_factory=dict)
    runs: dict[str, dict[str, list[Run]]] = field(default_factory=dict)


def measure_all(options: argparse.Namespace, recorded: Results) -> Measured:
    """Every scenario asked for, told as it is done."""
    measured = Measured()
    for name in options.scenarios:
        scenario = SCENARIOS[name]
        chosen = entries(scenario, options.contenders, options.rounds, options.budget, recorded)
        runs = measure(scenario, chosen, options.rounds, options.timeout)
        measured.runs[name] = runs
        found = {FLOOR: floor_summary(runs[FLOOR], runs[FLOOR_PARSED])}
        measured.results[name] = found | {entry.name: summary(runs[entry.name]) for entry in chosen}
        measured.answers |= {entry.name: runs[entry.name][-1].get("attack", {}) for entry in chosen if entry.attack}
        say(f"\n{text_table(details(name, measured.results[name]))}\n")
    return measured


def write(measured: Measured, recorded: Json, where: Json) -> None:
    """Keeps the figures and puts them into the handbook. Those of other scenarios stay if they are of the same machine
    and of the same versions."""
    before = kept()
    same = all(before.get(key) == value for key, value in where.items())
    today = dict.fromkeys(measured.results, time.strftime("%Y-%m-%d"))
    found: Json = {"dates": today, "results": measured.results, "answers": measured.answers}
    found["ratios"] = ratios(measured.results)
    figures = where | {key: (before[key] if same else {}) | value for key, value in found.items()}
    FIGURES.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(with_part(PAGE.read_text(encoding="utf-8"), page_part(figures, recorded)), encoding="utf-8")


def kept() -> Json:
    """The figures written last; nothing of them when there are none."""
    if not FIGURES.exists():
        return {"ratios": {}}
    found: Json = json.loads(FIGURES.read_text(encoding="utf-8"))
    return found


def report(measured: Measured, recorded: Results, before: Json) -> Iterator[str]:
    """What people read at the end: the requirements, the attacks, and what changed since the last figures."""
    for table in (requirement_table(measured.results, recorded), attack_table(measured.results, measured.answers)):
        if len(table) > 1:
            yield text_table(table) + "\n"
    told = [str(change) for change in changes(before["ratios"], ratios(measured.results))]
    if told:
        yield "Since the figures written last:\n" + "\n".join(told)


def machine() -> str:
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    parts = [f"{os.cpu_count()} cores ({cpu[1] if cpu else '?'})", f"Linux {platform.release().split('-')[0]}"]
    return ", ".join([*parts, f"Python {platform.python_version()}"])


def versions() -> dict[str, str]:
    """Of the peers that are installed."""
    return {name: _version(argv) for name, argv in VERSION_COMMANDS.items() if Path(argv[0]).exists()}


def _version(argv: Sequence[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    number = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return number[0] if number else "?"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """`contenders` becomes name -> how it is started. Exits with 2 for what cannot be measured."""
    parser = argparse.ArgumentParser(description="Our reflector beside four others; see docs/benchmarks.md.")
    parser.add_argument("--scenarios", default=None, metavar="LIST", help=f"of: {', '.join(SCENARIOS)}")
    parser.add_argument("--contenders", default=None, metavar="LIST", help=f"of: {', '.join(CONTENDERS)}")
    parser.add_argument("--with", dest="extra", action="append", default=[], metavar="NAME=COMMAND",
                        help="one more; {dir} is a folder of its own, {family} 4 or 6")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=None, help="how often each is run (default 3)")
    parser.add_argument("--quick", action="store_true", help=f"one round of {', '.join(QUICK)}, few contenders")
    parser.add_argument("--budget", type=float, default=60, metavar="SECONDS",
                        help="leave out who takes longer for a run, by the recorded figures (default 60)")  # fmt: skip
    parser.add_argument("--timeout", type=float, default=300, help="seconds for each wait inside a run (default 300)")
    parser.add_argument("--write", action="store_true", help="keep the figures and put them into docs/benchmarks.md")
    parser.add_argument("--out", type=Path, metavar="FILE", help="every run as rrbench told it, as JSON")
    parser.add_argument("--json", action="store_true", help="the medians as one JSON object in the last line")
    options = parser.parse_args(argv)
    if options.rounds is None:
        options.rounds = 1 if options.quick else 3
    options.scenarios = _listed(parser, options.scenarios, QUICK if options.quick else REQUIRED, SCENARIOS)
    everybody = _QUICK_CONTENDERS if options.quick else tuple(CONTENDERS)
    chosen = _listed(parser, options.contenders, everybody, CONTENDERS)
    options.contenders = {name: CONTENDERS[name] for name in chosen} | _extra(parser, options.extra)
    if options.rounds < 1 or options.budget <= 0 or options.timeout <= 0:
        parser.error("--rounds is at least 1, --budget and --timeout are more than 0")
    if options.write and options.quick:
        parser.error("--write needs full runs, --quick makes none")
    return options


def _listed(
    parser: argparse.ArgumentParser, text: str | None, default: Sequence[str], known: Mapping[str, object]
) -> list[str]:
    names = list(default) if text is None else [name for name in text.split(",") if name]
    for name in names:
        if name not in known:
            parser.error(f"{name} is none of {', '.join(known)}")
    return names


def _extra(parser: argparse.ArgumentParser, given: Sequence[str]) -> dict[str, Contender]:
    found = {}
    for text in given:
        name, equals, line = text.partition("=")
        if not equals or not line or not re.fullmatch(r"[a-z0-9-]+", name) or name in CONTENDERS:
            parser.error(f"--with {text!r}: expected NAME=COMMAND, the name of small letters, digits and -, and new")
        found[name] = command(line)
    return found


def main() -> int:
    options = arguments()
    if os.geteuid() != 0:
        say("error: namespaces need root (run with sudo)")
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    recorded: Json = json.loads(RECORDED.read_text(encoding="utf-8"))
    before, load = kept(), os.getloadavg()[0]
    try:
        subprocess.run(["make", "--silent", "-C", str(RRBENCH)], check=True)
        measured = measure_all(options, recorded["scenarios"])
    except (OSError, subprocess.SubprocessError) as error:
        say(f"error: {error}")
        return 1
    where = {"machine": machine(), "versions": versions()}
    print(f"{where['machine']}; load before {load:.2f}, after {os.getloadavg()[0]:.2f}")
    for text in report(measured, recorded["scenarios"], before):
        print(text)
    if options.out:
        options.out.write_text(json.dumps(measured.runs), encoding="utf-8")
    if options.write:
        write(measured, recorded, where)
    if options.json:
        print(json.dumps(measured.results))
    return 0 if _all_right(measured) else 1


def _all_right(measured: Measured) -> bool:
    """Whether every run of ours was right in everything. A peer that fails is no failure of the measurement."""
    ours = (OURS, OURS_WITH_POLICY)
    return all(
        run["ok"]
        for by_contender in measured.runs.values()
        for name, runs in by_contender.items()
        if name.partition("+")[0] in ours
        for run in runs
    )


if __name__ == "__main__":
    sys.exit(main())
