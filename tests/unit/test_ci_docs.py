"""docs/ci.md: its workflows are workflows, their commands exist, and its expectations are read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import containerlab
from containerlab.expectations import KINDS, Failure
from containerlab.expectations_file import load_expectations
from containerlab.topology_file import load_topology
from underlay.cli import command_line

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "ci.md").read_text()
TEXTS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
BLOCKS = [yaml.load(text, yaml.BaseLoader) for text in TEXTS]
WORKFLOWS = {block["name"]: block for block in BLOCKS if "jobs" in block}
URL = re.compile(r"\w+://[^\s)\"'`>]+")
#: A path that begins with its slash: what goes before it is no part of a path.
ABSOLUTE = re.compile(r"(?<![\w.})])/[\w.][\w./-]*")
EXPECTATIONS = [text for text in TEXTS if "jobs:" not in text]


def steps(workflow: str) -> list[dict[str, Any]]:
    (job,) = WORKFLOWS[workflow]["jobs"].values()
    return list(job["steps"])


def our_commands(workflow: str) -> Iterator[list[str]]:
    """The words of every line that runs `underlay`, without what goes before it."""
    for step in steps(workflow):
        for line in step.get("run", "").splitlines():
            words = shlex.split(line, comments=True)
            for name in ("underlay", "$(which underlay)"):
                if name in words[:2]:
                    yield words[words.index(name) + 1 :]


def test_there_are_two_workflows() -> None:
    assert set(WORKFLOWS) == {"fabric", "fabric-containerlab"}


@pytest.mark.parametrize("name", ["fabric", "fabric-containerlab"])
def test_a_workflow_has_what_a_workflow_needs(name: str) -> None:
    workflow = WORKFLOWS[name]
    assert set(workflow) == {"name", "on", "permissions", "jobs"}
    (job,) = workflow["jobs"].values()
    assert set(job) == {"runs-on", "timeout-minutes", "steps"}
    for step in job["steps"]:
        assert ("uses" in step) is not ("run" in step)
        assert set(step) <= {"name", "uses", "with", "run", "if"}
        assert "uses" not in step or re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])
    last = job["steps"][-1]
    assert (last["uses"].partition("@")[0], last["if"]) == ("actions/upload-artifact", "always()")
    tests = next(words for words in our_commands(name) if words[:2] == ["lab", "test"])
    assert last["with"]["path"] == tests[tests.index("--junit") + 1]


@pytest.mark.parametrize("name", ["fabric", "fabric-containerlab"])
def test_every_command_of_ours_is_one_that_the_command_line_takes(name: str) -> None:
    found = list(our_commands(name))
    assert {" ".join(words[:2]) for words in found} >= {"lab generate", "lab test"}
    for words in found:
        command: Any = typer.main.get_command(command_line())
        while hasattr(command, "commands"):
            command, words = command.commands[words[0]], words[1:]
        command.make_context("underlay", list(words))  # raises for an option that there is not


def test_what_a_later_step_reads_an_earlier_one_has_written() -> None:
    for name in WORKFLOWS:
        (generated,) = (words for words in our_commands(name) if words[:2] == ["lab", "generate"])
        (tested,) = (words for words in our_commands(name) if words[:2] == ["lab", "test"])
        folder, lab = generated[generated.index("--out") + 1], generated[generated.index("--name") + 1]
        assert tested[2] == f"{folder}/{lab}.clab.yml"


@pytest.mark.parametrize("text", EXPECTATIONS, ids=range(len(EXPECTATIONS)))
def test_every_example_of_expectations_is_read(text: str) -> None:
    names = set(re.findall(r"\b((?:node|tor|spine|leaf)-\w+|edge)\b", text))
    if names & {"leaf-1"}:
        source = "name: x\ntopology:\n  nodes:\n" + "".join(f"    {name}: {{kind: linux}}\n" for name in sorted(names))
    else:
        source = (Path(containerlab.__file__).parent / "dual-tor.clab.yml").read_text()
    topology, _ = load_topology(source, "x")
    assert topology is not None
    expected, problems = load_expectations(text, "x.expect.yml", topology)
    assert problems == ()
    assert expected is not None


def test_every_check_and_failure_is_explained_and_no_other() -> None:
    table = PAGE.partition("| check | holds when |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == set(KINDS)
    failures = set(re.findall(r"^\| `([a-z]+): [^`]+`", PAGE, re.MULTILINE))
    assert failures == set(Failure.model_fields) - {"signal", "node", "undo"}
    for kind in KINDS.values():
        for name, field in kind.model_fields.items():
            assert re.search(f"`{field.alias or name}[`:]", PAGE), name


def test_nothing_of_one_machine_is_in_it() -> None:
    assert set(URL.findall(PAGE)) == {"https://get.containerlab.dev"}
    in_the_image = {"/opt/underlay", "/opt/underlay/requirements.lock"}
    assert set(ABSOLUTE.findall(URL.sub("", PAGE))) == in_the_image
