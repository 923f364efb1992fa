"""The bench of the reflector runs: it builds its generator, measures, and says that every message was right."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.lab

BENCH = Path(__file__).resolve().parents[2] / "bench" / "reflector.py"
SCENARIO, CONTENDERS = "mesh100", ("underlay", "bird")


def test_the_smallest_scenario(tmp_path: Path) -> None:
    every_run = tmp_path / "runs.json"
    asked = ("--scenarios", SCENARIO, "--contenders", ",".join(CONTENDERS), "--rounds", "1", "--timeout", "60")
    argv = (sys.executable, str(BENCH), *asked, "--json", "--out", str(every_run))
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    medians = json.loads(done.stdout.splitlines()[-1])[SCENARIO]
    runs = json.loads(every_run.read_text())[SCENARIO]
    for name in CONTENDERS:
        assert [run["ok"] for run in runs[name]] == [True], runs[name]
        assert medians[name]["convergence_s"] > 0
