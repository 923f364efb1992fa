"""IPAM on SQLite by real processes, killed by SIGKILL at random points: `ipam_kills.py`, in a process of its own.

`UNDERLAY_MODEL_KILLS=5000` looks longer than the suite does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.ipam_told import Log, Told

KILLS = int(os.environ.get("UNDERLAY_MODEL_KILLS", "300"))
ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(120 + KILLS)
def test_nothing_is_given_twice_or_lost_however_many_are_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.unit.ipam_kills", "--kills", str(KILLS), "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] >= max(200, KILLS)
    interrupted = found["interrupted"]
    assert sum(interrupted.values()) > found["kills"] / 2, f"most died with nothing to do: {found}"
    assert {"ask", "free", "free_address", "work"} <= interrupted.keys(), f"nobody died in the middle of some: {found}"
    assert found["lines"]["given"] > 2 * found["kills"], f"they hardly did anything: {found}"


def test_half_a_line_was_never_said_and_the_next_process_begins_a_new_one(tmp_path: Path) -> None:
    path, told = tmp_path / "log", Told()
    log = Log(path)
    log("ask", "h", [4], [])
    with path.open("ab") as file:
        file.write(b'["given", "h", [["10.0.0.1", "10.0')
    told.read_on(path)
    assert (told.asked, told.held) == (("ask", "h", (4,), ()), {})
    Log(path)("refused", "h", "pool-exhausted")
    told.read_on(path)
    assert (told.asked, told.counts) == (None, {"ask": 1, "refused": 1, "pool-exhausted": 1})
