"""bench/cni.py: that it measures what it says, and prints it for scripts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench" / "cni.py"


def test_the_last_line_for_scripts() -> None:
    sizes = ("--pods", "3", "--alone", "2", "--runs", "2", "--json")
    done = subprocess.run([sys.executable, str(BENCH), *sizes], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout.splitlines()[-1])
    ours = ("aloneP50Ms", "answerP50Ms", "answerP99Ms", "pacedP50Ms", "pacedP99Ms", "pluginsP99Ms")
    keys = (*ours, "bareP50Ms", "barePacedP99Ms", "bareP99Ms")
    assert set(found) == {key + suffix for key in keys for suffix in ("", "Min", "Max")}
    assert found["aloneP50MsMin"] > 2, "no interpreter starts so fast"
    assert found["pluginsP99MsMin"] > found["answerP50MsMin"] > 0
