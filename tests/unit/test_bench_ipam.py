"""bench/ipam.py: what counts as a duplicate, what it prints for scripts, and that a process that fails is told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.ipam import Hold, duplicates
from peering.store.open_store import open_store
from peering.store.protocol import StoreError

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "bench" / "ipam.py"


@pytest.mark.parametrize(
    ("holds", "count"),
    [
        ([], 0),
        ([("10.0.0.1", 1.0, 2.0), ("10.0.0.2", 1.5, 2.5)], 0),
        ([("10.0.0.1", 1.0, 2.0), ("10.0.0.1", 2.0, 3.0)], 0),
        ([("10.0.0.1", 1.0, 2.0), ("10.0.0.1", 1.9, 3.0)], 1),
        ([("10.0.0.1", 1.0, 9.0), ("10.0.0.1", 2.0, 3.0), ("10.0.0.1", 4.0, 5.0)], 2),
        ([("10.0.0.1", 5.0, 6.0), ("10.0.0.1", 1.0, 5.5)], 1),
    ],
)
def test_duplicates_are_held_at_the_same_time(holds: list[Hold], count: int) -> None:
    assert duplicates(holds) == count


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(BENCH), *arguments], capture_output=True, text=True, check=False)


def test_the_last_line_for_scripts(tmp_path: Path) -> None:
    """Twice on one store, where nothing is left of it."""
    sizes = ("--processes", "2", "--allocations", "6", "--held", "3", "--nodes", "3", "--runs", "2")
    done = run(*sizes, "--store", f"sqlite:{tmp_path}/store.db", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["processes"], found["allocations"], found["nodes"], found["duplicates"]) == (2, 6, 3, 0)
    assert found["allocations_per_s"] == round(found["allocationsPerS"], 1) > 0
    assert found["firstBlockFailures"] == 0
    assert found["rawTransactionsPerSMin"] > found["allocationsPerSMax"], "the floor"
    left = subprocess.run(
        [sys.executable, "-m", "underlay", "ipam", "show", "-o", "json", "--store", f"sqlite:{tmp_path}/store.db"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(left.stdout) == []


def test_a_store_that_is_none_is_no_figure() -> None:
    """What `--store` says goes to `open_store` as it is, and what that says of it is told."""
    with pytest.raises(StoreError) as said:
        open_store("nowhere")
    done = run("--processes", "1", "--allocations", "1", "--store", "nowhere", "--json")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{said.value}\n")


def test_a_store_that_is_away_is_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    done = run("--processes", "1", "--allocations", "1", "--store", "kubernetes", "--json")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "set KUBECONFIG" in done.stderr
