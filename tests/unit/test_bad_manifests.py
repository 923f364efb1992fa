"""Bad manifests: every problem at once, one line each, exit code 1, and nothing changed.

Each `tests/errors/NAME.yaml` has the output it must give beside it in `NAME.txt`. `--update-golden` writes
those files anew; read the difference before you commit it.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.command_line import run_underlay

FOLDER = Path(__file__).parent.parent / "errors"
CASES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
ERROR_LINE = re.compile(r"^error: \S+.*: \S+")


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 20


@pytest.mark.parametrize("case", CASES)
def test_bad_manifest(case: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    store = f"sqlite:{tmp_path / 'store.db'}"
    result = run_underlay("apply", "-f", str(FOLDER / f"{case}.yaml"), "--store", store)
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
