"""Contenders measured in a scenario, interleaved: each round has one run of each, in a namespace of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.reflector_contenders import AS, Contender, Launch
from bench.reflector_results import Results, Run
from bench.reflector_run import Spec
from bench.reflector_scenarios import FLOOR, Scenario

_BENCH = Path(__file__).resolve().parent
RRBENCH = _BENCH / "rrbench"
#: Of the floor as the generator takes it, beside `floor`, which is the kernel's.
FLOOR_PARSED = "floor-parsed"
_LONGEST_S, _MARGIN_S = 1000.0, 60.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A contender in a scenario, left in peace or attacked."""

    name: str
    contender: Contender
    rounds: int
    attack: str | None = None


def entries(
    scenario: Scenario, contenders: Mapping[str, Contender], rounds: int, budget: float, recorded: Results
) -> list[Entry]:
    """Who is measured and how often; nobody whose run took longer than `budget` seconds in the recorded figures."""
    found = []
    for name, contender in contenders.items():
        most = min(rounds, scenario.most_rounds.get(name, rounds))
        if most and recorded.get(scenario.name, {}).get(name, {}).get("run_s", 0) <= budget:
            found.append(Entry(name, contender, most))
            found += [Entry(f"{name}+{attack}", contender, most, attack) for attack in scenario.attacks]
    return found


def measure(scenario: Scenario, chosen: Sequence[Entry], rounds: int, timeout: float) -> dict[str, list[Run]]:
    """Round 1 of each, the floor first, then round 2 of each: what else the machine does hits all alike."""
    runs: dict[str, list[Run]] = {FLOOR: [], FLOOR_PARSED: [], **{entry.name: [] for entry in chosen}}
    for number in range(1, rounds + 1):
        runs[FLOOR].append(_floor(scenario, ["--raw"]))
        runs[FLOOR_PARSED].append(_floor(scenario, []))
        for entry in chosen:
            if number <= entry.rounds:
                run = _run(scenario, entry, number, timeout)
                outcome = f"converged {run.get('convergence_s')} s" if run["ok"] else f"FAILED: {run['reason']}"
                _say(f"{time.strftime('%H:%M:%S')} {scenario.name} {entry.name} {number}: {outcome}")
                runs[entry.name].append(run)
    return runs


def _floor(scenario: Scenario, flags: Sequence[str]) -> Run:
    """At the niceness of the other runs."""
    argv = ["nice", "-n", "-10", str(RRBENCH / "ns.sh"), str(RRBENCH / "build" / "rrbench")]
    argv += [*scenario.floor_arguments(), *flags]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_LONGEST_S, check=True)
    found: Run = json.loads(done.stdout)
    return found


def _run(scenario: Scenario, entry: Entry, seed: int, timeout: float) -> Run:
    with tempfile.TemporaryDirectory(prefix="underlay-rrbench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # daemons that give up root still read their configuration
        launch = entry.contender(folder, scenario)
        for file, content in launch.files.items():
            (folder / file).write_text(content, encoding="utf-8")
            (folder / file).chmod(0o600)
        spec: Spec = {
            "folder": name,
            "argv": list(launch.argv),
            "environment": dict(launch.environment),
            "ready_s": launch.ready_s,
            "metrics": launch.metrics,
            "attack": entry.attack,
            "rrbench": _rrbench_arguments(scenario, entry, launch, seed, timeout),
            "ends_in": _LONGEST_S,
        }
        with _folder(launch.chroot):
            return _in_namespace(spec)


@contextmanager
def _folder(path: str | None) -> Iterator[None]:
    """One that is there, and is taken away again if it was not."""
    folder = Path(path) if path is not None and not Path(path).exists() else None
    if folder is not None:
        folder.mkdir()
    try:
        yield
    finally:
        if folder is not None:
            folder.rmdir()


def _rrbench_arguments(scenario: Scenario, entry: Entry, launch: Launch, seed: int, timeout: float) -> list[str]:
    own = [f"--window={launch.window}", f"--as={AS}", f"--timeout={timeout:g}", f"--seed={seed}"]
    own += ["--server=[fd00:c8::1]:179", "--client-base=fd00:c8::1:1"] if scenario.ipv6 else []
    return [*scenario.arguments(), *own, f"--label={entry.name}"]


def _in_namespace(spec: Spec) -> Run:
    argv = [str(RRBENCH / "ns.sh"), sys.executable, str(_BENCH / "reflector_run.py")]
    limit = spec["ends_in"] + spec["ready_s"] + _MARGIN_S
    done = subprocess.run(argv, input=json.dumps(spec), stdout=subprocess.PIPE, text=True, timeout=limit, check=False)
    answer: Run = json.loads(done.stdout) if done.stdout else {"ok": False, "reason": f"exit {done.returncode}"}
    return answer


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
