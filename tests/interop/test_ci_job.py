"""The job without Docker of docs/ci.md, step by step as a runner does it; only its set-up is that of this test."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from containerlab import namespaces
from tests.unit.test_ci_docs import EXPECTATIONS, steps

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
UNDERLAY = f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m underlay "$@"\n'
AS_ROOT = '#!/bin/sh\nexec "$@"\n'


@pytest.fixture
def runner(tmp_path: Path) -> Path:
    """A machine with a declaration in `fabric/` and what it should be; `bin/` is on the path, as after the set-up."""
    shutil.copytree(ROOT / "config" / "samples" / "as-per-node", tmp_path / "fabric")
    (smallest,) = (text for text in EXPECTATIONS if text.endswith("checks:\n  - sessions: all\n"))
    (tmp_path / "fabric.expect.yml").write_text(smallest)
    programs = {"underlay": UNDERLAY} | ({} if shutil.which("sudo") else {"sudo": AS_ROOT})
    (tmp_path / "bin").mkdir()
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def test_every_step_after_the_set_up_does_what_it_is_there_for(runner: Path) -> None:
    lab = f"ci{secrets.token_hex(3)}"
    env = {**os.environ, "PATH": f"{runner / 'bin'}:{os.environ['PATH']}"}
    found = {step["name"]: step["run"] for step in steps("fabric") if "run" in step}
    assert found.pop("Set up").startswith("make -C underlay setup\n")
    assert list(found) == ["Judge the declaration", "Make the lab", "Test"]
    for name, text in found.items():
        script = text.replace("--name fabric", f"--name {lab}").replace("lab/fabric.clab", f"lab/{lab}.clab")
        argv = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        done = subprocess.run(argv, cwd=runner, env=env, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
    suite = ElementTree.parse(runner / "report.xml").getroot()[0]
    assert [suite.get(key) for key in ("name", "tests", "failures", "errors")] == [lab, "2", "0", "0"]
    assert not [name for name in namespaces.names() if lab in name]
