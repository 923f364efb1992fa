"""`underlay lint` on whole declarations: what is said of each mistake, and that nothing else is said.

Each `tests/lint_cases/NAME.yaml` has what must be printed beside it in `NAME.txt`. `--update-golden` writes those files
anew; read the difference before you commit it.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

import peering.lint
from tests.unit.command_line import run_underlay

FOLDER = Path(__file__).parent.parent / "lint_cases"
CASES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("case", CASES)
def test_lint_case(case: str, request: pytest.FixtureRequest) -> None:
    result = run_underlay("lint", "-f", str(FOLDER / f"{case}.yaml"))
    said = result.stderr + result.stdout
    expected = FOLDER / f"{case}.txt"
    if request.config.getoption("--update-golden"):
        expected.write_text(said)
    assert said == expected.read_text()
    has_error = any(line.startswith("error: ") for line in said.splitlines())
    assert result.exit_code == (1 if has_error else 0)


def test_json_has_each_of_many_alike() -> None:
    result = run_underlay("lint", "-f", str(FOLDER / "node-without-session.yaml"), "-o", "json")
    objects = [p["object"] for p in json.loads(result.stdout) if p["code"] == "node-without-session"]
    assert objects == [f"Node/node-{number}" for number in range(1, 8)]
    assert result.exit_code == 1


def codes_of_lint() -> set[str]:
    """The codes that the lint package gives: second arguments of `Problem`."""
    found = set()
    for path in Path(peering.lint.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Problem":
                code = node.args[1]
                assert isinstance(code, ast.Constant), f"{path.name}:{node.lineno}"
                found.add(str(code.value))
    return found


def examples() -> dict[str, list[str]]:
    """Code -> the lines that docs/problems.md shows of it."""
    text = (FOLDER.parents[1] / "docs" / "problems.md").read_text()
    sections = re.findall(r"^### `([^`]+)`$(.*?)(?=^##)", text, re.MULTILINE | re.DOTALL)
    return {code: re.findall(r"^(?:error|warning|info): .*$", body, re.MULTILINE) for code, body in sections}


@pytest.mark.parametrize("code", sorted(codes_of_lint()))
def test_the_handbook_shows_what_is_printed(code: str) -> None:
    goldens = [*FOLDER.glob("*.txt"), *(FOLDER.parent / "errors").glob("*.txt")]
    printed = {line for path in goldens for line in path.read_text().splitlines()}
    lines = examples()[code]
    assert lines != []
    assert [line for line in lines if line not in printed] == []


def test_every_check_has_a_case() -> None:
    shown = set()
    for case in CASES:
        codes = [line for line in (FOLDER / f"{case}.txt").read_text().splitlines() if line.startswith("codes, ")]
        for line in codes:
            shown |= {entry.split()[0] for entry in line.partition(": ")[2].split(", ")}
    assert codes_of_lint() - shown == set()
