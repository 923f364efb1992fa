"""Bad manifests: every problem at once, one line each, exit code 1, and nothing changed.

Each `tests/errors/NAME.yaml`, `NAME.json` or folder `NAME` has the output it must give beside it in `NAME.txt`; one
that has only the output is about a file that is missing. `--update-golden` writes the outputs anew; read the
difference before you commit it.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.command_line import run_underlay

FOLDER = Path(__file__).parent.parent / "errors"
CASES = sorted({path.stem for path in FOLDER.iterdir() if path.name != "cni"})
ERROR_LINE = re.compile(r"^error: \S+.*: \S+")


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 60


def input_of(case: str) -> Path:
    found = [path for path in (FOLDER / f"{case}.json", FOLDER / case) if path.exists()]
    return found[0] if found else FOLDER / f"{case}.yaml"


@pytest.mark.parametrize("case", CASES)
def test_bad_manifest(case: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    store = f"sqlite:{tmp_path / 'store.db'}"
    result = run_underlay("apply", "-f", str(input_of(case)), "--store", store)
    said = result.stderr.replace(str(FOLDER), "tests/errors")
    expected = FOLDER / f"{case}.txt"
    if request.config.getoption("--update-golden"):
        expected.write_text(said)
    assert said == expected.read_text()
    assert result.exit_code == 1
    assert result.stdout == ""
    lines = said.splitlines()
    assert lines[-1] == "nothing was changed"
    assert [line for line in lines[:-1] if not line.startswith("warning: ") and not ERROR_LINE.match(line)] == []
    kept = run_underlay("get", "switches", "-o", "json", "--store", store)
    assert '"items": []' in kept.stdout
